package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

func TestCertificateVerdicts(t *testing.T) {
	dir := t.TempDir()
	a, err := newAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.issue(dir, "server"); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, test := range map[string]struct {
		host string
		at   time.Time
		want []string
	}{
		"good":       {"localhost", now, []string{"ok certificate valid until .*, 89 days", "ok client CA valid until"}},
		"ends soon":  {"localhost", now.Add(70 * day), []string{"warn certificate it ends on .*, in 19 day.*server.pem", "warn client CA"}},
		"has ended":  {"localhost", now.Add(100 * day), []string{"fail certificate it ended on .*server.pem", "fail client CA it ended"}},
		"other host": {"a.example", now, []string{"ok certificate", "warn certificate it is not for a.example", "ok client CA"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Plugin: PluginConfig{PublicURL: "https://" + test.host + ":8443"}}
			c.Listen.TLS = TLSConfig{filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"), filepath.Join(dir, "ca.pem")}
			list := c.certificateVerdicts(test.at)
			if len(list) != len(test.want) {
				t.Fatalf("%+v, want %q", list, test.want)
			}
			for i, v := range list {
				if line := v.Verdict + " " + v.Check + " " + v.Text; !regexp.MustCompile(test.want[i]).MatchString(line) {
					t.Errorf("%q, want %q", line, test.want[i])
				}
			}
			checkPortal(t, c.Listen.TLS, test.host, test.at, test.want)
		})
	}
}

// checkPortal wants the same said of the portal's own certificate, but for the CA of clients, which it has not.
func checkPortal(t *testing.T, files TLSConfig, host string, at time.Time, want []string) {
	t.Helper()
	files.ClientCAFile = ""
	list := Config{Portal: &PortalConfig{PublicURL: "https://" + host, TLS: files}}.portalVerdicts(at)
	if len(list) != len(want)-1 {
		t.Fatalf("portal: %+v", list)
	}
	for i, v := range list {
		pattern := strings.Replace(want[i], "certificate", "portal certificate", 1)
		if line := v.Verdict + " " + v.Check + " " + v.Text; !regexp.MustCompile(pattern).MatchString(line) {
			t.Errorf("portal: %q, want %q", line, pattern)
		}
	}
}

func TestPlainWords(t *testing.T) {
	one := authn.Errorf(authn.Unavailable, "directory_unreachable", "ldaps://a: refused")
	other := authn.Errorf(authn.Unavailable, "directory_config", "ldaps://b: no base")
	both := &authn.Error{Kind: authn.Unavailable, Reason: "directory_unreachable", Provider: "corp", Err: fmt.Errorf("%w\n%w", one, other)}
	want := "ldaps://a: refused\nldaps://b: no base\n(directory_unreachable, directory_config)"
	if got := plainWords(both.Error()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := plainWords("no IT user (yet): import them"); got != "no IT user (yet): import them" {
		t.Errorf("%q", got)
	}
}

func TestCheckFitsTheScreen(t *testing.T) {
	var out strings.Builder
	printVerdicts(&out, []verdict{{Verdict: "ok", Check: "store"},
		{Verdict: "fail", Check: "provider corp", Text: strings.Repeat("word ", 50) + "\x1b[2J\nnext"}})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	tooWide := slices.ContainsFunc(lines, func(l string) bool { return len(l) > columns })
	if len(lines) != 6 || tooWide || lines[0] != "ok    store" || lines[5] != strings.Repeat(" ", 21)+"next" ||
		strings.Contains(out.String(), "\x1b") {
		t.Errorf("%d lines:\n%s", len(lines), &out)
	}
}

// TestLastOf: what is not a certificate has no end.
func TestLastOf(t *testing.T) {
	dir := t.TempDir()
	if _, err := newAuthority(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := lastOf(nil); ok {
		t.Error("nothing has an end")
	}
	if last, ok := lastOf(append([]byte("a comment\n"), text...)); !ok || time.Until(last) < 80*day {
		t.Errorf("%s, %v", last, ok)
	}
}
