// Package demodir is a small LDAP directory inside the process, for the demo: a service account, a few people and their
// groups, over ldaps on loopback. It answers what a search-then-bind client asks and nothing more; nothing is written to
// disk and nobody can change an entry. It imports nothing of idbridge: the product talks to it as to any directory.
//
// The protocol is jimlambrt/gldap's; entries, filters and who may read what are here.
package demodir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jimlambrt/gldap"
)

// Where things are in the tree.
const (
	BaseDN   = "dc=demo,dc=example"
	BindDN   = "cn=idbridge," + BaseDN
	peopleDN = "ou=people," + BaseDN
	groupsDN = "ou=groups," + BaseDN
)

// User is a person of the directory.
type User struct {
	Username, Password, Name, Email string
	Groups                          []string // names; each becomes cn=NAME,ou=groups,BaseDN
}

// Config says who is in the directory. Everything but Users has a default.
type Config struct {
	Users        []User
	BindPassword string      // of the service account; default: a random one
	TLS          *tls.Config // default: a new certificate for 127.0.0.1, which Directory.CAPEM trusts
}

// Directory is running. Its fields are what a client needs to be told.
type Directory struct {
	URL          string // ldaps://127.0.0.1:port
	BaseDN       string
	BindDN       string
	BindPassword string
	CAPEM        []byte // nil when Config.TLS was given

	server  *gldap.Server
	entries []entry

	mu    sync.Mutex
	bound map[int]string // DN by connection
}

// entry is one entry of the tree. An empty password means that nobody can bind as it.
type entry struct {
	dn       string
	password string
	shown    map[string][]string
}

// Start serves until Close or the end of the process.
func Start(c Config) (*Directory, error) {
	d := &Directory{BaseDN: BaseDN, BindDN: BindDN, BindPassword: c.BindPassword, bound: map[int]string{}}
	if d.BindPassword == "" {
		d.BindPassword = rand.Text()
	}
	if err := d.fill(c.Users); err != nil {
		return nil, err
	}
	if c.TLS == nil {
		var err error
		if c.TLS, d.CAPEM, err = certificate(); err != nil {
			return nil, err
		}
	}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	return d, d.listen(c.TLS)
}

// prepare makes the server and its routes.
func (d *Directory) prepare() (err error) {
	d.server, err = gldap.NewServer(gldap.WithLogger(hclog.NewNullLogger()), gldap.WithOnClose(func(conn int) { d.setBound(conn, "") }))
	if err != nil {
		return err
	}
	mux, err := gldap.NewMux()
	if err != nil {
		return err
	}
	return errors.Join(mux.Bind(d.bind), mux.Search(d.search), mux.DefaultRoute(refuse), d.server.Router(mux))
}

// listen starts serving and waits until a client gets through. gldap takes an address, not a listener, so a free port is
// found first; should another process take it in between, another one is tried.
func (d *Directory) listen(t *tls.Config) (err error) {
	for range 5 {
		var addr string
		if addr, err = freeAddress(); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- d.server.Run(addr, gldap.WithTLSConfig(t)) }()
		if err = await(addr, ended); err == nil {
			d.URL = "ldaps://" + addr
			return nil
		}
	}
	return fmt.Errorf("demo directory: %w", err)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func await(addr string, ended <-chan error) error {
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			err = c.Close()
		}
		select {
		case ended := <-ended:
			return fmt.Errorf("cannot listen: %w", ended)
		case <-time.After(time.Millisecond):
		}
		if err == nil {
			return nil
		}
	}
}

// Close stops accepting connections. Those that are open end when their clients close them.
func (d *Directory) Close() {
	go func() { _ = d.server.Stop() }() // waits for every client
}

func (d *Directory) fill(users []User) error {
	add := func(dn, password string, attributes map[string][]string) error {
		if slices.ContainsFunc(d.entries, func(e entry) bool { return strings.EqualFold(e.dn, dn) }) {
			return fmt.Errorf("demo directory: %q exists twice", dn)
		}
		attributes["entryUUID"] = []string{uuid(dn)}
		d.entries = append(d.entries, entry{dn: dn, password: password, shown: attributes})
		return nil
	}
	errs := []error{
		add(BaseDN, "", map[string][]string{"objectClass": {"dcObject", "organization"}}),
		add(BindDN, d.BindPassword, map[string][]string{"objectClass": {"applicationProcess"}}),
	}
	members := map[string][]string{}
	for _, u := range users {
		dn := "uid=" + escapeDN(u.Username) + "," + peopleDN
		var memberOf []string
		for _, g := range u.Groups {
			group := "cn=" + escapeDN(g) + "," + groupsDN
			memberOf = append(memberOf, group)
			members[group] = append(members[group], dn)
		}
		errs = append(errs, add(dn, u.Password, map[string][]string{
			"objectClass": {"person", "inetOrgPerson"}, "uid": {u.Username}, "cn": {u.Name}, "mail": {u.Email}, "memberOf": memberOf,
		}))
	}
	for group, list := range members {
		errs = append(errs, add(group, "", map[string][]string{"objectClass": {"groupOfNames"}, "member": list}))
	}
	return errors.Join(errs...)
}

// uuid is the same for the same DN in every run, so that a kept demo still knows its users.
func uuid(dn string) string {
	h := sha256.Sum256([]byte("idbridge demo " + strings.ToLower(dn)))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // version 8, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// escapeDN makes a value safe in a DN, RFC 4514 section 2.4.
func escapeDN(value string) string {
	var b strings.Builder
	for i, r := range value {
		if strings.ContainsRune(`,+"\<>;=`, r) || i == 0 && (r == ' ' || r == '#') || i == len(value)-1 && r == ' ' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (d *Directory) setBound(conn int, dn string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dn == "" {
		delete(d.bound, conn)
		return
	}
	d.bound[conn] = dn
}

func (d *Directory) isService(conn int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bound[conn] == BindDN
}

// bind answers a simple bind. An empty password is refused: it would be an anonymous bind.
func (d *Directory) bind(w *gldap.ResponseWriter, r *gldap.Request) {
	answer := r.NewBindResponse(gldap.WithResponseCode(gldap.ResultInvalidCredentials))
	defer func() { _ = w.Write(answer) }()
	m, err := r.GetSimpleBindMessage()
	d.setBound(r.ConnectionID(), "")
	if err != nil || m.Password == "" {
		return
	}
	for _, e := range d.entries {
		if strings.EqualFold(e.dn, m.UserName) && e.password != "" &&
			subtle.ConstantTimeCompare([]byte(e.password), []byte(m.Password)) == 1 {
			d.setBound(r.ConnectionID(), e.dn)
			answer.SetResultCode(gldap.ResultSuccess)
		}
	}
}

// search answers the service account only.
func (d *Directory) search(w *gldap.ResponseWriter, r *gldap.Request) {
	done := r.NewSearchDoneResponse(gldap.WithResponseCode(gldap.ResultInsufficientAccessRights))
	defer func() { _ = w.Write(done) }()
	m, err := r.GetSearchMessage()
	if err != nil || !d.isService(r.ConnectionID()) {
		return
	}
	match, err := parseFilter(m.Filter)
	if err != nil {
		done.SetResultCode(gldap.ResultProtocolError)
		return
	}
	done.SetResultCode(gldap.ResultSuccess)
	sent := int64(0)
	for _, e := range d.entries {
		if !inScope(e.dn, m.BaseDN, m.Scope) || !match(e) {
			continue
		}
		if sent++; m.SizeLimit > 0 && sent > m.SizeLimit {
			done.SetResultCode(gldap.ResultSizeLimitExceeded)
			return
		}
		if err := w.Write(r.NewSearchResponseEntry(e.dn, gldap.WithAttributes(e.selected(m.Attributes)))); err != nil {
			return
		}
	}
}

func inScope(dn, base string, scope gldap.Scope) bool {
	dn, base = strings.ToLower(dn), strings.ToLower(base)
	switch scope {
	case gldap.BaseObject:
		return dn == base
	case gldap.SingleLevel:
		rest, below := strings.CutSuffix(dn, ","+base)
		return below && !strings.Contains(strings.ReplaceAll(rest, `\,`, ""), ",")
	}
	return dn == base || strings.HasSuffix(dn, ","+base)
}

// selected are the attributes that were asked for; none asked for means all.
func (e entry) selected(names []string) map[string][]string {
	chosen := map[string][]string{}
	for name, values := range e.shown {
		wanted := len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return n == "*" || strings.EqualFold(n, name) })
		if wanted && len(values) > 0 && values[0] != "" {
			chosen[name] = values
		}
	}
	return chosen
}

func refuse(w *gldap.ResponseWriter, r *gldap.Request) {
	_ = w.Write(r.NewResponse(gldap.WithResponseCode(gldap.ResultUnwillingToPerform)))
}

// certificate makes a self-signed certificate for loopback, its own authority.
func certificate() (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "idbridge demo directory"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
