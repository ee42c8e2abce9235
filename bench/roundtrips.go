package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/idbridge/idbridge/testenv"
)

// countingProxy passes LDAP on to a domain controller and counts the requests. It is not for measuring time.
type countingProxy struct {
	url             string
	dc              *testenv.SambaDC
	searches, binds atomic.Int64 // binds of users; those of the service account are not a sign-in's
}

func (b *bench) countingProxy(dc *testenv.SambaDC) (*countingProxy, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{dc.CA.Server(b).TLS}})
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() { _ = l.Close() })
	p := &countingProxy{url: "ldaps://" + l.Addr().String(), dc: dc}
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go p.pass(c)
		}
	}()
	return p, nil
}

func (p *countingProxy) reset() {
	p.searches.Store(0)
	p.binds.Store(0)
}

// pass serves one connection until either side ends it.
func (p *countingProxy) pass(client net.Conn) {
	defer client.Close()
	server, err := tls.Dial("tcp", p.dc.Address+":636", &tls.Config{RootCAs: p.dc.CA.Pool, ServerName: p.dc.Host})
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	for in := bufio.NewReader(client); ; {
		request, err := message(in)
		if err != nil {
			return
		}
		p.count(request)
		if _, err := server.Write(request); err != nil {
			return
		}
	}
}

// Tags of requests, RFC 4511 section 4.
const (
	bindRequest   = 0x60
	searchRequest = 0x63
)

func (p *countingProxy) count(request []byte) {
	switch operation(request) {
	case searchRequest:
		p.searches.Add(1)
	case bindRequest:
		if !bytes.Contains(request, []byte(p.dc.BindUPN)) {
			p.binds.Add(1)
		}
	}
}

var errNotLDAP = errors.New("not an LDAP message")

// message reads one LDAP message, a BER sequence of definite length.
func message(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	size, more := int(head[1]), 0
	if size >= 0x80 {
		more = size & 0x7f
		if head, err = in.Peek(2 + more); err != nil || more > 4 {
			return nil, errors.Join(err, errNotLDAP)
		}
		size = 0
		for _, b := range head[2:] {
			size = size<<8 | int(b)
		}
	}
	text := make([]byte, 2+more+size)
	_, err = io.ReadFull(in, text)
	return text, err
}

// operation is the tag behind the message's number; 0 where there is none.
func operation(message []byte) byte {
	at := 2
	if message[1] >= 0x80 {
		at += int(message[1] & 0x7f)
	}
	if at+1 >= len(message) || message[at] != 2 { // INTEGER
		return 0
	}
	if at += 2 + int(message[at+1]); at >= len(message) {
		return 0
	}
	return message[at]
}
