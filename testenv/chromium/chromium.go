// Package chromium drives a headless Chromium for tests: what a person sees, and what a person does not see but should
// worry about (errors on the console, requests to elsewhere, weight, accessibility). It is for tests only; what is missing
// on a machine fails them, and `make test-setup` installs it.
package chromium

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/idbridge/idbridge/testenv"
)

// stepTimeout is how long one action may take, page load included.
const stepTimeout = time.Minute

// Options say what is unusual about a browser.
type Options struct {
	Trust     []*x509.Certificate // servers' certificates, or authorities', that are accepted
	NoCookies bool                // its user refuses cookies
	Language  string              // Accept-Language; default en
}

// Browser is one running Chromium with an empty profile.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// Start runs Chromium until the test ends.
func Start(t testing.TB, o Options) *Browser {
	t.Helper()
	profile := newProfile(t)
	if o.NoCookies {
		refuseCookies(t, profile)
	}
	flags := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	flags = append(flags, chromedp.ExecPath(testenv.Need(t, "chromium")), chromedp.UserDataDir(profile), chromedp.NoSandbox,
		chromedp.Flag("ignore-certificate-errors-spki-list", pins(o.Trust)), chromedp.Flag("disable-gpu", true),
		chromedp.Flag("accept-lang", language(o.Language)), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.WSURLReadTimeout(stepTimeout), chromedp.Env("HOME="+profile))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		defer cancel()
		if err := chromedp.Cancel(ctx); err != nil { // asks it to end, and waits
			t.Logf("chromium did not end by itself: %v", err)
		}
	})
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("chromium: %v (`make test-setup` installs it)", err)
	}
	return &Browser{t, ctx}
}

// newProfile is a folder for the browser. Its helpers may still write there for a moment when it has ended.
func newProfile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "idbridge-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return dir
}

// refuseCookies writes a profile whose user has switched cookies off.
func refuseCookies(t testing.TB, profile string) {
	t.Helper()
	dir := filepath.Join(profile, "Default")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Preferences"),
			[]byte(`{"profile":{"default_content_setting_values":{"cookies":2}}}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func language(l string) string {
	if l == "" {
		return "en"
	}
	return l
}

// pins are the hashes of the certificates' keys, as Chromium wants them.
func pins(trusted []*x509.Certificate) string {
	var list []string
	for _, c := range trusted {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		list = append(list, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(list, ",")
}

// NewPage opens a page with cookies of its own, as another person's browser would.
func (b *Browser) NewPage() *Page {
	b.t.Helper()
	var person cdp.BrowserContextID
	b.ask("a new person", func(ctx context.Context) (err error) {
		person, err = target.CreateBrowserContext().WithDisposeOnDetach(true).Do(ctx)
		return err
	})
	return b.open(person)
}

// ask speaks to the browser, not to one of its pages.
func (b *Browser) ask(what string, question func(context.Context) error) {
	b.t.Helper()
	err := chromedp.Run(b.ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		return question(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser))
	}))
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// open opens a window of a person; without one no tab can be opened.
func (b *Browser) open(person cdp.BrowserContextID) *Page {
	b.t.Helper()
	var id target.ID
	b.ask("a new window", func(ctx context.Context) (err error) {
		id, err = target.CreateTarget("about:blank").WithBrowserContextID(person).WithNewWindow(true).Do(ctx)
		return err
	})
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id))
	b.t.Cleanup(cancel)
	p := &Page{t: b.t, ctx: ctx, browser: b, person: person}
	chromedp.ListenTarget(ctx, p.listen)
	// The first Run makes the tab ours, so it may not have a deadline: the tab would end with it.
	if err := chromedp.Run(ctx, network.Enable(), runtime.Enable(), log.Enable()); err != nil {
		b.t.Fatalf("a new page: %v", err)
	}
	p.Size(1000, 800)
	return p
}

// Page is one tab. It is used by one goroutine; a step that fails ends the test.
type Page struct {
	t       testing.TB
	ctx     context.Context
	browser *Browser
	person  cdp.BrowserContextID
	seen
}

// Tab opens a second tab of the same person, with the same cookies.
func (p *Page) Tab() *Page {
	p.t.Helper()
	return p.browser.open(p.person)
}

// run does actions, and fails the test with what was tried when they fail.
func (p *Page) run(what string, actions ...chromedp.Action) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, stepTimeout)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		p.t.Fatalf("%s: %v\nat %s\n%s", what, err, p.whereami(), p.whatsee())
	}
}

// loads does actions that end in another document, and returns its status.
func (p *Page) loads(what string, actions ...chromedp.Action) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, stepTimeout)
	defer cancel()
	p.reset()
	response, err := chromedp.RunResponse(ctx, actions...)
	if err != nil {
		p.t.Fatalf("%s: %v\nat %s\n%s", what, err, p.whereami(), p.whatsee())
	}
	if response == nil { // from the history, without a request
		return 0
	}
	return int(response.Status)
}

// whereami and whatsee describe a failure; they may not fail themselves.
func (p *Page) whereami() (url string) {
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	_ = chromedp.Run(ctx, chromedp.Location(&url))
	return url
}

func (p *Page) whatsee() (text string) {
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	_ = chromedp.Run(ctx, chromedp.Evaluate(`document.body ? document.body.innerText : ""`, &text))
	return text
}

// Open goes to an address and returns the status of what it ended at.
func (p *Page) Open(url string) int {
	p.t.Helper()
	return p.loads("open "+url, chromedp.Navigate(url))
}

// Click clicks what leads to another document, and returns its status.
func (p *Page) Click(selector string) int {
	p.t.Helper()
	return p.loads("click "+selector, chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// ClickTwice clicks like somebody impatient.
func (p *Page) ClickTwice(selector string) {
	p.t.Helper()
	p.run("click "+selector+" twice", chromedp.DoubleClick(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// Press clicks what leads nowhere else.
func (p *Page) Press(selector string) {
	p.t.Helper()
	p.run("press "+selector, chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// Type puts text into a field in place of what was there.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	name, _ := json.Marshal(selector) // text is always good JSON
	p.run("type into "+selector, chromedp.WaitVisible(selector, chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelector(`+string(name)+`).value = ""`, nil),
		chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

// Back is the browser's own button. It returns the status, or 0 where the page came from the browser's memory.
func (p *Page) Back() int {
	p.t.Helper()
	return p.loads("back", chromedp.NavigateBack())
}

// Reload asks for the same document again.
func (p *Page) Reload() int {
	p.t.Helper()
	return p.loads("reload", chromedp.Reload())
}

// URL is where the page is.
func (p *Page) URL() (url string) {
	p.t.Helper()
	p.run("location", chromedp.Location(&url))
	return url
}

// Text is what is to be read in the first element that matches.
func (p *Page) Text(selector string) (text string) {
	p.t.Helper()
	p.run("text of "+selector, chromedp.Text(selector, &text, chromedp.ByQuery, chromedp.NodeVisible))
	return strings.TrimSpace(text)
}

// Has tells whether an element is there now.
func (p *Page) Has(selector string) (there bool) {
	p.t.Helper()
	name, _ := json.Marshal(selector) // text is always good JSON
	p.Eval(`document.querySelector(`+string(name)+`) !== null`, &there)
	return there
}

// Wait waits until an element is to be seen.
func (p *Page) Wait(selector string) {
	p.t.Helper()
	p.run("wait for "+selector, chromedp.WaitVisible(selector, chromedp.ByQuery))
}

// Eval evaluates JavaScript, waiting for a promise, and reads the result into out.
func (p *Page) Eval(script string, out any) {
	p.t.Helper()
	p.run("script", chromedp.Evaluate(script, out, func(e *runtime.EvaluateParams) *runtime.EvaluateParams {
		return e.WithAwaitPromise(true)
	}))
}

// Size sets the window's inner size in pixels; a width below 500 is a telephone's.
func (p *Page) Size(width, height int64) {
	p.t.Helper()
	p.run("size", emulation.SetDeviceMetricsOverride(width, height, 1, width < 500))
}

// Dark chooses between the dark and the light scheme.
func (p *Page) Dark(dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.run("colours", emulation.SetEmulatedMedia().WithFeatures(
		[]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// NoScript switches JavaScript off for documents that are opened from now on.
func (p *Page) NoScript() {
	p.t.Helper()
	p.run("no JavaScript", emulation.SetScriptExecutionDisabled(true))
}

// AllowClipboard lets pages of an origin write to the clipboard, as a person's click does, and read it.
func (p *Page) AllowClipboard(origin string) {
	p.t.Helper()
	p.browser.ask("clipboard", func(ctx context.Context) error {
		return browser.GrantPermissions([]browser.PermissionType{
			browser.PermissionTypeClipboardReadWrite, browser.PermissionTypeClipboardSanitizedWrite,
		}).WithOrigin(origin).WithBrowserContextID(p.person).Do(ctx)
	})
}

// ForgetCookies removes the browser's cookies, as an expired session or a cleaned browser has none.
func (p *Page) ForgetCookies() {
	p.t.Helper()
	p.run("forget cookies", network.ClearBrowserCookies())
}

// Cookies are those that the page's address would be sent.
func (p *Page) Cookies() (list []*network.Cookie) {
	p.t.Helper()
	p.run("cookies", chromedp.ActionFunc(func(ctx context.Context) (err error) {
		list, err = network.GetCookies().Do(ctx)
		return err
	}))
	return list
}
