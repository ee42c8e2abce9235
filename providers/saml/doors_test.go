package saml

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// Another door has an address of its own for answers, which are worth nothing at the portal's, nor the other way round; and an
// older session at the identity provider opens it no more than a request that was stripped of ForceAuthn on the way.
func TestAnswersForAnotherDoor(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignResponse: true, SignAssertion: true}, nil)
	b := s.idp.Browser("ann", "pw-ann")
	if _, err := s.signInWith(t, b); err != nil { // so that there is a session
		t.Fatal(err)
	}
	ask := authn.Ask{State: "the state", Door: "admin", Anew: true}
	begun := func() (authn.Redirect, asked) {
		t.Helper()
		r, err := s.Begin(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		var a asked
		if err := json.Unmarshal(r.Pending, &a); err != nil {
			t.Fatal(err)
		}
		return r, a
	}
	finish := func(a asked, m testenv.SAMLMessage) error {
		t.Helper()
		pending, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Finish(t.Context(), pending, posted(m))
		return err
	}
	r, _ := begun()
	b.Password = "wrong"
	if m, _ := b.Try(t, r.URL, r.Fields); m != nil {
		t.Error("the identity provider did not ask for the password again")
	}
	b.Password = "pw-ann"
	r, a := begun()
	m := b.Go(t, r.URL, r.Fields)
	if want := adminURL + "/saml/corp/acs"; m.To != want {
		t.Fatalf("came back to %s, not to %s", m.To, want)
	}
	atPortal := a
	atPortal.ACS = s.acs()
	wantReason(t, finish(atPortal, m), authn.Untrusted, "wrong_destination")
	if err := finish(a, m); err != nil {
		t.Error(err)
	}
	pending, reply := s.answer(t, b)
	var portals asked
	if err := json.Unmarshal(pending, &portals); err != nil {
		t.Fatal(err)
	}
	portals.ACS = s.acsOf("admin")
	wantReason(t, finish(portals, testenv.SAMLMessage{Method: reply.Method, Form: reply.Form}), authn.Untrusted, "wrong_destination")

	s.now = func() time.Time { return time.Now().Add(2 * time.Minute) } // what is asked now is asked after the last sign-in there
	_, a = begun()
	stripped := a
	stripped.Anew = false
	out, err := outgoing{field: "SAMLRequest", element: s.authnRequest(stripped, s.idp.SSO), binding: byRedirect, to: s.idp.SSO}.redirect()
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, finish(a, b.Go(t, out.URL, nil)), authn.Untrusted, "authn_too_old")

	ask.Door = "elsewhere"
	_, err = s.Begin(t.Context(), ask)
	wantReason(t, err, authn.Unavailable, "no_public_url")
}
