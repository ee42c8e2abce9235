package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/strictyaml"
)

// Exit codes.
const (
	exitOK     = 0 // done
	exitFailed = 1 // a check or the work failed
	exitUsage  = 2 // the command line or the configuration is wrong
)

// usageError marks an error that lies in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSaid is the error of a command that has told everything already.
var errSaid = errors.New("failed")

// Run is the whole program. It returns the exit code when the command is done or ctx is.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errSaid) {
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintf(stderr, "idbridge: %s\n", line)
		}
	}
	var problems strictyaml.Problems
	if errors.As(err, new(usageError)) || errors.As(err, &problems) {
		return exitUsage
	}
	return exitFailed
}

// settings are the flags that every command has.
type settings struct{ config string }

func newRoot() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use:   "idbridge",
		Short: "Signs OutSystems IT users in with your own directory and a second factor",
		Long: `idbridge signs OutSystems IT users in with your own directory and a second factor.

The platform asks "who is this?" over its authentication plugin contract; idbridge asks the right directory, asks for
a second factor where policy wants one, and answers with the IT user's id on that environment.

Exit codes: 0 done; 1 a check or the work failed; 2 the command line or the configuration is wrong.`,
		Example: `  idbridge demo                            try everything, nothing installed
  idbridge config example > idbridge.yaml  begin a configuration
  idbridge check                           see whether sign-ins could work now
  idbridge serve                           answer the platform
  idbridge explain ann                     see how ann would sign in, and what keeps her out`,
		SilenceUsage: true, SilenceErrors: true,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVarP(&s.config, "config", "c", defaultConfig(),
		"the configuration file; $IDBRIDGE_CONFIG sets the default")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(newServe(s), newDemo(), newPlatform(), newCheck(s), newExplain(s), newConfig(s), newProviders(s), newUsers(s), newMFA(s),
		newBreakGlass(s), newSAML(s), newAudit(s), newKeys(s), newVersion())
	root.AddCommand(newUnlock(s), newWebhooks(s), newExpiry(s), newBackup(s), newRestored(s))
	return root
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", strings.TrimSpace(cmd.CommandPath()+" "+args[0]))
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf(" (did you mean %q?)", near[0])
	}
	return usageError{errors.New(text + "; see " + cmd.CommandPath() + " --help")}
}

func defaultConfig() string {
	if file := os.Getenv("IDBRIDGE_CONFIG"); file != "" {
		return file
	}
	return "idbridge.yaml"
}

// exactly demands its arguments by name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usageError{fmt.Errorf("%s: want %d argument(s), %s; got %d", cmd.CommandPath(), len(names),
				strings.Join(names, " "), len(args))}
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(commands...)
	return cmd
}

func newVersion() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: noArgs, Run: func(cmd *cobra.Command, _ []string) {
		fmt.Fprintln(cmd.OutOrStdout(), "idbridge", version())
	}}
}
