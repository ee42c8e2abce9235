package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/itusers"
)

func newUsers(s *settings) *cobra.Command {
	return group("users", "Import, list and change IT users", newUsersImport(s), newUsersList(s), newUsersShow(s), newUsersAdd(s),
		newUsersSet(s), newUsersSignOut(s), newUsersLink(s), newUsersUnlink(s),
		newUsersActive(s, "disable", "Keep an IT user from signing in; sessions and tokens end", false),
		newUsersActive(s, "enable", "Let an IT user sign in again", true), newUsersSync(s), newUsersSources(s),
		newUsersCoverage(s), newUsersProvision(s), newUsersBlockedLogins(s))
}

func newUsersImport(s *settings) *cobra.Command {
	var o itusers.Options
	var format string
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Add and change IT users from a CSV or JSON file, all or nothing",
		Long: `Adds and changes IT users from a file, all or nothing. Columns of CSV: username, name, email, active, and id (with
--environment), or id:ENVIRONMENT for several at once. Users who are not in the file stay as they are. Every problem is
reported with its line; with one problem nothing is imported.`,
		Example: `  idbridge users import production.csv --environment production --dry-run
  idbridge users import production.csv --environment production`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error { return importUsers(cmd, b, args[0], format, o) })
		},
	}
	cmd.Flags().StringVar(&o.Environment, "environment", "", "the environment whose ids are in the column id")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "report what would change, and change nothing")
	cmd.Flags().StringVar(&format, "format", "", "csv or json; by default what the file's name ends in")
	return cmd
}

func importUsers(cmd *cobra.Command, b *backend, file, format string, o itusers.Options) error {
	if format == "" {
		format = strings.TrimPrefix(strings.ToLower(filepath.Ext(file)), ".")
	}
	if format != string(itusers.CSV) && format != string(itusers.JSON) {
		return usageError{fmt.Errorf("%s: is it csv or json? say --format", file)}
	}
	o.Environments = b.config.environmentNames()
	if o.Environment != "" && !slices.Contains(o.Environments, o.Environment) {
		return usageError{fmt.Errorf("--environment %q: the configuration knows %s", o.Environment, strings.Join(o.Environments, ", "))}
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	o.Progress = progress(cmd)
	r, err := b.users.Import(cmd.Context(), in, itusers.Format(format), o)
	printImport(cmd, file, o.DryRun, r)
	if errors.Is(err, itusers.ErrRefused) {
		return fmt.Errorf("%s: %d problem(s); nothing was imported", file, len(r.Problems))
	}
	if err != nil || o.DryRun {
		return err
	}
	detail := fmt.Sprintf("%s: %d added, %d changed, %d unchanged", filepath.Base(file), r.Added, r.Changed, r.Unchanged)
	return b.note(cmd.Context(), audit.Record{Action: audit.UsersImported, Environment: o.Environment, Detail: detail})
}

// progress shows on standard error how far a long import is.
func progress(cmd *cobra.Command) func(done, total int) {
	var last time.Time
	return func(done, total int) {
		if total >= 10_000 && time.Since(last) > 500*time.Millisecond {
			last = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d\n", done, total)
		}
	}
}

func printImport(cmd *cobra.Command, file string, dry bool, r itusers.Report) {
	out := cmd.OutOrStdout()
	for _, p := range r.Problems {
		fmt.Fprintf(out, "%s:%d: %s\n", file, p.Line, printable(p.Text()))
	}
	for _, row := range r.Rows {
		verb := "change"
		if row.Before.Key == "" {
			verb = "add"
		}
		fmt.Fprintf(out, "%s:%d: %s %s: %s\n", file, row.Line, verb, printable(row.After.Username), printable(strings.Join(row.What, ", ")))
	}
	prefix := ""
	if dry {
		prefix = "dry run: "
	}
	fmt.Fprintf(out, "%s%d added, %d changed, %d unchanged\n", prefix, r.Added, r.Changed, r.Unchanged)
}

func newUsersList(s *settings) *cobra.Command {
	var f itusers.Filter
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List IT users",
		Example: "  idbridge users list --text smith\n  idbridge users list --environment production --unlinked -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				users, err := b.users.List(cmd.Context(), f)
				if err != nil {
					return err
				}
				rows := make([][]string, 0, len(users))
				for _, u := range users {
					rows = append(rows, []string{u.Username, u.Name, activity(u.Active), idsOf(u), linksOf(u)})
				}
				return show(cmd.OutOrStdout(), output, []string{"USER", "NAME", "STATE", "IDS", "LINKED TO"}, rows, listed(users))
			})
		},
	}
	cmd.Flags().StringVar(&f.Text, "text", "", "only those with this text in user name, name or e-mail")
	cmd.Flags().StringVar(&f.Environment, "environment", "", "only those with an id there")
	cmd.Flags().BoolVar(&f.Inactive, "inactive", false, "only those who may not sign in")
	cmd.Flags().BoolVar(&f.Unlinked, "unlinked", false, "only those who never signed in")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "at most so many; 0: all")
	outputFlag(cmd, &output)
	return cmd
}

func activity(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

func idsOf(u itusers.User) string {
	var list []string
	for env, id := range u.IDs {
		list = append(list, env+"="+strconv.Itoa(int(id)))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func linksOf(u itusers.User) string {
	var list []string
	for _, l := range u.Links {
		list = append(list, l.Provider+":"+l.Username)
	}
	return strings.Join(list, " ")
}

// listedUser is a user as JSON for programs; names stay as they are when our structs change.
type listedUser struct {
	Username string           `json:"username"`
	Name     string           `json:"name"`
	Email    string           `json:"email"`
	Active   bool             `json:"active"`
	IDs      map[string]int32 `json:"ids"`
	Links    []listedLink     `json:"links"`
}

type listedLink struct {
	Provider string    `json:"provider"`
	Subject  string    `json:"subject"`
	Username string    `json:"username"`
	Since    time.Time `json:"since"`
}

func listed(users []itusers.User) []listedUser {
	list := make([]listedUser, 0, len(users))
	for _, u := range users {
		l := listedUser{Username: u.Username, Name: u.Name, Email: u.Email, Active: u.Active, IDs: u.IDs, Links: []listedLink{}}
		if l.IDs == nil {
			l.IDs = map[string]int32{} // which programs can walk through
		}
		for _, k := range u.Links {
			l.Links = append(l.Links, listedLink{k.Provider, k.Subject, k.Username, k.Since})
		}
		list = append(list, l)
	}
	return list
}

// shownUser is one user as JSON.
type shownUser struct {
	listedUser
	opened
}

func newUsersShow(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show USER", Short: "Show an IT user with ids, accounts, sessions and sign-in tokens",
		Long:    "Second factors are shown by idbridge mfa list USER, sign-ins by idbridge audit search USER.",
		Example: "  idbridge users show alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				u, err := b.users.Show(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				rows := [][]string{{"user", u.Username}, {"name", u.Name}, {"e-mail", u.Email}, {"state", activity(u.Active)}, {"ids", idsOf(u)}}
				for _, l := range u.Links {
					since := l.Since.Format(time.RFC3339)
					rows = append(rows, []string{"linked to", fmt.Sprintf("%s:%s (subject %s) since %s", l.Provider, l.Username, l.Subject, since)})
				}
				open, more, err := b.opened(cmd, u.Key)
				if err != nil {
					return err
				}
				return show(cmd.OutOrStdout(), output, nil, append(rows, more...), shownUser{listed([]itusers.User{u})[0], open})
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func newUsersLink(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "link USER PROVIDER NAME", Short: "Make an account at a provider the IT user's account there",
		Long: `Looks NAME up at the provider and links the account that it finds to the IT user, in place of any other account there.
The link holds the account's subject (entryUUID ...), which never changes, not its name.`,
		Example: "  idbridge users link alice corp alice.smith",
		Args:    exactly("USER", "PROVIDER", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error { return linkUser(cmd, b, args[0], args[1], args[2]) })
		},
	}
}

func linkUser(cmd *cobra.Command, b *backend, username, provider, name string) error {
	list, _, err := makeProviders(b.config, b.footing())
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.ID != provider || p.Password == nil {
			continue
		}
		account, err := p.Password.Find(cmd.Context(), name)
		if err != nil {
			return err
		}
		change, err := b.users.Link(cmd.Context(), username, provider, account.Subject, account.Username)
		return b.changed(cmd, change, err, fmt.Sprintf("linked to %s:%s (subject %s)", provider, account.Username, account.Subject))
	}
	return usageError{fmt.Errorf("there is no provider %q that could look a name up", provider)}
}

// changed records and tells what became of a user.
func (b *backend) changed(cmd *cobra.Command, c itusers.Change, err error, what string) error {
	if err != nil {
		return err
	}
	action := audit.UserChanged
	if c.Before.Key == "" {
		action = audit.UserAdded
	}
	err = b.note(cmd.Context(), audit.Record{Action: action, ITUser: c.After.Username, Detail: what})
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", printable(c.After.Username), printable(what))
	}
	return err
}

func newUsersUnlink(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "unlink USER PROVIDER", Short: "Remove an IT user's link at a provider",
		Long: `Removes the link. The next account that matches by name is linked anew at its first sign-in, so be sure whose name
it is now.`,
		Example: "  idbridge users unlink alice corp",
		Args:    exactly("USER", "PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				change, err := b.users.Unlink(cmd.Context(), args[0], args[1])
				return b.changed(cmd, change, err, "unlinked at "+args[1])
			})
		},
	}
}

func newUsersActive(s *settings, use, short string, active bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " USER", Short: short, Example: "  idbridge users " + use + " alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				change, err := b.users.SetActive(cmd.Context(), args[0], active)
				return b.changed(cmd, change, err, use+"d")
			})
		},
	}
}
