package itusers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// Edit is what an administrator says of one user; nil says nothing.
type Edit struct {
	Name, Email *string
	Active      *bool
	IDs         map[string]int32 // by environment; 0 removes the id there
}

// Invalid says why an Edit is refused, in the words of an import.
type Invalid []Problem

// Texts are what is wrong, one by one.
func (i Invalid) Texts() (list []string) {
	for _, p := range i {
		list = append(list, p.Text())
	}
	return list
}

func (i Invalid) Error() string { return strings.Join(i.Texts(), "; ") }

// Create adds a user, active unless the edit says otherwise. Invalid, also when there is one of that name; Unavailable.
func (m Manager) Create(ctx context.Context, username string, e Edit, environments []string) (Change, error) {
	return m.edit(ctx, username, e, environments, true)
}

// Edit changes a user. Invalid, NotMapped (no_it_user), Unavailable.
func (m Manager) Edit(ctx context.Context, username string, e Edit, environments []string) (Change, error) {
	return m.edit(ctx, username, e, environments, false)
}

func (m Manager) edit(ctx context.Context, username string, e Edit, environments []string, create bool) (c Change, err error) {
	said, problems := e.entry(username, environments)
	for environment, id := range said.ids {
		taken, err := m.owner(ctx, username, environment, id.number)
		if err != nil {
			return Change{}, err
		}
		if taken != "" {
			problems = append(problems, Problem{0, "id %d on %s belongs to %q", []any{id.number, environment, taken}})
		}
	}
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Text(), b.Text()) })
		return Change{}, Invalid(problems)
	}
	err = m.Store.ChangeUser(ctx, authn.FoldName(username), func(u *User) error {
		switch {
		case create && u.Key != "":
			return Invalid{{0, "there is an IT user named %q already", []any{u.Username}}}
		case !create && u.Key == "":
			return unknown(username)
		case !create:
			said.username = u.Username
		}
		c.Before = u.clone()
		*u = said.apply(*u)
		c.After = u.clone()
		return nil
	})
	var invalid Invalid
	if errors.As(err, &invalid) {
		return Change{}, invalid
	}
	if err != nil {
		return Change{}, storeError(err)
	}
	return c, nil
}

// entry is the edit as a line of an import would say it, and what is wrong with it.
func (e Edit) entry(username string, environments []string) (said entry, problems []Problem) {
	f := &file{Options: Options{Environments: environments}}
	said.active = e.Active
	f.setUsername(&said, username)
	for column, text := range map[string]*string{"name": e.Name, "email": e.Email} {
		to := map[string]**string{"name": &said.name, "email": &said.email}[column]
		if text != nil {
			f.setText(0, column, *text, to)
		}
	}
	for _, environment := range slices.Sorted(maps.Keys(e.IDs)) {
		known, ok := f.environment(0, environment)
		switch number := e.IDs[environment]; {
		case ok && number == 0:
			said.set(known, 0)
		case ok:
			f.setID(&said, known, strconv.Itoa(int(number)))
		}
	}
	return said, f.problems
}

// owner is the name of another user who has the id; empty when nobody has. That two edits cannot give one id to two users is
// the store's unique key.
func (m Manager) owner(ctx context.Context, username, environment string, number int32) (string, error) {
	if number == 0 {
		return "", nil
	}
	users, err := m.List(ctx, Filter{Environment: environment, ID: number})
	if err != nil || len(users) == 0 || authn.FoldName(users[0].Username) == authn.FoldName(username) {
		return "", err
	}
	return users[0].Username, nil
}

// What lists what changed, for people to read: `email: "a@example.org" → "b@example.org"`.
func (c Change) What() []string {
	what := differences(c.Before, c.After)
	links := func(u User) map[string]string {
		by := map[string]string{}
		for _, l := range u.Links {
			by[l.Provider] = fmt.Sprintf("%q (subject %s)", l.Username, l.Subject)
		}
		return by
	}
	before, after := links(c.Before), links(c.After)
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, provider := range slices.Sorted(maps.Keys(all)) {
		if a, b := before[provider], after[provider]; a != b {
			what = append(what, fmt.Sprintf("link:%s: %s → %s", provider, orNone(a), orNone(b)))
		}
	}
	return what
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
