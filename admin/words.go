package admin

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/docs"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/portal"
)

// The API, the commands and the audit have codes, in English; here is what pages call them in the reader's language.

var runStateText = map[string]string{"running": "admin.run.running", "done": "admin.run.done", "refused": "admin.run.refused",
	"failed": "admin.run.failed"}

var rowActionText = map[string]string{"refuse": "admin.row.refuse", "deactivate": "admin.row.deactivate", "change": "admin.row.change",
	"add": "admin.row.add"}

var stageText = map[string]string{itusers.StageSource: "admin.stage.source", itusers.StageUsers: "admin.stage.users",
	itusers.StageWriting: "admin.stage.writing", stageVerifying: "admin.stage.verifying", itusers.StageSurveyed: "admin.stage.surveyed"}

var actorText = map[string]string{"schedule": "admin.actor.schedule"}

var kindText = map[string]string{authn.OK.String(): "admin.kind.ok", insight.Refused: "admin.kind.refused",
	insight.Throttled: "admin.kind.throttled", authn.Internal.String(): "admin.kind.internal",
	authn.BadCredentials.String(): "admin.kind.credentials", authn.CodeRequired.String(): "admin.kind.code",
	authn.NotEnrolled.String(): "admin.kind.enrolled", authn.Locked.String(): "admin.kind.locked",
	authn.NotMapped.String(): "admin.kind.mapped", authn.Untrusted.String(): "admin.kind.untrusted",
	authn.Unavailable.String(): "admin.kind.unavailable", authn.Unsuitable.String(): "admin.kind.unsuitable"}

var factorText = map[string]string{authn.FactorPassword: "admin.factor.password", authn.FactorTOTP: "admin.factor.totp",
	authn.FactorRecovery: "admin.factor.recovery", authn.FactorFrontEnd: "admin.factor.frontend", authn.FactorIdP: "admin.factor.idp",
	authn.FactorIdPMFA: "admin.factor.idpmfa", authn.FactorToken: "admin.factor.token"}

var outcomeText = map[string]string{string(insight.Passed): "admin.step.passed", string(insight.Ended): "admin.step.ended",
	string(insight.NotReached): "admin.step.unreached"}

var verdictText = map[string]string{"ok": "admin.verdict.ok", "warn": "admin.verdict.warn", "fail": "admin.verdict.fail"}

// accountChanged is audit.BreakGlassChanged as actionText has it.
var accountChanged = strings.TrimPrefix(audit.BreakGlassChanged, audit.BreakGlass)

// actionText is what the audit tells of, without audit.BreakGlass before it.
var actionText = map[string]string{
	audit.SignIn: "admin.action.signin", audit.IntegratedSignIn: "admin.action.integrated", audit.PortalSignIn: "admin.action.portal",
	audit.PasswordChanged: "admin.action.password", audit.Activation: "admin.action.activation",
	audit.Deactivation: "admin.action.deactivation", audit.CallerRefused: "admin.action.caller",
	audit.UsersImported: "admin.action.imported", audit.UsersSynced: "admin.action.synced", audit.UserAdded: "admin.action.user.added",
	audit.UserProvisioned: "admin.action.user.provisioned", audit.LoginsCleared: "admin.action.logins",
	audit.UserChanged: "admin.action.user.changed", audit.FactorEnrolled: "admin.action.factor.enrolled",
	audit.FactorReset: "admin.action.factor.reset", audit.FactorInvited: "admin.action.factor.invited",
	audit.SessionsEnded: "admin.action.sessions", audit.TokensRevoked: "admin.action.tokens", audit.Unlocked: "admin.action.unlocked",
	audit.SteppedUp: "admin.action.stepup", audit.KeysRotated: "admin.action.keys", audit.ConfigChanged: "admin.action.config.changed",
	audit.ConfigExported: "admin.action.config.exported", audit.SignInTested: "admin.action.tested",
	audit.Expiring: "admin.action.expiring", audit.Restored: "admin.action.restored", audit.WebhookTested: "admin.action.webhook.tested",
	audit.WebhookResent: "admin.action.webhook.resent", audit.Purged: "admin.action.purged", audit.FoundBroken: "admin.action.broken",
	audit.VerifyBegun: "admin.action.verify.begun", audit.VerifyEnded: "admin.action.verify.ended",
	audit.Restarted: "admin.action.restarted", accountChanged: "admin.action.account",
	string(portal.SignedOut): "admin.action.signedout", string(portal.SignedOutEverywhere): "admin.action.everywhere",
	string(portal.SessionEnded): "admin.action.session", string(portal.TokenMade): "admin.action.token.made",
	string(portal.TokenRevoked): "admin.action.token.revoked", string(portal.FactorAdded): "admin.action.factor.added",
	string(portal.FactorRemoved): "admin.action.factor.removed", string(portal.RecoveryRenewed): "admin.action.recovery",
	string(portal.FactorRefused): "admin.action.factor.refused",
}

var endingText = map[string]string{"certificate": "admin.ending.certificate", "client CA": "admin.ending.clients",
	"authorities in ca_file": "admin.ending.authorities", "token of LifeTime": "admin.ending.lifetime",
	"signing certificate of the identity provider": "admin.ending.idp", "our certificate": "admin.ending.own",
	"metadata": "admin.ending.metadata", "client certificate": "admin.ending.client", "client secret": "admin.ending.secret"}

// checkText is the checks of a sign-in, saidText what passing them means, as insight names them.
var checkText = map[string]string{
	"what was typed": "admin.check.typed", "provider": "admin.check.provider", "account": "admin.check.account",
	"failed attempts": "admin.check.attempts", "IT user": "admin.check.user", "second factor": "admin.check.factor",
	"password": "admin.check.password", "may enter": "admin.check.enter", "record": "admin.check.record",
	"sign-in token": "admin.check.token", "integrated authentication": "admin.check.frontend", "question": "admin.check.question",
	"form of the answer": "admin.check.form", "what the identity provider says": "admin.check.status", "signature": "admin.check.signature",
	"meant for this sign-in": "admin.check.meant", "used once": "admin.check.once", "person": "admin.check.person",
	"enrolment": "admin.check.enrolment", "new password": "admin.check.newpassword", "decision": "admin.check.decision",
}

var saidText = map[string]string{
	"typed": "admin.said.typed", "route": "admin.said.route", "found": "admin.said.found", "attempts": "admin.said.attempts",
	"nouser": "admin.said.nouser", "user": "admin.said.user", "code": "admin.said.code", "idpfactor": "admin.said.idpfactor",
	"nocode": "admin.said.nocode", "password": "admin.said.password", "enter": "admin.said.enter", "enterportal": "admin.said.enterportal",
	"recorded": "admin.said.recorded", "token": "admin.said.token", "frontend": "admin.said.frontend", "asked": "admin.said.asked",
	"form": "admin.said.form", "status": "admin.said.status", "signed": "admin.said.signed", "meant": "admin.said.meant",
	"once": "admin.said.once", "vouched": "admin.said.vouched", "enrolled": "admin.said.enrolled", "newpassword": "admin.said.newpassword",
}

var seriesText = map[string]string{"granted": "admin.charts.granted", "refused": "admin.charts.refused", "half of them": "admin.chart.half"}

var chartWords = map[string]string{"time": "admin.chart.time", "range": "admin.chart.range", "none": "admin.chart.none",
	"most": "admin.chart.most", "longest": "admin.chart.longest", "day": "admin.chart.day", "days": "admin.chart.days",
	"hour": "admin.chart.hour", "hours": "admin.chart.hours", "minutes": "admin.chart.minutes"}

var fieldText = map[string]string{"username": "admin.users.username", "name": "admin.users.name", "email": "admin.user.email",
	"active": "admin.users.state"}

var valueText = map[string]string{"true": "admin.state.active", "false": "admin.state.disabled", "none": "admin.none"}

// word is what a code is called; one that has no text stays as it is.
func (c *call) word(texts map[string]string, code string) string {
	if key, ok := texts[code]; ok {
		return c.v.Text(key)
	}
	return code
}

// action is what the audit tells of.
func (c *call) action(name string) string {
	if rest, ok := strings.CutPrefix(name, audit.BreakGlass); ok {
		return c.v.Text("admin.action.breakglass", c.word(actionText, rest))
	}
	return c.word(actionText, name)
}

// reason is what a reason means; empty where docs/errors.md does not explain it.
func (c *call) reason(code string) string { return c.explained("admin.reason.", code) }

// advice is what to do about a reason; empty where nothing is.
func (c *call) advice(code string) string {
	if r, ok := docs.Explain(code); !ok || r.Advice == "" {
		return ""
	}
	return c.explained("admin.advice.", code)
}

// explained is a text about the row of docs/errors.md that a reason is in.
func (c *call) explained(what, code string) string {
	row := docs.RowOf(code)
	if row == "" {
		return ""
	}
	return sentence(c.v.Text(what + row))
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	if last := text[len(text)-1]; last != '.' && last != '?' {
		text += "."
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

func (c *call) stage(name string) string {
	if provider, ok := strings.CutPrefix(name, itusers.StageAccounts); ok {
		return c.v.Text("admin.stage.accounts", provider)
	}
	return c.word(stageText, name)
}

func (c *call) factors(joined string) string {
	var list []string
	for name := range strings.SplitSeq(joined, ",") {
		list = append(list, c.word(factorText, name))
	}
	return strings.Join(list, ", ")
}

// ending is what ends: a certificate of a host and a credential of several have a name of their own in it.
func (c *call) ending(what string) string {
	if host, ok := strings.CutPrefix(what, "certificate shown by "); ok {
		return c.v.Text("admin.ending.shown", host)
	}
	if name, kind, ok := strings.Cut(strings.TrimSuffix(what, ")"), " ("); ok {
		return name + " (" + c.word(endingText, kind) + ")"
	}
	return c.word(endingText, what)
}

// summary is what a run counted, in one line.
func (c *call) summary(r itusers.RunReport) string {
	text := c.v.Text("admin.run.summary", r.Listed, r.Added, r.Changed, r.Deactivated, r.Unchanged, r.Refused)
	if r.Unknown > 0 {
		text += c.v.Text("admin.run.unknown", r.Unknown)
	}
	return text
}

// changes are differences of users as itusers tells them, `active: true → false`, with the names that pages have for them.
func (c *call) changes(what []string) (list []string) {
	for _, w := range what {
		name, values, ok := strings.Cut(w, ": ")
		if !ok {
			list = append(list, w)
			continue
		}
		before, after, _ := strings.Cut(values, " → ")
		if name == "active" || strings.HasPrefix(name, "id:") {
			values = c.word(valueText, before) + " → " + c.word(valueText, after)
		}
		if environment, isID := strings.CutPrefix(name, "id:"); isID {
			name = c.v.Text("admin.user.id", environment)
		}
		list = append(list, c.word(fieldText, name)+": "+values)
	}
	return list
}

// problemText is what is wrong with a file of IT users, or with one of them, by what itusers says of it. Pages say it in words
// of their own where a command names its flags.
var problemText = map[string]string{
	"there is no header line with the names of the columns":                                          "admin.file.noheader",
	"a quotation mark is not closed or not doubled":                                                  "admin.file.quote",
	"column %q is unknown; known are username, name, email, active, id, environment, id:ENVIRONMENT": "admin.file.column",
	"column %q is there twice":                                                                       "admin.file.columntwice",
	"column \"id:%s\" is there twice":                                                                "admin.file.idtwice",
	"there is no column username":                                                                    "admin.file.nousername",
	"there is a column id and one with an environment; use one form":                                 "admin.file.forms",
	"there is a column environment but no column id":                                                 "admin.file.noid",
	"whose ids are these? Say --environment, or name the column id:ENVIRONMENT":                      "admin.file.whose",
	"--environment was given, but the file has a column environment":                                 "admin.file.both",
	"--environment was given, but there is no column id":                                             "admin.file.noidcolumn",
	"has %d columns, the header has %d":                                                              "admin.file.columns",
	"is not an array of users: [{\"username\": …}, …]":                                               "admin.file.noarray",
	"there is something after the array":                                                             "admin.file.after",
	"is not JSON: %v":                                                                                "admin.file.nojson",
	"is not an object: {\"username\": …}":                                                            "admin.file.noobject",
	"%q is there twice":                                                                              "admin.file.twice",
	"there is no username":                                                                           "admin.file.nameless",
	"%s is not a text":                                                                               "admin.file.notext",
	"active is not true or false":                                                                    "admin.file.nobool",
	"%q is unknown; known are username, name, email, active, ids, id, environment":                   "admin.file.unknown",
	"ids is not an object: {\"ENVIRONMENT\": 12}":                                                    "admin.file.ids",
	"there is an id and ids; use one form":                                                           "admin.file.idforms",
	"there is an environment but no id":                                                              "admin.file.idless",
	"--environment was given, but the file names environments":                                       "admin.file.names",
	"whose id is this? Say --environment, or add \"environment\"":                                    "admin.file.whoseid",
	"id is not a number":                                                                             "admin.file.idnumber",
	"the file is larger than %d MiB":                                                                 "admin.file.large",
	"format %q is none of csv, json":                                                                 "admin.file.format",
	"the file is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)":                                     "admin.file.wide",
	"is not UTF-8 (in Excel: save as CSV UTF-8)":                                                     "admin.file.utf",
	"environment %q is not one of %s":                                                                "admin.problem.environment",
	"%s %s":                                                                                          "admin.file.text",
	"username is empty":                                                                              "admin.file.empty",
	"username %s":                                                                                    "admin.file.username",
	"active %q is none of true, false, yes, no, 1, 0":                                                "admin.file.active",
	"id %q is not a whole number":                                                                    "admin.file.whole",
	"id %d is not in 1…%d":                                                                           "admin.file.range",
	"user %q is on line %d already":                                                                  "admin.file.again",
	"user %q has an id on %s on line %d already":                                                     "admin.file.idagain",
	"%s of user %q is another one on line %d":                                                        "admin.file.differs",
	"id %d on %s belongs to %q, who is not in the file":                                              "admin.file.outside",
	"id %d on %s is also the one of %q (line %d)":                                                    "admin.file.also",
	"id %d on %s belongs to %q":                                                                      "admin.file.belongs",
	"there is an IT user named %q already":                                                           "admin.file.exists",
}

// withinText is what such a text may have in it.
var withinText = map[string]string{fmt.Sprintf("is longer than %d bytes", authn.MaxUsername): "admin.file.long",
	"has space around it": "admin.file.space", "holds control or invisible characters": "admin.file.hidden",
	"the spelling": "admin.file.spelling"}

func (c *call) problem(p itusers.Problem) string {
	key, ok := problemText[p.Format]
	if !ok {
		return p.Text()
	}
	of := make([]any, 0, len(p.Of))
	for _, o := range p.Of {
		if text, ok := o.(string); ok {
			o = c.word(withinText, text)
		}
		of = append(of, o)
	}
	return c.v.Text(key, of...)
}

func (c *call) problems(list []itusers.Problem) string {
	var texts []string
	for _, p := range list {
		texts = append(texts, c.problem(p))
	}
	return sentence(strings.Join(texts, "; "))
}
