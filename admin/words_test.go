package admin_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/itusers"
)

// words are the words of a text, in lower case.
func words(text string) []string {
	return regexp.MustCompile(`\p{L}{2,}`).FindAllString(strings.ToLower(text), -1)
}

// catalogue are the words of all texts of a language.
func catalogue(t *testing.T, language string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, folder := range []string{"../templates/texts/", "../templates/admin/texts/"} {
		text, err := os.ReadFile(folder + language + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var texts map[string]string
		if err := json.Unmarshal(text, &texts); err != nil {
			t.Fatal(err)
		}
		for _, w := range words(strings.Join(slices.Collect(maps.Values(texts)), " ")) {
			known[w] = true
		}
	}
	return known
}

// shown is what people read of a page, or hear: without code, what says itself that it is English, and the choice of languages.
func shown(t *testing.T, page string) (text string) {
	t.Helper()
	page = regexp.MustCompile(`(?s)<(script|style)>.*?</(?:script|style)>|<textarea.*?</textarea>`).ReplaceAllString(page, "")
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	depth := 0 // below what is not read
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			attributes := map[string]string{}
			for _, a := range e.Attr {
				attributes[a.Name.Local] = a.Value
			}
			if depth > 0 || e.Name.Local == "code" || e.Name.Local == "footer" || attributes["translate"] == "no" ||
				attributes["lang"] == "en" && e.Name.Local != "html" {
				depth++
				continue
			}
			for _, name := range []string{"aria-label", "title", "placeholder", "alt", "data-label", "data-done"} {
				text += " " + attributes[name]
			}
		case xml.EndElement:
			depth = max(0, depth-1)
		case xml.CharData:
			if depth == 0 {
				text += " " + string(e)
			}
		}
	}
}

// told are records of all that the page of one call can say.
func (r *rig) told() (paths []string) {
	r.t.Helper()
	for i, one := range []audit.Record{
		{Action: audit.SignIn, Kind: "ok", Username: "Ursula.U", Factors: "password,totp"}, {Action: audit.SignIn, Kind: "ok", Factors: "token"},
		{Action: audit.SignIn, Kind: "not_mapped", Reason: "no_it_user", Environment: "quality"},
		{Action: audit.SignIn, Kind: "internal", Reason: "never_heard_of"}, {Action: audit.IntegratedSignIn, Kind: "ok", Environment: "quality", Factors: "frontend"},
		{Action: audit.PortalSignIn, Kind: "ok", Factors: "idp,idp_mfa"}, {Action: audit.PortalSignIn, Kind: "untrusted", Reason: "replayed"},
		{Action: audit.BreakGlass + audit.PortalSignIn, Kind: "locked", Reason: "not_activated"},
		{Action: audit.PasswordChanged, Kind: "unsuitable", Reason: "password_too_short"}, {Action: audit.PasswordChanged, Kind: "ok"},
		{Action: audit.FactorReset, Kind: "ok", Actor: "os:root", Detail: "devices: 2 → 0"},
	} {
		one.ID, one.Time, one.Provider, one.Subject = "told-"+string(rune('a'+i)), r.clock(), "corp", "s-ursula"
		if one.Kind == "ok" {
			one.ITUser = "ursula"
		}
		r.must(r.audit.Event(r.t.Context(), one))
		paths = append(paths, "/audit/explain?id="+one.ID)
	}
	_, err := r.store.IndexAudit(r.t.Context(), 1000)
	r.must(err)
	return paths
}

// data is what the tests' people, providers, versions, values and messages are called, and what is quoted of others.
var data = strings.NewReplacer("Corporate directory", "", "Partner login", "", "Break-glass", "", "a second server", "",
	"taken over from idbridge.yaml", "", " glass ", " ", "glass-gail", "", "slow", "", "client secret 1", "", "user.locked", "", "answered 401 Unauthorized", "",
	" one ", " ")

// In no other language a page says anything in English, but what says so itself: quoted errors, codes, the documentation of
// settings, details of the audit.
func TestNothingIsEnglish(t *testing.T) {
	slow := speaking{begun: make(chan struct{}), end: make(chan struct{})}
	chain := &verifier{changed: 1}
	r := newRig(t, func(c *admin.Config) { c.Sources, c.Verifier = slow, chain })
	chain.rig = r
	defer close(slow.end)
	paths := r.told()
	for _, one := range gallery() {
		paths = append(paths, one.path)
	}
	r.furnished()
	b := r.signedIn("alice")
	for _, begun := range []answer{b.post("/coverage"), b.post("/audit/verification"), b.post("/sources/run", "id", "lifetime", "allow", "13")} {
		r.jobs.Wait()
		paths = append(paths, begun.location)
	}
	running := b.post("/sources/run", "id", "slow", "dry", "true").location
	<-slow.begun
	wait(t, "it tells how far it is", func() bool { return strings.Contains(b.get(running).body, "17 / 40") })
	draft := draftID.FindStringSubmatch(b.post("/providers/remove", "id", "corp", "base", "2").location)[1]
	paths = append(paths, running, "/providers/proposal?draft="+draft, "/audit?from=2020-01-02T03:04&until=2020-01-01T00:00", "/audit?cursor=x",
		"/audit?from=x", "/audit?user=*", "/charts?span=30d", "/audit/explain?id=refused", "/users/show?name=uwe")
	r.managed.err = admin.LockedOut{"after this change no administrator could sign in"}
	for _, language := range []string{"de", "pt"} {
		english := catalogue(t, "en")
		for word := range catalogue(t, language) {
			delete(english, word)
		}
		b.header.Set("Accept-Language", language)
		pages := map[string]answer{
			"test":     b.post("/providers/proposal/test", "draft", draft),
			"try":      b.post("/providers/proposal/try", "draft", draft, "username", "ursula", "password", "pw"),
			"wrong":    b.post("/providers/proposal/try", "draft", draft, "username", "ursula", "password", "x"),
			"locked":   b.post("/providers/proposal/save", "draft", draft, "comment", "-"),
			"link":     b.post("/users/link/find", "name", "uwe", "provider", "corp", "account", "stranger"),
			"noname":   b.post("/users/link/find", "name", "uwe", "provider", "corp"),
			"subject":  b.post("/users/link/find", "name", "uwe", "provider", "sso"),
			"provider": b.post("/users/link/find", "name", "uwe", "provider", "-"),
			"kept":     b.post("/audit/verification", "kept", "x"),
			"nottaken": b.post("/webhooks/test", "id", "siem"),
			"import":   b.upload("users.csv", "username,name,active,id:production\nursula,Uschi,no,7\nann,Ann,yes,\n", ""),
			"problems": b.upload("users.csv", "username,id:production\nursula,x\n", ""),
			"into":     b.upload("users.csv", "username\nursula\n", "nowhere"),
		}
		for _, path := range paths {
			pages[path] = b.get(path)
		}
		for path, page := range pages {
			if page.location != "" || !strings.Contains(page.body, `<html lang="`+language+`"`) {
				t.Fatalf("%s: %d %s", path, page.status, page.location)
			}
			noWords(t, path+" in "+language, data.Replace(shown(t, page.body)), english)
		}
	}
}

// noWords tells which of some words a text has.
func noWords(t *testing.T, what, text string, of map[string]bool) {
	t.Helper()
	for _, word := range words(text) {
		if of[word] {
			t.Errorf("%s says %q: %s", what, word, regexp.MustCompile(`(?i).{0,60}\b`+word+`\b.{0,60}`).FindString(text))
		}
	}
}

// speaking are sources that have runs in every state, and one whose run goes on.
type speaking struct {
	feeds
	begun, end chan struct{}
}

func (s speaking) List() []admin.SourceInfo {
	return append(s.feeds.List(), admin.SourceInfo{ID: "slow", Kind: "lifetime", Owns: "ids"})
}

func (s speaking) Run(ctx context.Context, id string, o itusers.RunOptions) (itusers.Run, error) {
	if id == "slow" {
		o.Progress(itusers.Progress{Stage: itusers.StageUsers, Done: 17, Total: 40})
		s.begun <- struct{}{}
		<-s.end
	}
	return s.feeds.Run(ctx, id, o)
}

func (s speaking) Runs(ctx context.Context, id string, n int) ([]itusers.Run, error) {
	list, err := s.feeds.Runs(ctx, id, n)
	for _, state := range []itusers.RunState{itusers.RunUnderWay, itusers.RunRefused, itusers.RunFailed} {
		run := list[0]
		run.State, run.Reason, run.Error = state, "sync_limit", "the run would change 523 users"
		if state == itusers.RunFailed {
			run.Reason = "lifetime_unreachable"
		}
		run.Report.Unknown = 3
		list = append(list, run)
	}
	return list, err
}
