package azuread

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv/entra"
)

func TestSignIn(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	got := b.good(t, p, b.ann)
	if got.Provider != "cloud" || got.Subject != b.tenant.ID+"/"+b.ann.OID || got.Username != "ann@corp.example" ||
		got.Name != "Ann Lee" || got.Email != "ann.lee@mail.example" || got.Session == "" || got.Groups != nil {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got.Factors, []string{authn.FactorIdP}) {
		t.Errorf("factors %v", got.Factors)
	}
	if b.Calls("discovery") != 1 || b.Calls("keys") != 1 || b.Calls("token") != 1 || b.Calls("graph") != 0 {
		t.Error("more requests than a sign-in needs")
	}
	b.good(t, p, b.bob)
	if b.Calls("discovery") != 1 || b.Calls("keys") != 1 {
		t.Error("addresses and keys were loaded again")
	}
}

// TestRequest: what the browser is sent with, and what stays here.
func TestRequest(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	j := b.journey(t, p, b.ann)
	for name, want := range map[string]string{
		"client_id": b.app.ID, "response_type": "code", "response_mode": "query", "redirect_uri": callback,
		"scope": "openid profile email", "state": "state-of-the-flow", "code_challenge_method": "S256",
	} {
		if got := j.asked.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	again := b.journey(t, p, b.ann)
	for _, name := range []string{"nonce", "code_challenge"} {
		if j.asked.Get(name) == "" || j.asked.Get(name) == again.asked.Get(name) {
			t.Errorf("%s is not new each time", name)
		}
	}
	if strings.Contains(string(j.pending), "state-of-the-flow") || strings.Contains(j.asked.Encode(), "verifier") {
		t.Error("what must stay here went away, or the other way round")
	}
}

// TestOneBrowsersPendingIsNotAnothers: nonce and verifier bind a code to the sign-in that it was asked for.
func TestOneBrowsersPendingIsNotAnothers(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	mine, theirs := b.journey(t, p, b.ann), b.journey(t, p, b.bob)
	_, err := p.Finish(t.Context(), mine.pending, theirs.reply)
	wantError(t, err, authn.Untrusted, "code_refused", "AADSTS501481")
	if _, err := p.Finish(t.Context(), mine.pending, mine.reply); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestCodeReplay(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	j := b.journey(t, p, b.ann)
	if _, err := p.Finish(t.Context(), j.pending, j.reply); err != nil {
		t.Fatal(err)
	}
	_, err := p.Finish(t.Context(), j.pending, j.reply)
	wantError(t, err, authn.Untrusted, "code_refused", "AADSTS54005")
}

func TestMalformedReplies(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	j := b.journey(t, p, b.ann)
	for name, c := range map[string]struct {
		pending []byte
		reply   authn.Reply
		reason  string
	}{
		"nobody asked":    {nil, j.reply, "answer_unasked"},
		"no nonce":        {[]byte(`{"verifier":"x"}`), j.reply, "answer_unasked"},
		"no verifier":     {[]byte(`{"nonce":"x"}`), j.reply, "answer_unasked"},
		"pending garbled": {[]byte(`{`), j.reply, "answer_unasked"},
		"posted":          {j.pending, authn.Reply{Method: http.MethodPost, RawQuery: j.reply.RawQuery}, "answer_malformed"},
		"two codes":       {j.pending, authn.Reply{Method: "GET", RawQuery: "code=x&" + j.reply.RawQuery}, "answer_malformed"},
		"code and error":  {j.pending, authn.Reply{Method: "GET", RawQuery: j.reply.RawQuery + "&error=a&error=b"}, "answer_malformed"},
		"no code":         {j.pending, authn.Reply{Method: "GET", RawQuery: "state=x"}, "answer_malformed"},
		"no query":        {j.pending, authn.Reply{Method: "GET", RawQuery: "%zz"}, "answer_malformed"},
		"too long":        {j.pending, authn.Reply{Method: "GET", RawQuery: "code=" + strings.Repeat("x", 16<<10)}, "answer_malformed"},
		"of another":      {j.pending, authn.Reply{Method: "GET", RawQuery: j.reply.RawQuery + "&iss=https%3A%2F%2Fevil.example"}, "answer_wrong_issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Finish(t.Context(), c.pending, c.reply)
			wantError(t, err, authn.Untrusted, c.reason)
		})
	}
	if b.Calls("token") != 0 {
		t.Error("one of them reached Entra")
	}
	if _, err := p.Finish(t.Context(), j.pending, j.reply); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// TestRefusedByEntra: kind, reason, and all that an administrator needs to find the sign-in in Entra's log.
func TestRefusedByEntra(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	for number, want := range map[int]struct {
		kind   authn.Kind
		reason string
	}{
		53003: {authn.Locked, "conditional_access"},
		50105: {authn.Locked, "not_assigned"},
		65004: {authn.Locked, "consent_missing"},
		90094: {authn.Locked, "consent_missing"},
		50057: {authn.Locked, "account_disabled"},
		90033: {authn.Unavailable, "entra_busy"},
		99999: {authn.Unavailable, "entra_refused"},

		7000222: {authn.Unavailable, "app_credential_expired"},
	} {
		b.Change(func() { b.ann.Refused = number })
		_, err := b.signIn(t, p, b.ann)
		wantError(t, err, want.kind, want.reason, "): AADSTS", entra.CorrelationID(number), entra.GUID("trace"))
	}
	b.Change(func() { b.ann.Refused = 0 })
	b.good(t, p, b.ann)
}

// TestErrorsWithoutNumbers go by the OAuth error, and what they say is cut and quoted: it comes from a browser.
func TestErrorsWithoutNumbers(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	pending := b.journey(t, p, b.ann).pending
	for oauth, want := range map[string]struct {
		kind   authn.Kind
		reason string
	}{
		"access_denied": {authn.Locked, "entra_refused"}, "server_error": {authn.Unavailable, "entra_busy"},
		"consent_required": {authn.Locked, "consent_missing"}, "interaction_required": {authn.NotEnrolled, "idp_mfa_required"},
		"something_else": {authn.Unavailable, "entra_refused"},
	} {
		q := url.Values{"error": {oauth}, "error_description": {"line\nforged log line\x1b[2J" + strings.Repeat("x", 5000)}}
		_, err := p.Finish(t.Context(), pending, authn.Reply{Method: http.MethodGet, RawQuery: q.Encode()})
		wantError(t, err, want.kind, want.reason)
		if len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %q", oauth, err)
		}
	}
}

// TestRefusedApplication: what only an administrator can mend never looks like a person's fault.
func TestRefusedApplication(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		kind   authn.Kind
		reason string
		words  string
	}{
		"wrong secret": {func(b *bench) { b.app.Secrets = map[string]time.Time{"other": {}} }, authn.Unavailable, "app_credential", "AADSTS7000215"},
		"expired secret": {func(b *bench) { b.app.Secrets[secret] = b.moment.Add(-time.Hour) },
			authn.Unavailable, "app_credential_expired", "credentials[0] (client secret): AADSTS7000222"},
		"not registered": {func(b *bench) { b.tenant.Apps = nil }, authn.Unavailable, "entra_config", "AADSTS700016"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			p := b.provider(t)
			b.good(t, p, b.ann)
			j := b.journey(t, p, b.ann)
			b.Change(func() { c.change(b) })
			_, err := p.Finish(t.Context(), j.pending, j.reply)
			wantError(t, err, c.kind, c.reason, c.words, "correlation id")
			wantError(t, p.check(t.Context()), c.kind, c.reason, c.words)
		})
	}
}

func TestEntraDown(t *testing.T) {
	for kind, reason := range map[string]string{"discovery": "entra_bad_answer", "keys": "entra_bad_answer", "token": "entra_bad_answer"} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			p := b.provider(t)
			b.Break(kind, status(http.StatusServiceUnavailable))
			to, err := p.Begin(t.Context(), authn.Ask{State: "s"})
			if err == nil {
				query := b.SignIn(t, to.URL, b.ann.UPN, b.ann.Password)
				_, err = p.Finish(t.Context(), to.Pending, authn.Reply{Method: "GET", RawQuery: query})
			}
			wantError(t, err, authn.Unavailable, reason, "503")
			wantError(t, p.check(t.Context()), authn.Unavailable, reason)
			b.Break(kind, nil)
			b.wait(retryEvery)
			b.good(t, p, b.ann)
		})
	}
}

func TestEntraSilent(t *testing.T) {
	for _, kind := range []string{"discovery", "keys", "token"} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			p := b.provider(t, func(c *Config) { c.RequestTimeout = time.Second }) // a load outlives who asked for it
			j := journey{}
			if kind != "discovery" {
				j = b.journey(t, p, b.ann)
			}
			b.Break(kind, hang)
			ctx, began := short(t), time.Now()
			var err error
			if kind == "discovery" {
				_, err = p.Begin(ctx, authn.Ask{State: "s"})
			} else {
				_, err = p.Finish(ctx, j.pending, j.reply)
			}
			wantError(t, err, authn.Unavailable, "entra_unreachable")
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestAnswersThatAreNotEntras: redirects, texts, floods, and documents about somebody else.
func TestAnswersThatAreNotEntras(t *testing.T) {
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	b := newBench(t)
	metadata := func(authorize, token, keys, iss string) http.HandlerFunc {
		return text(`{"issuer":"` + iss + `","authorization_endpoint":"` + authorize + `",` +
			`"token_endpoint":"` + token + `","jwks_uri":"` + keys + `"}`)
	}
	ours, right := "https://"+b.Authority+"/x", issuer(b.Authority, b.tenant.ID)
	good := metadata(ours, ours, ours, right)
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				good(w, r)
				return
			}
			http.Redirect(w, r, r.URL.Path+"?elsewhere", http.StatusFound)
		},
		"page": text("<html>"),
		"flood": func(w http.ResponseWriter, r *http.Request) {
			good(w, r)
			_, _ = w.Write(bytes.Repeat([]byte(" "), maxAnswer))
		},
		"other issuer": metadata(ours, ours, ours, issuer(b.Authority, b.partner.ID)),
		"other host":   metadata("https://evil.example/x", ours, ours, right),
		"other token":  metadata(ours, "https://evil.example/x", ours, right),
		"other keys":   metadata(ours, ours, "https://evil.example/x", right),
		"in clear":     metadata(ours, "http://"+b.Authority+"/x", ours, right),
		"with a name":  metadata(ours, "https://evil@"+b.Authority+"/x", ours, right),
	} {
		t.Run(name, func(t *testing.T) {
			b.Break("discovery", h)
			_, err := b.provider(t).Begin(t.Context(), authn.Ask{State: "s"})
			wantError(t, err, authn.Unavailable, "entra_bad_answer")
		})
	}
	b.Break("discovery", good)
	if _, err := b.provider(t).Begin(t.Context(), authn.Ask{State: "s"}); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestNoPublicURL(t *testing.T) {
	b := newBench(t)
	p, err := open("cloud", b.config(), Surroundings{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Begin(t.Context(), authn.Ask{State: "s"})
	wantError(t, err, authn.Unavailable, "no_public_url")
	wantError(t, p.check(t.Context()), authn.Unavailable, "no_public_url")
	if b.Calls("discovery") != 0 {
		t.Error("Entra was asked")
	}
}

func TestTwoFactorsOfEntras(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		person func(*entra.Person)
		want   bool
	}{
		"not accepted":     {func(*Config) {}, func(p *entra.Person) { p.Methods = []string{"pwd", "mfa"} }, false},
		"amr":              {func(c *Config) { c.AcceptMFA = true }, func(p *entra.Person) { p.Methods = []string{"pwd", "mfa"} }, true},
		"amr without":      {func(c *Config) { c.AcceptMFA = true }, func(p *entra.Person) { p.Methods = []string{"pwd"} }, false},
		"no amr":           {func(c *Config) { c.AcceptMFA = true }, func(*entra.Person) {}, false},
		"context":          {authContext, func(p *entra.Person) { p.Contexts = []string{"c3"} }, true},
		"another context":  {authContext, func(p *entra.Person) { p.Contexts = []string{"c4"} }, false},
		"amr, not context": {authContext, func(p *entra.Person) { p.Methods = []string{"mfa"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.app.OptionalClaims = []string{"amr"}
			c.person(b.ann)
			got := b.good(t, b.provider(t, c.change), b.ann)
			if slices.Contains(got.Factors, authn.FactorIdPMFA) != c.want || got.Factors[0] != authn.FactorIdP {
				t.Errorf("factors %v", got.Factors)
			}
		})
	}
}

func authContext(c *Config) { c.AcceptMFA, c.AuthenticationContext = true, "c3" }

func TestContextNobodyAskedFor(t *testing.T) {
	b := newBench(t)
	b.claims(map[string]any{"acrs": []string{"c3"}})
	if got := b.good(t, b.provider(t), b.ann); len(got.Factors) != 1 {
		t.Errorf("factors %v", got.Factors)
	}
}
