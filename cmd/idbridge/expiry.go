package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// endings are the certificates and secrets that end, as far as we know, the next one first: those of listeners, those by
// which we trust others, and those by which others know us.
func (b *backend) endings(ctx context.Context, providers []authn.Provider) (list []admin.Ending) {
	add := func(what, where string, at time.Time) {
		if !at.IsZero() {
			list = append(list, admin.Ending{What: what, Where: where, At: at})
		}
	}
	for where, f := range b.config.listenersTLS() {
		if pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile); f.CertFile != "" && err == nil {
			add("certificate", where, pair.Leaf.NotAfter)
		}
		if text, err := os.ReadFile(f.ClientCAFile); f.ClientCAFile != "" && err == nil {
			at, _ := lastOf(text)
			add("client CA", where, at)
		}
	}
	for _, e := range b.config.endpoints() {
		at, _ := lastOf(e.CA)
		add("authorities in ca_file", "webhooks "+e.ID, at)
	}
	for _, p := range providers {
		for _, e := range ends(p) {
			add(e.What, p.ID, e.At)
		}
	}
	for _, e := range b.saml.Ends(ctx) {
		add(map[string]string{"idp": "signing certificate of the identity provider", "own": "our certificate"}[e.Whose], e.Provider, e.At)
	}
	slices.SortFunc(list, func(a, b admin.Ending) int { return a.At.Compare(b.At) })
	return list
}

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
	cmd := &cobra.Command{
		Use: "expiry", Short: "List the certificates and secrets that end, the next one first",
		Long: `Lists when certificates and secrets end: of the listeners, of those we trust (ca_file, identity providers), and of what others
know us by (client certificates, SAML keys, credentials at Entra). It reads files and the store and asks nobody; the
certificates of directories' servers are in idbridge check. Exit code 1 when one has ended or ends within --within days.`,
		Example: "  idbridge expiry\n  idbridge expiry --within 14 -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				providers, _, err := makeProviders(b.config, b.footing())
				if err != nil {
					return err
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
	cmd.Flags().IntVar(&within, "within", int(expirySoon/day), "how many days before its end one is to be replaced")
	return cmd
}

// noteEnds writes what ends soon into the audit, once a day for all nodes, so that webhooks tell of it.
func (w *bridge) noteEnds(ctx context.Context, now time.Time) {
	list, bad := judged(w.backend.endings(ctx, w.doctor.Providers), expirySoon, now)
	if bad == 0 {
		return
	}
	first, err := w.store.UseOnce(ctx, "expiring", now.UTC().Format(time.DateOnly), now.Add(2*day))
	if err != nil || !first {
		return
	}
	for _, e := range list {
		if e.Severity == "ok" {
			continue
		}
		text := fmt.Sprintf("%s: %s ends on %s", e.Where, e.What, e.At.Format(time.DateOnly))
		r := audit.Record{Time: now, ID: newID(), Action: audit.Expiring, Actor: "idbridge serve", Kind: authn.OK.String(), Detail: text}
		if err := w.audit.Event(ctx, r); err != nil {
			w.log.Warn("what ends soon could not be recorded", "error", err)
		}
	}
}
