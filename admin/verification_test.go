package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
)

// verifier verifies the audit of a rig, in which somebody may have changed a record.
type verifier struct {
	*rig
	mu      sync.Mutex
	last    *audit.Verdict
	changed int64         // number of the record
	pages   chan struct{} // nil: nobody wants to look meanwhile
}

func (v *verifier) AuditHead(ctx context.Context) (audit.Head, error) { return v.store.AuditHead(ctx) }

func (v *verifier) AuditRows(ctx context.Context, after int64, limit int) ([]audit.Row, error) {
	rows, err := v.store.AuditRows(ctx, after, limit)
	for i := range rows {
		if rows[i].Seq == v.changed {
			rows[i].Detail = "changed"
		}
	}
	return rows, err
}

func (v *verifier) Verify(ctx context.Context, actor string, kept *audit.Kept, progress func(done, total int64)) (audit.Verdict, error) {
	d, err := audit.Examine(ctx, v, []byte("a key for tests, of thirty-two b"), actor, kept, func(done, total int64) {
		progress(done, total)
		if v.pages != nil {
			v.pages <- struct{}{}
			<-v.pages
		}
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		v.last = &d
	}
	return d, err
}

func (v *verifier) Verdict(context.Context) (*audit.Verdict, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last, nil
}

func (v *verifier) Every() time.Duration { return 24 * time.Hour }

func (b *browser) verification() (v admin.Verification) {
	b.t.Helper()
	b.must(json.Unmarshal([]byte(b.api("GET", "/audit/verification", "").wants(b.t, "the newest verdict", http.StatusOK).body), &v))
	return v
}

// An operator has the audit verified, sees how far it is, and what to keep elsewhere; beginning and end are recorded.
func TestVerification(t *testing.T) {
	v := &verifier{pages: make(chan struct{})}
	r := newRig(t, func(c *admin.Config) { c.Verifier = v })
	v.rig = r
	b := r.signedIn("oscar")
	r.later(9 * time.Minute) // it changes nothing: no fresh factor is needed
	vera := r.signedIn("vera")
	if page := vera.get("/audit").wants(t, "a viewer", http.StatusOK, "It has not been verified yet"); strings.Contains(page.body, "Verify now") {
		t.Error("a viewer is offered what they may not do")
	}
	vera.post("/audit/verification").wants(t, "a viewer", http.StatusForbidden)
	if list := vera.verification(); list.Verdict != nil || list.Busy || list.Every != 86400 {
		t.Errorf("%+v", list)
	}
	r.recorded()
	b.get("/audit").wants(t, "an operator", http.StatusOK, "Verify now", `action="/audit/verification"`)
	begun := b.post("/audit/verification").wants(t, "begun", http.StatusSeeOther, "/jobs?id=")
	if begun.status != http.StatusSeeOther {
		t.FailNow()
	}
	<-v.pages
	b.api("POST", "/audit/verification", `{}`).problem(t, "a second one", http.StatusConflict, "job_under_way")
	b.post("/audit/verification").wants(t, "a second one by a page", http.StatusSeeOther, begun.location)
	vera.get("/audit").wants(t, "meanwhile", http.StatusOK, begun.location, "It is under way")
	path := "/jobs/" + begun.location[strings.Index(begun.location, "=")+1:]
	wait(t, "it tells how far it is", func() bool { return b.job(path).Total > 0 })
	if j := vera.job(path); j.Kind != "audit" || j.Done != j.Total || j.Stage != "verifying records" || j.Actor != "admin:oscar" {
		t.Errorf("%+v", j)
	}
	vera.get(begun.location).wants(t, "its page", http.StatusOK, "Chain of records", "Verifying records", `http-equiv="refresh"`, `href="/audit"`)
	v.pages <- struct{}{}
	r.jobs.Wait()
	v.pages = nil
	d := vera.verification().Verdict
	if d == nil || !d.Holds || d.Actor != "admin:oscar" || d.Last < 2 {
		t.Fatalf("%+v", d)
	}
	end := fmt.Sprintf("%d:%s", d.Last, d.MAC)
	vera.get(begun.location).wants(t, "what came of it", http.StatusOK, "It holds", end, "every 24h", fmt.Sprintf("records 1 to %d", d.Last))
	vera.get("/audit").wants(t, "the audit", http.StatusOK, "It holds", "admin:oscar")
	list := r.recorded()
	if len(list) != 2 || list[0].Action != audit.VerifyBegun || list[1].Action != audit.VerifyEnded || list[1].Kind != "ok" ||
		list[0].ID == "" || list[1].ID != list[0].ID || list[1].Actor != "admin:oscar" || list[1].Source != list[0].Source || !strings.Contains(list[1].Detail, d.MAC) {
		t.Errorf("recorded %+v", list)
	}
	b.api("POST", "/audit/verification", `{"kept":"`+end+`"}`).wants(t, "with what was kept", http.StatusAccepted)
	r.jobs.Wait()
	if d := vera.verification().Verdict; !d.Holds || d.Kept != audit.KeptThere {
		t.Errorf("%+v", d)
	}
	vera.get("/audit/verification").wants(t, "what was kept", http.StatusOK, "is there, as it was")
	for _, wrong := range []string{"9:ab", "nine", end + "0"} {
		b.api("POST", "/audit/verification", `{"kept":"`+wrong+`"}`).problem(t, wrong, http.StatusUnprocessableEntity, "invalid")
		b.post("/audit/verification", "kept", wrong).wants(t, wrong, http.StatusUnprocessableEntity, "is no record that was kept", `value="`+wrong+`"`)
	}
}

// An audit that was tampered with is found so, and so is one that is another than it was; also where nothing can be recorded any
// more. Everybody sees it.
func TestVerificationFindsWhatIsBroken(t *testing.T) {
	v := &verifier{}
	r := newRig(t, func(c *admin.Config) { c.Verifier = v })
	v.rig = r
	b := r.signedIn("oscar")
	verify := func(fields ...string) answer {
		t.Helper()
		begun := b.post("/audit/verification", fields...).wants(t, "begun", http.StatusSeeOther, "/jobs?id=")
		r.jobs.Wait()
		return b.get(begun.location)
	}
	r.recorded()
	lost := "99999:" + strings.Repeat("ab", 32)
	p := verify("kept", lost).wants(t, "what was kept is gone", http.StatusOK, "It does not hold", "cut_off", "record(s) are missing")
	if strings.Contains(p.body, "idbridge audit restart") || strings.Contains(p.body, "Keep elsewhere") {
		t.Error("a chain that holds is to be restarted, or kept")
	}
	if list := r.recorded(); len(list) != 2 || list[0].Detail != "kept elsewhere: "+lost || list[1].Kind != "untrusted" || list[1].Reason != "cut_off" {
		t.Errorf("recorded %+v", list)
	}
	v.changed = 1
	verify().wants(t, "a changed record", http.StatusOK, "It does not hold", "changed", "record 1", "idbridge audit restart")
	vera := r.signedIn("vera")
	vera.get("/").wants(t, "the overview", http.StatusOK, "The audit is not what was written", "/audit/verification")
	vera.get("/audit").wants(t, "the audit", http.StatusOK, "It does not hold", "<code>changed</code>")
	r.config.Journal = func(context.Context, audit.Record) error { return fmt.Errorf("head_changed") }
	var err error
	r.door, err = admin.New(r.config)
	r.must(err)
	v.changed = 2
	verify().wants(t, "without a record", http.StatusOK, "record 2")
}
