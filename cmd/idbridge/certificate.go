package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// reloader serves the certificate that is in the files now: they are looked at when a connection comes, once a second
// at most. Files that do not fit together (one of two was replaced so far) leave the certificate as it was.
type reloader struct {
	files TLSConfig
	log   *slog.Logger

	mu      sync.Mutex
	config  *tls.Config
	stamps  [3]stamp
	failed  [3]stamp // the state of the files that could not be used, so as to complain once
	checked time.Time
}

// stamp tells a changed file.
type stamp struct {
	changed time.Time
	size    int64
}

func newReloader(files TLSConfig, log *slog.Logger) (*reloader, error) {
	r := &reloader{files: files, log: log, stamps: stampsOf(files), checked: time.Now()}
	var err error
	r.config, err = loadTLS(files)
	return r, err
}

// tls is the configuration for a listener.
func (r *reloader) tls() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.current(), nil },
	}
}

func (r *reloader) current() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < time.Second {
		return r.config
	}
	r.checked = time.Now()
	now := stampsOf(r.files)
	if now == r.stamps || now == r.failed {
		return r.config
	}
	config, err := loadTLS(r.files)
	if err != nil {
		r.failed = now
		r.log.Error("the changed certificate cannot be used, the one before stays", "error", err)
		return r.config
	}
	r.config, r.stamps = config, now
	r.log.Info("the certificate was changed", "expires", config.Certificates[0].Leaf.NotAfter)
	return r.config
}

func stampsOf(files TLSConfig) (s [3]stamp) {
	for i, name := range []string{files.CertFile, files.KeyFile, files.ClientCAFile} {
		if info, err := os.Stat(name); err == nil {
			s[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return s
}

func loadTLS(files TLSConfig) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if files.ClientCAFile == "" {
		return c, nil
	}
	if c.ClientCAs, err = readRoots(files.ClientCAFile); err != nil {
		return nil, err
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	c.SessionTicketsDisabled = true // so that every connection's certificate is held against the CA of now
	return c, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %w", file, errors.New("no certificate in PEM form"))
	}
	return pool, nil
}
