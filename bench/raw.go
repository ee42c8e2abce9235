package main

import (
	"crypto/tls"
	"fmt"

	"github.com/go-ldap/ldap/v3"
)

// directory is the slapd under load, for raw go-ldap and for idbridge alike.
type directory struct {
	url, baseDN, peopleDN, bindDN, bindPassword, caFile string

	rdn, filter string // of a user; %s in filter is the name
	tls         *tls.Config
}

func username(n int) string { return fmt.Sprintf("user%05d", n) }
func password(n int) string { return "pw-" + username(n) }

func (d directory) dial() (*ldap.Conn, error) {
	return ldap.DialURL(d.url, ldap.DialWithTLSConfig(d.tls))
}

// rawBind binds by a DN known beforehand, on one reused connection: nothing can be faster.
type rawBind struct {
	d    directory
	conn *ldap.Conn
}

func (d directory) rawBind() (caller, error) {
	conn, err := d.dial()
	return &rawBind{d, conn}, err
}

func (r *rawBind) attempt(n int) error {
	return r.conn.Bind(r.d.rdn+"="+username(n)+","+r.d.peopleDN, password(n))
}

func (r *rawBind) close() { r.conn.Close() }

// rawSearchBind searches the user on one reused connection and binds on another: the least that signing in by name takes.
type rawSearchBind struct {
	d            directory
	search, bind *ldap.Conn
}

func (d directory) rawSearchBind() (caller, error) {
	search, err := d.dial()
	if err != nil {
		return nil, err
	}
	if err := search.Bind(d.bindDN, d.bindPassword); err != nil {
		return nil, err
	}
	bind, err := d.dial()
	return &rawSearchBind{d, search, bind}, err
}

func (r *rawSearchBind) attempt(n int) error {
	filter := fmt.Sprintf(r.d.filter, ldap.EscapeFilter(username(n)))
	found, err := r.search.Search(ldap.NewSearchRequest(r.d.baseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, 10, false,
		filter, []string{"entryUUID", "uid", "cn", "mail"}, nil))
	if err != nil {
		return err
	}
	if len(found.Entries) != 1 {
		return fmt.Errorf("%d entries", len(found.Entries))
	}
	return r.bind.Bind(found.Entries[0].DN, password(n))
}

func (r *rawSearchBind) close() { r.search.Close(); r.bind.Close() }
