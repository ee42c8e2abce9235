package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Ends tells when what we trust the servers by, and what we show them, ends. The files are read anew: they may have been
// replaced.
func (d *Directory) Ends() []authn.End { return d.d.config.ends() }

func (c Config) ends() (list []authn.End) {
	if at, ok := lastEnd(c.CAFile); ok {
		list = append(list, authn.End{What: "authorities in ca_file", At: at})
	}
	if pair, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile); c.ClientCertFile != "" && err == nil {
		list = append(list, authn.End{What: "client certificate", At: pair.Leaf.NotAfter})
	}
	return list
}

// lastEnd is when the last certificate of a file ends: until then one of them can vouch for a server.
func lastEnd(file string) (last time.Time, ok bool) {
	text, err := os.ReadFile(file)
	if file == "" || err != nil {
		return last, false
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.NotAfter.After(last) {
			last, ok = c.NotAfter, true
		}
	}
	return last, ok
}
