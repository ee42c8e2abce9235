package azuread

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv/entra"
)

const (
	portalURL = "https://portal.example.test/idbridge"
	adminURL  = "https://admin.example.test:9443"
	callback  = portalURL + "/oidc/cloud/callback"
	secret    = "s3cret~of~the~application" // a canary, too: no error may hold it
	password  = "pw-of-ann-CANARY"
)

// bench is a tenant with an application and people, a provider, and a clock that both go by.
type bench struct {
	*entra.Server
	tenant, partner *entra.Tenant
	app             *entra.App
	ann, bob        *entra.Person

	mu     sync.Mutex
	moment time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{moment: time.Now()}
	b.ann = &entra.Person{OID: entra.GUID("ann"), UPN: "ann@corp.example", Name: "Ann Lee", Mail: "ann.lee@mail.example", Password: password}
	b.bob = &entra.Person{OID: entra.GUID("bob"), UPN: "bob@corp.example", Name: "Bob", Password: "pw-of-bob"}
	b.app = &entra.App{
		ID: entra.GUID("app"), Secrets: map[string]time.Time{secret: {}}, RedirectURIs: []string{callback, adminURL + "/oidc/cloud/callback"},
		GroupsClaim: true, Scopes: []string{"User.Read"},
	}
	b.tenant = &entra.Tenant{ID: entra.GUID("corp"), People: []*entra.Person{b.ann, b.bob}, Apps: []*entra.App{b.app}}
	b.partner = &entra.Tenant{ID: entra.GUID("partner"), People: []*entra.Person{
		{OID: entra.GUID("pat"), UPN: "pat@partner.example", Name: "Pat", Mail: "ann.lee@mail.example", Password: "pw-of-pat"}}}
	b.Server = entra.Start(t, b.tenant, b.partner)
	b.Now = b.time
	return b
}

func (b *bench) time() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.moment
}

func (b *bench) wait(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moment = b.moment.Add(d)
}

func (b *bench) config(change ...func(*Config)) Config {
	c := Config{
		Tenant: b.tenant.ID, ClientID: b.app.ID, Credentials: []Credential{{Secret: secret}},
		Authority: b.Authority, Graph: b.Graph, CAFile: b.CAFile,
		RequestTimeout: time.Minute, // what silence costs has tests of its own; here the machine may be busy
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (b *bench) provider(t *testing.T, change ...func(*Config)) *provider {
	t.Helper()
	p, err := open("cloud", b.config(change...), Surroundings{PublicURL: portalURL, Doors: map[string]string{"admin": adminURL + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	p.now = b.time
	transport := p.web.client.Transport.(*http.Transport)
	transport.DialContext, transport.TLSHandshakeTimeout = (&net.Dialer{Timeout: time.Minute}).DialContext, time.Minute
	t.Cleanup(p.web.client.CloseIdleConnections)
	return p
}

// journey is a sign-in up to the browser's return.
type journey struct {
	pending []byte
	reply   authn.Reply
	asked   url.Values
}

func (b *bench) journey(t *testing.T, p *provider, who *entra.Person) journey {
	t.Helper()
	return b.journeyFor(t, p, who, authn.Ask{State: "state-of-the-flow"})
}

func (b *bench) journeyFor(t *testing.T, p *provider, who *entra.Person, ask authn.Ask) journey {
	t.Helper()
	to, err := p.Begin(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to.URL)
	if err != nil {
		t.Fatal(err)
	}
	return journey{to.Pending, authn.Reply{Method: http.MethodGet, RawQuery: b.SignIn(t, to.URL, who.UPN, who.Password)}, u.Query()}
}

func (b *bench) signIn(t *testing.T, p *provider, who *entra.Person) (authn.Identity, error) {
	t.Helper()
	j := b.journey(t, p, who)
	return p.Finish(t.Context(), j.pending, j.reply)
}

// good is the control of a test of refusals: the same sign-in, with nothing wrong.
func (b *bench) good(t *testing.T, p *provider, who *entra.Person) authn.Identity {
	t.Helper()
	id, err := b.signIn(t, p, who)
	if err != nil {
		t.Fatalf("the control: %v", err)
	}
	return id
}

// claims makes ID tokens have other claims; nil takes one away.
func (b *bench) claims(change map[string]any) {
	b.Tokens(func(t *entra.Token) {
		maps.Copy(t.Claims, change)
		for name, value := range change {
			if value == nil {
				delete(t.Claims, name)
			}
		}
	})
}

func wantError(t *testing.T, err error, kind authn.Kind, reason string, words ...string) {
	t.Helper()
	if authn.KindOf(err) != kind || authn.ReasonOf(err) != reason {
		t.Fatalf("got %v, want %v (%s)", err, kind, reason)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	for _, canary := range []string{secret, password, "CANARY"} {
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%q shows a secret", err)
		}
	}
	if !strings.HasPrefix(err.Error(), "cloud: ") {
		t.Errorf("%q does not name the provider", err)
	}
}

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// hang never answers: it waits until the asker is gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // before that the server does not notice
	<-r.Context().Done()
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
