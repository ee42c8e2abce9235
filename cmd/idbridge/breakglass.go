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
	"github.com/idbridge/idbridge/providers/local"
)

func newBreakGlass(s *settings) *cobra.Command {
	cmd := group("breakglass", "Make, activate and remove accounts for the day on which every directory is down",
		newGlassAdd(s), newGlassList(s), newGlassPasswd(s), newGlassReset(s), newGlassActivate(s), newGlassDeactivate(s), newGlassRemove(s))
	cmd.Long = `Break-glass accounts are kept by idbridge itself, at the provider of type local. Each needs an IT user like everybody
else, a second factor, and a password that its owner has chosen; and it signs in only while it is activated. Every attempt
is in the audit as "break-glass ..." and in the log as a warning or an error. docs/break-glass.md has the whole routine.`
	cmd.Example = `  idbridge breakglass add bg-alice
  idbridge mfa enrol bg-alice
  idbridge breakglass passwd bg-alice
  idbridge breakglass activate bg-alice --for 4h`
	return cmd
}

// glass is what the commands about break-glass accounts work with.
type glass struct {
	*backend
	*local.Manager
	provider ProviderConfig
}

// settings are those of the provider of break-glass accounts.
func (g glass) settings() local.Config {
	c, _ := g.provider.Settings.(local.Config) // as the table has it
	return c
}

// openGlass finds the provider of break-glass accounts; found is false when none is configured.
func (b *backend) openGlass() (g glass, found bool) {
	for _, p := range b.config.Providers {
		if p.Type == breakGlass {
			return glass{b, local.NewManager(b.store, b.ring), p}, true
		}
	}
	return glass{}, false
}

func withGlass(cmd *cobra.Command, s *settings, do func(glass) error) error {
	return withBackend(cmd, s, func(b *backend) error {
		g, found := b.openGlass()
		if !found {
			return usageError{errors.New("providers: none is of type local, so nobody could sign in with a break-glass account")}
		}
		return do(g)
	})
}

// changed records and tells what became of an account.
func (g glass) changed(cmd *cobra.Command, a local.Account, what string) error {
	err := g.note(cmd.Context(), audit.Record{
		Action: audit.BreakGlassChanged, Provider: g.provider.ID, Subject: a.Subject, Username: a.Username, Detail: what,
	})
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", printable(a.Username), what)
	return err
}

func newGlassAdd(s *settings) *cobra.Command {
	var itUser string
	cmd := &cobra.Command{
		Use: "add USER", Short: "Make a break-glass account",
		Long: `Makes an account, links it to the IT user of that name (or --it-user), and prints its first password, once. With that
password alone nobody can sign in: its owner must choose another one (breakglass passwd, or in the portal while the account
is active), the IT user needs a second factor (mfa enrol), and the account must be activated.`,
		Example: "  idbridge breakglass add bg-alice\n  idbridge breakglass add bg-alice --it-user alice",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGlass(cmd, s, func(g glass) error { return g.add(cmd, args[0], itUser) })
		},
	}
	cmd.Flags().StringVar(&itUser, "it-user", "", "the IT user it signs in; by default the one of the same name")
	return cmd
}

func (g glass) add(cmd *cobra.Command, name, itUser string) error {
	if itUser == "" {
		itUser = name
	}
	if err := g.claims(name); err != nil {
		return err
	}
	user, err := g.users.Show(cmd.Context(), itUser)
	if err != nil {
		return fmt.Errorf("%w (a break-glass account needs an IT user like everybody else: idbridge users import)", err)
	}
	for _, l := range user.Links {
		if l.Provider == g.provider.ID {
			return fmt.Errorf("IT user %s has the break-glass account %s already", printable(user.Username), l.Username)
		}
	}
	account, password, err := g.Add(cmd.Context(), name)
	if err != nil {
		return err
	}
	if _, err := g.users.Link(cmd.Context(), user.Username, g.provider.ID, account.Subject, account.Username); err != nil {
		return fmt.Errorf("the account was made, but not linked (idbridge users link %s %s %s): %w", itUser, g.provider.ID, name, err)
	}
	if err := g.changed(cmd, account, "made, for IT user "+user.Username); err != nil {
		return err
	}
	showFirst(cmd, account, password)
	return nil
}

// claims refuses a name that would be routed to another provider, or to none. Where a part of what is typed is taken off
// before the provider is asked, that cannot be told from here.
func (g glass) claims(name string) error {
	if g.provider.Match.StripDomain || g.provider.Match.Default {
		return nil
	}
	match, err := g.provider.route().Matcher()
	if err != nil {
		return err
	}
	if _, ok := match(name); !ok {
		return usageError{fmt.Errorf("%q is no name that providers[%s].match claims: it would be looked for elsewhere", name, g.provider.ID)}
	}
	return nil
}

func showFirst(cmd *cobra.Command, a local.Account, password authn.Secret) {
	fmt.Fprintf(cmd.OutOrStdout(), `First password, shown only now: %s
Its owner must choose another one: idbridge breakglass passwd %s
`, password.Reveal(), a.Username)
}

func newGlassPasswd(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "passwd USER", Short: "Choose a new password, as the account's owner",
		Long: fmt.Sprintf(`Asks for the current password and, twice, for a new one of at least %d characters. An empty line instead takes a
random one, which is printed.`, local.MinPassword),
		Example: "  idbridge breakglass passwd bg-alice",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGlass(cmd, s, func(g glass) error { return g.passwd(cmd, args[0]) })
		},
	}
}

func (g glass) passwd(cmd *cobra.Command, name string) error {
	current, err := askSecret(cmd, "Current password: ")
	if err != nil {
		return err
	}
	next, proposed, err := askNew(cmd)
	if err != nil {
		return err
	}
	account, err := g.Change(cmd.Context(), name, authn.Secret(current), next)
	if err != nil {
		return fmt.Errorf("nothing has changed: %w", err)
	}
	if err := g.changed(cmd, account, "password changed by its owner"); err != nil {
		return err
	}
	if proposed {
		fmt.Fprintf(cmd.OutOrStdout(), "New password, shown only now: %s\n", next.Reveal())
	}
	return nil
}

func askNew(cmd *cobra.Command) (next authn.Secret, proposed bool, err error) {
	first, err := askSecret(cmd, "New password (empty: a random one): ")
	if err != nil {
		return "", false, err
	}
	if first == "" {
		return local.Propose(), true, nil
	}
	again, err := askSecret(cmd, "New password again: ")
	if err == nil && again != first {
		err = errors.New("the two are not the same; nothing has changed")
	}
	return authn.Secret(first), false, err
}

func newGlassReset(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "reset USER", Short: "Give an account a new first password, for instance when it was forgotten",
		Example: "  idbridge breakglass reset bg-alice",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGlass(cmd, s, func(g glass) error {
				account, password, err := g.Reset(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := g.ended(cmd, account, "password reset"); err != nil {
					return err
				}
				showFirst(cmd, account, password)
				return nil
			})
		},
	}
}

func newGlassActivate(s *settings) *cobra.Command {
	var window time.Duration
	cmd := &cobra.Command{
		Use: "activate USER", Short: "Let an account sign in for a while",
		Long:    "Lets an account sign in until a time. Its portal sessions end with the window, too.",
		Example: "  idbridge breakglass activate bg-alice --for 4h",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if window <= 0 || window > local.MaxActivation {
				return usageError{fmt.Errorf("--for %s: want more than 0s and at most %s", window, local.MaxActivation)}
			}
			return withGlass(cmd, s, func(g glass) error {
				account, err := g.Activate(cmd.Context(), args[0], window)
				if err != nil {
					return err
				}
				return g.changed(cmd, account, "active until "+account.ActiveUntil.UTC().Format(time.RFC3339))
			})
		},
	}
	cmd.Flags().DurationVar(&window, "for", 0, "for how long, such as 4h")
	return cmd
}

func newGlassDeactivate(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "deactivate USER", Short: "Close an account's activation window, and end what it began within",
		Example: "  idbridge breakglass deactivate bg-alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGlass(cmd, s, func(g glass) error {
				account, err := g.Activate(cmd.Context(), args[0], 0)
				if err != nil {
					return err
				}
				return g.ended(cmd, account, "not active any more")
			})
		},
	}
}

func newGlassRemove(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "remove USER", Short: "Remove a break-glass account; its IT user stays",
		Example: "  idbridge breakglass remove bg-alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGlass(cmd, s, func(g glass) error {
				account, err := g.Remove(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return errors.Join(g.ended(cmd, account, "removed"), g.unlink(cmd.Context(), account))
			})
		},
	}
}

// ended ends the account's sessions and sign-in tokens at once, on every node, and records and tells what became of it.
// Those that the IT user has by an account of a directory stay.
func (g glass) ended(cmd *cobra.Command, a local.Account, what string) error {
	ctx := cmd.Context()
	sessions, err := g.store.EndAccountSessions(ctx, g.provider.ID, a.Subject, "")
	tokens, tokensErr := g.revoke(ctx, a)
	what += fmt.Sprintf("; %d session(s) ended, %d token(s) revoked", sessions, tokens)
	return errors.Join(g.changed(cmd, a, what), err, tokensErr)
}

func (g glass) revoke(ctx context.Context, a local.Account) (revoked int, err error) {
	user, err := g.owner(ctx, a)
	if err != nil || user.Key == "" {
		return 0, err // a token without its link is worth nothing
	}
	now := time.Now()
	list, err := g.store.Tokens(ctx, user.Key, now)
	for _, t := range list {
		if t.Identity.Provider != g.provider.ID {
			continue
		}
		n, revokeErr := g.store.RevokeTokens(ctx, user.Key, t.ID, now)
		revoked, err = revoked+n, errors.Join(err, revokeErr)
	}
	return revoked, err
}

// unlink frees the IT user of a removed account for another one.
func (g glass) unlink(ctx context.Context, a local.Account) error {
	user, err := g.owner(ctx, a)
	if err != nil || user.Key == "" {
		return err
	}
	_, err = g.users.Unlink(ctx, user.Username, g.provider.ID)
	return err
}

// owner is the IT user that an account is linked to; without a key when there is none.
func (g glass) owner(ctx context.Context, a local.Account) (authn.ITUser, error) {
	return itusers.Finder(g.store).FindLinked(ctx, g.provider.ID, a.Subject, "")
}

func newGlassList(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List break-glass accounts and what each still needs",
		Example: "  idbridge breakglass list", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withGlass(cmd, s, func(g glass) error { return g.list(cmd, output) })
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// glassAccount is an account as JSON for programs.
type glassAccount struct {
	Username    string     `json:"username"`
	ITUser      string     `json:"it_user"`
	Changed     time.Time  `json:"password_changed"`
	ActiveUntil *time.Time `json:"active_until"`
	Needs       []string   `json:"needs"`
}

func (g glass) list(cmd *cobra.Command, output string) error {
	accounts, err := g.List(cmd.Context())
	if err != nil {
		return err
	}
	value, rows := []glassAccount{}, [][]string{}
	for _, a := range accounts {
		user, err := g.owner(cmd.Context(), a)
		if err != nil {
			return err
		}
		one := glassAccount{a.Username, user.Username, a.Changed, nil, needs(a, user)}
		until := "-"
		if time.Now().Before(a.ActiveUntil) {
			one.ActiveUntil, until = &a.ActiveUntil, a.ActiveUntil.Format(time.RFC3339)
		}
		value = append(value, one)
		rows = append(rows, []string{a.Username, user.Username, a.Changed.Format(time.DateOnly), until, strings.Join(one.Needs, ", ")})
	}
	return show(cmd.OutOrStdout(), output, []string{"USER", "IT USER", "PASSWORD OF", "ACTIVE UNTIL", "NEEDS"}, rows, value)
}

// needs is what keeps an account from signing in, beside its activation.
func needs(a local.Account, user authn.ITUser) (list []string) {
	list = []string{}
	if user.Key == "" {
		return append(list, "an IT user (users link)")
	}
	if !user.Active {
		list = append(list, "its IT user enabled (users enable)")
	}
	if !user.Enrolled {
		list = append(list, "a second factor (mfa enrol)")
	}
	if a.MustChange {
		list = append(list, "a password of its owner's (breakglass passwd)")
	}
	return list
}

// warnOfGlass logs them; nobody waits for it.
func (w *bridge) warnOfGlass(ctx context.Context) {
	for _, warning := range w.glassWarnings(ctx) {
		w.log.Warn("break-glass account " + warning)
	}
}

// slowWarning tells that a refusal after a hash comes later than others, from which could be told that a name is known.
func (b *backend) slowWarning(hash time.Duration) []string {
	if 2*hash < b.config.RefusalTime { // two are made at once
		return nil
	}
	return []string{fmt.Sprintf("passwords: checking one takes %s here: set refusal_time, which is %s, to three times that",
		hash.Round(time.Millisecond), b.config.RefusalTime)}
}

// glassWarnings are what an administrator should know of the break-glass accounts. That they cannot be read is told by
// the provider's Check.
func (b *backend) glassWarnings(ctx context.Context) (list []string) {
	if b == nil {
		return nil
	}
	g, found := b.openGlass()
	if !found {
		return nil
	}
	accounts, err := g.List(ctx)
	if err != nil {
		return nil
	}
	list = append(local.Warnings(g.settings(), accounts, time.Now()), b.slowWarning(local.Took())...)
	for _, a := range accounts {
		if user, err := g.owner(ctx, a); err == nil && (user.Key == "" || !user.Active || !user.Enrolled) {
			a.MustChange = false // told already
			list = append(list, a.Username+": needs "+strings.Join(needs(a, user), ", "))
		}
	}
	return list
}
