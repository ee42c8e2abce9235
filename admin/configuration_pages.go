package admin

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/revision"
)

func configurationPages() []page {
	return []page{
		{method: "GET", path: "/providers", role: Viewer, act: (*call).showProviders},
		{method: "GET", path: "/providers/edit", role: Administrator, act: (*call).editProvider},
		{method: "POST", path: "/providers/edit", role: Administrator, free: true, title: "admin.proposal.provider",
			act: (*call).proposeProvider},
		{method: "POST", path: "/providers/remove", role: Administrator, free: true, title: "admin.proposal.remove", act: (*call).proposeRemoval},
		{method: "GET", path: "/providers/text", role: Administrator, act: (*call).editText},
		{method: "POST", path: "/providers/text", role: Administrator, free: true, title: "admin.proposal.text", act: (*call).proposeText},
		{method: "GET", path: "/providers/versions", role: Viewer, act: (*call).showVersions},
		{method: "POST", path: "/providers/restore", role: Administrator, free: true, title: "admin.proposal.restore",
			act: (*call).proposeVersion},
		{method: "GET", path: "/providers/proposal", role: Administrator, act: func(c *call) error {
			return c.showProposal(http.StatusOK,
				proposalView{})
		}},
		{method: "POST", path: "/providers/proposal/fresh", role: Administrator, title: "admin.proposal.title", act: func(c *call) error {
			c.v.GoTo("/providers/proposal", "draft", c.r.PostForm.Get("draft"))
			return nil
		}},
		{method: "POST", path: "/providers/proposal/test", role: Administrator, title: "admin.proposal.test", act: (*call).testProposal},
		{method: "POST", path: "/providers/proposal/try", role: Administrator, title: "admin.proposal.try", act: (*call).tryProposal},
		{method: "POST", path: "/providers/proposal/save", role: Administrator, title: "admin.proposal.save", act: (*call).saveProposal},
	}
}

type providersView struct {
	shell
	State
	Editable bool
}

func (c *call) showProviders() error {
	s, err := c.state(struct{}{})
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, "providers", providersView{shell: c.shell("/providers"), State: s, Editable: c.role >= Administrator})
}

type providerView struct {
	shell
	ID, Kind       string
	New            bool
	Base           int64
	Inputs, Others []input // those that one needs, and those that can stay as they are
	Faults         []string
	Back           string
}

func (c *call) editProvider() error {
	q := c.r.URL.Query()
	form, err := c.Configuration.Form(c.ctx(), q.Get("id"), q.Get("kind"))
	if err != nil {
		return err
	}
	return c.showProviderForm(http.StatusOK, form, form.Values, nil)
}

func (c *call) showProviderForm(status int, form Form, values map[string]any, faults Faults) error {
	view := providerView{shell: c.shell("/providers"), ID: form.ID, Kind: form.Kind, New: form.ID == "", Base: form.Base,
		Back: c.to("/providers")}
	by := map[string]string{}
	for _, f := range faults {
		by[f.Path] = f.Text
	}
	for _, in := range inputs(form.Fields, "", values, by) {
		delete(by, in.Path)
		if in.Required || in.Open || in.Set || in.Value != "" && in.Value != in.Default {
			view.Inputs = append(view.Inputs, in)
		} else {
			view.Others = append(view.Others, in)
		}
	}
	view.Faults = faults.list()
	return c.show(status, "provideredit", view)
}

// proposeProvider takes what the form says. What is wrong with it is said beside the form; else there is a proposal to
// look at, to test and to save.
func (c *call) proposeProvider() error {
	post := c.r.PostForm
	form, err := c.Configuration.Form(c.ctx(), post.Get("of"), post.Get("kind"))
	if err != nil {
		return err
	}
	base, _ := strconv.ParseInt(post.Get("base"), 10, 64)
	form.Base = base
	values := settings(form.Fields, "", post)
	if form.ID != "" {
		values["id"] = form.ID
	}
	values["type"] = form.Kind
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	p := Proposal{Base: base, Provider: fmt.Sprint(values["id"]), Settings: text}
	var faults Faults
	if _, err = c.Proposals.Diff(c.ctx(), p); errors.As(err, &faults) {
		return c.showProviderForm(http.StatusUnprocessableEntity, form, values, faults)
	}
	return c.propose(p, err)
}

func (c *call) proposeRemoval() error {
	return c.propose(Proposal{Base: c.base(), Provider: c.r.PostForm.Get("id"), Remove: true}, nil)
}

func (c *call) proposeVersion() error {
	number, err := strconv.ParseInt(c.r.PostForm.Get("number"), 10, 64)
	if err != nil || number < 1 {
		return errNoSuchThing
	}
	return c.propose(Proposal{Base: c.base(), Restore: number}, nil)
}

func (c *call) base() int64 {
	n, _ := strconv.ParseInt(c.r.PostForm.Get("base"), 10, 64)
	return n
}

type textView struct {
	shell
	Text   string
	Base   int64
	Faults []string
	Back   string
}

func (c *call) editText() error {
	text, err := c.Configuration.Text(c.ctx())
	if err != nil {
		return err
	}
	s, err := c.Configuration.Versions(c.ctx(), 0, 1)
	if err != nil {
		return err
	}
	view := textView{shell: c.shell("/providers"), Text: text, Back: c.to("/providers")}
	if len(s) > 0 {
		view.Base = s[0].Number
	}
	return c.show(http.StatusOK, "configtext", view)
}

func (c *call) proposeText() error {
	text := strings.ReplaceAll(c.r.PostForm.Get("text"), "\r\n", "\n")
	p := Proposal{Base: c.base(), Text: []byte(text)}
	var faults Faults
	_, err := c.Proposals.Diff(c.ctx(), p)
	if errors.As(err, &faults) {
		return c.show(http.StatusUnprocessableEntity, "configtext", textView{shell: c.shell("/providers"), Text: text, Base: p.Base,
			Faults: faults.list(), Back: c.to("/providers")})
	}
	return c.propose(p, err)
}

// propose keeps a proposal for who made it, and leads to its page.
func (c *call) propose(p Proposal, err error) error {
	if err != nil {
		return err
	}
	kept := draft{rand.Text(), c.me().Key, p, c.now().Add(uploadLife)}
	if err := c.put(c.ctx(), keptDraft, kept.ID, kept, kept.Until); err != nil {
		return err
	}
	c.v.GoTo("/providers/proposal", "draft", kept.ID)
	return nil
}

type proposalView struct {
	shell
	Draft    string
	Title    string
	Lines    []hunk
	Same     bool
	Verdicts []verdictRow
	Tested   bool
	Trial    *trialView
	Username string
	Comment  string
	Locked   []string
	MaySave  bool
	proof
	NoFocus bool
	Back    string
}

type verdictRow struct {
	Verdict
	Name string
}

// trialView is what became of a test sign-in, in words.
type trialView struct {
	Trial
	Why      string
	Outcomes []trialRow
}

type trialRow struct {
	TrialResult
	Said string
}

func (c *call) trialView(t Trial) *trialView {
	view := &trialView{Trial: t, Why: c.reason(t.Reason)}
	for _, o := range t.Outcomes {
		said := c.reason(o.Reason)
		if said == "" {
			said = c.word(kindText, o.Kind)
		}
		view.Outcomes = append(view.Outcomes, trialRow{o, said})
	}
	return view
}

// hunk is lines that differ, with what is around them.
type hunk struct{ Lines []revision.Line }

// aroundDiff is how many lines are shown before and after those that differ.
const aroundDiff = 3

// hunks leaves out what is far from any difference.
func hunks(lines []revision.Line) (list []hunk) {
	near := make([]bool, len(lines))
	for i, l := range lines {
		for j := max(0, i-aroundDiff); l.Op != revision.Same && j <= min(i+aroundDiff, len(lines)-1); j++ {
			near[j] = true
		}
	}
	for i, l := range lines {
		if near[i] && (i == 0 || !near[i-1]) {
			list = append(list, hunk{})
		}
		if near[i] {
			h := &list[len(list)-1]
			h.Lines = append(h.Lines, l)
		}
	}
	return list
}

// drafted is the proposal that the form or the address names.
func (c *call) drafted() (d draft, err error) {
	id := c.r.URL.Query().Get("draft")
	if c.r.PostForm != nil && id == "" {
		id = c.r.PostForm.Get("draft")
	}
	return c.draftOf(id)
}

func (c *call) draftOf(id string) (d draft, err error) {
	found, err := c.kept(c.ctx(), keptDraft, id, &d)
	if err == nil && (!found || d.Owner != c.me().Key || !c.now().Before(d.Until)) {
		err = errOldProposal
	}
	return d, err
}

func (c *call) showProposal(status int, view proposalView) error {
	d, err := c.drafted()
	if err != nil {
		return err
	}
	lines, err := c.Proposals.Diff(c.ctx(), d.Proposal)
	if err != nil {
		return err
	}
	state, err := c.Configuration.Versions(c.ctx(), 0, 1)
	if err != nil {
		return err
	}
	problem := view.Problem
	view.shell = c.shell("/providers")
	view.Problem = problem
	view.Draft, view.Lines, view.NoFocus, view.Back = d.ID, hunks(lines), true, c.to("/providers")
	if view.proof, err = c.proof(); err != nil {
		return err
	}
	view.Same, view.MaySave, view.Title = len(view.Lines) == 0, len(state) > 0, c.titleOf(d.Proposal)
	return c.show(status, "proposal", view)
}

func (c *call) titleOf(p Proposal) string {
	switch {
	case p.Remove:
		return c.v.Text("admin.proposal.remove", p.Provider)
	case p.Restore > 0:
		return c.v.Text("admin.proposal.restore", p.Restore)
	case p.Provider != "":
		return c.v.Text("admin.proposal.provider", p.Provider)
	}
	return c.v.Text("admin.proposal.text")
}

func (c *call) testProposal() error {
	d, err := c.drafted()
	if err != nil {
		return err
	}
	c.slow()
	list, err := c.Proposals.Test(c.ctx(), d.Proposal)
	if err != nil {
		return err
	}
	view := proposalView{Tested: true}
	for _, v := range list {
		view.Verdicts = append(view.Verdicts, verdictRow{v, c.word(verdictText, v.Verdict)})
	}
	return c.showProposal(http.StatusOK, view)
}

func (c *call) tryProposal() error {
	d, err := c.drafted()
	if err != nil {
		return err
	}
	username, password := strings.TrimSpace(c.r.PostForm.Get("username")), c.r.PostForm.Get(passwordField)
	if password == "" { // it does not come along when a code is asked for in between
		view := proposalView{Username: username}
		view.Problem = c.v.Text("signin.empty")
		return c.showProposal(http.StatusUnprocessableEntity, view)
	}
	c.slow()
	t, err := c.Proposals.Try(c.ctx(), d.Proposal, c.actor(), username, authn.Secret(password))
	if err != nil {
		return err
	}
	return c.showProposal(http.StatusOK, proposalView{Trial: c.trialView(t), Username: username})
}

func (c *call) saveProposal() error {
	d, err := c.drafted()
	if err != nil {
		return err
	}
	c.slow()
	comment := strings.TrimSpace(c.r.PostForm.Get("comment"))
	_, err = c.Proposals.Save(c.ctx(), d.Proposal, c.actor(), comment, c.r.PostForm.Get("force") == "true")
	var locked LockedOut
	if errors.As(err, &locked) {
		return c.showProposal(http.StatusConflict, proposalView{Locked: locked, Comment: comment})
	}
	if mendable(err) {
		view := proposalView{Comment: comment}
		view.Problem = c.told(err)
		return c.showProposal(http.StatusConflict, view)
	}
	if err != nil {
		return err
	}
	if _, err := c.Keeper.Drop(c.ctx(), keptDraft, d.ID); err != nil { // it is saved, and ends by itself
		c.Portal.Log.Warn("admin: a proposal that was saved is still kept", "id", c.v.ID, "error", err)
	}
	c.v.GoTo("/providers", "notice", "applied")
	return nil
}

type versionsView struct {
	shell
	Versions
	NextPage string
	Editable bool
	Newest   int64
	InForce  int64 // on the node that answers
}

func (c *call) showVersions() error {
	list, err := c.versions(struct{}{})
	if err != nil {
		return err
	}
	newest, err := c.Configuration.Versions(c.ctx(), 0, 1)
	if err != nil {
		return err
	}
	view := versionsView{shell: c.shell("/providers"), Versions: list, InForce: c.Configuration.InForce(), Editable: c.role >= Administrator}
	if len(newest) > 0 {
		view.Newest = newest[0].Number
	}
	if list.Next != "" {
		view.NextPage = c.to("/providers/versions", "cursor", list.Next)
	}
	return c.show(http.StatusOK, "versions", view)
}
