package ldap

import (
	"context"
	"errors"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

// TestNoServerIsNoSuccess: with nobody to ask, nothing is found and no password is right.
func TestNoServerIsNoSuccess(t *testing.T) {
	for name, source := range map[string]func(context.Context) ([]string, error){
		"none":     func(context.Context) ([]string, error) { return nil, nil },
		"an error": func(context.Context) ([]string, error) { return nil, errors.New("no DNS") },
		"no URL":   func(context.Context) ([]string, error) { return []string{"hello"}, nil },
	} {
		d, err := Open("corp", Config{BaseDN: "dc=example", InsecurePlaintext: true}, Dialect{Servers: source})
		if err != nil {
			t.Fatal(err)
		}
		bindErr := d.Bind(t.Context(), "uid=ana,dc=example", "x")
		askErr := d.Ask(t.Context(), func(context.Context, *Session) error { return nil })
		for _, err := range []error{bindErr, askErr, d.Check(t.Context())} {
			var e *authn.Error
			if authn.KindOf(err) != authn.Unavailable || !errors.As(err, &e) || e.Provider != "corp" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestServersComeAndGo: what a dialect names is asked; a server that stays keeps its connections, one that goes
// loses them.
func TestServersComeAndGo(t *testing.T) {
	first, second := lying(t, answers{}), lying(t, answers{})
	urls := []string{first.url}
	c := fakeConfig("")
	c.URLs = nil
	d, err := Open("corp", c, Dialect{Servers: func(context.Context) ([]string, error) { return urls, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	bind := func(now []string, wantFirst, wantSecond int32) {
		t.Helper()
		urls = now
		if err := d.Bind(t.Context(), fakeUser, "x"); err != nil {
			t.Error(err)
		}
		if a, b := first.binds.Load(), second.binds.Load(); a != wantFirst || b != wantSecond {
			t.Errorf("%d and %d binds, want %d and %d", a, b, wantFirst, wantSecond)
		}
	}
	bind([]string{first.url}, 1, 0)
	bind([]string{first.url, second.url}, 2, 0)
	if n := first.conns.Load(); n != 1 {
		t.Errorf("%d connections to a server that stayed, want 1", n)
	}
	bind([]string{second.url}, 2, 1)
	eventually(t, "connections to a server that is gone stay open", func() bool { return first.conns.Load() == 0 })
}

// TestNoExchangeInClear: a directory that may be searched in clear is still not told passwords in clear.
func TestNoExchangeInClear(t *testing.T) {
	f := lying(t, answers{})
	c := fakeConfig(f.url)
	d, err := Open("corp", c, Dialect{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	err = d.Exchange(t.Context(), fakeUser, "unicodePwd", "old", "new")
	if authn.KindOf(err) != authn.Unavailable || authn.ReasonOf(err) != reasonConfig {
		t.Errorf("got %v", err)
	}
	if n := f.conns.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
