package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/itusers"
)

func newUsersSync(s *settings) *cobra.Command {
	var o itusers.RunOptions
	var output string
	cmd := &cobra.Command{
		Use: "sync [SOURCE]", Short: "Bring IT users in line with what a source says, or all sources",
		Long: `Reads a source whole, compares it with the IT users here, and changes what differs. Without SOURCE it does so with each
one of the configuration, in their order; idbridge serve does it by itself, every interval.

Who is missing from a source that owns users is deactivated, never removed. A source that does not answer, ends too
early or is empty changes nothing. A run that would change more than its limit changes nothing either: look at a dry run,
and if that is right, run it with --allow and the number of changes that it showed.

Exit code 1 when a run was refused or failed.`,
		Example: `  idbridge users sync --dry-run
  idbridge users sync lifetime
  idbridge users sync lifetime --allow 523
  idbridge users sync lifetime --dry-run -o json`,
		Args: atMostOne("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				feeds, err := b.config.feedsNamed(args)
				if err != nil {
					return err
				}
				o.Actor, o.Progress = operator(), runProgress(cmd)
				return syncAll(cmd, b, feeds, o, output)
			})
		},
	}
	runFlags(cmd, &o, "know users by their names, also where the source now has another key for one")
	outputFlag(cmd, &output)
	return cmd
}

// atMostOne takes one argument or none.
func atMostOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{fmt.Errorf("%s: want at most one argument, %s; got %d", cmd.CommandPath(), name, len(args))}
		}
		return nil
	}
}

// feedsNamed is the named source, or all.
func (c Config) feedsNamed(names []string) ([]itusers.Feed, error) {
	feeds, err := c.feeds()
	if err != nil || len(names) == 0 {
		if err == nil && len(feeds) == 0 {
			err = usageError{errors.New("the configuration has no sources: see idbridge config example, and docs/lifetime.md")}
		}
		return feeds, err
	}
	var known []string
	for _, f := range feeds {
		if f.ID == names[0] {
			return []itusers.Feed{f}, nil
		}
		known = append(known, f.ID)
	}
	return nil, usageError{fmt.Errorf("there is no source %q; the configuration knows %s", names[0], orNone(known))}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// runProgress shows on standard error how far a long run is.
func runProgress(cmd *cobra.Command) func(itusers.Progress) {
	last := time.Now()
	return func(p itusers.Progress) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		of := ""
		if p.Total > 0 {
			of = fmt.Sprintf(" of %d", p.Total)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d%s\n", p.Stage, p.Done, of)
	}
}

func syncAll(cmd *cobra.Command, b *backend, feeds []itusers.Feed, o itusers.RunOptions, output string) error {
	syncer := b.syncer()
	var runs []itusers.Run
	var errs []error
	for _, f := range feeds {
		run, err := syncer.Run(cmd.Context(), f, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", f.ID, err))
		}
		runs = append(runs, run)
	}
	if err := printRuns(cmd.OutOrStdout(), output, runs); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func printRuns(w io.Writer, output string, runs []itusers.Run) error {
	if output == "json" {
		return show(w, output, nil, nil, runs)
	}
	for _, r := range runs {
		printRun(w, r)
	}
	return nil
}

// printRun shows a run for people, each user on a line.
func printRun(w io.Writer, r itusers.Run) {
	for _, row := range r.Report.Rows {
		text := strings.Join(row.What, ", ")
		if row.Reason != "" {
			text = row.Reason + ": " + text
		}
		fmt.Fprintf(w, "%s: %s %s: %s\n", printable(r.Source), row.Action, printable(row.Username), printable(text))
	}
	if r.Report.LeftOff > 0 {
		fmt.Fprintf(w, "%s: and %d more\n", printable(r.Source), r.Report.LeftOff)
	}
	prefix := ""
	if r.Dry {
		prefix = "dry run: "
	}
	fmt.Fprintf(w, "%s: %s%s", printable(r.Source), prefix, r.Report.Summary())
	if r.Report.Counted > 0 {
		fmt.Fprintf(w, "; %d changes of %d allowed", r.Report.Counted, r.Report.Allowed)
	}
	if r.State != itusers.RunDone {
		fmt.Fprintf(w, "; %s, nothing more was changed", r.State)
	}
	fmt.Fprintln(w)
}

func newUsersSources(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "sources [SOURCE]", Short: "Show the sources of IT users and their last runs",
		Long: `Shows each source with its last run; with SOURCE the last runs of that one, the newest first. Asks no source: whether
one answers now, idbridge check says.`,
		Example: "  idbridge users sources\n  idbridge users sources lifetime -o json",
		Args:    atMostOne("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				if len(args) > 0 {
					return b.showRuns(cmd, args[0], output)
				}
				return b.showSources(cmd, output)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// sourceState is a source as it is listed.
type sourceState struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Owns     itusers.Owns `json:"owns"`
	Interval string       `json:"interval"`
	Last     *itusers.Run `json:"last_run"`
	Done     *time.Time   `json:"last_done"`
}

// sourceStates are the configured sources with what became of them.
func (b *backend) sourceStates(ctx context.Context) ([]sourceState, error) {
	feeds, err := b.config.feeds()
	if err != nil {
		return nil, err
	}
	list := make([]sourceState, 0, len(feeds))
	for _, f := range feeds {
		state := sourceState{ID: f.ID, Type: f.Type, Owns: f.Owns, Interval: f.Every.String()}
		if state.Last, state.Done, err = b.lastRuns(ctx, f.ID); err != nil {
			return nil, err
		}
		list = append(list, state)
	}
	return list, nil
}

// lastRuns are a source's last run, and when it was done for the last time.
func (b *backend) lastRuns(ctx context.Context, source string) (last *itusers.Run, done *time.Time, err error) {
	runs, err := b.store.Runs(ctx, source, 0)
	for i, r := range runs {
		if i == 0 {
			last = &runs[0]
		}
		if r.State == itusers.RunDone {
			return last, &r.Ended, err
		}
	}
	return last, nil, err
}

func (b *backend) showSources(cmd *cobra.Command, output string) error {
	list, err := b.sourceStates(cmd.Context())
	if err != nil {
		return err
	}
	var rows [][]string
	for _, s := range list {
		last, result := "never", ""
		if s.Last != nil {
			last, result = s.Last.Started.UTC().Format(time.RFC3339), string(s.Last.State)+", "+resultOf(*s.Last)
		}
		rows = append(rows, []string{s.ID, s.Type, string(s.Owns), s.Interval, last, result})
	}
	return show(cmd.OutOrStdout(), output, []string{"SOURCE", "TYPE", "OWNS", "EVERY", "LAST RUN", "RESULT"}, rows, list)
}

func resultOf(r itusers.Run) string {
	switch r.State {
	case itusers.RunDone:
		return r.Report.Summary()
	case itusers.RunUnderWay:
		return fmt.Sprintf("%s, %d", r.Progress.Stage, r.Progress.Done)
	}
	return plainWords(r.Error)
}

func (b *backend) showRuns(cmd *cobra.Command, source, output string) error {
	if _, err := b.config.feedsNamed([]string{source}); err != nil && source != provisioningID {
		return err
	}
	runs, err := b.store.Runs(cmd.Context(), source, 0)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(runs))
	for _, r := range runs {
		took := r.Ended.Sub(r.Started).Round(time.Millisecond).String()
		rows = append(rows, []string{r.Started.UTC().Format(time.RFC3339), took, r.Actor, string(r.State), resultOf(r)})
	}
	return show(cmd.OutOrStdout(), output, []string{"STARTED", "TOOK", "BY", "STATE", "RESULT"}, rows, runs)
}
