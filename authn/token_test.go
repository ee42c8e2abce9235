package authn_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// memoryTokens keeps tokens in memory; what the databases do is tested in store.
type memoryTokens struct {
	kept map[string]authn.Token
	down error
}

func (m *memoryTokens) AddToken(_ context.Context, t authn.Token) error {
	m.kept[t.Hash] = t
	return m.down
}

func (m *memoryTokens) UseToken(_ context.Context, hash string, use func(*authn.Token) error) (bool, error) {
	t, found := m.kept[hash]
	if m.down != nil || !found {
		return false, m.down
	}
	if err := use(&t); err != nil {
		return false, err
	}
	m.kept[hash] = t
	return true, nil
}

// tokenBench has a token of bob's, who has a second factor.
type tokenBench struct {
	*bench
	tokens *memoryTokens
	token  string
}

func newTokenBench(t *testing.T, change ...func(*authn.Token)) *tokenBench {
	b := &tokenBench{tokens: &memoryTokens{kept: map[string]authn.Token{}}}
	b.bench = newBench(t, func(c *authn.Config) { c.Tokens = b.tokens })
	r := authn.Result{
		Identity: authn.Identity{Provider: "corp", Subject: "s-bob", Username: "Bob", Factors: []string{"password", "totp"}},
		User:     b.users.bySubject["s-bob"],
	}
	shown, kept := authn.NewToken(r, []string{`CORP\bob`}, authn.TokenLife{}, b.now)
	for _, f := range change {
		f(&kept)
	}
	b.token = shown.Reveal()
	return b.keep(t, kept)
}

func (b *tokenBench) keep(t *testing.T, kept authn.Token) *tokenBench {
	t.Helper()
	if err := b.tokens.AddToken(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tokenBench) only() authn.Token {
	for _, t := range b.tokens.kept {
		return t
	}
	return authn.Token{}
}

func TestTokenSignsIn(t *testing.T) {
	b := newTokenBench(t)
	for _, name := range []string{"bob", "BOB", "Bob", `corp\bob`} {
		got, err := b.signIn(t, name, b.token)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.User.UserID != 43 || len(got.Identity.Factors) != 1 || got.Identity.Factors[0] != authn.FactorToken {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if d := b.journal.last(t); d.Kind != authn.OK || d.Provider != "corp" || d.Subject != "s-bob" || d.ITUser != "bob" || d.Factors[0] != "token" {
		t.Errorf("recorded %+v", d)
	}
	if k := b.only(); !k.FirstUsed.Equal(b.now) || !k.LastUsed.Equal(b.now) || k.LastEnvironment != "production" {
		t.Errorf("kept %+v", k)
	}
	if b.source.binds != 0 || b.factors.checked != 0 {
		t.Error("the directory or the second factor was asked")
	}
}

func TestTokenAsItMayBeTyped(t *testing.T) {
	b := newTokenBench(t)
	plain := strings.ReplaceAll(b.token, "-", "")
	for _, typed := range []string{plain, strings.ToLower(b.token), strings.ToLower(plain)} {
		if _, err := b.signIn(t, "bob", typed); err != nil {
			t.Errorf("%s: %v", typed, err)
		}
	}
}

func TestTokenIsNotKept(t *testing.T) {
	b := newTokenBench(t)
	if k := b.only(); strings.Contains(k.Hash+k.ID, strings.ReplaceAll(b.token, "-", "")) || len(k.Hash) != 64 {
		t.Errorf("kept %+v", k)
	}
	if len(b.token) != 29 || strings.Count(b.token, "-") != 5 {
		t.Errorf("shown as %q, want six times four letters", b.token)
	}
}

// TestWhatIsNoToken goes to the directory, as any password.
func TestWhatIsNoToken(t *testing.T) {
	b := newTokenBench(t)
	other := "B"
	if strings.HasSuffix(b.token, other) {
		other = "C"
	}
	for i, typed := range []string{
		b.token[:28] + other,                    // one letter mistyped
		b.token + "x",                           // more
		b.token[:28],                            // less
		strings.Replace(b.token, "-", "", 1),    // a dash missing
		strings.Replace(b.token, "-", " ", 1),   // no dash
		" " + b.token,                           //
		"A" + b.token[1:],                       // a vowel
		strings.Repeat("BCDF-", 5) + "BCDF",     // the right form, the wrong check sum
		strings.Repeat("BCDFGH", 4) + "\u0130-", // as long in bytes after folding
	} {
		_, err := b.signIn(t, "una", typed) // nobody else's password
		wantError(t, err, authn.BadCredentials, "wrong_password")
		if b.source.binds != i+1 {
			t.Errorf("%q did not reach the directory", typed)
		}
		b.attempts.kept = map[string]authn.Attempts{}
	}
}

func TestTokenRefusals(t *testing.T) {
	cases := map[string]struct {
		user   string
		change func(*tokenBench, *authn.Token)
		kind   authn.Kind
		reason string
	}{
		"another user":        {"ann", nil, authn.BadCredentials, "token_of_another_user"},
		"malformed name":      {"bob ", nil, authn.BadCredentials, "malformed_username"},
		"revoked":             {"bob", func(b *tokenBench, k *authn.Token) { k.Revoked = b.now }, authn.BadCredentials, "token_revoked"},
		"expired":             {"bob", func(b *tokenBench, k *authn.Token) { k.Expires = b.now }, authn.BadCredentials, "token_expired"},
		"expired though used": {"bob", func(b *tokenBench, k *authn.Token) { k.Expires, k.FirstUsed = b.now, b.now }, authn.BadCredentials, "token_expired"},
		"not used soon":       {"bob", func(b *tokenBench, k *authn.Token) { k.FirstUseBy = b.now }, authn.BadCredentials, "token_never_used"},
		"other environment":   {"bob", func(_ *tokenBench, k *authn.Token) { k.Environments = []string{"quality"} }, authn.BadCredentials, "token_of_another_environment"},
		"removed provider":    {"bob", func(_ *tokenBench, k *authn.Token) { k.Identity.Provider = "gone" }, authn.BadCredentials, "token_of_removed_provider"},
		"another IT user":     {"bob", func(_ *tokenBench, k *authn.Token) { k.User = "k-else" }, authn.BadCredentials, "token_of_another_user"},
		"IT user disabled": {"bob", func(b *tokenBench, _ *authn.Token) {
			b.users.bySubject["s-bob"] = authn.ITUser{Key: "k-bob", Username: "bob", UserID: 43, Linked: true}
		}, authn.NotMapped, "it_user_inactive"},
		"no id here": {"bob", func(b *tokenBench, _ *authn.Token) {
			b.users.bySubject["s-bob"] = authn.ITUser{Key: "k-bob", Username: "bob", Active: true, Linked: true}
		}, authn.NotMapped, "no_id_on_environment"},
		"unlinked": {"bob", func(b *tokenBench, _ *authn.Token) {
			b.users.bySubject["s-bob"] = authn.ITUser{Key: "k-bob", Username: "bob", UserID: 43, Active: true}
		}, authn.BadCredentials, "token_of_another_user"},
		"IT user gone": {"bob", func(b *tokenBench, _ *authn.Token) { delete(b.users.bySubject, "s-bob") }, authn.NotMapped, "no_it_user"},
		"store down":   {"bob", func(b *tokenBench, _ *authn.Token) { b.tokens.down = errors.New("disk") }, authn.Unavailable, "store_unavailable"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newTokenBench(t)
			kept := b.only()
			if c.change != nil {
				c.change(b, &kept)
				b.tokens.kept[kept.Hash] = kept
			}
			b.refused(t, c.user, b.token, c.kind, c.reason)
			if b.source.binds != 0 {
				t.Error("a token reached the directory")
			}
			owner := "" // who reads of the refusal: never whoever tries a token of somebody else
			if c.user == "bob" && c.kind != authn.Unavailable && !slices.Contains([]string{"IT user gone", "removed provider"}, name) {
				owner = "bob"
			}
			if d := b.journal.last(t); d.ITUser != owner {
				t.Errorf("recorded for %q, want %q", d.ITUser, owner)
			}
			if len(b.attempts.kept) != 0 {
				t.Errorf("a token that exists was counted as a guess: %v", b.attempts.kept)
			}
		})
	}
}

func TestUsedTokenOutlivesItsFirstUse(t *testing.T) {
	b := newTokenBench(t)
	if _, err := b.signIn(t, "bob", b.token); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(authn.DefaultTokenLife - time.Second)
	if _, err := b.signIn(t, "bob", b.token); err != nil {
		t.Errorf("within its working day: %v", err)
	}
	b.now = b.now.Add(time.Second)
	b.refused(t, "bob", b.token, authn.BadCredentials, "token_expired")
}

// TestUnknownTokensAreCounted: under a key of their own, so that guessing tokens locks nobody's password out.
func TestUnknownTokensAreCounted(t *testing.T) {
	b := newTokenBench(t)
	clear(b.tokens.kept)
	for range 3 {
		b.refused(t, "bob", b.token, authn.BadCredentials, "token_unknown")
	}
	b.refused(t, "BOB", b.token, authn.Locked, "throttled")
	if _, err := b.signIn(t, "bob", "pw-bob123456"); err != nil {
		t.Errorf("the password: %v", err)
	}
}

// TestTokenEndsWithItsSource: what the source says of its session holds for tokens too.
func TestTokenEndsWithItsSource(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for until, want := range map[time.Time]time.Time{
		{}:                      now.Add(authn.DefaultTokenLife),
		now.Add(time.Hour):      now.Add(time.Hour),
		now.Add(24 * time.Hour): now.Add(authn.DefaultTokenLife),
	} {
		_, kept := authn.NewToken(authn.Result{Identity: authn.Identity{Until: until}}, nil, authn.TokenLife{}, now)
		if !kept.Expires.Equal(want) {
			t.Errorf("the source's session ends %s, the token %s; want %s", until, kept.Expires, want)
		}
	}
}

func TestTokensOff(t *testing.T) {
	b := newTokenBench(t)
	b.Tokens = nil
	b.refused(t, "bob", b.token, authn.BadCredentials, "wrong_password")
}
