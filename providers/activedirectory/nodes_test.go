package activedirectory

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

// everybody is an IT user without a second factor.
type everybody struct{}

func (everybody) Find(context.Context, authn.Account, string) (authn.ITUser, error) {
	return authn.ITUser{Key: "k", Username: "lockme", Active: true, UserID: 7, Linked: true}, nil
}
func (everybody) Link(context.Context, authn.Identity, authn.ITUser) error { return nil }
func (everybody) Split(typed authn.Secret) (authn.Secret, string, bool)    { return typed, "", false }
func (everybody) Accept(context.Context, authn.FactorProof) error          { return nil }
func (everybody) Record(context.Context, authn.Decision) error             { return nil }
func (everybody) Check(context.Context, authn.ITUser, string) (authn.FactorProof, error) {
	return authn.FactorProof{}, authn.Internal
}

// node is one idbridge process: everything of its own but the database.
func node(t *testing.T, dc *testenv.SambaDC, file string, now func() time.Time) *authn.Service {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	d := connect(t, configFor(dc))
	d.now = now
	match := func(name string) (string, bool) { return name, true }
	s, err := authn.NewService(authn.Config{
		Providers: []authn.Provider{{ID: "corp", Match: match, Password: d}}, Users: everybody{}, Factors: everybody{},
		Policy:   func(authn.Identity) authn.FactorPolicy { return authn.FactorNever },
		Throttle: authn.NewThrottle(db, authn.DefaultSteps(), authn.DefaultWindow, now), Auditor: everybody{},
		RefusalTime: -1, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTwoNodesNeverLock sends wrong passwords, in several spellings of one name, through two nodes on one database.
// Time passes between them, so that the throttle lets more through than the domain would bear.
func TestTwoNodesNeverLock(t *testing.T) {
	const threshold, window = 5, time.Hour
	dc := testenv.Samba(t, testenv.SambaConfig{})
	dc.SetLockout(t, threshold, window)
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	file := filepath.Join(t.TempDir(), "idbridge.db")
	nodes := []*authn.Service{node(t, dc, file, now), node(t, dc, file, now)}
	spellings := []string{"lockme", `EXAMPLE\lockme`, "lockme@example.test", "LOCKME"}
	signIn := func(i int, password string) error {
		call := authn.Call{Username: spellings[i/2%4], Password: authn.Secret(password), Arrived: now()}
		_, err := nodes[i%2].SignIn(t.Context(), call)
		return err
	}

	var mu sync.Mutex
	reasons := map[string]int{}
	for round := range 10 {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				err := signIn(i, fmt.Sprintf("wrong-%d-%d", round, i))
				mu.Lock()
				defer mu.Unlock()
				reasons[authn.ReasonOf(err)]++
			})
		}
		wg.Wait()
		later.Add(int64(31 * time.Second))
	}
	known := reasons["throttled"] + reasons[reasonWrongPassword] + reasons[reasonNearLockout]
	if known != 100 || reasons["throttled"] == 0 {
		t.Errorf("got %v", reasons)
	}
	if n := dc.BadPwdCount(t, "lockme"); n >= threshold || n == 0 || dc.Locked(t, "lockme") {
		t.Errorf("%d wrong passwords reached the domain, locked: %v", n, dc.Locked(t, "lockme"))
	}
	later.Add(int64(window + clockSlack))
	if err := signIn(0, testenv.SambaPassword("lockme")); err != nil {
		t.Errorf("the right password after the windows: %v", err)
	}
}
