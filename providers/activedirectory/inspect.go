package activedirectory

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

const (
	// clockTolerance is how far the clock of a domain controller may be off before a warning; currentTime has full seconds.
	clockTolerance = 3 * time.Second
	// endSoon is how long before their end the service account and its password are worth a warning.
	endSoon = 30 * 24 * time.Hour
)

// Inspect visits every domain controller and looks at what sign-ins depend on: clocks, the PDC emulator, the service
// account, the lock-out policies, and how many people could be found. Of a forest it inspects the catalogue and every
// domain, of domains that trust it the servers.
func (d *domain) Inspect(ctx context.Context, say func(string)) (findings []authn.Finding) {
	if d.forest == nil {
		findings = d.inspect(ctx, say)
	} else {
		findings = d.inspectServers(ctx, "global catalogue", d.forest.catalogue)
		for _, one := range d.forest.domains {
			for _, f := range one.inspect(ctx, say) {
				f.Check = one.config.Domain + " " + f.Check
				findings = append(findings, f)
			}
		}
	}
	for _, one := range d.trusting {
		findings = append(findings, d.inspectServers(ctx, "trusting "+one.config.Domain, one.directory)...)
	}
	return findings
}

// inspectServers visits servers that are only searched.
func (d *domain) inspectServers(ctx context.Context, called string, directory *ldap.Directory) []authn.Finding {
	visits, err := directory.Visits(ctx, nil)
	if err != nil {
		return []authn.Finding{{Check: called, Problem: err.Error()}}
	}
	findings, _ := ldap.FindingsOf(visits, d.now(), nil)
	for i := range findings {
		findings[i].Check = called + " " + findings[i].Check
	}
	return findings
}

// inspect inspects one domain.
func (d *domain) inspect(ctx context.Context, say func(string)) []authn.Finding {
	seen := &controllers{clocks: map[string]time.Duration{}, names: map[string]string{}, now: d.now}
	visits, err := d.directory.Visits(ctx, func(ctx context.Context, on *ldap.Session) error { return seen.look(ctx, on, d.root) })
	if err != nil {
		return []authn.Finding{{Check: "domain controllers", Problem: err.Error()}}
	}
	findings, answers := ldap.FindingsOf(visits, d.now(), seen.text)
	if answers == 0 {
		return findings
	}
	findings = append(findings, seen.findings(visits)...)
	if d.forest == nil || d == d.forest.domains[0] { // it is in one domain only
		findings = append(findings, d.inspectService(ctx))
	}
	return append(findings, d.inspectPolicies(ctx), d.countUsers(ctx, say))
}

// controllers is what the servers say of themselves, by URL.
type controllers struct {
	now func() time.Time

	mu     sync.Mutex
	clocks map[string]time.Duration // by how much theirs is ahead of ours
	names  map[string]string        // the DN of what makes the computer a domain controller
	pdc    string                   // ... of the PDC emulator
}

// look reads the clock and the role of one server.
func (c *controllers) look(ctx context.Context, on *ldap.Session, root string) error {
	const attrClock, attrService, attrRole = "currentTime", "dsServiceName", "fSMORoleOwner"
	asked := c.now()
	own, found, err := on.Read(ctx, "", attrClock, attrService)
	if err != nil || !found {
		return err
	}
	ours := asked.Add(c.now().Sub(asked) / 2)
	domain, found, err := on.Read(ctx, root, attrRole)
	if err != nil || !found {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if theirs, err := time.Parse("20060102150405.0Z", own.Text(attrClock)); err == nil {
		c.clocks[on.Server()] = theirs.Add(time.Second / 2).Sub(ours) // somewhere in this second
	}
	c.names[on.Server()] = own.Text(attrService)
	if c.pdc == "" {
		c.pdc = domain.Text(attrRole)
	}
	return nil
}

// text adds to what was seen of a server.
func (c *controllers) text(server string) (text string) {
	if off, ok := c.clocks[server]; ok && off.Abs() <= clockTolerance {
		text = "; clock right within " + max(off.Abs(), time.Second).Round(time.Second).String()
	}
	if c.isPDC(server) {
		text += "; PDC emulator"
	}
	return text
}

func (c *controllers) isPDC(server string) bool {
	return c.pdc != "" && ldap.SameDN(c.names[server], c.pdc)
}

func (c *controllers) findings(visits []ldap.Visit) (list []authn.Finding) {
	for _, v := range visits {
		if off := c.clocks[v.URL]; off.Abs() > clockTolerance {
			list = append(list, authn.Finding{Check: "clock of " + v.Host(), Problem: clockText(off), Warning: true})
		}
	}
	if len(visits) > 1 && visits[0].Err == nil && c.pdc != "" && !c.isPDC(visits[0].URL) {
		list = append(list, authn.Finding{Check: "order", Warning: true, Problem: "the first domain controller is not the PDC " +
			"emulator, which alone counts the wrong passwords of the whole domain: put that one first in urls"})
	}
	return list
}

func clockText(off time.Duration) string {
	side := "ahead of"
	if off < 0 {
		side = "behind"
	}
	text := fmt.Sprintf("%s %s this machine's: set up NTP on both, as one-time codes need this machine's right within seconds",
		off.Abs().Round(time.Second), side)
	if off.Abs() > clockSlack {
		text += ", and Kerberos refuses more than 5 minutes"
	}
	return text
}

// inspectService reads the state of the service account as that of any other.
func (d *domain) inspectService(ctx context.Context) authn.Finding {
	f := authn.Finding{Check: "service account"}
	err := d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		e, err := d.serviceEntry(ctx, on)
		if err != nil {
			return err
		}
		s, err := readState(e)
		if err != nil {
			return err
		}
		password, err := d.passwordOf(ctx, on, e.DN())
		if err != nil {
			return err
		}
		f.Seen = e.DN() + ": " + s.text(d.now()) + "; password " + password.text(d.now())
		f.Problem, f.Warning = endsSoon(e.DN(), s.expires, password.end, d.now()), true
		return s.mayEnter(d.now())
	})
	switch {
	case authn.KindOf(err) == authn.Locked:
		f.Problem, f.Warning = fmt.Sprintf("%v: %q will be refused soon, and then nobody can sign in", err, d.config.BindDN), false
	case err != nil: // it works all the same
		f.Problem, f.Warning = err.Error(), true
	}
	return f
}

// endsSoon warns of what ends by itself; a zero time is never.
func endsSoon(dn string, account, password, now time.Time) string {
	soon := func(t time.Time) bool { return !t.IsZero() && t.Sub(now) < endSoon }
	switch {
	case soon(account):
		return fmt.Sprintf("the account %s expires on %s, and nobody can sign in from then on: set a later end", dn,
			account.UTC().Format(time.DateOnly))
	case soon(password):
		return fmt.Sprintf("the password of %s expires on %s, and nobody can sign in from then on: change it, and "+
			"bind_password, or let it never expire", dn, password.UTC().Format(time.DateOnly))
	}
	return ""
}

// serviceEntry finds the account that bind_dn names, which may lie outside of base_dn.
func (d *domain) serviceEntry(ctx context.Context, on *ldap.Session) (found ldap.Entry, err error) {
	name, filter := d.config.BindDN, ""
	_, sam, short := strings.Cut(name, `\`)
	switch {
	case ldap.IsDN(name):
		e, ok, err := on.Read(ctx, name, stateAttributes()...)
		if err == nil && !ok {
			err = notVisible(name)
		}
		return e, err
	case short:
		filter = equals(attrSAM, sam)
	default:
		user, _, _ := strings.Cut(name, "@")
		filter = "(|" + equals(attrUPN, name) + equals(attrSAM, user) + ")"
	}
	n := 0
	err = on.Pages(ctx, d.root, "(&(objectClass=user)"+filter+")", func(e ldap.Entry) error {
		n++
		found = e
		return nil
	}, stateAttributes()...)
	if err == nil && n != 1 {
		err = notVisible(name)
	}
	return found, err
}

func notVisible(name string) error {
	return authn.Errorf(authn.Unavailable, reasonConfig, "%q cannot read its own entry, so its state cannot be watched", name)
}

// inspectPolicies tells when the domain locks accounts.
func (d *domain) inspectPolicies(ctx context.Context) authn.Finding {
	f := authn.Finding{Check: "lock-out policy"}
	err := d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
		limit, further, err := d.readPolicies(ctx, on)
		if err != nil {
			return err
		}
		f.Seen = limit.text("")
		if limit.threshold > 0 {
			f.Seen += fmt.Sprintf("; idbridge leaves %d of them (lockout_margin)", d.config.LockoutMargin)
		}
		if further > 0 {
			f.Seen += fmt.Sprintf("; %d fine-grained policies besides", further)
		}
		if limit.threshold > 0 && limit.threshold <= d.config.LockoutMargin {
			f.Warning, f.Problem = true, fmt.Sprintf("%s, and lockout_margin is %d: after one wrong password nobody is let in until "+
				"the domain forgets it", limit.text(""), d.config.LockoutMargin)
		}
		return nil
	})
	if err != nil {
		f.Problem = err.Error()
	}
	return f
}

// readPolicies reads the domain's policy and counts the fine-grained ones, all of which must be readable.
func (d *domain) readPolicies(ctx context.Context, on *ldap.Session) (limit policy, further int, err error) {
	if limit, err = readPolicy(ctx, on, d.root, attrThreshold, attrWindow); err != nil {
		return limit, 0, err
	}
	container := "CN=Password Settings Container,CN=System," + d.root
	return limit, further, on.Pages(ctx, container, "(objectClass=*)", func(e ldap.Entry) error {
		if ldap.SameDN(e.DN(), container) {
			return nil
		}
		further++
		_, err := policyIn(e, attrPSOThreshold, attrPSOWindow)
		return err
	}, attrPSOThreshold, attrPSOWindow)
}

// countUsers counts the people below base_dn.
func (d *domain) countUsers(ctx context.Context, say func(string)) authn.Finding {
	enabled := func(e ldap.Entry) bool {
		r := stateReader{e: e}
		return r.number(attrControl)&flagDisabled == 0 && r.err == nil
	}
	f := ldap.Count(say, func(begin func(), take func(ldap.Entry) error) error {
		return d.directory.Ask(ctx, func(ctx context.Context, on *ldap.Session) error {
			begin()
			return on.Pages(ctx, d.config.BaseDN, person("(objectClass=user)"), take, attrControl)
		})
	}, enabled)
	f.Seen = strings.Replace(f.Seen, "usable", "enabled", 1) + " below " + d.config.BaseDN
	return f
}
