package azuread

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// tokens is the token endpoint's answer. None of them is kept longer than the sign-in, or logged.
type tokens struct {
	ID      string `json:"id_token"`
	Access  string `json:"access_token"`
	Expires int64  `json:"expires_in"` // seconds
}

// ask makes a token request (RFC 6749, section 3.2). A credential that Entra refuses makes way for the next one: while one
// is being replaced, both are configured. Nothing else is tried twice.
func (p *provider) ask(ctx context.Context, a *authority, grant url.Values) (tokens, error) {
	m, err := a.endpoints(ctx)
	if err != nil {
		return tokens{}, err
	}
	var refused []error
	for _, i := range p.wallet.order() {
		t, again, err := p.askWith(ctx, p.wallet.held[i], m.TokenURL, grant)
		if err == nil {
			p.wallet.took(i)
			return t, nil
		}
		if !again {
			return tokens{}, err
		}
		refused = append(refused, err)
	}
	return tokens{}, first(refused)
}

// first is the first error, with the others behind it.
func first(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return authn.Errorf(authn.KindOf(errs[0]), authn.ReasonOf(errs[0]), "no credential is accepted: %w", errors.Join(errs...))
}

// askWith makes the request with one credential; again tells that another one could be accepted.
func (p *provider) askWith(
	ctx context.Context, c credential, endpoint string, grant url.Values,
) (t tokens, again bool, err error) {
	proof, err := c.prove(p.config.ClientID, endpoint, p.now())
	if err != nil {
		return t, true, err
	}
	form := url.Values{"client_id": {p.config.ClientID}}
	maps.Copy(form, grant)
	maps.Copy(form, proof)
	got, err := p.web.post(ctx, endpoint, form)
	if err != nil {
		return t, false, err
	}
	if got.status == http.StatusOK {
		return t, false, got.into(&t, "the token endpoint's answer")
	}
	r, ok := readRefusal(got.body)
	if !ok {
		return t, false, got.into(&t, "the token endpoint's answer")
	}
	r.credential = c.name
	return t, r.blamesCredential(), r.err()
}

// redeem turns an authorisation code into tokens.
func (p *provider) redeem(ctx context.Context, code string, a asked) (tokens, error) {
	return p.ask(ctx, p.front, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.Callback}, "code_verifier": {a.Verifier},
	})
}

// newAppToken asks for an access token to Graph of the application's own. It works without any permission there.
func (p *provider) newAppToken(ctx context.Context) (tokens, error) {
	return p.ask(ctx, p.home, p.appGrant())
}

func (p *provider) appGrant() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "scope": {p.scope(".default")}}
}

// application is the application's own access token to Graph, a new one in time before the last one ends.
func (p *provider) application(ctx context.Context) (string, error) {
	const key, reserve = "", 5 * time.Minute
	if token, ok := p.appToken.get(key); ok {
		return token, nil
	}
	t, err := p.newAppToken(ctx)
	if err != nil {
		return "", err
	}
	p.appToken.put(key, t.Access, time.Duration(t.Expires)*time.Second-reserve)
	return t.Access, nil
}

// scope is a permission of Graph, as requests name it.
func (p *provider) scope(permission string) string {
	return "https://" + p.config.Graph + "/" + permission
}
