package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
)

func newAuditSearch(s *settings) *cobra.Command {
	var q insight.Query
	var from, until, after, output string
	var exact, verify bool
	cmd := &cobra.Command{
		Use: "search [USER]", Short: "Find records by user, time, environment, provider, kind or correlation id",
		Long: `Finds records, the newest first. USER is how a user name begins, as it was typed or of the IT user. Times are days, times in
UTC, or how long ago: 2026-05-31, 2026-05-31T14:00:00Z, 90m, 7d. A running server keeps the index that this looks into;
the newest records are looked at as they are. Where there is more, the last line says how to go on.`,
		Example: `  idbridge audit search ann
  idbridge audit search --kind refused --environment production --from 1h
  idbridge audit search --id 5f0c1d2e3f4a5b6c7d
  idbridge audit search ann --from 2026-05-01 --verify -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			now := time.Now()
			q.User = strings.Join(args, "")
			q.Prefix = q.User != "" && !exact
			if q.From, err = parseTime("--from", from, now); err != nil {
				return err
			}
			if q.Until, err = parseTime("--until", until, now); err != nil {
				return err
			}
			if q.After, err = insight.ParsePlace(after); err != nil {
				return usageError{fmt.Errorf("--after: %w", err)}
			}
			return withBackend(cmd, s, func(b *backend) error {
				page, err := b.searcher().Search(cmd.Context(), q)
				if errors.Is(err, insight.ErrQuery) {
					return usageError{err}
				}
				if err != nil {
					return err
				}
				found, err := b.found(cmd, page, verify)
				if err != nil {
					return err
				}
				err = found.print(cmd, output)
				if authn.KindOf(err) == authn.Untrusted {
					err = b.tellBroken(cmd.Context(), err)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&exact, "exact", false, "USER is the whole name")
	f.StringVar(&q.ID, "id", "", "only under this correlation id")
	f.StringVar(&q.Action, "action", "", `only this action, such as "sign-in" or "portal sign-in"`)
	f.StringVar(&q.Environment, "environment", "", "only of this environment")
	f.StringVar(&q.Provider, "provider", "", "only of this provider")
	f.StringVar(&q.Kind, "kind", "", "only of this kind (docs/errors.md); ok, refused (any but ok), throttled")
	f.StringVar(&from, "from", "", "not before")
	f.StringVar(&until, "until", "", "before")
	f.StringVar(&after, "after", "", "go on where the last page ended")
	f.IntVarP(&q.Limit, "limit", "n", insight.DefaultLimit, "at most so many")
	f.BoolVar(&verify, "verify", false, "check each record that was found against the chain; exit code 1 when one does not hold")
	outputFlag(cmd, &output)
	return cmd
}

// parseTime reads a day, a time, or how long ago.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(days(text)); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usageError{fmt.Errorf("%s %q: want 2026-05-31, 2026-05-31T14:00:00Z, 90m or 7d", flag, text)}
}

// days writes "7d" as hours, which time.ParseDuration knows.
func days(text string) string {
	var n int
	if _, err := fmt.Sscanf(text, "%dd", &n); err == nil && text == fmt.Sprintf("%dd", n) {
		return fmt.Sprintf("%dh", 24*n)
	}
	return text
}

// foundRecords are what search prints.
type foundRecords struct {
	Records []foundRecord `json:"records"`
	Next    string        `json:"next"`   // for --after; empty: that was all
	Behind  int64         `json:"behind"` // records that wait for the index, and were not all looked at
}

type foundRecord struct {
	audit.Record
	Verified string `json:"verified,omitempty"` // "ok", or why it does not hold
}

func (b *backend) found(cmd *cobra.Command, page insight.Page, verify bool) (f foundRecords, err error) {
	f = foundRecords{Records: []foundRecord{}, Next: page.Next.String(), Behind: page.Behind}
	var reasons []string
	if verify {
		if reasons, err = audit.VerifyRows(cmd.Context(), b.store, b.chainKey, page.Records); err != nil {
			return f, err
		}
	}
	for i, row := range page.Records {
		one := foundRecord{Record: row.Record}
		if verify {
			one.Verified = cmp.Or(reasons[i], "ok")
		}
		f.Records = append(f.Records, one)
	}
	return f, nil
}

func (f foundRecords) print(cmd *cobra.Command, output string) error {
	out := cmd.OutOrStdout()
	broken, first := 0, &audit.Broken{}
	for _, r := range f.Records {
		if r.Verified != "" && r.Verified != "ok" {
			broken++
			first = &audit.Broken{Seq: r.Seq, Reason: r.Verified} // the newest comes first
		}
	}
	if output == "json" {
		if err := show(out, output, nil, nil, f); err != nil {
			return err
		}
	} else {
		f.printText(out)
	}
	if f.Behind > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(),
			"the index is being made: %d records are not in it yet, and only the newest of them were looked at\n", f.Behind)
	}
	if f.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "there may be more: go on with --after %s\n", f.Next)
	}
	if broken > 0 {
		return authn.Errorf(authn.Untrusted, first.Reason, "%d record(s) are not what was written: idbridge audit verify: %w", broken, first)
	}
	return nil
}

func (f foundRecords) printText(out io.Writer) {
	for _, r := range f.Records {
		line := recordLine(r.Record)
		if r.Verified != "" {
			line += fmt.Sprintf(" verified=%q", r.Verified)
		}
		fmt.Fprintln(out, line)
	}
}

func newAuditExplain(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "explain ID", Short: "See what happened at one sign-in, step by step, and why it ended as it did",
		Long: `Tells what was checked at the sign-in with this correlation id, in which order, where it ended, why, and what to do about it.
The id is in the platform's own log (ResponseAdditionalInfo), in the log of idbridge, on the page that refused a person, and
in every record. It also shows the identity provider's message that fits, and what else the person did around that time.`,
		Example: "  idbridge audit explain 5f0c1d2e3f4a5b6c7d\n  idbridge audit search ann --kind refused -n 1 -o json",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				story, err := b.searcher().Explain(cmd.Context(), args[0], samlMessageLog{b.store})
				if errors.Is(err, insight.ErrNoRecord) {
					return fmt.Errorf("%w: %q", err, args[0])
				}
				if err != nil {
					return err
				}
				if output == "json" {
					return show(cmd.OutOrStdout(), output, nil, nil, newToldStory(story))
				}
				printStory(cmd.OutOrStdout(), story)
				return nil
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// toldStory is a story for programs.
type toldStory struct {
	insight.Story
	Records []audit.Record `json:"records"`
	Near    []audit.Record `json:"near"`
}

func newToldStory(s insight.Story) toldStory {
	told := toldStory{s, []audit.Record{}, []audit.Record{}}
	for _, r := range s.Records {
		told.Records = append(told.Records, r.Record)
	}
	for _, r := range s.Near {
		told.Near = append(told.Near, r.Record)
	}
	return told
}

// signs begin the lines of steps.
var signs = map[insight.Outcome]string{insight.Passed: "ok", insight.Ended: "ended", insight.NotReached: "-"}

func printStory(out io.Writer, s insight.Story) {
	fmt.Fprintln(out, printable(s.Title))
	if s.Way != "" {
		fmt.Fprintf(out, "by %s\n", printable(s.Way))
	}
	var rows [][]string
	for _, step := range s.Steps {
		rows = append(rows, []string{"  " + signs[step.Outcome], step.Check, step.Text})
	}
	_ = show(out, "text", nil, rows, nil) // a terminal that went away needs no more
	for _, line := range []struct{ name, text string }{{"what happened", s.Happened}, {"what to do", s.Advice}} {
		if line.text != "" {
			fmt.Fprintf(out, "%s: %s\n", line.name, printable(line.text))
		}
	}
	if m := s.Message; m != nil {
		fmt.Fprintln(out, printable(fmt.Sprintf("the identity provider's message: %s %s at %s, in answer to %q, refused: %q",
			m.Type, m.Message, m.At.Format(time.RFC3339), m.Answers, m.Reason)))
	}
	printRecords(out, "records under this id:", s.Records)
	printRecords(out, "around that time:", s.Near)
}

func printRecords(out io.Writer, head string, rows []audit.Row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(out, head)
	for _, r := range rows {
		fmt.Fprintln(out, "  "+recordLine(r.Record))
	}
}
