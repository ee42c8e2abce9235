package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

// floor is the least that any server in Go has to do for a sign-in, in a process of its own: net/http takes the call,
// go-ldap asks the directory, and a line is on the disk before the answer, flushed together with those of other callers.
// It decodes, checks and decides nothing, so idbridge cannot be faster: what is between the two is idbridge's own.
type floor struct {
	directory chan caller // go-ldap's connections, as many as idbridge has for binds
	lines     chan line
	file      *os.File
}

type line struct {
	text    []byte
	written chan error
}

// floorConns is idbridge's default of bind_pool.
const floorConns = 16

// floorConfig goes to the process in a file.
type floorConfig struct {
	Address, Journal                                             string
	URL, BaseDN, PeopleDN, BindDN, BindPassword, CA, RDN, Filter string
	Search                                                       bool // or the DN is known already
}

// startFloor starts that server, and tells where it listens: for the same requests as idbridge.
func (b *bench) startFloor(search bool) (*process, door, error) {
	at := b.door
	at.address = fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b))
	d, file := b.slapd, filepath.Join(b.dir, "floor.json")
	config, err := json.Marshal(floorConfig{
		Address: at.address, Journal: filepath.Join(b.dir, "floor.journal"), Search: search, URL: d.url, BaseDN: d.baseDN,
		PeopleDN: d.peopleDN, BindDN: d.bindDN, BindPassword: d.bindPassword, CA: d.caFile, RDN: d.rdn, Filter: d.filter,
	})
	if err == nil {
		err = os.WriteFile(file, config, 0o600)
	}
	self, noSelf := os.Executable()
	if err := errors.Join(err, noSelf); err != nil {
		return nil, at, err
	}
	cmd := exec.Command(self, "-floor", file)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, at, err
	}
	p := &process{cmd: cmd}
	if err := at.wait(); err != nil {
		p.stop()
		return nil, at, err
	}
	return p, at, nil
}

// wait returns once somebody listens.
func (d door) wait() error {
	var err error
	for range 1000 {
		var c net.Conn
		if c, err = net.Dial("tcp", d.address); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// serveFloor is the process.
func serveFloor(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c floorConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	f := &floor{directory: make(chan caller, floorConns), lines: make(chan line, 64)}
	if err := f.connect(c); err != nil {
		return err
	}
	if f.file, err = os.OpenFile(c.Journal, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	go f.journal()
	return (&http.Server{Addr: c.Address, Handler: f, ReadTimeout: 10 * time.Second}).ListenAndServe()
}

func (f *floor) connect(c floorConfig) error {
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	d := directory{
		url: c.URL, baseDN: c.BaseDN, peopleDN: c.PeopleDN, bindDN: c.BindDN, bindPassword: c.BindPassword, rdn: c.RDN,
		filter: c.Filter, tls: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12},
	}
	dial := d.rawBind
	if c.Search {
		dial = d.rawSearchBind
	}
	for range floorConns {
		one, err := dial()
		if err != nil {
			return err
		}
		f.directory <- one
	}
	return nil
}

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := f.signIn(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "<Success>true</Success><UserId>%d</UserId>", userID(n))
}

func (f *floor) signIn(r *http.Request) (n int, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err
	}
	_, name, _ := bytes.Cut(body, []byte("<Username>user"))
	name, _, _ = bytes.Cut(name, []byte("<"))
	if n, err = strconv.Atoi(string(name)); err != nil {
		return 0, err
	}
	c := <-f.directory
	err = c.attempt(n)
	f.directory <- c
	if err != nil {
		return 0, err
	}
	l := line{[]byte(strings.Repeat("x", 350) + "\n"), make(chan error, 1)} // a record of idbridge has as many bytes
	f.lines <- l
	return n, <-l.written
}

// journal writes all lines that wait, and flushes them once.
func (f *floor) journal() {
	var all []byte
	var waiting []line
	for first := range f.lines {
		all, waiting = append(all[:0], first.text...), append(waiting[:0], first)
		runtime.Gosched() // who is about to come gets a turn
		for n := len(f.lines); n > 0; n-- {
			l := <-f.lines
			all, waiting = append(all, l.text...), append(waiting, l)
		}
		_, err := f.file.Write(all)
		err = errors.Join(err, syscall.Fdatasync(int(f.file.Fd())))
		for _, l := range waiting {
			l.written <- err
		}
	}
}
