package lifetime

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// Provisioned is a user of LifeTime whom provisioning has made or adopted. It touches nobody else.
type Provisioned struct {
	Key      string   // of the user at LifeTime; empty while one is being made
	Provider string   // with Subject: the account that the user was made for
	Subject  string   //
	Username string   // at LifeTime
	Active   bool     // as provisioning left the user: who was deactivated there by somebody else stays so
	Teams    []string // keys of teams that provisioning has put the user into
}

// Ledger remembers them.
type Ledger interface {
	Provisioned(ctx context.Context, target string) ([]Provisioned, error)
	// PutProvisioned keeps p in place of what was kept of its account, under the lease of a run.
	PutProvisioned(ctx context.Context, run, target string, p Provisioned) error
	// DropProvisioned forgets what is kept of p's account, under the lease of a run.
	DropProvisioned(ctx context.Context, run, target string, p Provisioned) error
}

// Rule says what the members of a directory group become.
type Rule struct {
	Provider string
	Group    string
	Role     string // name of their role; of several rules the first one's
	Teams    []TeamRule
}

// TeamRule is a team, and the role of members there.
type TeamRule struct{ Team, Role string }

// Provisioner makes IT users at LifeTime of the members of directory groups, keeps their names, roles and teams right, and
// deactivates those who are members no more.
type Provisioner struct {
	itusers.Runner
	Client    *Client
	Ledger    Ledger
	Target    string // name of the runs, and of what the ledger keeps
	Rules     []Rule
	Members   func(ctx context.Context, provider, group string, take func(authn.Member) error) error
	Username  func(authn.Identity) string // at LifeTime; empty: none
	Limit     itusers.Limit
	Protected []string // user names that are never touched
	Adopt     bool     // take users over who are there already under the right name
	Changed   func(ctx context.Context, run itusers.Run, username, what string) error
}

// Reasons why a user is left alone.
const (
	reasonNotOwned   = "not_provisioned"
	reasonGone       = "gone_at_lifetime"
	reasonOff        = "deactivated_at_lifetime"
	reasonNoName     = "no_username"
	reasonTwo        = "listed_twice"
	reasonProtected  = "protected_user"
	reasonNoMember   = "source_empty"
	reasonLimit      = "sync_limit"
	reasonNoRole     = "unknown_role"
	reasonMalformed  = "malformed_username"
	reasonOwnAccount = "own_account"
)

// Run provisions once. The errors are those of Runner.Do, of the providers and of LifeTime; source_empty, sync_limit and
// unknown_role when nothing was changed for that reason.
func (p *Provisioner) Run(ctx context.Context, o itusers.RunOptions) (itusers.Run, error) {
	return p.Do(ctx, p.Target, o, func(ctx context.Context, run itusers.Run, tell func(itusers.Progress)) (itusers.RunReport, error) {
		w := &work{Provisioner: p, run: run, tell: tell}
		if err := w.look(ctx); err != nil {
			return w.report, err
		}
		w.plan(o.Adopt || p.Adopt)
		if err := w.judge(o.Allow); err != nil || o.Dry {
			return w.report, err
		}
		return w.report, w.do(ctx)
	})
}

// work is one run.
type work struct {
	*Provisioner
	run    itusers.Run
	tell   func(itusers.Progress)
	report itusers.RunReport

	people []*wanted         // whom the groups want
	users  map[string]*User  // at LifeTime, by key
	named  map[string]*User  // ... by folded name
	ledger []Provisioned     // whom we own
	roles  map[string]string // name, folded → key
	teams  map[string]string // ...
	tasks  []task            // what there is to do
}

// wanted is an account of the groups, with what it is to become.
type wanted struct {
	authn.Member
	username string
	role     string            // key
	teams    map[string]string // key of team → key of role there
}

// task is what is done to one user.
type task struct {
	row    itusers.RunRow
	before *User // nil: made anew
	after  User
	entry  Provisioned
	join   map[string]string // team → role
	leave  []string
	adds   bool // takes nothing away from anybody
}

// look asks the directory and LifeTime for all there is to know.
func (w *work) look(ctx context.Context) error {
	roles, err := w.Client.Roles(ctx)
	if err != nil {
		return err
	}
	teams, err := w.Client.Teams(ctx)
	if err != nil {
		return err
	}
	w.roles, w.teams = byName(roles), byName(teams)
	if err := w.members(ctx); err != nil {
		return err
	}
	users, err := w.Client.List(ctx, Listing{Inactive: true, Teams: true})
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return authn.Errorf(authn.Unavailable, reasonNoMember, "LifeTime lists nobody, not even who administers it: nothing was changed")
	}
	w.users, w.named = map[string]*User{}, map[string]*User{}
	for i, u := range users {
		w.users[u.Key], w.named[authn.FoldName(u.Username)] = &users[i], &users[i]
	}
	w.ledger, err = w.Ledger.Provisioned(ctx, w.Target)
	return err
}

func byName(list []Named) map[string]string {
	keys := map[string]string{}
	for _, n := range list {
		keys[strings.ToLower(n.Name)] = n.Key
	}
	return keys
}

// keyOf finds a role or a team of the rules. A name that LifeTime does not know is a mistake for everybody in the group.
func keyOf(keys map[string]string, what, name string) (string, error) {
	key, ok := keys[strings.ToLower(name)]
	if !ok {
		return "", authn.Errorf(authn.Unavailable, reasonNoRole, "LifeTime has no %s %q (it has %s): nothing was changed", what, name,
			strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
	}
	return key, nil
}

// members lists the groups of all rules. Who cannot be listed to the end ends the run.
func (w *work) members(ctx context.Context) error {
	found := map[string]*wanted{}
	for _, rule := range w.Rules {
		role, err := keyOf(w.roles, "role", rule.Role)
		if err != nil {
			return err
		}
		teams := map[string]string{}
		for _, t := range rule.Teams {
			team, err := keyOf(w.teams, "team", t.Team)
			if err != nil {
				return err
			}
			if teams[team], err = keyOf(w.roles, "role", t.Role); err != nil {
				return err
			}
		}
		err = w.Members(ctx, rule.Provider, rule.Group, func(m authn.Member) error {
			w.report.Listed++
			w.tell(itusers.Progress{Stage: "reading the directory", Done: w.report.Listed})
			w.want(found, m, role, teams)
			return nil
		})
		if err != nil {
			return err
		}
	}
	w.report.Listed = len(w.people)
	if len(w.people) == 0 {
		return authn.Errorf(authn.Unavailable, reasonNoMember, "the groups have no members: nothing was changed")
	}
	return nil
}

func (w *work) want(found map[string]*wanted, m authn.Member, role string, teams map[string]string) {
	id := m.Provider + "\x00" + m.Subject
	p := found[id]
	if p == nil {
		p = &wanted{Member: m, role: role, username: w.Username(m.Identity), teams: map[string]string{}}
		found[id] = p
		w.people = append(w.people, p)
	}
	for team, role := range teams {
		if _, there := p.teams[team]; !there {
			p.teams[team] = role
		}
	}
}

// gone tells whether the directory has done with an account. Who is locked for a while, or needs a new password, stays.
func (p *wanted) gone() bool {
	reason := authn.ReasonOf(p.Err)
	return p.Err != nil && (reason == "account_disabled" || reason == "account_expired")
}
