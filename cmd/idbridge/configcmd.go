package main

import (
	_ "embed"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/strictyaml"
)

//go:embed idbridge.example.yaml
var exampleConfig string

func newConfig(s *settings) *cobra.Command {
	validate := &cobra.Command{
		Use: "validate [FILE]", Short: "Check the configuration file and report every problem at once",
		Example: "  idbridge config validate\n  idbridge config validate /etc/idbridge/idbridge.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := s.config
			if len(args) == 1 {
				file = args[0]
			}
			if _, err := loadConfig(file); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", file)
			return nil
		},
	}
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration file, for editors",
		Example: `  idbridge config schema > idbridge.schema.json
  # then, on the first line of idbridge.yaml:  # yaml-language-server: $schema=idbridge.schema.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := strictyaml.Schema(Config{}, "idbridge configuration", decodeOptions(""))
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), string(text))
			}
			return err
		},
	}
	example := &cobra.Command{
		Use: "example", Short: "Print an annotated configuration file to begin with",
		Example: "  idbridge config example > idbridge.yaml", Args: noArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprint(cmd.OutOrStdout(), exampleConfig) },
	}
	return group("config", "Check and begin the configuration file; list, compare and apply versions", validate, schema, example,
		newConfigVersions(s), newConfigShow(s), newConfigDiff(s), newConfigApply(s), newConfigRollback(s), newConfigExport(s), newConfigDrift(s))
}
