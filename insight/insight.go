// Package insight tells operators what happened: it searches the audit, puts one sign-in into words, counts for charts, and
// lists who is blocked and what is about to expire.
//
// It follows the audit in the background (Follower) and keeps an index of it, so that no sign-in pays for a search. It
// knows what is searched, how far one question may look and what the answers mean in words. It leaves to others where rows
// are kept (store), what a record proves (audit), and how answers are shown (admin, the commands).
package insight

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// Query asks for records; the zero value asks for all. Search answers with the newest first.
type Query struct {
	ID          string // correlation id
	User        string // as it was typed, or of the IT user, in upper or lower case
	Prefix      bool   // User is only how the name begins
	Action      string
	Environment string
	Provider    string
	Kind        string // "ok" or the name of an authn.Kind; Refused or Throttled

	From, Until time.Time // from the one, before the other; zero: no bound

	After Place // Page.Next of the page before
	Limit int   // DefaultLimit when 0, at most MaxLimit
}

// Bounds of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// Beside the kinds of authn, a Query.Kind may be one of these.
const (
	Refused   = "refused"   // any kind but ok
	Throttled = "throttled" // locked by us, after too many failed attempts
)

// Place is a place between two records, in the order of a search: by time, then by number. Its text form can be put into
// a link. The zero value is before the newest record.
type Place struct {
	Time int64 // Unix microseconds
	Seq  int64
}

// IsZero tells the beginning.
func (p Place) IsZero() bool { return p == Place{} }

// String is "TIME.SEQ"; empty at the beginning.
func (p Place) String() string {
	if p.IsZero() {
		return ""
	}
	return strconv.FormatInt(p.Time, 10) + "." + strconv.FormatInt(p.Seq, 10)
}

// ParsePlace reads what String wrote.
func ParsePlace(text string) (p Place, err error) {
	if text == "" {
		return p, nil
	}
	at, seq, ok := strings.Cut(text, ".")
	p.Time, err = strconv.ParseInt(at, 10, 64)
	if err == nil {
		p.Seq, err = strconv.ParseInt(seq, 10, 64)
	}
	if !ok || err != nil || p.Time < 0 || p.Seq < 0 {
		return Place{}, fmt.Errorf("%q is no place to go on from", text)
	}
	return p, nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Place) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePlace(string(text))
	return err
}

// Newer tells whether p comes before other in a search: the newest is first.
func (p Place) Newer(other Place) bool {
	return p.Time > other.Time || p.Time == other.Time && p.Seq > other.Seq
}

// PlaceOf is where a record stands.
func PlaceOf(r audit.Record) Place { return Place{r.Time.UnixMicro(), r.Seq} }

// Page is what a search found.
type Page struct {
	Records []audit.Row
	Next    Place // where to go on; zero: there is nothing more. A page may be empty and have a next one
	Behind  int64 // how many records wait for the index: while it catches up, only the newest of them were looked at
}

// Class is what many records have in common.
type Class struct {
	Action, Environment, Provider, Kind string

	Throttled bool // locked because of too many failed attempts here
}

// Has tells whether records of the class are among those asked for.
func (q Query) Has(c Class) bool {
	return same(q.Action, c.Action) && same(q.Environment, c.Environment) && same(q.Provider, c.Provider) &&
		(same(q.Kind, c.Kind) || q.Kind == Refused && c.Kind != authn.OK.String() || q.Kind == Throttled && c.Throttled)
}

func same(wanted, is string) bool { return wanted == "" || wanted == is }

// Narrow tells whether the query leaves any class out.
func (q Query) Narrow() bool { return q.Action+q.Environment+q.Provider+q.Kind != "" }

// Wants tells whether a record is one of those asked for, beside its place.
func (q Query) Wants(r audit.Record) bool {
	e := EntryOf(r)
	return same(q.ID, r.ID) && q.Has(e.Class) && q.wantsName(e.Names) &&
		!r.Time.Before(q.From) && (q.Until.IsZero() || r.Time.Before(q.Until))
}

func (q Query) wantsName(names []string) bool {
	if q.User == "" {
		return true
	}
	user := Name(q.User)
	for _, n := range names {
		if n == user || q.Prefix && strings.HasPrefix(n, user) {
			return true
		}
	}
	return false
}

// Finder searches the index and what is not in it yet.
type Finder interface {
	// FindAudit returns up to q.Limit records that stand behind q.After, newest first. Where it has looked at as many rows
	// as one call may, it stops: Next is then where to go on.
	FindAudit(ctx context.Context, q Query) (Page, error)
}

// Searcher answers questions about the audit.
type Searcher struct{ Finder }

// ErrQuery is wrapped by the error of a query that makes no sense.
var ErrQuery = errors.New("this cannot be searched for")

// Search answers a query. ErrQuery; Unavailable when the store does not answer.
func (s Searcher) Search(ctx context.Context, q Query) (Page, error) {
	switch {
	case q.Limit < 0 || q.Limit > MaxLimit:
		return Page{}, fmt.Errorf("%w: at most %d records at once", ErrQuery, MaxLimit)
	case !q.Until.IsZero() && !q.From.Before(q.Until):
		return Page{}, fmt.Errorf("%w: it ends before it begins", ErrQuery)
	case q.Prefix && q.User == "":
		return Page{}, fmt.Errorf("%w: how does the name begin?", ErrQuery)
	}
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	return s.FindAudit(ctx, q)
}
