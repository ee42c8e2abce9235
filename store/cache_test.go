package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/store"
)

// fail counts one more failure under key.
func fail(ctx context.Context, s *store.Store, key string) error {
	return s.UpdateAttempts(ctx, key, func(a authn.Attempts) (authn.Attempts, error) {
		a.Failures++
		return a, nil
	})
}

// setActive makes a linked IT user "ann" of account "corp", subject "s-ann".
func setActive(ctx context.Context, s *store.Store, active bool) error {
	return s.ChangeUser(ctx, "ann", func(u *itusers.User) error {
		u.Key, u.Username, u.Active, u.IDs = "k-ann", "ann", active, map[string]int32{"production": 7}
		u.Links = []itusers.Link{{Provider: "corp", Subject: "s-ann", Username: "ann", Since: began}}
		return nil
	})
}

func failures(t *testing.T, s *store.Store, key string) int {
	t.Helper()
	a, err := s.Attempts(t.Context(), key)
	must(t, err)
	return a.Failures
}

func active(t *testing.T, s *store.Store) bool {
	t.Helper()
	u, err := s.FindLinked(t.Context(), "corp", "s-ann", "production")
	must(t, err)
	return u.Active
}

// testSeenAtOnce reads what a sign-in reads, often enough for it to be remembered, and has it changed by this handle and
// by another one.
func testSeenAtOnce(t *testing.T, open opener) {
	one, two := open(t), open(t)
	log := auditLog(t, one)
	must(t, setActive(t.Context(), one, true))
	others := 0
	for i := range 40 {
		for range 2 { // the first one notices what the other handle has written
			must(t, log.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn}))
		}
		by, on := []*store.Store{one, two}[i%2], i%4 < 2
		if i%3 == 0 {
			must(t, one.RememberUsers(t.Context(), []string{"development", "production"}))
		}
		for range 2 {
			failures(t, one, "key")
			active(t, one)
		}
		must(t, fail(t.Context(), by, "key"))
		if n := failures(t, one, "key"); n != i+1 {
			t.Fatalf("%d failures seen after %d", n, i+1)
		}
		others++
		if i%4 == 2 {
			others = 0
			must(t, by.UpdateAttempts(t.Context(), "other", func(authn.Attempts) (authn.Attempts, error) { return authn.Attempts{}, nil }))
		} else {
			must(t, fail(t.Context(), by, "other"))
		}
		if n := failures(t, one, "other"); n != others {
			t.Fatalf("round %d: %d failures seen of what is forgotten at times", i, n)
		}
		must(t, setActive(t.Context(), by, on))
		if active(t, one) != on {
			t.Fatalf("round %d: the user is seen as active: %v", i, !on)
		}
	}
}

// testNothingOlder reads while this handle and another one change rows and sign-ins are recorded: whoever reads after a
// change was acknowledged sees it.
func testNothingOlder(t *testing.T, open opener) {
	one, two := open(t), open(t)
	log := auditLog(t, one)
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var acknowledged [4]atomic.Int64
	var wg sync.WaitGroup
	for i, by := range []*store.Store{one, two, two, one} {
		key := fmt.Sprint("key", i)
		wg.Go(func() {
			for ctx.Err() == nil {
				must(t, fail(t.Context(), by, key))
				acknowledged[i].Add(1)
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				least := acknowledged[i].Load()
				if n := failures(t, one, key); int64(n) < least {
					t.Errorf("%s: %d failures seen after %d were acknowledged", key, n, least)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			must(t, log.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn}))
		}
	})
	wg.Wait()
}

// TestNothingIsKeptThatWasChangedMeanwhile changes a row after it was read and before it would be remembered.
func TestNothingIsKeptThatWasChangedMeanwhile(t *testing.T) {
	open := handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "x.db")})
	s, other := open(t), open(t)
	log := auditLog(t, s)
	record := func() { must(t, log.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn})) }
	for _, c := range []struct {
		name    string
		happens func(active bool)
	}{
		{"by this handle", func(on bool) { must(t, setActive(t.Context(), s, on)) }},
		{"by another one", func(on bool) { must(t, setActive(t.Context(), other, on)) }},
		{"by another one, noticed", func(on bool) { must(t, setActive(t.Context(), other, on)); record() }},
		{"by another one, long ago", func(on bool) { must(t, setActive(t.Context(), other, on)); record(); record() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, setActive(t.Context(), s, true))
			record()
			record()
			must(t, s.FindLinkedWhile(t.Context(), "corp", "s-ann", "production", func() { c.happens(false) }))
			for range 3 {
				if active(t, s) {
					t.Error("the user is still seen as active")
				}
				record()
			}
		})
	}
}

// TestAttemptsBeyondWhatIsRemembered goes past the limit, up and down, and by another handle.
func TestAttemptsBeyondWhatIsRemembered(t *testing.T) {
	open := handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "x.db")})
	s, other := open(t), open(t)
	const most = store.MaxAttempts + 3
	check := func(from, to int) {
		t.Helper()
		for n := range most {
			i, want := (n+99)%most, 0 // key99 is the last one in the order of keys
			if i >= from && i < to {
				want = 1
			}
			if n := failures(t, s, fmt.Sprint("key", i)); n != want {
				t.Errorf("%d failures of key %d, want %d", n, i, want)
			}
		}
	}
	for i := range most {
		must(t, fail(t.Context(), s, fmt.Sprint("key", i)))
		if i > most-8 {
			check(0, i+1)
		}
	}
	for i := range most {
		if i < 8 { // all is forgotten and read again
			must(t, setActive(t.Context(), s, true))
			check(i, most)
		}
		by := []*store.Store{s, other}[i%2]
		must(t, by.UpdateAttempts(t.Context(), fmt.Sprint("key", i),
			func(authn.Attempts) (authn.Attempts, error) { return authn.Attempts{}, nil }))
		if i < 8 {
			check(i+1, most)
		}
	}
	check(0, 0)
}

// TestUsersAreReadAhead on every environment that a start names, and seen to be changed afterwards as any other.
func TestUsersAreReadAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	before := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	const users = 2*store.RememberAtOnce + 7
	must(t, before.ChangeUsers(t.Context(), func([]itusers.User) (iter.Seq[itusers.User], error) {
		return func(yield func(itusers.User) bool) {
			for i := range users {
				name := fmt.Sprint("user", i)
				yield(itusers.User{Key: "k-" + name, Username: name, Active: true, IDs: map[string]int32{"production": int32(i + 1)}})
			}
		}, nil
	}))
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() { // at once, for them to share commits
			_, _, err := before.AddLink(t.Context(), fmt.Sprint("k-user", i),
				itusers.Link{Provider: fmt.Sprint("corp", i%2), Subject: fmt.Sprint("s", i), Since: began}, false)
			must(t, err)
		})
	}
	wg.Wait()

	s := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	must(t, s.RememberUsers(t.Context(), []string{"development", "production"}))
	reads := s.Reads()
	for environment, ids := range map[string]int32{"production": 1, "development": 0} {
		for i := range users {
			u, err := s.FindLinked(t.Context(), fmt.Sprint("corp", i%2), fmt.Sprint("s", i), environment)
			must(t, err)
			want := authn.ITUser{Key: fmt.Sprint("k-user", i), Username: fmt.Sprint("user", i), Active: true, Linked: true,
				UserID: ids * int32(i+1)}
			if u != want {
				t.Fatalf("%s: %+v, want %+v", environment, u, want)
			}
		}
	}
	if n := s.Reads() - reads; n != 0 {
		t.Errorf("%d users were read one by one", n)
	}
	must(t, s.ChangeUser(t.Context(), "user0", func(u *itusers.User) error { u.Active = false; return nil }))
	if u, err := s.FindLinked(t.Context(), "corp0", "s0", "production"); err != nil || u.Key != "k-user0" || u.Active {
		t.Errorf("disabled afterwards: %+v, %v", u, err)
	}
}

// changeOnDemand is another process: for each line that it reads it counts a failure and turns the user on or off.
func changeOnDemand(path string) {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Driver: store.SQLite, Path: path})
	for on, in := false, bufio.NewScanner(os.Stdin); err == nil && in.Scan(); on = !on {
		if err = fail(ctx, s, "key"); err == nil {
			err = setActive(ctx, s, on)
		}
		fmt.Println(err)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(0)
}

// TestAnotherProcessIsSeenAtOnce is the administrator's command beside the running server.
func TestAnotherProcessIsSeenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := handles(store.Config{Driver: store.SQLite, Path: path})(t)
	log := auditLog(t, s)
	must(t, setActive(t.Context(), s, true))
	demand := otherProcess(t, path)
	for i := range 50 {
		for range 2 { // the first one notices that another process has written
			must(t, log.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn}))
		}
		reads := s.Reads()
		for range 3 {
			failures(t, s, "key")
			active(t, s)
		}
		if n := s.Reads() - reads; n > 2 {
			t.Fatalf("round %d: %d rows were read, of two that did not change", i, n)
		}
		demand()
		if n, on := failures(t, s, "key"), active(t, s); n != i+1 || on != (i%2 == 1) {
			t.Fatalf("round %d: %d failures, active: %v", i, n, on)
		}
	}
}

// otherProcess starts changeOnDemand; the function returned has it make one round of changes.
func otherProcess(t *testing.T, path string) func() {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), changerPath+"="+path)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	must(t, err)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	t.Cleanup(func() { must(t, in.Close()); must(t, child.Wait()) })
	answers := bufio.NewScanner(out)
	return func() {
		t.Helper()
		if _, err := io.WriteString(in, "go\n"); err != nil || !answers.Scan() || answers.Text() != "<nil>" {
			t.Fatal(err, answers.Text())
		}
	}
}

// TestAHeaderThatDoesNotChange is a file system whose two views of a file differ: nothing may be remembered there.
func TestAHeaderThatDoesNotChange(t *testing.T) {
	open := handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "x.db")})
	s, other := open(t), open(t)
	s.FreezeHeader(handles(store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "still.db")})(t))
	for i := range 10 {
		for range 2 {
			must(t, fail(t.Context(), s, "another key"))
		}
		failures(t, s, "key")
		must(t, fail(t.Context(), other, "key"))
		if n := failures(t, s, "key"); n != i+1 {
			t.Errorf("round %d: %d failures seen", i, n)
		}
	}
}
