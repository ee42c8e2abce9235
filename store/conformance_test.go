package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

// opener opens another handle on one database; each is closed with the test.
type opener func(*testing.T) *store.Store

// conformance is what every database must do alike. A new file of queries adds its tests here.
var conformance = []struct {
	name string
	test func(*testing.T, opener)
}{
	{"attempts", func(t *testing.T, open opener) {
		one, two := open(t), open(t)
		var n atomic.Int64
		authntest.TestAttemptStore(t, func(*testing.T) authn.AttemptStore {
			return []authn.AttemptStore{one, two}[n.Add(1)%2]
		})
	}},
	{"attempts are purged", testPurgeAttempts},
	{"what a sign-in reads: a change is seen at once", testSeenAtOnce},
	{"what a sign-in reads: nothing older than what was acknowledged", testNothingOlder},
	{"one of fifty uses a single-use row", testUseOnce},
	{"used keys are purged", testPurgeUsed},
	{"ping and clock", testGround},
	{"many nodes start at once", testOpenTogether},
	{"a caller who gave up is not written", testGaveUp},
	{"a write that fails undoes itself alone", testOwnSavepoint},
	{"audit of two nodes at once", testAuditRace},
	{"audit keeps any text", testAuditText},
	{"audit is purged from the front", testAuditPurge},
	{"audit of one user", testAuditOf},
	{"audit is verified no further when nobody waits", testVerifyGivenUp},
	{"what was found is told once", testKeepTelling},
	{"insight: every question", testSearch},
	{"insight: the index catches up", testBehind},
	{"insight: two nodes follow at once", testIndexRace},
	{"insight: what is purged is gone", testIndexPurge},
	{"leases", testLease},
	{"what administrators have begun", testKept},
	{"webhooks: one message for one event", testMessages},
	{"insight: who is blocked", testBlocked},
	{"factors: steps, codes and enrolments have one winner", testFactors},
	{"factors: names, removal, new recovery codes", testManaging},
	{"enrolment codes", testInvitations},
	{"break-glass accounts", testLocalAccounts},
	{"break-glass accounts: rotation", testLocalRotation},
	{"data keys: nodes that race get the same one", testDataKeys},
	{"rotation of what is sealed", testRotation},
	{"revisions", testRevisions},
	{"revisions: of racing nodes one wins", testRacingRevisions},
	{"revisions: rotation, and each in its place", testRevisionRotation},
	{"what environments of the platform sent", testSightings},
	{"IT users: whom each provider reaches", testReach},
	{"SAML: of racing keys one wins", testSAMLKeys},
	{"SAML: rotation of our private keys", testSAMLSecrets},
	{"SAML: sessions at identity providers", testSAMLSessions},
	{"SAML: the log of messages", testSAMLMessages},
	{"IT users: a recycled name", testRecycledName},
	{"IT users: page by page, and by state", testUserPages},
	{"IT users: searched by any part", testUserSearch},
	{"IT users: those without link or factor", testLacking},
	{"IT users: links and factors come and go at once", testRacingCounts},
	{"IT users: two providers, one name", testRacingProviders},
	{"IT users: racing links", testRacingLinks},
	{"IT users: management", testManage},
	{"IT users: import", testImport},
	{"IT users: racing imports", testRacingImports},
	{"IT users: a large import", testLargeImport},
	{"IT users: ids are unique", testIDsAreUnique},
	{"IT users: enrolled is seen", testEnrolledIsSeen},
	{"logins: one of fifty ends one", testLogins},
	{"sessions end with their user", testSessions},
	{"sessions end with the provider's", testAccountSessions},
	{"tokens", testTokens},
	{"browsers' rows are purged", testPurgeBrowser},
	{"sync: users as their source has them", testSyncLife},
	{"sync: names that move", testSyncNames},
	{"sync: ids that move", testSyncIDs},
	{"sync: sources that are wrong", testSyncLimits},
	{"sync: one run at a time", testSyncLease},
	{"sync: users who change meanwhile", testSyncMeanwhile},
	{"sync: many users", testSyncLarge},
	{"provisioning: the ledger", testProvisioned},
}

// besides are tests in which somebody changes the database past the store.
var besides = map[string]func(t *testing.T, driver, source string, open opener){
	"audit that was tampered with":         testTampering,
	"audit is purged while it is verified": testVerifyMeanwhile,
	"audit restarted":                      testRestart,
	"audit restarted with records coming":  testRestartMeanwhile,
	"IT users from before the search":      testSearchFilled,
	"audit whose key is lost":              testLostKey,
	"audit without head after a purge":     testHeadRemovedAfterPurge,
	"IT users from before the counts":      testLackingFilled,
	"links and factors written past us":    testLackingPast,
}

func TestConformance(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		for _, c := range conformance {
			t.Run(c.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "it's 100% new?", "idbridge.db")
				c.test(t, handles(store.Config{Driver: store.SQLite, Path: path}))
			})
		}
		for name, test := range besides {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "tampered.db")
				test(t, "sqlite", path, handles(store.Config{Driver: store.SQLite, Path: path}))
			})
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := testenv.Postgres(t)
		for _, c := range conformance {
			t.Run(c.name, func(t *testing.T) {
				c.test(t, handles(store.Config{Driver: store.Postgres, DSN: authn.Secret(server.NewDatabase(t))}))
			})
		}
		for name, test := range besides {
			t.Run(name, func(t *testing.T) {
				dsn := server.NewDatabase(t)
				test(t, "pgx", dsn, handles(store.Config{Driver: store.Postgres, DSN: authn.Secret(dsn)}))
			})
		}
	})
}

func handles(c store.Config) opener {
	return func(t *testing.T) *store.Store {
		t.Helper()
		s, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			listsAgree(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
}

func testPurgeAttempts(t *testing.T, open opener) {
	s := open(t)
	now := time.Now()
	keep := map[string]authn.Attempts{
		"old":     {Failures: 1, LastFailure: now.Add(-2 * time.Hour)},
		"blocked": {Failures: 6, LastFailure: now.Add(-2 * time.Hour), BlockedUntil: now.Add(time.Minute)},
		"new":     {Failures: 1, LastFailure: now},
	}
	for key, a := range keep {
		must(t, s.UpdateAttempts(t.Context(), key, func(authn.Attempts) (authn.Attempts, error) { return a, nil }))
	}
	n, err := s.PurgeAttempts(t.Context(), now.Add(-time.Hour))
	if err != nil || n != 1 {
		t.Errorf("removed %d, %v; want 1", n, err)
	}
	for key, want := range map[string]int{"old": 0, "blocked": 6, "new": 1} {
		if a, err := s.Attempts(t.Context(), key); err != nil || a.Failures != want {
			t.Errorf("%s: %+v, %v; want %d failures", key, a, err, want)
		}
	}
}

func testUseOnce(t *testing.T, open opener) {
	nodes := []*store.Store{open(t), open(t)}
	var wg sync.WaitGroup
	var wins atomic.Int64
	for i := range 50 {
		wg.Go(func() {
			first, err := nodes[i%2].UseOnce(t.Context(), "login", "one", time.Now().Add(time.Minute))
			if err != nil {
				t.Error(err)
			}
			if first {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d were first, want exactly one", wins.Load())
	}
	if first, err := nodes[0].UseOnce(t.Context(), "replay", "one", time.Now()); err != nil || !first {
		t.Errorf("the same key of another kind: %v, %v; want first", first, err)
	}
}

func testPurgeUsed(t *testing.T, open opener) {
	s, now := open(t), time.Now()
	for key, expires := range map[string]time.Time{"old": now.Add(-time.Hour), "new": now.Add(time.Hour)} {
		if first, err := s.UseOnce(t.Context(), "login", key, expires); err != nil || !first {
			t.Fatal(first, err)
		}
	}
	if n, err := s.PurgeUsed(t.Context(), now); err != nil || n != 1 {
		t.Errorf("removed %d, %v; want 1", n, err)
	}
	if first, err := s.UseOnce(t.Context(), "login", "new", now); err != nil || first {
		t.Errorf("an unexpired key can be used again: %v, %v", first, err)
	}
}

func testGround(t *testing.T, open opener) {
	s := open(t)
	must(t, s.Ping(t.Context()))
	at, err := s.Clock(t.Context())
	must(t, err)
	if off := time.Since(at).Abs(); !at.IsZero() && off > time.Minute {
		t.Errorf("the clock is off by %v", off)
	}
}

func testOpenTogether(t *testing.T, open opener) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { must(t, open(t).Ping(t.Context())) })
	}
	wg.Wait()
}

func testGaveUp(t *testing.T, open opener) {
	s := open(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("hung up"))
	for i := range 200 { // whether the writer or the caller looks first is chance
		_, err := s.UseOnce(ctx, "login", strconv.Itoa(i), time.Now())
		if authn.KindOf(err) != authn.Unavailable {
			t.Fatalf("got %v, want unavailable", err)
		}
	}
	if n, err := s.PurgeUsed(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Errorf("%d written although their callers had given up (%v)", n, err)
	}
}

// testOwnSavepoint lets writes that go well and writes that do not share transactions.
func testOwnSavepoint(t *testing.T, open opener) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			err := s.WriteThen(t.Context(), strconv.Itoa(i), func() error {
				if i%3 == 0 {
					return authn.Errorf(authn.Locked, "own", "of the caller")
				}
				return nil
			})
			if failed := authn.ReasonOf(err) == "own"; failed != (i%3 == 0) || !failed && err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 60 {
		if first, err := s.UseOnce(t.Context(), "then", strconv.Itoa(i), time.Now()); err != nil || first != (i%3 == 0) {
			t.Errorf("write %d: there is no row: %v, %v", i, first, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
