package saml

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// TestRollOverWhilePeopleSignIn: the identity provider announces a certificate, signs with it, and drops the old one.
// Nobody restarts anything, and nobody is refused.
func TestRollOverWhilePeopleSignIn(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	ctx := t.Context()
	var stop atomic.Bool
	var signedIn atomic.Int64
	var people sync.WaitGroup
	people.Go(func() {
		for b := s.idp.Browser("ann", "pw-ann"); !stop.Load(); signedIn.Add(1) {
			pending, reply := s.answer(t, b)
			if _, err := s.Finish(ctx, pending, reply); err != nil {
				t.Error(err)
				return
			}
		}
	})
	more := func() {
		for before := signedIn.Load(); signedIn.Load() < before+3 && !t.Failed(); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	more()
	s.idp.Announce(t)
	if err := s.source.refresh(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if known, _ := s.source.current(); len(known.certificates) != 2 {
		t.Errorf("%d certificates are trusted, want 2", len(known.certificates))
	}
	more()
	s.idp.RollOver(t)
	more()
	if err := s.source.refresh(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if known, _ := s.source.current(); len(known.certificates) != 1 || !known.certificates[0].Equal(s.idp.Certificate) {
		t.Error("the old certificate is still trusted")
	}
	more()
	stop.Store(true)
	people.Wait()
}

// TestRollOverThatNobodyAnnounced: an answer that no known certificate signed makes the metadata be read again, but not more
// often than twice a minute, whoever posts what.
func TestRollOverThatNobodyAnnounced(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	if _, err := s.signIn(t, "ann"); err != nil {
		t.Fatal(err)
	}
	s.idp.RollOver(t)
	if _, err := s.signIn(t, "ann"); err != nil { // that the metadata was read by itself a moment ago is no obstacle
		t.Error(err)
	}
	s.idp.RollOver(t)
	_, err := s.signIn(t, "ann")
	wantReason(t, err, authn.Untrusted, "unknown_signer") // another answer made it be read a moment ago
	start := time.Now()
	s.now = func() time.Time { return start.Add(pressedEvery + time.Second) }
	if _, err := s.signIn(t, "ann"); err != nil {
		t.Error(err)
	}
}

// TestAPinnedCertificateIsNotRolledOver: where certificate_file names the only ones to trust, metadata cannot add any.
func TestAPinnedCertificateIsNotRolledOver(t *testing.T) {
	idp := testenv.SimpleSAMLphp(t, testenv.SimpleSAMLphpConfig{})
	s := registeredAt(t, idp, testenv.SAMLParty{SignAssertion: true}, func(c *Config) { c.CertificateFile = file(t, idp.CertificatePEM()) })
	if _, err := s.signIn(t, "ann"); err != nil {
		t.Fatal(err)
	}
	s.idp.Announce(t)
	if err := s.source.refresh(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if known, _ := s.source.current(); len(known.certificates) != 1 || known.certificates[0].Equal(idp.Certificate) {
		t.Error("a certificate that is not pinned is trusted")
	}
	if text := problemsOf(t, s); !strings.HasPrefix(text, "signing certificate (true): ") || !strings.Contains(text, "not in certificate_file: make sure") {
		t.Errorf("nobody is told that the next certificate is not pinned: %q", text)
	}
	s.idp.RollOver(t)
	wantReason(t, s.source.refresh(t.Context(), 0), authn.Unavailable, "metadata_malformed")
	_, err := s.signIn(t, "ann")
	wantReason(t, err, authn.Untrusted, "unknown_signer")
}

// TestTheIdentityProviderIsDown: what is known serves, the copy on disk serves after a restart, and without either nobody is
// sent to a dead end.
func TestTheIdentityProviderIsDown(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	if _, err := s.Begin(t.Context(), authn.Ask{State: "state"}); err != nil {
		t.Fatal(err)
	}
	s.idp.Stop()
	read := s.sp.MetadataRead("corp")
	wantReason(t, s.source.refresh(t.Context(), 0), authn.Unavailable, "metadata_unreachable")
	if again := s.sp.MetadataRead("corp"); read.IsZero() || !again.Equal(read) {
		t.Errorf("the metadata was read at %s; after a failure: at %s", read, again)
	}
	if _, err := s.Begin(t.Context(), authn.Ask{State: "state"}); err != nil {
		t.Errorf("with what is known: %v", err)
	}
	restarted := s.add(t, "corp", s.config)
	if _, err := restarted.Begin(t.Context(), authn.Ask{State: "state"}); err != nil {
		t.Errorf("with the copy on disk: %v", err)
	}
	if known, _, _ := restarted.source.state(); known.read.Sub(read).Abs() > time.Minute {
		t.Errorf("the copy is said to be of %s, was read at %s", known.read, read)
	}
	if err := restarted.check(t.Context()); err != nil {
		t.Errorf("check, where people can sign in: %v", err)
	}
	if err := os.Remove(restarted.source.copy); err != nil {
		t.Fatal(err)
	}
	fresh := s.add(t, "corp", s.config)
	_, err := fresh.Begin(t.Context(), authn.Ask{State: "state"})
	wantReason(t, err, authn.Unavailable, "metadata_unreachable")
	wantReason(t, fresh.check(t.Context()), authn.Unavailable, "metadata_unreachable")

	s.idp.Restart(t)
	start := time.Now()
	s.now = func() time.Time { return start.Add(pressedEvery + time.Second) }
	if _, err := fresh.Begin(t.Context(), authn.Ask{State: "state"}); err != nil {
		t.Errorf("it is back: %v", err)
	}
	if err := os.Remove(fresh.source.copy); err != nil {
		t.Error(err)
	}
	s.sp.around.OnlyLook = true
	if looking := s.add(t, "corp", s.config); looking.check(t.Context()) != nil {
		t.Error("it is back, and check does not see it")
	}
	if _, err := os.Stat(fresh.source.copy); err == nil {
		t.Error("who only looks has written a copy")
	}
}

// TestTheLastGoodCopyIsNoWayIn: what lies on the disk passes the same checks as what was fetched.
func TestTheLastGoodCopyIsNoWayIn(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	if err := s.source.refresh(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	s.idp.Stop()
	text, err := os.ReadFile(s.source.copy)
	if err != nil {
		t.Fatal(err)
	}
	c := s.config
	c.EntityID = "https://other.example.test"
	other := s.add(t, "corp", c)
	if err := os.WriteFile(other.source.copy, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = other.Begin(t.Context(), authn.Ask{State: "state"})
	wantReason(t, err, authn.Unavailable, "metadata_unreachable")
}

// TestMetadataIsKeptFresh: by its own words, within bounds.
func TestMetadataIsKeptFresh(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s := &source{every: refreshEvery, now: func() time.Time { return now }}
	for _, c := range []struct {
		p    peer
		want time.Duration
	}{
		{peer{}, 4 * time.Hour},
		{peer{cacheFor: time.Hour}, 45 * time.Minute},
		{peer{cacheFor: time.Second}, 5 * time.Minute},
		{peer{cacheFor: 30 * 24 * time.Hour}, 4 * time.Hour},
		{peer{validUntil: now.Add(time.Hour)}, 45 * time.Minute},
		{peer{validUntil: now.Add(2 * time.Hour), cacheFor: time.Hour}, 45 * time.Minute},
	} {
		if got := s.wait(c.p); got != c.want {
			t.Errorf("%v %v: %s, want %s", c.p.cacheFor, c.p.validUntil, got, c.want)
		}
	}
}

// TestOneRequestForManyWhoWait: a hundred sign-ins at the first moment are one request at the identity provider.
func TestOneRequestForManyWhoWait(t *testing.T) {
	var requests atomic.Int64
	s := offline(t, nil)
	s.source.load = func(ctx context.Context) ([]byte, error) {
		requests.Add(1)
		time.Sleep(20 * time.Millisecond)
		return nil, badMetadata("metadata_unreachable", "down")
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			_, err := s.source.get(context.Background())
			wantReason(t, err, authn.Unavailable, "metadata_unreachable")
		})
	}
	all.Wait()
	if requests.Load() != 1 {
		t.Errorf("%d requests, want 1", requests.Load())
	}
}

// TestRunRefreshes: in the background, without anybody signing in.
func TestRunRefreshes(t *testing.T) {
	s := offline(t, nil)
	loaded := make(chan bool, 100)
	text := described{id: idpID, keys: keyDescriptor("", aKey(t, 2048).certificate), endpoints: service("SingleSignOnService", "HTTP-POST", idpID)}.String()
	s.source.load = func(context.Context) ([]byte, error) {
		loaded <- true
		return []byte(text), nil
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.sp.Run(ctx); close(done) }()
	select {
	case <-loaded:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was loaded")
	}
	stop()
	<-done
	if _, ok := s.source.current(); !ok {
		t.Errorf("nothing is known: %v", s.source.failed)
	}
}
