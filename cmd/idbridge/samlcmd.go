package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/providers/saml"
	"github.com/idbridge/idbridge/store"
)

// samlType is the type of the providers that are SAML 2.0 identity providers.
const samlType = "saml"

// samlMessages is how long the log of SAML messages is kept, as the platform keeps its own.
const samlMessages = 7 * day

// serviceProvider is idbridge towards its SAML identity providers. Last good copies of their metadata are beside the database;
// only a server keeps them fresh.
func (b *backend) serviceProvider(serves bool, log *slog.Logger) *saml.ServiceProvider {
	folder := filepath.Join(filepath.Dir(b.config.path(b.config.Store.Path)), "saml")
	return saml.NewServiceProvider(saml.Surroundings{
		PublicURL: b.config.portalURL(), Doors: b.config.otherDoors(), Folder: folder, OnlyLook: !serves,
		Keys: b.store, Sealer: b.ring, Replays: replays{b.store},
		Sessions: b.store, IdPSessions: b.store, Messages: b.store, Log: log,
	})
}

// portalURL is where browsers reach the portal; empty while it has no address.
func (c Config) portalURL() string {
	if c.Portal != nil {
		return strings.TrimSuffix(c.Portal.PublicURL, "/")
	}
	u, err := url.Parse(c.Plugin.PortalURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// otherDoors are those beside the portal to which browsers come back from identity providers, by name.
func (c Config) otherDoors() map[string]string {
	if c.Admin == nil {
		return nil
	}
	return map[string]string{admin.Door: c.Admin.PublicURL}
}

// replays remembers assertions as keys that are used once.
type replays struct{ *store.Store }

// Seen implements saml.Replays.
func (r replays) Seen(ctx context.Context, provider, id string, until time.Time) (bool, error) {
	return r.UseOnce(ctx, "saml", provider+" "+id, until)
}

func newSAML(s *settings) *cobra.Command {
	return group("saml", "What SAML identity providers need to know of us, and our keys", newSAMLMetadata(s), newSAMLKeys(s),
		newSAMLRotate(s), newSAMLLog(s))
}

// withSAML opens the backend with all providers made.
func withSAML(cmd *cobra.Command, s *settings, do func(*backend) error) error {
	return withBackend(cmd, s, func(b *backend) error {
		if _, _, err := makeProviders(b.config, b.footing()); err != nil {
			return err
		}
		return do(b)
	})
}

func newSAMLMetadata(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "metadata PROVIDER", Short: "Print our metadata for one identity provider",
		Long: `Prints the SAML metadata that the administrators of an identity provider import: our addresses, certificates and the
attributes we read, signed. The same is served at PORTAL/saml/PROVIDER/metadata. Makes our key at the first use.`,
		Example: "  idbridge saml metadata corp > idbridge-metadata.xml",
		Args:    exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSAML(cmd, s, func(b *backend) error {
				if b.config.portalURL() == "" {
					return usageError{fmt.Errorf("portal.public_url is missing: our addresses would not be known")}
				}
				text, err := b.saml.Metadata(cmd.Context(), args[0])
				if err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), string(text))
				}
				return err
			})
		},
	}
}

func newSAMLKeys(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "keys [PROVIDER]", Short: "List our keys, and when they end",
		Long: `Lists our keys, with the SHA-256 fingerprints of their certificates. The current one signs; the next one is announced
in our metadata and signs from the time shown; a previous one still opens what is encrypted with it. Each of them opens.`,
		Example: "  idbridge saml keys\n  idbridge saml keys corp -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSAML(cmd, s, func(b *backend) error {
				list, err := b.saml.Keys(cmd.Context(), append(args, "")[0])
				if err != nil {
					return err
				}
				rows := [][]string{}
				for _, k := range list {
					rows = append(rows, []string{k.Provider, k.State, on(k.Signs), on(k.Ends), on(k.Expires), k.Fingerprint})
				}
				head := []string{"PROVIDER", "STATE", "SIGNS FROM", "GONE FROM", "CERTIFICATE ENDS", "SHA-256"}
				return show(cmd.OutOrStdout(), output, head, rows, append([]saml.KeyInfo{}, list...))
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func newSAMLLog(s *settings) *cobra.Command {
	var output string
	var limit int
	cmd := &cobra.Command{
		Use: "log [PROVIDER]", Short: "List the last SAML messages, and why each was refused",
		Long: `Lists the messages of the last seven days, the newest first: what we asked, what came back, and the reason of each that was
refused (docs/errors.md). With log_messages: true of a provider, -o json also has their text, which holds personal data.`,
		Example: "  idbridge saml log corp --limit 20",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				list, err := b.store.SAMLMessages(cmd.Context(), append(args, "")[0], limit)
				if err != nil {
					return err
				}
				rows := [][]string{}
				for _, m := range list {
					rows = append(rows, []string{m.At.Format(time.RFC3339), m.Provider, m.Direction, m.Type, m.Message, m.InResponseTo,
						m.Username, m.Reason})
				}
				head := []string{"TIME", "PROVIDER", "WAY", "TYPE", "ID", "IN RESPONSE TO", "USER", "REFUSED"}
				return show(cmd.OutOrStdout(), output, head, rows, append([]saml.Message{}, list...))
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "how many")
	return cmd
}

// on is a day; none is a dash.
func on(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func newSAMLRotate(s *settings) *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate PROVIDER", Short: "Announce a new key to an identity provider",
		Long: `Makes a new key and puts it into our metadata at once. It signs after the overlap: until then the identity provider has
time to read the metadata again, or its administrator to import it. The old key goes when as much time has passed again.
A running server needs no restart.`,
		Example: "  idbridge saml rotate corp",
		Args:    exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if overlap < 0 {
				return usageError{fmt.Errorf("--overlap %s is negative", overlap)}
			}
			return withSAML(cmd, s, func(b *backend) error {
				if err := b.saml.Rotate(cmd.Context(), args[0], overlap); err != nil {
					return err
				}
				signs := time.Now().Add(overlap).Format(time.RFC3339)
				fmt.Fprintf(cmd.OutOrStdout(), "a new key is announced; it signs from %s on\n", signs)
				return b.note(cmd.Context(), audit.Record{
					Action: audit.KeysRotated, Provider: args[0], Detail: "SAML signing and encryption",
				})
			})
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", saml.DefaultOverlap, "how long it is announced before it signs")
	return cmd
}
