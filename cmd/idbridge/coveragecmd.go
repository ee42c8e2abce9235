package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// CoverageConfig is a group that is looked at by idbridge users coverage.
type CoverageConfig struct {
	Provider string `yaml:"provider" required:"true" doc:"the id of a provider that can list its accounts: ldap, activedirectory"`
	Group    string `yaml:"group" doc:"whose members should be able to sign in, by DN or name; absent: all accounts"`
}

func (k checker) coverage() {
	for i, c := range k.Coverage {
		k.listing(at("coverage", i)+".provider", c.Provider)
	}
}

// listing wants the id of a provider that can list its accounts. Which ones there are when they come from the store shows later.
func (k checker) listing(path, id string) {
	if k.Managed == "store" {
		return
	}
	for _, p := range k.Providers {
		if p.ID == id {
			k.refuseIf(p.Type != "ldap" && p.Type != "activedirectory", path, "%q is of type %s, which cannot list its accounts", id, p.Type)
			return
		}
	}
	k.doc.Refuse(path, "there is no provider %q", id)
}

func newUsersCoverage(s *settings) *cobra.Command {
	var output, provider, group string
	cmd := &cobra.Command{
		Use: "coverage", Short: "See who could not sign in, and why: accounts, IT users, ids",
		Long: `Lists the accounts of the groups under coverage: in the configuration, or those of --provider and --group, or all accounts
of all providers that can list them (ldap, activedirectory). For each it asks what a sign-in asks, short of the password, and
tells what would keep the person out. Then it tells to which active IT users no account leads, and whose ids are missing where.

Changes nothing and tries no password. Large directories take a while: each account's groups are looked at.`,
		Example: `  idbridge users coverage
  idbridge users coverage --provider corp --group 'OutSystems IT Users'
  idbridge users coverage -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				groups := b.config.Coverage
				if provider != "" {
					groups = []CoverageConfig{{provider, group}}
				} else if group != "" {
					return usageError{fmt.Errorf("--group %q: of which --provider?", group)}
				}
				survey, err := b.survey(groups)
				if err != nil {
					return err
				}
				return printCoverage(cmd, survey, output)
			})
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "only this provider")
	cmd.Flags().StringVar(&group, "group", "", "only the members of this group, by DN or name")
	outputFlag(cmd, &output)
	return cmd
}

// survey asks the service that serve would run. Without groups it looks at all accounts that can be listed.
func (b *backend) survey(groups []CoverageConfig) (itusers.Survey, error) {
	list, fallback, err := makeProviders(b.config, b.footing())
	if err != nil {
		return itusers.Survey{}, err
	}
	service, err := newService(b, newMetrics(), slog.New(slog.DiscardHandler), list, fallback)
	if err != nil {
		return itusers.Survey{}, err
	}
	survey := itusers.Survey{Service: service, Users: b.store.Users}
	for _, e := range b.config.Environments {
		survey.Environments = append(survey.Environments, e.core())
	}
	if len(groups) == 0 {
		for _, p := range list {
			if p.Members != nil {
				survey.Crowds = append(survey.Crowds, itusers.Crowd{Provider: p.ID, Members: p.Members})
			}
		}
	}
	for _, g := range groups {
		members, err := membersOf(list, g.Provider)
		if err != nil {
			return survey, err
		}
		survey.Crowds = append(survey.Crowds, itusers.Crowd{Provider: g.Provider, Group: g.Group, Members: members})
	}
	if len(survey.Crowds) == 0 {
		return survey, usageError{errors.New("no provider of the configuration can list its accounts: those of type ldap and " +
			"activedirectory can")}
	}
	return survey, nil
}

// membersOf is what lists the accounts of a provider.
func membersOf(list []authn.Provider, id string) (func(context.Context, string, func(authn.Member) error) error, error) {
	for _, p := range list {
		if p.ID == id && p.Members != nil {
			return p.Members, nil
		}
	}
	return nil, usageError{fmt.Errorf("there is no provider %q that can list its accounts", id)}
}

// coverageReport is a survey as JSON.
type coverageReport struct {
	Gaps    []itusers.Gap    `json:"gaps"`
	Summary itusers.Coverage `json:"summary"`
}

// printCoverage prints gaps as they are found; as JSON they are one document.
func printCoverage(cmd *cobra.Command, survey itusers.Survey, output string) error {
	w := cmd.OutOrStdout()
	report := coverageReport{Gaps: []itusers.Gap{}}
	total, err := survey.Run(cmd.Context(), runProgress(cmd), func(g itusers.Gap) error {
		if output == "json" {
			report.Gaps = append(report.Gaps, g)
			return nil
		}
		return printGap(w, g)
	})
	if err != nil {
		return err
	}
	if output == "json" {
		report.Summary = total
		return show(w, output, nil, nil, report)
	}
	fmt.Fprintf(w, "%d accounts: %d can sign in, %d are refused somewhere\n", total.Accounts, total.Fine, total.Refused)
	fmt.Fprintf(w, "%d active IT users: no account leads to %d, ids are missing of %d\n", total.ITUsers, total.Nobody, total.NoID)
	if total.Unknown > 0 {
		fmt.Fprintf(w, "%d of them are linked to an account that was not looked at\n", total.Unknown)
	}
	return nil
}

func printGap(w io.Writer, g itusers.Gap) error {
	who := "IT user " + g.ITUser
	if g.Class == itusers.GapRefused {
		who = g.Provider + ":" + g.Account
	}
	if g.Name != "" {
		who += " (" + g.Name + ")"
	}
	text := g.Reason
	if g.Text != "" {
		text += ": " + plainWords(g.Text)
	}
	if len(g.Environments) > 0 {
		text += " [" + strings.Join(g.Environments, ", ") + "]"
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", printable(who), printable(text))
	return err
}
