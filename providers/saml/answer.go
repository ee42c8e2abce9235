package saml

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/idbridge/idbridge/authn"
)

// Finish implements authn.RedirectProvider: the Response that a browser posted (saml-profiles 4.1.4).
func (p *provider) Finish(ctx context.Context, pending []byte, reply authn.Reply) (authn.Identity, error) {
	a, err := p.question(pending)
	if err != nil {
		return authn.Identity{}, err
	}
	if reply.Method != http.MethodPost {
		return authn.Identity{}, refuse("wrong_binding", "the answer came with %s, not POST", cut(reply.Method))
	}
	field, err := only(reply.Form, "SAMLResponse")
	if err != nil {
		return authn.Identity{}, err
	}
	raw, err := decodePost(field)
	if err != nil {
		return authn.Identity{}, err
	}
	identity, err := p.accept(ctx, raw, a)
	p.note(ctx, Message{Direction: "in", Type: "Response", Username: identity.Username}, raw, err)
	return identity, err
}

// accept judges an answer and turns it into a person.
func (p *provider) accept(ctx context.Context, raw []byte, a asked) (authn.Identity, error) {
	v, err := p.judged(ctx, raw, a)
	if err != nil {
		return authn.Identity{}, err
	}
	if err := p.strongEnough(v); err != nil {
		return authn.Identity{}, err
	}
	identity, err := p.person(ctx, v)
	if err != nil {
		return authn.Identity{}, err
	}
	if identity.Session, err = p.remember(ctx, identity.Subject, v); err != nil {
		return authn.Identity{}, err
	}
	return identity, nil
}

// question is the request that an answer must be for. Without one the identity provider began by itself.
func (p *provider) question(pending []byte) (a asked, err error) {
	if pending == nil {
		if !p.config.IdPInitiated {
			return a, refuse("unsolicited", "nobody asked for this answer, and idp_initiated is off")
		}
		return a, nil
	}
	if err := json.Unmarshal(pending, &a); err != nil || a.ID == "" {
		return a, authn.Errorf(authn.Internal, "bad_pending", "what was kept of the request cannot be read: %w", err)
	}
	return a, nil
}

// only is the one value of a field: two readers could take different ones of several.
func only(form url.Values, field string) (string, error) {
	values := form[field]
	if len(values) != 1 {
		return "", refuse("no_message", "%d times %s, not once", len(values), field)
	}
	return values[0], nil
}

// judged has an answer judged. Where no known certificate signed it, those may have been rolled over since they were
// last read: they are read anew, at most twice a minute, and the answer gets a second chance.
func (p *provider) judged(ctx context.Context, raw []byte, a asked) (verified, error) {
	e, err := p.expectation(ctx, a)
	if err != nil {
		return verified{}, err
	}
	v, err := judge(ctx, raw, e)
	if err == nil || authn.ReasonOf(err) != "unknown_signer" || p.source.press(ctx) != nil {
		return v, err
	}
	again, fresh := p.expectation(ctx, a)
	if fresh != nil || slices.EqualFunc(again.Certificates, e.Certificates, sameCertificate) {
		return v, err
	}
	return judge(ctx, raw, again)
}

func (p *provider) expectation(ctx context.Context, a asked) (e expectation, err error) {
	known, err := p.source.get(ctx)
	if err != nil {
		return e, err
	}
	good := p.good(known.certificates)
	if len(good) == 0 {
		return e, errExpired()
	}
	private, err := p.keys.decrypters(ctx)
	if err != nil {
		return e, err
	}
	e = expectation{
		Provider: p.id, SP: p.entityID(), ACS: cmp.Or(a.ACS, p.acs()), IdP: p.config.EntityID, RequestID: a.ID, Certificates: good,
		WantSigned: signing(p.config.WantSigned), AllowSHA1: p.config.AllowSHA1, Keys: private, Skew: p.config.ClockSkew,
		WantEncrypted: p.config.WantEncrypted, Now: p.Now(), Replays: p.Replays,
	}
	if a.Anew {
		e.AuthnAfter = a.At
	}
	return e, nil
}

// strongEnough holds the identity provider to what was asked of it: to ask is no use if any answer will do.
func (p *provider) strongEnough(v verified) error {
	if len(p.config.AuthnContexts) > 0 && !slices.Contains(p.config.AuthnContexts, v.AuthnContext) {
		return refuse("authn_context", "authenticated by %q, which is not among authn_contexts", cut(v.AuthnContext))
	}
	return nil
}
