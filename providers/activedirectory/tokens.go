package activedirectory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// attrTokenGroups are the SIDs of all security groups of an account, nested ones too, as its access token would hold
// them; it can be read of one entry only, [MS-ADTS] section 3.1.1.4.5.19.
const attrTokenGroups = "tokenGroups"

const (
	groupBatch = 50 // SIDs asked for in one search
	maxRanges  = 100
	namesFor   = 10 * time.Minute // how long the names of a group are remembered
)

// inToken lists the groups of source tokenGroups, with the primary group. come says that they came with the entry.
func (d *domain) inToken(
	ctx context.Context, on *ldap.Session, e ldap.Entry, come bool, user, primary sid,
) ([]group, error) {
	from := &e
	if !come {
		from = nil
	}
	tokens, err := readAll(ctx, on, e.DN(), attrTokenGroups, from)
	if err != nil {
		return nil, err
	}
	if len(tokens) > maxGroups {
		return nil, tooMany(e)
	}
	sids := []sid{primary}
	for _, t := range tokens {
		s, ok := parseSID(t)
		if !ok {
			return nil, incomplete("%s sent %x as a SID of a group", on.Server(), t)
		}
		sids = append(sids, s)
	}
	slices.Sort(sids)
	sids = slices.Compact(sids)
	return d.named(ctx, on, sids, user.domain())
}

// named finds the names of groups. Those of the user's own domain must have one.
func (d *domain) named(ctx context.Context, on *ldap.Session, sids []sid, home string) ([]group, error) {
	known, missing := d.groups.recall(sids)
	if err := d.groups.resolve(ctx, on, d.root, missing, known); err != nil {
		return nil, err
	}
	foreign := slices.DeleteFunc(missing, func(s sid) bool { return s.domain() == home || s.domain() == builtin })
	if err := d.nameForeign(ctx, foreign, known); err != nil {
		return nil, err
	}
	var list []group
	for _, s := range sids {
		name, ok := known[string(s)]
		if !ok && s.domain() == home {
			return nil, incomplete("the group %s of this domain is not found: may the service account read it?", s)
		}
		list = append(list, group{sid: s, groupName: name})
	}
	return list, nil
}

// readAll reads all values of an attribute, also where the server sends them in ranges, [MS-ADTS] section
// 3.1.1.3.1.3.3. come is an entry that was read with the attribute already, or nil. It ends soon after maxGroups values,
// when the rest matters to nobody.
func readAll(
	ctx context.Context, on *ldap.Session, dn, attribute string, come *ldap.Entry,
) (values [][]byte, err error) {
	asked := attribute
	for range maxRanges {
		e, err := orRead(ctx, on, dn, asked, come)
		if err != nil {
			return nil, err
		}
		come = nil
		options := e.Options(attribute)
		if options == nil {
			if asked != attribute {
				return nil, incomplete("%s sent a part of %s and then none", on.Server(), attribute)
			}
			return e.Values(attribute), nil
		}
		name := attribute + ";" + strings.Join(options, ";")
		values = append(values, e.Values(name)...)
		from, to, ok := rangeOf(options)
		if !ok || from != len(values)-len(e.Values(name)) || to >= 0 && to != len(values)-1 {
			return nil, incomplete("%s sent %s after %d values", on.Server(), name, len(values)-len(e.Values(name)))
		}
		if to < 0 || len(values) > maxGroups {
			return values, nil
		}
		asked = attribute + ";range=" + strconv.Itoa(len(values)) + "-*"
	}
	return nil, incomplete("%s sends %s in pieces without end", on.Server(), attribute)
}

func orRead(ctx context.Context, on *ldap.Session, dn, attribute string, come *ldap.Entry) (ldap.Entry, error) {
	if come != nil {
		return *come, nil
	}
	e, found, err := on.Read(ctx, dn, attribute)
	if err == nil && !found {
		err = authn.Errorf(authn.Unavailable, reasonChanged, "%q was there a moment ago", dn)
	}
	return e, err
}

// rangeOf reads range=0-1499; to is -1 in range=1500-*, the last piece.
func rangeOf(options []string) (from, to int, ok bool) {
	if len(options) != 1 || len(options[0]) < 6 || !strings.EqualFold(options[0][:6], "range=") {
		return 0, 0, false
	}
	low, high, ok := strings.Cut(options[0][6:], "-")
	from, err := strconv.Atoi(low)
	if !ok || err != nil || from < 0 {
		return 0, 0, false
	}
	if high == "*" {
		return from, -1, true
	}
	to, err = strconv.Atoi(high)
	return from, to, err == nil && to >= from
}

// groupName is what a group is called.
type groupName struct {
	dn, sam string
	until   time.Time
}

// groupNames remembers the names behind SIDs, so that the groups of a second user of a department cost one question.
type groupNames struct {
	now  func() time.Time
	mu   sync.Mutex
	kept map[string]groupName // by SID
}

func newGroupNames(now func() time.Time) *groupNames {
	return &groupNames{now: now, kept: map[string]groupName{}}
}

func (g *groupNames) recall(sids []sid) (known map[string]groupName, missing []sid) {
	known = map[string]groupName{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range sids {
		if name, ok := g.kept[string(s)]; ok && g.now().Before(name.until) {
			known[string(s)] = name
		} else {
			missing = append(missing, s)
		}
	}
	return known, missing
}

// resolve asks for the names behind SIDs and adds those that the domain knows to known.
func (g *groupNames) resolve(
	ctx context.Context, on *ldap.Session, root string, sids []sid, known map[string]groupName,
) error {
	for batch := range slices.Chunk(sids, groupBatch) {
		var filter strings.Builder
		for _, s := range batch {
			filter.WriteString(s.filter())
		}
		err := on.Pages(ctx, root, "(|"+filter.String()+")", func(e ldap.Entry) error {
			s, ok := parseSID(first(e.Values(attrSID)))
			if !ok || !slices.Contains(batch, s) {
				return incomplete("%s answered with %q, which was not asked for", on.Server(), e.DN())
			}
			known[string(s)] = g.keep(s, groupName{dn: e.DN(), sam: e.Text(attrSAM)})
			return nil
		}, attrSID, attrSAM)
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *groupNames) keep(s sid, name groupName) groupName {
	name.until = g.now().Add(namesFor)
	g.mu.Lock()
	defer g.mu.Unlock()
	makeRoom(g.kept)
	g.kept[string(s)] = name
	return name
}
