package azuread

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/idbridge/idbridge/authn"
)

// organisations is the authority of every tenant's people, without personal accounts.
const organisations = "organizations"

// placeholder stands for the tenant's id in documents that are for all organisations.
const placeholder = "{tenantid}"

// signingAlgorithms are those of an ID token that are believed: with a public key, and nothing else. Entra uses the first.
func signingAlgorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512}
}

// authority is where the people of one tenant, or of all organisations, sign in: its addresses and its signing keys.
type authority struct {
	web      *web
	host     string
	name     string // the tenant's id, or organizations
	metadata *kept[oidc.ProviderConfig]
	keys     *kept[[]signingKey]
}

// signingKey is a key that Entra publishes, and the issuer that it is published for.
type signingKey struct {
	jose.JSONWebKey
	issuer string
}

func newAuthority(w *web, host, name string, now func() time.Time) *authority {
	a := &authority{web: w, host: host, name: name}
	a.metadata = &kept[oidc.ProviderConfig]{load: a.loadMetadata, timeout: w.timeout, now: now}
	a.keys = &kept[[]signingKey]{load: a.loadKeys, timeout: w.timeout, now: now}
	return a
}

// issuer is the one of a tenant at this host.
func issuer(host, tenant string) string { return "https://" + host + "/" + tenant + "/v2.0" }

// endpoints are the authority's addresses. Unavailable.
func (a *authority) endpoints(ctx context.Context) (oidc.ProviderConfig, error) {
	return a.metadata.get(ctx, func(oidc.ProviderConfig) bool { return true })
}

// loadMetadata reads the discovery document (OpenID Connect Discovery 1.0, section 4) and believes it about this authority
// only: our issuer, and addresses at our host.
func (a *authority) loadMetadata(ctx context.Context) (m oidc.ProviderConfig, err error) {
	const what = "the tenant's OpenID configuration"
	got, err := a.web.get(ctx, "https://"+a.host+"/"+a.name+"/v2.0/.well-known/openid-configuration", "")
	if err != nil {
		return m, err
	}
	if got.status != 200 {
		if r, ok := readRefusal(got.body); ok {
			return m, r.err()
		}
	}
	if err := got.into(&m, what); err != nil {
		return m, err
	}
	tenant := a.name
	if tenant == organisations {
		tenant = placeholder
	}
	if m.IssuerURL != issuer(a.host, tenant) {
		return m, authn.Errorf(authn.Unavailable, "entra_bad_answer", "%s is of the issuer %q", what, cut(m.IssuerURL))
	}
	for _, address := range []string{m.AuthURL, m.TokenURL, m.JWKSURL} {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host != a.host || u.User != nil {
			return m, authn.Errorf(authn.Unavailable, "entra_bad_answer", "%s leads elsewhere: %q", what, cut(address))
		}
	}
	return m, nil
}

// signingKeys are the authority's keys, as they are known. Unavailable.
func (a *authority) signingKeys(ctx context.Context) ([]signingKey, error) {
	return a.keys.get(ctx, func([]signingKey) bool { return true })
}

func (a *authority) loadKeys(ctx context.Context) ([]signingKey, error) {
	m, err := a.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	got, err := a.web.get(ctx, m.JWKSURL, "")
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := got.into(&set, "the signing keys"); err != nil {
		return nil, err
	}
	var keys []signingKey
	for _, raw := range set.Keys {
		if k, ok := readKey(raw); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, authn.Errorf(authn.Unavailable, "entra_bad_answer", "the signing keys: none that can be used")
	}
	return keys, nil
}

// readKey passes over keys that are not for RSA signatures of at least 2048 bits.
func readKey(raw []byte) (k signingKey, ok bool) {
	var more struct {
		Issuer string `json:"issuer"`
	}
	if json.Unmarshal(raw, &k.JSONWebKey) != nil || json.Unmarshal(raw, &more) != nil {
		return k, false
	}
	public, isRSA := k.Key.(*rsa.PublicKey)
	k.issuer = more.Issuer
	return k, isRSA && public.N.BitLen() >= 2048 && k.KeyID != "" && (k.Use == "" || k.Use == "sig")
}

// payload verifies a token's signature, and returns what was signed with the issuer that the key is published for. A key
// that is not known yet is looked for at Entra, at most once a minute. Untrusted, Unavailable.
func (a *authority) payload(ctx context.Context, token string) (payload []byte, keyIssuer string, err error) {
	parsed, err := jose.ParseSigned(token, algorithms())
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, "", authn.Errorf(authn.Untrusted, "id_token_malformed",
			"the ID token is not a JWT with one signature of an accepted algorithm")
	}
	id := parsed.Signatures[0].Header.KeyID
	named := func(k signingKey) bool { return k.KeyID == id }
	keys, err := a.keys.get(ctx, func(known []signingKey) bool { return slices.ContainsFunc(known, named) })
	i := slices.IndexFunc(keys, named)
	switch {
	case i < 0 && err != nil:
		return nil, "", err
	case i < 0:
		return nil, "", authn.Errorf(authn.Untrusted, "id_token_unknown_key", "Entra publishes no key %q", cut(id))
	}
	verifier := oidc.NewVerifier("", &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{keys[i].Key}}, &oidc.Config{
		SupportedSigningAlgs: signingAlgorithms(),
		// What the token says is judged in claims.go, where each refusal has a reason of its own.
		SkipIssuerCheck: true, SkipClientIDCheck: true, SkipExpiryCheck: true,
	})
	verified, err := verifier.Verify(ctx, token)
	if err != nil {
		return nil, "", authn.Errorf(authn.Untrusted, "id_token_signature", "the ID token's signature: %w", err)
	}
	var claims json.RawMessage
	if err := verified.Claims(&claims); err != nil {
		return nil, "", authn.Errorf(authn.Untrusted, "id_token_malformed", "the ID token's claims: %w", err)
	}
	return claims, keys[i].issuer, nil
}

func algorithms() (list []jose.SignatureAlgorithm) {
	for _, name := range signingAlgorithms() {
		list = append(list, jose.SignatureAlgorithm(name))
	}
	return list
}

// cut keeps what came from outside short and printable in a log.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}
