package azuread

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/saml"
	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/testenv/entra"
)

// samlRows stands in for the store.
type samlRows struct {
	mu   sync.Mutex
	keys []saml.OwnKey
	seen map[string]bool
}

func (m *samlRows) SAMLKeys(context.Context, string) ([]saml.OwnKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.keys), nil
}

func (m *samlRows) AddSAMLKey(_ context.Context, k saml.OwnKey, _ string, _ time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = append(m.keys, k)
	return true, nil
}

func (m *samlRows) Seen(_ context.Context, provider, id string, _ time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := !m.seen[provider+id]
	m.seen[provider+id] = true
	return first, nil
}

func (m *samlRows) EndAccountSessions(context.Context, string, string, string) (int, error) {
	return 0, nil
}
func (m *samlRows) AddSAMLSession(context.Context, saml.Session) error { return nil }
func (m *samlRows) RemoveSAMLSession(context.Context, string) error    { return nil }
func (m *samlRows) SAMLSessions(context.Context, string, string, string) ([]saml.Session, error) {
	return nil, nil
}

// assertionOf is what Entra says of a member by default, with changes.
func (b *bench) assertionOf(p *entra.Person, change map[string][]string) map[string][]string {
	said := map[string][]string{
		claimTenant: {b.tenant.ID}, claimObject: {p.OID}, claimDisplay: {p.Name}, claimName: {p.UPN}, claimEmail: {p.Mail},
		claimGiven: {"Ann"}, claimSurname: {"Lee"}, claimProvider: {"https://sts.windows.net/" + b.tenant.ID + "/"},
		claimMethods: {"http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password"},
	}
	for name, values := range change {
		if said[name] = values; values == nil {
			delete(said, name)
		}
	}
	return said
}

// samlBench is a tenant whose SAML side is a SimpleSAMLphp that calls itself what Entra does, and says what Entra says.
type samlBench struct {
	*bench
	idp *testenv.SimpleSAMLphpServer
	sp  *saml.ServiceProvider
}

const samlACS = portalURL + "/saml/cloud/acs"

func newSAMLBench(t *testing.T, people map[string]map[string][]string) *samlBench {
	t.Helper()
	b := &samlBench{bench: newBench(t)}
	known := map[string]testenv.SAMLPerson{}
	for name, change := range people {
		known[name] = testenv.SAMLPerson{Password: "pw", Attributes: b.assertionOf(b.ann, change)}
	}
	issuer := "https://sts.windows.net/" + b.tenant.ID + "/"
	b.idp = testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{Entity: issuer, People: known, Parties: []testenv.SAMLParty{{
		EntityID: portalURL + "/saml/cloud/metadata", ACS: samlACS, SignAssertion: true,
		NameIDFormat: "emailAddress", NameIDFrom: claimName,
	}}})
	b.tenant.SAML = &entra.Federation{Entity: issuer, SSO: b.idp.SSO, Certificate: b.idp.Certificate.Raw}
	line, err := keyring.Generate("test")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	rows := &samlRows{seen: map[string]bool{}}
	b.sp = saml.NewServiceProvider(saml.Surroundings{
		PublicURL: portalURL, Keys: rows, Sealer: ring, Replays: rows, Sessions: rows, IdPSessions: rows,
	})
	return b
}

// bySAML makes a provider; without further changes it has no credentials.
func (b *samlBench) bySAML(t *testing.T, change ...func(*Config)) authn.Provider {
	t.Helper()
	base := func(c *Config) { c.Protocol, c.Credentials = protocolSAML, nil }
	made, err := New("cloud", "Cloud", b.config(append([]func(*Config){base}, change...)...), authn.Route{},
		Surroundings{PublicURL: portalURL, SAML: b.sp})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (b *samlBench) come(t *testing.T, p authn.Provider, name string) (authn.Identity, error) {
	t.Helper()
	to, err := p.Redirect.Begin(t.Context(), authn.Ask{State: "state"})
	if err != nil {
		t.Fatal(err)
	}
	m := b.idp.Browser(name, "pw").Go(t, to.URL, to.Fields)
	if m.To != samlACS {
		t.Fatalf("sent to %s", m.To)
	}
	return p.Redirect.Finish(t.Context(), to.Pending, authn.Reply{Method: m.Method, Form: m.Form, RawQuery: m.Query, Arrived: time.Now()})
}

func credentials(c *Config) { c.Credentials = []Credential{{Secret: secret}} }

// TestSAML: one person after the other at a real identity provider; what is wrong with one of them is told with its reason,
// and Ann, with whom nothing is wrong, is the control.
func TestSAML(t *testing.T) {
	many := ids(150)
	b := newSAMLBench(t, map[string]map[string][]string{
		"ann":    {claimGroups: many, claimRoles: {"Developers"}},
		"mfa":    {claimMethods: {"http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password", methodMFA}},
		"big":    {claimLink: {"https://graph.windows.net/x/users/y/getMemberObjects"}},
		"beside": {claimGroups: many[:1], claimLink: {"https://evil.example/"}},
		"plain":  {claimDisplay: nil},
		"guest":  {claimProvider: {"live.com"}, claimName: {"gus@elsewhere.example"}},
		"other":  {claimTenant: {entra.GUID("partner")}},
		"noone":  {claimObject: nil},
		"two":    {claimObject: {entra.GUID("a"), entra.GUID("b")}},
		"text":   {claimObject: {"ann"}},
		"noname": {claimName: nil},
		"spaced": {claimEmail: {"ann@corp.example "}},
	})
	b.ann.Groups = ids(1200)
	b.app.Permissions = []string{"User.Read.All", "GroupMember.Read.All"}
	t.Run("who", func(t *testing.T) { b.who(t) })
	t.Run("refusals", func(t *testing.T) { b.refusals(t) })
	t.Run("groups", func(t *testing.T) { b.groupsOf(t, many) })
	t.Run("check", func(t *testing.T) { b.checks(t) })
}

func (b *samlBench) who(t *testing.T) {
	p := b.bySAML(t)
	got, err := b.come(t, p, "ann")
	if err != nil {
		t.Fatal(err)
	}
	oidc := b.good(t, b.provider(t), b.ann)
	if got.Subject != oidc.Subject || got.Username != oidc.Username || got.Name != oidc.Name || got.Email != oidc.Email || got.Provider != "cloud" {
		t.Errorf("by SAML %+v\nby OpenID Connect %+v", got, oidc)
	}
	if got, err := b.come(t, p, "plain"); err != nil || got.Name != "Ann Lee" {
		t.Errorf("%+v, %v", got, err)
	}
	for accept, want := range map[bool][]string{false: {authn.FactorIdP}, true: {authn.FactorIdP, authn.FactorIdPMFA}} {
		p := b.bySAML(t, func(c *Config) { c.AcceptMFA = accept })
		if got, err := b.come(t, p, "mfa"); err != nil || !slices.Equal(got.Factors, want) {
			t.Errorf("accept_mfa %v: %v, %v", accept, got.Factors, err)
		}
		if got, err := b.come(t, p, "ann"); err != nil || len(got.Factors) != 1 {
			t.Errorf("a password alone: %v, %v", got.Factors, err)
		}
	}
	open := b.bySAML(t, func(c *Config) { c.Guests = guestsAccept })
	if got, err := b.come(t, open, "guest"); err != nil || got.Username != "gus@elsewhere.example#EXT#" || got.Email != "" {
		t.Errorf("a guest reads like a member: %+v, %v", got, err)
	}
}

func (b *samlBench) refusals(t *testing.T) {
	for name, want := range map[string]struct {
		kind   authn.Kind
		reason string
	}{
		"guest": {authn.Locked, "guest_refused"}, "other": {authn.Untrusted, "other_tenant"},
		"noone": {authn.Untrusted, "attribute_missing"}, "two": {authn.Untrusted, "attribute_missing"},
		"text": {authn.Untrusted, "attribute_malformed"}, "noname": {authn.Untrusted, "attribute_missing"},
		"spaced": {authn.Untrusted, "attribute_malformed"},
	} {
		_, err := b.come(t, b.bySAML(t), name)
		if authn.KindOf(err) != want.kind || authn.ReasonOf(err) != want.reason {
			t.Errorf("%s: %v, want %v (%s)", name, err, want.kind, want.reason)
		}
	}
}

func (b *samlBench) groupsOf(t *testing.T, many []string) {
	come := func(name string, change ...func(*Config)) []string {
		t.Helper()
		got, err := b.come(t, b.bySAML(t, change...), name)
		if err != nil {
			t.Error(err)
		}
		return got.Groups
	}
	if got := come("ann", withGroups); !slices.Equal(got, many) || b.Calls("graph") != 0 {
		t.Errorf("of the assertion: %d", len(got))
	}
	if got := come("ann", func(c *Config) { c.Groups.Source = groupsRoles }); !slices.Equal(got, []string{"Developers"}) {
		t.Errorf("app roles: %v", got)
	}
	if got := come("big"); got != nil {
		t.Errorf("nobody asked for groups: %v", got)
	}
	for _, name := range []string{"big", "beside", "plain"} {
		if got := come(name, withGroups, credentials); len(got) != 1200 {
			t.Errorf("%s: %d groups of Microsoft Graph", name, len(got))
		}
	}
	if got := come("plain", withGroups); len(got) != 0 {
		t.Errorf("without a claim: %v", got)
	}
	for _, name := range []string{"big", "beside"} {
		_, err := b.come(t, b.bySAML(t, withGroups), name)
		wantError(t, err, authn.Unavailable, "groups_incomplete", "credentials")
	}
	b.Break("graph", status(503))
	defer b.Break("graph", nil)
	_, err := b.come(t, b.bySAML(t, withGroups, credentials), "big")
	wantError(t, err, authn.Unavailable, "entra_busy")
}

func (b *samlBench) checks(t *testing.T) {
	quiet := func(string) {}
	plain, armed := b.bySAML(t), b.bySAML(t, credentials)
	for _, p := range []authn.Provider{plain, armed} {
		if err := p.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if f := finding(t, armed.Inspect(t.Context(), quiet), "credentials[0] (client secret)"); !f.OK() {
		t.Errorf("%+v", f)
	}
	b.Change(func() { delete(b.app.Secrets, secret) })
	wantError(t, b.bySAML(t, credentials).Check(t.Context()), authn.Unavailable, "app_credential", "AADSTS7000215")
	if err := plain.Check(t.Context()); err != nil {
		t.Error(err)
	}
	b.Change(func() { b.tenant.SAML = nil })
	if err := b.bySAML(t).Check(t.Context()); authn.ReasonOf(err) != "metadata_unreachable" {
		t.Errorf("without metadata: %v", err)
	}
}

func TestSAMLMistakes(t *testing.T) {
	sp := saml.NewServiceProvider(saml.Surroundings{})
	for want, change := range map[string]func(*Config){
		"allowed_tenants: with protocol: saml":             func(c *Config) { c.AllowedTenants = []string{entra.GUID("x")} },
		"authentication_context: is only for":              func(c *Config) { c.AcceptMFA, c.AuthenticationContext = true, "c1" },
		"credentials: are needed for password_grant":       func(c *Config) { c.PasswordGrant = true },
		"credentials: are needed for groups.by: Microsoft": func(c *Config) { c.Groups = Groups{groupsGroups, byDisplayName} },
	} {
		c := plain(func(c *Config) { c.Protocol, c.Credentials = protocolSAML, nil })
		if _, err := New("cloud", "", c, authn.Route{}, Surroundings{SAML: sp}); err != nil {
			t.Fatalf("the control: %v", err)
		}
		change(&c)
		if _, err := New("cloud", "", c, authn.Route{}, Surroundings{SAML: sp}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestEntityIDs(t *testing.T) {
	for authority, want := range map[string]string{
		"login.microsoftonline.com": "https://sts.windows.net/t/", "login.microsoftonline.us": "https://sts.windows.net/t/",
		"login.partner.microsoftonline.cn": "https://sts.chinacloudapi.cn/t/",
	} {
		if got := stsIssuer(authority, "t"); got != want {
			t.Errorf("%s: %s", authority, got)
		}
	}
}
