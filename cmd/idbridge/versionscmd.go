package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/revision"
	"github.com/idbridge/idbridge/strictyaml"
)

// withGround opens what stands on rows, with the configuration as the file has it: these commands must work too where a
// version does not.
func withGround(cmd *cobra.Command, s *settings, do func(*backend) error) error {
	c, err := loadConfig(s.config)
	if err != nil {
		return err
	}
	b, err := openGround(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer b.Close()
	return do(b)
}

// saving are the flags of every command that saves a version.
type saving struct {
	comment, output string
	base            int64
	force, dryRun   bool
}

func (f *saving) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.comment, "comment", "m", "", "why, for those who read the list of versions")
	cmd.Flags().Int64Var(&f.base, "base", 0, "refuse if the newest version is another one; 0: whichever it is")
	cmd.Flags().BoolVar(&f.force, "force", false, "save it although nobody could sign in afterwards; the audit has it")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only show what would change, and whether it would be refused")
	outputFlag(cmd, &f.output)
}

// saved is what a command tells of a version that it saved, or would have saved.
type saved struct {
	Saved   bool            `json:"saved"`
	Version int64           `json:"version"`           // the new one; of a dry run the one it would be made from
	Refused string          `json:"refused,omitempty"` // of a dry run: why it would not be saved without --force
	Diff    []revision.Line `json:"diff"`
}

// change begins a draft, lets a command change it, and saves it as the flags say.
func (f *saving) change(cmd *cobra.Command, s *settings, usual string, edit func(*draft) error) error {
	return withGround(cmd, s, func(b *backend) error {
		if b.config.Managed != managedByStore {
			return usageError{errManagedByFile}
		}
		d, err := b.begin(cmd.Context())
		if err == nil && f.base != 0 {
			err = d.from(cmd.Context(), f.base)
		}
		if err == nil {
			err = edit(d)
		}
		if err != nil {
			return err
		}
		if f.comment != "" {
			usual = f.comment
		}
		return f.finish(cmd, d, usual)
	})
}

func (f *saving) finish(cmd *cobra.Command, d *draft, comment string) error {
	told := saved{Version: d.base, Diff: revision.Context(d.diff(), 3)}
	if !d.differs() {
		told.Diff = []revision.Line{}
		return f.tell(cmd, told, errNothing.Error())
	}
	if f.dryRun {
		err := d.guard(cmd.Context())
		var locked lockedOut
		if err != nil && !errors.As(err, &locked) {
			return err
		}
		if err != nil {
			told.Refused = err.Error()
		}
		return f.tell(cmd, told, "would be saved from version "+strconv.FormatInt(d.base, 10))
	}
	info, err := d.save(cmd.Context(), operator(), comment, f.force)
	var locked lockedOut
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("%w\n(--force saves it all the same)", err)
	case err != nil:
		return err
	}
	told.Saved, told.Version = true, info.Number
	return f.tell(cmd, told, fmt.Sprintf("version %d is saved; servers apply it within seconds", info.Number))
}

func (f *saving) tell(cmd *cobra.Command, told saved, text string) error {
	if f.output == "json" {
		return show(cmd.OutOrStdout(), f.output, nil, nil, told)
	}
	printDiff(cmd.OutOrStdout(), told.Diff)
	if told.Refused != "" {
		text = "would be refused without --force: " + told.Refused
	}
	fmt.Fprintln(cmd.OutOrStdout(), text)
	return nil
}

func printDiff(w io.Writer, diff []revision.Line) {
	for _, l := range diff {
		if l.Op == "" {
			l = revision.Line{Op: "@", Text: "@"}
		}
		fmt.Fprintln(w, printable(l.Op+l.Text))
	}
}

// number is an argument that names a version.
func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, usageError{fmt.Errorf("%q is not the number of a version (idbridge config versions lists them)", text)}
	}
	return n, nil
}

// shownConfig is the managed part of a version, or, without one named, of the configuration in force.
func shownConfig(cmd *cobra.Command, b *backend, named []string) (Config, error) {
	if len(named) == 0 {
		inForce, err := b.newest(cmd.Context())
		if err != nil {
			return Config{}, err
		}
		return inForce.config, nil
	}
	n, err := number(named[0])
	if err != nil {
		return Config{}, err
	}
	v, err := b.history.Get(cmd.Context(), n)
	if err != nil {
		return Config{}, err
	}
	return b.config.read(v)
}

func newConfigVersions(s *settings) *cobra.Command {
	var output string
	var limit int
	cmd := &cobra.Command{
		Use: "versions", Short: "List the versions of the managed configuration, the newest first",
		Example: "  idbridge config versions\n  idbridge config versions -n 3 -o json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withGround(cmd, s, func(b *backend) error {
				list, err := b.history.List(cmd.Context(), 0, limit)
				if err != nil {
					return err
				}
				rows := [][]string{}
				for _, v := range list {
					rows = append(rows, []string{strconv.FormatInt(v.Number, 10), v.Time.Format(time.RFC3339), v.Author, v.Comment})
				}
				return show(cmd.OutOrStdout(), output, []string{"VERSION", "TIME", "BY", "COMMENT"}, rows, append([]revision.Info{}, list...))
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "how many")
	return cmd
}

func newConfigShow(s *settings) *cobra.Command {
	var output string
	var defaults bool
	cmd := &cobra.Command{
		Use: "show [VERSION]", Short: "Show the managed configuration, with secrets masked",
		Long: `Shows the managed part of the configuration (providers, mfa, throttle): that in force, or that of a version. Secrets are shown
as <secret>; a file in which they stay so can be edited and given to config apply.`,
		Example: "  idbridge config show\n  idbridge config show 3 --defaults", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGround(cmd, s, func(b *backend) error {
				c, err := shownConfig(cmd, b, args)
				if err != nil {
					return err
				}
				o := strictyaml.EncodeOptions{Dir: c.dir, Defaults: defaults}
				if output == "json" {
					return show(cmd.OutOrStdout(), output, nil, nil, strictyaml.Values(c.ManagedConfig, o))
				}
				_, err = cmd.OutOrStdout().Write(strictyaml.Encode(c.ManagedConfig, o))
				return err
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&defaults, "defaults", false, "also the keys that have their default")
	return cmd
}

func newConfigExport(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "export [VERSION]", Short: "Print the managed configuration as YAML, with its secrets in clear",
		Long: `Prints the managed part with its secrets, for a configuration file of managed: file, another installation or a backup. Who
exported it is in the audit.`,
		Example: "  (umask 077; idbridge config export > managed.yaml)", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGround(cmd, s, func(b *backend) error {
				c, err := shownConfig(cmd, b, args)
				if err != nil {
					return err
				}
				detail := "in force, with secrets"
				if len(args) > 0 {
					detail = "version " + args[0] + ", with secrets"
				}
				if err := b.note(cmd.Context(), audit.Record{Action: audit.ConfigExported, Detail: detail}); err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(c.encode(c.dir, strictyaml.Reveal))
				return err
			})
		},
	}
}

func newConfigDiff(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "diff [FROM [TO]]", Short: "Compare two versions of the managed configuration",
		Long: `Shows what changed from one version to another: without a second one, to the newest; without any, in the newest. Secrets are
masked; one that changed is shown as removed and added.`,
		Example: "  idbridge config diff\n  idbridge config diff 3\n  idbridge config diff 3 5 -o json", Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGround(cmd, s, func(b *backend) error {
				last, err := b.store.LastRevision(cmd.Context())
				if err != nil {
					return err
				}
				ends := []string{strconv.FormatInt(last-1, 10), strconv.FormatInt(last, 10)}
				copy(ends, args)
				diff, err := b.diffVersions(cmd, ends[0], ends[1])
				if err != nil {
					return err
				}
				if diff = revision.Context(diff, 3); output == "json" {
					return show(cmd.OutOrStdout(), output, nil, nil, append([]revision.Line{}, diff...))
				}
				printDiff(cmd.OutOrStdout(), diff)
				return nil
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (b *backend) diffVersions(cmd *cobra.Command, from, to string) ([]revision.Line, error) {
	var ends [2]Config
	for i, named := range []string{from, to} {
		if named == "0" { // before the first one there was nothing
			continue
		}
		var err error
		if ends[i], err = shownConfig(cmd, b, []string{named}); err != nil {
			return nil, err
		}
	}
	return diffOf(ends[0].ManagedConfig, ends[1].ManagedConfig, b.config.dir), nil
}

func newConfigApply(s *settings) *cobra.Command {
	var f saving
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Make a file the newest version of the managed configuration",
		Long: `Reads providers, mfa and throttle from a file (- is standard input), checks them as the configuration file is checked, and saves
them as the newest version, which every server applies within seconds. Secrets that are <secret> in it stay what they are; one
named by KEY_file is read now. It is refused when nobody could sign in afterwards.`,
		Example: `  idbridge config show > managed.yaml    # edit it
  idbridge config apply managed.yaml --dry-run
  idbridge config apply managed.yaml -m 'second domain controller'`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readArgument(cmd, args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, s, "applied "+args[0], func(d *draft) error { return d.replace(args[0], text, fromHere) })
		},
	}
	f.flags(cmd)
	return cmd
}

// readArgument reads the file that an argument names; - is standard input.
func readArgument(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(cmd.InOrStdin(), strictyaml.MaxSize+1))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usageError{err}
	}
	return text, nil
}

func newConfigRollback(s *settings) *cobra.Command {
	var f saving
	cmd := &cobra.Command{
		Use: "rollback VERSION", Short: "Make an older version's text the newest version",
		Long:    `Saves the text of an older version, with the secrets it had, as a new version. Nothing is deleted.`,
		Example: "  idbridge config rollback 3", Args: exactly("VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := number(args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, s, fmt.Sprintf("back to version %d", n), func(d *draft) error {
				v, err := d.ground.history.Get(cmd.Context(), n)
				if err != nil {
					return err
				}
				return d.restore(v)
			})
		},
	}
	f.flags(cmd)
	return cmd
}

// keyValue is an argument KEY=VALUE.
func keyValue(text string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return "", "", usageError{fmt.Errorf("%q is not KEY=VALUE", text)}
	}
	return key, value, nil
}

func newConfigDrift(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "drift", Short: "Compare what the platform's environments sent as settings with what is in force",
		Long: `The platform propagates settings to each of its environments by itself. This shows what each of them sent last, where it
differs from what is in force: propagate again from LifeTime. Needs plugin.configuration.`,
		Example: "  idbridge config drift\n  idbridge config drift -o json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withGround(cmd, s, func(b *backend) error {
				list, err := b.drift(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{}
				for _, e := range list {
					rows = append(rows, e.rows()...)
				}
				head := []string{"ENVIRONMENT", "LAST SENT", "VERSION THEN", "SETTING", "SENT", "IN FORCE"}
				return show(cmd.OutOrStdout(), output, head, rows, list)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (e drifted) rows() (rows [][]string) {
	if e.Time == nil {
		return [][]string{{e.Environment, "never"}}
	}
	at, version := e.Time.Format(time.RFC3339), strconv.FormatInt(e.Version, 10)
	if len(e.Differs) == 0 {
		return [][]string{{e.Environment, at, version, "all the same"}}
	}
	for _, d := range e.Differs {
		rows = append(rows, []string{e.Environment, at, version, d.Name, d.Sent, d.InForce})
	}
	return rows
}
