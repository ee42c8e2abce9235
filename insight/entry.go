package insight

import (
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// Entry is what the index keeps of one record.
type Entry struct {
	Place
	ID     string
	Names  []string // folded; none, one or two
	Class  Class
	Bucket int // of how long it took
}

// EntryOf says what the index keeps of a record.
func EntryOf(r audit.Record) Entry {
	e := Entry{
		Place: PlaceOf(r), ID: r.ID, Bucket: bucketOf(r.Duration),
		Class: Class{r.Action, r.Environment, r.Provider, r.Kind, r.Reason == Throttled},
	}
	for _, text := range []string{r.Username, r.ITUser} {
		if name := Name(text); name != "" && (len(e.Names) == 0 || e.Names[0] != name) {
			e.Names = append(e.Names, name)
		}
	}
	return e
}

// maxName bounds what is typed, in bytes: PostgreSQL's indexes take no long texts.
const maxName = 256

// Name is a user name as it is searched for.
func Name(text string) string {
	name := authn.FoldName(text)
	return name[:min(len(name), maxName)]
}

// SignIn tells whether records of the class are decided sign-ins.
func (c Class) SignIn() bool {
	switch strings.TrimPrefix(c.Action, audit.BreakGlass) {
	case audit.SignIn, audit.IntegratedSignIn, audit.PortalSignIn:
		return true
	}
	return false
}

// buckets are the upper bounds of how long a sign-in may take to be counted in each; the last one has none.
var buckets = [...]time.Duration{
	time.Millisecond / 2, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second,
}

func bucketOf(d time.Duration) int {
	for i, most := range buckets {
		if d <= most {
			return i
		}
	}
	return len(buckets)
}

// Widths are the spans that are counted, from the finest: a chart of a year must not add up a hundred thousand of them.
var Widths = [...]time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour}

// keepCounts is how long each of Widths is kept. There is nothing personal in them.
var keepCounts = [len(Widths)]time.Duration{8 * 24 * time.Hour, 100 * 24 * time.Hour, 5 * 366 * 24 * time.Hour}
