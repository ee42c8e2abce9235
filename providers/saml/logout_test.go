package saml

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	crewjam "github.com/crewjam/saml"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// deliver sends what a browser was told to send to our logout address.
func (s *party) deliver(t *testing.T, m testenv.SAMLMessage) *httptest.ResponseRecorder {
	t.Helper()
	path, ok := strings.CutPrefix(m.To, publicURL)
	if !ok {
		t.Fatalf("sent to %s", m.To)
	}
	r := httptest.NewRequest(http.MethodGet, path+"?"+m.Query, nil)
	if m.Method == http.MethodPost {
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(m.Form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	s.sp.Handler().ServeHTTP(w, r)
	return w
}

// TestSingleLogoutFromHere: our session is over, the identity provider ends its own, and the browser ends on our page.
func TestSingleLogoutFromHere(t *testing.T) {
	for name, as := range map[string]testenv.SAMLParty{"by redirect": {SignAssertion: true}, "by POST": {SignAssertion: true, PostLogout: true}} {
		t.Run(name, func(t *testing.T) {
			s := registered(t, as, nil)
			b := s.idp.Browser("ann", "pw-ann")
			i, err := s.signInWith(t, b)
			if err != nil {
				t.Fatal(err)
			}
			to, err := s.signOut(t.Context(), i)
			if err != nil || to.URL == "" {
				t.Fatalf("%+v, %v", to, err)
			}
			m := b.Go(t, to.URL, to.Fields)
			if as.PostLogout != (m.Method == http.MethodPost) || !m.Form.Has("SAMLResponse") {
				t.Fatalf("%+v", m)
			}
			in, err := logoutMessage(requestOf(m))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.loggedOut(t.Context(), in); err != nil {
				t.Errorf("the answer: %v", err)
			}
			if w := s.deliver(t, m); w.Code != http.StatusSeeOther || w.Header().Get("Location") != publicURL+"/signedout" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
			b.Password = "wrong" // asked again, so the session there is over
			r, err := s.Begin(t.Context(), authn.Ask{State: "the state"})
			if err != nil {
				t.Fatal(err)
			}
			if m, page := b.Try(t, r.URL, r.Fields); m != nil || !strings.Contains(page, "Incorrect") {
				t.Errorf("the session at the identity provider goes on: %v %s", m, page)
			}
			if again, err := s.signOut(t.Context(), i); err != nil || again.URL != "" {
				t.Errorf("a second time: %+v, %v", again, err)
			}
		})
	}
}

func requestOf(m testenv.SAMLMessage) *http.Request {
	if m.Method == http.MethodGet {
		return httptest.NewRequest(http.MethodGet, "/?"+m.Query, nil)
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(m.Form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// TestSingleLogoutFromThere: the identity provider's request ends our session, once, and it hears of it.
func TestSingleLogoutFromThere(t *testing.T) {
	for name, as := range map[string]testenv.SAMLParty{"by redirect": {SignAssertion: true}, "by POST": {SignAssertion: true, PostLogout: true}} {
		t.Run(name, func(t *testing.T) {
			s := registered(t, as, nil)
			b := s.idp.Browser("ann", "pw-ann")
			i, err := s.signInWith(t, b)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.signIn(t, "bob"); err != nil {
				t.Fatal(err)
			}
			m := b.Go(t, s.idp.URL+"/saml2/idp/initSLO.php?RelayState="+escaped(s.idp.URL+"/"), nil)
			if as.PostLogout != (m.Method == http.MethodPost) || !m.Form.Has("SAMLRequest") {
				t.Fatalf("%+v", m)
			}
			w := s.deliver(t, m)
			if want := "corp " + i.Subject + " " + i.Session; len(s.mem.ended) != 1 || s.mem.ended[0] != want {
				t.Errorf("ended %q, want %q", s.mem.ended, want)
			}
			if len(s.mem.sessions) != 1 || s.mem.sessions[0].Subject == i.Subject {
				t.Errorf("left: %+v", s.mem.sessions)
			}
			to, fields := goesOn(t, w)
			if _, page := b.Try(t, to, fields); !strings.Contains(page, "logged out") && !strings.Contains(page, "installation page") {
				t.Errorf("the identity provider did not take our answer: %s", page)
			}
			if w := s.deliver(t, m); w.Code != http.StatusBadRequest || len(s.mem.ended) != 1 {
				t.Errorf("a second time: %d, ended %q", w.Code, s.mem.ended)
			}
		})
	}
}

// goesOn is where an answer of ours sends the browser.
func goesOn(t *testing.T, w *httptest.ResponseRecorder) (string, url.Values) {
	t.Helper()
	if w.Code == http.StatusSeeOther {
		return w.Header().Get("Location"), nil
	}
	form := regexp.MustCompile(`<form method="post" action="([^"]*)">`).FindStringSubmatch(w.Body.String())
	if form == nil || w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	fields := url.Values{}
	for _, m := range regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		fields.Set(m[1], html.UnescapeString(m[2]))
	}
	return form[1], fields
}

// lone is a service provider whose identity provider is this test: it signs with key.
func lone(t *testing.T) (s *party, key ownKey) {
	t.Helper()
	key, err := lonersKey()
	if err != nil {
		t.Fatal(err)
	}
	s = offline(t, func(c *Config) {
		c.Metadata, c.CertificateFile = Metadata{}, file(t, pemOf(key))
		c.Endpoint = Endpoint{SSOURL: idpID + "/sso", SLOURL: idpID + "/slo"}
	})
	for _, one := range []struct{ id, name, index string }{{"1", "ann", "i1"}, {"2", "ann", "i2"}, {"3", "bob", "i3"}} {
		n := nameID{Value: one.name, Format: nameIDFormats["persistent"]}
		text, _ := json.Marshal(n)
		s.mem.sessions = append(s.mem.sessions, Session{ID: one.id, Provider: "corp", Subject: "s-" + one.name,
			Name: n.hash(idpID, s.entityID()), Index: one.index, NameID: text})
	}
	return s, key
}

// ask is a good LogoutRequest about ann.
func (s *party) ask(change func(*crewjam.LogoutRequest)) *etree.Element {
	until := s.now().UTC().Add(time.Minute)
	r := crewjam.LogoutRequest{
		ID: newID(), Version: "2.0", IssueInstant: s.now().UTC(), NotOnOrAfter: &until, Destination: s.slo(),
		Issuer: &crewjam.Issuer{Value: idpID}, NameID: &crewjam.NameID{Value: "ann", Format: nameIDFormats["persistent"]},
	}
	if change != nil {
		change(&r)
	}
	return r.Element()
}

// sent is a message as it reaches us.
func sent(t *testing.T, o outgoing) *http.Request {
	t.Helper()
	to, err := o.redirect()
	if err != nil {
		t.Fatal(err)
	}
	if to.Fields != nil {
		return requestOf(testenv.SAMLMessage{Method: http.MethodPost, Form: to.Fields})
	}
	_, query, _ := strings.Cut(to.URL, "?")
	return requestOf(testenv.SAMLMessage{Method: http.MethodGet, Query: query})
}

// TestLogoutRequests: which sessions a request ends, and that one which is not signed, fresh, ours and new ends none.
func TestLogoutRequests(t *testing.T) {
	stranger := aKey(t, 2048)
	for name, c := range map[string]struct {
		change func(*crewjam.LogoutRequest)
		key    *ownKey // nil: the identity provider's
		ends   string  // ids of sessions
		reason string
	}{
		"all of the person's":    {ends: "1 2"},
		"one session":            {change: func(r *crewjam.LogoutRequest) { r.SessionIndex = &crewjam.SessionIndex{Value: "i2"} }, ends: "2"},
		"a session that is over": {change: func(r *crewjam.LogoutRequest) { r.SessionIndex = &crewjam.SessionIndex{Value: "i9"} }},
		"qualified by its own names": {change: func(r *crewjam.LogoutRequest) {
			r.NameID.NameQualifier, r.NameID.SPNameQualifier = idpID, publicURL+"/saml/corp/metadata"
		}, ends: "1 2"},
		"another format":     {change: func(r *crewjam.LogoutRequest) { r.NameID.Format = nameIDFormats["transient"] }},
		"another qualifier":  {change: func(r *crewjam.LogoutRequest) { r.NameID.NameQualifier = "urn:other" }},
		"without an end":     {change: func(r *crewjam.LogoutRequest) { r.NotOnOrAfter = nil }, ends: "1 2"},
		"not signed":         {key: &ownKey{}, reason: "not_signed"},
		"signed by another":  {key: &stranger, reason: "unknown_signer"},
		"from another":       {change: func(r *crewjam.LogoutRequest) { r.Issuer.Value = "https://other.example.test" }, reason: "wrong_issuer"},
		"from nobody":        {change: func(r *crewjam.LogoutRequest) { r.Issuer = nil }, reason: "wrong_issuer"},
		"for another":        {change: func(r *crewjam.LogoutRequest) { r.Destination = publicURL + "/saml/other/slo" }, reason: "wrong_destination"},
		"for nobody":         {change: func(r *crewjam.LogoutRequest) { r.Destination = "" }, reason: "wrong_destination"},
		"of another version": {change: func(r *crewjam.LogoutRequest) { r.Version = "1.1" }, reason: "wrong_version"},
		"old": {change: func(r *crewjam.LogoutRequest) {
			r.IssueInstant, r.NotOnOrAfter = r.IssueInstant.Add(-logoutFresh-2*time.Minute), nil
		}, reason: "logout_expired"},
		"over":    {change: func(r *crewjam.LogoutRequest) { *r.NotOnOrAfter = r.NotOnOrAfter.Add(-3 * time.Minute) }, reason: "logout_expired"},
		"to come": {change: func(r *crewjam.LogoutRequest) { r.IssueInstant = r.IssueInstant.Add(2 * time.Minute) }, reason: "issued_in_future"},
		"nobody":  {change: func(r *crewjam.LogoutRequest) { r.NameID = nil }, reason: "bad_name_id"},
	} {
		for _, binding := range []string{byRedirect, byPost} {
			if name == "from nobody" && binding == byPost {
				continue // the gate has refused it: a signature stands behind the Issuer
			}
			t.Run(name+" by "+binding, func(t *testing.T) {
				s, key := lone(t)
				if c.key != nil {
					key = *c.key
				}
				m, err := logoutMessage(sent(t, outgoing{field: "SAMLRequest", element: s.ask(c.change), binding: binding, to: s.slo(), relayState: "r s", key: key}))
				if err != nil {
					t.Fatal(err)
				}
				to, err := s.logout(t.Context(), m)
				if c.reason != "" {
					wantReason(t, err, authn.Untrusted, c.reason)
				} else if err != nil || !strings.HasPrefix(to.URL, idpID+"/slo?SAMLResponse=") || !strings.Contains(to.URL, "&RelayState=r+s&") {
					t.Errorf("%+v, %v", to, err)
				}
				var ended []string
				for _, e := range s.mem.ended {
					ended = append(ended, e[strings.LastIndex(e, " ")+1:])
				}
				if got := strings.Join(ended, " "); got != c.ends {
					t.Errorf("ended %q, want %q", got, c.ends)
				}
			})
		}
	}
}

// TestTheQueryIsSignedAsItWasSent: whoever changes, adds or doubles a part of it is refused.
func TestTheQueryIsSignedAsItWasSent(t *testing.T) {
	s, key := lone(t)
	good := sent(t, outgoing{field: "SAMLRequest", element: s.ask(nil), binding: byRedirect, to: s.slo(), relayState: "here", key: key}).URL.RawQuery
	again := sent(t, outgoing{field: "SAMLRequest", element: s.ask(nil), binding: byRedirect, to: s.slo(), relayState: "here", key: key}).URL.RawQuery
	first, _, _ := strings.Cut(again, "&")
	for name, c := range map[string]struct{ query, reason string }{
		"another RelayState": {strings.Replace(good, "=here", "=there", 1), "unknown_signer"},
		"no RelayState":      {strings.Replace(good, "&RelayState=here", "", 1), "unknown_signer"},
		"another message":    {first + good[strings.Index(good, "&"):], "unknown_signer"},
		"two messages":       {first + "&" + good, "no_message"},
		"two RelayStates":    {good + "&RelayState=there", "no_message"},
		"also a response":    {good + "&SAMLResponse=x", "no_message"},
		"nothing":            {"RelayState=here", "no_message"},
		"SHA-1":              {strings.Replace(good, "rsa-sha256", "rsa-sha1", 1), "signature_algorithm"},
		"an HMAC":            {strings.Replace(good, "rsa-sha256", "hmac-sha256", 1), "signature_algorithm"},
		"no signature":       {good[:strings.Index(good, "&Signature=")], "not_signed"},
		"good":               {good, ""},
	} {
		m, err := logoutMessage(httptest.NewRequest(http.MethodGet, "/?"+c.query, nil))
		if err == nil {
			_, err = s.verified(t.Context(), m)
		}
		if c.reason == "" && err != nil || c.reason != "" && authn.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %q", name, err, c.reason)
		}
	}
}

// TestLocalSignOutAlwaysHappens: an identity provider without single logout, or one that is down, keeps nobody here; and what
// comes to the logout address from nobody ends nothing and shows nothing.
func TestLocalSignOutAlwaysHappens(t *testing.T) {
	s, _ := lone(t)
	s.source.known.slo = nil
	if to, err := s.signOut(t.Context(), authn.Identity{Session: "1"}); err != nil || to.URL != "" || len(s.mem.sessions) != 2 {
		t.Errorf("%+v, %v, %d", to, err, len(s.mem.sessions))
	}
	if to, err := s.signOut(t.Context(), authn.Identity{Session: "unknown"}); err != nil || to.URL != "" {
		t.Errorf("%+v, %v", to, err)
	}
	get := func(method, target, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.sp.Handler().ServeHTTP(w, r)
		return w
	}
	for _, c := range []struct {
		method, target, body string
		code                 int
	}{
		{http.MethodGet, "/saml/corp/slo", "", http.StatusBadRequest},
		{http.MethodGet, "/saml/corp/slo?SAMLRequest=x", "", http.StatusBadRequest},
		{http.MethodPost, "/saml/corp/slo", "SAMLRequest=" + escaped(base64.StdEncoding.EncodeToString([]byte("<a/>"))), http.StatusBadRequest},
		{http.MethodPost, "/saml/corp/slo", "SAMLRequest=" + strings.Repeat("A", maxForm), http.StatusBadRequest},
		{http.MethodGet, "/saml/corp/slo?SAMLResponse=x", "", http.StatusSeeOther},
		{http.MethodPut, "/saml/corp/slo", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "/saml/other/slo", "", http.StatusNotFound},
	} {
		w := get(c.method, c.target, c.body)
		if w.Code != c.code || strings.Contains(w.Body.String(), "SAML") || len(s.mem.ended) != 0 {
			t.Errorf("%s %.40s: %d %s", c.method, c.target, w.Code, w.Body)
		}
	}
}
