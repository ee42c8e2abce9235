package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
)

// draft is a change of the managed configuration that is being made: begun from the newest version, changed, looked at,
// tested, saved. Commands, administrators' pages and the platform's screen make their changes by it and have no rules of
// their own:
//
//	d, err := b.begin(ctx)                        // b: the backend of a command, or of the generation that serves the page
//	err = d.from(ctx, base)                       // the version that the administrator looked at
//	id, err := d.setProvider("form", json, fromNetwork)
//	d.diff(); d.test(ctx, id, say); d.try(ctx, actor, user, password)
//	info, err := d.save(ctx, actor, comment, force) // lockedOut, revision.ErrMoved, errNothing, strictyaml.Problems
//
// Forms: strictyaml.Describe(ProviderConfig{}, decodeOptions("")), filled with strictyaml.Values.
type draft struct {
	ground *backend // with the configuration of the file
	base   int64
	before Config // under the version it is made from
	next   Config // with the change

	unreadable bool // the newest version cannot be read here, so before is what is in force in its place
	whole      bool // next was made as a whole, not by changing before
}

// begin makes a draft of the newest version, or, with `managed: file`, of the file: then it can be tested, but not saved.
func (b *backend) begin(ctx context.Context) (*draft, error) {
	d := &draft{ground: b, before: b.config}
	if b.config.Managed == managedByStore {
		v, err := b.history.Last(ctx)
		if err != nil {
			return nil, err
		}
		if d.base = v.Number; v.Number > 0 {
			d.before, err = b.config.read(v)
			if d.unreadable = err != nil; d.unreadable { // it can still be replaced
				d.before = b.config
			}
		}
	}
	d.next = d.before
	return d, nil
}

// from makes the draft be about a version that somebody has looked at: saving it is refused when another one came between.
func (d *draft) from(ctx context.Context, base int64) error {
	if base == d.base {
		return nil
	}
	newest, err := d.ground.history.List(ctx, 0, 1)
	if err != nil || len(newest) == 0 {
		return errors.Join(revision.ErrMoved, err)
	}
	return revision.MovedError{Last: newest[0]}
}

// replace makes text the whole managed part. Secrets that are masked in it stay what they are.
func (d *draft) replace(name string, text []byte, from origin) (err error) {
	d.whole = true
	d.next, err = d.before.decodeManaged(name, text, from, d.before.ManagedConfig)
	return err
}

// restore makes an older version's text the whole managed part.
func (d *draft) restore(v revision.Version) (err error) {
	d.whole = true
	d.next, err = d.before.read(v)
	return err
}

// setProvider puts a provider, as YAML or JSON, in the place of the one of the same id, or behind all others.
func (d *draft) setProvider(name string, text []byte, from origin) (id string, err error) {
	var p ProviderConfig
	o := decodeOptions(d.before.dir)
	o.NoSecretFiles = bool(from)
	doc := strictyaml.Decode(name, text, &p, o)
	at := slices.IndexFunc(d.next.Providers, func(q ProviderConfig) bool { return q.ID == p.ID })
	var shown ProviderConfig
	if at >= 0 {
		shown = d.next.Providers[at]
	}
	unmask(doc, &p, shown)
	if err := doc.Err(); err != nil {
		return p.ID, err
	}
	list := slices.Clone(d.next.Providers)
	if at >= 0 {
		list[at] = p
	} else {
		list = append(list, p)
	}
	return p.ID, d.setProviders(list)
}

// removeProvider takes one out.
func (d *draft) removeProvider(id string) error {
	at := d.find(id)
	if at < 0 {
		return d.unknown(id)
	}
	return d.setProviders(slices.Delete(slices.Clone(d.next.Providers), at, at+1))
}

func (d *draft) find(id string) int {
	return slices.IndexFunc(d.next.Providers, func(p ProviderConfig) bool { return p.ID == id })
}

func (d *draft) unknown(id string) error {
	var ids []string
	for _, p := range d.next.Providers {
		ids = append(ids, p.ID)
	}
	return usageError{fmt.Errorf("there is no provider %q (there are: %s)", id, strings.Join(ids, ", "))}
}

// setProviders checks the whole anew: between providers, too, something must hold.
func (d *draft) setProviders(list []ProviderConfig) (err error) {
	m := d.next.ManagedConfig
	m.Providers = list
	d.next, err = d.before.decodeManaged("change", m.encode(d.before.dir, strictyaml.Reveal), fromHere, ManagedConfig{})
	return err
}

// differs tells whether anything would change: a version that cannot be read is replaced also by what is in force in its place.
func (d *draft) differs() bool {
	return d.unreadable && d.whole || !reflect.DeepEqual(d.before.ManagedConfig, d.next.ManagedConfig)
}

// diff is what would change, with secrets masked.
func (d *draft) diff() []revision.Line {
	return diffOf(d.before.ManagedConfig, d.next.ManagedConfig, d.before.dir)
}

// numbered is a masked secret, with a number that tells it from other secrets.
var numbered = regexp.MustCompile(`<secret:[0-9]+>`)

// diffOf compares two managed parts, defaults included. Of secrets it shows that they differ, and nothing else.
func diffOf(from, to ManagedConfig, dir string) []revision.Line {
	numbers := map[string]int{}
	mask := func(_, secret string) string {
		if _, known := numbers[secret]; !known {
			numbers[secret] = len(numbers)
		}
		return fmt.Sprintf("<secret:%d>", numbers[secret])
	}
	text := func(m ManagedConfig) string {
		if reflect.DeepEqual(m, ManagedConfig{}) { // before the first version
			return ""
		}
		return string(strictyaml.Encode(m, strictyaml.EncodeOptions{Dir: dir, Defaults: true, Secret: mask}))
	}
	lines := revision.Diff(text(from), text(to))
	for i := range lines {
		lines[i].Text = numbered.ReplaceAllString(lines[i].Text, strictyaml.Mask)
	}
	return lines
}

// made is the backend and the service that the draft would make, with nothing of it in force. closed ends its providers.
func (d *draft) made() (b *backend, s *authn.Service, closed func(), err error) {
	if b, err = d.ground.with(d.next, 0); err != nil {
		return nil, nil, nil, err
	}
	list, fallback, err := makeProviders(b.config, b.footing())
	if err != nil {
		return nil, nil, nil, err
	}
	s, err = newService(b, newMetrics(), slog.New(slog.DiscardHandler), list, fallback)
	return b, s, func() { closeProviders(list) }, err
}

// test looks as close at the draft's providers as they can, or at one of them. It changes nothing.
func (d *draft) test(ctx context.Context, id string, say func(provider, text string)) (list []verdict, err error) {
	if id != "" && d.find(id) < 0 {
		return nil, d.unknown(id)
	}
	b, s, closed, err := d.made()
	if err != nil {
		return nil, err
	}
	defer closed()
	var configs []ProviderConfig
	doctor := authn.Doctor{Ground: b.store}
	for i, p := range s.Providers {
		if id == "" || p.ID == id {
			doctor.Providers, configs = append(doctor.Providers, p), append(configs, b.config.Providers[i])
		}
	}
	for i, findings := range doctor.Inspect(ctx, say) {
		list = append(list, configs[i].verdicts(findings)...)
	}
	return list, nil
}

// try signs somebody in under the draft, which changes nothing (authn.Service.Try), and records that actor did.
func (d *draft) try(ctx context.Context, actor, username string, password authn.Secret) (authn.Trial, error) {
	b, s, closed, err := d.made()
	if err != nil {
		return authn.Trial{}, err
	}
	defer closed()
	var environments []authn.Environment
	for _, e := range b.config.Environments {
		environments = append(environments, e.core())
	}
	id, now := newID(), time.Now()
	t := s.Try(ctx, authn.Call{ID: id, Username: username, Password: password, Arrived: now}, environments)
	r := audit.Record{ID: id, Time: now, Action: audit.SignInTested, Actor: actor, Username: username, Provider: t.Identity.Provider,
		Subject: t.Identity.Subject, ITUser: t.User.Username, Kind: authn.KindOf(t.Err).String(), Reason: authn.ReasonOf(t.Err),
		Duration: time.Since(now)}
	return t, b.audit.Event(context.WithoutCancel(ctx), r)
}

// errManagedByFile is why a draft cannot be saved.
var errManagedByFile = errors.New("managed: file: providers, mfa and throttle are kept in the configuration file; change them there " +
	"and send the server SIGHUP, or say managed: store")

// save makes the draft the newest version. One that cannot be made is refused, and, unless forced, one under which nobody
// could sign in.
func (d *draft) save(ctx context.Context, actor, comment string, force bool) (revision.Info, error) {
	if d.before.Managed != managedByStore {
		return revision.Info{}, usageError{errManagedByFile}
	}
	if !d.differs() {
		return revision.Info{}, errNothing
	}
	forced := ""
	if err := d.guard(ctx); err != nil {
		var locked lockedOut
		if !force || !errors.As(err, &locked) {
			return revision.Info{}, err
		}
		forced = "forced, although " + strings.ReplaceAll(locked.Error(), "\n", " ")
	}
	v, err := d.ground.history.Save(ctx, revision.Draft{
		Base: d.base, Author: actor, Comment: comment, Text: d.next.encode(d.before.dir, strictyaml.Reveal),
	})
	if err != nil {
		return revision.Info{}, err
	}
	err = d.ground.noteConfiguration(ctx, change{v.Info, d.before.ManagedConfig, d.next.ManagedConfig, d.before.dir, forced})
	if d.ground.look != nil {
		d.ground.look(ctx)
	}
	return v.Info, err
}

// errNothing is why a draft needs no saving.
var errNothing = errors.New("nothing would change")

// change is a version and what it changed.
type change struct {
	version       revision.Info
	before, after ManagedConfig
	dir, forced   string
}

// maxDetail is the most that a record tells of a change, in bytes; the versions have all of it.
const maxDetail = 16 << 10

// noteConfiguration writes a change into the audit: what was there before and what is there after, secrets masked.
func (b *backend) noteConfiguration(ctx context.Context, c change) error {
	detail := []string{fmt.Sprintf("version %d from %d: %s", c.version.Number, c.version.Base, c.version.Comment)}
	if c.forced != "" {
		detail = append(detail, c.forced)
	}
	for _, l := range diffOf(c.before, c.after, c.dir) {
		if l.Op != revision.Same {
			detail = append(detail, l.Op+l.Text)
		}
	}
	text := strings.Join(detail, "\n")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "\n..."
	}
	r := audit.Record{ID: newID(), Time: c.version.Time, Action: audit.ConfigChanged, Actor: c.version.Author,
		Kind: authn.OK.String(), Detail: text}
	if err := b.audit.Event(context.WithoutCancel(ctx), r); err != nil {
		return fmt.Errorf("version %d was saved, but could not be written into the audit: %w", c.version.Number, err)
	}
	return nil
}

// lockedOut says why nobody could sign in under a configuration, provider by provider.
type lockedOut struct {
	whom string
	why  []string
}

func (e lockedOut) Error() string {
	return "after this change " + e.whom + " could sign in:\n" + strings.Join(e.why, "\n")
}

// guard refuses a draft that cannot be made, or under which no active IT user, or no administrator, could sign in.
func (d *draft) guard(ctx context.Context) error {
	b, s, closed, err := d.made()
	if err != nil {
		return err
	}
	defer closed()
	reach, err := b.store.Reach(ctx)
	if err != nil {
		return err
	}
	why := map[string]string{}
	for i, p := range s.Providers {
		why[p.ID] = d.shut(ctx, p, b.config.Providers[i], reach)
	}
	if len(reach) == 0 { // there is nobody to lock out yet
		return nil
	}
	return d.anyOpen(why)
}

func (d *draft) anyOpen(why map[string]string) error {
	all := lockedOut{whom: "no active IT user"}
	open := false
	for _, p := range d.next.Providers {
		reason := why[p.ID]
		if p.Type == breakGlass {
			reason = "its accounts are for emergencies"
		}
		open = open || reason == ""
		all.why = append(all.why, p.ID+": "+reason)
	}
	if !open {
		return all
	}
	admins := lockedOut{whom: "no administrator"}
	for _, id := range d.next.administrators() {
		reason, known := why[id]
		if !known {
			reason = "it is there no more"
		}
		if reason == "" {
			return nil
		}
		admins.why = append(admins.why, id+": "+reason)
	}
	if admins.why != nil {
		return admins
	}
	return nil
}

// administrators are the providers with which administrators sign in; none where there is no administrators' door.
func (c Config) administrators() (ids []string) {
	if c.Admin == nil {
		return nil
	}
	for _, r := range c.Admin.Roles {
		if r.Role == admin.Administrator.String() {
			ids = append(ids, r.Provider)
		}
	}
	return ids
}

// checkWithin is how long a changed provider may take to show that it works.
const checkWithin = 15 * time.Second

// shut says why nobody could sign in with a provider; "" where somebody could. One that the draft leaves as it is has not
// to show that it works: it would be no less broken without the change.
func (d *draft) shut(ctx context.Context, p authn.Provider, c ProviderConfig, reach map[string]itusers.Reach) string {
	here := reach[p.ID]
	newcomers := c.ITUser.Attribute != "none" && reach[itusers.Nowhere].Users > 0
	switch {
	case here.Users == 0 && !newcomers:
		return "no active IT user is linked at it, and none could be by name"
	case d.next.policyOf(c) == authn.FactorRequired && here.Enrolled == 0 && d.next.Portal == nil:
		return "everybody must prove a second factor, nobody has one, and there is no portal to set one up"
	}
	if slices.ContainsFunc(d.before.Providers, func(old ProviderConfig) bool { return reflect.DeepEqual(old, c) }) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	if err := p.Check(ctx); err != nil {
		return "it was changed, and does not work: " + strings.ReplaceAll(withoutReasons(err.Error()), "\n", "; ")
	}
	return ""
}

// policyOf is a provider's policy for people in no particular group.
func (c Config) policyOf(p ProviderConfig) authn.FactorPolicy {
	if p.Factor.Policy != "" {
		return authn.FactorPolicy(p.Factor.Policy)
	}
	return authn.FactorPolicy(c.MFA.Policy)
}
