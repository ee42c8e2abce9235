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
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/authn"
)

func newCheck(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "check", Short: "See whether sign-ins could work now, and what to do if not",
		Long: `Checks the configuration, the certificate, the store, its clock, every provider, and for every environment whether
IT users are known. A database that is not there is not made; one of an older version is brought up to this program's,
as by every command, and nothing else is changed. Exit code 1 when something would keep people from signing in;
warnings alone are 0.

Of a directory it shows each server with its latency and certificate, and how many accounts sign-ins could find; of a
domain also the clocks, the PDC emulator, the service account and the lock-out policies.`,
		Example: "  idbridge check --config /etc/idbridge/idbridge.yaml\n  idbridge check -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			list := []verdict{{Verdict: "ok", Check: "configuration", Text: s.config}}
			for _, w := range c.warnings() {
				where, text, _ := strings.Cut(w, ": ")
				list = append(list, verdict{Verdict: "warn", Check: where, Text: text})
			}
			list = append(list, c.certificateVerdicts(time.Now())...)
			list = append(list, c.portalVerdicts(time.Now())...)
			list = append(list, diagnose(cmd.Context(), c, progressOf(cmd))...)
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

	Provider string `json:"provider,omitempty"` // whose check it is
	head     bool   // sums up those of a provider
}

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
		return []verdict{{Verdict: "fail", Check: "certificate", Text: err.Error()}}
	}
	list := []verdict{expiry("certificate", pair.Leaf.NotAfter, now, t.CertFile)}
	if u, err := url.Parse(c.Plugin.PublicURL); err == nil && pair.Leaf.VerifyHostname(u.Hostname()) != nil {
		list = append(list, verdict{Verdict: "warn", Check: "certificate", Text: fmt.Sprintf("it is not for %s, the host of plugin.public_url: "+
			"the platform will refuse it, unless a reverse proxy with a certificate of its own stands in front", u.Hostname())})
	}
	if t.ClientCAFile == "" {
		return list
	}
	text, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return append(list, verdict{Verdict: "fail", Check: "client CA", Text: err.Error()})
	}
	if ends, ok := lastOf(text); ok {
		list = append(list, expiry("client CA", ends, now, t.ClientCAFile))
	}
	return list
}

// portalVerdicts are about the certificate of the portal's own listener.
func (c Config) portalVerdicts(now time.Time) []verdict {
	if c.Portal == nil || c.Portal.TLS.CertFile == "" {
		return nil
	}
	t := c.Portal.TLS
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return []verdict{{Verdict: "fail", Check: "portal certificate", Text: err.Error()}}
	}
	list := []verdict{expiry("portal certificate", pair.Leaf.NotAfter, now, t.CertFile)}
	if u, err := url.Parse(c.Portal.PublicURL); err == nil && pair.Leaf.VerifyHostname(u.Hostname()) != nil {
		list = append(list, verdict{Verdict: "warn", Check: "portal certificate", Text: fmt.Sprintf("it is not for %s, the host of "+
			"portal.public_url: browsers will refuse it, unless a reverse proxy with a certificate of its own stands in front", u.Hostname())})
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
		return verdict{Verdict: "fail", Check: check, Text: "it ended on " + on + ": put a new one into " + file}
	case left < expirySoon:
		return verdict{Verdict: "warn", Check: check, Text: fmt.Sprintf("it ends on %s, in %d day(s): put a new one into %s", on, left/day, file)}
	}
	return verdict{Verdict: "ok", Check: check, Text: fmt.Sprintf("valid until %s, %d days", on, left/day)}
}

// progressOf tells on standard error what takes long.
func progressOf(cmd *cobra.Command) func(provider, text string) {
	var mu sync.Mutex
	return func(provider, text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", provider, text)
	}
}

// diagnose asks the same doctor as Plugin_Test does, and of the providers more. Without a store they are asked all the
// same.
func diagnose(ctx context.Context, c Config, say func(provider, text string)) (list []verdict) {
	doctor := authn.Doctor{}
	b, err := openExisting(ctx, c)
	if err != nil {
		doctor.Ground = noGround{err}
	} else {
		defer b.Close()
		doctor.Ground, c = b.store, b.config // with `managed: store`, that of the newest version
		if b.version > 0 {
			list = append(list, verdict{Verdict: "ok", Check: "managed configuration", Text: fmt.Sprintf("version %d, in the store", b.version)})
		}
	}
	if b != nil {
		list = append(list, b.sourceVerdicts(ctx)...)
	}
	if doctor.Providers, _, err = makeProviders(c, b.footing()); err != nil {
		return []verdict{{Verdict: "fail", Check: "providers", Text: err.Error()}}
	}
	for _, text := range b.glassWarnings(ctx) {
		list = append(list, verdict{Verdict: "warn", Check: "break-glass account", Text: text})
	}
	said := map[string]bool{}
	for _, e := range c.Environments {
		for _, f := range doctor.DiagnoseGround(ctx, e.core()) {
			if !said[f.Check] && (f.OK() || !said[f.Problem]) {
				said[f.Check], said[f.Problem] = true, true
				list = append(list, c.verdictOf(ctx, doctor.Ground, e, f))
			}
		}
	}
	for i, findings := range doctor.Inspect(ctx, say) {
		list = append(list, c.Providers[i].verdicts(findings)...)
	}
	return list
}

// verdicts are about one provider, below a line that sums them up.
func (p ProviderConfig) verdicts(findings []authn.Finding) []verdict {
	head := verdict{Verdict: "ok", Check: "provider " + p.ID, Text: p.Type, Provider: p.ID, head: true}
	var list []verdict
	for _, f := range findings {
		v := verdict{Verdict: "ok", Check: f.Check, Text: f.Seen, Provider: p.ID}
		switch {
		case !f.OK() && f.Warning:
			v.Verdict, v.Text = "warn", plainWords(f.Problem)
		case !f.OK():
			v.Verdict, v.Text = "fail", plainWords(f.Problem)
		}
		if v.Verdict == "fail" || v.Verdict == "warn" && head.Verdict == "ok" {
			head.Verdict = v.Verdict
		}
		list = append(list, v)
	}
	if len(list) == 1 && list[0].Check == head.Check { // it knows only whether it works
		list[0].Text = strings.TrimPrefix(p.Type+"\n"+list[0].Text, "\n")
		return list
	}
	return append([]verdict{head}, list...)
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
		return verdict{Verdict: "warn", Check: f.Check, Text: plainWords(f.Problem)}
	case !f.OK():
		return verdict{Verdict: "fail", Check: f.Check, Text: plainWords(f.Problem)}
	case f.Check == "store" && c.Store.Driver == "sqlite":
		return verdict{Verdict: "ok", Check: f.Check, Text: "sqlite, " + c.path(c.Store.Path)}
	case f.Check == "store":
		return verdict{Verdict: "ok", Check: f.Check, Text: c.Store.Driver}
	case f.Check == "clock" && c.Store.Driver == "sqlite":
		return verdict{Verdict: "ok", Check: f.Check, Text: time.Now().UTC().Format(time.RFC3339) + "; codes need it right within seconds"}
	case f.Check == "clock":
		return verdict{Verdict: "ok", Check: f.Check, Text: time.Now().UTC().Format(time.RFC3339) + ", as at the store"}
	case strings.HasPrefix(f.Check, "it-users "):
		n, _ := ground.MappedUsers(ctx, e.core()) // it has just worked
		return verdict{Verdict: "ok", Check: f.Check, Text: fmt.Sprintf("%d active IT user(s) could sign in", n)}
	}
	return verdict{Verdict: "ok", Check: f.Check, Text: f.Seen}
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
	failed, all := 0, 0
	for _, v := range list {
		if v.head {
			continue
		}
		all++
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
		return fmt.Errorf("%d of %d checks failed", failed, all)
	}
	return nil
}

// columns is how wide check prints.
const columns = 100

// title is a check's name as it is printed: what belongs to a provider stands below it.
func (v verdict) title() string {
	if v.Provider != "" && v.Check != "provider "+v.Provider {
		return "  " + v.Check
	}
	return v.Check
}

func printVerdicts(w io.Writer, list []verdict) {
	width := 0
	for _, v := range list {
		width = max(width, len(v.title()))
	}
	for _, v := range list {
		head := fmt.Sprintf("%-4s  %-*s", v.Verdict, width, v.title())
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
