package saml

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// When metadata is read again.
const (
	refreshEvery  = 4 * time.Hour    // at the latest
	refreshFactor = 0.75             // of how long it may be kept, by its own words
	refreshFloor  = 5 * time.Minute  // at the soonest, when all is well
	retryAfter    = time.Minute      // after a failure
	fileEvery     = time.Minute      // a file costs nothing
	pressedEvery  = 30 * time.Second // when answers do not fit, however many there are
	fetchTimeout  = 10 * time.Second
)

// source knows an identity provider by its metadata, and keeps it fresh. It is safe for concurrent use.
type source struct {
	load     func(context.Context) ([]byte, error)
	reader   metadataReader
	every    time.Duration // refreshEvery, fileEvery
	copy     string        // file of the last good copy; "" for none
	onlyLook bool          // never write it
	now      func() time.Time
	log      *slog.Logger
	byHand   bool // written down by an administrator; there is nothing to be read again

	loading chan struct{} // holds one while metadata is read, so that many who wait cost one request
	mu      sync.Mutex
	known   *peer
	tried   time.Time // zero: never
	pressed time.Time // the last time for an answer's sake
	next    time.Time
	failed  error // of the last try
}

// get is what is known now. Unavailable when nothing is, or only what is no longer valid.
func (s *source) get(ctx context.Context) (peer, error) {
	if p, ok := s.current(); ok {
		return p, nil
	}
	err := s.refresh(ctx, pressedEvery)
	if p, ok := s.current(); ok {
		return p, nil
	}
	if err == nil {
		err = badMetadata("metadata_expired", "what is known of the identity provider is no longer valid")
	}
	return peer{}, err
}

func (s *source) current() (peer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || !s.known.validUntil.IsZero() && !s.now().Before(s.known.validUntil) {
		return peer{}, false
	}
	return *s.known, true
}

// state is for administrators.
func (s *source) state() (known *peer, tried time.Time, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known, s.tried, s.failed
}

// refresh reads the metadata, unless that was tried less than pause ago; then it returns how that went. What is known
// stays known when it fails.
func (s *source) refresh(ctx context.Context, pause time.Duration) error {
	return s.reload(ctx, func() bool { return !s.tried.IsZero() && s.now().Sub(s.tried) < pause })
}

// press is refresh for an answer that fits none of the known certificates. What was read by itself a moment ago may have been
// rolled over since; so only readings that answers pressed for count, as strangers can send such answers.
func (s *source) press(ctx context.Context) error {
	return s.reload(ctx, func() bool {
		if !s.pressed.IsZero() && s.now().Sub(s.pressed) < pressedEvery {
			return true
		}
		s.pressed = s.now()
		return false
	})
}

// reload reads the metadata, unless it was read lately enough, which is asked under the lock.
func (s *source) reload(ctx context.Context, lately func() bool) error {
	if s.byHand {
		return nil
	}
	select {
	case s.loading <- struct{}{}:
		defer func() { <-s.loading }()
	case <-ctx.Done():
		return badMetadata("metadata_unreachable", "waiting for it: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	enough, failed := lately(), s.failed
	s.mu.Unlock()
	if enough {
		return failed
	}
	text, err := s.load(ctx)
	var p peer
	if err == nil {
		p, err = s.reader.read(text, s.now())
	}
	if err != nil {
		s.fail(ctx, err)
		return err
	}
	s.keep(ctx, text)
	s.learn(ctx, p)
	return nil
}

// fail notes that metadata could not be had. Without any the last good copy serves, even after a restart.
func (s *source) fail(ctx context.Context, err error) {
	s.mu.Lock()
	s.tried, s.failed, s.next = s.now(), err, s.now().Add(retryAfter)
	known := s.known
	s.mu.Unlock()
	s.log.WarnContext(ctx, "saml: metadata could not be refreshed", "entity_id", s.reader.entityID,
		"known", known != nil, "error", err)
	if known != nil || s.copy == "" {
		return
	}
	text, err := os.ReadFile(s.copy)
	if err != nil {
		return
	}
	p, err := s.reader.read(text, s.now())
	if err != nil {
		s.log.WarnContext(ctx, "saml: the last good copy of the metadata is of no use", "file", s.copy, "error", err)
		return
	}
	if info, err := os.Stat(s.copy); err == nil {
		p.read = info.ModTime()
	}
	s.log.InfoContext(ctx, "saml: the last good copy of the metadata serves", "entity_id", s.reader.entityID, "file", s.copy)
	s.mu.Lock()
	s.known = &p
	s.mu.Unlock()
}

// learn takes in new metadata, and tells of certificates that came or went: a roll-over should surprise nobody.
func (s *source) learn(ctx context.Context, p peer) {
	s.mu.Lock()
	before := s.known
	p.read = s.now()
	s.known, s.tried, s.failed, s.next = &p, s.now(), nil, s.now().Add(s.wait(p))
	s.mu.Unlock()
	for _, c := range p.certificates {
		if before == nil || !contains(before.certificates, c) {
			s.log.InfoContext(ctx, "saml: signing certificate of the identity provider", "entity_id", s.reader.entityID,
				"sha256", fingerprint(c), "until", c.NotAfter)
		}
	}
	if before == nil {
		return
	}
	for _, c := range before.certificates {
		if !contains(p.certificates, c) {
			s.log.InfoContext(ctx, "saml: signing certificate is no longer trusted", "entity_id", s.reader.entityID,
				"sha256", fingerprint(c))
		}
	}
}

func contains(list []*x509.Certificate, c *x509.Certificate) bool {
	for _, one := range list {
		if one.Equal(c) {
			return true
		}
	}
	return false
}

// wait is how long metadata is kept before it is read again.
func (s *source) wait(p peer) time.Duration {
	if s.every == fileEvery {
		return fileEvery
	}
	life := p.cacheFor
	if left := p.validUntil.Sub(s.now()); !p.validUntil.IsZero() && (life == 0 || left < life) {
		life = left
	}
	if life == 0 {
		return s.every
	}
	return max(refreshFloor, min(time.Duration(float64(life)*refreshFactor), s.every))
}

// keep writes the last good copy, in one step.
func (s *source) keep(ctx context.Context, text []byte) {
	if s.copy == "" || s.onlyLook {
		return
	}
	err := os.MkdirAll(filepath.Dir(s.copy), 0o700)
	if err == nil {
		err = os.WriteFile(s.copy+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(s.copy+".new", s.copy)
	}
	if err != nil {
		s.log.WarnContext(ctx, "saml: the last good copy of the metadata could not be kept", "file", s.copy, "error", err)
	}
}

// run refreshes when it is time, until ctx is done.
func (s *source) run(ctx context.Context) {
	if s.byHand {
		return
	}
	for {
		s.mu.Lock()
		pause := s.next.Sub(s.now())
		s.mu.Unlock()
		timer := time.NewTimer(max(pause, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		_ = s.refresh(ctx, 0) // told in the log, and by check
	}
}

// writtenDown is a source of what an administrator wrote down.
func writtenDown(p peer, now func() time.Time) *source {
	return &source{byHand: true, known: &p, now: now, tried: now(), loading: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
}

func fromFile(file string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, badMetadata("metadata_unreachable", "%w", err)
		}
		defer f.Close()
		return atMost(f)
	}
}

// fromURL reads over https and nothing else, also where it is redirected.
func fromURL(address string, roots *x509.CertPool) func(context.Context) ([]byte, error) {
	client := &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if to.URL.Scheme != "https" || len(via) > 3 {
				return errors.New("it is redirected too often, or to an address without TLS")
			}
			return nil
		},
	}
	return func(ctx context.Context) ([]byte, error) {
		text, err := fetch(ctx, client, address)
		if err != nil {
			return nil, badMetadata("metadata_unreachable", "%w", err)
		}
		return text, nil
	}
}

func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/samlmetadata+xml, application/xml;q=0.9, text/xml;q=0.8")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, answer.Status)
	}
	return atMost(answer.Body)
}

func atMost(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxMetadata+1))
	if err != nil {
		return nil, &authn.Error{Kind: authn.Unavailable, Reason: "metadata_unreachable", Err: err}
	}
	return text, nil
}
