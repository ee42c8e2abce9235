package saml

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines is a log that is written and read at once.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestTheLogWarnsBeforeTheEnd: a minute after the start, and then once a day.
func TestTheLogWarnsBeforeTheEnd(t *testing.T) {
	s, _ := lone(t) // whose certificate is good for a day
	var log lines
	s.sp.around.Log = slog.New(slog.NewTextHandler(&log, nil))
	synctest.Test(t, func(t *testing.T) {
		begin, start := s.pins[0].NotBefore.Add(2*time.Hour), time.Now() // the bubble's clock stands in the year 2000
		s.now = func() time.Time { return begin.Add(time.Since(start)) }
		ctx, stop := context.WithCancel(t.Context())
		go s.sp.Run(ctx)
		for _, c := range []struct {
			wait time.Duration
			want int
		}{{59 * time.Second, 0}, {2 * time.Second, 1}, {10 * time.Hour, 1}, {14 * time.Hour, 2}} {
			time.Sleep(c.wait)
			synctest.Wait()
			if got := strings.Count(log.String(), "saml: the last one ends on "); got != c.want {
				t.Errorf("after %s more: %d warnings, want %d:\n%s", c.wait, got, c.want, &log)
			}
		}
		stop()
	})
	if text := log.String(); !strings.Contains(text, "provider=corp") || !strings.Contains(text, `check="signing certificate"`) || !strings.Contains(text, "level=WARN") {
		t.Error(text)
	}
}
