package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

const (
	// expirySoon is how long before its end a certificate is worth a warning.
	expirySoon = 30 * 24 * time.Hour
	// maxCounted is how many accounts are counted: more than this says enough.
	maxCounted = 100_000
	sayEvery   = 2 * time.Second
)

// Visit is what was seen of one server.
type Visit struct {
	URL       string
	Err       error
	Connected time.Duration // until the connection was made, with TLS, and the service account bound
	Answered  time.Duration // of one search, a mean of two
	TLS       *tls.ConnectionState
}

// visit connects to a server, asks what every sign-in asks, and lets look ask more; look may be nil.
func (d *directory) visit(ctx context.Context, s *server, look func(context.Context, *conn) error) (v Visit) {
	ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
	defer cancel()
	v.URL = s.url
	began := time.Now()
	c, err := s.openForSearch(ctx)
	v.Connected = time.Since(began)
	if err != nil {
		v.Err = advise(s, err)
		return v
	}
	defer c.abort()
	v.TLS = c.tlsState()
	d.seen.note(v, began)
	began = time.Now()
	v.Err = d.probe(ctx, c)
	v.Answered = time.Since(began) / 2
	if v.Err == nil && look != nil {
		v.Err = look(ctx, c)
	}
	return v
}

// tlsState is nil for a connection in clear.
func (c *conn) tlsState() *tls.ConnectionState {
	if secured, ok := c.stream.Conn.(*tls.Conn); ok { // ldaps
		state := secured.ConnectionState()
		return &state
	}
	if state, ok := c.TLSConnectionState(); ok { // StartTLS
		return &state
	}
	return nil
}

// visits are to all servers at once, but for the first one: when that refuses the service account the others are not
// asked, as each refusal counts against it.
func (d *directory) visits(ctx context.Context, look func(context.Context, *conn) error) ([]Visit, error) {
	list, err := d.list(ctx)
	if err != nil {
		return nil, d.by(err)
	}
	all := make([]Visit, len(list))
	all[0] = d.visit(ctx, list[0], look)
	if authn.ReasonOf(all[0].Err) == reasonServiceAccount {
		return all[:1], nil
	}
	var wg sync.WaitGroup
	for i, s := range list[1:] {
		wg.Go(func() { all[i+1] = d.visit(ctx, s, look) })
	}
	wg.Wait()
	return all, nil
}

// Inspect visits every server and counts the accounts that user_filter could find.
func (d *directory) Inspect(ctx context.Context, say func(string)) []authn.Finding {
	visits, err := d.visits(ctx, nil)
	if err != nil {
		return []authn.Finding{{Check: "servers", Problem: err.Error()}}
	}
	findings, answers := FindingsOf(visits, time.Now(), nil)
	if answers == 0 {
		return findings
	}
	filter := strings.ReplaceAll(d.config.UserFilter, "{0}", "*") // any value, in a filter of equalities
	f := Count(say, func(begin func(), take func(Entry) error) error {
		return d.searching(ctx, func(ctx context.Context, c *conn) error {
			begin()
			return c.pages(ctx, &goldap.SearchRequest{
				BaseDN: d.config.BaseDN, Scope: scopes[d.config.Scope], Filter: filter, Attributes: []string{"1.1"},
			}, func(e *goldap.Entry) error { return take(Entry{e}) })
		})
	}, nil)
	if f.Seen += " match user_filter"; !f.OK() {
		f.Warning = true // a filter of other rules than equality may take the * literally
	}
	return append(findings, f)
}

// Visits look at every server as Inspect does; look, if not nil, asks more of one, and its error is the visit's.
func (d *Directory) Visits(ctx context.Context, look func(context.Context, *Session) error) ([]Visit, error) {
	if look == nil {
		return d.d.visits(ctx, nil)
	}
	return d.d.visits(ctx, func(ctx context.Context, c *conn) error { return look(ctx, &Session{d.d, c}) })
}

// FindingsOf puts visits into words, and tells how many servers answer. While one does, the others' silence is a
// warning. more, if not nil, has more to say of a server that answers.
func FindingsOf(visits []Visit, now time.Time, more func(url string) string) (findings []authn.Finding, answers int) {
	for _, v := range visits {
		if v.Err == nil {
			answers++
		}
	}
	for _, v := range visits {
		f := authn.Finding{Check: "server " + v.Host(), Seen: v.text(now)}
		if v.Err != nil {
			f.Problem, f.Warning = v.Err.Error(), answers > 0
		} else if more != nil {
			f.Seen += more(v.URL)
		}
		findings = append(findings, f)
		if end, whose, ok := v.certificateEnd(); ok && end.Sub(now) < expirySoon {
			findings = append(findings, authn.Finding{Check: "certificate of " + v.Host(), Warning: true,
				Problem: fmt.Sprintf("%s ends on %s, in %d day(s): renew it in time, or the server will not be trusted any more",
					whose, end.UTC().Format(time.DateOnly), end.Sub(now)/(24*time.Hour))})
		}
	}
	return findings, answers
}

// Host is the server as host:port.
func (v Visit) Host() string {
	u, err := url.Parse(v.URL)
	if err != nil {
		return v.URL
	}
	return u.Host
}

func (v Visit) text(now time.Time) string {
	if v.Err != nil {
		return ""
	}
	text := fmt.Sprintf("answers in %s, connecting took %s", milliseconds(v.Answered), milliseconds(v.Connected))
	if v.TLS == nil {
		return text + "; in clear, without TLS"
	}
	text += "; " + tls.VersionName(v.TLS.Version)
	if end, _, ok := v.certificateEnd(); ok {
		text += fmt.Sprintf(", certificate until %s (%d days)", end.UTC().Format(time.DateOnly), end.Sub(now)/(24*time.Hour))
	}
	return text
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// certificateEnd is when the first certificate of the chain ends by which the server was trusted: its own as a rule.
func (v Visit) certificateEnd() (end time.Time, whose string, ok bool) {
	if v.TLS == nil || len(v.TLS.VerifiedChains) == 0 {
		return end, "", false
	}
	for i, c := range v.TLS.VerifiedChains[0] {
		if i == 0 || c.NotAfter.Before(end) {
			end, whose = c.NotAfter, certificateName(i, c)
		}
	}
	return end, whose, true
}

func certificateName(place int, c *x509.Certificate) string {
	if place == 0 {
		return "the server's certificate"
	}
	return fmt.Sprintf("the authority's certificate %q", c.Subject)
}

// errEnough ends a count.
var errEnough = errors.New("enough")

// Count is a Finding of how many entries a listing has, up to maxCounted, and how many of them are good; good may be nil.
// A listing that its deadline ends has that many at least. list calls begin whenever it begins.
func Count(say func(string), list func(begin func(), take func(Entry) error) error, good func(Entry) bool) authn.Finding {
	var n, usable int
	last := time.Now()
	err := list(func() { n, usable = 0, 0 }, func(e Entry) error {
		n++
		if good != nil && good(e) {
			usable++
		}
		if time.Since(last) > sayEvery {
			last = time.Now()
			say(fmt.Sprintf("%d accounts counted so far", n))
		}
		if n >= maxCounted {
			return errEnough
		}
		return nil
	})
	f := authn.Finding{Check: "users", Seen: fmt.Sprintf("%d account(s)", n)}
	if good != nil {
		f.Seen = fmt.Sprintf("%d account(s), %d of them usable,", n, usable)
	}
	switch {
	case err != nil && n > 0: // errEnough, or no time left
		f.Seen = "at least " + f.Seen
	case err != nil:
		f.Problem = err.Error()
	case n == 0:
		f.Problem = "the search for all users finds none: is base_dn above them, and may the service account read them?"
	}
	return f
}
