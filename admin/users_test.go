package admin_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/mfa"
)

func userFilter() itusers.Filter { return itusers.Filter{} }

func importOptions() itusers.Options {
	return itusers.Options{Environments: []string{"production", "quality"}}
}

// recordedAs checks the newest record: what was before, what is after.
func (r *rig) recordedAs(what, action, detail string) {
	r.t.Helper()
	list := r.recorded()
	if len(list) == 0 {
		r.t.Errorf("%s: not recorded", what)
		return
	}
	last := list[len(list)-1]
	if last.Action != action || last.Detail != detail || last.Kind != "ok" || !strings.HasPrefix(last.Actor, "admin:") || last.Time.IsZero() {
		r.t.Errorf("%s: recorded %+v, want %s: %s", what, last, action, detail)
	}
}

// The story of one IT user, told with the pages: added, edited, linked, unlocked, invited, disabled.
// Nobody is somebody without a name.
func TestNoName(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	for _, path := range []string{"/users/show", "/users/edit?name=", "/users/disable?name=%20"} {
		b.get(path).wants(t, path, http.StatusNotFound)
	}
}

func TestPagesOfAUser(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.post("/users/new", "username", "nora", "fullname", "Nora", "id-0", "12x").wants(t, "a wrong id", 422, "12x is not an id on production", `value="Nora"`)
	b.post("/users/new", "username", "nora", "fullname", "Nora", "id-0", "77").wants(t, "adding", http.StatusSeeOther, "/users/show?name=nora&notice=added")
	r.recordedAs("adding", "user added", `username: "" → "nora", name: "" → "Nora", active: false → true, id:production: none → 77`)
	b.get("/users/show?name=nora&notice=added").wants(t, "the user", http.StatusOK, "The IT user was added.", "Nora", "77", "No account is linked yet")
	b.get("/users/edit?name=nora").wants(t, "the form", http.StatusOK, `value="77"`)
	b.post("/users/edit", "username", "nora", "fullname", "Nora N.", "email", "", "id-0", "", "id-1", "5").wants(t, "editing", http.StatusSeeOther)
	r.recordedAs("editing", "user changed", `name: "Nora" → "Nora N.", id:production: 77 → none, id:quality: none → 5`)

	b.post("/users/link/find", "name", "nora", "provider", "corp", "account", "stranger").wants(t, "no account", 422, "knows no such account")
	b.post("/users/link/find", "name", "nora", "provider", "corp", "account", "nora.n").wants(t, "looking up", http.StatusOK, "s-nora.n", "Link this account")
	b.post("/users/link", "name", "nora", "provider", "corp", "account", "nora.n").wants(t, "linking", http.StatusSeeOther, "notice=linked")
	r.recordedAs("linking", "user changed", `link:corp: none → "nora.n" (subject s-nora.n)`)
	b.post("/users/link", "name", "uwe", "provider", "corp", "account", "nora.n").wants(t, "somebody else's", 422, "linked to another IT user")
	b.post("/users/link", "name", "nora", "provider", "sso", "account", "nora", "subject", "").wants(t, "without a subject", 422, "Type the subject")
	b.post("/users/link", "name", "nora", "provider", "sso", "account", "nora", "subject", "x-1").wants(t, "by subject", http.StatusSeeOther)
	b.post("/users/link", "name", "nora", "provider", "nowhere", "account", "nora").wants(t, "no provider", 422, "There is no provider")
	r.recorded()
	b.post("/users/unlink", "name", "nora", "provider", "corp").wants(t, "unlinking", http.StatusSeeOther, "notice=unlinked")
	r.recordedAs("unlinking", "user changed", `link:corp: "nora.n" (subject s-nora.n) → none`)
	b.post("/users/disable", "name", "nora").wants(t, "disabling", http.StatusSeeOther, "notice=disabled")
	r.recordedAs("disabling", "user changed", "active: true → false")
	b.get("/users/show?name=nora").wants(t, "disabled", http.StatusOK, "Disabled", "Enable")
	b.post("/users/enable", "name", "nora").wants(t, "enabling", http.StatusSeeOther, "notice=enabled")
	r.recordedAs("enabling", "user changed", "active: false → true")
	b.get("/users/show?name=nobody").wants(t, "nobody", http.StatusNotFound, "There is nothing here")
	b.post("/users/disable", "name", "alice").wants(t, "oneself", http.StatusConflict, "lock you out")
	for _, path := range []string{"/users/unlink", "/users/factors/reset"} {
		b.post(path, "name", "Alice", "provider", "corp").wants(t, path+" of oneself", http.StatusConflict, "lock you out")
	}
	if len(r.recorded()) > 0 {
		t.Error("a refusal is recorded as a change")
	}
	b.get("/users?text=b%3E%26&state=no_factor").wants(t, "a search", http.StatusOK, "uwe")
	b.get("/users?text=<script>").wants(t, "a search for markup", http.StatusOK, "No IT user fits", "&lt;script&gt;")
}

var codeShown = regexp.MustCompile(`<p class="token" id="code" translate="no">([A-Z-]{24})</p>`)

// Second factors, sessions, tokens and blocks of a user, by an operator.
func TestHelpDesk(t *testing.T) {
	r := newRig(t)
	vera := r.signedIn("vera")
	b := r.signedIn("oscar")
	b.post("/users/invite", "name", "vera").wants(t, "who has a factor", http.StatusConflict, "has a second factor already")
	seen := b.get("/users/show?name=vera").wants(t, "vera", http.StatusOK, "Reset second factor", "End all", "Administration", "127.0.0.1")
	id := regexp.MustCompile(`/users/sessions/end\?id=([0-9a-f]{64})`).FindStringSubmatch(seen.body)
	b.get("/users/sessions/end?name=vera&id="+id[1]).wants(t, "the question", http.StatusOK, id[1])
	b.post("/users/sessions/end", "name", "vera", "id", id[1]).wants(t, "ending it", http.StatusSeeOther, "notice=ended")
	r.recordedAs("ending", "sessions ended", "1 → 0")
	vera.get("/").wants(t, "the ended session", http.StatusSeeOther, "/login")

	_, token := authn.NewToken(authn.Result{User: r.user("uwe"), Identity: authn.Identity{Provider: "corp"}}, nil, authn.TokenLife{}, r.clock())
	r.must(r.store.AddToken(t.Context(), token))
	b.get("/users/show?name=uwe").wants(t, "the token", http.StatusOK, "Revoke all", token.ID)
	b.post("/users/tokens/revoke", "name", "uwe").wants(t, "revoking", http.StatusSeeOther, "notice=revoked")
	r.recordedAs("revoking", "tokens revoked", "1 → 0")

	b.post("/users/factors/reset", "name", "vera").wants(t, "resetting", http.StatusSeeOther, "notice=reset")
	r.recordedAs("resetting", "factor reset", "devices: 1 → 0")
	shown := b.post("/users/invite", "name", "vera").wants(t, "inviting", http.StatusOK, "shown only now")
	code := codeShown.FindStringSubmatch(shown.body)
	if code == nil || strings.Contains(r.logged.String(), code[1]) {
		t.Fatal("no code, or one in the log")
	}
	for _, record := range r.recorded() {
		if strings.Contains(record.Detail, code[1]) {
			t.Error("the code is in the audit")
		}
	}
	r.must(r.factors.Redeem(t.Context(), r.user("vera"), authn.Secret(code[1])))

	for range 3 {
		attempt, err := r.limits.Begin(t.Context(), mfa.ThrottleKey(r.user("uwe").Key))
		r.must(err)
		r.must(attempt.Failed(t.Context()))
	}
	b.get("/users/show?name=uwe").wants(t, "blocked", http.StatusOK, "Too many wrong codes.", "Failures: 3", "Unlock")
	b.api("GET", "/users/uwe", "").wants(t, "blocked", http.StatusOK, `"blocks":[{"what":"code","provider":"","failures":3`)
	b.post("/users/unlock", "name", "uwe").wants(t, "unlocking", http.StatusSeeOther, "notice=unlocked")
	r.recordedAs("unlocking", "unlocked", mfa.ThrottleKey(r.user("uwe").Key))
	if a, err := r.limits.Look(t.Context(), mfa.ThrottleKey(r.user("uwe").Key)); err != nil || a.Failures != 0 {
		t.Errorf("%+v %v", a, err)
	}
	for _, path := range []string{"/users/new", "/users/edit?name=uwe", "/users/link?name=uwe", "/users/import", "/users/enable?name=uwe"} {
		b.get(path).wants(t, path+" by an operator", http.StatusForbidden, "Your role does not allow this")
	}
}

// Disabling ends everything at once.
func TestDisabling(t *testing.T) {
	r := newRig(t)
	vera := r.signedIn("vera")
	_, token := authn.NewToken(authn.Result{User: r.user("vera"), Identity: authn.Identity{Provider: "corp"}}, nil, authn.TokenLife{}, r.clock())
	r.must(r.store.AddToken(t.Context(), token))
	r.signedIn("alice").api("POST", "/users/vera/disable", "").wants(t, "disabling", http.StatusOK)
	r.signedIn("alice").api("POST", "/users/vera/enable", "").wants(t, "enabling", http.StatusOK)
	vera.get("/").wants(t, "the session from before", http.StatusSeeOther, "/login")
	if left, err := r.store.Tokens(t.Context(), r.user("vera").Key, r.clock()); err != nil || len(left) > 0 {
		t.Errorf("tokens %v, %v", left, err)
	}
}

// upload sends a file as the page's form does.
func (b *browser) upload(name, text, environment string) answer {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", name)
	b.must(err)
	_, err = part.Write([]byte(text))
	b.must(err)
	b.must(form.WriteField("environment", environment))
	b.must(form.Close())
	return b.send("POST", "/users/import", form.FormDataContentType(), &body)
}

var uploadID = regexp.MustCompile(`name="id" value="([A-Z0-9]+)"`)

// An import is looked at first; then exactly that file, with exactly those effects, is imported, once, by who looked.
func TestImport(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.upload("x.csv", "username,id\nnew,0\nuwe,5000000000\n", "quality").wants(t, "a wrong file", http.StatusOK, "Line 2", "id 0 is not in", "Line 3")
	b.upload("x.csv", "username\nuwe\n", "").wants(t, "nothing new", http.StatusOK, "There is nothing to import")
	b.post("/users/import").wants(t, "no file", http.StatusRequestEntityTooLarge)
	shown := b.upload("x.csv", "username,name,id\nnew,Newcomer,12\nuwe,Uwe U.,\n", "quality").wants(t, "the preview", http.StatusOK, "Newcomer", "Uwe U.", "Import exactly this")
	if _, err := r.users.Show(t.Context(), "new"); err == nil {
		t.Fatal("looking changed something")
	}
	id := uploadID.FindStringSubmatch(shown.body)[1]
	r.signedIn("glass-gail").post("/users/import/confirm", "id", id).wants(t, "another administrator", http.StatusConflict)
	r.recorded()
	b = r.signedIn("alice")
	b.post("/users/import/confirm", "id", id).wants(t, "confirming", http.StatusSeeOther, "/users?notice=imported")
	if list := r.recorded(); len(list) != 1 || list[0].Action != "users imported" || !strings.Contains(list[0].Detail, "1 added, 1 changed, 0 unchanged") ||
		!strings.Contains(list[0].Detail, "SHA-256") {
		t.Errorf("recorded %+v", list)
	}
	if u, err := r.users.Show(t.Context(), "new"); err != nil || u.IDs["quality"] != 12 {
		t.Errorf("%+v %v", u, err)
	}
	b.post("/users/import/confirm", "id", id).wants(t, "again", http.StatusConflict, "too old")

	id = uploadID.FindStringSubmatch(b.upload("x.json", `[{"username":"uwe","name":"Third"}]`, "").body)[1]
	_, err := r.users.Import(t.Context(), strings.NewReader("username,name\nuwe,Meanwhile\n"), itusers.CSV, itusers.Options{})
	r.must(err)
	b.post("/users/import/confirm", "id", id).wants(t, "changed meanwhile", http.StatusConflict, "have changed since")
	if u, _ := r.users.Show(t.Context(), "uwe"); u.Name != "Meanwhile" {
		t.Errorf("imported all the same: %+v", u)
	}
	id = uploadID.FindStringSubmatch(b.upload("x.json", `[{"username":"uwe","name":"Third"}]`, "").body)[1]
	r.later(14 * time.Minute)
	b.get("/")
	r.later(2 * time.Minute)
	b.post("/users/import/confirm", "id", id, "code", r.code("alice")).wants(t, "too late", http.StatusConflict, "too old")
}
