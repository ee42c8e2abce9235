package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
)

func newUnlock(s *settings) *cobra.Command {
	var address, output string
	var list bool
	cmd := &cobra.Command{
		Use: "unlock USER | --address ADDRESS | --list", Short: "Let somebody try again who failed too often, or see who has to wait",
		Long: `Forgets the failed attempts of a user: passwords, codes and sign-in tokens; or those from a network address, in the portal.
Each is recorded. A directory's own lock is lifted at the directory: see idbridge explain USER.`,
		Example: "  idbridge unlock --list\n  idbridge unlock ann\n  idbridge unlock --address 192.0.2.7",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wanted := len(args) + flagged(list) + flagged(address != ""); wanted != 1 {
				return usageError{errors.New("want one of USER, --address and --list")}
			}
			return withBackend(cmd, s, func(b *backend) error {
				if list {
					return listBlocks(cmd, b, output)
				}
				return unlock(cmd, b, append(args, "")[0], address)
			})
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "of a person's browser; of IPv6 its network is meant")
	cmd.Flags().BoolVar(&list, "list", false, "list who has to wait, the longest first")
	outputFlag(cmd, &output)
	return cmd
}

func flagged(b bool) int {
	if b {
		return 1
	}
	return 0
}

func unlock(cmd *cobra.Command, b *backend, username, address string) (err error) {
	r := audit.Record{ID: newID(), Time: time.Now(), Actor: operator()}
	var keys []string
	if address == "" {
		keys, err = b.blocks().UnlockUser(cmd.Context(), username, r)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(address); err != nil {
			return usageError{fmt.Errorf("--address %q: want an address such as 192.0.2.7", address)}
		}
		keys, err = b.blocks().UnlockAddress(cmd.Context(), a, r)
	}
	if err != nil {
		return err
	}
	for _, key := range keys {
		fmt.Fprintf(cmd.OutOrStdout(), "forgotten: %s\n", printable(countedText(insight.Block{
			What: authn.ParseCounted(key).What, Provider: authn.ParseCounted(key).Provider, Of: authn.ParseCounted(key).Of})))
	}
	if len(keys) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "there were no failed attempts here (a directory's own lock is lifted there)")
	}
	return nil
}

// countedText says what failed.
func countedText(b insight.Block) string {
	switch b.What {
	case authn.CountedPassword:
		return fmt.Sprintf("passwords of the account %s at %s", b.Of, b.Provider)
	case authn.CountedName:
		return fmt.Sprintf("the name %s at %s, which no account has", b.Of, b.Provider)
	case authn.CountedToken:
		return "sign-in tokens of " + b.Of
	case authn.CountedCode:
		return "codes"
	case authn.CountedAddress:
		return "attempts from " + b.Of
	}
	return b.Of
}

// mostBlocks is how many are listed: more are a flood, and the longest waits come first.
const mostBlocks = 500

func listBlocks(cmd *cobra.Command, b *backend, output string) error {
	list, all, err := b.blocks().List(cmd.Context(), mostBlocks)
	if err != nil {
		return err
	}
	rows := [][]string{}
	for _, l := range list {
		rows = append(rows, []string{known(l.ITUser), countedText(l), fmt.Sprint(l.Failures), l.Until.Format(time.RFC3339)})
	}
	err = show(cmd.OutOrStdout(), output, []string{"IT USER", "WHAT FAILED", "TIMES", "UNTIL"}, rows, append([]insight.Block{}, list...))
	if all > len(list) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d in all\n", all)
	}
	return err
}

func known(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
