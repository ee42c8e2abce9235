package azuread

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/idbridge/idbridge/authn"
)

// asked is what we remember of a sign-in while the person is away.
type asked struct {
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // PKCE, RFC 7636; without the code it opens nothing
	Callback string    `json:"callback"` // where the person comes back to
	Since    time.Time `json:"since"`    // the person was to prove who they are after that; zero: before would do
}

// Begin implements authn.RedirectProvider: an authorisation request (OpenID Connect Core, section 3.1.2.1) with PKCE.
func (p *provider) Begin(ctx context.Context, ask authn.Ask) (authn.Redirect, error) {
	callback := p.callbacks[ask.Door]
	if callback == "" {
		return authn.Redirect{}, p.by(errNoPublicURL())
	}
	m, err := p.front.endpoints(ctx)
	if err != nil {
		return authn.Redirect{}, p.by(err)
	}
	a := asked{Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Callback: callback}
	if ask.Anew {
		a.Since = p.now()
	}
	pending, err := json.Marshal(a)
	if err != nil {
		return authn.Redirect{}, err
	}
	request := oauth2.Config{
		ClientID: p.config.ClientID, RedirectURL: callback, Scopes: p.scopes(), Endpoint: oauth2.Endpoint{AuthURL: m.AuthURL},
	}
	options := []oauth2.AuthCodeOption{
		oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier), oauth2.SetAuthURLParam("response_mode", "query"),
	}
	if c := p.config.AuthenticationContext; c != "" {
		claims := fmt.Sprintf(`{"id_token":{"acrs":{"essential":true,"value":%q}}}`, c)
		options = append(options, oauth2.SetAuthURLParam("claims", claims))
	}
	if ask.Anew { // max_age makes Entra say when the person proved who they are, also where prompt was taken off on the way
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return authn.Redirect{URL: request.AuthCodeURL(ask.State, options...), Pending: pending}, nil
}

// scopes are what is asked for: who the person is, and where groups may be needed, to read the person's own.
func (p *provider) scopes() []string {
	list := []string{oidc.ScopeOpenID, "profile", "email"}
	if p.config.Groups.Source == groupsGroups {
		list = append(list, p.scope("User.Read"))
		if p.config.Groups.By != byID {
			list = append(list, p.scope("GroupMember.Read.All"))
		}
	}
	return list
}

// Finish implements authn.RedirectProvider.
func (p *provider) Finish(ctx context.Context, pending []byte, reply authn.Reply) (authn.Identity, error) {
	id, err := p.finish(ctx, pending, reply)
	if err != nil {
		return authn.Identity{}, p.by(err)
	}
	return id, nil
}

func (p *provider) finish(ctx context.Context, pending []byte, reply authn.Reply) (authn.Identity, error) {
	var a asked
	if pending == nil || json.Unmarshal(pending, &a) != nil || a.Nonce == "" || a.Verifier == "" {
		return authn.Identity{}, refuse("answer_unasked", "there is no sign-in that this answer belongs to")
	}
	code, err := p.readReply(reply)
	if err != nil {
		return authn.Identity{}, err
	}
	t, err := p.redeem(ctx, code, a)
	if err != nil {
		return authn.Identity{}, err
	}
	c, err := p.verify(ctx, p.front, t.ID, a)
	if err != nil {
		return authn.Identity{}, err
	}
	id, err := p.identity(c)
	if err != nil {
		return authn.Identity{}, err
	}
	id.Groups, err = p.groupsOf(ctx, c, t.Access)
	return id, err
}

// maxReply is more than Entra sends back, even with a long error.
const maxReply = 16 << 10

// readReply takes the code out of an authorisation response (RFC 6749, section 4.1.2), or the error.
func (p *provider) readReply(reply authn.Reply) (code string, err error) {
	q, err := url.ParseQuery(reply.RawQuery)
	if reply.Method != http.MethodGet || len(reply.RawQuery) > maxReply || err != nil {
		return "", refuse("answer_malformed", "an answer comes by GET, with a query of at most %d bytes", maxReply)
	}
	for _, name := range []string{"code", "state", "error", "error_description", "iss"} {
		if len(q[name]) > 1 {
			return "", refuse("answer_malformed", "%s was given twice", name)
		}
	}
	// RFC 9207; Entra does not send it so far.
	if iss := q.Get("iss"); iss != "" && !p.mayIssue(iss) {
		return "", refuse("answer_wrong_issuer", "the answer is one of %q", cut(iss))
	}
	if q.Has("error") {
		return "", returnedRefusal(q).err()
	}
	if q.Get("code") == "" {
		return "", refuse("answer_malformed", "the answer has neither a code nor an error")
	}
	return q.Get("code"), nil
}

// mayIssue tells whether an issuer is that of a tenant whose people may sign in.
func (p *provider) mayIssue(iss string) bool {
	return slices.ContainsFunc(append([]string{p.config.Tenant}, p.config.AllowedTenants...), func(tenant string) bool {
		return iss == issuer(p.config.Authority, tenant)
	})
}
