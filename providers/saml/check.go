package saml

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// expirySoon is how long before the end of a certificate or of metadata an administrator hears of it.
const expirySoon = 30 * 24 * time.Hour

func (p *provider) soon(end time.Time) bool { return p.Now().Add(expirySoon).After(end) }

// check tells whether people could sign in now. It makes no key.
func (p *provider) check(ctx context.Context) error {
	if p.PublicURL == "" {
		return errNoPublicURL()
	}
	known, err := p.lookedUp(ctx)
	if err != nil {
		return err
	}
	if len(p.good(known.certificates)) == 0 {
		return errExpired()
	}
	if _, _, err := p.way(known); err != nil {
		return err
	}
	return p.keys.check(ctx)
}

// lookedUp is what is known of the identity provider, after having asked it.
func (p *provider) lookedUp(ctx context.Context) (peer, error) {
	if err := p.source.refresh(ctx, pressedEvery); err != nil {
		if known, ok := p.source.current(); ok {
			return known, nil
		}
		return peer{}, err
	}
	return p.source.get(ctx)
}

// inspect is check, and what will end sign-ins one day.
func (p *provider) inspect(ctx context.Context, _ func(string)) []authn.Finding {
	if err := p.check(ctx); err != nil {
		return append([]authn.Finding{{Check: "identity provider", Problem: err.Error()}}, p.findings(ctx)...)
	}
	at := authn.Finding{Check: "assertion consumer service", Seen: strings.Join(p.consumers(), ", ")}
	return append([]authn.Finding{at}, p.findings(ctx)...)
}

// findings tells of what is known, without asking anybody but the store: also that it could not be refreshed.
func (p *provider) findings(ctx context.Context) (list []authn.Finding) {
	known, tried, failed := p.source.state()
	if known != nil {
		list = append(list, p.metadataFinding(*known, tried, failed))
		list = append(list, p.certificateFindings(known.certificates)...)
		for _, c := range known.unpinned {
			list = append(list, warning("signing certificate", "%s: the identity provider announces it, and it is not in certificate_file: "+
				"make sure whose it is and add it, before answers are signed with it", named(c)))
		}
		if known.wantSignedRequests && p.config.UnsignedRequests {
			list = append(list, warning("requests", "the identity provider wants signed requests: remove unsigned_requests"))
		}
	}
	if p.config.AllowSHA1 {
		list = append(list, warning("allow_sha1", "signatures with SHA-1 are believed, which can be forged with effort"))
	}
	if p.config.LogMessages {
		list = append(list, warning("log_messages", "the text of messages is kept for seven days, with personal data: switch it off when "+
			"the error is found"))
	}
	return append(list, p.keyFindings(ctx)...)
}

func warning(check, format string, args ...any) authn.Finding {
	return authn.Finding{Check: check, Problem: fmt.Sprintf(format, args...), Warning: true}
}

func (p *provider) metadataFinding(known peer, tried time.Time, failed error) authn.Finding {
	f := authn.Finding{Check: "metadata", Seen: p.config.EntityID}
	switch until := known.validUntil; {
	case failed != nil:
		return warning("metadata", "it could not be refreshed at %s; what was read before serves: %v",
			tried.UTC().Format(time.RFC3339), failed)
	case !until.IsZero() && p.config.Metadata.File != "" && p.soon(until):
		return warning("metadata", "it is valid until %s: put a new file in its place", until.Format(time.DateOnly))
	case p.source.byHand:
		f.Seen += ", by hand"
	case !until.IsZero():
		f.Seen += ", valid until " + until.Format(time.RFC3339)
	}
	return f
}

// lastEnd is when the last of some certificates ends: until then one of them serves.
func lastEnd(all []*x509.Certificate) (last time.Time) {
	for _, c := range all {
		if c.NotAfter.After(last) {
			last = c.NotAfter
		}
	}
	return last
}

// End is when the last certificate of one side ends, or metadata that somebody has to replace.
type End struct {
	Provider string
	Whose    string // idp, own or metadata
	At       time.Time
}

// Ends tells when the certificates end that are known now, without asking any identity provider.
func (s *ServiceProvider) Ends(ctx context.Context) (list []End) {
	for _, p := range s.list() {
		if known, _, _ := p.source.state(); known != nil {
			list = append(list, End{p.id, "idp", lastEnd(known.certificates)})
			if p.config.Metadata.File != "" && !known.validUntil.IsZero() {
				list = append(list, End{p.id, "metadata", known.validUntil})
			}
		}
		own, err := p.keys.existing(ctx)
		if err == nil && len(own) > 0 {
			list = append(list, End{p.id, "own", own[len(own)-1].certificate.NotAfter})
		}
	}
	return list
}

// MetadataRead is when what is known of an identity provider was read; zero where nothing is, or it was written down by hand.
func (s *ServiceProvider) MetadataRead(id string) time.Time {
	for _, p := range s.list() {
		if known, _, _ := p.source.state(); p.id == id && known != nil {
			return known.read
		}
	}
	return time.Time{}
}

// certificateFindings warn when the last one ends. One that is not believed is no problem beside one that is.
func (p *provider) certificateFindings(all []*x509.Certificate) (list []authn.Finding) {
	last := lastEnd(all)
	for _, c := range all {
		f := authn.Finding{Check: "signing certificate", Seen: named(c)}
		if c.NotAfter.Equal(last) && p.soon(last) && !p.config.AllowExpired {
			f = warning(f.Check, "the last one ends on %s: ask the administrators of the identity provider for the next one",
				last.Format(time.DateOnly))
		} else if len(p.good([]*x509.Certificate{c})) == 0 {
			f.Seen += ": not believed, as it has expired or is not valid yet"
		}
		list = append(list, f)
	}
	return list
}

func (p *provider) keyFindings(ctx context.Context) (list []authn.Finding) {
	own, err := p.keys.existing(ctx)
	if err != nil {
		return nil // check has said so
	}
	for _, k := range own {
		if !k.Ends.IsZero() {
			continue
		}
		f := authn.Finding{Check: "our certificate", Seen: named(k.certificate)}
		if p.soon(k.certificate.NotAfter) {
			f = warning(f.Check, "it ends on %s: idbridge saml rotate %s", k.certificate.NotAfter.Format(time.DateOnly), p.id)
		}
		list = append(list, f)
	}
	return list
}

// named is a certificate in a few words.
func named(c *x509.Certificate) string {
	return fmt.Sprintf("%s, until %s", fingerprint(c)[:16], c.NotAfter.Format(time.DateOnly))
}
