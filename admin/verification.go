package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/itusers"
)

// Verifier verifies the chain of the audit.
type Verifier interface {
	// Verify looks through all of it, and for a record that was kept elsewhere; kept may be nil. That it does not hold is a
	// verdict; beside one that has ended, an error says that it could not be kept.
	Verify(ctx context.Context, actor string, kept *audit.Kept, progress func(done, total int64)) (audit.Verdict, error)
	// Verdict is the newest one, of whoever asked for it; nil: there is none.
	Verdict(ctx context.Context) (*audit.Verdict, error)
	// Every is how often it is verified without being asked; 0: never.
	Every() time.Duration
}

// Verification is how the audit was found.
type Verification struct {
	Every   float64        `json:"every_seconds" doc:"how often it is verified without being asked; 0: never"`
	Job     string         `json:"job" doc:"the newest one that verifies it; empty: none"`
	Busy    bool           `json:"busy" doc:"that job is under way"`
	Verdict *audit.Verdict `json:"verdict" doc:"the newest, of whoever asked for it; null: there is none"`
}

// VerifyRequest asks for a verification.
type VerifyRequest struct {
	Kept string `json:"kept,omitempty" doc:"NUMBER:MAC that was kept elsewhere: the record must still be there"`
}

// verify begins a verification.
func (c *call) verify(in VerifyRequest) (Job, error) {
	var kept *audit.Kept
	if text := strings.TrimSpace(in.Kept); text != "" {
		k, err := audit.ParseKept(text)
		if err != nil {
			return Job{}, worded{invalid("kept: " + err.Error()), "admin.problem.kept", []any{text}}
		}
		kept = &k
	}
	a, begun := c.Admin, c.signed(audit.Record{Action: audit.VerifyBegun})
	if kept != nil {
		begun.Detail = "kept elsewhere: " + kept.String()
	}
	return c.start(Job{Kind: jobAudit}, func(ctx context.Context, tell func(itusers.Progress), j *Job) error {
		return a.verification(ctx, tell, j, begun, kept)
	})
}

const stageVerifying = "verifying records"

// verification is what such a job does. Its beginning and its end are recorded as far as they can be: an audit that takes no
// records any more must be verified no less.
func (a *Admin) verification(
	ctx context.Context, tell func(itusers.Progress), j *Job, begun audit.Record, kept *audit.Kept,
) error {
	a.noteAnyway(ctx, begun)
	d, err := a.Verifier.Verify(ctx, begun.Actor, kept, func(done, total int64) {
		tell(itusers.Progress{Stage: stageVerifying, Done: int(done), Total: int(total)})
	})
	ended := d.Record(err)
	if !d.Ended.IsZero() {
		j.Verdict = &d
		ended = d.Record(nil)
	}
	ended.ID, ended.Actor, ended.Source, ended.Time = begun.ID, begun.Actor, begun.Source, a.now()
	a.noteAnyway(ctx, ended)
	return err
}

func (a *Admin) noteAnyway(ctx context.Context, r audit.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := a.Journal(ctx, r); err != nil {
		a.Portal.Log.Error("admin: a verification of the audit could not be recorded", "id", r.ID, "action", r.Action, "error", err)
	}
}

func (c *call) verdict(struct{}) (out Verification, err error) {
	out.Every = c.Verifier.Every().Seconds()
	if out.Verdict, err = c.Verifier.Verdict(c.ctx()); err != nil {
		return out, unavailable(err)
	}
	last, err := c.lastJob(Job{Kind: jobAudit}.subject())
	out.Job, out.Busy = last.ID, last.State == jobRunning
	return out, err
}

func verificationOperations() []operation {
	const path = "/audit/verification"
	return []operation{
		op("GET", path, "showVerification", Viewer, "Tell how the chain of the audit was found when it was verified last", (*call).verdict),
		op("POST", path, "verifyAudit", Operator, "Begin to verify the whole chain of the audit; changes nothing",
			func(c *call, in VerifyRequest) (Job, error) { return c.begun(c.verify(in)) }).
			with(accepted).with(func(o *operation) { o.free = true }),
	}
}

func verificationPages() []page {
	const path = "/audit/verification"
	return []page{
		{method: "GET", path: path, role: Viewer, act: func(c *call) error { return c.showVerification(nil, "") }},
		{method: "POST", path: path, role: Operator, free: true, title: "admin.verify.title", act: (*call).verifyNow},
	}
}

// verificationView is how the audit was found, for a page of its own and for a corner of another one.
type verificationView struct {
	shell
	Verification
	End      string // NUMBER:MAC, to be kept elsewhere
	Often    string // how often it is verified without being asked
	Kept     string // what was typed
	By, Why  string
	Editable bool
}

func (c *call) verificationView() (view verificationView, err error) {
	view = verificationView{shell: c.shell("/audit"), Editable: c.role >= Operator}
	if view.Verification, err = c.verdict(struct{}{}); err == nil && c.Verifier.Every() > 0 {
		view.Often = strings.TrimSuffix(strings.TrimSuffix(c.Verifier.Every().String(), "0s"), "0m")
	}
	if view.Verdict != nil {
		view.By = c.word(actorText, view.Verdict.Actor)
	}
	return view, err
}

// showVerification shows a verdict; nil: the newest.
func (c *call) showVerification(of *audit.Verdict, trouble string) error {
	view, err := c.verificationView()
	if err != nil {
		return err
	}
	if of != nil {
		view.Verdict = of
	}
	if trouble != "" {
		view.Problem = c.v.Text("admin.verify.unkept", trouble)
	}
	return c.showVerified(http.StatusOK, view)
}

func (c *call) showVerified(status int, view verificationView) error {
	if d := view.Verdict; d != nil {
		if d.Last > 0 && d.Kept != audit.KeptLost {
			view.End = fmt.Sprintf("%d:%s", d.Last, d.MAC)
		}
		if view.Why = c.reason(d.Reason); d.Kept == audit.KeptPurged {
			view.Why = c.v.Text("admin.verify.gone")
		}
		view.By = c.word(actorText, d.Actor)
	}
	return c.show(status, "verification", view)
}

func (c *call) verifyNow() error {
	kept := c.r.PostForm.Get("kept")
	j, err := c.verify(VerifyRequest{Kept: kept})
	if err == nil || !mendable(err) || errors.Is(err, errJobUnderWay) {
		return c.toJob(j, err)
	}
	view, wrong := c.verificationView()
	if wrong != nil {
		return wrong
	}
	view.Problem, view.Kept = c.told(err), kept
	return c.showVerified(http.StatusUnprocessableEntity, view)
}
