package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// Bounds of a search for groups. What does not fit is an error, never a shorter list: policy is decided by groups.
const (
	maxGroupDepth = 10
	maxGroups     = 1000
	groupPage     = 200
	groupBatch    = 50 // parents asked for in one search
)

// groupKinds are the object classes of groups with the attribute that lists members. A posixGroup lists user names and
// can hold no groups.
var groupKinds = map[string]struct {
	member string
	byName bool
}{
	"groupOfNames":       {member: "member"},
	"groupOfUniqueNames": {member: "uniqueMember"},
	"posixGroup":         {member: "memberUid", byName: true},
}

// groupWalk collects the groups of one account, level by level. Each group is visited once, so a loop ends.
type groupWalk struct {
	d     *directory
	conn  *conn
	seen  map[string]bool // by folded DN
	names []string
}

// rule refuses a name that these settings give to no group.
func (g Groups) rule(group string) error {
	switch {
	case g.Source == groupsNone:
		return errors.New("no group is known with groups.source: none (set it to memberOf or search)")
	case g.Name == "dn" && !isDN(group):
		return fmt.Errorf("%q is not a DN, by which groups are called (write its DN, or set groups.name to cn)", group)
	case g.Name != "dn" && strings.Contains(group, "="):
		return fmt.Errorf("%q is a DN, and groups are called by their %s (groups.name)", group, g.Name)
	}
	return nil
}

// groups finds the groups of an account.
func (d *directory) groups(ctx context.Context, c *conn, e *goldap.Entry, username string) ([]string, error) {
	w := &groupWalk{d: d, conn: c, seen: map[string]bool{}}
	var level []string
	var err error
	switch d.config.Groups.Source {
	case groupsMemberOf:
		level, err = w.addNames(e.GetEqualFoldAttributeValues(d.config.Groups.Attribute))
	case groupsSearch:
		level, err = w.find(ctx, d.memberFilter([]string{e.DN}, username))
	default:
		return nil, nil
	}
	for depth := 1; err == nil && d.config.Groups.Nested && len(level) > 0; depth++ {
		if depth > maxGroupDepth {
			return nil, incomplete("groups are nested more than %d deep", maxGroupDepth)
		}
		level, err = w.parents(ctx, level)
	}
	return w.names, err
}

func incomplete(format string, args ...any) error {
	return authn.Errorf(authn.Unavailable, reasonGroups, format, args...)
}

// parents finds the groups that hold the groups of one level, and returns those not seen before.
func (w *groupWalk) parents(ctx context.Context, level []string) (next []string, err error) {
	if w.d.config.Groups.Source == groupsMemberOf {
		for _, dn := range level {
			more, err := w.readParents(ctx, dn)
			if err != nil {
				return nil, err
			}
			next = append(next, more...)
		}
		return next, nil
	}
	for len(level) > 0 {
		n := min(len(level), groupBatch)
		more, err := w.find(ctx, w.d.memberFilter(level[:n], ""))
		if err != nil {
			return nil, err
		}
		next, level = append(next, more...), level[n:]
	}
	return next, nil
}

// readParents reads memberOf of a group. A group that is gone since belongs to nothing.
func (w *groupWalk) readParents(ctx context.Context, dn string) ([]string, error) {
	e, found, err := w.conn.readEntry(ctx, dn, "(objectClass=*)", w.d.config.Groups.Attribute)
	if err != nil || !found {
		return nil, err
	}
	return w.addNames(e.GetEqualFoldAttributeValues(w.d.config.Groups.Attribute))
}

// memberFilter matches the groups that list one of the DNs, or the user name where groups list names.
func (d *directory) memberFilter(dns []string, username string) string {
	var b strings.Builder
	b.WriteString("(|")
	for _, class := range d.config.Groups.Kinds {
		kind := groupKinds[class]
		members := dns
		if kind.byName {
			members = []string{username}
		}
		for _, m := range members {
			if m != "" {
				b.WriteString("(&(objectClass=" + class + ")(" + kind.member + "=" + goldap.EscapeFilter(m) + "))")
			}
		}
	}
	b.WriteString(")")
	return b.String()
}

// find searches groups and returns the new ones.
func (w *groupWalk) find(ctx context.Context, filter string) (fresh []string, err error) {
	g := w.d.config.Groups
	attributes := []string{"1.1"} // none, RFC 4511 section 4.5.1.8
	if g.Name != "dn" {
		attributes = []string{g.Name}
	}
	err = w.conn.pages(ctx, &goldap.SearchRequest{
		BaseDN: g.BaseDN, Scope: goldap.ScopeWholeSubtree, Filter: filter, Attributes: attributes,
	}, func(e *goldap.Entry) error {
		isNew, err := w.add(e.DN, groupName(e, g.Name))
		if isNew {
			fresh = append(fresh, e.DN)
		}
		return err
	})
	return fresh, err
}

// pages runs a paged search (RFC 2696), for groups as a rule, on one connection as paging demands.
func (c *conn) pages(ctx context.Context, r *goldap.SearchRequest, take func(*goldap.Entry) error) error {
	page := goldap.NewControlPaging(groupPage)
	r.Controls = []goldap.Control{page}
	for {
		result, err := c.page(ctx, r)
		if _, isAnswer := resultCode(err); isAnswer {
			return incomplete("%s did not list all entries: %s", c.server.url, describe(err))
		} else if err != nil {
			return err
		}
		if len(result.Referrals) > 0 && !c.server.config.dialect.SubtreeRefers {
			return incomplete("%s refers to another server for some entries; referrals are not followed", c.server.url)
		}
		for _, e := range result.Entries {
			if err := take(e); err != nil {
				return err
			}
		}
		next, more := goldap.FindControl(result.Controls, goldap.ControlTypePaging).(*goldap.ControlPaging)
		if !more || len(next.Cookie) == 0 {
			return nil
		}
		if len(result.Entries) == 0 {
			return incomplete("%s sends empty pages without end", c.server.url)
		}
		page.SetCookie(next.Cookie)
	}
}

// page asks for one page, which has a request's time.
func (c *conn) page(ctx context.Context, r *goldap.SearchRequest) (*goldap.SearchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, c.server.config.RequestTimeout)
	defer cancel()
	return c.search(ctx, r)
}

// groupName is what a found group is called: its DN, or an attribute. A group without that attribute keeps its DN.
func groupName(e *goldap.Entry, attribute string) string {
	if name := e.GetEqualFoldAttributeValue(attribute); attribute != "dn" && isName(name) {
		return name
	}
	return e.DN
}

// isName keeps who may name groups from calling one by the DN of another.
func isName(text string) bool { return text != "" && !strings.Contains(text, "=") }

// addNames adds groups known by their DN only; their name comes out of the DN.
func (w *groupWalk) addNames(dns []string) (fresh []string, err error) {
	for _, dn := range dns {
		isNew, err := w.add(dn, nameInDN(dn, w.d.config.Groups.Name))
		if err != nil {
			return nil, err
		}
		if isNew {
			fresh = append(fresh, dn)
		}
	}
	return fresh, nil
}

func nameInDN(text, attribute string) string {
	dn, err := goldap.ParseDN(text)
	if err != nil || attribute == "dn" || len(dn.RDNs) == 0 {
		return text
	}
	for _, a := range dn.RDNs[0].Attributes {
		if strings.EqualFold(a.Type, attribute) && isName(a.Value) {
			return a.Value
		}
	}
	return text
}

func (w *groupWalk) add(dn, name string) (isNew bool, err error) {
	key := strings.ToLower(dn)
	if w.seen[key] {
		return false, nil
	}
	if len(w.seen) == maxGroups {
		return false, incomplete("the user is in more than %d groups", maxGroups)
	}
	w.seen[key] = true
	w.names = append(w.names, name)
	return true, nil
}
