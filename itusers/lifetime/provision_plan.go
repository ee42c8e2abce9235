package lifetime

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// plan compares whom the groups want with whom LifeTime has.
func (w *work) plan(adopt bool) {
	owned := map[string]Provisioned{}
	for _, e := range w.ledger {
		owned[e.Provider+"\x00"+e.Subject] = e
	}
	count := map[string]int{}
	for _, p := range w.people {
		count[authn.FoldName(p.username)]++
	}
	for _, p := range w.people {
		id := p.Provider + "\x00" + p.Subject
		entry, known := owned[id]
		delete(owned, id)
		switch {
		case p.gone():
			if known {
				w.deactivate(entry, "the directory has disabled the account")
			}
		case p.username == "":
			w.refuse(p.Username, reasonNoName, "the account gives no user name")
		case strings.TrimSpace(p.username) != p.username || strings.ContainsFunc(p.username, func(r rune) bool { return r < ' ' }):
			w.refuse(p.username, reasonMalformed, "LifeTime takes no such user name")
		case count[authn.FoldName(p.username)] > 1:
			w.refuse(p.username, reasonTwo, "several accounts have this user name")
		default:
			w.one(p, entry, known, adopt)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(owned)) {
		w.deactivate(owned[id], "no member of a group any more")
	}
}

func (w *work) refuse(username, reason, why string) {
	w.report.Add(itusers.RunRow{Action: itusers.RowRefused, Username: username, Reason: reason, What: []string{why}})
}

// one plans for one account whom the groups want.
func (w *work) one(p *wanted, entry Provisioned, known, adopt bool) {
	same := w.named[authn.FoldName(p.username)]
	var before *User
	switch {
	case w.protects(p.username):
		w.refuse(p.username, reasonProtected, "is never touched")
		return
	case known && entry.Key != "":
		before = w.users[entry.Key]
		if before == nil {
			w.refuse(p.username, reasonGone, "LifeTime does not know this user any more, whom provisioning has made")
			return
		}
		if same != nil && same.Key != before.Key {
			w.refuse(p.username, reasonNotOwned, "the new user name belongs to another user there")
			return
		}
	case same != nil && !known && !adopt: // a user whom we were making when the last run broke off is ours
		w.refuse(p.username, reasonNotOwned, "LifeTime has this user already, and not from provisioning; adopt takes such users over")
		return
	default:
		before = same
	}
	if before != nil && w.untouchable(*before) != "" {
		w.refuse(p.username, w.untouchable(*before), "is never touched")
		return
	}
	if before != nil && !before.Active() && (entry.Active || entry.Key == "") {
		w.refuse(p.username, reasonOff, "somebody has deactivated this user there; activate the user there if that is over")
		return
	}
	w.add(w.change(p, before, entry))
}

func (w *work) protects(username string) bool {
	return slices.ContainsFunc(w.Protected, func(name string) bool { return authn.FoldName(name) == authn.FoldName(username) })
}

// untouchable tells why a user at LifeTime is none of ours to change, whatever the ledger says.
func (w *work) untouchable(u User) string {
	switch {
	case w.Client.own != "" && strings.EqualFold(u.Key, w.Client.own):
		return reasonOwnAccount
	case w.protects(u.Username):
		return reasonProtected
	}
	return ""
}

// change says what becomes of a user.
func (w *work) change(p *wanted, before *User, entry Provisioned) task {
	on := true
	t := task{before: before, after: User{Username: p.username, Name: p.Name, Email: p.Email, IsActive: &on, RoleKey: p.role}}
	if t.after.Name == "" { // which LifeTime does not take
		t.after.Name = p.username
	}
	has := map[string]string{}
	if before != nil {
		t.after.Key = before.Key
		for _, team := range before.Teams {
			has[team.TeamKey] = team.RoleKey
		}
	}
	t.teams(p, has, entry)
	t.entry = Provisioned{Key: t.after.Key, Provider: p.Provider, Subject: p.Subject, Username: p.username, Active: true}
	for _, team := range slices.Sorted(maps.Keys(p.teams)) { // but none that somebody else has put them into
		if _, joins := t.join[team]; joins || slices.Contains(entry.Teams, team) {
			t.entry.Teams = append(t.entry.Teams, team)
		}
	}
	t.row = itusers.RunRow{Action: itusers.RowChanged, Username: p.username, What: w.words(t, entry)}
	t.adds = before == nil || len(w.differences(*before, t.after)) == 0 && len(t.leave) == 0
	if before == nil {
		t.row.Action = itusers.RowAdded
	}
	return t
}

// teams says which teams a user comes to and leaves; has are those they are in, with the role there.
func (t *task) teams(p *wanted, has map[string]string, entry Provisioned) {
	t.join = map[string]string{}
	for team, role := range p.teams {
		if has[team] != role {
			t.join[team] = role
		}
		if has[team] != "" && has[team] != role {
			t.leave = append(t.leave, team) // the API has no other way to another role
		}
	}
	for _, team := range entry.Teams {
		if _, wanted := p.teams[team]; !wanted && has[team] != "" {
			t.leave = append(t.leave, team)
		}
	}
	slices.Sort(t.leave)
}

func (w *work) deactivate(entry Provisioned, why string) {
	u := w.users[entry.Key]
	if u == nil || !u.Active() || w.untouchable(*u) != "" {
		return
	}
	off := false
	t := task{before: u, after: *u, entry: entry}
	t.after.IsActive, t.entry.Active = &off, false
	t.row = itusers.RunRow{Action: itusers.RowDeactivated, Username: u.Username, What: []string{"active: true → false", why}}
	w.add(t)
}

// add takes a task unless it would change nothing.
func (w *work) add(t task) {
	if len(t.row.What) == 0 {
		w.report.Unchanged++
		return
	}
	w.tasks = append(w.tasks, t)
	w.report.Add(t.row)
}

// differences are between what PUT replaces.
func (w *work) differences(a, b User) (what []string) {
	text := func(name, a, b string) {
		if a != b {
			what = append(what, fmt.Sprintf("%s: %q → %q", name, a, b))
		}
	}
	text("username", a.Username, b.Username)
	text("name", a.Name, b.Name)
	text("email", a.Email, b.Email)
	text("role", w.nameOf(w.roles, a.RoleKey), w.nameOf(w.roles, b.RoleKey))
	if a.Active() != b.Active() {
		what = append(what, fmt.Sprintf("active: %v → %v", a.Active(), b.Active()))
	}
	return what
}

func (w *work) nameOf(keys map[string]string, key string) string {
	for name, k := range keys {
		if k == key {
			return name
		}
	}
	return key
}

// words say what a task does, for people.
func (w *work) words(t task, entry Provisioned) (what []string) {
	if t.before == nil {
		what = append(what, "role: "+w.nameOf(w.roles, t.after.RoleKey))
	} else {
		what = w.differences(*t.before, t.after)
		if entry.Key == "" {
			what = append(what, "taken over")
		}
	}
	for _, team := range t.leave {
		if _, back := t.join[team]; !back {
			what = append(what, "leaves team "+w.nameOf(w.teams, team))
		}
	}
	for _, team := range slices.Sorted(maps.Keys(t.join)) {
		what = append(what, fmt.Sprintf("team %s as %s", w.nameOf(w.teams, team), w.nameOf(w.roles, t.join[team])))
	}
	return what
}

// judge gives a plan up that would change too much. Before anybody was provisioned, what only adds does not count.
func (w *work) judge(allow int) error {
	r := &w.report
	for _, e := range w.ledger {
		if u := w.users[e.Key]; u != nil && u.Active() {
			r.Owned++
		}
	}
	for _, t := range w.tasks {
		if !t.adds || len(w.ledger) > 0 {
			r.Counted++
		}
	}
	r.Allowed = max(w.Limit.Of(r.Owned), allow)
	if half := max(1, r.Owned/2); r.Counted > r.Allowed || r.Deactivated > half && r.Deactivated > allow {
		return authn.Errorf(authn.Unavailable, reasonLimit, "the run would change %d users at LifeTime, %d of them deactivate; it may change %d "+
			"(%d%% of %d, at least %d), and never deactivate more than half: nothing was changed; look at a dry run, and if it is right, run "+
			"it with --allow %d", r.Counted, r.Deactivated, r.Allowed, w.Limit.Percent, r.Owned, w.Limit.Floor, max(r.Counted, r.Deactivated))
	}
	return nil
}
