package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
)

func newBackup(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the database, while idbridge runs, into a new file",
		Long: `Copies the SQLite database as it is at one moment into a new file that only its owner can read, reads the copy through and
says what it holds. Sign-ins go on meanwhile. Nothing is migrated: run before an upgrade, also by the new program, it makes a
copy for the old one. Of PostgreSQL it says which command to run.

The copy can be opened with the master key only, which is not in it: keep the key file and the configuration too, in
another place. To restore: docs/operations.md.`,
		Example: "  idbridge backup /backup/idbridge-$(date +%F).db",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			if c.Store.Driver == string(store.Postgres) {
				command, err := store.DumpCommand(c.Store.DSN, args[0])
				if err == nil {
					err = fmt.Errorf("PostgreSQL is copied with its own means:\n%s", command)
				}
				return usageError{err}
			}
			held, err := store.CopySQLite(cmd.Context(), c.path(c.Store.Path), args[0])
			if errors.Is(err, os.ErrExist) {
				return usageError{fmt.Errorf("%w; a copy is never overwritten", err)}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d IT user(s), %d second factor(s), audit up to number %d, schema %d\n", args[0],
				held.ITUsers, held.Devices, held.AuditSeq, held.Schema)
			if held.AuditSeq > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "for idbridge audit verify --kept: %d:%x\n", held.AuditSeq, held.AuditMAC)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "not in it: the master key (%s) and the configuration; without the key it cannot be opened\n",
				c.Keys.place())
			return nil
		},
	}
}

func (k KeysConfig) place() string {
	if k.Env != "" {
		return "$" + k.Env
	}
	return k.File
}

func newRestored(s *settings) *cobra.Command {
	var reason string
	var spare bool
	cmd := &cobra.Command{
		Use: "restored --reason TEXT", Short: "After a backup was restored: end what may have been used since",
		Long: `To be run after an older copy of the database was put in place and before idbridge serve, which refuses a copy made by idbridge
backup until then. The copy does not know what happened after it was made. So what is good once, or was ended since, must not be
good again: sign-ins under way, sessions, sign-in tokens, enrolment codes, unfinished enrolments and recovery codes end, break-glass
accounts are deactivated, and codes that authenticator apps have shown so far count as used. It is recorded, and says what only
people can look after.

--keep-recovery-codes leaves them good: for when nobody has used one since the copy was made, as the audit of that time shows where
it was sent to another place (docs/operations.md).`,
		Example: `  idbridge restored --reason "disk failed, ticket 4711"`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n := len(reason); n == 0 || n > 500 {
				return usageError{errors.New("--reason: say why, in 1 to 500 bytes; it stays in the audit for ever")}
			}
			return withBackend(cmd, s, func(b *backend) error { return b.reopen(cmd.Context(), cmd.OutOrStdout(), reason, spare) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the audit for ever")
	cmd.Flags().BoolVar(&spare, "keep-recovery-codes", false, "recovery codes stay good, also those used after the copy was made")
	return cmd
}

// reopen makes a copy the installation of from now on.
func (b *backend) reopen(ctx context.Context, out io.Writer, reason string, spare bool) error {
	last, err := b.lastRecord(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	r, err := b.store.Reopen(ctx, now, mfa.LastStep(now), spare)
	if err != nil {
		return err
	}
	ended := fmt.Sprintf("%d sign-in(s) under way, %d session(s), %d sign-in token(s), %d enrolment code(s), %d recovery code(s)",
		r.Logins, r.Sessions, r.Tokens, r.Invitations, r.RecoveryCodes)
	err = b.note(ctx, audit.Record{Action: audit.Restored, Detail: fmt.Sprintf("%s; the copy ends with number %d of %s; ended: %s", reason,
		last.Seq, last.Time.UTC().Format(time.RFC3339), ended)})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `this is the installation as it was at number %d of the audit, of %s
ended: %s
deactivated: %d break-glass account(s)
codes of %d authenticator app(s) are good again in a minute
undone is what was done after that moment, so do again:
  IT users disabled, renamed or removed; second factors, links and sign-in tokens taken away; passwords of break-glass accounts
  versions of the configuration (idbridge config versions), rotated SAML keys (idbridge saml keys)
  users provisioned at LifeTime meanwhile: they are there already (idbridge users provision --dry-run)
failed attempts after that moment are forgotten; webhooks that waited then may come a second time
`, last.Seq, last.Time.UTC().Format(time.RFC3339), ended, r.BreakGlass, r.Devices)
	return nil
}

func (b *backend) lastRecord(ctx context.Context) (audit.Record, error) {
	head, err := b.store.AuditHead(ctx)
	if err != nil {
		return audit.Record{}, err
	}
	rows, err := b.store.AuditRows(ctx, head.Seq-1, 1)
	if err != nil || len(rows) == 0 {
		return audit.Record{}, err
	}
	return rows[0].Record, nil
}

// refuseCopy keeps a copy from serving as if nothing had happened after it was made.
func (b *backend) refuseCopy(ctx context.Context) error {
	at, err := b.store.CopiedAt(ctx)
	if err != nil || at.IsZero() {
		return err
	}
	return fmt.Errorf("this database is a copy, made %s: codes and tokens that were used since would be good again.\n"+
		"Run idbridge restored --reason TEXT first", at.Format(time.RFC3339))
}
