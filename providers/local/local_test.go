package local_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/authn/authntest"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/providers/local"
	"github.com/idbridge/idbridge/store"
	"github.com/idbridge/idbridge/testenv"
)

// bench is a provider and a manager on a real database.
type bench struct {
	*local.Manager
	provider authn.Provider
	dir      string
	store    *store.Store
	ring     *keyring.Ring
	config   local.Config
	cost     local.Cost
	now      time.Time
}

func newBench(t *testing.T, c local.Config) *bench {
	t.Helper()
	line, err := keyring.Generate("test")
	must(t, err)
	ring, err := keyring.Parse(line)
	must(t, err)
	b := &bench{
		dir: t.TempDir(), ring: ring, config: c, cost: local.Cheap(), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
	}
	b.store, err = store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(b.dir, "test.db")})
	must(t, err)
	t.Cleanup(func() { _ = b.store.Close() })
	b.open(t)
	return b
}

// open makes the provider and the manager anew, as another process would.
func (b *bench) open(t *testing.T) {
	t.Helper()
	clock := func() time.Time { return b.now }
	b.Manager = local.NewManagerWith(b.store, b.ring, b.cost, clock)
	var err error
	b.provider, err = local.NewWith("glass", b.config, authn.Route{Pattern: "bg-.*"}, b.store, b.ring, b.cost, clock)
	must(t, err)
}

const chosen authn.Secret = "correct horse battery"

// account has a password of its owner's and an hour to sign in.
func (b *bench) account(t *testing.T, name string, password authn.Secret) local.Account {
	t.Helper()
	_, first, err := b.Add(t.Context(), name)
	must(t, err)
	_, err = b.Change(t.Context(), name, first, password)
	must(t, err)
	a, err := b.Activate(t.Context(), name, time.Hour)
	must(t, err)
	return a
}

func (b *bench) signIn(t *testing.T, name string, password authn.Secret) (authn.Identity, error) {
	t.Helper()
	account, err := b.provider.Password.Find(t.Context(), name)
	if err != nil {
		return authn.Identity{}, err
	}
	return b.provider.Password.Verify(t.Context(), account, password)
}

func (b *bench) want(t *testing.T, name string, password authn.Secret, kind authn.Kind, reason string) {
	t.Helper()
	_, err := b.signIn(t, name, password)
	want(t, err, kind, reason)
}

func want(t *testing.T, err error, kind authn.Kind, reason string) {
	t.Helper()
	if authn.KindOf(err) != kind || err != nil && authn.ReasonOf(err) != reason {
		t.Errorf("got %v (%s), want %v (%s): %v", authn.KindOf(err), authn.ReasonOf(err), kind, reason, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// silent is a store that never answers: what no real one can be made to do on request.
type silent struct{ local.Store }

func (silent) LocalAccount(ctx context.Context, _ string) (local.Account, bool, error) {
	<-ctx.Done()
	return local.Account{}, false, ctx.Err()
}

func TestContract(t *testing.T) {
	b := newBench(t, local.Config{})
	b.account(t, "bg-ann", "pw of ann 123!")
	b.account(t, "bg-bob", "pw of bob 456?")
	_, first, err := b.Add(t.Context(), "bg-new")
	must(t, err)
	dead, err := local.New("glass", "", local.Config{}, authn.Route{}, silent{}, b.ring)
	must(t, err)
	authntest.TestPasswordProvider(t, authntest.PasswordFixture{
		ProviderID: "glass", Provider: b.provider.Password, Dead: dead.Password,
		Good:   []authntest.Login{{Username: "bg-ann", Password: "pw of ann 123!"}, {Username: "bg-bob", Password: "pw of bob 456?"}},
		Locked: authntest.Login{Username: "bg-new", Password: first.Reveal()},
	})
}

// An account signs in with the parameters that the product has, which stand in the hash.
func TestTheRealCost(t *testing.T) {
	b := newBench(t, local.Config{})
	b.cost = local.Present()
	b.open(t)
	a := b.account(t, "bg-ann", chosen)
	b.want(t, "bg-ann", chosen, authn.OK, "")
	kept, _, err := b.store.LocalAccount(t.Context(), "bg-ann")
	must(t, err)
	hash, err := b.ring.Open(kept.Sealed, local.SealAD(a.Subject))
	must(t, err)
	if !strings.HasPrefix(string(hash), "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("the hash is %.40s", hash)
	}
}

func TestOnlyWithinTheWindow(t *testing.T) {
	b := newBench(t, local.Config{})
	a := b.account(t, "bg-ann", chosen)
	id, err := b.signIn(t, "BG-Ann", chosen)
	must(t, err)
	if !id.Until.Equal(a.ActiveUntil) || id.Username != "bg-ann" || id.Subject != a.Subject {
		t.Errorf("%+v", id)
	}
	b.now = a.ActiveUntil
	b.want(t, "bg-ann", chosen, authn.Locked, "not_activated")
	b.want(t, "bg-ann", "something else", authn.BadCredentials, "wrong_password") // a guess is told from a stolen password
	account, err := b.provider.Password.Find(t.Context(), "bg-ann")
	must(t, err)
	want(t, b.provider.ChangePassword(t.Context(), account, chosen, "another battery"), authn.Locked, "not_activated")

	_, err = b.Activate(t.Context(), "bg-ann", time.Hour)
	must(t, err)
	b.want(t, "bg-ann", chosen, authn.OK, "")
	_, err = b.Activate(t.Context(), "bg-ann", 0)
	must(t, err)
	b.want(t, "bg-ann", chosen, authn.Locked, "not_activated")

	_, err = b.Activate(t.Context(), "bg-ann", time.Hour)
	must(t, err)
	b.config.AlwaysActive = true
	b.open(t)
	b.now = b.now.Add(2 * time.Hour)
	id, err = b.signIn(t, "bg-ann", chosen)
	if err != nil || !id.Until.IsZero() {
		t.Errorf("always active: until %v, %v", id.Until, err)
	}
}

func TestTheFirstPasswordMustBeChanged(t *testing.T) {
	b := newBench(t, local.Config{})
	_, first, err := b.Add(t.Context(), "bg-ann")
	must(t, err)
	b.want(t, "bg-ann", first, authn.Locked, "not_activated") // nothing works by itself
	_, err = b.Activate(t.Context(), "bg-ann", time.Hour)
	must(t, err)
	b.want(t, "bg-ann", first, authn.Locked, "password_must_change")
	b.want(t, "bg-ann", first+"x", authn.BadCredentials, "wrong_password")

	account, err := b.provider.Password.Find(t.Context(), "bg-ann")
	must(t, err)
	change := func(current, next authn.Secret) error {
		return b.provider.ChangePassword(t.Context(), account, current, next)
	}
	want(t, change("wrong", chosen), authn.BadCredentials, "wrong_password")
	want(t, change(first, "too short"), authn.Unsuitable, "password_too_short")
	want(t, change(first, first), authn.Unsuitable, "password_unchanged")
	b.want(t, "bg-ann", first, authn.Locked, "password_must_change") // nothing has changed so far
	must(t, change(first, chosen))
	b.want(t, "bg-ann", chosen, authn.OK, "")
	b.want(t, "bg-ann", first, authn.BadCredentials, "wrong_password")

	_, second, err := b.Reset(t.Context(), "bg-ann")
	must(t, err)
	b.want(t, "bg-ann", chosen, authn.BadCredentials, "wrong_password")
	b.want(t, "bg-ann", second, authn.Locked, "password_must_change")
}

func TestRulesForPasswords(t *testing.T) {
	for next, reason := range map[authn.Secret]string{
		"thirteen-chrs":                  "password_too_short",
		"fourteen-chars":                 "",
		"vierzehn-äöü-x":                 "", // characters, not bytes
		"my BG-ANN password":             "password_has_username",
		"abababababababababab":           "password_repeats",
		"the current password":           "password_unchanged",
		"nul \x00 in the middle":         "malformed_password",
		"not UTF-8 \xff at all":          "malformed_password",
		authn.Secret(make([]byte, 1025)): "malformed_password",
	} {
		err := local.CheckPassword("bg-ann", "the current password", next)
		if reason == "" {
			must(t, err)
		} else {
			want(t, err, authn.Unsuitable, reason)
		}
	}
	seen := map[authn.Secret]bool{}
	for range 1000 {
		p := local.Propose()
		must(t, local.CheckPassword("bg-ann", "", p))
		if seen[p] {
			t.Errorf("%s came twice", p.Reveal())
		}
		seen[p] = true
	}
}

// A name that nobody has waits for its turn at hashing like a password does; one that somebody has does not.
func TestAnUnknownNameCostsAHash(t *testing.T) {
	b := newBench(t, local.Config{})
	b.account(t, "bg-ann", chosen)
	free := local.Occupy(b.provider)
	account, err := b.provider.Password.Find(t.Context(), "bg-ann")
	must(t, err)
	for _, hashing := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := b.provider.Password.Find(ctx, "bg-nobody"); return err },
		func(ctx context.Context) error {
			_, err := b.provider.Password.Verify(ctx, account, chosen)
			return err
		},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("of the test"))
		want(t, hashing(ctx), authn.Unavailable, "hash_wait")
		cancel()
	}
	free()
	b.want(t, "bg-nobody", chosen, authn.BadCredentials, "unknown_user")
	b.want(t, "bg-ann", chosen, authn.OK, "")
}

func TestHashesCannotBeMovedOrPlanted(t *testing.T) {
	b := newBench(t, local.Config{})
	ann, bob := b.account(t, "bg-ann", chosen), b.account(t, "bg-bob", "bob's own password")
	kept, _, err := b.store.LocalAccount(t.Context(), "bg-ann")
	must(t, err)
	of := func(name string) []byte {
		a, _, err := b.store.LocalAccount(t.Context(), name)
		must(t, err)
		return a.Sealed
	}
	planted, err := local.Hash(t.Context(), b.cost, "planted password")
	must(t, err)
	for _, sealed := range [][]byte{of("bg-bob"), []byte(planted)} {
		done, err := b.store.ReplaceLocalPassword(t.Context(), ann.Subject, of("bg-ann"), local.Password{Sealed: sealed})
		if err != nil || !done {
			t.Fatal(done, err)
		}
		for _, p := range []authn.Secret{chosen, "bob's own password", "planted password"} {
			b.want(t, "bg-ann", p, authn.Unavailable, "password_unopenable")
		}
	}
	done, err := b.store.ReplaceLocalPassword(t.Context(), ann.Subject, of("bg-ann"), kept.Password)
	if err != nil || !done {
		t.Fatal(done, err)
	}
	b.want(t, "bg-ann", chosen, authn.OK, "")
	b.want(t, bob.Username, "bob's own password", authn.OK, "")
}

// A removed account is nobody, also for a sign-in that has found it already; a new one of that name is somebody else.
func TestRemoveAndMakeAnew(t *testing.T) {
	b := newBench(t, local.Config{})
	old := b.account(t, "bg-ann", chosen)
	account, err := b.provider.Password.Find(t.Context(), "bg-ann")
	must(t, err)
	_, err = b.Remove(t.Context(), "BG-ANN")
	must(t, err)
	b.want(t, "bg-ann", chosen, authn.BadCredentials, "unknown_user")
	_, err = b.Remove(t.Context(), "bg-ann")
	want(t, err, authn.BadCredentials, "unknown_user")
	fresh := b.account(t, "bg-ann", chosen)
	if fresh.Subject == old.Subject {
		t.Error("a subject was given twice")
	}
	_, err = b.provider.Password.Verify(t.Context(), account, chosen)
	want(t, err, authn.BadCredentials, "unknown_user")
	want(t, b.provider.ChangePassword(t.Context(), account, chosen, "another battery"), authn.BadCredentials, "unknown_user")
}

// overtaken is a store in which somebody else is faster with every change.
type overtaken struct{ *store.Store }

func (s overtaken) ReplaceLocalPassword(ctx context.Context, subject string, was []byte, next local.Password) (bool, error) {
	if _, err := s.Store.ReplaceLocalPassword(ctx, subject, was, local.Password{Sealed: append([]byte("theirs"), was...)}); err != nil {
		return false, err
	}
	return s.Store.ReplaceLocalPassword(ctx, subject, was, next)
}

func TestTheSlowerOfTwoChangesIsToldSo(t *testing.T) {
	b := newBench(t, local.Config{})
	b.account(t, "bg-ann", chosen)
	slower := local.NewManagerWith(overtaken{b.store}, b.ring, b.cost, func() time.Time { return b.now })
	_, err := slower.Change(t.Context(), "bg-ann", chosen, "another battery")
	want(t, err, authn.Unavailable, "account_changed")
	_, _, err = slower.Reset(t.Context(), "bg-ann")
	want(t, err, authn.Unavailable, "account_changed")
}

// What PostgreSQL could not even be asked for is nobody's name, and no fault of the store.
func TestNamesThatNoDatabaseHolds(t *testing.T) {
	b := newBench(t, local.Config{})
	dsn := testenv.Postgres(t).NewDatabase(t)
	s, err := store.Open(t.Context(), store.Config{Driver: store.Postgres, DSN: authn.Secret(dsn)})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	b.store = s
	b.open(t)
	b.account(t, "bg-ann", chosen)
	for _, name := range []string{"bg-ann\x00", "\x00", "bg-\xff", "bg-ann\xed\xa0\x80"} {
		b.want(t, name, chosen, authn.BadCredentials, "unknown_user")
	}
	b.want(t, "bg-ann", chosen, authn.OK, "")
}

func TestNames(t *testing.T) {
	b := newBench(t, local.Config{})
	_, _, err := b.Add(t.Context(), "bg-ann")
	must(t, err)
	for name, reason := range map[string]string{
		"BG-Ann": "name_taken", "": "bad_account_name", "-x": "bad_account_name", "a b": "bad_account_name",
		"é": "bad_account_name", "a\n": "bad_account_name", strings.Repeat("a", 101): "bad_account_name",
	} {
		_, _, err := b.Add(t.Context(), name)
		want(t, err, authn.Unsuitable, reason)
	}
	for _, window := range []time.Duration{-1, local.MaxActivation + 1} {
		_, err = b.Activate(t.Context(), "bg-ann", window)
		want(t, err, authn.Unsuitable, "window_too_long")
	}
}

// A hash of weaker parameters still counts, and is made anew when its password is proven; nothing else changes.
func TestHashesGrowStronger(t *testing.T) {
	b := newBench(t, local.Config{})
	before := b.account(t, "bg-ann", chosen)
	b.now = b.now.Add(time.Minute)
	b.cost = local.Present()
	b.open(t)
	b.want(t, "bg-ann", "not the password", authn.BadCredentials, "wrong_password")
	unchanged, _, err := b.store.LocalAccount(t.Context(), "bg-ann")
	must(t, err)
	b.want(t, "bg-ann", chosen, authn.OK, "")
	after, _, err := b.store.LocalAccount(t.Context(), "bg-ann")
	must(t, err)
	hash, err := b.ring.Open(after.Sealed, local.SealAD(after.Subject))
	must(t, err)
	if bytes.Equal(after.Sealed, unchanged.Sealed) || !strings.HasPrefix(string(hash), "$argon2id$v=19$m=65536,") {
		t.Errorf("the hash is still %.40s", hash)
	}
	if !after.Changed.Equal(unchanged.Changed) || after.MustChange || !after.ActiveUntil.Equal(before.ActiveUntil) {
		t.Errorf("%+v became %+v", unchanged, after)
	}
	b.want(t, "bg-ann", chosen, authn.OK, "")
}

func TestWarnings(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	account := func(name string, age, active time.Duration, first bool) local.Account {
		return local.Account{Username: name, ActiveUntil: now.Add(active),
			Password: local.Password{Changed: now.Add(-age), MustChange: first}}
	}
	accounts := []local.Account{
		account("fresh", 90*day, 0, false), account("old", 91*day, -time.Hour, false), account("new", 91*day, 0, true),
		account("open", day, time.Hour, false),
	}
	got := local.Warnings(local.Config{RotateAfter: 90 * day}, accounts, now)
	if len(got) != 3 || !strings.HasPrefix(got[0], "old: its password is 91 days old, rotate_after is 90 days (") ||
		!strings.HasPrefix(got[1], "new: its owner has not chosen a password yet") ||
		!strings.HasPrefix(got[2], "open: is active until 2026-11-24T13:00:00Z") {
		t.Errorf("%q", got)
	}
	got = local.Warnings(local.Config{AlwaysActive: true}, accounts, now)
	if len(got) != 1 || !strings.HasPrefix(got[0], "new: ") {
		t.Errorf("never to be changed, always active: %q", got)
	}
}

func TestCheck(t *testing.T) {
	b := newBench(t, local.Config{})
	want(t, b.provider.Check(t.Context()), authn.Unavailable, "no_accounts")
	_, _, err := b.Add(t.Context(), "bg-ann")
	must(t, err)
	must(t, b.provider.Check(t.Context()))
	must(t, b.store.Close())
	want(t, b.provider.Check(t.Context()), authn.Unavailable, "store_unavailable")
	b.want(t, "bg-ann", chosen, authn.Unavailable, "store_unavailable")

	none, err := local.New("glass", "", local.Config{}, authn.Route{}, nil, nil)
	must(t, err)
	want(t, none.Check(t.Context()), authn.Unavailable, "store_unavailable")
	if none.Lookup != nil {
		t.Error("a web server's word would sign a break-glass account in")
	}
	if _, err := local.New("glass", "", local.Config{RotateAfter: -1}, authn.Route{Pattern: "("}, nil, nil); err == nil ||
		!strings.Contains(err.Error(), "rotate_after: ") || !strings.Contains(err.Error(), "pattern: ") {
		t.Errorf("a wrong configuration: %v", err)
	}
}

// Neither a password nor a hash is in what is written to disk.
func TestSecretsAreNotOnDisk(t *testing.T) {
	b := newBench(t, local.Config{})
	_, first, err := b.Add(t.Context(), "bg-ann")
	must(t, err)
	_, err = b.Change(t.Context(), "bg-ann", first, chosen)
	must(t, err)
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	must(t, err)
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(t, err)
		all = append(all, content...)
	}
	if !bytes.Contains(all, []byte("bg-ann")) {
		t.Error("nothing was written")
	}
	for _, canary := range []string{first.Reveal(), chosen.Reveal(), "argon2id"} {
		if bytes.Contains(all, []byte(canary)) {
			t.Errorf("the database holds %q", canary)
		}
	}
}

// What the reference implementation makes (argon2 of the P-H-C project) is understood, and nothing that is no whole hash.
func TestHashFormat(t *testing.T) {
	const reference = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$UiBIPUuhY3xdXfQ7N3p/au05phWWk9ACmj5PdtUGaas"
	right, weak, err := local.Matches(t.Context(), local.Present(), reference, chosen)
	if err != nil || !right || weak {
		t.Errorf("the reference's hash: right %v, weak %v, %v", right, weak, err)
	}
	if right, _, err = local.Matches(t.Context(), local.Present(), reference, chosen+"x"); err != nil || right {
		t.Errorf("another password: %v, %v", right, err)
	}
	broken := []string{"", "x", reference + "$", strings.Replace(reference, "argon2id", "argon2i", 1),
		strings.Replace(reference, "v=19", "v=16", 1), strings.Replace(reference, "t=3", "t=0", 1),
		strings.Replace(reference, "p=4", "p=0", 1), strings.Replace(reference, "p=4", "p=4,x=1", 1),
		reference[:len(reference)-2], strings.Replace(reference, "$MDEy", "$", 1)}
	for _, hash := range broken {
		_, _, err := local.Matches(t.Context(), local.Cheap(), hash, chosen)
		want(t, err, authn.Unavailable, "password_unopenable")
	}
	if slices.Contains(broken, reference) {
		t.Error("one of the broken hashes is whole")
	}
}
