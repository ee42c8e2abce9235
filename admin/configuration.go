package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/revision"
)

// Configuration is the managed part of the configuration: providers, second factors, limits.
type Configuration interface {
	// Look tells what is in force, and asks each provider whether it works.
	Look(ctx context.Context) (State, error)
	// InForce is the number of the version in force on this node; 0: the file.
	InForce() int64
	// Form is what a provider can be told: of one that there is, by its id, with its values; of a new one of that kind.
	Form(ctx context.Context, id, kind string) (Form, error)
	// Text is the newest version as YAML, secrets masked.
	Text(ctx context.Context) (string, error)
	// Versions are the newest ones below a number (0: all), newest first.
	Versions(ctx context.Context, below int64, limit int) ([]revision.Info, error)
}

// Proposals are changes of the managed part that somebody thinks of. Each method may return Faults, ErrMoved and ErrNoProvider.
type Proposals interface {
	// Diff is what would change, secrets masked; nothing where it would be the same.
	Diff(ctx context.Context, p Proposal) ([]revision.Line, error)
	// Test looks close at the providers that it is about, and changes nothing.
	Test(ctx context.Context, p Proposal) ([]Verdict, error)
	// Try signs somebody in under it, which changes nothing and is recorded.
	Try(ctx context.Context, p Proposal, actor, username string, password authn.Secret) (Trial, error)
	// Save makes it the newest version, records it, and returns its number. LockedOut unless forced, ErrManagedByFile,
	// ErrNothingChanged.
	Save(ctx context.Context, p Proposal, actor, comment string, force bool) (int64, error)
}

// Why a proposal is refused, beside Faults and LockedOut.
var (
	ErrManagedByFile  = &refusal{http.StatusConflict, "managed_by_file", "Providers are kept in the configuration file", nil}
	ErrMoved          = &refusal{http.StatusConflict, "configuration_moved", "Somebody else has changed the configuration meanwhile", nil}
	ErrNothingChanged = &refusal{http.StatusConflict, "nothing_changed", "Nothing would change", nil}
	ErrNoProvider     = &refusal{http.StatusNotFound, "no_provider", "There is no such provider", nil}
	ErrNoVersion      = &refusal{http.StatusNotFound, "no_version", "There is no such version", nil}
)

// Faults are what is wrong with a proposal.
type Faults []Fault

// Fault is one of them; Path names the key.
type Fault struct{ Path, Text string }

func (f Faults) Error() string { return strings.Join(f.list(), "; ") }

func (f Faults) list() (list []string) {
	for _, one := range f {
		list = append(list, strings.TrimPrefix(one.Path+": "+one.Text, ": "))
	}
	return list
}

// LockedOut says why nobody could sign in under a proposal.
type LockedOut []string

func (l LockedOut) Error() string { return strings.Join(l, "; ") }

// State is the managed part as it is in force.
type State struct {
	Managed   string          `json:"managed" enum:"file,store" doc:"file: it can be tested here, and is changed in the configuration file"`
	Version   int64           `json:"version" doc:"in force on the node that answers; 0: the file"`
	Newest    int64           `json:"newest" doc:"the newest version; every node applies it within seconds"`
	Since     time.Time       `json:"since" doc:"when the node that answers applied what is in force"`
	Trouble   string          `json:"trouble" doc:"why the newest version is not in force"`
	Kinds     []string        `json:"kinds" doc:"of providers that there can be"`
	Providers []ProviderState `json:"providers"`
}

// ProviderState is a provider and how it is.
type ProviderState struct {
	ID      string `json:"id"`
	Label   string `json:"label"`
	Kind    string `json:"kind"`
	Names   string `json:"names" doc:"which user names belong to it"`
	Works   bool   `json:"works"`
	Problem string `json:"problem" doc:"why it does not"`
	Granted int64  `json:"granted" doc:"sign-ins within the last hour"`
	Refused int64  `json:"refused" doc:"sign-ins within the last hour"`

	Metadata time.Time `json:"metadata_read,omitzero" doc:"of SAML: when the identity provider's metadata was read"`
}

// Form is the keys of a provider with the values that it has, secrets masked.
type Form struct {
	ID     string
	Kind   string
	Base   int64 // the version that it is from
	Fields []FormField
	Values map[string]any // as encoding/json has them
}

// FormField is one key.
type FormField struct {
	Key      string
	Type     string // text, bool, integer, number, mapping; everything else is text
	List     bool
	Table    bool
	Doc      string
	Default  string
	Required bool
	Secret   bool
	Enum     []string
	Fields   []FormField // of a mapping
}

// Proposal is a change that somebody thinks of: a provider, or the whole text, or an older version.
type Proposal struct {
	Base     int64 // the version that they looked at
	Provider string
	Settings []byte // of the provider, as JSON
	Remove   bool   // the provider
	Text     []byte // the whole, as YAML
	Restore  int64  // a version's number
}

// Verdict is a line of a test.
type Verdict struct {
	Verdict  string `json:"verdict" enum:"ok,warn,fail"`
	Provider string `json:"provider"`
	Check    string `json:"check"`
	Text     string `json:"text"`
}

// Trial is what became of a test sign-in.
type Trial struct {
	Proven   bool          `json:"proven" doc:"the password was right"`
	Kind     string        `json:"kind"`
	Reason   string        `json:"reason"`
	Provider string        `json:"provider"`
	Subject  string        `json:"subject"`
	Username string        `json:"username"`
	ITUser   string        `json:"it_user"`
	Outcomes []TrialResult `json:"outcomes"`
}

// TrialResult is the outcome on one environment.
type TrialResult struct {
	Environment string `json:"environment"`
	UserID      int32  `json:"user_id"`
	Kind        string `json:"kind" doc:"ok; code_required: a code would be asked for"`
	Reason      string `json:"reason"`
}

// Versions is a page of versions.
type Versions struct {
	Versions []Version `json:"versions"`
	Next     string    `json:"next,omitempty"`
}

// Version is one.
type Version struct {
	Number  int64     `json:"number"`
	Base    int64     `json:"base"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`
	Comment string    `json:"comment"`
}

// ConfigurationText is the whole managed part.
type ConfigurationText struct {
	Text string `json:"text" doc:"YAML; secrets are masked, and stay what they are where they come back so"`
}

// Change is a proposal as the API takes it: exactly one of settings, remove, text and restore.
type Change struct {
	Base     int64           `json:"base" doc:"the newest version as the caller saw it"`
	Provider string          `json:"provider,omitempty" doc:"what settings or remove are about"`
	Settings json.RawMessage `json:"settings,omitempty" doc:"of a provider, new or changed; keys as in the configuration file"`
	Remove   bool            `json:"remove,omitempty"`
	Text     string          `json:"text,omitempty" doc:"the whole, as YAML"`
	Restore  int64           `json:"restore,omitempty" doc:"the number of an older version"`
	Comment  string          `json:"comment,omitempty" doc:"why; kept with the version"`
	Force    bool            `json:"force,omitempty" doc:"save it although nobody could sign in; the audit tells"`
}

// DiffLine is a line of a diff.
type DiffLine struct {
	Op   string `json:"op" enum:" ,-,+"`
	Text string `json:"text"`
}

// Diff is what a proposal would change, secrets masked.
type Diff struct {
	Lines []DiffLine `json:"lines"`
}

// Tested are the lines of a test.
type Tested struct {
	Verdicts []Verdict `json:"verdicts"`
}

// Saved is a version that was made.
type Saved struct {
	Version int64 `json:"version"`
}

// TestSignIn is a proposal, and who signs in under it.
type TestSignIn struct {
	Change
	Username string `json:"username"`
	Password string `json:"password"`
}

func (c Change) proposal() (Proposal, error) {
	p := Proposal{Base: c.Base, Provider: c.Provider, Settings: c.Settings, Remove: c.Remove, Text: []byte(c.Text), Restore: c.Restore}
	n := 0
	for _, there := range []bool{len(c.Settings) > 0, c.Remove, c.Text != "", c.Restore != 0} {
		if there {
			n++
		}
	}
	if n != 1 {
		return p, invalid("exactly one of settings, remove, text and restore says what is to change")
	}
	return p, nil
}

// state is the providers as they are, with what happened at them within the last hour.
func (c *call) state(struct{}) (State, error) {
	s, err := c.Configuration.Look(c.ctx())
	if err != nil {
		return State{}, err
	}
	now := c.now()
	for i := range s.Providers {
		look, err := insight.Look(c.ctx(), c.Counts, now.Add(-time.Hour), now, "", s.Providers[i].ID)
		if err != nil {
			return State{}, unavailable(err)
		}
		s.Providers[i].Granted, s.Providers[i].Refused = look.Granted, look.Refused
	}
	return s, nil
}

func (c *call) versions(struct{}) (Versions, error) {
	q := c.r.URL.Query()
	below := int64(0)
	if text := q.Get("cursor"); text != "" {
		var err error
		if below, err = strconv.ParseInt(text, 10, 64); err != nil {
			return Versions{}, invalid("query: cursor is none of ours")
		}
	}
	limit := limitOf(q.Get("limit"))
	list, err := c.Configuration.Versions(c.ctx(), below, limit+1)
	out := Versions{Versions: []Version{}}
	if len(list) > limit {
		list = list[:limit]
		out.Next = strconv.FormatInt(list[limit-1].Number, 10)
	}
	for _, v := range list {
		out.Versions = append(out.Versions, Version(v))
	}
	return out, err
}

func linesOf(list []revision.Line) []DiffLine {
	out := []DiffLine{}
	for _, l := range list {
		out = append(out, DiffLine(l))
	}
	return out
}

// onProposal makes an operation's work of what is done with a proposal.
func onProposal[Out any](do func(c *call, p Proposal) (Out, error)) func(*call, Change) (Out, error) {
	return func(c *call, in Change) (out Out, err error) {
		p, err := in.proposal()
		if err != nil {
			return out, err
		}
		return do(c, p)
	}
}

func configurationOperations() []operation {
	long := func(o *operation) { o.slow = true }
	return []operation{
		op("GET", "/configuration", "showConfiguration", Viewer, "What is in force, and how each provider is", (*call).state),
		op("GET", "/configuration/text", "showConfigurationText", Viewer, "The newest version as YAML, secrets masked",
			func(c *call, _ struct{}) (ConfigurationText, error) {
				text, err := c.Configuration.Text(c.ctx())
				return ConfigurationText{text}, err
			}),
		op("GET", "/configuration/versions", "listVersions", Viewer, "List versions, newest first", (*call).versions).
			with(func(o *operation) { o.query = paging }),
		op("POST", "/configuration/diff", "diffConfiguration", Administrator, "What a change would change", onProposal(func(c *call,
			p Proposal) (Diff, error) {
			lines, err := c.Proposals.Diff(c.ctx(), p)
			return Diff{linesOf(lines)}, err
		})).with(func(o *operation) { o.free = true }),
		op("POST", "/configuration/test", "testConfiguration", Administrator,
			"Look close at the providers that a change is about; changes nothing",
			onProposal(func(c *call, p Proposal) (Tested, error) {
				list, err := c.Proposals.Test(c.ctx(), p)
				return Tested{append([]Verdict{}, list...)}, err
			})).with(long),
		op("POST", "/configuration/try", "tryConfiguration", Administrator, "Sign somebody in under a change; changes nothing, and is recorded",
			func(c *call, in TestSignIn) (Trial, error) {
				p, err := in.proposal()
				if err != nil {
					return Trial{}, err
				}
				t, err := c.Proposals.Try(c.ctx(), p, c.actor(), in.Username, authn.Secret(in.Password))
				t.Outcomes = append([]TrialResult{}, t.Outcomes...)
				return t, err
			}).with(long),
		op("POST", "/configuration", "changeConfiguration", Administrator,
			"Save a change as the newest version; every node applies it within seconds",
			func(c *call, in Change) (Saved, error) {
				p, err := in.proposal()
				if err != nil {
					return Saved{}, err
				}
				version, err := c.Proposals.Save(c.ctx(), p, c.actor(), in.Comment, in.Force)
				return Saved{version}, err
			}).with(long),
	}
}

// configurationRefusal is what an error of a proposal is to who made it; ok is false for any other.
func configurationRefusal(err error) (r *refusal, ok bool) {
	var faults Faults
	var locked LockedOut
	switch {
	case errors.As(err, &faults):
		return invalid(faults.list()...), true
	case errors.As(err, &locked):
		return &refusal{http.StatusConflict, "would_lock_out", "Nobody could sign in any more", slices.Clone(locked)}, true
	}
	return nil, false
}
