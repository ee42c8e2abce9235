package activedirectory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// Attributes that only explanations read.
const (
	attrPasswordEnd  = "msDS-UserPasswordExpiryTimeComputed" // constructed
	attrWorkstations = "userWorkstations"
)

// Explain tells how the domain reads a name, which account that is and whether it may sign in, without a password and
// not from the cache.
func (d *domain) Explain(ctx context.Context, username string) (a authn.Account, told []authn.Remark, err error) {
	tell := func(about, text string) { told = append(told, authn.Remark{About: about, Text: text}) }
	name, err := d.understand(username)
	if err != nil {
		return a, nil, d.directory.By(err)
	}
	tell("name form", name.form)
	tell("filter", name.filter+" below "+d.config.BaseDN)
	home, at, err := d.locate(ctx, name)
	if err != nil {
		return a, told, d.directory.By(err)
	}
	if at != nil {
		tell("global catalogue", at.dn)
	}
	var server string
	var state []authn.Remark
	err = home.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) (err error) {
		server = on.Server()
		a, state, err = home.explainOn(ctx, on, name, at)
		return err
	})
	if server != "" {
		tell("server", server)
	}
	if err != nil {
		return a, told, err
	}
	tell("DN", a.Ref)
	return a, append(append(told, a.Remarks()...), state...), nil
}

func (d *domain) explainOn(
	ctx context.Context, on *ldap.Session, n name, at *place,
) (authn.Account, []authn.Remark, error) {
	forgetful := *d
	forgetful.held = nil
	a, s, err := forgetful.searchOn(ctx, on, n, at)
	if err != nil {
		return a, nil, err
	}
	limit, err := d.policies.of(ctx, on, d.root, s)
	if err != nil {
		return a, nil, err
	}
	further, err := d.explainFurther(ctx, on, a.Ref)
	return a, append(d.explainState(a, s, limit), further...), err
}

// explainFurther tells what no rule of ours looks at, but the domain controller does.
func (d *domain) explainFurther(ctx context.Context, on *ldap.Session, dn string) (told []authn.Remark, err error) {
	p, err := d.passwordOf(ctx, on, dn)
	if err != nil {
		return nil, err
	}
	told = append(told, authn.Remark{About: "password", Text: p.text(d.now())})
	if p.stations != "" {
		told = append(told, authn.Remark{About: "workstations", Text: "only " + p.stations +
			": a domain controller may refuse the sign-in as workstation_not_allowed"})
	}
	return told, nil
}

// passwordState is when a password was set and when it expires, and where it may be used.
type passwordState struct {
	set, end time.Time // zero: to be changed now, never
	stations string
}

func (d *domain) passwordOf(ctx context.Context, on *ldap.Session, dn string) (passwordState, error) {
	e, found, err := on.Read(ctx, dn, attrPwdLastSet, attrPasswordEnd, attrWorkstations)
	if err == nil && !found {
		err = authn.Errorf(authn.Unavailable, reasonChanged, "%q was there a moment ago", dn)
	}
	if err != nil {
		return passwordState{}, err
	}
	r := stateReader{e: e}
	p := passwordState{
		set: fileTime(r.optional(attrPwdLastSet)), end: fileTime(r.optional(attrPasswordEnd)), stations: e.Text(attrWorkstations),
	}
	return p, r.err
}

func (p passwordState) text(now time.Time) string {
	switch set, end := p.set.UTC().Format(time.DateOnly), p.end.UTC().Format(time.DateOnly); {
	case p.set.IsZero():
		return "to be changed at the next sign-in"
	case p.end.IsZero():
		return "set on " + set + ", never expires"
	case now.Before(p.end):
		return "set on " + set + ", expires on " + end
	default:
		return "set on " + set + ", expired on " + end
	}
}

// explainState judges as Verify and Lookup do.
func (d *domain) explainState(a authn.Account, s state, limit policy) []authn.Remark {
	now := d.now()
	told := []authn.Remark{
		{About: "account", Text: s.text(now), Err: d.directory.By(s.mayEnter(now))},
		{About: "lock-out", Text: s.attempts(limit), Err: d.directory.By(s.mayTry(limit, d.config.LockoutMargin, now))},
	}
	if d.config.Groups.Source == sourceNone {
		return told
	}
	return append(told, ldap.TellGroups(groupTitles(a.Groups)),
		authn.Remark{About: "access", Text: d.access.text(a.Groups), Err: d.directory.By(d.access.check(a.Groups))})
}

// text is the state for people. What keeps the account out is an error of mayEnter and not repeated here.
func (s state) text(now time.Time) string {
	var list []string
	if s.flags&flagDisabled == 0 {
		list = append(list, "enabled")
	}
	if s.flags&flagLocked == 0 {
		list = append(list, "not locked")
	}
	switch {
	case s.expires.IsZero():
		list = append(list, "never expires")
	case now.Before(s.expires):
		list = append(list, "expires on "+s.expires.UTC().Format(time.DateOnly))
	}
	if len(s.hours) > 0 && s.isHour(now.UTC()) {
		list = append(list, "inside its logon hours")
	}
	return strings.Join(list, ", ")
}

// attempts says how near the account is to being locked.
func (s state) attempts(limit policy) string {
	text := fmt.Sprintf("%d wrong password(s) counted", s.badCount)
	if !s.badTime.IsZero() {
		text += ", the last at " + s.badTime.UTC().Format(time.RFC3339)
	}
	return text + "; " + limit.text(s.policy)
}

func (p policy) text(pso string) string {
	whose := "the domain"
	if pso != "" {
		whose = pso
	}
	if p.threshold == 0 {
		return whose + " locks nobody"
	}
	return fmt.Sprintf("%s locks an account after %d within %s", whose, p.threshold, p.window)
}

// text says which rule lets an account in; the refusals are errors of check.
func (a access) text(groups []string) string {
	if g, ok := member(a.allow, groups); ok {
		return fmt.Sprintf("allow_groups has %q", g)
	}
	if len(a.allow) == 0 {
		return "no allow_groups: everybody who is in no group of deny_groups"
	}
	return ""
}

// groupTitles picks one name for each group out of its spellings: the sAMAccountName, or else the SID, or else the DN.
// domain.spellings gives them in the order SID, DN, name, and not always all of them.
func groupTitles(spellings []string) (titles []string) {
	titled := false // by the SID, and the DN may follow
	for _, s := range spellings {
		switch isDN := strings.Contains(s, "="); {
		case isSIDText(s), isDN && !titled, len(titles) == 0:
			titles = append(titles, s)
		case !isDN:
			titles[len(titles)-1] = s
		}
		titled = isSIDText(s)
	}
	return titles
}
