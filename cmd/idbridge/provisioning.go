package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/itusers/lifetime"
)

// ProvisioningConfig says of whom IT users are made at LifeTime.
type ProvisioningConfig struct {
	LifeTime     lifetime.Config   `yaml:"lifetime" required:"true" doc:"where they are made, and as whom"`
	Rules        []ProvisionConfig `yaml:"rules" required:"true" doc:"what the members of a group become; of several rules the first one's role counts"`
	Interval     time.Duration     `yaml:"interval" default:"1h" doc:"how often serve does it; 0: only idbridge users provision"`
	Adopt        bool              `yaml:"adopt" doc:"also take over users who are at LifeTime already under the name of a member"`
	Protected    []string          `yaml:"protected" doc:"user names that are never touched; the account of the token never is"`
	LimitPercent int               `yaml:"limit_percent" default:"10" doc:"a run that would change more of the users it has made changes nothing"`
	LimitFloor   int               `yaml:"limit_floor" default:"5" doc:"so many changes are always allowed"`
}

// ProvisionConfig is what the members of one group become.
type ProvisionConfig struct {
	Provider string       `yaml:"provider" required:"true" doc:"the id of a provider that can list its accounts: ldap, activedirectory"`
	Group    string       `yaml:"group" required:"true" doc:"by DN or name"`
	Role     string       `yaml:"role" required:"true" doc:"name of their role at LifeTime"`
	Teams    []TeamConfig `yaml:"teams" doc:"which teams they are in; others stay as they are"`
}

// TeamConfig is a team and a role there.
type TeamConfig struct {
	Team string `yaml:"team" required:"true" doc:"name of the team"`
	Role string `yaml:"role" required:"true" doc:"name of their role in it"`
}

func (k checker) provisioning() {
	p := k.Provisioning
	if p == nil {
		return
	}
	_, err := lifetime.New(p.LifeTime)
	k.refuseAll("provisioning.lifetime", err)
	k.runs("provisioning", p.Interval, p.LimitPercent, p.LimitFloor)
	k.refuseIf(len(p.Rules) == 0, "provisioning.rules", "is empty: everybody would be deactivated")
	for i, r := range p.Rules {
		path := at("provisioning.rules", i)
		k.listing(path+".provider", r.Provider)
		_, named := k.matches()[r.Provider]
		k.refuseIf(!named && k.Managed != "store", path+".provider", "its accounts have no IT user's name: it_user.attribute is none")
	}
}

// provisioner provisions as the configuration says, of accounts that these providers list.
func (b *backend) provisioner(list []authn.Provider) (*lifetime.Provisioner, error) {
	c := b.config.Provisioning
	if c == nil {
		return nil, usageError{errors.New("the configuration has no provisioning: see docs/lifetime.md")}
	}
	client, err := lifetime.New(c.LifeTime)
	if err != nil {
		return nil, usageError{fmt.Errorf("provisioning.lifetime.%w", err)}
	}
	matches := b.config.matches()
	p := &lifetime.Provisioner{
		Runner: b.runner(), Client: client, Ledger: b.store, Target: provisioningID,
		Limit: itusers.Limit{Percent: c.LimitPercent, Floor: c.LimitFloor}, Protected: c.Protected, Adopt: c.Adopt,
		Members: func(ctx context.Context, provider, group string, take func(authn.Member) error) error {
			members, err := membersOf(list, provider)
			if err != nil {
				return err
			}
			return members(ctx, group, take)
		},
		Username: func(i authn.Identity) string { return matches[i.Provider].Username(i) },
		Changed: func(ctx context.Context, run itusers.Run, username, what string) error {
			return b.audit.Event(ctx, audit.Record{ID: run.ID, Time: time.Now(), Action: audit.UserProvisioned, Actor: run.Actor,
				ITUser: username, Kind: authn.OK.String(), Detail: what})
		},
	}
	for _, r := range c.Rules {
		rule := lifetime.Rule{Provider: r.Provider, Group: r.Group, Role: r.Role}
		for _, t := range r.Teams {
			rule.Teams = append(rule.Teams, lifetime.TeamRule{Team: t.Team, Role: t.Role})
		}
		p.Rules = append(p.Rules, rule)
	}
	return p, nil
}

func newUsersProvision(s *settings) *cobra.Command {
	var o itusers.RunOptions
	var output string
	cmd := &cobra.Command{
		Use: "provision", Short: "Make IT users at LifeTime of the members of directory groups, and keep them right",
		Long: `Lists the members of the groups under provisioning.rules, compares them with the users at LifeTime, and makes, changes or
deactivates users there, with their role and teams. idbridge serve does it by itself, every provisioning.interval.

It touches only users whom it has made, or taken over with --adopt; never the account of its own token, and nobody under
provisioning.protected. A directory or a LifeTime that does not answer to the end changes nothing, nor does a run that would
change more than its limit: look at a dry run, and if that is right, run it with --allow and the number of changes that it
showed. Exit code 1 when the run was refused or failed.`,
		Example: "  idbridge users provision --dry-run\n  idbridge users provision\n  idbridge users provision --allow 40",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				list, _, err := makeProviders(b.config, b.footing())
				if err != nil {
					return err
				}
				p, err := b.provisioner(list)
				if err != nil {
					return err
				}
				o.Actor, o.Progress = operator(), runProgress(cmd)
				run, err := p.Run(cmd.Context(), o)
				return errors.Join(printRuns(cmd.OutOrStdout(), output, []itusers.Run{run}), err)
			})
		},
	}
	runFlags(cmd, &o, "take users over who are at LifeTime already under the name of a member")
	outputFlag(cmd, &output)
	return cmd
}

// runFlags are those of every run.
func runFlags(cmd *cobra.Command, o *itusers.RunOptions, adopt string) {
	cmd.Flags().BoolVar(&o.Dry, "dry-run", false, "report what would change, and change nothing")
	cmd.Flags().IntVar(&o.Allow, "allow", 0, "so many changes are allowed this time, whatever the limit")
	cmd.Flags().BoolVar(&o.Adopt, "adopt", false, adopt)
}

// lifeTime is the LifeTime of provisioning, or else the first one among the sources.
func (c Config) lifeTime() (*lifetime.Client, error) {
	if c.Provisioning != nil {
		return lifetime.New(c.Provisioning.LifeTime)
	}
	for _, s := range c.Sources {
		if l, ok := s.Settings.(lifetime.Config); ok {
			return lifetime.New(l)
		}
	}
	return nil, usageError{errors.New("the configuration has neither provisioning nor a source of type lifetime: see docs/lifetime.md")}
}

func newUsersBlockedLogins(s *settings) *cobra.Command {
	return group("blocked-logins", "See and clear logins that the platform itself blocks, through LifeTime", newBlockedList(s),
		newBlockedClear(s))
}

// blockedAt finds the user and the environment at LifeTime.
func blockedAt(ctx context.Context, s *settings, username, environment string) (c *lifetime.Client, user, key string, err error) {
	config, err := loadConfig(s.config)
	if err != nil {
		return nil, "", "", err
	}
	if c, err = config.lifeTime(); err != nil {
		return nil, "", "", err
	}
	u, err := c.ByName(ctx, username)
	if err != nil || environment == "" {
		return c, u.Key, "", err
	}
	list, err := c.Environments(ctx)
	if err != nil {
		return c, "", "", err
	}
	var known []string
	for _, e := range list {
		if strings.EqualFold(e.Name, environment) {
			return c, u.Key, e.Key, nil
		}
		known = append(known, e.Name)
	}
	return c, "", "", usageError{fmt.Errorf("--environment %q: LifeTime knows %s", environment, orNone(known))}
}

func newBlockedList(s *settings) *cobra.Command {
	var output, environment, address string
	cmd := &cobra.Command{
		Use: "list USER", Short: "List a user's blocked logins",
		Long: `Lists the logins of a user that the platform blocks after too many failures of its own counting. idbridge's own limits are
another matter: idbridge explain USER.`,
		Example: "  idbridge users blocked-logins list ann --environment Production", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, user, key, err := blockedAt(cmd.Context(), s, args[0], environment)
			if err != nil {
				return err
			}
			list, err := c.BlockedLogins(cmd.Context(), user, key, address)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, b := range list {
				rows = append(rows, []string{strings.Join(b.Texts(), "  ")})
			}
			return show(cmd.OutOrStdout(), output, nil, rows, append([]lifetime.BlockedLogin{}, list...))
		},
	}
	blockedFlags(cmd, &environment, &address)
	outputFlag(cmd, &output)
	return cmd
}

func blockedFlags(cmd *cobra.Command, environment, address *string) {
	cmd.Flags().StringVar(environment, "environment", "", "only on this environment, by its name at LifeTime")
	cmd.Flags().StringVar(address, "address", "", "only from this address")
}

func newBlockedClear(s *settings) *cobra.Command {
	var output, environment, address string
	cmd := &cobra.Command{
		Use: "clear USER", Short: "Clear a user's blocked logins",
		Example: "  idbridge users blocked-logins clear ann\n" +
			"  idbridge users blocked-logins clear ann --environment Production --address 192.0.2.7",
		Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				c, user, key, err := blockedAt(cmd.Context(), s, args[0], environment)
				if err != nil {
					return err
				}
				if err := c.Unblock(cmd.Context(), user, key, address); err != nil {
					return err
				}
				err = b.note(cmd.Context(), audit.Record{Action: audit.LoginsCleared, ITUser: args[0], Environment: environment, Detail: address})
				if err != nil {
					return err
				}
				cleared := map[string]string{"user": args[0], "environment": environment, "address": address}
				return show(cmd.OutOrStdout(), output, nil, [][]string{{args[0] + ": blocked logins are cleared"}}, cleared)
			})
		},
	}
	blockedFlags(cmd, &environment, &address)
	outputFlag(cmd, &output)
	return cmd
}
