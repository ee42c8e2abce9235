package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
)

// What is done to IT users, by a page or by the API. Each change is recorded with what was before and after.

// person is an IT user with everything that hangs on them.
type person struct {
	itusers.User
	devices  []mfa.Device
	recovery int
	tokens   []authn.Token
	sessions []authn.Session
	blocks   []block
}

// block is a limit of failed attempts that keeps an IT user out.
type block struct {
	what     string // "password", "code" or "token"
	provider string // of the password
	key      string
	authn.Attempts
}

func itUser(u itusers.User) authn.ITUser {
	return authn.ITUser{Key: u.Key, Username: u.Username, Active: u.Active}
}

func (c *call) find(username string) (authn.ITUser, error) {
	u, err := c.Users.Show(c.ctx(), username)
	return itUser(u), err
}

// person looks an IT user up with everything. NotMapped (no_it_user), Unavailable.
func (c *call) person(username string) (p person, err error) {
	ctx := c.ctx()
	if p.User, err = c.Users.Show(ctx, username); err != nil {
		return p, err
	}
	for _, part := range []func(context.Context, *person) error{c.addFactors, c.addTokens, c.addSessions, c.addBlocks} {
		if err := part(ctx, &p); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (c *call) addFactors(ctx context.Context, p *person) (err error) {
	if p.devices, err = c.Portal.Factors.Devices(ctx, itUser(p.User)); err != nil {
		return err
	}
	p.recovery, err = c.Portal.Factors.RecoveryLeft(ctx, itUser(p.User))
	return err
}

func (c *call) addTokens(ctx context.Context, p *person) (err error) {
	p.tokens, err = c.Portal.Tokens.Tokens(ctx, p.Key, c.now())
	return unavailable(err)
}

func (c *call) addSessions(ctx context.Context, p *person) (err error) {
	all, err := c.Portal.Roster.Sessions(ctx, p.Key)
	for _, s := range all {
		if c.now().Before(s.Expires) {
			p.sessions = append(p.sessions, s)
		}
	}
	return unavailable(err)
}

// limits are the keys under which failures of an IT user are counted.
func limits(u itusers.User) []block {
	list := []block{{what: "code", key: mfa.ThrottleKey(u.Key)}, {what: "token", key: authn.TokenThrottleKey(u.Username)}}
	for _, l := range u.Links {
		list = append(list, block{what: "password", provider: l.Provider, key: authn.ThrottleKey(l.Provider, l.Subject)})
	}
	return list
}

func (c *call) addBlocks(ctx context.Context, p *person) error {
	for _, b := range limits(p.User) {
		seen, err := c.Throttle.Look(ctx, b.key)
		if err != nil && authn.KindOf(err) != authn.Locked {
			return err
		}
		if b.Attempts = seen; err != nil {
			p.blocks = append(p.blocks, b)
		}
	}
	return nil
}

// unavailable is the kind of an error of the store.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return authn.Errorf(authn.Unavailable, "store_unavailable", "administration: %w", err)
}

// changed records what became of a user.
func (c *call) changed(change itusers.Change, err error) (itusers.User, error) {
	if err != nil {
		return itusers.User{}, err
	}
	what := change.What()
	if len(what) == 0 {
		return change.After, nil
	}
	action := audit.UserChanged
	if change.Before.Key == "" {
		action = audit.UserAdded
	}
	return change.After, c.note(audit.Record{Action: action, ITUser: change.After.Username, Detail: strings.Join(what, ", ")})
}

func (c *call) create(username string, e itusers.Edit) (itusers.User, error) {
	return c.changed(c.Users.Create(c.ctx(), username, e, c.Environments))
}

func (c *call) edit(username string, e itusers.Edit) (itusers.User, error) {
	if e.Active != nil && !*e.Active {
		if err := c.notMyself(username); err != nil {
			return itusers.User{}, err
		}
	}
	return c.changed(c.Users.Edit(c.ctx(), username, e, c.Environments))
}

// notMyself keeps administrators from ending their own way in.
func (c *call) notMyself(username string) error {
	if authn.FoldName(username) == authn.FoldName(c.me().Username) {
		return errYourself
	}
	return nil
}

// setActive enables or disables a user. Who is disabled loses sessions and tokens at once.
func (c *call) setActive(username string, active bool) (itusers.User, error) {
	if !active {
		if err := c.notMyself(username); err != nil {
			return itusers.User{}, err
		}
	}
	u, err := c.changed(c.Users.SetActive(c.ctx(), username, active))
	if err != nil || active {
		return u, err
	}
	if _, err := c.endSessions(username, ""); err != nil {
		return u, err
	}
	_, err = c.revokeTokens(username, "")
	return u, err
}

// link makes an account the user's at its provider. Where names can be found, the account is looked up; else its subject
// must be known.
func (c *call) link(username, provider, name, subject string) (itusers.User, error) {
	if c.notMyself(username) != nil && provider == c.v.Session().Identity.Provider {
		return itusers.User{}, errYourself
	}
	account, err := c.account(provider, name, subject)
	if err != nil {
		return itusers.User{}, err
	}
	return c.changed(c.Users.Link(c.ctx(), username, provider, account.Subject, account.Username))
}

// account is the one that a user is to be linked to.
func (c *call) account(provider, name, subject string) (authn.Account, error) {
	i := slices.IndexFunc(c.Accounts.Providers(), func(p Provider) bool { return p.ID == provider })
	if i < 0 {
		return authn.Account{}, worded{invalid(fmt.Sprintf("there is no provider %q", provider)), "admin.problem.noprovider", []any{provider}}
	}
	finds := c.Accounts.Providers()[i].Finds
	switch {
	case finds && name == "":
		return authn.Account{}, worded{invalid("the account's name at the provider is missing"), "admin.problem.noname", nil}
	case finds:
		return c.Accounts.Find(c.ctx(), provider, name)
	case subject == "":
		return authn.Account{}, worded{invalid("accounts of this provider cannot be looked up: its subject is needed"),
			"admin.problem.nosubject", nil}
	}
	return authn.Account{Identity: authn.Identity{Provider: provider, Subject: subject, Username: name}}, nil
}

func (c *call) unlink(username, provider string) (itusers.User, error) {
	if err := c.notMyself(username); err != nil {
		return itusers.User{}, err
	}
	return c.changed(c.Users.Unlink(c.ctx(), username, provider))
}

// resetFactors takes all second factors away.
func (c *call) resetFactors(username string) (int, error) {
	if err := c.notMyself(username); err != nil {
		return 0, err
	}
	u, err := c.find(username)
	if err != nil {
		return 0, err
	}
	n, err := c.Portal.Factors.Reset(c.ctx(), u)
	if err != nil {
		return 0, err
	}
	return n, c.note(audit.Record{Action: audit.FactorReset, ITUser: u.Username, Detail: fmt.Sprintf("devices: %d → 0", n)})
}

// invite makes an enrolment code, which is shown once.
func (c *call) invite(username string) (code authn.Secret, expires time.Time, err error) {
	u, err := c.find(username)
	if err != nil {
		return "", time.Time{}, err
	}
	devices, err := c.Portal.Factors.Devices(c.ctx(), u)
	if err == nil && len(devices) > 0 { // the portal would ask for a code of it, and never for this one
		err = errHasFactor
	}
	if err != nil {
		return "", time.Time{}, err
	}
	if code, expires, err = c.Portal.Factors.Invite(c.ctx(), u); err != nil {
		return "", time.Time{}, err
	}
	detail := "until " + expires.UTC().Format(time.RFC3339)
	return code, expires, c.note(audit.Record{Action: audit.FactorInvited, ITUser: u.Username, Detail: detail})
}

// endSessions ends one session of a user, or all.
func (c *call) endSessions(username, id string) (int, error) {
	u, err := c.find(username)
	if err != nil {
		return 0, err
	}
	n, err := c.Portal.Roster.EndSessions(c.ctx(), u.Key, id)
	return c.counted(n, err, audit.Record{Action: audit.SessionsEnded, ITUser: u.Username})
}

// revokeTokens revokes one sign-in token of a user, or all.
func (c *call) revokeTokens(username, id string) (int, error) {
	u, err := c.find(username)
	if err != nil {
		return 0, err
	}
	n, err := c.Portal.Tokens.RevokeTokens(c.ctx(), u.Key, id, c.now())
	return c.counted(n, err, audit.Record{Action: audit.TokensRevoked, ITUser: u.Username})
}

func (c *call) counted(n int, err error, r audit.Record) (int, error) {
	if err != nil || n == 0 {
		return 0, unavailable(err)
	}
	r.Detail = fmt.Sprintf("%d → 0", n)
	return n, c.note(r)
}

// unlock forgets a user's failed attempts, and tells how many limits that lifted.
func (c *call) unlock(username string) (int, error) {
	u, err := c.Users.Show(c.ctx(), username)
	if err != nil {
		return 0, err
	}
	counted, err := c.Blocks.UnlockUser(c.ctx(), u.Username, c.signed(audit.Record{}))
	return len(counted), err
}
