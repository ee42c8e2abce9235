package insight

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/docs"
)

var update = flag.Bool("update", false, "write testdata anew")

// golden compares a text with a file that somebody has read.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v; got:\n%s", file, err, got)
	}
}

var began = time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)

// decided are sign-ins that end at different checks, each with what its record holds at that moment.
var decided = []audit.Record{
	{Action: audit.SignIn, Kind: "ok", Environment: "production", Username: "Ann", ITUser: "ann", Provider: "corp", Subject: "s1", Factors: "password,totp"},
	{Action: audit.SignIn, Kind: "ok", Environment: "production", Username: "ann", ITUser: "ann", Provider: "corp", Subject: "s1", Factors: "token"},
	{Action: audit.SignIn, Kind: "bad_credentials", Reason: "unknown_user", Environment: "production", Username: "anm", Provider: "corp"},
	{Action: audit.SignIn, Kind: "locked", Reason: "throttled", Environment: "production", Username: "ann", Provider: "corp", Subject: "s1"},
	{Action: audit.SignIn, Kind: "locked", Reason: "throttled", Environment: "production", Username: "ann", ITUser: "ann", Provider: "corp", Subject: "s1"},
	{Action: audit.SignIn, Kind: "not_mapped", Reason: "no_it_user", Environment: "test", Username: "bob", Provider: "corp", Subject: "s2"},
	{Action: audit.SignIn, Kind: "unavailable", Reason: "directory_silent", Environment: "production", Username: "ann", Provider: "corp"},
	{Action: audit.SignIn, Kind: "unavailable", Reason: "directory_silent", Environment: "production", Username: "ann", Provider: "corp", Subject: "s1", ITUser: "ann"},
	{Action: audit.SignIn, Kind: "internal", Reason: "never_heard_of", Environment: "production", Username: "ann"},
	{Action: audit.SignIn, Kind: "bad_credentials", Reason: "token_expired", Environment: "production", Username: "ann", Provider: "corp"},
	{Action: audit.IntegratedSignIn, Kind: "bad_credentials", Reason: "integrated_off", Environment: "test", Username: `CORP\ann`},
	{Action: audit.PortalSignIn, Kind: "untrusted", Reason: "replayed", Provider: "entra"},
	{Action: audit.PortalSignIn, Kind: "ok", Provider: "entra", Subject: "s3", Username: "", ITUser: "carla", Factors: "idp,idp_mfa"},
	{Action: audit.PortalSignIn, Kind: "bad_credentials", Reason: "wrong_code", Provider: "corp", Subject: "s1", Username: "ann", ITUser: "ann", Factors: "password"},
	{Action: audit.BreakGlass + audit.PortalSignIn, Kind: "locked", Reason: "not_activated", Provider: "glass", Subject: "s4", Username: "emergency"},
	{Action: audit.PasswordChanged, Kind: "unsuitable", Reason: "password_too_short", Provider: "corp", Subject: "s1", Username: "ann"},
	{Action: audit.FactorReset, Kind: "ok", ITUser: "ann", Actor: "os:root"},
	{Action: audit.CallerRefused, Kind: "untrusted", Reason: "wrong_address", Environment: "test", Source: "192.0.2.1"},
}

func (s Story) text() string {
	text := "# " + s.Title + "\n"
	if s.Way != "" {
		text += "way: " + s.Way + "\n"
	}
	for _, step := range s.Steps {
		text += fmt.Sprintf("- %s: %s. %s\n", step.Check, step.Outcome, step.Text)
	}
	if s.Happened != "" {
		text += "happened: " + s.Happened + "\n"
	}
	if s.Advice != "" {
		text += "advice: " + s.Advice + "\n"
	}
	return text + "\n"
}

func TestTell(t *testing.T) {
	text := ""
	for _, r := range decided {
		text += Tell(r).text()
	}
	golden(t, "stories.txt", text)
}

// finder has some records, oldest first.
type finder []audit.Row

func (f finder) FindAudit(_ context.Context, q Query) (p Page, err error) {
	for i := len(f) - 1; i >= 0; i-- {
		if q.Wants(f[i].Record) {
			p.Records = append(p.Records, f[i])
		}
	}
	return p, nil
}

type messages []Message

func (m messages) SAMLMessagesBetween(_ context.Context, _ string, from, until time.Time) (list []Message, err error) {
	for _, one := range m {
		if !one.At.Before(from) && one.At.Before(until) {
			list = append(list, one)
		}
	}
	return list, nil
}

// TestExplain: the decision is told, not what came beside it; what the same person did around that time, and the message
// of the identity provider that fits, are there.
func TestExplain(t *testing.T) {
	refused := audit.Record{Time: began, ID: "a", Action: audit.PortalSignIn, Kind: "untrusted", Reason: "wrong_audience",
		Provider: "corp", Username: "ann", Duration: time.Second}
	beside := audit.Record{Time: began, ID: "a", Action: audit.FactorEnrolled, ITUser: "ann", Kind: "ok"}
	late := audit.Record{Time: began.Add(time.Minute), ID: "b", Action: audit.PortalSignIn, Kind: "ok", ITUser: "ann", Provider: "corp"}
	far := audit.Record{Time: began.Add(time.Hour), ID: "c", Action: audit.SignIn, Kind: "ok", ITUser: "ann"}
	s := Searcher{finder{{Record: refused}, {Record: beside}, {Record: late}, {Record: far}}}
	log := messages{{At: began.Add(-time.Minute), Reason: "wrong_audience", Message: "before"},
		{At: began, Reason: "replayed", Message: "another"}, {At: began, Reason: "wrong_audience", Message: "this"}}
	story, err := s.Explain(t.Context(), "a", log)
	if err != nil || len(story.Records) != 2 || len(story.Near) != 1 || story.Near[0].ID != "b" {
		t.Errorf("%+v, %v", story, err)
	}
	if story.Message == nil || story.Message.Message != "this" || !strings.Contains(story.Title, "wrong_audience") {
		t.Errorf("%+v: %+v", story.Title, story.Message)
	}
	if story, err = s.Explain(t.Context(), "b", log); err != nil || story.Message != nil {
		t.Errorf("%+v, %v: that message is of another sign-in", story.Message, err)
	}
	for _, id := range []string{"", "nothing"} {
		if _, err := s.Explain(t.Context(), id, nil); !errors.Is(err, ErrNoRecord) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestEveryReasonHasItsCheck: where a sign-in ended is told for each reason that the documentation knows, and no check
// knows reasons that nobody gives any more.
func TestEveryReasonHasItsCheck(t *testing.T) {
	all := silent
	for _, j := range []journey{byPassword, byToken, byFrontEnd, byForm, byIdP, byNewPassword} {
		for _, c := range j.checks {
			all += " " + c.reasons
		}
	}
	explained := " " + strings.Join(docs.Reasons(), " ") + " "
	for reason, file := range given(t) {
		if !isOne(reason, all+" "+notOfASignIn) {
			t.Errorf("%s gives the reason %s: which check in steps.go ends with it?", file, reason)
		}
	}
	for _, reason := range strings.Fields(all) {
		if !strings.Contains(explained, " "+reason+" ") {
			t.Errorf("%s: docs/errors.md does not explain it in a table", reason)
		}
	}
}

// given are the reasons of the packages that sign-ins go through.
func given(t *testing.T) map[string]string {
	t.Helper()
	reason := regexp.MustCompile(`(?:Reason: |Errorf\((?:authn\.)?[A-Z]\w+, |\breason\w*\s+= |\brefuse\()"([a-z]+_[a-z_]+)"`)
	all := map[string]string{}
	for _, folder := range []string{"../authn", "../mfa", "../providers/*"} {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range reason.FindAllSubmatch(text, -1) {
				if !strings.HasSuffix(file, "_test.go") {
					all[string(m[1])] = file
				}
			}
		}
	}
	return all
}

// notOfASignIn are reasons of those packages' other work.
const notOfASignIn = "group_unknown"
