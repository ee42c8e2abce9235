package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

func newAudit(s *settings) *cobra.Command {
	return group("audit", "Search, explain and verify the record of decisions", newAuditTail(s), newAuditSearch(s),
		newAuditExplain(s), newAuditStatistics(s), newAuditExport(s), newAuditVerify(s), newAuditRestart(s))
}

func newAuditTail(s *settings) *cobra.Command {
	var n int
	var follow bool
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the newest records",
		Example: "  idbridge audit tail -n 50\n  idbridge audit tail --follow",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				var poll time.Duration
				if follow {
					poll = time.Second
				}
				return audit.Tail(cmd.Context(), b.store, n, poll, func(r audit.Row) error {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), recordLine(r.Record))
					return err
				})
			})
		},
	}
	cmd.Flags().IntVarP(&n, "lines", "n", 20, "how many")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new ones until Ctrl-C")
	return cmd
}

// recordLine is a record for people; empty fields are left out.
func recordLine(r audit.Record) string {
	text := fmt.Sprintf("%d %s %s %s", r.Seq, r.Time.Format(time.RFC3339), r.Action, r.Kind)
	for _, f := range []struct{ name, value string }{
		{"reason", r.Reason}, {"username", r.Username}, {"it_user", r.ITUser}, {"environment", r.Environment},
		{"provider", r.Provider}, {"factors", r.Factors}, {"source", r.Source}, {"actor", r.Actor}, {"detail", r.Detail}, {"id", r.ID},
	} {
		if f.value != "" {
			text += fmt.Sprintf(" %s=%q", f.name, f.value)
		}
	}
	return text
}

func newAuditExport(s *settings) *cobra.Command {
	var format, since, file string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the records out, oldest first",
		Example: "  idbridge audit export --since 2026-01-01 --format csv --file audit.csv",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from := time.Time{}
			if since != "" {
				var err error
				if from, err = time.Parse(time.DateOnly, since); err != nil {
					return usageError{fmt.Errorf("--since %q: want a day such as 2026-01-31", since)}
				}
			}
			if format != string(audit.JSONLines) && format != string(audit.CSV) {
				return usageError{fmt.Errorf("--format %q: want jsonl or csv", format)}
			}
			return withBackend(cmd, s, func(b *backend) error {
				return toFile(cmd, file, func(w io.Writer) error {
					n, err := audit.Export(cmd.Context(), b.store, w, audit.Format(format), from)
					fmt.Fprintf(cmd.ErrOrStderr(), "%d record(s)\n", n)
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", string(audit.JSONLines), "jsonl or csv")
	cmd.Flags().StringVar(&since, "since", "", "only from this day (UTC) on")
	cmd.Flags().StringVar(&file, "file", "", "write into this new file instead of standard output")
	return cmd
}

// toFile writes into a new file, or to standard output without a name.
func toFile(cmd *cobra.Command, name string, write func(io.Writer) error) error {
	if name == "" {
		return write(cmd.OutOrStdout())
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func newAuditVerify(s *settings) *cobra.Command {
	var kept, output string
	cmd := &cobra.Command{
		Use: "verify", Short: "Find out whether records were changed, removed, inserted or moved",
		Long: `Checks the whole chain of records. Keep the number and the MAC that it prints in another place: with --kept they prove later
that nothing up to there is missing or was rewritten, not even together with the rest of the database. The administrators'
page and a running server (audit.verify_every) do the same; what was found last, by whomever, is there to read for all.`,
		Example: "  idbridge audit verify\n  idbridge audit verify --kept 4711:9c1f...\n  idbridge audit verify -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				return verifyAudit(cmd, b, kept, output)
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&kept, "kept", "", "NUMBER:MAC that was printed earlier: the record must still be there")
	return cmd
}

func verifyAudit(cmd *cobra.Command, b *backend, text, output string) error {
	var kept *audit.Kept
	if text != "" {
		k, err := audit.ParseKept(text)
		if err != nil {
			return usageError{fmt.Errorf("--kept %q: %w", text, err)}
		}
		kept = &k
	}
	d, err := b.verify(cmd.Context(), operator(), kept, nil)
	if d.Ended.IsZero() {
		return err
	}
	out := cmd.OutOrStdout()
	if output == "json" {
		err = errors.Join(show(out, output, nil, nil, d), err)
		out = io.Discard
	}
	return errors.Join(tellVerdict(out, d), err)
}

// tellVerdict says what was found; what is not as it should be is the error.
func tellVerdict(out io.Writer, d audit.Verdict) error {
	if !d.Holds && d.Kept != audit.KeptLost {
		return fmt.Errorf("the audit is not what was written: %s\n"+
			"find out who did that (idbridge audit export); then idbridge audit restart --reason TEXT", d.Text)
	}
	for _, broken := range d.Restarts {
		fmt.Fprintf(out, "restarted: %s\n", breakLine(broken))
	}
	fmt.Fprintf(out, "ok: %d record(s), up to number %d, mac %s\n", d.Records, d.Last, d.MAC)
	if d.Text != "" {
		return errors.New(d.Text)
	}
	return nil
}

// tellBroken posts to webhooks that somebody found the audit broken, and returns what they found. The audit itself is not
// written to: its end may be what is broken.
func (b *backend) tellBroken(ctx context.Context, found error) error {
	var seq int64
	var at *audit.Broken
	if errors.As(found, &at) {
		seq = at.Seq
	}
	messages := b.brokenMessages(operator(), authn.ReasonOf(found), found.Error(), seq)
	if err := b.store.PostMessages(ctx, messages); err != nil {
		return fmt.Errorf("%w\nwebhooks could not be told: %w", found, err)
	}
	return found
}

// metBroken is tellBroken for a server that could not write into the audit, if its end is why: once an hour for all nodes.
func (b *backend) metBroken(ctx context.Context, found error) {
	if reason := authn.ReasonOf(found); reason != audit.HeadChanged && reason != audit.WrongKey {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // somebody waits for the refusal
	defer cancel()
	now := time.Now()
	if first, err := b.store.UseOnce(ctx, "audit broken", now.UTC().Format("2006-01-02T15"), now.Add(day)); err == nil && first {
		_ = b.tellBroken(ctx, found) // the log has told already
	}
}

// breakLine is an acknowledged break for people.
func breakLine(b audit.Break) string {
	at := "as a whole"
	if b.Broken > 0 {
		at = fmt.Sprintf("at record %d", b.Broken)
	}
	return printable(fmt.Sprintf("record %d, %s, by %s: the chain did not hold %s (%s); %s",
		b.Seq, b.Time.UTC().Format(time.RFC3339), b.Actor, at, b.Reason, b.Why))
}

func newAuditRestart(s *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "restart --reason TEXT", Short: "Begin a new chain, openly, where the old one does not hold",
		Long: `Begins a new chain of records where the old one does not hold, so that sign-ins can be recorded again. Nothing is
removed or mended: the restart is a record itself, says what was found, when, by whom and why, and freezes what stands
before it as it is now. audit verify names it for ever. Find out first who changed the records, and keep a copy
(audit export). A chain that holds is not restarted.`,
		Example: `  idbridge audit export --file before-the-restart.jsonl
  idbridge audit restart --reason "backup of 3 May restored, ticket 4711"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n := len(reason); n == 0 || n > 500 {
				return usageError{errors.New("--reason: say why, in 1 to 500 bytes; it stays in the audit for ever")}
			}
			return withBackend(cmd, s, func(b *backend) error {
				broken, err := audit.Restart(cmd.Context(), b.store, b.chainKey, operator(), reason)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "restarted: %s\n", breakLine(broken))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the audit for ever")
	return cmd
}
