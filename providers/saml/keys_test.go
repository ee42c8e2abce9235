package saml

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

func states(t *testing.T, s *party) (states string) {
	t.Helper()
	list, err := s.sp.Keys(t.Context(), "corp")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		states += k.State + " "
	}
	return strings.TrimSpace(states)
}

// TestOurKeysRotateWithOverlap, at a real identity provider that encrypts for us and verifies what we sign.
func TestOurKeysRotateWithOverlap(t *testing.T) {
	as := testenv.SAMLParty{SignAssertion: true, EncryptAssertion: true, WantSignedRequests: true}
	s := registered(t, as, nil)
	b := s.idp.Browser("ann", "pw-ann")
	signsIn := func(when string) {
		t.Helper()
		if _, err := s.signInWith(t, b); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	signsIn("before")
	const overlap = 30 * time.Second // the identity provider's own clock goes on, so little of it
	start := time.Now()
	at := func(d time.Duration) { s.now = func() time.Time { return start.Add(d) } }
	at(0)
	if err := s.sp.Rotate(t.Context(), "corp", overlap); err != nil {
		t.Fatal(err)
	}
	if err := s.sp.Rotate(t.Context(), "corp", overlap); err == nil || !strings.Contains(err.Error(), "announced already") {
		t.Errorf("twice: %v", err)
	}
	if got := states(t, s); got != "current next" {
		t.Errorf("announced: %s", got)
	}
	signsIn("announced")
	as.EntityID, as.ACS, as.SLO = s.entityID(), s.acs(), s.slo() // the identity provider has read our metadata
	as.Certificate, as.Next = s.mem.keys[0].Certificate, s.mem.keys[1].Certificate
	s.idp.Register(t, as)
	signsIn("known")
	at(overlap + time.Second)
	if got := states(t, s); got != "previous current" {
		t.Errorf("taken over: %s", got)
	}
	signsIn("taken over")
	at(2*overlap + time.Second)
	if got := states(t, s); got != "current" {
		t.Errorf("gone: %s", got)
	}
	signsIn("gone")
}

// TestTheFirstKeyIsMadeOnce: also when many ask at the same moment, on two nodes.
func TestTheFirstKeyIsMadeOnce(t *testing.T) {
	r, _ := ready()
	store := &rowsOfTests{}
	var all sync.WaitGroup
	ids := make([]string, 4)
	nodes := []*ownKeys{
		{provider: "corp", store: store, sealer: r, now: time.Now}, {provider: "corp", store: store, sealer: r, now: time.Now},
	}
	for i := range ids {
		all.Go(func() {
			k, err := nodes[i%2].signing(t.Context())
			if err != nil {
				t.Error(err)
			}
			ids[i] = k.ID
		})
	}
	all.Wait()
	if len(store.keys) != 1 || ids[0] != ids[1] || ids[1] != ids[2] || ids[2] != ids[3] {
		t.Errorf("%d keys, %v", len(store.keys), ids)
	}
	if plain := string(store.keys[0].Sealed); strings.Contains(plain, "RSA") || len(plain) < 1000 {
		t.Error("the private key is not sealed")
	}
}

// TestAKeyThatDoesNotOpen is told by check, and nothing is made anew in its place.
func TestAKeyThatDoesNotOpen(t *testing.T) {
	s := offline(t, func(c *Config) {
		c.Metadata, c.Endpoint.SSOURL = Metadata{}, "https://idp.example.test/sso"
		c.CertificateFile = file(t, pemOf(aKey(t, 2048)))
	})
	if err := s.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mem.keys[0].Sealed = append([]byte{}, s.mem.keys[0].Sealed...)
	s.mem.keys[0].Sealed[50] ^= 1
	wantReason(t, s.check(t.Context()), authn.Unavailable, "own_key_unopenable")
	s.keys.list = nil
	_, err := s.Begin(t.Context(), authn.Ask{State: "state"})
	wantReason(t, err, authn.Unavailable, "own_key_unopenable")
	if len(s.mem.keys) != 1 {
		t.Errorf("%d keys", len(s.mem.keys))
	}
}

func TestWarningsBeforeTheEnd(t *testing.T) {
	s := offline(t, func(c *Config) {
		c.Metadata, c.Endpoint.SSOURL = Metadata{}, "https://idp.example.test/sso"
		c.CertificateFile = file(t, pemOf(aKey(t, 2048))) // good for a day
		c.AllowSHA1 = true
	})
	text := problemsOf(t, s)
	if !strings.Contains(text, "signing certificate (true): the last one ends on ") || !strings.Contains(text, "allow_sha1 (true): ") ||
		strings.Count(text, "\n") != 2 {
		t.Errorf("%s", text)
	}
	if at := s.sp.MetadataRead("corp"); !at.IsZero() {
		t.Errorf("what was written down by hand is said to be read at %s", at)
	}
	ends := s.sp.Ends(t.Context())
	if len(ends) != 2 || ends[0].Whose != "idp" || ends[1].Whose != "own" || !ends[0].At.Before(ends[1].At) || ends[0].At.Before(time.Now()) {
		t.Errorf("%+v", ends)
	}
	s.now = func() time.Time { return time.Now().Add(keyLife - 10*24*time.Hour) }
	text = problemsOf(t, s)
	if !strings.Contains(text, "identity provider (false): ") || !strings.Contains(text, "idbridge saml rotate corp") {
		t.Errorf("%s", text)
	}
	wantReason(t, s.check(t.Context()), authn.Unavailable, "certificates_expired")
	_, err := s.Finish(t.Context(), []byte(`{"id":"_1"}`), authn.Reply{Method: http.MethodPost, Form: map[string][]string{"SAMLResponse": {"PHg+"}}})
	wantReason(t, err, authn.Unavailable, "certificates_expired")
}

// problemsOf is what check says that is wrong, or will be.
func problemsOf(t *testing.T, s *party) (text string) {
	t.Helper()
	for _, f := range s.inspect(t.Context(), nil) {
		if !f.OK() {
			text += fmt.Sprintf("%s (%t): %s\n", f.Check, f.Warning, f.Problem)
		}
	}
	return text
}

// TestACertificateThatIsNotBelieved is no problem beside one that is, but check shows which it is.
func TestACertificateThatIsNotBelieved(t *testing.T) {
	good := aKey(t, 2048)
	s := offline(t, func(c *Config) {
		c.Metadata, c.Endpoint.SSOURL = Metadata{}, "https://idp.example.test/sso"
		c.CertificateFile = file(t, append(pemOf(good), pemOf(ownKey{certificate: testKeys().expired.cert})...))
	})
	s.now = func() time.Time { return good.certificate.NotBefore.Add(time.Hour) }
	shown := map[string]string{}
	for _, f := range s.inspect(t.Context(), nil) {
		shown[f.Check+" "+strings.Split(f.Seen, ",")[0]] = f.Seen
	}
	if got := shown["signing certificate "+fingerprint(testKeys().expired.cert)[:16]]; !strings.Contains(got, ": not believed") {
		t.Errorf("%v", shown)
	}
	if err := s.check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMetadataHandler(t *testing.T) {
	s := offline(t, nil)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.sp.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	w := get("/saml/corp/metadata")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != metadataType || !strings.Contains(w.Body.String(), `entityID="`+s.entityID()) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for path, want := range map[string]int{"/saml/other/metadata": http.StatusNotFound, "/saml/corp/acs": http.StatusNotFound} {
		if w := get(path); w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	s.mem.keys[0].Sealed = nil
	s.keys.list = nil
	if w := get("/saml/corp/metadata"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "key") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
