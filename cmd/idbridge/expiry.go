package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers/lifetime"
	"github.com/idbridge/idbridge/itusers/platformdb"
	"github.com/idbridge/idbridge/providers/azuread"
	"github.com/idbridge/idbridge/providers/saml"
)

// endings are the certificates and secrets that end, as far as we know, the next one first: those of listeners, those by
// which we trust others, and those by which others know us. Page, command, metric, log and audit have them from here. It asks
// nobody; asked does before.
func (b *backend) endings(ctx context.Context, providers []authn.Provider) (list []admin.Ending) {
	known := map[string]bool{}
	add := func(what, where string, at time.Time) {
		if key := where + "\n" + what; !at.IsZero() && !known[key] {
			known[key] = true
			list = append(list, admin.Ending{What: what, Where: where, At: at})
		}
	}
	for where, f := range b.config.listenersTLS() {
		add("certificate", where, fileEnds(f.CertFile, firstOf))
		add("client CA", where, fileEnds(f.ClientCAFile, lastOf))
	}
	for where, file := range b.config.authorities() {
		add("authorities in ca_file", where, fileEnds(b.config.path(file), lastOf))
	}
	for where, c := range b.config.lifeTimes() {
		at, _ := c.Ends() // was checked with the configuration
		add("token of LifeTime", where, at)
	}
	for _, p := range providers {
		for _, e := range ends(p) {
			add(e.What, p.ID, e.At)
		}
	}
	for _, e := range b.saml.Ends(ctx) {
		add(map[string]string{"idp": "signing certificate of the identity provider", "own": "our certificate", "metadata": "metadata"}[e.Whose],
			e.Provider, e.At)
	}
	slices.SortFunc(list, func(a, b admin.Ending) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Where, b.Where), strings.Compare(a.What, b.What))
	})
	return list
}

func ends(p authn.Provider) []authn.End {
	if p.Ends == nil {
		return nil
	}
	return p.Ends()
}

// fileEnds is when what is in a PEM file ends; zero where that cannot be told, which was refused or logged elsewhere.
func fileEnds(file string, pick func([]byte) (time.Time, bool)) time.Time {
	text, err := os.ReadFile(file)
	if file == "" || err != nil {
		return time.Time{}
	}
	at, _ := pick(text)
	return at
}

// firstOf is when the first of some certificates ends, which is the listener's own.
func firstOf(text []byte) (at time.Time, ok bool) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if one, err := x509.ParseCertificate(block.Bytes); err == nil {
			return one.NotAfter, true
		}
	}
	return at, false
}

// authorities are the files with those by which we trust others, by where they are configured; providers that tell of theirs
// themselves are not among them.
func (c Config) authorities() map[string]string {
	files := map[string]string{}
	for _, w := range c.Webhooks {
		files["webhooks "+w.ID] = w.CAFile
	}
	for _, p := range c.Providers {
		switch s := p.Settings.(type) {
		case saml.Config:
			files[p.ID] = s.Metadata.CAFile
		case azuread.Config:
			files[p.ID] = s.CAFile
		}
	}
	for _, s := range c.Sources {
		if d, ok := s.Settings.(platformdb.Config); ok {
			files["sources "+s.ID] = d.CAFile
		}
	}
	for where, l := range c.lifeTimes() {
		files[where] = l.CAFile
	}
	return files
}

// lifeTimes are all that are asked with a token.
func (c Config) lifeTimes() map[string]lifetime.Config {
	all := map[string]lifetime.Config{}
	for _, s := range c.Sources {
		if l, ok := s.Settings.(lifetime.Config); ok {
			all["sources "+s.ID] = l
		}
	}
	if c.Provisioning != nil {
		all["provisioning"] = c.Provisioning.LifeTime
	}
	return all
}

// asked lets every provider look at its servers, whose certificates are then known.
func asked(ctx context.Context, providers []authn.Provider) {
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range providers {
		if p.Check != nil {
			all.Go(func() { _ = p.Check(ctx) }) // what does not work is told elsewhere
		}
	}
	all.Wait()
}

const askedWithin = 10 * time.Second

func (c Config) listenersTLS() map[string]TLSConfig {
	files := map[string]TLSConfig{"listen.tls": c.Listen.TLS}
	if c.Portal != nil {
		files["portal.tls"] = c.Portal.TLS
	}
	if c.Admin != nil {
		files["admin.tls"] = c.Admin.TLS
	}
	return files
}

// expiring is one ending as the command shows it.
type expiring struct {
	admin.Ending
	Days     int    `json:"days"`     // until then; negative: since
	Severity string `json:"severity"` // ended, soon or ok
}

func judged(list []admin.Ending, soon time.Duration, now time.Time) (judged []expiring, bad int) {
	judged = []expiring{}
	for _, e := range list {
		one := expiring{e, int(e.At.Sub(now) / day), "ok"}
		switch {
		case !e.At.After(now):
			one.Severity = "ended"
		case e.At.Before(now.Add(soon)):
			one.Severity = "soon"
		}
		if one.Severity != "ok" {
			bad++
		}
		judged = append(judged, one)
	}
	return judged, bad
}

func newExpiry(s *settings) *cobra.Command {
	var output string
	var within int
	var offline bool
	cmd := &cobra.Command{
		Use: "expiry", Short: "List the certificates and secrets that end, the next one first",
		Long: `Lists when certificates and secrets end: of the listeners, of those we trust (ca_file, directories' servers, identity providers),
and of what others know us by (client certificates, SAML keys, credentials at Entra, tokens of LifeTime). It asks every provider
for what its servers show; --offline reads files and the store only. Exit code 1 when one has ended or ends within --within
days. The administrators' page, the metric idbridge_expiry_timestamp_seconds and the daily warning have the same list.`,
		Example: "  idbridge expiry\n  idbridge expiry --within 14 -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				providers, _, err := makeProviders(b.config, b.footing())
				if err != nil {
					return err
				}
				defer closeProviders(providers)
				if !offline {
					asked(cmd.Context(), providers)
				}
				list, bad := judged(b.endings(cmd.Context(), providers), time.Duration(within)*day, time.Now())
				rows := [][]string{}
				for _, e := range list {
					rows = append(rows, []string{e.Severity, e.At.Format(time.DateOnly), fmt.Sprint(e.Days), e.Where, e.What})
				}
				if err := show(cmd.OutOrStdout(), output, []string{"STATE", "ENDS", "DAYS", "WHERE", "WHAT"}, rows, list); err != nil {
					return err
				}
				if bad > 0 {
					return fmt.Errorf("%d of %d end within %d days, or have ended", bad, len(list), within)
				}
				return nil
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&offline, "offline", false, "ask nobody: without the certificates of directories' servers")
	cmd.Flags().IntVar(&within, "within", int(expirySoon/day), "how many days before its end one is to be replaced")
	return cmd
}

// noteEnds writes what ends soon into the audit, once a day for all nodes, so that webhooks tell of it.
func (w *bridge) noteEnds(ctx context.Context, list []expiring, now time.Time) {
	first, err := w.store.UseOnce(ctx, "expiring", now.UTC().Format(time.DateOnly), now.Add(2*day))
	if err != nil || !first {
		return
	}
	for _, e := range list {
		r := audit.Record{Time: now, ID: newID(), Action: audit.Expiring, Actor: "idbridge serve", Kind: authn.OK.String(), Detail: e.warning()}
		if err := w.audit.Event(ctx, r); err != nil {
			w.log.Warn("what ends soon could not be recorded", "error", err)
		}
	}
}
