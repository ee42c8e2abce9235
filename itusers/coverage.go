package itusers

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/idbridge/idbridge/authn"
)

// Foreteller tells how sign-ins of an account would end. authn.Service is one.
type Foreteller interface {
	Foretell(ctx context.Context, m authn.Member, environments []authn.Environment) (authn.ITUser, []authn.Outcome)
}

// Crowd is a group at a provider; all of its accounts where the group is empty.
type Crowd struct {
	Provider string
	Group    string
	Members  func(ctx context.Context, group string, take func(authn.Member) error) error
}

// Survey finds out who cannot sign in: accounts without an IT user, IT users without an account, ids that are missing. It
// has no rules of its own: it asks for each account what a sign-in asks.
type Survey struct {
	Service      Foreteller
	Users        func(ctx context.Context, f Filter) ([]User, error)
	Environments []authn.Environment
	Crowds       []Crowd
}

// Gap is one finding of a survey.
type Gap struct {
	Class        GapClass `json:"class"`
	Provider     string   `json:"provider,omitempty"`
	Account      string   `json:"account,omitempty"` // user name at the provider
	ITUser       string   `json:"it_user,omitempty"`
	Name         string   `json:"name,omitempty"`
	Environments []string `json:"environments,omitempty"` // where; all of them when it says none
	Reason       string   `json:"reason"`                 // as in docs/errors.md
	Text         string   `json:"text,omitempty"`
}

// GapClass says what is missing.
type GapClass string

// The classes.
const (
	GapRefused GapClass = "refused"    // an account that would not get in
	GapNobody  GapClass = "nobody"     // an active IT user to whom no account leads
	GapNoID    GapClass = "missing_id" // an active IT user without an id
)

// ReasonNoAccount is the reason of a gap to which no account leads; else it is that of the account's refusal.
const ReasonNoAccount = "no_account"

// Coverage sums a survey up.
type Coverage struct {
	Accounts int `json:"accounts"` // looked at
	Fine     int `json:"fine"`     // of them: get in everywhere
	Refused  int `json:"refused"`  // get in somewhere not, or nowhere
	ITUsers  int `json:"it_users"` // active ones
	Nobody   int `json:"nobody"`   // to whom no account leads
	NoID     int `json:"missing_id"`
	Unknown  int `json:"unknown"` // linked at a provider that was not looked at
}

// Run hands every gap to take as it is found, accounts first. A provider that does not list its accounts to the end is an
// error: half a survey would call people missing who are not. An error of take ends it.
func (s Survey) Run(ctx context.Context, tell func(Progress), take func(Gap) error) (c Coverage, err error) {
	reached := map[string]string{} // IT user → why the account that leads there is refused; empty when it is not
	for _, crowd := range s.Crowds {
		err := crowd.Members(ctx, crowd.Group, func(m authn.Member) error {
			if c.Accounts++; c.Accounts%100 == 0 {
				tell(Progress{Stage: StageAccounts + crowd.Provider, Done: c.Accounts})
			}
			return s.account(ctx, &c, m, reached, take)
		})
		if err != nil {
			return c, fmt.Errorf("accounts of %s: %w", crowd.Provider, err)
		}
	}
	return c, s.users(ctx, &c, reached, tell, take)
}

// account looks at one account. One refusal that is the same on several environments is one gap.
func (s Survey) account(ctx context.Context, c *Coverage, m authn.Member, reached map[string]string, take func(Gap) error) error {
	user, outcomes := s.Service.Foretell(ctx, m, s.Environments)
	var gaps []Gap
	inSomewhere := false
	for _, o := range outcomes {
		kind := authn.KindOf(o.Err)
		if kind == authn.Unavailable || kind == authn.Internal {
			return o.Err
		}
		if o.Err == nil || kind == authn.CodeRequired {
			inSomewhere = true
			continue
		}
		reason := authn.ReasonOf(o.Err)
		i := slices.IndexFunc(gaps, func(g Gap) bool { return g.Reason == reason })
		if i < 0 {
			i = len(gaps)
			gaps = append(gaps, Gap{Class: GapRefused, Provider: m.Provider, Account: m.Username, ITUser: user.Username, Name: m.Name,
				Reason: reason, Text: causeOf(o.Err)})
		}
		gaps[i].Environments = append(gaps[i].Environments, o.Environment.Name)
	}
	if user.Key != "" {
		if _, known := reached[user.Key]; inSomewhere || !known {
			reached[user.Key] = ""
			if !inSomewhere && len(gaps) > 0 {
				reached[user.Key] = gaps[0].Reason
			}
		}
	}
	if len(gaps) == 0 {
		c.Fine++
		return nil
	}
	c.Refused++
	return each(gaps, take)
}

// causeOf is what is behind an error's reason.
func causeOf(err error) string {
	if e, ok := err.(*authn.Error); ok && e.Err != nil { //nolint:errorlint // the outermost one's own words
		return e.Err.Error()
	}
	return ""
}

func each(gaps []Gap, take func(Gap) error) error {
	for _, g := range gaps {
		if err := take(g); err != nil {
			return err
		}
	}
	return nil
}

// users looks at the IT users page by page.
func (s Survey) users(ctx context.Context, c *Coverage, reached map[string]string, tell func(Progress), take func(Gap) error) error {
	for f := (Filter{Limit: page}); ; {
		some, err := s.Users(ctx, f)
		if err != nil {
			return storeError(err)
		}
		for _, u := range some {
			if u.Active {
				if err := each(s.gapsOf(c, u, reached), take); err != nil {
					return err
				}
			}
		}
		if len(some) < page {
			return nil
		}
		f.After = some[len(some)-1].Username
		tell(Progress{Stage: StageSurveyed, Done: c.ITUsers})
	}
}

func (s Survey) gapsOf(c *Coverage, u User, reached map[string]string) (gaps []Gap) {
	c.ITUsers++
	refused, found := reached[u.Key]
	switch {
	case found && refused == "":
	case !found && s.elsewhere(u):
		c.Unknown++
	default:
		c.Nobody++
		gap := Gap{Class: GapNobody, ITUser: u.Username, Name: u.Name, Reason: ReasonNoAccount, Text: "no account that was looked at leads to it"}
		if found {
			gap.Reason, gap.Text = refused, "the account that leads to it is refused"
		}
		gaps = append(gaps, gap)
	}
	if missing := s.missing(u); len(missing) > 0 {
		c.NoID++
		gaps = append(gaps, Gap{Class: GapNoID, ITUser: u.Username, Name: u.Name, Environments: missing, Reason: "no_id_on_environment"})
	}
	return gaps
}

// elsewhere tells whether an account that was not looked at is this user: at a provider that was not listed whole.
func (s Survey) elsewhere(u User) bool {
	return slices.ContainsFunc(u.Links, func(l Link) bool {
		return !slices.ContainsFunc(s.Crowds, func(c Crowd) bool { return c.Provider == l.Provider && c.Group == "" })
	})
}

func (s Survey) missing(u User) (list []string) {
	known := slices.Collect(maps.Keys(u.IDs))
	for _, e := range s.Environments {
		if e.IDs != authn.IDsModule && !slices.Contains(known, e.Name) {
			list = append(list, e.Name)
		}
	}
	return list
}
