package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
)

// The API wants a factor of the last ten minutes for every change; one code is good for one proof, and the session's id changes.
func TestStepUpOfTheAPI(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.api("POST", "/users/ursula/disable", "{}").wants(t, "fresh from signing in", http.StatusOK, `"active":false`)
	r.later(9 * time.Minute)
	b.api("POST", "/users/ursula/enable", "{}").problem(t, "ten minutes later", http.StatusForbidden, "step_up_required")
	b.api("GET", "/users/ursula", "").wants(t, "looking", http.StatusOK, `"active":false`)
	b.api("POST", "/session/step-up", `{"code":"000000"}`).problem(t, "a wrong code", http.StatusForbidden, "wrong_code")
	before, code := b.cookie(session), r.code("alice")
	b.api("POST", "/session/step-up", `{"code":"`+code+`"}`).wants(t, "the code", http.StatusOK, `"role":"administrator"`)
	if after := b.cookie(session); after == before || after == "" {
		t.Error("the session kept its id")
	}
	old := r.browser()
	old.header = http.Header{"Cookie": {session + "=" + before}}
	old.api("GET", "/session", "").problem(t, "the old id", http.StatusUnauthorized, "signed_out")
	b.api("POST", "/session/step-up", `{"code":"`+code+`"}`).problem(t, "the code again", http.StatusForbidden, "code_replayed")
	b.api("POST", "/users/ursula/enable", "{}").wants(t, "after the step-up", http.StatusOK, `"active":true`)
	var seen []string
	for _, record := range r.recorded() {
		seen = append(seen, record.Action+" "+record.Kind+" "+record.Reason)
		if record.Actor != "admin:alice" || record.ID != "the-correlation-id" || record.Source != "127.0.0.1" {
			t.Errorf("recorded %+v", record)
		}
	}
	want := "user changed ok ,stepped up bad_credentials wrong_code,stepped up ok ,stepped up bad_credentials code_replayed,user changed ok "
	if got := strings.Join(seen, ","); got != want {
		t.Errorf("recorded %q\nwant     %q", got, want)
	}
}

// Guesses at a step-up are throttled by the same limit as everywhere.
func TestStepUpIsThrottled(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	for range 3 {
		b.api("POST", "/session/step-up", `{"code":"000000"}`).problem(t, "a guess", http.StatusForbidden, "wrong_code")
	}
	b.api("POST", "/session/step-up", `{"code":"`+r.code("alice")+`"}`).problem(t, "the right one", http.StatusTooManyRequests, "throttled")
}

// A page asks for the code with the form that was sent, loses nothing of it, and goes on.
func TestStepUpOfPages(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	r.later(10 * time.Minute)
	form := []string{"username", "ursula", "fullname", "Ursula <New>", "email", "u@example.com", "id-0", "1001", "id-1", ""}
	asked := b.post("/users/edit", form...).wants(t, "the form", http.StatusForbidden, "Prove that it is you", `value="Ursula &lt;New&gt;"`,
		`action="/users/edit"`, `name="code"`)
	if strings.Count(asked.body, `type="hidden"`) != 5 {
		t.Errorf("not every field is there: %s", asked.body)
	}
	if u, _ := r.users.Show(t.Context(), "ursula"); u.Name != "Ursula Ursprung" {
		t.Error("it was done before the code")
	}
	b.post("/users/edit", append(form, "code", "000000")...).wants(t, "a wrong code", http.StatusForbidden, "The code is not right", "Ursula &lt;New&gt;")
	b.post("/users/edit", append(form, "code", r.code("alice"))...).wants(t, "the code", http.StatusSeeOther, "/users/show?name=ursula&notice=saved")
	if u, _ := r.users.Show(t.Context(), "ursula"); u.Name != "Ursula <New>" || u.Email != "u@example.com" {
		t.Errorf("saved %+v", u)
	}
	b.get("/users/disable?name=uwe").wants(t, "a question while fresh", http.StatusOK, "Disable this IT user?", "uwe")
	r.later(10 * time.Minute)
	b.get("/users/disable?name=uwe").wants(t, "a question later", http.StatusOK, "Disable this IT user?", `name="code"`)
	b.post("/users/disable", "name", "uwe", "code", r.code("alice")).wants(t, "with its code", http.StatusSeeOther, "notice=disabled")
}

// Who brought the second factor from an identity provider has no code to give: they sign in again, as resume_test.go has it.
func TestStepUpWithoutADevice(t *testing.T) {
	r := newRig(t, func(c *admin.Config) { c.Roles[0].Group = "" })
	b := r.signedIn("idp-ida")
	b.post("/users/unlock", "name", "uwe").wants(t, "fresh", http.StatusSeeOther, "notice=unlocked")
	r.later(10 * time.Minute)
	b.get("/users/disable?name=uwe").wants(t, "a question later", http.StatusSeeOther, "notice=again", "return=%2Fusers%2Fdisable%3Fname%3Duwe")
	b = r.signedIn("idp-ida")
	r.later(10 * time.Minute)
	b.post("/users/unlock", "name", "uwe").wants(t, "later", http.StatusSeeOther, "/login?notice=kept")
	b.get("/").wants(t, "the old session", http.StatusSeeOther, "/login")
}

// A change that cannot be recorded is told, and nothing is silently done.
func TestUnrecorded(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	c := r.config
	c.Journal = func(context.Context, audit.Record) error { return errors.New("disk full") }
	door, err := admin.New(c)
	r.must(err)
	r.door = door
	b.api("POST", "/users/ursula/disable", "{}").problem(t, "the API", http.StatusServiceUnavailable, "unrecorded_change")
	if !strings.Contains(r.logged.String(), "unrecorded_change") {
		t.Error("not in the log")
	}
}
