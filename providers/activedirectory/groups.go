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

// builtin is the domain of the SIDs S-1-5-32-..., those of the built-in groups.
const builtin = "\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00"

// maxGroups is the most SIDs that an access token of Windows can hold: it signs nobody in with more.
const maxGroups = 1024

// group is a group of a user. Those of domains that nobody here knows have no name.
type group struct {
	sid sid
	groupName
}

// groupsOf lists the groups of an account, each under its SID, its DN and its name. The list is complete, or there is an
// error. withTokens says that tokenGroups came with the entry.
func (d *domain) groupsOf(ctx context.Context, on *ldap.Session, e ldap.Entry, withTokens bool) ([]string, error) {
	if d.config.Groups.Source == sourceNone {
		return nil, nil
	}
	user, ok := parseSID(first(e.Values(attrSID)))
	rid, err := strconv.ParseUint(e.Text(attrPrimary), 10, 32)
	if !ok || err != nil {
		return nil, incomplete("%q has no %s or %s: may the service account read them?", e.DN(), attrSID, attrPrimary)
	}
	primary := user.sibling(uint32(rid))
	var groups []group
	if d.config.Groups.Source == sourceChain {
		groups, err = d.inChain(ctx, on, e, user, primary)
	} else {
		groups, err = d.inToken(ctx, on, e, withTokens, user, primary)
	}
	if err != nil {
		return nil, err
	}
	further, err := d.inTrusting(ctx, user, groups)
	if err != nil {
		return nil, err
	}
	if groups = append(groups, further...); len(groups) > maxGroups {
		return nil, tooMany(e)
	}
	var list []string
	for _, g := range groups {
		list = append(list, d.first.spellings(g.sid, g.groupName)...)
	}
	return list, nil
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

func tooMany(e ldap.Entry) error {
	return incomplete("%q is in more than %d groups", e.DN(), maxGroups)
}

// spellings are the names of a group. Who may name groups must not be able to name one like another's SID or DN, nor
// somebody in another domain one like a group of the first: those are called DOMAIN\name. The built-in groups have the
// same SIDs in all domains, and there only their DNs tell them apart.
func (d *domain) spellings(s sid, n groupName) (list []string) {
	name := strings.ToLower(ldap.DomainOf(n.dn))
	own := strings.EqualFold(name, d.config.Domain) || n.dn == "" && d.forest == nil
	if own || s.domain() != builtin {
		list = append(list, s.String())
	}
	if n.dn != "" {
		list = append(list, n.dn)
	}
	if n.sam == "" || isSIDText(n.sam) || strings.ContainsAny(n.sam, `=\`) {
		return list
	}
	if own {
		return append(list, n.sam)
	}
	for _, other := range d.others() {
		if strings.EqualFold(name, other.config.Domain) {
			return append(list, other.config.NetBIOSNames[0]+`\`+n.sam)
		}
	}
	return list
}

// others are the configured domains beside the first one.
func (d *domain) others() []*domain {
	if d.forest == nil {
		return d.trusting
	}
	return append(slices.Clone(d.forest.domains[1:]), d.trusting...)
}

// groupMemory remembers the groups of accounts, under whichever name they sign in. nil remembers nothing.
type groupMemory struct {
	now  func() time.Time
	ttl  time.Duration
	mu   sync.Mutex
	kept map[string]rememberedGroups // by subject
}

type rememberedGroups struct {
	names []string
	until time.Time
}

func newGroupMemory(ttl time.Duration, now func() time.Time) *groupMemory {
	if ttl == 0 {
		ttl = ldap.DefaultCacheTTL
	}
	return &groupMemory{now: now, ttl: ttl, kept: map[string]rememberedGroups{}}
}

func (m *groupMemory) recall(subject string) ([]string, bool) {
	if m == nil {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.kept[subject]
	return slices.Clone(g.names), ok && m.now().Before(g.until)
}

func (m *groupMemory) keep(subject string, names []string) {
	if m == nil || m.ttl <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	makeRoom(m.kept)
	m.kept[subject] = rememberedGroups{names: slices.Clone(names), until: m.now().Add(m.ttl)}
}
