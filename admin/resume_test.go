package admin_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
)

const formCookie = "__Host-idbridge-admin-form"

// signsInAgain is what a browser does on the page to which it was sent.
func (b *browser) signsInAgain(username string) answer {
	b.t.Helper()
	b.later(time.Minute)
	p := b.post("/login?return=/resume", "username", username, "password", "pw-"+username)
	if strings.Contains(p.location, "/login/next") {
		p = b.post("/login/code?return=/resume", "code", b.code(username))
	}
	return p.wants(b.t, username+" signing in again", http.StatusSeeOther, "/resume")
}

// away is a browser whose administrator has no app, and had to go away with the new name of an IT user in hand.
func (r *rig) away() *browser {
	r.t.Helper()
	b := r.signedIn("idp-ida")
	r.later(10 * time.Minute)
	b.post("/users/edit", "username", "ursula", "fullname", "Ursula <New>", "email", "", "id-0", "1001").
		wants(r.t, "sent away", http.StatusSeeOther, "/login?notice=kept&return=%2Fresume")
	r.named("Ursula Ursprung")
	return b
}

// named checks what ursula's name is.
func (r *rig) named(want string) {
	r.t.Helper()
	u, err := r.users.Show(r.t.Context(), "ursula")
	r.must(err)
	if u.Name != want {
		r.t.Errorf("ursula is named %q, want %q", u.Name, want)
	}
}

// everybodyOfCorp lets also those administer who have no group, as those have whom an identity provider vouches for.
func everybodyOfCorp(c *admin.Config) { c.Roles[0].Group = "" }

// What somebody sent who had to sign in again is shown to them, is done when they say so, and once. Whatever else that form
// says counts for nothing.
func TestResume(t *testing.T) {
	r := newRig(t, everybodyOfCorp)
	b := r.away()
	b.get("/login?notice=kept&return=/resume").wants(t, "the sign-in", http.StatusOK, "What you had sent is kept")
	b.get("/resume").wants(t, "signed out", http.StatusSeeOther, "/login")
	b.signsInAgain("idp-ida")
	asked := b.get("/resume").wants(t, "the question", http.StatusOK, "Edit ursula", "Ursula &lt;New&gt;", "Nothing was done yet", `action="/resume"`, "Id on production", ">none<")
	if strings.Contains(asked.body, `type="hidden"`) || strings.Contains(asked.body, `name="code"`) {
		t.Errorf("more than a button: %s", asked.body)
	}
	b.get("/resume")
	r.named("Ursula Ursprung")
	b.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	b.post("/resume").wants(t, "another site", http.StatusForbidden, "another site")
	b.header = http.Header{}
	r.named("Ursula Ursprung")
	b.post("/resume", "username", "uwe", "fullname", "Tampered").wants(t, "the button", http.StatusSeeOther, "/users/show?name=ursula&notice=saved")
	r.named("Ursula <New>")
	if u, _ := r.users.Show(t.Context(), "uwe"); u.Name != "Uwe <b>&" {
		t.Errorf("uwe is %+v", u)
	}
	b.post("/users/edit", "username", "ursula", "fullname", "Another").wants(t, "meanwhile", http.StatusSeeOther, "saved")
	b.post("/resume").wants(t, "twice", http.StatusConflict, "not kept any more")
	b.get("/resume").wants(t, "looking again", http.StatusConflict, "not kept any more")
	r.named("Another")
}

// raced is a shelf from which another node takes everything at the last moment.
type raced struct{ admin.Keeper }

func (raced) Drop(context.Context, string, string) (bool, error) { return false, nil }

// Of two nodes that are told at once to go on one does.
func TestResumeRaces(t *testing.T) {
	r := newRig(t, everybodyOfCorp, func(c *admin.Config) { c.Keeper = raced{c.Keeper} })
	b := r.away()
	b.signsInAgain("idp-ida")
	b.post("/resume").wants(t, "the other one was faster", http.StatusConflict, "not kept any more")
	r.named("Ursula Ursprung")
}

// Who takes long to say so goes away once more; then it is there as it was.
func TestResumeIsNotFreshForEver(t *testing.T) {
	r := newRig(t, everybodyOfCorp)
	b := r.away()
	b.signsInAgain("idp-ida")
	r.later(10 * time.Minute)
	b.post("/resume").wants(t, "the button long after", http.StatusSeeOther, "/login?notice=kept")
	r.named("Ursula Ursprung")
	b.signsInAgain("idp-ida")
	r.later(10 * time.Minute)
	b.get("/resume").wants(t, "looking long after", http.StatusSeeOther, "/login?notice=again&return=%2Fresume")
	b.signsInAgain("idp-ida")
	b.post("/resume").wants(t, "the button", http.StatusSeeOther, "saved")
	r.named("Ursula <New>")
}

// What is kept is worth nothing in another browser, to another administrator, later, without the role, or under another cookie.
func TestResumeIsForOneAlone(t *testing.T) {
	for _, one := range []struct {
		name   string
		status int
		then   func(r *rig, b *browser) *browser
	}{
		{"another browser", http.StatusConflict, func(r *rig, _ *browser) *browser { return r.signedIn("idp-ida") }},
		{"another administrator in this browser", http.StatusConflict, func(r *rig, b *browser) *browser {
			r.enrol("alice")
			b.signsInAgain("alice")
			return b
		}},
		{"too late", http.StatusConflict, func(r *rig, b *browser) *browser {
			r.later(14 * time.Minute)
			b.signsInAgain("idp-ida")
			return b
		}},
		{"a cookie that was changed", http.StatusConflict, func(_ *rig, b *browser) *browser {
			b.signsInAgain("idp-ida")
			b.header = http.Header{"Cookie": {session + "=" + b.cookie(session) + "; " + formCookie + "=" + b.cookie(formCookie) + "X"}}
			b.client.Jar = nil
			return b
		}},
		{"the role was lost", http.StatusForbidden, func(r *rig, b *browser) *browser {
			b.signsInAgain("idp-ida")
			c := r.config
			c.Roles = []admin.Rule{{Role: admin.Operator, Provider: "corp"}}
			var err error
			r.door, err = admin.New(c)
			r.must(err)
			return b
		}},
		{"every role was lost", http.StatusForbidden, func(r *rig, b *browser) *browser {
			b.signsInAgain("idp-ida")
			c := r.config
			c.Roles = []admin.Rule{{Role: admin.Operator, Provider: "glass"}}
			var err error
			r.door, err = admin.New(c)
			r.must(err)
			return b
		}},
	} {
		t.Run(one.name, func(t *testing.T) {
			r := newRig(t, everybodyOfCorp)
			b := one.then(r, r.away())
			if page := b.get("/resume").wants(t, "looking", one.status); strings.Contains(page.body, "Ursula &lt;New&gt;") {
				t.Error("it shows what was sent")
			}
			b.post("/resume").wants(t, "the button", one.status)
			r.named("Ursula Ursprung")
		})
	}
}

// The cookie is for this door's own pages alone, and nothing but it leads to what was sent.
func TestResumeCookie(t *testing.T) {
	r := newRig(t, everybodyOfCorp)
	b := r.signedIn("idp-ida")
	r.later(10 * time.Minute)
	p := b.post("/users/unlock", "name", "uwe").wants(t, "sent away", http.StatusSeeOther, "notice=kept")
	var found string
	for _, line := range p.header.Values("Set-Cookie") {
		if strings.HasPrefix(line, formCookie+"=") {
			found = line
		}
	}
	for _, part := range []string{"; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age=900"} {
		if !strings.Contains(found, part) {
			t.Errorf("%q lacks %q", found, part)
		}
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(found, formCookie+"="), ";")
	if _, kept, err := r.store.Kept(t.Context(), "form", value); kept || err != nil {
		t.Error("who reads the rows has the cookie")
	}
}

// A password is kept, but never shown; nor is a secret among settings.
func TestResumeShowsNoSecret(t *testing.T) {
	r := newRig(t, everybodyOfCorp)
	b := r.signedIn("idp-ida")
	proposed := b.post("/providers/edit", "of", "corp", "kind", "ldap", "base", "2", "base_dn", "dc=new").wants(t, "a change", http.StatusSeeOther)
	draft := draftID.FindStringSubmatch(proposed.location)[1]
	r.later(10 * time.Minute)
	b.get("/providers/proposal?draft="+draft).wants(t, "not fresh", http.StatusOK, "You will be asked to sign in again first")
	b.post("/providers/proposal/try", "draft", draft, "username", "ann", "password", "pw").wants(t, "sent away", http.StatusSeeOther, "notice=kept")
	b.signsInAgain("idp-ida")
	if p := b.get("/resume").wants(t, "the question", http.StatusOK, "Try a sign-in", "ann", "Change of provider corp"); strings.Contains(p.body, "pw") {
		t.Error("it shows the password")
	}
	b.post("/resume").wants(t, "the button", http.StatusOK, "The password is right")
	r.later(16 * time.Minute) // the session is over
	b.post("/providers/edit", "of", "corp", "kind", "ldap", "base", "2", "urls", "ldaps://dc3.example.com", "base_dn", "dc=example,dc=com",
		"bind_password", "canary").wants(t, "too late", http.StatusSeeOther, "notice=kept")
	b.signsInAgain("idp-ida")
	if p := b.get("/resume").wants(t, "the question", http.StatusOK, "Change of provider corp"); strings.Contains(p.body, "canary") {
		t.Error("it shows the secret")
	}
	b.post("/resume").wants(t, "the button", http.StatusSeeOther, "/providers/proposal?draft=")
}

// A form that is too large is not kept, and nobody is told that it was.
func TestResumeHasALimit(t *testing.T) {
	r := newRig(t, everybodyOfCorp)
	b := r.signedIn("idp-ida")
	r.later(10 * time.Minute)
	b.post("/users/edit", "username", "ursula", "fullname", strings.Repeat("x", 256<<10)).wants(t, "sent away", http.StatusSeeOther, "/login?notice=again")
	if b.cookie(formCookie) != "" {
		t.Error("there is a cookie")
	}
}

// Who typed for longer than a session lasts unused loses nothing of it, whatever factor they have.
func TestResumeAfterTheSessionEnded(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	r.later(16 * time.Minute)
	b.post("/users/edit", "username", "ursula", "fullname", "Ursula <New>").wants(t, "too late", http.StatusSeeOther, "/login?notice=kept&return=%2Fresume")
	r.named("Ursula Ursprung")
	b.signsInAgain("alice")
	b.get("/resume").wants(t, "the question", http.StatusOK, "Ursula &lt;New&gt;")
	b.post("/resume").wants(t, "the button", http.StatusSeeOther, "notice=saved")
	r.named("Ursula <New>")
}

// Of those whose session has not just ended nothing is kept.
func TestResumeKeepsNothingOfStrangers(t *testing.T) {
	for _, one := range []struct {
		name string
		who  func(r *rig) *browser
	}{
		{"nobody", func(r *rig) *browser { return r.browser() }},
		{"a role that could not send it", func(r *rig) *browser {
			b := r.signedIn("vera")
			r.later(16 * time.Minute)
			return b
		}},
		{"a session whose life is over", func(r *rig) *browser {
			b := r.signedIn("alice")
			r.later(authn.DefaultSessionLife)
			return b
		}},
		{"an IT user who was disabled", func(r *rig) *browser {
			b := r.signedIn("alice")
			_, err := r.users.SetActive(r.t.Context(), "alice", false)
			r.must(err)
			r.later(16 * time.Minute)
			return b
		}},
		{"a session of the portal", func(r *rig) *browser {
			portal := authn.Sessions{Store: r.store, Idle: 15 * time.Minute, Life: time.Hour, Now: r.clock}
			handle, _, err := portal.Begin(r.t.Context(), authn.Result{User: r.user("alice"), Identity: authn.Identity{Provider: "corp",
				Groups: []string{"it admins"}, Factors: []string{authn.FactorPassword, authn.FactorTOTP}}}, "alice", netip.MustParseAddr("127.0.0.1"), "")
			r.must(err)
			b := r.browser()
			b.header = http.Header{"Cookie": {session + "=" + handle.Reveal()}}
			r.later(16 * time.Minute)
			return b
		}},
	} {
		t.Run(one.name, func(t *testing.T) {
			r := newRig(t)
			b := one.who(r)
			b.post("/users/edit", "username", "ursula", "fullname", "x").wants(t, "sent", http.StatusSeeOther, "/login?notice=expired")
			if b.client.Jar != nil && b.cookie(formCookie) != "" {
				t.Error("it was kept")
			}
		})
	}
}
