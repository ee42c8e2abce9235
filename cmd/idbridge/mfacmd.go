package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/mfa"
)

func newMFA(s *settings) *cobra.Command {
	return group("mfa", "Set up, list and reset second factors", newMFAEnrol(s), newMFAInvite(s), newMFAList(s),
		newMFAReset(s))
}

func newMFAEnrol(s *settings) *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use: "enrol USER", Short: "Set up an authenticator app for an IT user",
		Long: `Shows a QR code for the user's authenticator app and asks for the code that the app then shows; only that makes the app
a second factor. Prints recovery codes, once: each signs in a single time in place of a code.`,
		Example: "  idbridge mfa enrol alice",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error { return enrol(cmd, b, args[0], plain) })
		},
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "draw the QR code without colours")
	return cmd
}

func enrol(cmd *cobra.Command, b *backend, username string, plain bool) error {
	user, err := b.findUser(cmd.Context(), username)
	if err != nil {
		return err
	}
	e, err := b.factors.Enrol(cmd.Context(), user)
	if err != nil {
		return err
	}
	if err := showEnrolment(cmd, e, plain); err != nil {
		return err
	}
	code, err := ask(cmd, "The code it shows now: ")
	if err != nil {
		return fmt.Errorf("no code was given; nothing has changed: %w", err)
	}
	recovery, err := b.factors.Confirm(cmd.Context(), user, e.ID, strings.ReplaceAll(code, " ", ""))
	if authn.KindOf(err) == authn.BadCredentials {
		return fmt.Errorf("that is not the code of now; nothing has changed (is the clock of the phone right?): %w", err)
	}
	if err != nil {
		return err
	}
	if err := b.note(cmd.Context(), audit.Record{Action: audit.FactorEnrolled, ITUser: user.Username}); err != nil {
		return err
	}
	showRecovery(cmd, user.Username, recovery)
	return nil
}

func showEnrolment(cmd *cobra.Command, e mfa.Enrolment, plain bool) error {
	style := mfa.QRColour
	if plain {
		style = mfa.QRPlain
	}
	picture, err := mfa.QR(e.URI, style)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\nScan this with an authenticator app, or type: %s\n",
		picture, e.Secret.Reveal())
	return nil
}

func showRecovery(cmd *cobra.Command, username string, codes []authn.Secret) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "\n%s now has a second factor: type the code directly behind the password.\n", printable(username))
	if len(codes) == 0 {
		return
	}
	fmt.Fprintln(out, "Recovery codes, shown only now. Each works once in place of a code:")
	for _, c := range codes {
		fmt.Fprintln(out, "  "+c.Reveal())
	}
}

func newMFAInvite(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "invite USER", Short: "Make a one-time code with which an IT user sets up a second factor in the portal",
		Long: `Makes an enrolment code for an IT user who must have a second factor and has none. The portal asks for it after the
password. It works once, for a day, and takes the place of an earlier one. Hand it over in person or by telephone.`,
		Example: "  idbridge mfa invite alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error { return invite(cmd, b, args[0]) })
		},
	}
}

func invite(cmd *cobra.Command, b *backend, username string) error {
	user, err := b.findUser(cmd.Context(), username)
	if err != nil {
		return err
	}
	devices, err := b.factors.Devices(cmd.Context(), user)
	if err != nil {
		return err
	}
	if len(devices) > 0 { // the portal would ask for a code of it, and never for this one
		return fmt.Errorf("%s has a second factor already (idbridge mfa reset %s takes it away)", printable(user.Username), username)
	}
	code, expires, err := b.factors.Invite(cmd.Context(), user)
	if err != nil {
		return err
	}
	until := expires.UTC().Format(time.RFC3339)
	if err := b.note(cmd.Context(), audit.Record{Action: audit.FactorInvited, ITUser: user.Username, Detail: "until " + until}); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\nfor %s, once, until %s\n", code.Reveal(), printable(user.Username), until)
	return nil
}

func newMFAList(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list [USER]", Short: "List who has a second factor, or the second factors of one IT user",
		Example: "  idbridge mfa list\n  idbridge mfa list alice",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return exactly("USER")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				if len(args) == 0 {
					return listHolders(cmd, b, output)
				}
				return listFactors(cmd, b, args[0], output)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func listHolders(cmd *cobra.Command, b *backend, output string) error {
	holders, err := b.factors.Holders(cmd.Context())
	if err != nil {
		return err
	}
	var rows [][]string
	for _, h := range holders {
		rows = append(rows, []string{printable(h.Username), fmt.Sprint(h.Devices), fmt.Sprint(h.RecoveryCodes)})
	}
	return show(cmd.OutOrStdout(), output, []string{"USER", "DEVICES", "RECOVERY CODES LEFT"}, rows, append([]mfa.Holder{}, holders...))
}

func listFactors(cmd *cobra.Command, b *backend, username, output string) error {
	user, err := b.findUser(cmd.Context(), username)
	if err != nil {
		return err
	}
	devices, err := b.factors.Devices(cmd.Context(), user)
	if err != nil {
		return err
	}
	left, err := b.factors.RecoveryLeft(cmd.Context(), user)
	if err != nil {
		return err
	}
	type device struct {
		ID       string    `json:"id"`
		Name     string    `json:"name"`
		Since    time.Time `json:"since"`
		LastUsed time.Time `json:"last_used"`
	}
	value := struct {
		Devices       []device `json:"devices"`
		RecoveryCodes int      `json:"recovery_codes"`
	}{[]device{}, left}
	rows := [][]string{}
	for _, d := range devices {
		used := d.LastUsed().UTC()
		value.Devices = append(value.Devices, device{d.ID, d.Name, d.Confirmed, used})
		since := "since " + d.Confirmed.Format(time.RFC3339)
		rows = append(rows, []string{"authenticator app", since, "used " + used.Format(time.RFC3339), d.Name})
	}
	rows = append(rows, []string{"recovery codes", fmt.Sprintf("%d left", left)})
	return show(cmd.OutOrStdout(), output, nil, rows, value)
}

func newMFAReset(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "reset USER", Short: "Remove all second factors of an IT user, for instance when the phone is lost",
		Example: "  idbridge mfa reset alice", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				user, err := b.findUser(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				n, err := b.factors.Reset(cmd.Context(), user)
				if err != nil {
					return err
				}
				detail := fmt.Sprintf("%d device(s) removed", n)
				err = b.note(cmd.Context(), audit.Record{Action: audit.FactorReset, ITUser: user.Username, Detail: detail})
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", printable(user.Username), detail)
				return errors.Join(err)
			})
		},
	}
}
