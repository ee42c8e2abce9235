package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

// racers is how many connections do the same at the same time.
const racers = 4

// overlap makes the callers' reads overlap for certain: the table lets everybody read and nobody write until each caller
// has read and waits, for the table or for another caller. Chance would let most missing locks pass.
func overlap(t *testing.T, dsn, table string, call func(i int) error) []error {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	blocker, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = blocker.ExecContext(t.Context(), `LOCK TABLE `+table+` IN EXCLUSIVE MODE`)
	must(t, err)
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { errs[i] = call(i) })
	}
	waitUntil(t, fmt.Sprintf("%d callers wait", racers), func() bool {
		var n int
		must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n))
		return n == racers
	})
	must(t, blocker.Rollback())
	wg.Wait()
	return errs
}

func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to pass that %s", what)
		}
	}
}

// races are the read-modify-writes whose reads must not overlap. Each starts where there is no row to lock.
var races = []struct {
	name, table string
	test        func(t *testing.T, s *store.Store, overlap func(func(i int) error) []error)
}{
	{"attempts", "attempts", raceAttempts},
	{"appending to the audit", "audit_head", raceAppend},
	{"purging and appending", "audit_head", racePurge},
	{"using a key once", "single_use", raceOnce},
	{"enrolments begun", "factors", raceAddDevice},
	{"the last device that fits", "factors", raceLastDevice},
	{"devices confirmed, one set of recovery codes", "factors", raceConfirm},
	{"a step", "factors", raceStep},
	{"a recovery code", "recovery_codes", raceRecovery},
	{"all devices removed", "factors", raceRemoveDevices},
	{"the last device that may not go", "factors", raceLastRemoved},
	{"recovery codes replaced", "recovery_codes", raceReplaceCodes},
	{"an enrolment code redeemed", "invites", raceInvitation},
	{"a break-glass account made", "local_accounts", raceLocalAdd},
	{"a break-glass account's password", "local_accounts", raceLocalPassword},
	{"an account linked", "links", raceLink},
	{"a user changed", "it_users", raceChange},
	{"users imported", "it_users", raceImport},
}

func TestRacesOnPostgres(t *testing.T) {
	server := testenv.Postgres(t)
	for _, race := range races {
		t.Run(race.name, func(t *testing.T) {
			dsn := server.NewDatabase(t)
			s := handles(store.Config{Driver: store.Postgres, DSN: authn.Secret(dsn)})(t)
			race.test(t, s, func(call func(int) error) []error { return overlap(t, dsn, race.table, call) })
		})
	}
}

func all(t *testing.T, errs []error) {
	t.Helper()
	must(t, errors.Join(errs...))
}

func raceAttempts(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	all(t, overlap(func(int) error {
		return s.UpdateAttempts(context.Background(), "new", func(a authn.Attempts) (authn.Attempts, error) {
			a.Failures++
			return a, nil
		})
	}))
	if a, err := s.Attempts(t.Context(), "new"); err != nil || a.Failures != racers {
		t.Errorf("%d of %d failures were counted (%v)", a.Failures, racers, err)
	}
}

func raceAppend(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	logs := make([]*audit.Log, racers)
	for i := range logs {
		logs[i] = auditLog(t, s)
	}
	all(t, overlap(func(i int) error { return logs[i].Event(context.Background(), audit.Record{Time: began}) }))
	if v, err := audit.Verify(t.Context(), s, auditKey, nil); err != nil || v.Records != racers {
		t.Errorf("%+v, %v; want %d records", v, err, racers)
	}
}

func racePurge(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	fillAudit(t, s, 10)
	logs := make([]*audit.Log, racers)
	for i := range logs {
		logs[i] = auditLog(t, s)
	}
	all(t, overlap(func(i int) error {
		if i%2 == 0 {
			_, err := logs[i].Purge(context.Background(), time.Now().Add(time.Hour), "root")
			return err
		}
		return logs[i].Event(context.Background(), audit.Record{Time: time.Now().Add(2 * time.Hour)})
	}))
	if v, err := audit.Verify(t.Context(), s, auditKey, nil); err != nil || v.PurgedTo < 10 {
		t.Errorf("%+v, %v", v, err)
	}
}

// winners counts who was told that it was theirs.
func winners(t *testing.T, overlap func(func(int) error) []error, call func(i int) (bool, error)) (n int) {
	t.Helper()
	won := make([]bool, racers)
	all(t, overlap(func(i int) (err error) {
		won[i], err = call(i)
		return err
	}))
	for _, w := range won {
		if w {
			n++
		}
	}
	return n
}

func wantOne(t *testing.T, n int) {
	t.Helper()
	if n != 1 {
		t.Errorf("%d were told that it is theirs, want 1", n)
	}
}

func raceOnce(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	wantOne(t, winners(t, overlap, func(int) (bool, error) {
		return s.UseOnce(context.Background(), "login", "one", began)
	}))
}

func raceAddDevice(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	addUsers(t, s, "ann")
	all(t, overlap(func(i int) error { return s.AddDevice(context.Background(), device(i)) }))
	if devices, err := s.Devices(t.Context(), "k-ann"); err != nil || len(devices) != 1 {
		t.Errorf("%d enrolments wait at once, want 1 (%v)", len(devices), err)
	}
}

func device(i int) mfa.Device {
	return mfa.Device{ID: fmt.Sprint("d", i), User: "k-ann", Sealed: []byte("x"), Created: began, Confirmed: began, LastStep: 1}
}

func codes(i int) []mfa.RecoveryCode {
	return []mfa.RecoveryCode{{ID: fmt.Sprint("r", i), Hash: []byte{byte(i)}}}
}

// unconfirmed has several enrolments waiting, which AddDevice alone would not leave: an older version's rows.
func unconfirmed(t *testing.T, s *store.Store) {
	t.Helper()
	addUsers(t, s, "ann")
	for i := range racers {
		must(t, s.AddRow(t.Context(), device(i)))
	}
}

func raceConfirm(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	unconfirmed(t, s)
	wantOne(t, winners(t, overlap, func(i int) (bool, error) {
		_, kept, err := s.ConfirmDevice(context.Background(), device(i), codes(i))
		return kept, err
	}))
	if kept, err := s.RecoveryCodes(t.Context(), "k-ann"); err != nil || len(kept) != 1 {
		t.Errorf("%d sets of recovery codes, want 1 (%v)", len(kept), err)
	}
}

func raceLastDevice(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	unconfirmed(t, s)
	for i := range mfa.MaxDevices - 1 {
		must(t, s.AddRow(t.Context(), device(10+i)))
		_, _, err := s.ConfirmDevice(t.Context(), device(10+i), nil)
		must(t, err)
	}
	confirmed := 0
	for _, err := range overlap(func(i int) error {
		_, _, err := s.ConfirmDevice(context.Background(), device(i), nil)
		return err
	}) {
		if err == nil {
			confirmed++
		} else if authn.ReasonOf(err) != "too_many_devices" {
			t.Error(err)
		}
	}
	wantOne(t, confirmed)
}

func raceStep(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	addUsers(t, s, "ann")
	must(t, s.AddDevice(t.Context(), device(0)))
	_, _, err := s.ConfirmDevice(t.Context(), device(0), nil)
	must(t, err)
	wantOne(t, winners(t, overlap, func(int) (bool, error) { return s.UseStep(context.Background(), "d0", 2) }))
}

func raceRecovery(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	addUsers(t, s, "ann")
	must(t, s.AddDevice(t.Context(), device(0)))
	_, _, err := s.ConfirmDevice(t.Context(), device(0), codes(0))
	must(t, err)
	wantOne(t, winners(t, overlap, func(int) (bool, error) { return s.UseRecoveryCode(context.Background(), "r0", began) }))
}

// Two subjects want one IT user.
func raceLink(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	addUsers(t, s, "ann")
	wantOne(t, winners(t, overlap, func(i int) (bool, error) {
		subject := fmt.Sprint("s", i)
		_, got, err := s.AddLink(context.Background(), "k-ann", itusers.Link{Provider: "corp", Subject: subject, Since: began}, true)
		return got == subject, err
	}))
}

func raceChange(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	addUsers(t, s, "ann")
	all(t, overlap(func(i int) error {
		return s.ChangeUser(context.Background(), "ann", func(u *itusers.User) error {
			if u.IDs == nil {
				u.IDs = map[string]int32{}
			}
			u.IDs[fmt.Sprint("environment", i)] = int32(i + 1)
			return nil
		})
	}))
	if users, err := s.Users(t.Context(), itusers.Filter{Username: "ann"}); err != nil || len(users) != 1 || len(users[0].IDs) != racers {
		t.Errorf("%+v, %v; want an id by each of the %d callers", users, err, racers)
	}
}

func raceImport(t *testing.T, s *store.Store, overlap func(func(int) error) []error) {
	added := make([]int, racers)
	all(t, overlap(func(i int) error {
		r, err := importWith(s, "username,id:production\nann,1\nbob,2\n")
		added[i] = r.Added
		return err
	}))
	slices.Sort(added)
	if added[racers-1] != 2 || added[racers-2] != 0 {
		t.Errorf("added %v; want 2 by one of them", added)
	}
}
