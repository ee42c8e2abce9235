package chromium

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// seen is what happened behind the page since it was opened.
type seen struct {
	mu       sync.Mutex
	errors   []string
	requests []string
	bytes    int64
}

func (s *seen) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.bytes = nil, 0
}

// listen is called by the browser's own goroutine.
func (s *seen) listen(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			s.errors = append(s.errors, "console: "+values(e.Args))
		}
	case *runtime.EventExceptionThrown:
		s.errors = append(s.errors, "exception: "+e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		if worrying(e.Entry) {
			s.errors = append(s.errors, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		s.requests = append(s.requests, e.Request.URL)
	case *network.EventLoadingFinished:
		s.bytes += int64(e.EncodedDataLength)
	}
}

// worrying leaves out what Chromium says of every document that comes with a status of 4xx or 5xx: that is the test's
// own question, and the status is asserted there.
func worrying(e *log.Entry) bool {
	return (e.Level == log.LevelError || e.Level == log.LevelWarning) &&
		(e.Source != log.SourceNetwork || !strings.HasPrefix(e.Text, "Failed to load resource: the server responded"))
}

func values(args []*runtime.RemoteObject) string {
	var parts []string
	for _, a := range args {
		parts = append(parts, string(a.Value)+a.Description)
	}
	return strings.Join(parts, " ")
}

// Errors are the errors and warnings on the console since they were last asked for: exceptions, refused content and the
// like.
func (p *Page) Errors() (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, p.errors = p.errors, nil
	return list
}

// Elsewhere are the requests of the last document that went to another host than the document's own.
func (p *Page) Elsewhere() (list []string) {
	p.t.Helper()
	here, err := url.Parse(p.URL())
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		u, err := url.Parse(r)
		if err != nil || u.Host != here.Host && u.Scheme != "data" && u.Scheme != "blob" {
			list = append(list, r)
		}
	}
	return list
}

// Weight is how many bytes the last document and all it needs were on the wire.
func (p *Page) Weight() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Screenshot keeps a picture of the whole page under a name, in $SCREENSHOTS or in the project's .cache/screenshots.
func (p *Page) Screenshot(name string) string {
	p.t.Helper()
	var picture []byte
	p.run("screenshot", chromedp.FullScreenshot(&picture, 100))
	file := filepath.Join(ScreenshotDir(p.t), name+".png")
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, picture, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return file
}

// ScreenshotDir is where pictures are kept: CI keeps the folder.
func ScreenshotDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		return dir
	}
	return filepath.Join(root(t), ".cache", "screenshots")
}

// root is the folder of the go.mod above the test's.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}

// Finding is what axe-core says is wrong with a page.
type Finding struct {
	ID     string `json:"id"`
	Impact string `json:"impact"` // minor, moderate, serious, critical
	Help   string `json:"help"`
	Where  string `json:"where"`
}

// Accessibility runs axe-core (WCAG 2.2 A and AA, and its best practices) on the page as it is now.
func (p *Page) Accessibility() (list []Finding) {
	p.t.Helper()
	axe, err := os.ReadFile(filepath.Join(root(p.t), ".cache", "npm-portal", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		p.t.Fatalf("%v: run `make test-setup`", err)
	}
	var done bool
	p.Eval(string(axe)+";true", &done)
	var found json.RawMessage
	p.Eval(`axe.run(document).then(r => r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help,
		where: v.nodes.map(n => n.html + " " + n.failureSummary).join("\n")})))`, &found)
	if err := json.Unmarshal(found, &list); err != nil {
		p.t.Fatal(err)
	}
	return list
}

// Fits fails the test where the page, or a part of it that scrolls, is wider than there is room.
func (p *Page) Fits(what string) {
	p.t.Helper()
	var wide string
	p.Eval(`[document.documentElement, ...document.querySelectorAll(".scroll")].filter(
		(e) => e.scrollWidth > e.clientWidth).map((e) => e.outerHTML.slice(0, 80)).join("; ")`, &wide)
	if wide != "" {
		p.t.Errorf("%s does not fit: %s", what, wide)
	}
}

// Sound fails the test where the page has an accessibility finding, an error on the console, asked another host for
// something, or weighs more than a number of bytes.
func (p *Page) Sound(what string, atMost int64) {
	p.t.Helper()
	for _, f := range p.Accessibility() {
		p.t.Errorf("%s: axe: %s (%s): %s\n%s", what, f.ID, f.Impact, f.Help, f.Where)
	}
	for _, e := range p.Errors() {
		p.t.Errorf("%s: %s", what, e)
	}
	for _, r := range p.Elsewhere() {
		p.t.Errorf("%s: asks elsewhere: %s", what, r)
	}
	if w := p.Weight(); w == 0 || w > atMost {
		p.t.Errorf("%s: weighs %d bytes, allowed are %d", what, w, atMost)
	}
}
