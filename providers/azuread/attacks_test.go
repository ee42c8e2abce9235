package azuread

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv/entra"
)

// raw writes a JWT by hand.
func raw(header, claims map[string]any, sign func(text []byte) []byte) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

// TestForgedSignatures: what the token endpoint hands out is believed only if Entra's key signed it.
func TestForgedSignatures(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	kid, key := b.SigningKey()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	none := func([]byte) []byte { return nil }
	with := func(secret []byte) func([]byte) []byte {
		return func(text []byte) []byte {
			m := hmac.New(sha256.New, secret)
			m.Write(text)
			return m.Sum(nil)
		}
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	forged := func(alg string, sign func([]byte) []byte) func(*entra.Token) {
		return func(t *entra.Token) {
			t.Raw = raw(map[string]any{"alg": alg, "typ": "JWT", "kid": kid}, t.Claims, sign)
		}
	}
	for name, c := range map[string]struct {
		change func(*entra.Token)
		reason string
	}{
		"alg none":                  {forged("none", none), "id_token_malformed"},
		"alg None":                  {forged("None", none), "id_token_malformed"},
		"HS256 with the public key": {forged("HS256", with(der)), "id_token_malformed"},
		"HS256 with its PEM":        {forged("HS256", with(publicPEM)), "id_token_malformed"},
		"RS256 without a signature": {forged("RS256", none), "id_token_signature"},
		"another key, our kid":      {func(t *entra.Token) { t.Key = other }, "id_token_signature"},
		"another key, its kid":      {func(t *entra.Token) { t.Key, t.Header["kid"] = other, "theirs" }, "id_token_unknown_key"},
		"another key, shown in it": {func(t *entra.Token) {
			t.Key = other
			t.Header["jwk"] = map[string]any{"kty": "RSA", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(other.N.Bytes())}
		}, "id_token_signature"},
		"no kid": {func(t *entra.Token) { delete(t.Header, "kid") }, "id_token_unknown_key"},
		"claims changed afterwards": {func(t *entra.Token) {
			t.Raw = raw(t.Header, t.Claims, func([]byte) []byte { return make([]byte, 256) })
		}, "id_token_signature"},
		"no token":    {func(t *entra.Token) { t.Raw = "-" }, "id_token_missing"},
		"not a token": {func(t *entra.Token) { t.Raw = "a.b" }, "id_token_malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			b.Tokens(nil)
			b.good(t, p, b.ann)
			b.Tokens(c.change)
			_, err := b.signIn(t, p, b.ann)
			wantError(t, err, authn.Untrusted, c.reason)
		})
	}
}

// TestForgedClaims: signed by Entra's key, as a token for somebody else's tenant is, and yet not for us.
func TestForgedClaims(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	now := b.time().Unix()
	for name, c := range map[string]struct {
		claims map[string]any
		reason string
	}{
		"other tenant":      {map[string]any{"tid": b.partner.ID, "iss": issuer(b.Authority, b.partner.ID)}, "id_token_wrong_issuer"},
		"other tid":         {map[string]any{"tid": b.partner.ID}, "id_token_wrong_issuer"},
		"other issuer":      {map[string]any{"iss": issuer(b.Authority, b.partner.ID)}, "id_token_wrong_issuer"},
		"other host":        {map[string]any{"iss": issuer("login.evil.example", b.tenant.ID)}, "id_token_wrong_issuer"},
		"issuer v1.0":       {map[string]any{"iss": "https://sts.windows.net/" + b.tenant.ID + "/"}, "id_token_wrong_issuer"},
		"no issuer":         {map[string]any{"iss": nil}, "id_token_wrong_issuer"},
		"version 1.0":       {map[string]any{"ver": "1.0"}, "id_token_version"},
		"no version":        {map[string]any{"ver": nil}, "id_token_version"},
		"no tid":            {map[string]any{"tid": nil}, "id_token_without_subject"},
		"no oid":            {map[string]any{"oid": nil}, "id_token_without_subject"},
		"oid not a GUID":    {map[string]any{"oid": "ann"}, "id_token_without_subject"},
		"other audience":    {map[string]any{"aud": entra.GUID("other app")}, "id_token_wrong_audience"},
		"two audiences":     {map[string]any{"aud": []string{b.app.ID, "x"}}, "id_token_wrong_audience"},
		"no audience":       {map[string]any{"aud": nil}, "id_token_wrong_audience"},
		"other party":       {map[string]any{"azp": entra.GUID("other app")}, "id_token_wrong_party"},
		"expired":           {map[string]any{"exp": now - 61}, "id_token_expired"},
		"never expires":     {map[string]any{"exp": nil}, "id_token_expired"},
		"early":             {map[string]any{"nbf": now + 65}, "id_token_early"},
		"issued later":      {map[string]any{"iat": now + 65}, "id_token_early"},
		"never issued":      {map[string]any{"iat": nil}, "id_token_malformed"},
		"wrong nonce":       {map[string]any{"nonce": "x"}, "id_token_wrong_nonce"},
		"no nonce":          {map[string]any{"nonce": nil}, "id_token_wrong_nonce"},
		"groups not a list": {map[string]any{"groups": "src1"}, "id_token_malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			b.claims(map[string]any{"azp": b.app.ID, "exp": now - 50, "nbf": now + 50}) // the control's are at the edge of what is good
			b.good(t, p, b.ann)
			b.claims(c.claims)
			_, err := b.signIn(t, p, b.ann)
			wantError(t, err, authn.Untrusted, c.reason)
		})
	}
}

// TestKeyOfAnotherTenant: Microsoft's keys are shared, but one that is published for another issuer signs nothing for us.
func TestKeyOfAnotherTenant(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	b.good(t, p, b.ann)
	keys, err := p.home.signingKeys(t.Context())
	if err != nil || keys[0].issuer != issuer(b.Authority, b.tenant.ID) {
		t.Fatalf("%v %+v", err, keys)
	}
	keys[0].issuer = issuer(b.Authority, b.partner.ID)
	_, err = b.signIn(t, p, b.ann)
	wantError(t, err, authn.Untrusted, "id_token_wrong_issuer", "key")
}

// TestOtherTenant: with the tenant's own keys and a consistent issuer, only the list decides.
func TestOtherTenant(t *testing.T) {
	b := newBench(t)
	b.app.MultiTenant = true
	pat := b.partner.People[0]
	third := &entra.Tenant{ID: entra.GUID("third"), People: []*entra.Person{{OID: entra.GUID("eve"), UPN: "eve@third.example", Password: "pw-of-eve"}}}
	allowing := func(c *Config) { c.AllowedTenants = []string{b.partner.ID} }
	p := b.provider(t, allowing)
	b.Change(func() { b.AddTenant(third) })
	got := b.good(t, p, pat)
	if got.Subject != b.partner.ID+"/"+pat.OID || got.Username != "pat@partner.example" {
		t.Errorf("got %+v", got)
	}
	if got.Email != "" {
		t.Errorf("another tenant's word for an e-mail address was taken: %q", got.Email)
	}
	b.good(t, p, b.ann)
	j := b.journey(t, p, pat)
	answer := j.reply.RawQuery
	j.reply.RawQuery = answer + "&iss=" + url.QueryEscape(issuer(b.Authority, third.ID))
	_, err := p.Finish(t.Context(), j.pending, j.reply)
	wantError(t, err, authn.Untrusted, "answer_wrong_issuer")
	j.reply.RawQuery = answer + "&iss=" + url.QueryEscape(issuer(b.Authority, b.partner.ID))
	if _, err := p.Finish(t.Context(), j.pending, j.reply); err != nil {
		t.Errorf("the control: %v", err)
	}
	_, err = b.signIn(t, p, third.People[0])
	wantError(t, err, authn.Locked, "other_tenant")

	alone := b.provider(t)
	b.claims(map[string]any{"tid": b.partner.ID, "iss": issuer(b.Authority, b.partner.ID)})
	alone.home.keys.load = func(ctx context.Context) ([]signingKey, error) { return withoutIssuers(p.front.loadKeys(ctx)) }
	_, err = b.signIn(t, alone, b.ann)
	wantError(t, err, authn.Untrusted, "other_tenant")
	b.Tokens(nil)
	b.good(t, alone, b.ann)
}

// TestMixUp: an answer of one provider, brought to another. Each has an address of its own, and a code opens nothing at
// the wrong token endpoint.
func TestMixUp(t *testing.T) {
	b := newBench(t)
	b.partner.Apps = []*entra.App{{ID: entra.GUID("their app"), Secrets: map[string]time.Time{secret: {}}, RedirectURIs: []string{callback}}}
	ours := b.provider(t)
	theirs := b.provider(t, func(c *Config) { c.Tenant, c.ClientID = b.partner.ID, entra.GUID("their app") })
	atOurs, atTheirs := b.journey(t, ours, b.ann), b.journey(t, theirs, b.partner.People[0])
	_, err := ours.Finish(t.Context(), atOurs.pending, atTheirs.reply)
	wantError(t, err, authn.Untrusted, "code_refused")
	_, err = theirs.Finish(t.Context(), atTheirs.pending, atOurs.reply)
	wantError(t, err, authn.Untrusted, "code_refused")
	for _, c := range []struct {
		p *provider
		j journey
	}{{ours, atOurs}, {theirs, atTheirs}} {
		if _, err := c.p.Finish(t.Context(), c.j.pending, c.j.reply); err != nil {
			t.Errorf("the control: %v", err)
		}
	}
}

// TestUnknownKeyFlood: however many tokens with unknown keys arrive, Entra is asked for keys at most once a minute.
func TestUnknownKeyFlood(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	b.good(t, p, b.ann)
	flood := func() {
		b.Tokens(func(t *entra.Token) { t.Header["kid"] = "unknown" })
		for range 20 {
			_, err := b.signIn(t, p, b.ann)
			wantError(t, err, authn.Untrusted, "id_token_unknown_key")
		}
		b.Tokens(nil)
		b.good(t, p, b.ann)
	}
	for minute := range 3 {
		flood()
		if got := b.Calls("keys"); got != 1+minute {
			t.Errorf("minute %d: keys were fetched %d times", minute, got)
		}
		b.wait(time.Minute)
	}
}

func TestKeyRollOver(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	b.good(t, p, b.ann)
	b.RollOver(t)
	b.wait(time.Minute)
	b.good(t, p, b.ann)
	b.good(t, p, b.bob)
	if got := b.Calls("keys"); got != 2 {
		t.Errorf("keys were fetched %d times", got)
	}
	b.wait(freshFor)
	b.good(t, p, b.ann)
	if got := b.Calls("keys"); got != 3 {
		t.Errorf("old keys were not loaded anew: fetched %d times", got)
	}
}

// TestOldKeysServeWhileEntraIsSilent, and not for ever.
func TestOldKeysServeWhileEntraIsSilent(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	b.good(t, p, b.ann)
	b.Break("keys", status(503))
	b.wait(goodFor - time.Minute)
	b.good(t, p, b.ann)
	b.wait(time.Minute)
	_, err := b.signIn(t, p, b.ann)
	wantError(t, err, authn.Unavailable, "entra_bad_answer")
}

// TestManyAtOnceLoadOnce: a crowd at the start costs one load, and nobody waits for another's deadline.
func TestManyAtOnceLoadOnce(t *testing.T) {
	b := newBench(t)
	p := b.provider(t)
	done := make(chan error, 50)
	for range 50 {
		go func() {
			_, err := p.Begin(t.Context(), authn.Ask{State: "s"})
			done <- err
		}()
	}
	for range 50 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := b.Calls("discovery"); got != 1 {
		t.Errorf("loaded %d times", got)
	}
}

func TestGuests(t *testing.T) {
	b := newBench(t)
	guest := &entra.Person{OID: entra.GUID("gus"), UPN: "gus@elsewhere.example", Mail: "ann.lee@mail.example", Password: "pw", Guest: true, HomeID: b.partner.ID}
	b.tenant.People = append(b.tenant.People, guest)
	strict, open := b.provider(t), b.provider(t, func(c *Config) { c.Guests = guestsAccept })
	for name, optional := range map[string][]string{"by idp": nil, "by acct": {"acct"}} {
		t.Run(name, func(t *testing.T) {
			b.Change(func() { b.app.OptionalClaims = optional })
			b.good(t, strict, b.ann)
			_, err := b.signIn(t, strict, guest)
			wantError(t, err, authn.Locked, "guest_refused")
			got := b.good(t, open, guest)
			if got.Username != "gus@elsewhere.example#EXT#" || got.Email != "" || got.Subject != b.tenant.ID+"/"+guest.OID {
				t.Errorf("a guest reads like a member: %+v", got)
			}
			if got := b.good(t, open, b.ann); got.Username != "ann@corp.example" || got.Email == "" {
				t.Errorf("a member reads like a guest: %+v", got)
			}
		})
	}
	t.Run("proven e-mail", func(t *testing.T) {
		b.claims(map[string]any{"xms_edov": "1"})
		if got := b.good(t, open, guest); got.Email != "ann.lee@mail.example" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestUsernameClaim(t *testing.T) {
	b := newBench(t)
	p := b.provider(t, func(c *Config) { c.UsernameClaim = "onprem_name" })
	_, err := b.signIn(t, p, b.ann)
	wantError(t, err, authn.Unavailable, "entra_config", "onprem_name")
	b.claims(map[string]any{"onprem_name": "alee"})
	if got := b.good(t, p, b.ann); got.Username != "alee" {
		t.Errorf("got %+v", got)
	}
}

// withoutIssuers takes away what would refuse another tenant's token before the list does.
func withoutIssuers(keys []signingKey, err error) ([]signingKey, error) {
	for i := range keys {
		keys[i].issuer = ""
	}
	return keys, err
}
