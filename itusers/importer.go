package itusers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/idbridge/idbridge/authn"
)

// Format is the format of an import file.
type Format string

// Formats of import files.
//
// CSV has a header line. Columns, in any order: username, name, email, active (or is_active), and either one column per
// environment, id:ENVIRONMENT, or the columns id and environment with one row per user and environment; with
// Options.Environment the environment column is left out. The separator is a comma, a semicolon or a tab.
//
// JSON is an array of objects with the same keys, and "ids": {"ENVIRONMENT": 12}, or "environment" and "id".
//
// A column that is not there, and an empty id, change nothing; the id "-" (null in JSON) removes the id. New users are
// active unless the file says otherwise. Users who are not in the file stay as they are.
const (
	CSV  Format = "csv"
	JSON Format = "json"
)

// Options of an import.
type Options struct {
	Environments []string // the known ones
	Environment  string   // which one an id column without environment column means
	DryRun       bool     // report only
	Progress     func(done, total int)
	Agree        func(Report) error // asked before anything is kept; its error ends the import and is returned; may be nil
}

// ErrRefused is returned with a Report that has Problems: nothing was imported.
var ErrRefused = errors.New("nothing was imported")

// Report tells what an import did, or with DryRun would do.
type Report struct {
	Added, Changed, Unchanged int
	Rows                      []Row     // added and changed users, in the order of the file
	Problems                  []Problem // all of them, by line; when there is one, nothing is imported
}

// Row is what an import does to one user.
type Row struct {
	Line int // the first, where the user has several
	Change
	What []string // for people to read: `email: "a@example.org" → "b@example.org"`
}

// Problem is why a line, or the whole file (line 0), is refused.
type Problem struct {
	Line   int
	Format string // of Text, in English; other languages find theirs by it
	Of     []any
}

// Text is what is wrong, without the line.
func (p Problem) Text() string { return fmt.Sprintf(p.Format, p.Of...) }

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Text()
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.Text())
}

// maxFile is a few million users; more is a wrong file.
const maxFile = 256 << 20

// Import reads users from a file and adds or changes them, all or nothing. With problems in the file it returns
// ErrRefused and the problems in the report. Unavailable when the store does not answer.
func (m Manager) Import(ctx context.Context, r io.Reader, format Format, o Options) (Report, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return Report{}, fmt.Errorf("reading the file: %w", err)
	}
	file := parse(text, format, o)
	if len(file.problems) > 0 {
		return refused(file.problems)
	}
	var report Report
	var disagreed error
	err = m.Store.ChangeUsers(ctx, func(existing []User) (iter.Seq[User], error) {
		report = plan(existing, file.users)
		if len(report.Problems) > 0 || len(report.Rows) == 0 || o.DryRun {
			return nil, errUnchanged
		}
		if o.Agree != nil {
			if disagreed = o.Agree(report); disagreed != nil {
				return nil, errUnchanged
			}
		}
		return report.afters(o.Progress), nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return Report{}, storeError(err)
	}
	if len(report.Problems) > 0 {
		return refused(report.Problems)
	}
	return report, disagreed
}

func refused(problems []Problem) (Report, error) {
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return Report{Problems: problems}, ErrRefused
}

// afters yields the users to be kept, and tells how far that is.
func (r Report) afters(progress func(done, total int)) iter.Seq[User] {
	return func(yield func(User) bool) {
		for i, row := range r.Rows {
			if !yield(row.After) {
				return
			}
			if done := i + 1; progress != nil && (done%1000 == 0 || done == len(r.Rows)) {
				progress(done, len(r.Rows))
			}
		}
	}
}

// entry is what a file says of one user; nil and missing mean nothing was said.
type entry struct {
	line        int
	username    string
	name, email *string
	active      *bool
	ids         map[string]id
}

// id is an id on one environment. number 0 removes it.
type id struct {
	number int32
	line   int
}

// plan compares what the file says with what there is.
func plan(existing []User, entries []entry) Report {
	var r Report
	byName := make(map[string]User, len(existing))
	for _, u := range existing {
		byName[authn.FoldName(u.Username)] = u
	}
	owners := newOwners(existing, entries)
	for _, e := range entries {
		before := byName[authn.FoldName(e.username)]
		after := e.apply(before)
		r.Problems = append(r.Problems, owners.claim(e, after)...)
		switch what := differences(before, after); {
		case before.Key == "":
			r.Added++
			r.Rows = append(r.Rows, Row{e.line, Change{before, after}, what})
		case len(what) > 0:
			r.Changed++
			r.Rows = append(r.Rows, Row{e.line, Change{before, after}, what})
		default:
			r.Unchanged++
		}
	}
	return r
}

func (e entry) apply(u User) User {
	if u.Key == "" {
		u.Key, u.Active = rand.Text(), true
	}
	u.Username = e.username
	if e.name != nil {
		u.Name = *e.name
	}
	if e.email != nil {
		u.Email = *e.email
	}
	if e.active != nil {
		u.Active = *e.active
	}
	u.IDs = maps.Clone(u.IDs)
	for environment, id := range e.ids {
		if id.number == 0 {
			delete(u.IDs, environment)
			continue
		}
		if u.IDs == nil {
			u.IDs = map[string]int32{}
		}
		u.IDs[environment] = id.number
	}
	return u
}

// place is an id on an environment: it belongs to one user.
type place struct {
	environment string
	number      int32
}

type owner struct {
	username string
	line     int // 0: not from this file
}

type owners map[place]owner

// newOwners begins with the ids of users that the file does not touch; those of the others may move.
func newOwners(existing []User, entries []entry) owners {
	touched := make(map[string]bool, len(entries))
	for _, e := range entries {
		touched[authn.FoldName(e.username)] = true
	}
	o := make(owners, len(existing))
	for _, u := range existing {
		if touched[authn.FoldName(u.Username)] {
			continue
		}
		for environment, number := range u.IDs {
			o[place{environment, number}] = owner{u.Username, 0}
		}
	}
	return o
}

func (o owners) claim(e entry, after User) (problems []Problem) {
	for _, environment := range slices.Sorted(maps.Keys(after.IDs)) {
		at, line := place{environment, after.IDs[environment]}, e.line
		if said, ok := e.ids[environment]; ok {
			line = said.line
		}
		other, taken := o[at]
		switch {
		case taken && other.line == 0:
			problems = append(problems, Problem{line, "id %d on %s belongs to %q, who is not in the file",
				[]any{at.number, environment, other.username}})
		case taken:
			problems = append(problems, Problem{line, "id %d on %s is also the one of %q (line %d)",
				[]any{at.number, environment, other.username, other.line}})
		default:
			o[at] = owner{after.Username, line}
		}
	}
	return problems
}

// differences lists what changes, for people to read.
func differences(before, after User) (what []string) {
	text := func(name, a, b string) {
		if a != b {
			what = append(what, fmt.Sprintf("%s: %q → %q", name, a, b))
		}
	}
	text("username", before.Username, after.Username)
	text("name", before.Name, after.Name)
	text("email", before.Email, after.Email)
	if before.Active != after.Active {
		what = append(what, fmt.Sprintf("active: %v → %v", before.Active, after.Active))
	}
	environments := maps.Clone(after.IDs)
	if environments == nil {
		environments = map[string]int32{}
	}
	maps.Copy(environments, before.IDs)
	for _, environment := range slices.Sorted(maps.Keys(environments)) {
		if a, b := before.IDs[environment], after.IDs[environment]; a != b {
			what = append(what, fmt.Sprintf("id:%s: %s → %s", environment, number(a), number(b)))
		}
	}
	return what
}

func number(id int32) string {
	if id == 0 {
		return "none"
	}
	return fmt.Sprint(id)
}
