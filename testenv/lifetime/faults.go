package lifetime

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"
)

// Failing answers so many requests with a status, then all rightly; fewer than none: for ever.
func Failing(status, times int) Fault {
	var left atomic.Int64
	left.Store(int64(times))
	return func(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
		if times < 0 || left.Add(-1) >= 0 {
			refuse(w, status, "Internal error raised.")
			return
		}
		rightly.ServeHTTP(w, r)
	}
}

// Truncated breaks the connection in the middle of each body.
func Truncated(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
	whole := httptest.NewRecorder()
	rightly.ServeHTTP(whole, r)
	body := whole.Body.Bytes()
	w.Header().Set("Content-Type", whole.Header().Get("Content-Type"))
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body[:len(body)/2])
	panic(http.ErrAbortHandler)
}

// Halved sends half of each body as if it were all: a proxy that swallows the rest.
func Halved(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
	whole := httptest.NewRecorder()
	rightly.ServeHTTP(whole, r)
	w.Header().Set("Content-Type", whole.Header().Get("Content-Type"))
	_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
}

// Emptied answers with an empty list.
func Emptied(w http.ResponseWriter, _ *http.Request, _ http.Handler) { answer(w, []any{}) }

// NoContent answers with 204.
func NoContent(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusNoContent)
}

// Page answers with an HTML page and status 200, as a proxy's maintenance page does.
func Page(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "<html><body>We will be back soon.</body></html>")
}

// Elsewhere leads to another host.
func Elsewhere(url string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, url, http.StatusFound)
	}
}

// Slow answers after a while, or never when the caller has gone before.
func Slow(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, rightly http.Handler) {
		select {
		case <-time.After(d):
			rightly.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Flood answers with more than anybody wants to read.
func Flood(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, "[")
	for chunk := bytes.Repeat([]byte(" "), 1<<20); ; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
