package authntest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

// MembersFixture is a source with a group. Every field is required.
type MembersFixture struct {
	Provider authn.Provider
	Group    string
	Want     []string // user names of its members, in order
	Refused  []string // those among them whom the source would refuse, whatever their password
	Nobody   string   // a group that is not there
}

// TestMembers runs the contract of authn.Provider.Members against a source.
func TestMembers(t *testing.T, f MembersFixture) {
	t.Run("each member once", f.each)
	t.Run("as at a sign-in", f.asFound)
	t.Run("a group that is not there", func(t *testing.T) {
		if list, err := f.list(t.Context(), f.Nobody); err == nil || authn.KindOf(err) != authn.Unavailable {
			t.Errorf("%d members, %v; want unavailable", len(list), err)
		}
	})
	t.Run("all", func(t *testing.T) {
		all, err := f.list(t.Context(), "")
		some, _ := f.list(t.Context(), f.Group)
		if err != nil || len(all) <= len(some) {
			t.Errorf("%d of all, %d of the group, %v", len(all), len(some), err)
		}
	})
	t.Run("an error of the caller ends it", func(t *testing.T) {
		own := errors.New("enough")
		n := 0
		err := f.Provider.Members(t.Context(), f.Group, func(authn.Member) error { n++; return own })
		if !errors.Is(err, own) || n != 1 {
			t.Errorf("%v after %d members", err, n)
		}
	})
	t.Run("a caller who is gone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.list(ctx, f.Group); authn.KindOf(err) != authn.Unavailable {
			t.Errorf("%v, want unavailable", err)
		}
	})
}

func (f MembersFixture) list(ctx context.Context, group string) (list []authn.Member, err error) {
	err = f.Provider.Members(ctx, group, func(m authn.Member) error {
		list = append(list, m)
		return nil
	})
	return list, err
}

func (f MembersFixture) each(t *testing.T) {
	list, err := f.list(t.Context(), f.Group)
	if err != nil {
		t.Fatal(err)
	}
	var names, refused []string
	for _, m := range list {
		names = append(names, m.Username)
		if m.Err != nil {
			refused = append(refused, m.Username)
			if authn.KindOf(m.Err) == authn.Internal || authn.ReasonOf(m.Err) == authn.KindOf(m.Err).String() {
				t.Errorf("%s is refused with %v: no kind or no reason", m.Username, m.Err)
			}
		}
	}
	slices.Sort(names)
	slices.Sort(refused)
	if !slices.Equal(names, f.Want) || !slices.Equal(refused, f.Refused) {
		t.Errorf("members %q, of them refused %q; want %q and %q", names, refused, f.Want, f.Refused)
	}
}

// asFound: a member is the account that a sign-in would find, with the same groups.
func (f MembersFixture) asFound(t *testing.T) {
	list, err := f.list(t.Context(), f.Group)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		a, err := f.Provider.Password.Find(t.Context(), m.Username)
		if err != nil {
			t.Errorf("%s: %v", m.Username, err)
			continue
		}
		slices.Sort(a.Groups)
		slices.Sort(m.Groups)
		if a.Subject != m.Subject || a.Ref != m.Ref || a.Provider != m.Provider || a.Email != m.Email || !slices.Equal(a.Groups, m.Groups) {
			t.Errorf("listed %+v, found %+v", m.Account, a)
		}
	}
}
