package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestServeRestsLonger looks at the process that a service manager has started: it is still that one, by number and name,
// and every thread of it may be woken late.
func TestServeRestsLonger(t *testing.T) {
	s := serving(t, nil)
	for _, c := range []struct{ file, want string }{
		{"timerslack_ns", fmt.Sprint(timerSlack.Nanoseconds())},
		{"comm", "idbridge"},
		{"cmdline", strings.Join([]string{"idbridge", "serve", "--config", s.file("idbridge.yaml"), ""}, "\x00")},
	} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.PID(), c.file))
		if err != nil {
			t.Error(err) // timerslack_ns of another process is for root
		}
		if got := strings.TrimSuffix(string(text), "\n"); got != c.want {
			t.Errorf("%s: %q, want %q", c.file, got, c.want)
		}
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if want := fmt.Sprintln(timerSlack.Nanoseconds()); err == nil && string(text) != want { // it may have ended
			t.Errorf("thread %s: %q, want %q", thread.Name(), text, want)
		}
	}
}
