package saml

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/idbridge/idbridge/authn"
)

// Single logout (saml-profiles 4.4), through the browser. Ours ends whatever the other side does: SignOut is called when
// our session is gone already, and a LogoutRequest that is good ends ours before it is answered.

// logoutFresh is how old a LogoutRequest may be, and how long ours may be used.
const logoutFresh = 5 * time.Minute

// signOut is authn.Provider.SignOut: where a browser goes so that the identity provider ends its session too. A Redirect
// without URL means nowhere: it has no single logout, or nothing is known of the session.
func (p *provider) signOut(ctx context.Context, i authn.Identity) (authn.Redirect, error) {
	if p.IdPSessions == nil || i.Session == "" {
		return authn.Redirect{}, nil
	}
	list, err := p.IdPSessions.SAMLSessions(ctx, p.id, i.Session, "")
	if err != nil || len(list) != 1 {
		return authn.Redirect{}, err
	}
	if err := p.IdPSessions.RemoveSAMLSession(ctx, i.Session); err != nil {
		return authn.Redirect{}, err
	}
	known, err := p.source.get(ctx)
	if err != nil {
		return authn.Redirect{}, err
	}
	binding, place, ok := sloWay(known, byRedirect)
	if !ok {
		return authn.Redirect{}, nil
	}
	e, err := p.logoutRequest(list[0], place.requests)
	if err != nil {
		return authn.Redirect{}, err
	}
	out := outgoing{field: "SAMLRequest", element: e, binding: binding, to: place.requests}
	if out.key, err = p.keys.signing(ctx); err != nil {
		return authn.Redirect{}, err
	}
	p.noteOut(ctx, out)
	return out.redirect()
}

// sloWay chooses a binding: the preferred one, if the identity provider has it.
func sloWay(known peer, preferred string) (string, sloPlace, bool) {
	for _, binding := range []string{preferred, byRedirect, byPost} {
		if place, ok := known.slo[binding]; ok {
			return binding, place, true
		}
	}
	return "", sloPlace{}, false
}

func (p *provider) logoutRequest(s Session, to string) (*etree.Element, error) {
	var n nameID
	if err := json.Unmarshal(s.NameID, &n); err != nil {
		return nil, authn.Errorf(authn.Internal, "bad_name_id", "%w", err)
	}
	now := p.Now().UTC()
	until := now.Add(logoutFresh)
	r := saml.LogoutRequest{
		ID: newID(), Version: "2.0", IssueInstant: now, NotOnOrAfter: &until, Destination: to,
		Issuer: &saml.Issuer{Value: p.entityID()},
		NameID: &saml.NameID{Value: n.Value, Format: n.Format, NameQualifier: n.NameQualifier, SPNameQualifier: n.SPNameQualifier},
	}
	if s.Index != "" {
		r.SessionIndex = &saml.SessionIndex{Value: s.Index}
	}
	return r.Element(), nil
}

// incoming is a logout message as it came.
type incoming struct {
	redirected
	binding string
	raw     []byte
}

// logoutMessage takes one out of a GET or POST.
func logoutMessage(r *http.Request) (m incoming, err error) {
	if r.Method == http.MethodGet {
		m.binding = byRedirect
		if m.redirected, err = takeApart(r.URL.RawQuery); err != nil {
			return m, err
		}
		m.raw, err = decodeRedirect(m.value)
		return m, err
	}
	m.binding = byPost
	if err := r.ParseForm(); err != nil {
		return m, refuse("no_message", "the form cannot be read")
	}
	if m.field = "SAMLRequest"; r.PostForm.Has("SAMLResponse") {
		m.field = "SAMLResponse"
	}
	if r.PostForm.Has("SAMLRequest") && r.PostForm.Has("SAMLResponse") {
		return m, refuse("no_message", "a request and a response at once")
	}
	if m.value, err = only(r.PostForm, m.field); err != nil {
		return m, err
	}
	m.relayState = r.PostForm.Get("RelayState")
	m.raw, err = decodePost(m.value)
	return m, err
}

// logoutTypes are the messages that a field holds.
var logoutTypes = map[string]string{"SAMLRequest": "LogoutRequest", "SAMLResponse": "LogoutResponse"}

// verified makes sure of who wrote a logout message, and that it is for us, and of now. It returns what the signature
// covers.
func (p *provider) verified(ctx context.Context, m incoming) (*etree.Element, error) {
	e, err := p.verifiedOnce(ctx, m)
	if err == nil || authn.ReasonOf(err) != "unknown_signer" || p.source.press(ctx) != nil {
		return e, err
	}
	return p.verifiedOnce(ctx, m) // they may have rolled their certificate over
}

func (p *provider) verifiedOnce(ctx context.Context, m incoming) (*etree.Element, error) {
	root := logoutTypes[m.field]
	doc, err := admit(m.raw, root)
	if err != nil {
		return nil, err
	}
	x, err := p.expectation(ctx, asked{})
	if err != nil {
		return nil, err
	}
	e, t := doc.root, trust{certificates: x.Certificates, allowSHA1: x.AllowSHA1}
	switch {
	case m.binding == byRedirect:
		_, err = t.verifyDetached(m.redirected)
	case signatureOf(e) == nil:
		err = refuse("not_signed", "the %s is not signed", root)
	default:
		e, _, err = t.verify(e)
	}
	if err != nil {
		return nil, err
	}
	return e, p.checkLogout(judgement{expectation: x}, e)
}

// checkLogout: of this identity provider, for this address, of now.
func (p *provider) checkLogout(j judgement, e *etree.Element) error {
	if v := value(e, "Version"); v != "2.0" {
		return refuse("wrong_version", "the %s is of version %.100q", e.Tag, v)
	}
	if err := j.issuedBy(children(e, nsAssertion, "Issuer"), "wrong_issuer"); err != nil {
		return err
	}
	if to := value(e, "Destination"); to != p.slo() {
		return refuse("wrong_destination", "sent to %.200q, not to %q", to, p.slo())
	}
	issued, given, err := instant(e, "IssueInstant")
	switch {
	case err != nil:
		return err
	case !given:
		return refuse("bad_time", "a %s without IssueInstant", e.Tag)
	case j.before(issued):
		return refuse("issued_in_future", "issued at %s: check the clocks", issued)
	case j.over(issued.Add(logoutFresh)):
		return refuse("logout_expired", "issued at %s", issued)
	}
	_, _, err = j.window(e, "logout_expired", "logout_expired")
	return err
}

// logout does what a LogoutRequest asks, and returns the answer to it.
func (p *provider) logout(ctx context.Context, m incoming) (authn.Redirect, error) {
	e, err := p.verified(ctx, m)
	if err != nil {
		return authn.Redirect{}, err
	}
	id := value(e, "ID")
	first, err := p.Replays.Seen(ctx, p.id, "logout "+id, p.Now().Add(logoutFresh+2*p.config.ClockSkew))
	switch {
	case err != nil:
		return authn.Redirect{}, authn.Errorf(authn.Unavailable, "replay_store",
			"whether the request was shown before is not known: %w", err)
	case !first:
		return authn.Redirect{}, refuse("replayed", "this LogoutRequest was accepted before")
	}
	status := saml.StatusSuccess
	if err := p.endSessions(ctx, e); err != nil {
		if authn.KindOf(err) == authn.Untrusted {
			return authn.Redirect{}, err
		}
		p.Log.ErrorContext(ctx, "saml: sessions could not be ended", "provider", p.id, "error", err)
		status = saml.StatusResponder
	}
	return p.logoutResponse(ctx, m, id, status)
}

// endSessions ends the sessions that a LogoutRequest names: those of its SessionIndexes, or all of the person's.
func (p *provider) endSessions(ctx context.Context, e *etree.Element) error {
	name := child(e, nsAssertion, "NameID")
	if name == nil {
		return refuse("bad_name_id", "the LogoutRequest does not say in clear whom it is about")
	}
	n, ok := nameIDOf(name)
	if !ok {
		return refuse("bad_name_id", "empty, or not only text")
	}
	indexes := map[string]bool{}
	for _, i := range children(e, nsProtocol, "SessionIndex") {
		indexes[uri(i)] = true
	}
	list, err := p.IdPSessions.SAMLSessions(ctx, p.id, "", n.hash(p.config.EntityID, p.entityID()))
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if len(indexes) > 0 && !indexes[s.Index] {
			continue
		}
		_, err := p.Sessions.EndAccountSessions(ctx, p.id, s.Subject, s.ID)
		if err == nil {
			err = p.IdPSessions.RemoveSAMLSession(ctx, s.ID)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func nameIDOf(e *etree.Element) (n nameID, ok bool) {
	n.Value, ok = text(e)
	n.Format, n.NameQualifier, n.SPNameQualifier = value(e, "Format"), value(e, "NameQualifier"), value(e, "SPNameQualifier")
	return n, ok && n.Value != ""
}

// logoutResponse answers by the binding the request came by, if the identity provider takes answers there.
func (p *provider) logoutResponse(ctx context.Context, m incoming, id, status string) (authn.Redirect, error) {
	known, err := p.source.get(ctx)
	if err != nil {
		return authn.Redirect{}, err
	}
	binding, place, ok := sloWay(known, m.binding)
	if !ok {
		return authn.Redirect{}, authn.Errorf(authn.Unavailable, "no_endpoint",
			"the identity provider has no address for logout answers")
	}
	r := saml.LogoutResponse{
		ID: newID(), InResponseTo: id, Version: "2.0", IssueInstant: p.Now().UTC(), Destination: place.responses,
		Issuer: &saml.Issuer{Value: p.entityID()}, Status: saml.Status{StatusCode: saml.StatusCode{Value: status}},
	}
	out := outgoing{
		field: "SAMLResponse", element: r.Element(), binding: binding, to: place.responses, relayState: m.relayState,
	}
	if out.key, err = p.keys.signing(ctx); err != nil {
		return authn.Redirect{}, err
	}
	p.noteOut(ctx, out)
	return out.redirect()
}

// loggedOut takes note of the answer to our LogoutRequest. Our session has ended long before.
func (p *provider) loggedOut(ctx context.Context, m incoming) error {
	e, err := p.verified(ctx, m)
	if err != nil {
		return err
	}
	first, second := "", ""
	if status := child(e, nsProtocol, "Status"); status != nil {
		first, second = statusCodes(status)
	}
	if first != saml.StatusSuccess {
		return authn.Errorf(authn.Unavailable, "idp_failed", "status %.200q, %.200q", first, second)
	}
	return nil
}
