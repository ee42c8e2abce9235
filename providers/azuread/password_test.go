package azuread

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/testenv/entra"
)

func withPasswords(c *Config) { c.PasswordGrant = true }

// passwordBench has an application that may look people up.
func passwordBench(t *testing.T) *bench {
	b := newBench(t)
	b.app.Permissions = []string{"User.Read.All", "GroupMember.Read.All"}
	return b
}

func TestPasswordContract(t *testing.T) {
	b := passwordBench(t)
	off := &entra.Person{OID: entra.GUID("leo"), UPN: "leo@corp.example", Password: "pw-leo", Refused: 50057}
	quoted := &entra.Person{OID: entra.GUID("o'neil"), UPN: "o'neil@corp.example", Password: "pw-o'neil&x=y"}
	b.tenant.People = append(b.tenant.People, off, quoted)
	silent := newBench(t)
	silent.Break("token", hang)
	dead := silent.provider(t, withPasswords, func(c *Config) { c.RequestTimeout = time.Second })
	authntest.TestPasswordProvider(t, authntest.PasswordFixture{
		ProviderID: "cloud", Provider: passwords{b.provider(t, withPasswords)}, Dead: passwords{dead},
		Good: []authntest.Login{
			{Username: b.ann.UPN, Password: b.ann.Password}, {Username: b.bob.UPN, Password: b.bob.Password},
			{Username: quoted.UPN, Password: quoted.Password},
		},
		Locked: authntest.Login{Username: off.UPN, Password: off.Password},
	})
}

func TestPasswordsAreOff(t *testing.T) {
	b := newBench(t)
	for on, change := range map[bool]func(*Config){false: func(*Config) {}, true: withPasswords} {
		made, err := New("cloud", "Cloud", b.config(change), authn.Route{}, Surroundings{PublicURL: portalURL})
		if err != nil {
			t.Fatal(err)
		}
		if (made.Password != nil) != on || made.Redirect == nil || made.Lookup != nil {
			t.Errorf("password grant %v: %+v", on, made)
		}
	}
}

// TestBothDoorsKnowTheSamePerson: one account, one IT user, one throttle, however somebody signs in.
func TestBothDoorsKnowTheSamePerson(t *testing.T) {
	b := passwordBench(t)
	b.ann.Groups = ids(250)
	p := b.provider(t, withPasswords, withGroups)
	browser := b.good(t, p, b.ann)
	account, err := passwords{p}.Find(t.Context(), "ANN@corp.example")
	if err != nil {
		t.Fatal(err)
	}
	typed, err := passwords{p}.Verify(t.Context(), account, password)
	if err != nil {
		t.Fatal(err)
	}
	if typed.Subject != browser.Subject || typed.Username != browser.Username || typed.Email != browser.Email || typed.Name != browser.Name {
		t.Errorf("%+v\n%+v", typed, browser)
	}
	if len(account.Groups) != 250 || !slices.Equal(typed.Groups, browser.Groups) {
		t.Errorf("%d groups", len(account.Groups))
	}
}

// TestPasswordRefusals: each number has its kind and reason, with what to do and the ids for Entra's log.
func TestPasswordRefusals(t *testing.T) {
	for number, want := range map[int]struct {
		kind   authn.Kind
		reason string
	}{
		50126:  {authn.BadCredentials, "wrong_password"},
		50034:  {authn.BadCredentials, "unknown_user"},
		50053:  {authn.Locked, "account_locked"},
		50055:  {authn.Locked, authn.ReasonPasswordExpired},
		50144:  {authn.Locked, authn.ReasonPasswordExpired},
		50135:  {authn.Locked, authn.ReasonPasswordMustChange},
		50057:  {authn.Locked, "account_disabled"},
		80012:  {authn.Locked, "logon_hours"},
		50076:  {authn.NotEnrolled, "idp_mfa_required"},
		50079:  {authn.NotEnrolled, "idp_mfa_required"},
		50158:  {authn.NotEnrolled, "idp_mfa_required"},
		53003:  {authn.Locked, "conditional_access"},
		530035: {authn.Locked, "conditional_access"},
		50105:  {authn.Locked, "not_assigned"},
		65001:  {authn.Locked, "consent_missing"},
		80002:  {authn.Unavailable, "entra_busy"},
		90033:  {authn.Unavailable, "entra_busy"},
		50000:  {authn.Unavailable, "entra_busy"},
		99999:  {authn.Unavailable, "entra_refused"},
	} {
		b := passwordBench(t)
		p := passwords{b.provider(t, withPasswords)}
		account, err := p.Find(t.Context(), b.ann.UPN)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Verify(t.Context(), account, password); err != nil {
			t.Fatalf("the control: %v", err)
		}
		b.Change(func() { b.ann.Demand = number })
		if number == 50053 {
			b.Change(func() { b.ann.Refused = number })
		}
		_, err = p.Verify(t.Context(), account, password)
		wantError(t, err, want.kind, want.reason, "AADSTS", entra.CorrelationID(number))
		if want.reason == "idp_mfa_required" {
			wantError(t, err, want.kind, want.reason, "sign-in token")
		}
	}
}

// TestRefusedApplicationCostsNoAttempt: while the application's own credential is wrong, nobody's password is judged.
func TestRefusedApplicationCostsNoAttempt(t *testing.T) {
	for number, c := range map[string]struct {
		change func(*bench)
		reason string
	}{
		"AADSTS7000222": {func(b *bench) { b.app.Secrets[secret] = b.moment }, "app_credential_expired"},
		"AADSTS90002":   {func(b *bench) { b.Break("token", notFound) }, "entra_config"},
	} {
		b := passwordBench(t)
		p := passwords{b.provider(t, withPasswords)}
		account, err := p.Find(t.Context(), b.ann.UPN)
		if err != nil {
			t.Fatal(err)
		}
		c.change(b)
		_, err = p.Verify(t.Context(), account, password)
		wantError(t, err, authn.Unavailable, c.reason, number)
	}
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"AADSTS90002: Tenant not found.","error_codes":[90002]}`))
}

// TestAnotherAccountProven: Entra's answer must be about the account that the throttle counted.
func TestAnotherAccountProven(t *testing.T) {
	b := passwordBench(t)
	p := passwords{b.provider(t, withPasswords)}
	account, err := p.Find(t.Context(), b.ann.UPN)
	if err != nil {
		t.Fatal(err)
	}
	b.claims(map[string]any{"oid": b.bob.OID})
	_, err = p.Verify(t.Context(), account, password)
	wantError(t, err, authn.Untrusted, "subject_changed")
	b.claims(map[string]any{"nonce": "of a browser's sign-in"})
	_, err = p.Verify(t.Context(), account, password)
	wantError(t, err, authn.Untrusted, "id_token_wrong_nonce")
	b.Tokens(nil)
	if _, err = p.Verify(t.Context(), account, password); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestFindAsksForNobodyElse(t *testing.T) {
	b := passwordBench(t)
	b.tenant.People = append(b.tenant.People, &entra.Person{OID: entra.GUID("gus"), UPN: "gus_x.example#EXT#@corp.example", Guest: true})
	p := passwords{b.provider(t, withPasswords)}
	if _, err := p.Find(t.Context(), b.ann.UPN); err != nil {
		t.Fatal(err)
	}
	asked := b.Calls("graph")
	for _, name := range []string{b.ann.OID, "ann", "@", "a@b@c", "ann\n@corp.example"} {
		_, err := p.Find(t.Context(), name)
		wantError(t, err, authn.BadCredentials, "unknown_user")
	}
	for _, name := range []string{"nobody@corp.example", "gus_x.example#EXT#@corp.example", "x' or 'a' eq 'a@corp.example"} {
		_, err := p.Find(t.Context(), name)
		wantError(t, err, authn.BadCredentials, "unknown_user")
	}
	if b.Calls("graph") > asked+4 {
		t.Error("names that cannot be user principal names reached Graph")
	}
}

// TestAppTokenIsKept, and renewed before it ends.
func TestAppTokenIsKept(t *testing.T) {
	b := passwordBench(t)
	p := passwords{b.provider(t, withPasswords)}
	for range 3 {
		if _, err := p.Find(t.Context(), b.ann.UPN); err != nil {
			t.Fatal(err)
		}
	}
	if b.Calls("token") != 1 {
		t.Errorf("%d tokens", b.Calls("token"))
	}
	b.wait(55 * time.Minute)
	if _, err := p.Find(t.Context(), b.ann.UPN); err != nil || b.Calls("token") != 2 {
		t.Errorf("%v, %d tokens", err, b.Calls("token"))
	}
}

func TestNoPermissionToFindPeople(t *testing.T) {
	b := newBench(t)
	p := passwords{b.provider(t, withPasswords)}
	_, err := p.Find(t.Context(), b.ann.UPN)
	wantError(t, err, authn.Unavailable, "graph_denied", "admin consent")
	wantError(t, p.check(t.Context()), authn.Unavailable, "graph_denied", "admin consent")
	b.Change(func() { b.app.Permissions = []string{"User.Read.All"} })
	b.wait(time.Hour)
	if _, err := p.Find(t.Context(), b.ann.UPN); err != nil {
		t.Errorf("the control: %v", err)
	}
	if err := p.check(t.Context()); err != nil {
		t.Errorf("the control: %v", err)
	}
}
