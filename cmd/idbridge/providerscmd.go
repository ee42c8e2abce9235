package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/strictyaml"
)

func newProviders(s *settings) *cobra.Command {
	return group("providers", "List, test and change the directories and identity providers", newProvidersList(s), newProvidersShow(s),
		newProvidersTest(s), newProvidersAdd(s), newProvidersSet(s), newProvidersRemove(s))
}

// providerLine is a provider as it is listed.
type providerLine struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Label    string `json:"label"`
	Names    string `json:"names"` // which user names belong to it
	Users    int    `json:"users"` // active IT users that are linked at it
	Enrolled int    `json:"enrolled"`
}

func newProvidersList(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the providers, and how many IT users are linked at each",
		Example: "  idbridge providers list\n  idbridge providers list -o json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				reach, err := b.store.Reach(cmd.Context())
				if err != nil {
					return err
				}
				list, rows := []providerLine{}, [][]string{}
				for _, p := range b.config.Providers {
					l := providerLine{p.ID, p.Type, p.label(), p.Match.words(), reach[p.ID].Users, reach[p.ID].Enrolled}
					list = append(list, l)
					rows = append(rows, []string{l.ID, l.Type, l.Label, l.Names, strconv.Itoa(l.Users), strconv.Itoa(l.Enrolled)})
				}
				head := []string{"PROVIDER", "TYPE", "LABEL", "USER NAMES", "USERS", "WITH A FACTOR"}
				return show(cmd.OutOrStdout(), output, head, rows, list)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// words say which user names belong to a provider.
func (m MatchConfig) words() string {
	var list []string
	for _, d := range m.Domains {
		list = append(list, "*@"+d)
	}
	for _, p := range m.Prefixes {
		list = append(list, p+`\*`)
	}
	if m.Pattern != "" {
		list = append(list, "/"+m.Pattern+"/")
	}
	if m.Default {
		list = append(list, "all others")
	}
	if len(list) == 0 {
		return "chosen in the browser"
	}
	return strings.Join(list, ", ")
}

func newProvidersShow(s *settings) *cobra.Command {
	var output string
	var defaults bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a provider's settings, with secrets masked",
		Example: "  idbridge providers show corp --defaults", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				d := draft{next: b.config}
				at := d.find(args[0])
				if at < 0 {
					return d.unknown(args[0])
				}
				o := strictyaml.EncodeOptions{Dir: b.config.dir, Defaults: defaults}
				if output == "json" {
					return show(cmd.OutOrStdout(), output, nil, nil, strictyaml.Values(b.config.Providers[at], o))
				}
				_, err := cmd.OutOrStdout().Write(strictyaml.Encode(b.config.Providers[at], o))
				return err
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&defaults, "defaults", false, "also the keys that have their default")
	return cmd
}

func newProvidersTest(s *settings) *cobra.Command {
	var output, file, user, passwordFile string
	cmd := &cobra.Command{
		Use: "test [ID]", Short: "Look whether providers work, also one that is not saved yet; sign somebody in that changes nothing",
		Long: `Looks at one provider, or all, as idbridge check does. With --file at the provider of that file as if it were saved. With --user
somebody is signed in on top: the account is searched and the password proven, once, and told is how it would end on every
environment. Nothing is linked, no failed attempt is counted for the account here (the directory counts its own), and no code is
asked for: type the password alone. That it was tried is in the audit. Exit code 1 when something does not work.`,
		Example: `  idbridge providers test corp
  idbridge providers test --file new.yaml --user ann`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGround(cmd, s, func(b *backend) error {
				d, err := b.begin(cmd.Context())
				if err != nil {
					return err
				}
				id := append(args, "")[0]
				if file != "" {
					text, err := readArgument(cmd, file)
					if err != nil {
						return err
					}
					if id, err = d.setProvider(file, text, fromHere); err != nil {
						return err
					}
				}
				return testProviders(cmd, d, id, output, user, passwordFile)
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&file, "file", "", "a provider in YAML or JSON, which is tested without being saved")
	cmd.Flags().StringVar(&user, "user", "", "sign this user in")
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "a file that holds the password; absent: it is asked for")
	return cmd
}

// tested is what providers test tells.
type tested struct {
	Checks []verdict    `json:"checks"`
	SignIn *triedSignIn `json:"sign_in,omitempty"`
}

type triedSignIn struct {
	Username string             `json:"user"`
	Provider string             `json:"provider"`
	Subject  string             `json:"subject"`
	Groups   []string           `json:"groups"`
	Refused  *explainedRefusal  `json:"refused,omitempty"` // why the password was not proven
	Outcomes []explainedOutcome `json:"outcomes"`
}

func triedOf(username string, t authn.Trial) triedSignIn {
	told := triedSignIn{Username: username, Provider: t.Identity.Provider, Subject: t.Identity.Subject, Groups: t.Identity.Groups,
		Refused: refusalOf(t.Err), Outcomes: []explainedOutcome{}}
	for _, o := range t.Outcomes {
		told.Outcomes = append(told.Outcomes, outcomeOf(o, t.User, nil))
	}
	return told
}

func testProviders(cmd *cobra.Command, d *draft, id, output, user, passwordFile string) error {
	list, err := d.test(cmd.Context(), id, progressOf(cmd))
	if err != nil {
		return err
	}
	told := tested{Checks: list}
	if user != "" {
		password, err := platformFlags{user: user, passwordFile: passwordFile}.readPassword(cmd)
		if err != nil {
			return usageError{err}
		}
		trial, err := d.try(cmd.Context(), operator(), user, authn.Secret(password))
		if err != nil {
			return err
		}
		tried := triedOf(user, trial)
		told.SignIn = &tried
	}
	failed := told.SignIn != nil && told.SignIn.Refused != nil
	for _, v := range list {
		failed = failed || v.Verdict == "fail"
	}
	if err := told.print(cmd, output); err != nil {
		return err
	}
	if failed {
		return errors.New("something does not work")
	}
	return nil
}

func (t tested) print(cmd *cobra.Command, output string) error {
	if output == "json" {
		return show(cmd.OutOrStdout(), output, nil, nil, t)
	}
	printVerdicts(cmd.OutOrStdout(), t.Checks)
	if t.SignIn == nil {
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\n%s, with that password\n", printable(t.SignIn.Username))
	if t.SignIn.Refused != nil {
		printVerdicts(cmd.OutOrStdout(), []verdict{{Verdict: "stop", Check: "password", Text: t.SignIn.Refused.line()}})
		return nil
	}
	list := []verdict{{Verdict: "ok", Check: "password", Text: "right; " + t.SignIn.Provider + " knows the account as " + t.SignIn.Subject},
		{Verdict: "ok", Check: "groups", Text: strings.Join(t.SignIn.Groups, "\t")}}
	printVerdicts(cmd.OutOrStdout(), append(list, explained{Outcomes: t.SignIn.Outcomes}.conclusions()...))
	return nil
}

func newProvidersAdd(s *settings) *cobra.Command {
	var f saving
	cmd := &cobra.Command{
		Use: "add FILE", Short: "Add a provider",
		Long:    `Adds the provider of a file (YAML or JSON, - is standard input; the keys are those of an item of providers) as a new version.`,
		Example: "  idbridge providers test --file corp2.yaml && idbridge providers add corp2.yaml", Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readArgument(cmd, args[0])
			if err != nil {
				return err
			}
			return f.change(cmd, s, "a provider was added", func(d *draft) error {
				count := len(d.next.Providers)
				id, err := d.setProvider(args[0], text, fromHere)
				if err == nil && len(d.next.Providers) == count {
					return usageError{fmt.Errorf("there is a provider %q already (idbridge providers set %s changes it)", id, id)}
				}
				return err
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func newProvidersSet(s *settings) *cobra.Command {
	var f saving
	cmd := &cobra.Command{
		Use: "set ID KEY=VALUE...", Short: "Change some of a provider's settings",
		Long: `Changes the keys that are given, as a new version; the others stay. A key inside another is written with a dot, a list in
brackets; KEY= alone takes a key out. Give secrets as KEY_file=FILE: the command line is visible to others on this machine.`,
		Example: `  idbridge providers set corp base_dn=ou=people,dc=example,dc=com
  idbridge providers set corp 'urls=[ldaps://ldap1.example.com, ldaps://ldap2.example.com]' groups.nested=true
  idbridge providers set corp bind_password_file=new.secret -m 'yearly change' --dry-run`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.change(cmd, s, "settings of "+args[0], func(d *draft) error { return d.setKeys(args[0], args[1:]) })
		},
	}
	f.flags(cmd)
	return cmd
}

// setKeys changes keys of a provider.
func (d *draft) setKeys(id string, assignments []string) error {
	at := d.find(id)
	if at < 0 {
		return d.unknown(id)
	}
	values := strictyaml.Values(d.next.Providers[at], strictyaml.EncodeOptions{})
	for _, assignment := range assignments {
		key, value, err := keyValue(assignment)
		if err != nil {
			return err
		}
		if key == "id" {
			return usageError{errors.New("id: accounts are linked under it; add another provider instead")}
		}
		if err := assign(values, strings.Split(key, "."), value); err != nil {
			return usageError{fmt.Errorf("%s: %w", key, err)}
		}
	}
	_, err := d.setProvider(id, []byte(flow(values)), fromHere)
	return err
}

// written is a value as somebody typed it.
type written string

func assign(values map[string]any, path []string, value string) error {
	if len(path) > 1 {
		inner, ok := values[path[0]].(map[string]any)
		if !ok && values[path[0]] != nil {
			return fmt.Errorf("%s is not a mapping", path[0])
		}
		if inner == nil {
			inner = map[string]any{}
			values[path[0]] = inner
		}
		return assign(inner, path[1:], value)
	}
	delete(values, path[0])
	delete(values, strings.TrimSuffix(path[0], "_file")) // a secret, or its file: one of the two
	if value != "" {
		values[path[0]] = written(value)
	}
	return nil
}

// flow writes values as YAML that JSON is a part of, and what was typed as it was.
func flow(v any) string {
	switch x := v.(type) {
	case written:
		if strings.ContainsAny(string(x)[:1], `[{"'`) || json.Valid([]byte(x)) {
			return string(x)
		}
		return flow(string(x))
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(x)) {
			parts = append(parts, flow(key)+": "+flow(x[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, item := range x {
			parts = append(parts, flow(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	text, _ := json.Marshal(v) // texts, numbers and truth values can be
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(text))
}

func newProvidersRemove(s *settings) *cobra.Command {
	var f saving
	cmd := &cobra.Command{
		Use: "remove ID", Short: "Take a provider out",
		Long:    `Takes a provider out, as a new version. The links of IT users to its accounts stay, and count again if it comes back.`,
		Example: "  idbridge providers remove old --dry-run", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.change(cmd, s, "without "+args[0], func(d *draft) error { return d.removeProvider(args[0]) })
		},
	}
	f.flags(cmd)
	return cmd
}
