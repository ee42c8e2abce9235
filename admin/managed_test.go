package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/revision"
)

// managed is a configuration of one provider in memory. What a real one does is tested where it is made (cmd/idbridge, e2e);
// here it is what the door asks of it, and what it makes of the answers.
type managed struct {
	mu       sync.Mutex
	file     bool
	versions []revision.Info
	proposed []admin.Proposal
	saved    []string
	err      error // of Save
}

func newManaged() *managed {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	return &managed{versions: []revision.Info{{Number: 2, Base: 1, Time: at, Author: "admin:alice", Comment: "a second server"},
		{Number: 1, Time: at, Author: "os:root", Comment: "taken over from idbridge.yaml"}}}
}

func (m *managed) InForce() int64 { return 2 }

func (m *managed) Look(context.Context) (admin.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	newest := m.versions[0].Number
	return admin.State{Managed: "store", Version: newest, Newest: newest, Since: m.versions[0].Time, Kinds: []string{"azuread", "ldap", "saml"},
		Providers: []admin.ProviderState{{ID: "corp", Label: "Corporate directory", Kind: "ldap", Names: "*@example.com", Works: true},
			{ID: "sso", Label: "Partner login", Kind: "saml", Problem: "the metadata of https://idp.example.com/metadata cannot be read: timeout", Metadata: m.versions[0].Time}}}, nil
}

func (m *managed) Form(_ context.Context, id, kind string) (admin.Form, error) {
	if id != "" && id != "corp" || id == "" && kind != "ldap" {
		return admin.Form{}, admin.ErrNoProvider
	}
	f := admin.Form{ID: id, Kind: "ldap", Base: 2, Fields: []admin.FormField{
		{Key: "label", Type: "text", Doc: "its name for people"},
		{Key: "urls", Type: "text", List: true, Required: true, Doc: "in order of preference"},
		{Key: "base_dn", Type: "text", Required: true, Doc: "where people are"},
		{Key: "bind_password", Type: "text", Secret: true, Doc: "of the account that searches"},
		{Key: "start_tls", Type: "bool", Default: "false", Doc: "for ldap:// URLs"},
		{Key: "scope", Type: "text", Enum: []string{"sub", "one", "base"}, Default: "sub", Doc: "how deep"},
		{Key: "search_pool", Type: "integer", Default: "4", Doc: "connections"},
		{Key: "attributes", Type: "mapping", Doc: "names of attributes", Fields: []admin.FormField{{Key: "subject", Type: "text", Default: "entryUUID", Doc: "never changes"},
			{Key: "names", Type: "text", Table: true, Doc: "others"}}},
		{Key: "credentials", Type: "mapping", List: true, Doc: "several while one is being replaced",
			Fields: []admin.FormField{{Key: "secret", Type: "text", Secret: true, Doc: "the value"}, {Key: "expires", Type: "text", Required: true, Doc: "a date"}}},
	}}
	if id == "" {
		f.Fields = append([]admin.FormField{{Key: "id", Type: "text", Required: true, Doc: "never change it"}}, f.Fields...)
		return f, nil
	}
	f.Values = map[string]any{"id": "corp", "type": "ldap", "urls": []any{"ldaps://one.example.com", "ldaps://two.example.com"}, "base_dn": "dc=example,dc=com",
		"bind_password": "<secret>", "attributes": map[string]any{"names": map[string]any{"mail": "email"}},
		"credentials": []any{map[string]any{"secret": "<secret>", "expires": "2027-01-01"}, map[string]any{"secret": "<secret>", "expires": "2028-01-01"}}}
	return f, nil
}

func (m *managed) Text(context.Context) (string, error) {
	return "providers:\n  - id: corp\n    bind_password: <secret>\n", nil
}

func (m *managed) Versions(_ context.Context, below int64, limit int) (list []revision.Info, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.versions {
		if !m.file && (below == 0 || v.Number < below) && len(list) < limit {
			list = append(list, v)
		}
	}
	return list, nil
}

func (m *managed) Diff(_ context.Context, p admin.Proposal) ([]revision.Line, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Base != m.versions[0].Number {
		return nil, admin.ErrMoved
	}
	if strings.Contains(string(p.Settings)+string(p.Text), "wrong") {
		return nil, admin.Faults{{Path: "base_dn", Text: "is no DN <b>"}, {Text: "and more"}}
	}
	m.proposed = append(m.proposed, p)
	var lines []revision.Line
	for i := range 20 {
		lines = append(lines, revision.Line{Op: " ", Text: fmt.Sprint("line ", i)})
	}
	lines[10] = revision.Line{Op: "-", Text: "    base_dn: dc=old"}
	lines[11] = revision.Line{Op: "+", Text: "    base_dn: dc=new"}
	return lines, nil
}

func (m *managed) Test(context.Context, admin.Proposal) ([]admin.Verdict, error) {
	return []admin.Verdict{{Verdict: "ok", Provider: "corp", Check: "server ldaps://one.example.com", Text: "3 ms"},
		{Verdict: "warn", Provider: "corp", Check: "certificate", Text: "ends in 20 days"}, {Verdict: "fail", Provider: "corp", Check: "search", Text: "finds nobody"}}, nil
}

func (m *managed) Try(_ context.Context, _ admin.Proposal, _, username string, password authn.Secret) (admin.Trial, error) {
	if password.Reveal() != "pw" {
		return admin.Trial{Kind: "bad_credentials", Reason: "wrong_password"}, nil
	}
	return admin.Trial{Proven: true, Kind: "ok", Provider: "corp", Subject: "s-" + username, Username: username, ITUser: username,
		Outcomes: []admin.TrialResult{{Environment: "production", UserID: 1001, Kind: "code_required", Reason: "code_missing"}}}, nil
}

func (m *managed) Save(_ context.Context, p admin.Proposal, actor, comment string, force bool) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil && !force {
		return 0, m.err
	}
	m.saved = append(m.saved, fmt.Sprintf("%s %q %v", actor, comment, force))
	n := m.versions[0].Number + 1
	m.versions = append([]revision.Info{{Number: n, Base: n - 1, Author: actor, Comment: comment}}, m.versions...)
	return n, nil
}

var draftID = regexp.MustCompile(`draft=([A-Z0-9]+)`)

// A provider is changed with its form: nothing that was not touched is lost, secrets stay where they are, what is wrong is
// said beside the field; then the change is looked at, tested, tried and saved.
func TestChangingAProvider(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.get("/providers").wants(t, "the list", http.StatusOK, "Corporate directory", "Does not work", "timeout", "granted: 0", "Metadata", "read <time")
	shown := b.get("/providers/edit?id=corp").wants(t, "the form", http.StatusOK, "ldaps://two.example.com", "A secret is set", `name="credentials[1].expires"`, "mail: email")
	if regexp.MustCompile(`name="credentials\[2\].expires"[^>]* required`).MatchString(shown.body) {
		t.Error("an item that is not there must be filled in")
	}
	if strings.Contains(shown.body, "&lt;secret&gt;") {
		t.Error("a mask is shown as a value")
	}
	form := []string{"of", "corp", "kind", "ldap", "base", "2", "label", "Corp", "urls", "ldaps://one.example.com\r\nldaps://three.example.com\r\n", "base_dn", "wrong",
		"bind_password", "", "bind_password#set", "1", "scope", "one", "search_pool", "8", "attributes.names", "mail: email\nphone: tel", "attributes.subject", "",
		"credentials[0].secret#set", "1", "credentials[0].expires", "2027-01-01", "credentials[1].secret", "new secret", "credentials[1].expires", "2028-01-01",
		"credentials[2].secret", "", "credentials[2].expires", "", "unknown", "x"}
	b.post("/providers/edit", form...).wants(t, "wrong", 422, "is no DN &lt;b&gt;", "and more", `value="wrong"`, "ldaps://three.example.com", "A secret is set")
	form[11] = "dc=new"
	proposed := b.post("/providers/edit", form...).wants(t, "right", http.StatusSeeOther, "/providers/proposal?draft=")
	want := `{"attributes":{"names":{"mail":"email","phone":"tel"}},"base_dn":"dc=new","bind_password":"<secret>","credentials":[{"expires":"2027-01-01","secret":"<secret>"},` +
		`{"expires":"2028-01-01","secret":"new secret"}],"id":"corp","label":"Corp","scope":"one","search_pool":8,"type":"ldap","urls":["ldaps://one.example.com","ldaps://three.example.com"]}`
	var got any
	r.must(json.Unmarshal(r.managed.proposed[0].Settings, &got))
	if text := jsonOf(t, got); text != want {
		t.Errorf("proposed %s\nwant     %s", text, want)
	}
	id := draftID.FindStringSubmatch(proposed.location)[1]
	page := b.follow(proposed).wants(t, "the proposal", http.StatusOK, "Change of provider corp", "base_dn: dc=new", "line 8", "Save and apply")
	if strings.Contains(page.body, "line 2<") || strings.Contains(page.body, "new secret") {
		t.Error("shows what is far from the change, or a secret")
	}
	b.post("/providers/proposal/test", "draft", id).wants(t, "testing", http.StatusOK, "finds nobody", "v-warn")
	b.post("/providers/proposal/try", "draft", id, "username", "ursula", "password", "pw").wants(t, "trying", http.StatusOK, "The password is right", "s-ursula", "code_missing")
	b.post("/providers/proposal/try", "draft", id, "username", "ursula", "password", "x").wants(t, "wrongly", http.StatusOK, "wrong_password")
	r.managed.err = admin.LockedOut{"after this change no administrator could sign in", "corp: it was changed, and does not work"}
	b.post("/providers/proposal/save", "draft", id, "comment", "because").wants(t, "locking out", http.StatusConflict, "Nobody could sign in", "does not work", `name="force"`, `value="because"`)
	r.signedIn("glass-gail").get("/providers/proposal?draft="+id).wants(t, "another administrator", http.StatusConflict, "too old")
	b.post("/providers/proposal/save", "draft", id, "comment", "because", "force", "true").wants(t, "forced", http.StatusSeeOther, "/providers?notice=applied")
	if len(r.managed.saved) != 1 || r.managed.saved[0] != `admin:alice "because" true` {
		t.Errorf("saved %q", r.managed.saved)
	}
	b.post("/providers/proposal/save", "draft", id).wants(t, "again", http.StatusConflict, "saved already")
	b.post("/providers/edit", form...).wants(t, "from an old form", http.StatusConflict, "changed the configuration meanwhile")
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// Behind an item that was taken out, a masked secret is not taken for another item's.
func TestSecretsKeepTheirPlace(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.post("/providers/edit", "of", "corp", "kind", "ldap", "base", "2", "base_dn", "dc=x", "credentials[0].secret#set", "1", "credentials[0].secret#remove", "1",
		"credentials[0].expires", "", "credentials[1].secret#set", "1", "credentials[1].expires", "2028-01-01").wants(t, "the form", http.StatusSeeOther)
	if text := string(r.managed.proposed[0].Settings); !strings.Contains(text, `"credentials":[{"expires":"2028-01-01"}]`) {
		t.Errorf("proposed %s", text)
	}
}

// Removing, going back and the text are proposals too; and where the file is authoritative, there is nothing to save.
func TestProposals(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	b.follow(b.post("/providers/remove", "id", "corp", "base", "2")).wants(t, "removing", http.StatusOK, "Removal of provider corp")
	b.get("/providers/versions").wants(t, "versions", http.StatusOK, "a second server", "Go back to it", "newest")
	b.follow(b.post("/providers/restore", "number", "1", "base", "2")).wants(t, "going back", http.StatusOK, "Back to version 1")
	b.post("/providers/restore", "number", "x", "base", "2").wants(t, "no number", http.StatusNotFound)
	b.get("/providers/text").wants(t, "the text", http.StatusOK, "&lt;secret&gt;")
	b.post("/providers/text", "text", "wrong: 1", "base", "2").wants(t, "a wrong text", 422, "is no DN", "wrong: 1")
	b.follow(b.post("/providers/text", "text", "x: 1\r\ny: 2\r\n", "base", "2")).wants(t, "a text", http.StatusOK, "Change of the text")
	if last := r.managed.proposed[len(r.managed.proposed)-1]; string(last.Text) != "x: 1\ny: 2\n" {
		t.Errorf("proposed %q", last.Text)
	}
	r.managed.file = true
	page := b.follow(b.post("/providers/text", "text", "x: 1", "base", "2")).wants(t, "of a file", http.StatusOK, "kept in the file", "Run the test")
	if strings.Contains(page.body, "Save and apply") {
		t.Error("offers to save")
	}
	r.managed.err = admin.ErrManagedByFile
	b.api("POST", "/configuration", `{"base":2,"restore":1}`).problem(t, "saving all the same", http.StatusConflict, "managed_by_file")
	b.api("POST", "/configuration/diff", `{"base":1,"restore":1}`).problem(t, "moved", http.StatusConflict, "configuration_moved")
	b.api("POST", "/configuration/diff", `{"base":2}`).problem(t, "nothing", 422, "invalid")
	b.api("POST", "/configuration/diff", `{"base":2,"text":"wrong"}`).wants(t, "wrong", 422, "base_dn: is no DN")
	b.get("/providers/edit?id=nobody").wants(t, "no provider", http.StatusNotFound)
	r.later(10 * time.Minute)
	b.follow(b.post("/providers/remove", "id", "corp", "base", "2")).wants(t, "not fresh", http.StatusOK, "Prove that it is you")
	asked := b.post("/providers/proposal/try", "draft", "x", "username", "u", "password", "hunter2").wants(t, "not fresh", http.StatusForbidden, "Prove that it is you")
	if strings.Contains(asked.body, "hunter2") {
		t.Error("a password came back")
	}
}
