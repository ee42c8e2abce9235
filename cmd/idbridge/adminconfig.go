package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
)

// managing is how the administrators' door sees and changes the managed part: by drafts, as commands do.
type managing struct {
	*bridge
	since time.Time
}

// lookWithin is how long providers may take to say whether they work, for a page that somebody waits for.
const lookWithin = 5 * time.Second

// Look implements admin.Configuration.
func (m managing) Look(ctx context.Context) (admin.State, error) {
	s := admin.State{Managed: "file", Version: m.version, Newest: m.version, Since: m.since,
		Kinds: []string{}, Providers: []admin.ProviderState{}}
	if m.config.Managed == managedByStore {
		s.Managed = managedByStore
		newest, err := m.store.LastRevision(ctx)
		if err != nil {
			return s, err
		}
		s.Newest = newest
		if m.trouble != nil && s.Newest != s.Version {
			s.Trouble = m.trouble(s.Newest)
		}
	}
	for name := range providers(footing{}) {
		s.Kinds = append(s.Kinds, name)
	}
	slices.Sort(s.Kinds)
	for _, p := range m.config.Providers {
		s.Providers = append(s.Providers, admin.ProviderState{ID: p.ID, Label: p.label(), Kind: p.Type, Names: p.names(), Works: true})
	}
	m.checks(ctx, s.Providers)
	for i := range s.Providers {
		s.Providers[i].Metadata = m.saml.MetadataRead(s.Providers[i].ID)
	}
	return s, nil
}

// InForce implements admin.Configuration.
func (m managing) InForce() int64 { return m.version }

// checks asks all providers at once whether they work.
func (m managing) checks(ctx context.Context, states []admin.ProviderState) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var all sync.WaitGroup
	for i := range states {
		p := m.doctor.Providers[i]
		if p.Check == nil {
			continue
		}
		all.Go(func() {
			if err := p.Check(ctx); err != nil {
				states[i].Works, states[i].Problem = false, withoutReasons(err.Error())
			}
		})
	}
	all.Wait()
}

// names says which user names belong to the provider.
func (p ProviderConfig) names() string {
	if p.byBrowser() {
		return ""
	}
	var list []string
	for _, d := range p.Match.Domains {
		list = append(list, "*@"+d)
	}
	for _, d := range p.Match.Prefixes {
		list = append(list, d+`\*`)
	}
	if p.Match.Pattern != "" {
		list = append(list, p.Match.Pattern)
	}
	if p.Match.Default {
		list = append(list, "*")
	}
	return strings.Join(list, ", ")
}

// Form implements admin.Configuration.
func (m managing) Form(ctx context.Context, id, kind string) (admin.Form, error) {
	d, err := m.begin(ctx)
	if err != nil {
		return admin.Form{}, err
	}
	form := admin.Form{ID: id, Kind: kind, Base: d.base, Values: map[string]any{}}
	if id != "" {
		at := d.find(id)
		if at < 0 {
			return form, admin.ErrNoProvider
		}
		form.Kind = d.before.Providers[at].Type
		form.Values = strictyaml.Values(d.before.Providers[at], strictyaml.EncodeOptions{Dir: d.before.dir})
	}
	if _, known := providers(footing{})[form.Kind]; !known {
		return form, admin.ErrNoProvider
	}
	for _, f := range strictyaml.Describe(ProviderConfig{}, decodeOptions("")) {
		switch {
		case f.By != "":
			form.Fields = append(form.Fields, formFields(f.Variants[form.Kind])...)
		case f.Key != "type" && (f.Key != "id" || id == ""):
			form.Fields = append(form.Fields, formFields([]strictyaml.Field{f})...)
		}
	}
	return form, nil
}

func formFields(list []strictyaml.Field) (fields []admin.FormField) {
	for _, f := range list {
		fields = append(fields, admin.FormField{Key: f.Key, Type: f.Type, List: f.List, Table: f.Table, Doc: f.Doc,
			Default:  strings.Trim(f.Default, `'"`),
			Required: f.Required, Secret: f.Secret, Enum: f.Enum, Fields: formFields(f.Fields)})
	}
	return fields
}

// Text implements admin.Configuration.
func (m managing) Text(ctx context.Context) (string, error) {
	d, err := m.begin(ctx)
	if err != nil {
		return "", err
	}
	return string(d.before.encode(d.before.dir, nil)), nil
}

// Versions implements admin.Configuration.
func (m managing) Versions(ctx context.Context, below int64, limit int) ([]revision.Info, error) {
	if m.config.Managed != managedByStore {
		return nil, nil
	}
	return m.history.List(ctx, below, limit)
}

// propose makes a draft of a proposal.
func (m managing) propose(ctx context.Context, p admin.Proposal) (d *draft, err error) {
	if d, err = m.begin(ctx); err != nil {
		return nil, err
	}
	if err = d.from(ctx, p.Base); err != nil {
		return nil, proposalError(err)
	}
	switch {
	case p.Remove && d.find(p.Provider) < 0:
		err = admin.ErrNoProvider
	case p.Remove:
		err = d.removeProvider(p.Provider)
	case p.Restore > 0:
		var v revision.Version
		if v, err = m.history.Get(ctx, p.Restore); err == nil {
			err = d.restore(v)
		}
	case len(p.Text) > 0:
		err = d.replace("text", p.Text, fromNetwork)
	default:
		_, err = d.setProvider("settings", p.Settings, fromNetwork)
	}
	return d, proposalError(err)
}

// proposalError puts an error into the words of the administrators' door.
func proposalError(err error) error {
	if problems, ok := errors.AsType[strictyaml.Problems](err); ok {
		var faults admin.Faults
		for _, p := range problems {
			faults = append(faults, admin.Fault{Path: p.Path, Text: p.Text})
		}
		return faults
	}
	if locked, ok := errors.AsType[lockedOut](err); ok {
		return admin.LockedOut(append([]string{"after this change " + locked.whom + " could sign in"}, locked.why...))
	}
	var usage usageError
	switch {
	case errors.Is(err, revision.ErrMoved):
		return admin.ErrMoved
	case errors.Is(err, revision.ErrUnknown):
		return admin.ErrNoVersion
	case errors.Is(err, errNothing):
		return admin.ErrNothingChanged
	case errors.Is(err, errManagedByFile):
		return admin.ErrManagedByFile
	case errors.As(err, &usage):
		return admin.Faults{{Text: usage.Error()}}
	}
	return err
}

// Diff implements admin.Proposals.
func (m managing) Diff(ctx context.Context, p admin.Proposal) ([]revision.Line, error) {
	d, err := m.propose(ctx, p)
	if err != nil || !d.differs() {
		return nil, err
	}
	return d.diff(), nil
}

// Test implements admin.Proposals.
func (m managing) Test(ctx context.Context, p admin.Proposal) (list []admin.Verdict, err error) {
	d, err := m.propose(ctx, p)
	if err != nil {
		return nil, err
	}
	id := p.Provider
	if p.Remove {
		id = ""
	}
	verdicts, err := d.test(ctx, id, func(string, string) {})
	for _, v := range verdicts {
		list = append(list, admin.Verdict{Verdict: v.Verdict, Provider: v.Provider, Check: v.Check, Text: v.Text})
	}
	return list, proposalError(err)
}

// Try implements admin.Proposals.
func (m managing) Try(ctx context.Context, p admin.Proposal, actor, username string, password authn.Secret) (admin.Trial, error) {
	d, err := m.propose(ctx, p)
	if err != nil {
		return admin.Trial{}, err
	}
	t, err := d.try(ctx, actor, username, password)
	if err != nil {
		return admin.Trial{}, proposalError(err)
	}
	out := admin.Trial{Proven: t.Err == nil, Kind: authn.KindOf(t.Err).String(), Provider: t.Identity.Provider, Subject: t.Identity.Subject,
		Username: t.Identity.Username, ITUser: t.User.Username}
	if t.Err != nil {
		out.Reason = authn.ReasonOf(t.Err)
	}
	for _, o := range t.Outcomes {
		one := admin.TrialResult{Environment: o.Environment.Name, UserID: o.UserID, Kind: authn.KindOf(o.Err).String()}
		if o.Err != nil {
			one.Reason = authn.ReasonOf(o.Err)
		}
		out.Outcomes = append(out.Outcomes, one)
	}
	return out, nil
}

// Save implements admin.Proposals.
func (m managing) Save(ctx context.Context, p admin.Proposal, actor, comment string, force bool) (int64, error) {
	d, err := m.propose(ctx, p)
	if err != nil {
		return 0, err
	}
	if comment == "" {
		comment = "by the administrators' pages"
		if p.Restore > 0 {
			comment = fmt.Sprintf("back to version %d", p.Restore)
		}
	}
	info, err := d.save(ctx, actor, comment, force)
	return info.Number, proposalError(err)
}
