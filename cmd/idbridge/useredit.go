package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

func newUsersAdd(s *settings) *cobra.Command {
	var inactive bool
	cmd := &cobra.Command{
		Use: "add USER", Short: "Add an IT user",
		Long:    "Adds one IT user. Many at once come from a file (idbridge users import) or from a source (idbridge users sync).",
		Example: "  idbridge users add alice --name 'Alice Smith' --id production=1001 --id quality=17",
		Args:    exactly("USER"),
	}
	edit := editFlags(cmd)
	cmd.Flags().BoolVar(&inactive, "inactive", false, "may not sign in yet")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withBackend(cmd, s, func(b *backend) error {
			e, err := edit()
			if err != nil {
				return err
			}
			active := !inactive
			e.Active = &active
			c, err := b.users.Create(cmd.Context(), args[0], e, b.config.environmentNames())
			return b.edited(cmd, c, err)
		})
	}
	return cmd
}

func newUsersSet(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set USER", Short: "Change name, e-mail or ids of an IT user",
		Long:    "Changes what is said, and leaves the rest. To keep somebody from signing in: idbridge users disable.",
		Example: "  idbridge users set alice --email alice@example.com\n  idbridge users set alice --id production=1001 --id quality=",
		Args:    exactly("USER"),
	}
	edit := editFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withBackend(cmd, s, func(b *backend) error {
			e, err := edit()
			if err != nil {
				return err
			}
			c, err := b.users.Edit(cmd.Context(), args[0], e, b.config.environmentNames())
			return b.edited(cmd, c, err)
		})
	}
	return cmd
}

// editFlags are the flags that say what becomes of an IT user, and what reads them.
func editFlags(cmd *cobra.Command) func() (itusers.Edit, error) {
	var name, email string
	var ids []string
	cmd.Flags().StringVar(&name, "name", "", "for people to read")
	cmd.Flags().StringVar(&email, "email", "", "e-mail address")
	cmd.Flags().StringArrayVar(&ids, "id", nil, "ENVIRONMENT=NUMBER, the user's id there; ENVIRONMENT= removes it; may be repeated")
	return func() (e itusers.Edit, err error) {
		if cmd.Flags().Changed("name") {
			e.Name = &name
		}
		if cmd.Flags().Changed("email") {
			e.Email = &email
		}
		e.IDs, err = parseIDs(ids)
		return e, err
	}
}

// parseIDs reads ENVIRONMENT=NUMBER; 0 stands for an id that is to be removed.
func parseIDs(texts []string) (map[string]int32, error) {
	ids := map[string]int32{}
	for _, text := range texts {
		environment, number, ok := strings.Cut(text, "=")
		n, err := strconv.ParseInt(number, 10, 32)
		good := number == "" || err == nil && n > 0
		if _, twice := ids[environment]; !ok || !good || environment == "" || twice {
			return nil, usageError{fmt.Errorf("--id %q: want ENVIRONMENT=NUMBER, each environment once", text)}
		}
		ids[environment] = int32(n)
	}
	return ids, nil
}

// edited records and tells what an edit changed.
func (b *backend) edited(cmd *cobra.Command, c itusers.Change, err error) error {
	var invalid itusers.Invalid
	if errors.As(err, &invalid) {
		return fmt.Errorf("nothing was changed: %w", invalid)
	}
	what := c.What()
	if err == nil && len(what) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing to change\n", printable(c.After.Username))
		return nil
	}
	return b.changed(cmd, c, err, strings.Join(what, ", "))
}

func newUsersSignOut(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "sign-out USER", Short: "End all sessions and sign-in tokens of an IT user, at once and on every node",
		Long: `Ends the browser sessions of an IT user, at the portal and at the administrators' door, and revokes their sign-in tokens.
The person can sign in again; idbridge users disable keeps them out.`,
		Example: "  idbridge users sign-out alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error { return signOut(cmd, b, args[0]) })
		},
	}
}

func signOut(cmd *cobra.Command, b *backend, username string) error {
	user, err := b.findUser(cmd.Context(), username)
	if err != nil {
		return err
	}
	sessions, err := b.store.EndSessions(cmd.Context(), user.Key, "")
	if err := b.ended(cmd, user, audit.SessionsEnded, sessions, err); err != nil {
		return err
	}
	tokens, err := b.store.RevokeTokens(cmd.Context(), user.Key, "", time.Now())
	if err := b.ended(cmd, user, audit.TokensRevoked, tokens, err); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d session(s) ended, %d sign-in token(s) revoked\n", printable(user.Username), sessions, tokens)
	return nil
}

// ended records that something of a user's has ended, as the administrators' pages do.
func (b *backend) ended(cmd *cobra.Command, user authn.ITUser, action string, n int, err error) error {
	if err != nil || n == 0 {
		return err
	}
	return b.note(cmd.Context(), audit.Record{Action: action, ITUser: user.Username, Detail: fmt.Sprintf("%d → 0", n)})
}

// opened is what is open for a user now, as the API tells it.
type opened struct {
	Tokens   []admin.Token   `json:"tokens"`
	Sessions []admin.Session `json:"sessions"`
}

// opened tells what is open for a user, as lines too.
func (b *backend) opened(cmd *cobra.Command, key string) (o opened, rows [][]string, err error) {
	now := time.Now()
	o = opened{Tokens: []admin.Token{}, Sessions: []admin.Session{}}
	tokens, err := b.store.Tokens(cmd.Context(), key, now)
	if err != nil {
		return o, nil, err
	}
	for _, t := range tokens {
		o.Tokens = append(o.Tokens, admin.TokenOf(t))
		where := cmp.Or(strings.Join(t.Environments, ", "), "every environment")
		rows = append(rows, []string{"sign-in token", fmt.Sprintf("until %s, for %s", t.Expires.UTC().Format(time.RFC3339), where)})
	}
	sessions, err := b.store.Sessions(cmd.Context(), key)
	for _, s := range sessions {
		if !now.Before(s.Expires) {
			continue
		}
		o.Sessions = append(o.Sessions, admin.SessionOf(s))
		rows = append(rows, []string{"signed in", fmt.Sprintf("since %s, from %s, last seen %s", s.Created.UTC().Format(time.RFC3339), s.Source,
			s.Seen.UTC().Format(time.RFC3339))})
	}
	return o, rows, err
}
