package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/keyring"
)

func newKeys(s *settings) *cobra.Command {
	var id string
	generate := &cobra.Command{
		Use: "generate", Short: "Make a master key, as a line of a key file",
		Long: `Prints a new master key as one line of a key file. The file must be readable for its owner only; keep a copy of it
apart from the database: without the key second factors and the audit's chain are lost.`,
		Example: "  (umask 077; idbridge keys generate > /etc/idbridge/idbridge.keys)",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := keyring.Generate(id)
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	generate.Flags().StringVar(&id, "id", time.Now().UTC().Format("2006-01-02"), "the key's id")
	rotate := &cobra.Command{
		Use: "rotate", Short: "Seal everything in the store under the newest key",
		Long: `Seals everything in the store under the first key of the key file. Put a new key first in the file of every node,
restart them, run this, then remove the old line. Sign-ins go on meanwhile, and it can be run again after an interruption.`,
		Example: "  idbridge keys rotate",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return rotateKeys(cmd, s) },
	}
	return group("keys", "Make and rotate the master key", generate, rotate)
}

func rotateKeys(cmd *cobra.Command, s *settings) error {
	return withBackend(cmd, s, func(b *backend) error {
		ctx, total := cmd.Context(), 0
		for _, shelf := range []keyring.Shelf{b.store.DataKeys(), b.store.FactorSecrets(), b.store.LocalPasswords(), b.store.SAMLSecrets(),
			b.store.RevisionTexts(), b.store.SightingTexts(), b.store.KeptTexts()} {
			n, err := b.ring.Reseal(ctx, shelf, nil)
			total += n
			if err != nil {
				return fmt.Errorf("after %d secrets: %w (nothing is lost; run it again)", total, err)
			}
		}
		err := b.note(ctx, audit.Record{Action: audit.KeysRotated, Detail: fmt.Sprintf("%d under %s", total, b.ring.CurrentID())})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%d secret(s) sealed anew under key %s\n", total, b.ring.CurrentID())
		}
		return err
	})
}

// withBackend opens what stands on rows, for a command that needs it.
func withBackend(cmd *cobra.Command, s *settings, do func(*backend) error) error {
	c, err := loadConfig(s.config)
	if err != nil {
		return err
	}
	b, err := openBackend(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer b.Close()
	return do(b)
}
