package plugin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/plugin"
)

const (
	secret    = "0123456789abcdef0123456789abcdef"
	namespace = "http://www.outsystems.com"
	address   = "/idbridge/OSPlatformAuthentication.asmx"
	canary    = "c4n4ry-passw0rd"
)

// core stands in for the core, which decides by the user name: what a Kind looks like at the door is tested here, how the
// core comes to it is tested there.
type core struct {
	mu       sync.Mutex
	calls    []authn.Call
	findings []authn.Finding
	events   []plugin.Event
	down     error
}

func (c *core) SignIn(_ context.Context, call authn.Call) (authn.Result, error) {
	c.mu.Lock()
	c.calls = append(c.calls, call)
	c.mu.Unlock()
	switch call.Username {
	case "panic":
		panic("the inside of the house")
	case "no id":
		return authn.Result{User: authn.ITUser{Username: "x"}}, nil
	}
	for _, k := range authn.Kinds() {
		if call.Username == k.String() {
			return authn.Result{}, authn.Errorf(k, "some_reason", "the inside of the house")
		}
	}
	return authn.Result{User: authn.ITUser{Username: call.Username, UserID: 2147483647}}, nil
}

func (c *core) SignInIntegrated(ctx context.Context, call authn.Call) (authn.Result, error) {
	r, err := c.SignIn(ctx, call)
	r.User.UserID = 7
	return r, err
}

func (c *core) Diagnose(context.Context, authn.Environment) []authn.Finding { return c.findings }

func (c *core) journal(_ context.Context, e plugin.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	return c.down
}

// rig is a door with a core behind it and a log.
type rig struct {
	*core
	http.Handler
	log bytes.Buffer
}

func config(r *rig) plugin.Config {
	n := 0
	return plugin.Config{
		Name: "idbridge", PublicURL: "https://bridge.example.com/", PortalURL: "https://portal.example.com/",
		Environments: []plugin.Environment{
			{Environment: authn.Environment{Name: "production"}, Username: "production", Secret: secret},
			{Environment: authn.Environment{Name: "module", IDs: authn.IDsModule, Integrated: true}, Username: "module",
				Secret: "fedcba9876543210fedcba9876543210"},
		},
		SignIns: r.core, Doctor: r.core, Journal: r.journal, PasswordSupported: true, NamesSupported: true,
		Settings: func() []plugin.Setting { return []plugin.Setting{{Name: "a<b", Value: "c&d"}} },
		NewID:    func() string { n++; return fmt.Sprintf("ID-%d", n) },
		Log:      slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func newRig(t testing.TB, change ...func(*plugin.Config)) *rig {
	t.Helper()
	r := &rig{core: &core{}}
	c := config(r)
	for _, f := range change {
		f(&c)
	}
	h, err := plugin.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Handler = h
	return r
}

func soap(version, operation string) string {
	return `<s:Envelope xmlns:s="` + version + `"><s:Body>` + operation + `</s:Body></s:Envelope>`
}

const (
	v11 = "http://schemas.xmlsoap.org/soap/envelope/"
	v12 = "http://www.w3.org/2003/05/soap-envelope"
)

func signIn(username, password string) string {
	return soap(v11, `<User_AuthenticateWithCredentials xmlns="`+namespace+`"><Username>`+username+`</Username><Password>`+
		password+`</Password></User_AuthenticateWithCredentials>`)
}

func operation(method string) string { return soap(v11, `<`+method+` xmlns="`+namespace+`"/>`) }

func post(body string) *http.Request {
	req := httptest.NewRequest(http.MethodPost, address, strings.NewReader(body))
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.SetBasicAuth("production", secret)
	return req
}

func (r *rig) do(req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// say posts a message as an environment and returns the body of the answer, which must be 200.
func (r *rig) say(t *testing.T, environment, body string) string {
	t.Helper()
	req := post(body)
	if environment == "module" {
		req.SetBasicAuth("module", "fedcba9876543210fedcba9876543210")
	}
	w := r.do(req)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

func TestSuccess(t *testing.T) {
	r := newRig(t)
	got := r.say(t, "production", signIn("ana", canary))
	const want = `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">` +
		`<soap:Body><User_AuthenticateWithCredentialsResponse xmlns="http://www.outsystems.com"><UserId>2147483647</UserId>` +
		`<Status><Success>true</Success><ResponseId>0</ResponseId><ResponseMessage></ResponseMessage>` +
		`<ResponseAdditionalInfo></ResponseAdditionalInfo></Status></User_AuthenticateWithCredentialsResponse></soap:Body>` +
		`</soap:Envelope>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	call := r.calls[0]
	if call.ID != "ID-1" || call.Environment.Name != "production" || call.Username != "ana" ||
		call.Password.Reveal() != canary || call.Source != netip.MustParseAddr("192.0.2.1") || call.Arrived.IsZero() {
		t.Errorf("the core was asked %+v", call)
	}
}

func TestModuleGetsTheUsernameInsteadOfAnID(t *testing.T) {
	got := newRig(t).say(t, "module", signIn("o&apos;neil &lt;x&gt;", canary))
	if id := between(got, "<UserId>", "</UserId>"); id != "0" {
		t.Errorf("UserId %s, want 0", id)
	}
	if info := between(got, "<ResponseAdditionalInfo>", "</"); info != "o'neil &lt;x&gt;" {
		t.Errorf("additional info %q", info)
	}
}

func TestIntegrated(t *testing.T) {
	got := newRig(t).say(t, "production", soap(v11, `<User_AuthenticateWithUsername xmlns="urn:x"><Username>ana</Username></User_AuthenticateWithUsername>`))
	if !strings.Contains(got, `<User_AuthenticateWithUsernameResponse xmlns="urn:x"><UserId>7</UserId><Status><Success>true<`) {
		t.Error(got)
	}
}

// TestStatusOfEveryKind is the table of design.md.
func TestStatusOfEveryKind(t *testing.T) {
	const one = "Sign-in refused: the user name, the password or the code is wrong, a code is missing, or the account is locked."
	want := map[authn.Kind]struct{ id, text string }{
		authn.BadCredentials: {"1", one},
		authn.CodeRequired:   {"1", one},
		authn.Locked:         {"1", one},
		authn.NotEnrolled:    {"2", "https://portal.example.com/"},
		authn.NotMapped:      {"3", "no active IT user"},
		authn.Unavailable:    {"4", "try again"},
		authn.Internal:       {"5", "internal error"},
		authn.Untrusted:      {"5", "internal error"},
		authn.Unsuitable:     {"5", "internal error"}, // only the portal can meet it
	}
	for _, k := range authn.Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			r := newRig(t)
			got := r.say(t, "production", signIn(k.String(), canary))
			if !strings.Contains(got, "<UserId>0</UserId><Status><Success>false</Success>") {
				t.Errorf("not a refusal: %s", got)
			}
			if id := between(got, "<ResponseId>", "</"); id != want[k].id {
				t.Errorf("ResponseId %s, want %s", id, want[k].id)
			}
			if text := between(got, "<ResponseMessage>", "</"); !strings.Contains(text, want[k].text) {
				t.Errorf("text %q, want %q", text, want[k].text)
			}
			if info := between(got, "<ResponseAdditionalInfo>", "</"); info != "correlation id: ID-1" {
				t.Errorf("info %q", info)
			}
			if strings.Contains(got, "inside") || strings.Contains(got, "some_reason") {
				t.Errorf("the answer tells of the inside: %s", got)
			}
			if !strings.Contains(r.log.String(), "id=ID-1") || !strings.Contains(r.log.String(), "reason=some_reason") {
				t.Errorf("the log does not tell why: %s", &r.log)
			}
		})
	}
}

func TestRefusalsAreByteIdenticalApartFromTheID(t *testing.T) {
	r := newRig(t)
	id := regexp.MustCompile(`ID-\d+`)
	var first string
	for _, user := range []string{"bad_credentials", "code_required", "locked"} {
		got := id.ReplaceAllString(r.say(t, "production", signIn(user, canary)), "")
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%s: %s\nwant %s", user, got, first)
		}
	}
}

func TestGrantWithoutAnIDIsNoSuccess(t *testing.T) {
	r := newRig(t)
	got := r.say(t, "production", signIn("no id", canary))
	if !strings.Contains(got, "<Success>false<") || !strings.Contains(r.log.String(), "reason=bad_user_id") {
		t.Errorf("%s\n%s", got, &r.log)
	}
	if got := r.say(t, "module", signIn("", canary)); !strings.Contains(got, "<Success>false<") ||
		!strings.Contains(r.log.String(), "reason=no_username") {
		t.Errorf("%s\n%s", got, &r.log)
	}
}

func TestCapabilitiesAndSettings(t *testing.T) {
	for environment, integrated := range map[string]string{"production": "False", "module": "True"} {
		got := newRig(t, func(c *plugin.Config) { c.Cloud = true }).say(t, environment, operation("Plugin_GetCapabilities"))
		want := `<SupportedCapabilities>` + capability("UserPassword", "True") + capability("IntegratedAuthentication", integrated) +
			capability("ConfigurationAPI", "False") + capability("Cloud", "True") +
			`</SupportedCapabilities><Status><Success>true</Success>`
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s\nwant %s", environment, got, want)
		}
	}
	nobody := newRig(t, func(c *plugin.Config) { c.NamesSupported = false }).say(t, "module", operation("Plugin_GetCapabilities"))
	if !strings.Contains(nobody, capability("IntegratedAuthentication", "False")) {
		t.Errorf("no provider could look a name up: %s", nobody)
	}
	got := newRig(t).say(t, "production", operation("Plugin_GetAllConfigurations"))
	const want = `<Configuration><PluginAPIConfigurationParameter><Name>a&lt;b</Name><Value>c&amp;d</Value>` +
		`</PluginAPIConfigurationParameter></Configuration><Status><Success>true</Success>`
	if !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func capability(name, value string) string {
	return `<Capability><Name>` + name + `.Supported</Name><Value>` + value + `</Value></Capability>`
}

func TestSetConfigurationsIsSwitchedOff(t *testing.T) {
	r := newRig(t)
	got := r.say(t, "production", operation("Plugin_SetConfigurations"))
	if !strings.Contains(got, "<Success>false</Success><ResponseId>12</ResponseId>") || !strings.Contains(got, "switched off") {
		t.Error(got)
	}
	if len(r.events) != 1 || r.events[0].Action != plugin.ConfigRefused {
		t.Errorf("journal: %+v", r.events)
	}
}

func TestTestAndActivation(t *testing.T) {
	well := authn.Finding{Check: "store"}
	warning := authn.Finding{Check: "provider corp", Problem: "no answer\nfrom two servers"}
	blocking := authn.Finding{Check: "it-users production", Problem: "none <known>", Blocking: true}
	tests := []struct {
		name                string
		findings            []authn.Finding
		tested, activated   bool
		action              plugin.Action
		testText, switching string
	}{
		{"well", []authn.Finding{well}, true, true, plugin.Activated, "All checks passed.", ""},
		{"warning", []authn.Finding{well, warning}, false, true, plugin.Activated,
			"warning: provider corp: no answer; from two servers", "warning: provider corp: no answer; from two servers"},
		{"blocking", []authn.Finding{warning, blocking}, false, false, plugin.ActivationRefused,
			"warning: provider corp: no answer; from two servers\nproblem: it-users production: none &lt;known&gt;",
			"warning: provider corp: no answer; from two servers\nproblem: it-users production: none &lt;known&gt;"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.findings = tt.findings
			for method, want := range map[string]struct {
				ok   bool
				text string
			}{"Plugin_Test": {tt.tested, tt.testText}, "Plugin_OnActivation": {tt.activated, tt.switching}} {
				got := r.say(t, "production", operation(method))
				if !strings.Contains(got, fmt.Sprintf("<Success>%t</Success>", want.ok)) {
					t.Errorf("%s: %s", method, got)
				}
				if text := between(got, "<ResponseMessage>", "</"); text != want.text {
					t.Errorf("%s: %q, want %q", method, text, want.text)
				}
			}
			if len(r.events) != 1 || r.events[0].Action != tt.action || r.events[0].Environment != "production" ||
				r.events[0].ID == "" || r.events[0].Time.IsZero() || r.events[0].Source != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("journal: %+v, want %s", r.events, tt.action)
			}
		})
	}
}

func TestActivationNeedsItsRecordAndDeactivationDoesNot(t *testing.T) {
	r := newRig(t)
	r.down = errors.New("disk full")
	if got := r.say(t, "production", operation("Plugin_OnActivation")); !strings.Contains(got, "<Success>false<") {
		t.Errorf("activated without a record: %s", got)
	}
	got := r.say(t, "production", operation("Plugin_OnDeactivation"))
	if !strings.Contains(got, `<Plugin_OnDeactivationResponse xmlns="`+namespace+`"></Plugin_OnDeactivationResponse>`) {
		t.Errorf("deactivation: %s", got)
	}
	if r.events[1].Action != plugin.Deactivated || !strings.Contains(r.log.String(), "disk full") {
		t.Errorf("journal %+v, log %s", r.events, &r.log)
	}
}

func TestAnswersInVersionAndNamespaceOfTheRequest(t *testing.T) {
	for version, media := range map[string]string{v11: "text/xml; charset=utf-8", v12: "application/soap+xml; charset=utf-8"} {
		req := post(soap(version, `<p:Plugin_Test xmlns:p="urn:a&amp;&quot;b"/>`))
		req.Header.Set("Content-Type", media)
		w := newRig(t).do(req)
		want := `<soap:Envelope xmlns:soap="` + version + `"><soap:Body><Plugin_TestResponse xmlns="urn:a&amp;&#34;b"><Status>`
		if w.Code != 200 || w.Header().Get("Content-Type") != media || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d %s %s\nwant %s", w.Code, w.Header(), w.Body, want)
		}
		if id := w.Header().Get("X-Correlation-Id"); id != "ID-1" {
			t.Errorf("correlation id %q", id)
		}
	}
}

func TestSOAPAction(t *testing.T) {
	for action, ok := range map[string]bool{
		`"http://idbridge/OSPlatformAuthentication/Plugin_Test"`: true,
		`http://other/OSPlatformAuthentication/Plugin_Test`:      true,
		`urn:Plugin_Test`: true, `x#Plugin_Test`: true, `Plugin_Test`: true, `""`: true, ``: true,
		`"http://idbridge/OSPlatformAuthentication/Plugin_OnActivation"`: false,
		`Plugin_TestX`: false, `XPlugin_Test`: false, `"http://idbridge/OSPlatformAuthentication/"`: false,
	} {
		asHeader := post(operation("Plugin_Test"))
		asHeader.Header.Set("SOAPAction", action)
		asParameter := post(soap(v12, `<Plugin_Test xmlns="urn:x"/>`))
		asParameter.Header.Set("Content-Type", `application/soap+xml; charset=utf-8; action="`+strings.Trim(action, `"`)+`"`)
		for where, req := range map[string]*http.Request{"header": asHeader, "parameter": asParameter} {
			r := newRig(t)
			w := r.do(req)
			refused := strings.Contains(r.log.String(), "action_mismatch") && strings.Contains(w.Body.String(), "Fault>")
			if ok != (w.Code == 200) || ok == refused {
				t.Errorf("%s %q: %d %s", where, action, w.Code, w.Body)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		body   string
		status int
		want   string
	}{
		"sender, 1.1":   {soap(v11, `<X xmlns="urn:x"/>`), 500, `<soap:Fault><faultcode>soap:Client</faultcode><faultstring>The request was not understood.</faultstring></soap:Fault>`},
		"sender, 1.2":   {soap(v12, `<X xmlns="urn:x"/>`), 400, `<soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code>`},
		"receiver, 1.1": {signIn("panic", canary), 500, `<faultcode>soap:Server</faultcode><faultstring>The request could not be processed.<`},
		"receiver, 1.2": {strings.ReplaceAll(signIn("panic", canary), v11, v12), 500, `<soap:Value>soap:Receiver</soap:Value>`},
		"no XML":        {"x", 500, `<faultcode>soap:Client</faultcode>`},
		"version":       {`<Envelope xmlns="urn:x"/>`, 500, `<faultcode>soap:VersionMismatch</faultcode>`},
		"understand": {`<s:Envelope xmlns:s="` + v12 + `"><s:Header><a xmlns="urn:a" s:mustUnderstand="1"/></s:Header></s:Envelope>`, 500,
			`<soap:Value>soap:MustUnderstand</soap:Value>`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			w := r.do(post(tt.body))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%d %s\nwant %d %s", w.Code, w.Body, tt.status, tt.want)
			}
			for _, inside := range []string{"inside", "panic", "unknown_operation", ".go", canary} {
				if strings.Contains(w.Body.String(), inside) {
					t.Errorf("the fault tells %q: %s", inside, w.Body)
				}
			}
			if !strings.Contains(r.log.String(), "id=ID-1") {
				t.Errorf("not logged: %s", &r.log)
			}
		})
	}
}

func TestBodiesThatAreNotRead(t *testing.T) {
	with := func(header, value string) *http.Request {
		req := post(operation("Plugin_Test"))
		req.Header.Set(header, value)
		return req
	}
	method := func(m string) *http.Request {
		req := post(operation("Plugin_Test"))
		req.Method = m
		return req
	}
	elsewhere := post(operation("Plugin_Test"))
	elsewhere.URL.Path = address + "/x"
	padded := func(n int) *http.Request {
		m := operation("Plugin_Test")
		return post(m + strings.Repeat(" ", n-len(m)))
	}
	broken := post("")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("<"), failing{}))
	for name, tt := range map[string]struct {
		req  *http.Request
		want int
	}{
		"JSON":              {with("Content-Type", "application/json"), 415},
		"no type":           {with("Content-Type", ""), 415},
		"attachments":       {with("Content-Type", `multipart/related; type="text/xml"`), 415},
		"UTF-16":            {with("Content-Type", "text/xml; charset=utf-16"), 415},
		"compressed":        {with("Content-Encoding", "gzip"), 415},
		"PUT":               {method("PUT"), 405},
		"DELETE":            {method("DELETE"), 405},
		"OPTIONS":           {method("OPTIONS"), 405},
		"another path":      {elsewhere, 404},
		"64 KiB":            {padded(64 << 10), 200},
		"64 KiB and a byte": {padded(64<<10 + 1), 413},
		"broken off":        {broken, 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRig(t).do(tt.req)
			if w.Code != tt.want || tt.want != 200 && w.Body.Len() != 0 {
				t.Errorf("%d %s, want %d and nothing else", w.Code, w.Body, tt.want)
			}
			if tt.want == 405 && w.Header().Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func get(target string) *http.Request {
	req := httptest.NewRequest(http.MethodGet, target, nil)
	req.SetBasicAuth("production", secret)
	return req
}

// The bytes of the WSDL are a promise to the platform, which validates them. Change this sum only with the contract.
const wsdlSum = "048dd398eba2b18fc5d38ba46dda5daf5fe510ba6cbf8fcc17a019f183f2e473"

func TestWSDL(t *testing.T) {
	for _, target := range []string{address + "?wsdl", address + "?WSDL", "/IDBridge/osplatformauthentication.ASMX?WsDl"} {
		w := newRig(t).do(get(target))
		sum := sha256.Sum256(w.Body.Bytes())
		if got := hex.EncodeToString(sum[:]); w.Code != 200 || got != wsdlSum {
			t.Errorf("%s: %d, sum %s, want %s", target, w.Code, got, wsdlSum)
		}
		if w.Header().Get("Content-Type") != "text/xml; charset=utf-8" {
			t.Errorf("type %q", w.Header().Get("Content-Type"))
		}
	}
}

func TestWSDLNamesOnlyThePluginAndItsAddress(t *testing.T) {
	a := newRig(t).do(get(address + "?wsdl")).Body.String()
	b := newRig(t, func(c *plugin.Config) { c.Name, c.PublicURL = "Other", "http://h:81/a&b" }).
		do(get("/other/OSPlatformAuthentication.asmx?wsdl")).Body.String()
	a = strings.ReplaceAll(a, "https://bridge.example.com/idbridge/", "http://h:81/a&amp;b/Other/")
	a = strings.ReplaceAll(a, "http://idbridge/", "http://Other/")
	if a != b {
		t.Error("more than the name and the address differ")
	}
	if strings.Contains(b, "$") {
		t.Error("a placeholder is left")
	}
}

func TestPage(t *testing.T) {
	w := newRig(t).do(get(address))
	body, h := w.Body.String(), w.Header()
	for _, want := range []string{"Plugin_GetCapabilities", "Plugin_GetAllConfigurations", "Plugin_SetConfigurations", "Plugin_Test",
		"Plugin_OnActivation", "Plugin_OnDeactivation", "User_AuthenticateWithCredentials", "User_AuthenticateWithUsername",
		"https://bridge.example.com/idbridge/OSPlatformAuthentication.asmx", "<strong>production</strong>", `<html lang="en">`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if regexp.MustCompile(`(src|href)="(https?:)?//`).MatchString(body) {
		t.Error("the page loads something from elsewhere")
	}
	style := sha256.Sum256([]byte(between(body, "<style>", "</style>")))
	wantCSP := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	for name, want := range map[string]string{"Content-Security-Policy": wantCSP, "X-Frame-Options": "DENY",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
}

func TestNoPasswordOrSecretIsWrittenAnywhere(t *testing.T) {
	r := newRig(t)
	r.findings = []authn.Finding{{Check: "store", Problem: "down", Blocking: true}}
	users := []string{"ana", "panic", "no id"}
	for _, k := range authn.Kinds() {
		users = append(users, k.String())
	}
	var written strings.Builder
	say := func(req *http.Request) {
		w := r.do(req)
		fmt.Fprint(&written, w.Header(), w.Body)
	}
	for _, u := range users {
		say(post(signIn(u, canary)))
	}
	say(post(signIn(canary+"<", canary)))
	say(post(signIn("ana", canary+"&nbsp;")))
	unknown := post(signIn("ana", canary))
	unknown.SetBasicAuth("production", canary)
	say(unknown)
	for _, m := range []string{"Plugin_Test", "Plugin_OnActivation", "Plugin_GetAllConfigurations", "Plugin_SetConfigurations"} {
		say(post(operation(m)))
	}
	fmt.Fprint(&written, &r.log, r.events, r.calls)
	for _, s := range []string{canary, secret} {
		if i := strings.Index(written.String(), s); i >= 0 {
			t.Errorf("%s was written: ...%s", s, written.String()[max(0, i-200):i+50])
		}
	}
}

func TestObserve(t *testing.T) {
	var got []string
	r := newRig(t, observe(&got))
	r.do(post(signIn("ana", canary)))
	r.do(post(signIn("locked", canary)))
	r.do(post(signIn("panic", canary)))
	r.do(post("x"))
	r.do(httptest.NewRequest(http.MethodGet, address, nil))
	r.do(get(address))
	want := []string{"User_AuthenticateWithCredentials ok", "User_AuthenticateWithCredentials locked",
		"User_AuthenticateWithCredentials internal", " fault", " refused", " page"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func BenchmarkSignIn(b *testing.B) {
	r := newRig(b, func(c *plugin.Config) { c.SignIns, c.Log = granter{}, nil })
	body := `<?xml version="1.0" encoding="utf-8"?>` + signIn("user00042", canary)
	req := post("")
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		req.Body = io.NopCloser(strings.NewReader(body))
		r.ServeHTTP(w, req)
	}
}

type granter struct{ plugin.SignIns }

func (granter) SignIn(context.Context, authn.Call) (authn.Result, error) {
	return authn.Result{User: authn.ITUser{UserID: 42}}, nil
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
