package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/authn"
)

func newCheck(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "check", Short: "See whether sign-ins could work now, and what to do if not",
		Long: `Checks the configuration, the certificate, the store, its clock, every provider, and for every environment whether
IT users are known. Changes nothing: a database that is not there is not made. Exit code 1 when something would keep
people from signing in; warnings alone are 0.`,
		Example: "  idbridge check --config /etc/idbridge/idbridge.yaml\n  idbridge check -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			list := []verdict{{"ok", "configuration", s.config}}
			for _, w := range c.warnings() {
				where, text, _ := strings.Cut(w, ": ")
				list = append(list, verdict{"warn", where, text})
			}
			list = append(list, c.certificateVerdicts(time.Now())...)
			list = append(list, diagnose(cmd.Context(), c)...)
			return report(cmd.OutOrStdout(), output, list)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// verdict is one line of check.
type verdict struct {
	Verdict string `json:"verdict"` // ok, warn or fail
	Check   string `json:"check"`
	Text    string `json:"text"`
}

func (v verdict) ofProvider() int { return strings.Count(v.Check, "provider ") }

const (
	expirySoon = 30 * 24 * time.Hour
	day        = 24 * time.Hour
)

// certificateVerdicts are about the listener's certificate; without one there is a warning already.
func (c Config) certificateVerdicts(now time.Time) []verdict {
	t := c.Listen.TLS
	if t.CertFile == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return []verdict{{"fail", "certificate", err.Error()}}
	}
	list := []verdict{expiry("certificate", pair.Leaf.NotAfter, now, t.CertFile)}
	if u, err := url.Parse(c.Plugin.PublicURL); err == nil && pair.Leaf.VerifyHostname(u.Hostname()) != nil {
		list = append(list, verdict{"warn", "certificate", fmt.Sprintf("it is not for %s, the host of plugin.public_url: "+
			"the platform will refuse it, unless a reverse proxy with a certificate of its own stands in front", u.Hostname())})
	}
	if t.ClientCAFile == "" {
		return list
	}
	text, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return append(list, verdict{"fail", "client CA", err.Error()})
	}
	if ends, ok := lastOf(text); ok {
		list = append(list, expiry("client CA", ends, now, t.ClientCAFile))
	}
	return list
}

// lastOf is when the last of some certificates ends: until then one of them can vouch for somebody.
func lastOf(text []byte) (last time.Time, ok bool) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if one, err := x509.ParseCertificate(block.Bytes); err == nil && one.NotAfter.After(last) {
			last, ok = one.NotAfter, true
		}
	}
	return last, ok
}

func expiry(check string, ends, now time.Time, file string) verdict {
	on, left := ends.Format(time.DateOnly), ends.Sub(now)
	switch {
	case left <= 0:
		return verdict{"fail", check, "it ended on " + on + ": put a new one into " + file}
	case left < expirySoon:
		return verdict{"warn", check, fmt.Sprintf("it ends on %s, in %d day(s): put a new one into %s", on, left/day, file)}
	}
	return verdict{"ok", check, fmt.Sprintf("valid until %s, %d days", on, left/day)}
}

// diagnose asks the same doctor as Plugin_Test does. Without a store the providers are asked all the same.
func diagnose(ctx context.Context, c Config) (list []verdict) {
	doctor := authn.Doctor{}
	b, err := openExisting(ctx, c)
	if err != nil {
		doctor.Ground = noGround{err}
	} else {
		defer b.Close()
		doctor.Ground = b.store
	}
	if doctor.Providers, _, err = makeProviders(c, b.footing()); err != nil {
		return []verdict{{"fail", "providers", err.Error()}}
	}
	for _, text := range b.glassWarnings(ctx) {
		list = append(list, verdict{"warn", "break-glass account", text})
	}
	said := map[string]bool{}
	for _, e := range c.Environments {
		for _, f := range doctor.Diagnose(ctx, e.core()) {
			if !said[f.Check] && (f.OK() || !said[f.Problem]) {
				said[f.Check], said[f.Problem] = true, true
				list = append(list, c.verdictOf(ctx, doctor.Ground, e, f))
			}
		}
	}
	slices.SortStableFunc(list, func(a, b verdict) int { return a.ofProvider() - b.ofProvider() }) // those last
	return list
}

// openExisting opens the backend, and makes no database where there is none.
func openExisting(ctx context.Context, c Config) (*backend, error) {
	if file := c.path(c.Store.Path); c.Store.Driver == "sqlite" {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no database yet: idbridge users import FILE makes %s", file)
		}
	}
	return openBackend(ctx, c)
}

// noGround is a store that cannot be opened.
type noGround struct{ error }

func (g noGround) Ping(context.Context) error                                  { return g.error }
func (g noGround) Clock(context.Context) (time.Time, error)                    { return time.Time{}, g.error }
func (g noGround) MappedUsers(context.Context, authn.Environment) (int, error) { return 0, g.error }

func (c Config) verdictOf(ctx context.Context, ground authn.Ground, e EnvironmentConfig, f authn.Finding) verdict {
	switch {
	case !f.OK() && f.Check == "clock":
		return verdict{"warn", f.Check, plainWords(f.Problem)}
	case !f.OK():
		return verdict{"fail", f.Check, plainWords(f.Problem)}
	case f.Check == "store" && c.Store.Driver == "sqlite":
		return verdict{"ok", f.Check, "sqlite, " + c.path(c.Store.Path)}
	case f.Check == "store":
		return verdict{"ok", f.Check, c.Store.Driver}
	case f.Check == "clock" && c.Store.Driver == "sqlite":
		return verdict{"ok", f.Check, time.Now().UTC().Format(time.RFC3339) + "; codes need it right within seconds"}
	case f.Check == "clock":
		return verdict{"ok", f.Check, time.Now().UTC().Format(time.RFC3339) + ", as at the store"}
	case strings.HasPrefix(f.Check, "it-users "):
		n, _ := ground.MappedUsers(ctx, e.core()) // it has just worked
		return verdict{"ok", f.Check, fmt.Sprintf("%d active IT user(s) could sign in", n)}
	}
	return verdict{"ok", f.Check, "every server answers"}
}

// kinds are what an error begins with on each level; people need the reason once.
var kinds = regexp.MustCompile(`(?:^|: |\n)(?:[\w.-]+: )?[a-z][a-z_ ]* \(([a-z_]+)\): `)

// plainWords is an error without kinds, with its reasons, by which docs/errors.md explains it, at the end.
func plainWords(problem string) string {
	text, reasons := splitReasons(problem)
	if len(reasons) > 0 {
		text += "\n(" + strings.Join(reasons, ", ") + ")"
	}
	return text
}

// withoutReasons is an error without kinds and reasons.
func withoutReasons(problem string) string {
	text, _ := splitReasons(problem)
	return text
}

func splitReasons(problem string) (plain string, reasons []string) {
	var lines []string
	for _, text := range strings.Split(problem, "\n") {
		for m := kinds.FindStringSubmatchIndex(text); m != nil && m[0] == 0; m = kinds.FindStringSubmatchIndex(text) {
			if reason := text[m[2]:m[3]]; !slices.Contains(reasons, reason) {
				reasons = append(reasons, reason)
			}
			text = text[m[1]:]
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n"), reasons
}

func report(w io.Writer, output string, list []verdict) error {
	failed := 0
	for _, v := range list {
		if v.Verdict == "fail" {
			failed++
		}
	}
	if output == "json" {
		if err := show(w, output, nil, nil, list); err != nil {
			return err
		}
	} else {
		printVerdicts(w, list)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(list))
	}
	return nil
}

// columns is how wide check prints.
const columns = 100

func printVerdicts(w io.Writer, list []verdict) {
	width := 0
	for _, v := range list {
		width = max(width, len(v.Check))
	}
	for _, v := range list {
		head := fmt.Sprintf("%-4s  %-*s", v.Verdict, width, v.Check)
		for _, text := range wrapped(printable(strings.ReplaceAll(v.Text, "\n", "\t")), columns-len(head)-2) {
			fmt.Fprintln(w, strings.TrimRight(head+"  "+text, " "))
			head = strings.Repeat(" ", len(head))
		}
	}
}

// wrapped breaks a text into lines at tabs, and at blanks where it would be too wide.
func wrapped(text string, width int) (lines []string) {
	for _, paragraph := range strings.Split(text, "\t") {
		row := ""
		for _, word := range strings.Fields(paragraph) {
			if row != "" && len(row)+1+len(word) > width {
				lines, row = append(lines, row), ""
			}
			row = strings.TrimSpace(row + " " + word)
		}
		lines = append(lines, row)
	}
	return lines
}
