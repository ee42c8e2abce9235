package admin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/idbridge/idbridge/admin"
)

// document is the OpenAPI document as it is served.
type document struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Role        string `json:"x-role"`
		Parameters  []struct{ Name, In string }
		RequestBody *struct{ Content map[string]any } `json:"requestBody"`
		Responses   map[string]struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
	}
	raw any
}

func (b *browser) document() (d document) {
	b.t.Helper()
	text := b.api("GET", "/openapi.json", "").wants(b.t, "the document", http.StatusOK, `"openapi":"3.1.0"`).body
	b.must(json.Unmarshal([]byte(text), &d))
	raw, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	b.must(err)
	d.raw = raw
	return d
}

// fits checks a value against a schema of the document, found by its place there.
func (d document) fits(t testing.TB, what, place, text string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("https://example.test/openapi.json", d.raw); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("https://example.test/openapi.json#" + place)
	if err != nil {
		t.Fatal(what, err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Errorf("%s: no JSON: %v: %.200s", what, err, text)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: %v\n%.600s", what, err, text)
	}
}

// called is an example of each operation: what makes it ready, its path, and its body.
type called struct {
	path, body string
	ready      func(*rig)
}

func examples() map[string]called {
	disabled := func(r *rig) { _, err := r.users.SetActive(r.t.Context(), "ursula", false); r.must(err) }
	linked := func(r *rig) {
		_, err := r.users.Link(r.t.Context(), "ursula", "corp", "s-ursula", "ursula")
		r.must(err)
	}
	return map[string]called{
		"describe": {"/openapi.json", "", nil}, "showSession": {"/session", "", nil},
		"stepUp":     {"/session/step-up", `{"code":"{code}"}`, nil},
		"listUsers":  {"/users?text=u&state=active&environment=production&limit=2", "", linked},
		"addUser":    {"/users", `{"username":"new","name":"New","ids":{"quality":77}}`, nil},
		"showUser":   {"/users/ursula", "", linked},
		"changeUser": {"/users/ursula", `{"email":"other@example.com","ids":{"production":null,"quality":5}}`, nil},
		"enableUser": {"/users/ursula/enable", `{}`, disabled}, "disableUser": {"/users/ursula/disable", ``, nil},
		"linkUser":   {"/users/ursula/links/corp", `{"account":"ursula"}`, nil},
		"unlinkUser": {"/users/ursula/links/corp", ``, linked}, "resetFactors": {"/users/ursula/factors", ``, func(r *rig) { r.enrol("ursula") }},
		"inviteUser":  {"/users/ursula/invitation", `{}`, nil},
		"endSessions": {"/users/vera/sessions", ``, func(r *rig) { r.signedIn("vera") }}, "endSession": {"/users/ursula/sessions/x", ``, nil},
		"revokeTokens": {"/users/ursula/tokens", ``, nil}, "revokeToken": {"/users/ursula/tokens/x", ``, nil},
		"unlockUser":    {"/users/ursula/unlock", `{}`, nil},
		"previewImport": {"/imports?environment=quality", "username,id\nnew,12\n", nil},
		"searchAudit":   {"/audit?user=ali*&kind=ok&limit=5&from=2020-01-01T00:00:00Z", "", nil}, "explainCall": {"/calls/the-correlation-id", "", nil},
		"statistics":        {"/statistics?span=6h", "", nil},
		"showConfiguration": {"/configuration", "", nil}, "showConfigurationText": {"/configuration/text", "", nil}, "listVersions": {"/configuration/versions?limit=1", "", nil},
		"diffConfiguration":   {"/configuration/diff", `{"base":2,"provider":"corp","settings":{"id":"corp","type":"ldap","base_dn":"dc=new"}}`, nil},
		"testConfiguration":   {"/configuration/test", `{"base":2,"provider":"corp","settings":{"id":"corp","type":"ldap"}}`, nil},
		"tryConfiguration":    {"/configuration/try", `{"base":2,"restore":1,"username":"ursula","password":"pw"}`, nil},
		"changeConfiguration": {"/configuration", `{"base":2,"text":"x: 1","comment":"because"}`, nil},
		"listBlocks":          {"/blocks", "", blockUwe}, "forgetBlock": {"/blocks/forget", `{"key":"address:192.0.2.0/32"}`, nil}, "listEndings": {"/endings", "", nil},
		"listSources": {"/sources", "", nil}, "runSource": {"/sources/lifetime/runs", `{"dry_run":true}`, nil}, "cover": {"/coverage", `{}`, nil},
		"listWebhooks": {"/webhooks", "", nil}, "testWebhook": {"/webhooks/siem/test", `{}`, nil},
		"showVerification": {"/audit/verification", "", nil}, "verifyAudit": {"/audit/verification", `{"kept":""}`, nil},
		"resendWebhooks": {"/webhooks/resend", `{"id":"user.locked-1"}`, nil},
		"showJob":        {"/jobs/{job}", "", nil},
		"confirmImport":  {"/imports/{upload}/confirm", `{}`, nil},
	}
}

// call calls an example as somebody; what it leads to is for the test.
func (b *browser) call(method, id string, one called) answer {
	b.t.Helper()
	path, body := one.path, one.body
	if strings.Contains(path, "{upload}") {
		var kept struct{ ID string }
		_ = json.Unmarshal([]byte(b.send("POST", "/api/v1/imports", "text/csv", strings.NewReader("username\nnew\n")).body), &kept)
		path = strings.Replace(path, "{upload}", "x"+kept.ID, 1)
		if kept.ID != "" {
			path = one.path[:len("/imports/")] + kept.ID + "/confirm"
		}
	}
	if strings.Contains(path, "{job}") {
		b.jobs.Wait()
		var begun admin.Job
		_ = json.Unmarshal([]byte(b.api("POST", "/coverage", `{}`).body), &begun)
		path = strings.Replace(path, "{job}", "x"+begun.ID, 1)
		if begun.ID != "" {
			path = "/jobs/" + begun.ID
		}
	}
	if body == `{"code":"{code}"}` {
		body = `{"code":"` + b.code(b.who) + `"}`
	}
	if id == "previewImport" {
		return b.send(method, "/api/v1"+path, "text/csv", strings.NewReader(body))
	}
	return b.api(method, path, body)
}

// Every operation of the document is called, by every role: who may, may; who may not is told so and changes nothing; and
// every answer is as the document says. An operation without an example fails, and so does an example without one.
func TestEveryOperationByEveryRole(t *testing.T) {
	shared := newRig(t) // for what changes nothing, and for who may change nothing
	browsers := map[string]*browser{}
	for _, who := range []string{"norm", "vera", "oscar", "alice"} {
		browsers[who] = shared.signedIn(who)
	}
	d := browsers["vera"].document()
	left := examples()
	for path, methods := range d.Paths {
		for method, o := range methods {
			one, ok := left[o.OperationID]
			if !ok {
				t.Errorf("%s has no example", o.OperationID)
				continue
			}
			delete(left, o.OperationID)
			for rank, who := range []string{"norm", "vera", "oscar", "alice"} {
				what := fmt.Sprintf("%s by %s", o.OperationID, who)
				may := rank >= slices.Index([]string{"", "viewer", "operator", "administrator"}, o.Role)
				b := browsers[who]
				if may && method != "get" {
					r := newRig(t)
					if one.ready != nil {
						one.ready(r)
					}
					b = r.signedIn(who)
				}
				before := b.dump()
				p := b.call(strings.ToUpper(method), o.OperationID, one)
				if p.header.Get("X-Correlation-Id") == "" {
					t.Errorf("%s: no correlation id", what)
				}
				if !may {
					p.problem(t, what, http.StatusForbidden, map[bool]string{true: "no_role", false: "role_too_low"}[rank == 0])
					d.fits(t, what, place(path, method, "default", "application/problem+json"), p.body)
					if b.dump() != before || len(b.recorded()) > 0 {
						t.Errorf("%s: something changed", what)
					}
					continue
				}
				if p.status < 200 || p.status > 299 {
					t.Errorf("%s: %d %s", what, p.status, p.body)
					continue
				}
				d.fits(t, what, place(path, method, fmt.Sprint(p.status), "application/json"), p.body)
			}
		}
	}
	for id := range left {
		t.Errorf("the document lacks %s", id)
	}
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// place is where the schema of an answer is in the document.
func place(path, method, status, media string) string {
	where := "/paths/" + pointer.Replace(path) + "/" + method + "/responses/" + status + "/content/" + pointer.Replace(media) + "/schema"
	return strings.NewReplacer("{", "%7B", "}", "%7D").Replace(where)
}

// dump is everything about IT users that could change, as one text.
func (r *rig) dump() string {
	r.t.Helper()
	users, err := r.users.List(r.t.Context(), userFilter())
	r.must(err)
	var b bytes.Buffer
	for _, u := range users {
		devices, err := r.factors.Devices(r.t.Context(), r.user(u.Username))
		r.must(err)
		sessions, err := r.store.Sessions(r.t.Context(), u.Key)
		r.must(err)
		fmt.Fprintln(&b, u, len(devices), len(sessions))
	}
	fmt.Fprintln(&b, r.managed.versions)
	return b.String()
}

// Every code that a refusal can have stands in docs/errors.md.
func TestEveryCodeIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("refusal.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`refusal\{http\.\w+, "([a-z_]+)"`).FindAllStringSubmatch(string(code), -1)
	if len(found) < 15 {
		t.Fatalf("%d codes", len(found))
	}
	for _, m := range found {
		if !strings.Contains(string(text), "`"+m[1]+"`") {
			t.Errorf("docs/errors.md does not explain %q", m[1])
		}
	}
}

// Bodies are read strictly, and what is wrong is said.
func TestStrictBodies(t *testing.T) {
	r := newRig(t)
	b := r.signedIn("alice")
	for body, want := range map[string]string{
		``: "malformed", `{`: "malformed", `[]`: "malformed", `{"name":"x"} {}`: "malformed", `{"name":"x","surname":"y"}`: "malformed",
		`{"name":"x","name":"y"}`: "malformed", `{"name":"x","NAME":"y"}`: "malformed", `{"name":1}`: "malformed", `{"ids":{"production":"1"}}`: "malformed",
		`{"ids":{"production":1.5}}`: "malformed", `{"ids":{"production":3000000000}}`: "malformed", `{"ids":{"nowhere":1}}`: "invalid",
		`{"ids":{"production":0}}`: "invalid", `{"ids":{"production":-1}}`: "invalid", `{"ids":{"production":1}}`: "invalid",
		`{"name":" x"}`: "invalid", `{"name":"a\u0000b"}`: "invalid", `{"name":"` + strings.Repeat("x", 257) + `"}`: "invalid",
		`{"name":"` + strings.Repeat("x", 600_000) + `"}`: "too_large",
	} {
		status := map[string]int{"malformed": 400, "invalid": 422, "too_large": 413}[want]
		b.api("PATCH", "/users/ursula", body).problem(t, fmt.Sprintf("%.60s", body), status, want)
	}
	b.api("PATCH", "/users/ursula", `{"ids":{"production":1}}`).wants(t, "a taken id", 422, `belongs to \"alice\"`)
	b.api("PATCH", "/users/stranger", `{"name":"x"}`).problem(t, "nobody", http.StatusNotFound, "no_it_user")
	b.api("POST", "/users", `{"username":"URSULA"}`).problem(t, "one who is there", 422, "invalid")
	for _, query := range []string{"?x=1", "?state=odd", "?limit=x", "?text=a&text=b", "?cursor=*"} {
		b.api("GET", "/users"+query, "").problem(t, query, 422, "invalid")
	}
	if len(r.recorded()) > 0 {
		t.Error("a refused change is recorded as one")
	}
}

// A list is gone through page by page, and nobody is missing or there twice.
func TestPaging(t *testing.T) {
	r := newRig(t)
	var many strings.Builder
	many.WriteString("username\n")
	for i := range 120 {
		fmt.Fprintf(&many, "user%03d\n", i)
	}
	_, err := r.users.Import(t.Context(), strings.NewReader(many.String()), "csv", importOptions())
	r.must(err)
	b := r.signedIn("vera")
	var names []string
	for cursor, pages := "", 0; pages < 10; pages++ {
		var page struct {
			Users []struct{ Username string }
			Next  string
		}
		r.must(json.Unmarshal([]byte(b.api("GET", "/users?text=user&limit=50&cursor="+cursor, "").body), &page))
		for _, u := range page.Users {
			names = append(names, u.Username)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(names) != 120 || !slices.IsSorted(names) || len(slices.Compact(names)) != 120 {
		t.Errorf("%d names: %v", len(names), names)
	}
}
