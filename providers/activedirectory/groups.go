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

// builtin is the domain of the SIDs S-1-5-32-..., those of the built-in groups.
const builtin = "\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00"

const (
	// maxGroups is the most SIDs that an access token of Windows can hold: it signs nobody in with more.
	maxGroups  = 1024
	groupBatch = 50 // SIDs asked for in one search
	maxRanges  = 100
	namesFor   = 10 * time.Minute // how long the names of a group are remembered
)

// groupName is a group as policies and access rules may call it.
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

// groupsOf lists the groups of an account, each under its DN, its sAMAccountName and its SID. The list is complete, or
// there is an error. Groups of other domains have their SID only.
func (d *domain) groupsOf(ctx context.Context, on *ldap.Session, e ldap.Entry, withTokens bool) ([]string, error) {
	if d.config.Groups.Source == sourceNone {
		return nil, nil
	}
	user, ok := parseSID(first(e.Values(attrSID)))
	primary, err := strconv.ParseUint(e.Text(attrPrimary), 10, 32)
	if !ok || err != nil {
		return nil, incomplete("%q has no %s or %s: may the service account read them?", e.DN(), attrSID, attrPrimary)
	}
	from := &e
	if !withTokens {
		from = nil
	}
	tokens, err := readAll(ctx, on, e.DN(), attrTokenGroups, from)
	if err != nil {
		return nil, err
	}
	sids := []sid{user.sibling(uint32(primary))}
	for _, t := range tokens {
		s, ok := parseSID(t)
		if !ok {
			return nil, incomplete("%s sent %x as a SID of a group", on.Server(), t)
		}
		sids = append(sids, s)
	}
	slices.Sort(sids)
	sids = slices.Compact(sids)
	if len(sids) > maxGroups {
		return nil, incomplete("%q is in more than %d groups", e.DN(), maxGroups)
	}
	return d.spell(ctx, on, sids, user.domain())
}

func first(values [][]byte) []byte {
	if len(values) == 0 {
		return nil
	}
	return values[0]
}

func incomplete(format string, args ...any) error {
	return authn.Errorf(authn.Unavailable, reasonGroups, format, args...)
}

// readAll reads all values of an attribute, also where the server sends them in ranges, [MS-ADTS] section
// 3.1.1.3.1.3.3. come is an entry that was read with the attribute already, or nil.
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
		if to < 0 {
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

// spell finds the names of groups.
func (d *domain) spell(ctx context.Context, on *ldap.Session, sids []sid, home string) ([]string, error) {
	known, missing := d.groups.recall(sids)
	if err := d.groups.resolve(ctx, on, d.root, missing, known); err != nil {
		return nil, err
	}
	missing = slices.DeleteFunc(missing, func(s sid) bool { _, ok := known[string(s)]; return ok || s.domain() == home })
	if err := d.nameForeign(ctx, missing, known); err != nil {
		return nil, err
	}
	var list []string
	for _, s := range sids {
		name, ok := known[string(s)]
		if !ok && s.domain() == home {
			return nil, incomplete("the group %s of this domain is not found: may the service account read it?", s)
		}
		list = append(list, d.spellings(s, name)...)
	}
	return list, nil
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

// spellings are the names of a group. Who may name groups must not be able to name one like another's SID or DN, nor
// somebody in another domain of the forest one like a group of the first: those are called DOMAIN\name. The built-in
// groups have the same SIDs in all domains, and there only their DNs tell them apart.
func (d *domain) spellings(s sid, n groupName) (list []string) {
	home := d.home(n.dn)
	foreign := d.forest != nil && home != d.forest.domains[0]
	if !foreign || s.domain() != builtin {
		list = append(list, s.String())
	}
	if n.dn != "" {
		list = append(list, n.dn)
	}
	switch plain := n.sam != "" && !isSIDText(n.sam) && !strings.ContainsAny(n.sam, `=\`); {
	case plain && !foreign:
		list = append(list, n.sam)
	case plain && home != nil:
		list = append(list, home.config.NetBIOSNames[0]+`\`+n.sam)
	}
	return list
}

// access says who may sign in at all.
type access struct{ allow, deny []string }

// check refuses members of a denied group, and who is in none of the allowed ones.
func (a access) check(groups []string) error {
	if g, ok := member(a.deny, groups); ok {
		return authn.Errorf(authn.Locked, reasonGroupDenied, "member of %q in deny_groups", g)
	}
	if _, ok := member(a.allow, groups); !ok && len(a.allow) > 0 {
		return authn.Errorf(authn.Locked, reasonNoGroup, "member of no group in allow_groups")
	}
	return nil
}

func member(rules, groups []string) (rule string, ok bool) {
	for _, r := range rules {
		for _, g := range groups {
			if strings.EqualFold(r, g) || strings.Contains(r, "=") && ldap.SameDN(r, g) {
				return r, true
			}
		}
	}
	return "", false
}
