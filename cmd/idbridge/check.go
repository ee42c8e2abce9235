package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newCheck(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "check", Short: "See whether sign-ins could work now, and what to do if not",
		Long: `Checks the configuration, the certificate, the store, its clock, every provider, and for every environment whether
IT users are known. Exit code 1 when something would keep people from signing in.`,
		Example: "  idbridge check --config /etc/idbridge/idbridge.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			list := []verdict{{"ok", "configuration", s.config}}
			list = append(list, c.certificateVerdict(time.Now()))
			for _, w := range c.warnings() {
				list = append(list, verdict{"warn", "trust", w})
			}
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

const (
	expirySoon = 30 * 24 * time.Hour
	day        = 24 * time.Hour
)

func (c Config) certificateVerdict(now time.Time) verdict {
	v := verdict{Verdict: "ok", Check: "certificate"}
	if c.Listen.TLS.CertFile == "" {
		v.Text = "none: plain HTTP"
		return v
	}
	pair, err := tls.LoadX509KeyPair(c.Listen.TLS.CertFile, c.Listen.TLS.KeyFile)
	if err != nil {
		return verdict{"fail", "certificate", err.Error()}
	}
	ends := pair.Leaf.NotAfter
	v.Text = "valid until " + ends.Format(time.DateOnly)
	switch left := ends.Sub(now); {
	case left <= 0:
		v = verdict{"fail", "certificate", "it ended on " + ends.Format(time.DateOnly) + ": put a new one into " + c.Listen.TLS.CertFile}
	case left < expirySoon:
		v = verdict{"warn", "certificate", fmt.Sprintf("it ends in %d days: put a new one into %s", left/day, c.Listen.TLS.CertFile)}
	}
	return v
}

// diagnose asks the same doctor as Plugin_Test does.
func diagnose(ctx context.Context, c Config) (list []verdict) {
	b, err := openBackend(ctx, c)
	if err != nil {
		return []verdict{{"fail", "store", err.Error()}}
	}
	defer b.Close()
	w, err := newBridge(b, newMetrics(), slog.New(slog.DiscardHandler))
	if err != nil {
		return []verdict{{"fail", "wiring", err.Error()}}
	}
	seen := map[string]bool{}
	for _, e := range c.Environments {
		for _, f := range w.doctor.Diagnose(ctx, e.core()) {
			if seen[f.Check] {
				continue
			}
			seen[f.Check] = true
			switch {
			case f.OK():
				list = append(list, verdict{"ok", f.Check, ""})
			case f.Check == "clock":
				list = append(list, verdict{"warn", f.Check, f.Problem})
			default:
				list = append(list, verdict{"fail", f.Check, f.Problem})
			}
		}
	}
	return list
}

func report(w io.Writer, output string, list []verdict) error {
	failed := 0
	var rows [][]string
	for _, v := range list {
		if v.Verdict == "fail" {
			failed++
		}
		rows = append(rows, []string{v.Verdict, v.Check, strings.ReplaceAll(v.Text, "\n", "; ")})
	}
	if err := show(w, output, nil, rows, list); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(list))
	}
	return nil
}
