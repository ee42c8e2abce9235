package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen is what a program has printed so far.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a pattern is on the screen and returns what its first group matched.
func (s *screen) await(t *testing.T, pattern string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(s.String()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("%s does not appear in:\n%s", pattern, s)
	return ""
}

// running is a program started in this process.
type running struct {
	out, err screen
	cancel   context.CancelFunc
	code     chan int
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel: cancel, code: make(chan int, 1)}
	go func() { r.code <- Run(ctx, args, strings.NewReader(""), &r.out, &r.err) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case code := <-r.code:
		r.code <- code
		if code != exitOK {
			t.Errorf("exit code %d\n%s", code, &r.err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the program does not stop")
	}
}

func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", line, err, out)
	}
	return string(out)
}

// TestDemo pastes what the demo prints, as its users do, and then searches for what was typed in everything that was
// written: no password and no code may be anywhere.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	demo := start(t, "demo", "--keep", dir, "--address", "127.0.0.1:0")
	curl := demo.out.await(t, `(?s)\n  (curl .*?)\n\n`)
	secret := demo.out.await(t, `demo code ([A-Z2-7]+)\n`)
	for user, want := range map[string]struct{ typed, answer string }{
		"alice": {"alice-password", "<UserId>1001</UserId><Status><Success>true</Success>"},
		"bob":   {"bob-password" + codeNow(t, secret), "<UserId>1002</UserId><Status><Success>true</Success>"},
		"carol": {"carol-password", "<Success>false</Success><ResponseId>3</ResponseId>"},
		"dave":  {"dave-password", "<Success>false</Success><ResponseId>2</ResponseId>"},
		"erin":  {"canary-pa55word", "<Success>false</Success><ResponseId>1</ResponseId>"},
	} {
		line := strings.NewReplacer(">alice<", ">"+user+"<", "alice-password", want.typed).Replace(curl)
		if got := shell(t, line); !strings.Contains(got, want.answer) {
			t.Errorf("%s: got %s\nwant %s", user, got, want.answer)
		}
	}
	wrong := strings.ReplaceAll(curl, "alice-password", "canary-pa55word")
	if got := shell(t, wrong); !strings.Contains(got, "<Success>false</Success><ResponseId>1</ResponseId>") {
		t.Errorf("a wrong password: %s", got)
	}
	for line := range strings.Lines(strings.ReplaceAll(demo.out.String(), dir, "/tmp/idbridge-demo-1234567890")) {
		if len(line) > 101 && !strings.Contains(line, itself()) {
			t.Errorf("wider than 100 columns: %s", line)
		}
	}
	metrics := fetchMetrics(t, dir)
	var transcript bytes.Buffer
	lines := demo.out.await(t, `(?s)\n  \S+(?: run \S+)? (platform .*?)\n\n`)
	platform := strings.Fields(strings.ReplaceAll(lines, "\\\n", ""))
	if code := Run(t.Context(), platform, strings.NewReader(""), &transcript, &transcript); code != exitOK {
		t.Errorf("platform: exit code %d\n%s", code, &transcript)
	}
	written := everything(t, dir)
	demo.stop(t)
	for _, text := range []string{"canary-pa55word", "alice-password", "bob-password", secret} {
		for name, content := range written {
			if strings.Contains(content, text) {
				t.Errorf("%q is in %s", text, name)
			}
		}
		for name, content := range map[string]string{"log": demo.err.String(), "metrics": metrics, "transcript": transcript.String()} {
			if strings.Contains(content, text) {
				t.Errorf("%q is in the %s", text, name)
			}
		}
	}
	if strings.Contains(metrics, "alice") || !strings.Contains(metrics, `kind="bad_credentials"`) {
		t.Errorf("metrics:\n%s", metrics)
	}
	if !strings.Contains(demo.err.String(), "reason=wrong_password") {
		t.Errorf("the log lacks the reason:\n%s", &demo.err)
	}
}

func codeNow(t *testing.T, secret string) string {
	t.Helper()
	code, err := appCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func fetchMetrics(t *testing.T, dir string) string {
	t.Helper()
	c, err := loadConfig(filepath.Join(dir, "idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.Metrics.Address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&http.Client{}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// everything is the content of all files in a folder, the database among them.
func everything(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		files[name] = string(text)
		return err
	})
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

func TestDemoKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "idbridge.yaml"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"demo", "--keep", dir}, nil, io.Discard, &out); code != exitUsage {
		t.Errorf("exit code %d: %s", code, &out)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "idbridge.yaml")); string(text) != "mine" {
		t.Errorf("it was overwritten: %s", text)
	}
}

// TestAppCode: the first vectors of RFC 6238, appendix B, cut to six digits.
func TestAppCode(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"} {
		if got, err := appCode(secret, time.Unix(at, 0)); err != nil || got != want {
			t.Errorf("at %d: %s, %v; want %s", at, got, err, want)
		}
	}
}
