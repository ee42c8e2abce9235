package portal

import (
	"net/http"
	"strings"
)

// secured puts the headers on every answer that keep a browser from doing more with it than show it. Each has its own test.
func (p *Portal) secured(next http.Handler) http.Handler {
	policy := p.contentPolicy("'none'")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		h.Set("X-Content-Type-Options", "nosniff")
		// For browsers that know no policy. X-XSS-Protection is switched off: its filter itself could be misused.
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-XSS-Protection", "0")
		next.ServeHTTP(w, r)
	})
}

// contentPolicy allows the pages' own style and script by their hashes and nothing else. scripts are further sources.
func (p *Portal) contentPolicy(worker string, scripts ...string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"style-src " + strings.Join(append([]string{p.pages.StyleSource()}, styleSources(scripts)...), " "),
		"script-src " + strings.Join(append([]string{p.pages.ScriptSource()}, scripts...), " "),
		"worker-src " + worker,
		"img-src 'self'",
		"form-action 'self'",
		"base-uri 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

// styleSources allows the style sheet of the proof-of-work widget where its script is allowed.
func styleSources(scripts []string) []string {
	if len(scripts) == 0 {
		return nil
	}
	return []string{"'self'"}
}
