// Package revision keeps the versions of the managed part of the configuration.
//
// It knows that a version is a text with a number, that a version is made from another one and refused when somebody else
// was faster, and that versions are never changed: going back makes a new one. It leaves to others what the text means and
// whether it may be saved (cmd/idbridge), how it is sealed (keyring) and where rows are kept (store).
package revision

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// MaxText is the most that a version may hold, in bytes.
const MaxText = 256 << 10

// Info is what is known of a version without opening it.
type Info struct {
	Number  int64     `json:"number"` // from 1, without gaps
	Base    int64     `json:"base"`   // the version it was made from; 0 for the first one
	Time    time.Time `json:"time"`   // kept in microseconds
	Author  string    `json:"author"`
	Comment string    `json:"comment"`
}

// Version is a version with its text, which holds secrets.
type Version struct {
	Info
	Text []byte `json:"-"`
}

// Row is a version as it is kept.
type Row struct {
	Info
	Sealed []byte
}

// Store keeps rows, for all nodes.
type Store interface {
	// LastRevision is the number of the newest version, 0 when there is none. Every node asks every few seconds.
	LastRevision(ctx context.Context) (int64, error)
	// Revision returns one version.
	Revision(ctx context.Context, number int64) (row Row, found bool, err error)
	// Revisions returns up to limit versions with numbers below before (0: all), the newest first.
	Revisions(ctx context.Context, before int64, limit int) ([]Info, error)
	// AddRevision keeps row if row.Base is still the newest version and row.Number the one after it; of racing nodes
	// one wins.
	AddRevision(ctx context.Context, row Row) (added bool, err error)
}

// Sealer seals texts at rest; keyring.Ring does.
type Sealer interface {
	Seal(plain, ad []byte) ([]byte, error)
	Open(sealed, ad []byte) ([]byte, error)
}

// SealAD is what a version's text is bound to: an older text cannot be put in the place of a newer one.
func SealAD(number int64) []byte { return []byte("revision:" + strconv.FormatInt(number, 10)) }

// Errors of History, beside those of its store.
var (
	ErrMoved   = errors.New("the configuration was changed by somebody else meanwhile")
	ErrUnknown = errors.New("there is no such version")
)

// MovedError is ErrMoved, with the version that came in between.
type MovedError struct{ Last Info }

func (e MovedError) Error() string {
	return fmt.Sprintf("%v: version %d by %s (look at what they did, then make your change again)", ErrMoved, e.Last.Number, e.Last.Author)
}

// Is makes errors.Is(err, ErrMoved) work.
func (e MovedError) Is(target error) bool { return target == ErrMoved }

// History is all versions. It is safe for concurrent use.
type History struct {
	Store  Store
	Sealer Sealer
	Now    func() time.Time
}

// Last returns the newest version, the zero Version when there is none.
func (h History) Last(ctx context.Context) (Version, error) {
	number, err := h.Store.LastRevision(ctx)
	if err != nil || number == 0 {
		return Version{}, err
	}
	return h.Get(ctx, number)
}

// Get returns one version. ErrUnknown when there is none of that number.
func (h History) Get(ctx context.Context, number int64) (Version, error) {
	row, found, err := h.Store.Revision(ctx, number)
	if err != nil {
		return Version{}, err
	}
	if !found {
		return Version{}, fmt.Errorf("version %d: %w", number, ErrUnknown)
	}
	text, err := h.Sealer.Open(row.Sealed, SealAD(number))
	if err != nil {
		return Version{}, authn.Errorf(authn.Internal, "revision_sealed", "version %d: %w", number, err)
	}
	return Version{Info: row.Info, Text: text}, nil
}

// List returns up to limit versions with numbers below before (0: all), the newest first.
func (h History) List(ctx context.Context, before int64, limit int) ([]Info, error) {
	return h.Store.Revisions(ctx, before, limit)
}

// Draft is a version to be.
type Draft struct {
	Base    int64 // the version it was made from; 0 when there was none
	Author  string
	Comment string
	Text    []byte
}

// Save keeps a draft as the newest version. ErrMoved when its base is not the newest any more.
func (h History) Save(ctx context.Context, d Draft) (Version, error) {
	if len(d.Text) > MaxText {
		return Version{}, fmt.Errorf("a configuration of %d bytes is larger than %d KiB", len(d.Text), MaxText>>10)
	}
	// Microseconds: what is returned now and what is read later are the same.
	v := Version{Info{d.Base + 1, d.Base, h.Now().UTC().Truncate(time.Microsecond), d.Author, d.Comment}, d.Text}
	sealed, err := h.Sealer.Seal(d.Text, SealAD(v.Number))
	if err != nil {
		return Version{}, err
	}
	added, err := h.Store.AddRevision(ctx, Row{v.Info, sealed})
	if err != nil {
		return Version{}, err
	}
	if !added {
		return Version{}, h.moved(ctx)
	}
	return v, nil
}

func (h History) moved(ctx context.Context) error {
	newest, err := h.Store.Revisions(ctx, 0, 1)
	if err != nil || len(newest) == 0 {
		return ErrMoved
	}
	return MovedError{newest[0]}
}
