package admin

import (
	"cmp"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
)

// Record is a line of the audit.
type Record struct {
	Seq         int64     `json:"seq" doc:"place in the chain"`
	Time        time.Time `json:"time"`
	ID          string    `json:"id" doc:"correlation id"`
	Action      string    `json:"action"`
	Actor       string    `json:"actor" doc:"who did it, where that is not the user"`
	Environment string    `json:"environment"`
	Username    string    `json:"username" doc:"as it was typed"`
	Provider    string    `json:"provider"`
	Subject     string    `json:"subject"`
	ITUser      string    `json:"it_user"`
	Kind        string    `json:"kind" doc:"ok, or the kind of refusal"`
	Reason      string    `json:"reason"`
	Factors     string    `json:"factors" doc:"what was proven, joined by commas"`
	Source      string    `json:"source"`
	Duration    float64   `json:"duration_seconds"`
	Detail      string    `json:"detail"`
}

// RecordPage is a page of the audit, newest first.
type RecordPage struct {
	Records []Record `json:"records"`
	Next    string   `json:"next,omitempty" doc:"the cursor of the page that follows; a page may be empty and have one"`
	Behind  int64    `json:"behind" doc:"records that wait to be indexed; only the newest of them were looked at"`
}

// Story is what happened under one correlation id, in words.
type Story struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Steps    []Step   `json:"steps" doc:"checks, in their order"`
	Happened string   `json:"happened" doc:"why it was refused"`
	Advice   string   `json:"advice" doc:"what to do about it"`
	Records  []Record `json:"records" doc:"all under the id, oldest first"`
	Near     []Record `json:"near" doc:"what else the same person did about that time, newest first"`
}

// Step is one check of a sign-in.
type Step struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome" enum:"passed,ended,not reached"`
	Text    string `json:"text"`
}

func recordOf(r audit.Row) Record {
	return Record{r.Seq, r.Time, r.ID, r.Action, r.Actor, r.Environment, r.Username, r.Provider, r.Subject, r.ITUser, r.Kind, r.Reason,
		r.Factors, r.Source, r.Duration.Seconds(), r.Detail}
}

func recordsOf(rows []audit.Row) []Record {
	list := []Record{}
	for _, r := range rows {
		list = append(list, recordOf(r))
	}
	return list
}

// auditFilter are the parameters of a search.
func auditFilter() []parameter {
	return append([]parameter{
		{name: "user", doc: "as it was typed, or of the IT user, in upper or lower case; name* finds how it begins"},
		{name: "action", doc: "such as sign-in"}, {name: "environment"}, {name: "provider"},
		{name: "kind", doc: "the outcome", enum: kinds()},
		{name: "id", doc: "correlation id"}, {name: "from", doc: "RFC 3339"}, {name: "until", doc: "RFC 3339"},
	}, paging...)
}

// kinds are the outcomes that can be searched for.
func kinds() []string {
	list := []string{authn.OK.String(), insight.Refused, insight.Throttled}
	for _, k := range authn.Kinds() {
		list = append(list, k.String())
	}
	return list
}

// pageTime is how a form's field for a time gives it; it is UTC.
const pageTime = "2006-01-02T15:04"

// auditQuery is what the address asks for.
func auditQuery(q url.Values) (insight.Query, error) {
	out := insight.Query{ID: strings.TrimSpace(q.Get("id")), User: strings.TrimSpace(q.Get("user")), Action: q.Get("action"),
		Environment: q.Get("environment"), Provider: q.Get("provider"), Kind: q.Get("kind"), Limit: limitOf(q.Get("limit"))}
	out.User, out.Prefix = strings.CutSuffix(out.User, "*")
	var err error
	if out.After, err = insight.ParsePlace(q.Get("cursor")); err != nil {
		return out, worded{invalid("query: cursor is none of ours"), "admin.problem.cursor", nil}
	}
	for name, to := range map[string]*time.Time{"from": &out.From, "until": &out.Until} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if *to, err = time.Parse(time.RFC3339, text); err != nil {
			*to, err = time.Parse(pageTime, text)
		}
		if err != nil {
			return out, worded{invalid("query: " + name + " is no time (RFC 3339)"), "admin.problem.time", []any{text}}
		}
	}
	return out, nil
}

func (c *call) search() (insight.Page, error) {
	q, err := auditQuery(c.r.URL.Query())
	if err != nil {
		return insight.Page{}, err
	}
	page, err := c.Insight.Search(c.ctx(), q)
	if errors.Is(err, insight.ErrQuery) {
		return page, worded{invalid(err.Error()), searchText(q), nil}
	}
	return page, unavailable(err)
}

// searchText is why a query makes no sense.
func searchText(q insight.Query) string {
	if q.Prefix && q.User == "" {
		return "admin.problem.prefix"
	}
	return "admin.problem.backwards"
}

// story tells what happened under a correlation id.
func (c *call) story(id string) (insight.Story, error) {
	story, err := c.Insight.Explain(c.ctx(), id, c.Messages)
	if errors.Is(err, insight.ErrNoRecord) {
		return story, errNoSuchThing
	}
	return story, unavailable(err)
}

func auditOperations() []operation {
	return []operation{
		op("GET", "/audit", "searchAudit", Viewer, "Search the audit, newest first", func(c *call, _ struct{}) (RecordPage, error) {
			page, err := c.search()
			return RecordPage{recordsOf(page.Records), page.Next.String(), page.Behind}, err
		}).with(func(o *operation) { o.query = auditFilter() }),
		op("GET", "/calls/{id}", "explainCall", Viewer, "Explain what happened under a correlation id, step by step",
			func(c *call, _ struct{}) (Story, error) {
				s, err := c.story(c.r.PathValue("id"))
				out := Story{ID: s.ID, Title: s.Title, Steps: []Step{}, Happened: s.Happened, Advice: s.Advice, Records: recordsOf(s.Records),
					Near: recordsOf(s.Near)}
				for _, step := range s.Steps {
					out.Steps = append(out.Steps, Step{step.Check, string(step.Outcome), step.Text})
				}
				return out, err
			}),
		op("GET", "/statistics", "statistics", Viewer, "Count sign-ins over time", (*call).statistics).
			with(func(o *operation) {
				o.query = []parameter{{name: "span", doc: "how far back", enum: slices.Collect(spanNames)}, {name: "environment"}, {name: "provider"}}
			}),
	}
}

// spans are how far back charts look.
var spans = []struct {
	name, text string
	long       time.Duration
}{{"6h", "admin.span.hours", 6 * time.Hour}, {"24h", "admin.span.day", 24 * time.Hour}, {"7d", "admin.span.week", 7 * 24 * time.Hour},
	{"30d", "admin.span.month", 30 * 24 * time.Hour}}

func spanNames(yield func(string) bool) {
	for _, s := range spans {
		if !yield(s.name) {
			return
		}
	}
}

// looked are the charts that the address asks for, and the name of their span.
func (c *call) looked() (insight.Overview, string, error) {
	q := c.r.URL.Query()
	span := spans[1]
	for _, s := range spans {
		if s.name == q.Get("span") {
			span = s
		}
	}
	look, err := insight.Look(c.ctx(), c.Counts, c.now().Add(-span.long), c.now(), q.Get("environment"), q.Get("provider"))
	return look, span.name, unavailable(err)
}

// Statistics are sign-ins over time.
type Statistics struct {
	Granted   int64   `json:"granted"`
	Refused   int64   `json:"refused" doc:"throttled ones too"`
	Throttled int64   `json:"throttled"`
	Charts    []Graph `json:"charts"`
}

// Graph is a chart's numbers.
type Graph struct {
	ID     string    `json:"id"`
	Title  string    `json:"title"`
	Unit   string    `json:"unit" doc:"s: seconds"`
	From   time.Time `json:"from"`
	Span   float64   `json:"span_seconds" doc:"of one value"`
	Series []Line    `json:"series"`
}

// Line is one series of a chart.
type Line struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values" doc:"null: nothing to tell"`
}

func (c *call) statistics(struct{}) (Statistics, error) {
	look, _, err := c.looked()
	return StatisticsOf(look), err
}

// StatisticsOf are the numbers of charts, for programs.
func StatisticsOf(look insight.Overview) Statistics {
	out := Statistics{Granted: look.Granted, Refused: look.Refused, Throttled: look.Throttled, Charts: []Graph{}}
	for _, chart := range charts(look) {
		g := Graph{ID: chart.ID, Title: chart.Title, Unit: chart.Unit, From: chart.From, Span: chart.Span.Seconds(), Series: []Line{}}
		for _, s := range chart.Series {
			line := Line{Name: s.Name, Values: []*float64{}}
			for _, v := range s.Values {
				if v == v { // a gap is not a number, which JSON has no word for
					line.Values = append(line.Values, &v)
				} else {
					line.Values = append(line.Values, nil)
				}
			}
			g.Series = append(g.Series, line)
		}
		out.Charts = append(out.Charts, g)
	}
	return out
}

func charts(o insight.Overview) []insight.Chart {
	return []insight.Chart{o.SignIns, o.Failures, o.Latency, o.Limits}
}

func auditPages() []page {
	return []page{
		{method: "GET", path: "/audit", role: Viewer, act: (*call).showAudit},
		{method: "GET", path: "/audit/explain", role: Viewer, act: (*call).showStory},
		{method: "GET", path: "/charts", role: Viewer, act: (*call).showCharts},
	}
}

type auditView struct {
	shell
	User, ID, From, Until                   string
	Kinds, Actions, Environments, Providers []option
	More                                    bool // than what one searches for at first
	Records                                 []recordLine
	Next, First                             string
	Behind                                  int64
	Chain                                   verificationView
}

// recordLine is a record in a table.
type recordLine struct {
	audit.Record
	Good                 bool
	Who                  string
	ActionName, KindName string
	Proven               string
	Explain              string // address
}

func (c *call) line(r audit.Row) recordLine {
	l := recordLine{Record: r.Record, Good: r.Kind == authn.OK.String(), Who: r.ITUser, Explain: c.to("/audit/explain", "id", r.ID)}
	l.ActionName, l.KindName, l.Proven = c.action(r.Action), c.word(kindText, r.Kind), c.factors(r.Factors)
	switch {
	case l.Good && signedIn(r.Record):
		l.KindName = c.v.Text("admin.kind.granted")
	case l.Good:
		l.KindName = c.v.Text("admin.kind.done")
	}
	if l.Who == "" {
		l.Who = r.Username
	}
	return l
}

// signedIn tells whether a record is about a sign-in; everything else is done, not granted.
func signedIn(r audit.Record) bool { return insight.Class{Action: r.Action}.SignIn() }

func (c *call) lines(rows []audit.Row) (list []recordLine) {
	for _, r := range rows {
		list = append(list, c.line(r))
	}
	return list
}

// options are a choice of codes, the first of which stands for all; called gives each its name, nil: it is one.
func (c *call) options(codes []string, chosen string, called func(string) string) []option {
	list := []option{{"", c.v.Text("admin.any"), chosen == ""}}
	for _, code := range codes {
		name := code
		if called != nil {
			name = called(code)
		}
		list = append(list, option{code, name, code == chosen})
	}
	return list
}

// actions are what can be searched for, by their names; also what was asked for, whatever it is.
func (c *call) actions(chosen string) []option {
	codes := slices.Collect(maps.Keys(actionText))
	codes[slices.Index(codes, accountChanged)] = audit.BreakGlassChanged
	for _, signIn := range []string{audit.SignIn, audit.PortalSignIn, audit.PasswordChanged} {
		codes = append(codes, audit.BreakGlass+signIn)
	}
	if chosen != "" && !slices.Contains(codes, chosen) {
		codes = append(codes, chosen)
	}
	list := c.options(codes, chosen, c.action)
	slices.SortFunc(list[1:], func(a, b option) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list
}

func (c *call) providerNames() (names []string) {
	for _, p := range c.Accounts.Providers() {
		names = append(names, p.ID)
	}
	return names
}

func (c *call) showAudit() error {
	q := c.r.URL.Query()
	view := auditView{shell: c.shell("/audit"), User: q.Get("user"), ID: q.Get("id"), From: q.Get("from"), Until: q.Get("until"),
		Kinds:   c.options(kinds(), q.Get("kind"), func(k string) string { return c.word(kindText, k) }),
		Actions: c.actions(q.Get("action")), Environments: c.options(c.Environments, q.Get("environment"), nil),
		Providers: c.options(c.providerNames(), q.Get("provider"), nil),
		More:      q.Get("id")+q.Get("from")+q.Get("until")+q.Get("action") != ""}
	page, err := c.search()
	if mendable(err) {
		view.Problem = c.told(err)
		return c.show(http.StatusUnprocessableEntity, "audit", view)
	}
	if err != nil {
		return err
	}
	view.Records, view.Behind = c.lines(page.Records), page.Behind
	keep := []string{}
	for _, name := range []string{"user", "id", "action", "environment", "provider", "kind", "from", "until"} {
		keep = append(keep, name, q.Get(name))
	}
	if next := page.Next.String(); next != "" {
		view.Next = c.to("/audit", append(keep, "cursor", next)...)
	}
	if q.Get("cursor") != "" {
		view.First = c.to("/audit", keep...)
	}
	if view.Chain, err = c.verificationView(); err != nil {
		return err
	}
	return c.show(http.StatusOK, "audit", view)
}

type storyView struct {
	shell
	ID, Title, Happened, Advice string
	Steps                       []stepRow
	Of                          recordLine
	Message                     *insight.Message
	Lines, Around               []recordLine
	Person                      string // address of the IT user
}

type stepRow struct {
	Outcome                 insight.Outcome
	Check, Said, Text, Code string // Said is the outcome for those who do not see its sign
}

func (c *call) showStory() error {
	story, err := c.story(strings.TrimSpace(c.r.URL.Query().Get("id")))
	if err != nil {
		return err
	}
	view := storyView{shell: c.shell("/audit"), ID: story.ID, Title: c.titleOfStory(story.Of), Of: c.line(audit.Row{Record: story.Of}),
		Message: story.Message, Lines: c.lines(story.Records), Around: c.lines(story.Near)}
	for _, s := range story.Steps {
		view.Steps = append(view.Steps, c.step(s, story.Of))
	}
	if !view.Of.Good {
		view.Happened, view.Advice = c.refused(story.Of), c.advice(story.Of.Reason)
	}
	for _, r := range story.Records {
		if r.ITUser != "" {
			view.Person = c.userLink(r.ITUser)
		}
	}
	return c.show(http.StatusOK, "explain", view)
}

func (c *call) step(s insight.Step, of audit.Record) stepRow {
	row := stepRow{s.Outcome, c.word(checkText, s.Check), c.word(outcomeText, string(s.Outcome)), "", ""}
	switch {
	case s.Outcome == insight.Ended:
		row.Text, row.Code = c.refused(of), of.Reason
	case s.Said != "":
		row.Text = c.v.Text(saidText[s.Said], s.About)
	}
	return row
}

// refused is why.
func (c *call) refused(r audit.Record) string {
	if why := c.reason(r.Reason); why != "" {
		return why
	}
	return sentence(c.word(kindText, r.Kind))
}

// titleOfStory is a record as one sentence.
func (c *call) titleOfStory(r audit.Record) string {
	title, who := c.action(r.Action), r.ITUser
	if who == "" {
		who = r.Username
	}
	for _, part := range []struct{ key, of string }{{"admin.explain.of", who}, {"admin.explain.typed", otherName(r)},
		{"admin.explain.at", r.Environment}, {"admin.explain.by", r.Actor}} {
		if part.of != "" {
			title += c.v.Text(part.key, part.of)
		}
	}
	switch {
	case r.Kind != authn.OK.String():
		return c.v.Text("admin.explain.refused", title)
	case signedIn(r):
		return c.v.Text("admin.explain.granted", title)
	}
	return c.v.Text("admin.explain.done", title)
}

// otherName is the name that was typed, where it is not that of the IT user.
func otherName(r audit.Record) string {
	if r.ITUser == "" || authn.FoldName(r.Username) == authn.FoldName(r.ITUser) {
		return ""
	}
	return r.Username
}

type chartsView struct {
	shell
	Granted, Refused, Throttled int64
	Charts                      []chartView
	Spans                       []option
	Environments, Providers     []option
}

type chartView struct {
	Title string
	SVG   template.HTML
	Head  []string
	Rows  [][]string
}

var chartText = map[string]string{"sign-ins": "admin.chart.signins", "failures": "admin.chart.failures", "latency": "admin.chart.latency",
	"throttled": "admin.chart.throttled"}

// drawn is a chart as a page shows it. The drawing is insight's own, with every text escaped.
func (c *call) drawn(chart insight.Chart) chartView {
	if key, ok := chartText[chart.ID]; ok {
		chart.Title = c.v.Text(key)
	}
	chart.Series = slices.Clone(chart.Series)
	for i, s := range chart.Series {
		chart.Series[i].Name = c.series(s.Name)
	}
	chart.Say = func(name string, of ...any) string { return c.v.Text(chartWords[name], of...) }
	head, rows := chart.Table()
	return chartView{chart.Title, template.HTML(chart.SVG()), head, rows}
}

func (c *call) series(name string) string {
	if _, ok := seriesText[name]; ok {
		return c.word(seriesText, name)
	}
	return c.word(kindText, name)
}

func (c *call) showCharts() error {
	look, span, err := c.looked()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	view := chartsView{shell: c.shell("/charts"), Granted: look.Granted, Refused: look.Refused, Throttled: look.Throttled,
		Environments: c.options(c.Environments, q.Get("environment"), nil),
		Providers:    c.options(c.providerNames(), q.Get("provider"), nil)}
	for _, s := range spans {
		view.Spans = append(view.Spans, option{s.name, c.v.Text(s.text), s.name == span})
	}
	for _, chart := range charts(look) {
		view.Charts = append(view.Charts, c.drawn(chart))
	}
	return c.show(http.StatusOK, "charts", view)
}
