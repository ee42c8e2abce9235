package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/itusers"
)

// Ending is a certificate or a secret, and when it ends.
type Ending struct {
	What  string    `json:"what"`
	Where string    `json:"where" doc:"the provider, or the section of the configuration"`
	At    time.Time `json:"at"`
}

// Endings are all that is known of, the next one first.
type Endings struct {
	Endings []Ending `json:"endings"`
}

// Sources are where IT users, or their ids, come from.
type Sources interface {
	// List are all of them, in the order of the configuration.
	List() []SourceInfo
	// Runs are the newest runs of a source, newest first.
	Runs(ctx context.Context, source string, limit int) ([]itusers.Run, error)
	// Run runs a source. It may take minutes.
	Run(ctx context.Context, source string, o itusers.RunOptions) (itusers.Run, error)
}

// Coverer finds out who could not sign in. It may take minutes.
type Coverer interface {
	Cover(ctx context.Context, tell func(itusers.Progress), take func(itusers.Gap) error) (itusers.Coverage, error)
}

// SourceInfo is a source as it is configured.
type SourceInfo struct {
	ID       string        `json:"id"`
	Kind     string        `json:"kind"`
	Owns     string        `json:"owns" doc:"nothing, ids or users: who is missing from it is deactivated"`
	Interval time.Duration `json:"-"`
	Every    float64       `json:"interval_seconds" doc:"0: only when it is asked for"`
}

// Minutes is how often it runs by itself; 0: not at all.
func (s SourceInfo) Minutes() int { return int(s.Interval.Minutes()) }

// SourceList are all sources, each with its newest runs.
type SourceList struct {
	Sources []SourceRuns `json:"sources"`
}

// SourceRuns is a source with its newest runs.
type SourceRuns struct {
	SourceInfo
	Runs []RunInfo `json:"runs"`
	Job  string    `json:"job" doc:"the newest job that an administrator began; empty: none"`
	Busy bool      `json:"busy" doc:"that job is under way"`
}

// RunInfo is a run of a source.
type RunInfo struct {
	ID      string     `json:"id"`
	Actor   string     `json:"actor"`
	Dry     bool       `json:"dry_run"`
	State   string     `json:"state" enum:"running,done,refused,failed"`
	Reason  string     `json:"reason"`
	Error   string     `json:"error"`
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended"`
	Summary string     `json:"summary"`
	Counted int        `json:"counted" doc:"changes that count against the limit"`
	Allowed int        `json:"allowed" doc:"the limit"`
	Rows    []RunLine  `json:"rows" doc:"the first 200; those that want an eye first"`

	Counts itusers.RunReport `json:"-"` // without rows: what Summary says, for pages
}

// RunLine is what a run does to one user.
type RunLine struct {
	Action   string   `json:"action"`
	Username string   `json:"username"`
	What     []string `json:"what"`
	Reason   string   `json:"reason"`
}

// RunRequest says how a source is to be run.
type RunRequest struct {
	Dry   bool `json:"dry_run" doc:"report only"`
	Allow int  `json:"allow,omitempty" doc:"so many changes are allowed this time, whatever the limit"`
	Adopt bool `json:"adopt,omitempty" doc:"know users by their names, also where the source now has another key for one"`
}

// CoverageReport is who could not sign in, and why.
type CoverageReport struct {
	Accounts int       `json:"accounts" doc:"looked at"`
	Fine     int       `json:"fine"`
	Refused  int       `json:"refused"`
	ITUsers  int       `json:"it_users" doc:"active ones"`
	Nobody   int       `json:"nobody" doc:"to whom no account leads"`
	NoID     int       `json:"missing_id"`
	Gaps     []GapLine `json:"gaps" doc:"the first 1000"`
}

// GapLine is one finding.
type GapLine struct {
	Class        string   `json:"class" enum:"refused,nobody,missing_id"`
	Provider     string   `json:"provider"`
	Account      string   `json:"account"`
	ITUser       string   `json:"it_user"`
	Name         string   `json:"name"`
	Environments []string `json:"environments" doc:"where; all where it is empty"`
	Reason       string   `json:"reason"`
	Text         string   `json:"text"`
}

// BlockList are those who have to wait after failed attempts.
type BlockList struct {
	Blocks []Waiting `json:"blocks" doc:"the longest first"`
	All    int       `json:"all" doc:"how many there are"`
}

// Waiting is somebody, or an address, who has to wait.
type Waiting struct {
	Key      string    `json:"key"`
	What     string    `json:"what" enum:"subject,name,token,factor,address"`
	Provider string    `json:"provider"`
	Of       string    `json:"of" doc:"subject, user name or network"`
	ITUser   string    `json:"it_user"`
	Failures int       `json:"failures"`
	Last     time.Time `json:"last"`
	Until    time.Time `json:"until"`
}

// Unblock names what is to be forgotten: the key of a block.
type Unblock struct {
	Key string `json:"key"`
}

func (c *call) blocked(struct{}) (BlockList, error) {
	list, all, err := c.Blocks.List(c.ctx(), maxPage)
	out := BlockList{Blocks: []Waiting{}, All: all}
	for _, b := range list {
		out.Blocks = append(out.Blocks, Waiting(b))
	}
	return out, unavailable(err)
}

// forget forgets the failed attempts under a key.
func (c *call) forget(key string) (int, error) {
	counted, err := c.Blocks.UnlockKey(c.ctx(), key, c.signed(audit.Record{}))
	return len(counted), err
}

func (c *call) endings(struct{}) (Endings, error) {
	list := c.Ends(c.ctx())
	slices.SortFunc(list, func(a, b Ending) int { return a.At.Compare(b.At) })
	return Endings{append([]Ending{}, list...)}, nil
}

func runOf(r itusers.Run) RunInfo {
	out := RunInfo{ID: r.ID, Actor: r.Actor, Dry: r.Dry, State: string(r.State), Reason: r.Reason, Error: r.Error, Started: r.Started,
		Summary: r.Report.Summary(),
		Counted: r.Report.Counted, Allowed: r.Report.Allowed, Rows: []RunLine{}}
	if !r.Ended.IsZero() {
		out.Ended = &r.Ended
	}
	out.Counts, out.Counts.Rows = r.Report, nil
	for _, row := range r.Report.Rows[:min(len(r.Report.Rows), shownRows)] {
		out.Rows = append(out.Rows, RunLine{string(row.Action), row.Username, append([]string{}, row.What...), row.Reason})
	}
	return out
}

// shownRuns is how many runs of a source are shown.
const shownRuns = 5

func (c *call) sources(struct{}) (SourceList, error) {
	out := SourceList{Sources: []SourceRuns{}}
	for _, s := range c.Sources.List() {
		s.Every = s.Interval.Seconds()
		one := SourceRuns{SourceInfo: s, Runs: []RunInfo{}}
		runs, err := c.Sources.Runs(c.ctx(), s.ID, shownRuns)
		if err != nil {
			return out, unavailable(err)
		}
		for _, r := range runs {
			one.Runs = append(one.Runs, runOf(r))
		}
		last, err := c.lastJob(Job{Kind: jobSource, Source: s.ID}.subject())
		if err != nil {
			return out, err
		}
		one.Job, one.Busy = last.ID, last.State == jobRunning
		out.Sources = append(out.Sources, one)
	}
	return out, nil
}

// The kinds of jobs.
const (
	jobSource   = "source"
	jobCoverage = "coverage"
	jobAudit    = "audit"
)

// runSource begins a run of a source.
func (c *call) runSource(id string, in RunRequest) (Job, error) {
	if !slices.ContainsFunc(c.Sources.List(), func(s SourceInfo) bool { return s.ID == id }) {
		return Job{}, errNoSuchThing
	}
	o := itusers.RunOptions{Dry: in.Dry, Allow: in.Allow, Adopt: in.Adopt, Actor: c.actor()}
	return c.start(Job{Kind: jobSource, Source: id}, func(ctx context.Context, tell func(itusers.Progress), j *Job) error {
		o.Progress = tell
		run, err := c.Sources.Run(ctx, id, o)
		if run.Ended.IsZero() { // it has not even begun: another run is under way, or the store is silent
			return err
		}
		info := runOf(run) // also of one that was refused, or failed: it says so itself
		j.Run = &info
		return nil
	})
}

// maxGaps is how many findings of a survey are told.
const maxGaps = 1000

// cover begins a survey.
func (c *call) cover(struct{}) (Job, error) {
	return c.start(Job{Kind: jobCoverage}, func(ctx context.Context, tell func(itusers.Progress), j *Job) error {
		report, err := c.survey(ctx, tell)
		if err == nil {
			j.Coverage = &report
		}
		return err
	})
}

func (a *Admin) survey(ctx context.Context, tell func(itusers.Progress)) (CoverageReport, error) {
	out := CoverageReport{Gaps: []GapLine{}}
	sum, err := a.Coverage.Cover(ctx, tell, func(g itusers.Gap) error {
		if len(out.Gaps) < maxGaps {
			out.Gaps = append(out.Gaps, GapLine{string(g.Class), g.Provider, g.Account, g.ITUser, g.Name, append([]string{}, g.Environments...),
				g.Reason, g.Text})
		}
		return nil
	})
	out.Accounts, out.Fine, out.Refused, out.ITUsers, out.Nobody, out.NoID = sum.Accounts, sum.Fine, sum.Refused, sum.ITUsers, sum.Nobody,
		sum.NoID
	return out, err
}

func healthOperations() []operation {
	return []operation{
		op("GET", "/blocks", "listBlocks", Viewer, "List who has to wait after failed attempts", (*call).blocked),
		op("POST", "/blocks/forget", "forgetBlock", Operator, "Forget the failed attempts under a key",
			func(c *call, in Unblock) (Count, error) { return countOrError(c.forget(in.Key)) }),
		op("GET", "/endings", "listEndings", Viewer, "List certificates and secrets by when they end", (*call).endings),
		op("GET", "/sources", "listSources", Viewer, "List sources of IT users with their newest runs", (*call).sources),
		op("POST", "/sources/{id}/runs", "runSource", Administrator, "Begin a run of a source, or a look at what one would change",
			func(c *call, in RunRequest) (Job, error) { return c.begun(c.runSource(c.r.PathValue("id"), in)) }).with(accepted),
		op("POST", "/coverage", "cover", Viewer, "Begin to find out who could not sign in, and why; changes nothing",
			func(c *call, in struct{}) (Job, error) { return c.begun(c.cover(in)) }).
			with(accepted).with(func(o *operation) { o.free = true }),
		op("GET", "/jobs/{id}", "showJob", Viewer, "Tell how far a job is, and what came of it; it is kept for a week",
			func(c *call, _ struct{}) (Job, error) { return c.job(c.r.PathValue("id")) }),
	}
}

func healthPages() []page {
	return []page{
		{method: "GET", path: "/blocked", role: Viewer, act: (*call).showBlocked},
		{method: "POST", path: "/blocked/forget", role: Operator, title: "admin.resume.forget", act: (*call).forgetBlock},
		{method: "GET", path: "/endings", role: Viewer, act: (*call).showEndings},
		{method: "GET", path: "/sources", role: Viewer, act: func(c *call) error { return c.showSources(http.StatusOK, sourcesView{}) }},
		{method: "POST", path: "/sources/run", role: Administrator, title: "admin.resume.source", act: (*call).runSourceNow},
		{method: "GET", path: "/coverage", role: Viewer, act: (*call).showLastCoverage},
		{method: "POST", path: "/coverage", role: Viewer, free: true, title: "admin.coverage.title",
			act: func(c *call) error { return c.toJob(c.cover(struct{}{})) }},
		{method: "GET", path: "/jobs", role: Viewer, act: (*call).showJob},
	}
}

type blockedView struct {
	shell
	BlockList
	Editable bool
}

var waitingText = map[string]string{"subject": "admin.blocked.subject", "name": "admin.blocked.name", "token": "admin.blocked.token",
	"factor": "admin.blocked.factor", "address": "admin.blocked.address"}

func (c *call) showBlocked() error {
	list, err := c.blocked(struct{}{})
	if err != nil {
		return err
	}
	for i, b := range list.Blocks {
		list.Blocks[i].What = c.v.Text(waitingText[b.What])
	}
	return c.show(http.StatusOK, "blocked", blockedView{c.shell("/blocked"), list, c.role >= Operator})
}

func (c *call) forgetBlock() error {
	if _, err := c.forget(c.r.PostForm.Get("key")); err != nil {
		return err
	}
	c.v.GoTo("/blocked", "notice", "unlocked")
	return nil
}

// Endings within these times are worth a colour.
const (
	day    = 24 * time.Hour
	atHand = 7 * day
	soon   = 30 * day
)

type endingsView struct {
	shell
	Endings []endingRow
}

type endingRow struct {
	Ending
	Name         string
	Days         int
	Over, AtHand bool
	Soon         bool
}

func (c *call) endingRows() (rows []endingRow, err error) {
	list, err := c.endings(struct{}{})
	for _, e := range list.Endings {
		left := e.At.Sub(c.now())
		rows = append(rows, endingRow{e, c.ending(e.What), int(left / day), left <= 0, left > 0 && left <= atHand, left > atHand && left <= soon})
	}
	return rows, err
}

func (c *call) showEndings() error {
	rows, err := c.endingRows()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, "endings", endingsView{c.shell("/endings"), rows})
}

type sourcesView struct {
	shell
	Sources  []sourceView
	Done     *runView // the run of a job that has just ended
	Of       string
	Editable bool
}

type sourceView struct {
	SourceRuns
	Newest []runView
}

// runView is a run in words.
type runView struct {
	RunInfo
	StateName, Said, By, Why, Advice string
	Users                            []runLine
}

type runLine struct {
	RunLine
	ActionName, Why string
	Changes         []string
}

func (c *call) runView(r RunInfo) runView {
	view := runView{RunInfo: r, StateName: c.word(runStateText, r.State), By: c.word(actorText, r.Actor), Why: c.reason(r.Reason),
		Advice: c.advice(r.Reason)}
	if r.Ended != nil {
		view.Said = c.summary(r.Counts)
	}
	for _, row := range r.Rows {
		line := runLine{RunLine: row, ActionName: c.word(rowActionText, row.Action), Why: c.reason(row.Reason)}
		if row.Reason == "" { // of a refusal it would be the reason in other words
			line.Changes = c.changes(row.What)
		}
		view.Users = append(view.Users, line)
	}
	return view
}

func (c *call) showSources(status int, view sourcesView) error {
	list, err := c.sources(struct{}{})
	if err != nil {
		return err
	}
	view.shell, view.Editable = c.shell("/sources"), c.role >= Administrator
	for _, s := range list.Sources {
		one := sourceView{SourceRuns: s}
		for _, r := range s.Runs {
			one.Newest = append(one.Newest, c.runView(r))
		}
		view.Sources = append(view.Sources, one)
	}
	return c.show(status, "sources", view)
}

func (c *call) runSourceNow() error {
	form := c.r.PostForm
	allow, _ := strconv.Atoi(strings.TrimSpace(form.Get("allow")))
	return c.toJob(c.runSource(form.Get("id"), RunRequest{Dry: form.Get("dry") == "true", Allow: allow}))
}

type coverageView struct {
	shell
	Job    Job
	Why    string // it failed
	Advice string
	Report *CoverageReport
	Gaps   []gapRow
}

// gapRow is a finding in words. What the provider says of it itself is only there where an account is refused.
type gapRow struct {
	GapLine
	Why string
}

// showLastCoverage shows what the last survey has found.
func (c *call) showLastCoverage() error {
	last, err := c.lastJob(Job{Kind: jobCoverage}.subject())
	if err != nil {
		return err
	}
	return c.showCoverage(last)
}

func (c *call) showCoverage(j Job) error {
	view := coverageView{shell: c.shell("/sources"), Job: j, Why: c.reason(j.Reason), Advice: c.advice(j.Reason), Report: j.Coverage}
	if j.Coverage == nil {
		return c.show(http.StatusOK, "coverage", view)
	}
	for _, g := range j.Coverage.Gaps {
		row := gapRow{g, c.reason(g.Reason)}
		if g.Class == string(itusers.GapNobody) {
			row.Text = ""
			if row.Why = c.v.Text("admin.coverage.leads", row.Why); g.Reason == itusers.ReasonNoAccount {
				row.Why = c.v.Text("admin.coverage.noaccount")
			}
		}
		view.Gaps = append(view.Gaps, row)
	}
	return c.show(http.StatusOK, "coverage", view)
}

type overviewView struct {
	shell
	Counts    itusers.Counts
	Providers []ProviderState
	Chart     chartView
	Look      insight.Overview
	Blocked   int
	Soon      []endingRow
	Broken    int
	Trouble   string
	Tampered  string // address of what is wrong with the audit
}

// overview is what one looks at first: what needs an eye, then how it goes.
func (c *call) overview() error {
	view := overviewView{shell: c.shell("/")}
	var err error
	if view.Counts, err = c.Count(c.ctx()); err != nil {
		return unavailable(err)
	}
	state, err := c.Configuration.Look(c.ctx())
	if err != nil {
		return unavailable(err)
	}
	view.Providers, view.Trouble = state.Providers, state.Trouble
	chain, err := c.Verifier.Verdict(c.ctx())
	if err != nil {
		return unavailable(err)
	}
	if chain != nil && !chain.Holds {
		view.Tampered = c.to("/audit/verification")
	}
	for _, p := range state.Providers {
		if !p.Works {
			view.Broken++
		}
	}
	if view.Look, err = insight.Look(c.ctx(), c.Counts, c.now().Add(-day), c.now(), "", ""); err != nil {
		return unavailable(err)
	}
	view.Chart = c.drawn(view.Look.SignIns)
	if _, view.Blocked, err = c.Blocks.List(c.ctx(), 1); err != nil {
		return unavailable(err)
	}
	rows, err := c.endingRows()
	for _, r := range rows {
		if r.Over || r.AtHand || r.Soon {
			view.Soon = append(view.Soon, r)
		}
	}
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, "overview", view)
}
