package ldap

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/idbridge/idbridge/authn"
)

// Dialect is what a kind of directory says differently from the standards.
type Dialect struct {
	// AnyBindName lets bind_dn be whatever the servers take in a bind, for instance user@domain.
	AnyBindName bool
	// Servers finds the servers, as URLs in order of preference, where none are configured. It is asked before every
	// question, so it must answer from memory as a rule. What changes leaves the servers that stay alone.
	Servers func(context.Context) (urls []string, err error)
	// WholeTree lets base_dn be empty: the servers answer for everything below the root, as a global catalogue does.
	WholeTree bool
	// Resolver finds the addresses of servers; nil is the system's.
	Resolver *net.Resolver
	// SubtreeRefers says that a search of the whole tree always comes with referrals, to partitions that hold no groups of
	// this directory: they do not make a list of groups incomplete.
	SubtreeRefers bool
	// Refused judges a user's bind that was answered with invalidCredentials, by the server's own words. nil, or a nil
	// answer, leaves the judgement to this package: a wrong password.
	Refused func(diagnostic string) error
	// Unchanged judges an exchange of values that was refused, by the result code (RFC 4511 section 4.1.9) and the server's
	// own words. A nil answer says that the refusal is about neither the entry nor the values, but about this server.
	Unchanged func(code uint16, diagnostic string) error
}

func (x Dialect) outcome(server string, result *goldap.SimpleBindResult, err error) error {
	var e *goldap.Error
	if x.Refused != nil && errors.As(err, &e) && e.ResultCode == goldap.LDAPResultInvalidCredentials && e.Err != nil {
		if refusal := x.Refused(e.Err.Error()); refusal != nil {
			return refusal
		}
	}
	return bindOutcome(server, result, err)
}

// unchanged judges a refused exchange. decided is false where another server may be asked: this one has said that it did
// nothing, for a reason of its own.
func (x Dialect) unchanged(server string, err error) (decided bool, refusal error) {
	var e *goldap.Error
	if x.Unchanged != nil && errors.As(err, &e) && e.Err != nil {
		if refusal := x.Unchanged(e.ResultCode, e.Err.Error()); refusal != nil {
			return true, refusal
		}
	}
	return false, fromResult(server, err)
}

// refusal names what the dialect knows of the reason for a refused bind, in brackets.
func (x Dialect) refusal(err error) string {
	var e *goldap.Error
	if x.Refused == nil || !errors.As(err, &e) || e.Err == nil {
		return ""
	}
	refusal := x.Refused(e.Err.Error())
	if refusal == nil {
		return ""
	}
	return " (" + authn.ReasonOf(refusal) + ")"
}

// Directory is the seam for a provider that speaks a dialect: the servers with their pools, fail-over, deadlines,
// TLS and the memory of found accounts, without an opinion on what an account looks like. It is safe for concurrent
// use. Every error of its methods has a Kind and names the provider.
type Directory struct{ d *directory }

// Open makes a Directory. Like New it reports every mistake in cfg at once and dials nothing.
func Open(id string, cfg Config, dialect Dialect) (*Directory, error) {
	cfg.dialect = dialect
	d, err := open(id, cfg)
	if err != nil {
		return nil, err
	}
	return &Directory{d}, nil
}

// Ask puts one or more questions over a connection bound to the service account, on the first server that answers; a
// server that does not answer leads to the next one. So question may run several times, and must change nothing.
func (d *Directory) Ask(ctx context.Context, question func(context.Context, *Session) error) error {
	err := d.d.searching(ctx, func(ctx context.Context, c *conn) error { return question(ctx, &Session{d.d, c}) })
	return d.By(err)
}

// List finds all entries below base_dn that a filter matches, however many they are, and hands them to take; an error where it
// cannot. begin is called first, and again when another server has to begin anew.
func (d *Directory) List(
	ctx context.Context, filter string, begin func(), take func(Entry) error, attributes ...string,
) error {
	err := d.d.searchingFor(ctx, listTime, func(ctx context.Context, c *conn) error {
		begin()
		return (&Session{d.d, c}).Pages(ctx, d.d.config.BaseDN, filter, take, attributes...)
	})
	return d.By(err)
}

// Bind proves the password of the entry named dn, with at most one attempt at one server. BadCredentials for a wrong,
// empty or malformed password; what Dialect.Refused says; Unavailable without an answer.
func (d *Directory) Bind(ctx context.Context, dn string, password authn.Secret) error {
	if err := CheckBind(dn, password); err != nil {
		return d.By(err)
	}
	return d.By(d.d.bind(ctx, dn, password))
}

// Exchange takes one value of an attribute away and adds another one in a single modification (RFC 4511 section 4.6): the
// right old value is the proof, and the service account asks. It goes over TLS or not at all, and once: a modification
// whose answer is lost may have been made, so it is Unavailable and not repeated. Dialect.Unchanged judges a refusal.
func (d *Directory) Exchange(ctx context.Context, dn, attribute string, old, next authn.Secret) error {
	return d.By(d.d.exchange(ctx, dn, attribute, old, next))
}

// Recall returns the account that Remember was told for the very same spelling of a name within the last cache_ttl.
func (d *Directory) Recall(name string) (authn.Account, bool) { return d.d.cache.find(name) }

// Remember keeps an account under a name.
func (d *Directory) Remember(name string, a authn.Account) { d.d.cache.add(name, a) }

// Forget makes the account be searched anew, under whichever name.
func (d *Directory) Forget(a authn.Account) { d.d.cache.drop(a) }

// Check tries every server: connection, TLS, service account, base DN and one search for a user.
func (d *Directory) Check(ctx context.Context) error { return d.d.Check(ctx) }

// Close closes the idle connections, and those in use when they are no longer.
func (d *Directory) Close() {
	d.d.servers.close()
	if d.d.located != nil {
		d.d.located.close()
	}
}

// By names the provider in an error; an error without a Kind becomes Unavailable. nil stays nil.
func (d *Directory) By(err error) error {
	if err == nil {
		return nil
	}
	return d.d.by(err)
}

// Session is one connection for questions, on loan until the function it was given to returns.
type Session struct {
	d *directory
	c *conn
}

// Server is the URL of the server that answers, for messages.
func (s *Session) Server() string { return s.c.server.url }

// FindOne finds the one entry under base_dn that a filter matches. BadCredentials for none and for several.
func (s *Session) FindOne(ctx context.Context, filter string, attributes ...string) (Entry, error) {
	e, err := s.d.findOne(ctx, s.c, filter, attributes)
	return Entry{e}, err
}

// Find finds the entries under base_dn that a filter matches; BadCredentials where there are more than limit.
func (s *Session) Find(ctx context.Context, filter string, limit int, attributes ...string) ([]Entry, error) {
	found, err := s.d.find(ctx, s.c, filter, limit, attributes)
	list := make([]Entry, len(found))
	for i, e := range found {
		list[i] = Entry{e}
	}
	return list, err
}

// Read reads one entry by its DN; found is false when it is not there. The empty DN is the server's own entry.
func (s *Session) Read(ctx context.Context, dn string, attributes ...string) (e Entry, found bool, err error) {
	entry, found, err := s.c.readEntry(ctx, dn, "(objectClass=*)", attributes...)
	return Entry{entry}, found, err
}

// Pages runs a paged search below base and hands each entry to take. It finds all entries or returns an error.
func (s *Session) Pages(ctx context.Context, base, filter string, take func(Entry) error, attributes ...string) error {
	return s.c.pages(ctx, &goldap.SearchRequest{
		BaseDN: base, Scope: goldap.ScopeWholeSubtree, Filter: filter, Attributes: attributes,
	}, func(e *goldap.Entry) error { return take(Entry{e}) })
}

// Entry is one entry as a server sent it.
type Entry struct{ e *goldap.Entry }

// DN is its name.
func (e Entry) DN() string { return e.e.DN }

// Text is the first value of an attribute; empty where there is none.
func (e Entry) Text(attribute string) string { return e.e.GetEqualFoldAttributeValue(attribute) }

// Values are the bytes of all values of an attribute.
func (e Entry) Values(attribute string) [][]byte {
	return e.e.GetEqualFoldRawAttributeValues(attribute)
}

// Options finds the options (RFC 4512 section 2.5.2) under which an attribute came, for instance range=0-1499; nil
// where it came without, or not at all.
func (e Entry) Options(attribute string) []string {
	for _, a := range e.e.Attributes {
		if name, options, ok := strings.Cut(a.Name, ";"); ok && strings.EqualFold(name, attribute) {
			return slices.DeleteFunc(strings.Split(options, ";"), func(s string) bool { return s == "" })
		}
	}
	return nil
}

// CheckName refuses names that a directory may read as another one; New's provider applies it as well.
func CheckName(username string) error { return checkName(username) }

// Escape makes a text literal in a filter, RFC 4515 section 3.
func Escape(text string) string { return goldap.EscapeFilter(text) }

// IsDN tells whether a text is a DN; the empty one is.
func IsDN(text string) bool { return isDN(text) }

// Within tells whether a DN is the base or below it.
func Within(dn, base string) bool {
	x, errX := goldap.ParseDN(dn)
	y, errY := goldap.ParseDN(base)
	return errX == nil && errY == nil && within(y, x)
}

// DomainOf is the DNS name, in lower case, that the last DC= parts of a DN spell, RFC 2247; empty where there are none.
func DomainOf(dn string) string {
	parsed, err := goldap.ParseDN(dn)
	if err != nil {
		return ""
	}
	var labels []string
	for _, rdn := range slices.Backward(parsed.RDNs) {
		if len(rdn.Attributes) != 1 || !strings.EqualFold(rdn.Attributes[0].Type, "DC") {
			break
		}
		labels = append([]string{strings.ToLower(rdn.Attributes[0].Value)}, labels...)
	}
	return strings.Join(labels, ".")
}

// SameDN tells whether two texts are one DN, in upper or lower case.
func SameDN(a, b string) bool { return sameDN(a, b) }
