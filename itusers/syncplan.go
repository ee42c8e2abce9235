package itusers

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/idbridge/idbridge/authn"
)

// Reasons why one user is left as they are.
const (
	reasonMalformed = "malformed_username" // no sign-in could ever name them
	reasonBadID     = "id_out_of_range"
	reasonTwice     = "listed_twice"
	reasonIDTaken   = "id_conflict"
	reasonNameTaken = "name_conflict"
	reasonRecycled  = "name_recycled" // the source gives the name to somebody else than before
	reasonElsewhere = "owned_by_another_source"
	reasonProtected = "protected_user"
	reasonStale     = "changed_meanwhile"
)

// syncPlan is what a run is going to do.
type syncPlan struct {
	feed    Feed
	adopt   bool
	pace    *pace
	listed  []Listed
	users   map[string]*User // by key
	names   map[string]string
	mine    map[string]Ownership // by ref
	owners  map[string]Ownership // by user
	refs    map[string]bool      // listed
	drafts  []*draft
	changes []SyncChange
	report  RunReport
}

// draft is what becomes of one user, until it is settled.
type draft struct {
	before, after User
	said          Listed
	listed        bool
	own           *Ownership
	refused       string
	why           string
}

// make compares what the source says with what there is.
func (p *syncPlan) make(users []User, owned []Ownership) {
	p.index(users, owned)
	byKey := map[string]*draft{}
	for _, l := range p.unique() {
		p.pace.step()
		if d := p.draft(l); d != nil {
			p.drafts = append(p.drafts, d)
		} else {
			p.report.Unknown++
		}
	}
	for _, d := range p.drafts {
		if d.before.Key != "" {
			byKey[d.before.Key] = d
		}
	}
	if p.feed.Owns == OwnsUsers {
		p.missing(byKey)
	}
	p.settle(byKey)
	p.write()
}

func (p *syncPlan) index(users []User, owned []Ownership) {
	p.users, p.names = make(map[string]*User, len(users)), make(map[string]string, len(users))
	for i := range users {
		p.pace.step()
		p.users[users[i].Key] = &users[i]
		p.names[authn.FoldName(users[i].Username)] = users[i].Key
	}
	p.mine, p.owners = map[string]Ownership{}, map[string]Ownership{}
	for _, o := range owned {
		p.owners[o.User] = o
		if o.Source == p.feed.ID {
			p.mine[o.Ref] = o
		}
	}
}

// unique refuses what the source lists twice: which of the two is right is not for us to guess.
func (p *syncPlan) unique() (list []Listed) {
	count := make(map[claim]int, 3*len(p.listed))
	for i, l := range p.listed {
		p.pace.step()
		if l.Ref == "" {
			p.listed[i].Ref = authn.FoldName(l.Username)
		}
		for _, c := range claimsOf(p.listed[i]) {
			count[c]++
		}
	}
	for _, l := range p.listed {
		p.pace.step()
		twice := ""
		for _, c := range claimsOf(l) {
			if count[c] > 1 {
				twice = c.words()
			}
		}
		if twice != "" {
			p.refuse(l.Username, reasonTwice, "the source lists "+twice+" more than once")
			p.seen(l)
			continue
		}
		list = append(list, l)
	}
	return list
}

// isReference is in place of an environment's name, in a claim to a reference.
const isReference = "\n"

// claimsOf is what may be listed once.
func claimsOf(l Listed) []claim {
	list := []claim{{"", authn.FoldName(l.Username)}, {isReference, l.Ref}}
	for environment, id := range l.IDs {
		list = append(list, claim{environment, strconv.Itoa(int(id))})
	}
	return list
}

func (c claim) words() string {
	switch c.environment {
	case "":
		return "user name " + strconv.Quote(c.value)
	case isReference:
		return "reference " + strconv.Quote(c.value)
	}
	return "id " + c.value + " on " + c.environment
}

// seen keeps a user who was listed, but refused, from counting as missing.
func (p *syncPlan) seen(l Listed) {
	key := p.names[authn.FoldName(l.Username)]
	if o, ok := p.mine[l.Ref]; ok {
		key = o.User
	}
	if u := p.users[key]; u != nil {
		p.drafts = append(p.drafts, &draft{before: *u, after: *u, listed: true, refused: "-"})
	}
}

func (p *syncPlan) refuse(username, reason, why string) {
	p.report.Add(RunRow{Action: RowRefused, Username: username, Reason: reason, What: []string{why}})
}

// draft is what one listed user becomes; nil where nobody here is meant.
func (p *syncPlan) draft(l Listed) *draft {
	if p.feed.Owns == OwnsUsers && l.Active == nil { // to be listed is to be active
		l.Active = new(true)
	}
	d := &draft{said: l, listed: true}
	known, renamed := p.mine[l.Ref]
	if u := p.users[known.User]; renamed && u != nil && p.feed.Owns == OwnsUsers {
		d.before = *u
	} else if u := p.users[p.names[authn.FoldName(l.Username)]]; u != nil && !p.isRenamed(u.Key) {
		d.before = *u
	} else if p.feed.Owns == OwnsIDs {
		return nil
	}
	d.after = d.before.clone()
	p.check(d)
	if d.refused == "" {
		p.fill(d)
	}
	return d
}

// isRenamed tells whether a user of ours is listed under another name now, so that the old one is free.
func (p *syncPlan) isRenamed(key string) bool {
	o, ok := p.owners[key]
	return ok && o.Source == p.feed.ID && p.feed.Owns == OwnsUsers && p.listedRefs()[o.Ref]
}

func (p *syncPlan) listedRefs() map[string]bool {
	if p.refs == nil {
		p.refs = make(map[string]bool, len(p.listed))
		for _, l := range p.listed {
			p.refs[l.Ref] = true
		}
	}
	return p.refs
}

// check refuses a user whom this source may not change, or who could never sign in.
func (p *syncPlan) check(d *draft) {
	owner, owned := p.owners[d.before.Key]
	l := d.said
	switch why := malformed(l.Username); {
	case l.Username == "" || why != "":
		d.refuse(reasonMalformed, "the user name "+why)
	case p.badID(l) != "":
		d.refuse(reasonBadID, p.badID(l))
	case p.feed.protects(d.before) && p.differs(d):
		d.refuse(reasonProtected, "is protected from this source")
	case p.feed.Owns != OwnsUsers || d.before.Key == "" || !owned:
	case owner.Source != p.feed.ID:
		d.refuse(reasonElsewhere, "belongs to source "+owner.Source)
	case owner.Ref != l.Ref && !p.adopt:
		d.refuse(reasonRecycled, "the source called this user "+owner.Ref+" before, and "+l.Ref+" now: is it the same person?")
	}
}

func (p *syncPlan) differs(d *draft) bool {
	try := *d
	p.fill(&try)
	return len(differences(try.before, try.after)) > 0
}

func (d *draft) refuse(reason, why string) {
	d.refused, d.why, d.after, d.own = reason, why, d.before, nil
}

func (p *syncPlan) badID(l Listed) string {
	for _, environment := range slices.Sorted(maps.Keys(l.IDs)) {
		if !slices.Contains(p.feed.Environments, environment) {
			return fmt.Sprintf("there is no environment %q", environment)
		}
		if id := l.IDs[environment]; id < 1 {
			return fmt.Sprintf("id %d on %s is not in 1…%d", id, environment, math.MaxInt32)
		}
	}
	return ""
}

// fill writes into after what the source says.
func (p *syncPlan) fill(d *draft) {
	e := entry{username: d.said.Username, name: tidy(d.said.Name), email: tidy(d.said.Email)}
	for environment, id := range d.said.IDs {
		e.set(environment, id)
	}
	owner, owned := p.owners[d.before.Key]
	if p.feed.Owns == OwnsIDs || owned && owner.Source != p.feed.ID {
		e.username, e.name, e.email = d.before.Username, nil, nil
	} else if d.before.Key == "" {
		e.active = d.said.Active
	} else {
		p.activity(d, &e)
	}
	d.after = e.apply(d.before)
	if p.feed.Owns == OwnsUsers {
		p.own(d, owner)
	}
}

// activity follows the source where it has changed its mind. Who was disabled here stays disabled as long as it has not;
// nobody becomes active who was not deactivated by this source.
func (p *syncPlan) activity(d *draft, e *entry) {
	owner, owned := p.owners[d.before.Key]
	off := owned && !owner.Active // by the source
	if said := d.said.Active; said != nil && *said == off {
		e.active = said
	}
}

func (p *syncPlan) own(d *draft, owner Ownership) {
	next := Ownership{Source: p.feed.ID, Ref: d.said.Ref, User: d.after.Key, Active: owner.Active}
	switch {
	case owner.Source == "" || *d.said.Active:
		next.Active = *d.said.Active
	case d.before.Active: // it is deactivated now; who was disabled here already stays so when the source thinks better of it
		next.Active = false
	}
	if next != owner {
		d.own = &next
	}
}

// missing deactivates whom the source owns and lists no more.
func (p *syncPlan) missing(byKey map[string]*draft) {
	listed := p.listedRefs()
	for _, o := range p.mine {
		u := p.users[o.User]
		if u == nil || listed[o.Ref] || byKey[o.User] != nil || !u.Active || p.feed.protects(*u) {
			continue
		}
		d := &draft{before: *u, after: u.clone()}
		d.after.Active = false
		o.Active = false
		d.own = &o
		byKey[u.Key] = d
		p.drafts = append(p.drafts, d)
	}
}

// settle finds names and ids that would be two users', until there are none.
func (p *syncPlan) settle(byKey map[string]*draft) {
	for again := true; again; {
		again = false
		held := p.held(byKey)
		for _, d := range p.drafts {
			p.pace.step()
			if d.refused == "" && p.collides(d, held, byKey) {
				again = true
			}
		}
	}
}

// claim is a name or an id: one user's at a time.
type claim struct {
	environment string // empty: a user name
	value       string
}

func (u User) claims() []claim {
	list := []claim{{"", authn.FoldName(u.Username)}}
	for environment, id := range u.IDs {
		list = append(list, claim{environment, strconv.Itoa(int(id))})
	}
	return list
}

// held says who has which name and id after the run.
func (p *syncPlan) held(byKey map[string]*draft) map[claim][]*draft {
	held := make(map[claim][]*draft, 3*len(p.users))
	for key, u := range p.users {
		p.pace.step()
		if d := byKey[key]; d == nil {
			d = &draft{before: *u, after: *u}
			for _, c := range u.claims() {
				held[c] = append(held[c], d)
			}
		}
	}
	for _, d := range p.drafts {
		p.pace.step()
		for _, c := range d.after.claims() {
			if d.after.Key != "" {
				held[c] = append(held[c], d)
			}
		}
	}
	return held
}

// collides refuses a user who would get what is another one's, or takes it from the other one where the source may.
func (p *syncPlan) collides(d *draft, held map[claim][]*draft, byKey map[string]*draft) bool {
	for _, c := range d.after.claims() {
		for _, other := range held[c] {
			if other.after.Key == d.after.Key || !has(other.after, c) || has(d.before, c) {
				continue
			}
			switch {
			case c.environment == "":
				d.refuse(reasonNameTaken, fmt.Sprintf("the name is the one of IT user %q", other.after.Username))
			case p.feed.Owns != OwnsNothing && !other.saidID(c) && !p.feed.protects(other.before):
				p.take(other, c, byKey)
			default:
				d.refuse(reasonIDTaken, fmt.Sprintf("id %s on %s belongs to %q", c.value, c.environment, other.after.Username))
			}
			return true
		}
	}
	return false
}

func has(u User, c claim) bool { return u.Key != "" && slices.Contains(u.claims(), c) }

func (d *draft) saidID(c claim) bool {
	id, ok := d.said.IDs[c.environment]
	return ok && d.refused == "" && strconv.Itoa(int(id)) == c.value
}

// take takes an id from a user who has it no more at the source: who kept it would be somebody else on that environment.
func (p *syncPlan) take(from *draft, c claim, byKey map[string]*draft) {
	if byKey[from.before.Key] == nil {
		byKey[from.before.Key] = from
		p.drafts = append(p.drafts, from)
	}
	from.after.IDs = maps.Clone(from.after.IDs)
	delete(from.after.IDs, c.environment)
	if from.refused != "" { // refused in what it wanted; this is not that
		from.refused = ""
		from.said = Listed{}
	}
}

// write turns what is settled into changes and a report.
func (p *syncPlan) write() {
	for _, d := range p.drafts {
		p.pace.step()
		if d.refused == "-" { // reported already
			continue
		}
		if d.refused != "" {
			username := d.said.Username
			if username == "" {
				username = d.before.Username
			}
			p.refuse(username, d.refused, d.why)
			continue
		}
		what := differences(d.before, d.after)
		if len(what) == 0 && d.own == nil {
			p.report.Unchanged++
			continue
		}
		p.changes = append(p.changes, SyncChange{Change{d.before, d.after}, d.own})
		p.tell(d, what)
	}
}

func (p *syncPlan) tell(d *draft, what []string) {
	row := RunRow{Action: RowChanged, Username: d.after.Username, What: what}
	switch {
	case len(what) == 0: // only ownership is kept
		p.report.Unchanged++
		return
	case d.before.Key == "":
		row.Action = RowAdded
	case d.before.Active && !d.after.Active:
		row.Action = RowDeactivated
	}
	for environment, id := range d.after.IDs {
		if d.before.IDs[environment] != id {
			p.report.IDs++
		}
	}
	p.report.Add(row)
}

// owned is how many users the limit is a part of: those who are active, or in a first run those who are listed.
func (p *syncPlan) owned() (n int) {
	if p.feed.Owns == OwnsUsers && len(p.mine) > 0 {
		for _, o := range p.mine {
			if u := p.users[o.User]; u != nil && u.Active {
				n++
			}
		}
		return n
	}
	for _, d := range p.drafts {
		if d.listed && d.before.Key != "" {
			n++
		}
	}
	return n
}

// counted is how many changes count against the limit. In a first run, what only adds does not.
func (p *syncPlan) counted(first bool) (n int) {
	for _, c := range p.changes {
		if first && onlyAdds(c.Change) {
			continue
		}
		if len(differences(c.Before, c.After)) > 0 {
			n++
		}
	}
	return n
}

// onlyAdds tells whether a change takes nothing away from anybody.
func onlyAdds(c Change) bool {
	if c.Before.Key == "" {
		return true
	}
	same := c.Before.clone()
	same.IDs = maps.Clone(c.After.IDs)
	for environment, id := range c.Before.IDs {
		if c.After.IDs[environment] != id {
			return false
		}
	}
	if same.Name == "" {
		same.Name = c.After.Name
	}
	if same.Email == "" {
		same.Email = c.After.Email
	}
	return len(differences(same, c.After)) == 0
}

// without drops the stale users of a chunk, and all who exchange names or ids with them.
func (p *syncPlan) without(chunk []SyncChange, stale []string) (rest []SyncChange) {
	for _, group := range components(chunk) {
		if !slices.ContainsFunc(group, func(c SyncChange) bool { return slices.Contains(stale, c.After.Key) }) {
			rest = append(rest, group...)
			continue
		}
		for _, c := range group {
			p.takeBack(c)
		}
	}
	return rest
}

// takeBack corrects the report of a change that was not made.
func (p *syncPlan) takeBack(c SyncChange) {
	i := slices.IndexFunc(p.report.Rows, func(r RunRow) bool { return r.Username == c.After.Username && r.Action != RowRefused })
	if i < 0 {
		return
	}
	switch p.report.Rows[i].Action {
	case RowAdded:
		p.report.Added--
	case RowDeactivated:
		p.report.Deactivated--
	default:
		p.report.Changed--
	}
	p.report.Rows = slices.Delete(p.report.Rows, i, i+1)
	p.refuse(c.After.Username, reasonStale, "somebody else has changed this user, or took the name or an id, while the run went on")
}
