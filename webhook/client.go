package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Check finds what is wrong with an endpoint's address, secret and authorities.
func (e Endpoint) Check() error {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is no address (https://siem.example.com/idbridge)", e.URL)
	case u.User != nil:
		return errors.New("holds a user name or password: messages are signed instead")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return errors.New("is not https: only to this machine may a message go in clear")
	case len(e.Secret.Reveal()) < 32:
		return errors.New("the secret has fewer than 32 bytes: openssl rand -base64 32")
	}
	_, err = e.client()
	return err
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// client sends to one endpoint. It follows no redirect: a message is for the address that was configured.
func (e Endpoint) client() (*http.Client, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(e.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(e.CA) {
			return nil, errors.New("ca_file: no certificate in PEM form")
		}
	}
	return &http.Client{
		Timeout:       e.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: c, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: e.Timeout,
			MaxResponseHeaderBytes: 16 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true},
	}, nil
}

// mostAnswer is how much of an answer is read.
const mostAnswer = 4 << 10

// Send posts a message once. Any status of 2xx takes it.
func (e Endpoint) Send(ctx context.Context, m Message, now time.Time) error {
	client, err := e.client()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(m.Body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "idbridge")
	r.Header.Set(HeaderSignature, sign(e.Secret, m.Body, now))
	r.Header.Set(HeaderEvent, m.Event)
	r.Header.Set(HeaderID, m.ID)
	answer, err := client.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // without the address, which may hold what only the endpoint should know
			err = wrapped.Err
		}
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, mostAnswer)
	switch {
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return fmt.Errorf("answered %s: redirects are not followed", answer.Status)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return fmt.Errorf("answered %s", answer.Status)
	}
	return nil
}
