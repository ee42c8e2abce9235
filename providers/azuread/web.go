package azuread

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// maxAnswer is the most that is read of one answer. A page of 999 groups is about 300 kB.
const maxAnswer = 4 << 20

// web asks Entra and Graph: https only, TLS 1.2, deadlines, no redirects, bounded answers.
type web struct {
	client  *http.Client
	timeout time.Duration
}

func newWeb(caFile string, timeout time.Duration) (*web, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if t.RootCAs, err = x509.SystemCertPool(); err != nil {
			t.RootCAs = x509.NewCertPool()
		}
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", caFile)
		}
	}
	return &web{timeout: timeout, client: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 60 * time.Second,
			MaxIdleConnsPerHost: 16, MaxConnsPerHost: 64, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// answer is what came back.
type answer struct {
	status int
	body   []byte
}

// get asks with a bearer token, or without.
func (w *web) get(ctx context.Context, address, bearer string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, authn.Errorf(authn.Internal, "entra_address", "not an address of Entra or Graph")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return w.do(req)
}

// post sends a form.
func (w *web) post(ctx context.Context, address string, form url.Values) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, authn.Errorf(authn.Internal, "entra_address", "not an address of Entra")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(req)
}

func (w *web) do(req *http.Request) (answer, error) {
	req.Header.Set("Accept", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) { // which quotes the address, and that may hold somebody's name
			err = outer.Err
		}
		return answer{}, authn.Errorf(authn.Unavailable, "entra_unreachable", "%s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, authn.Errorf(authn.Unavailable, "entra_unreachable", "%s: %w", req.URL.Host, err)
	case len(body) > maxAnswer:
		return answer{}, authn.Errorf(authn.Unavailable, "entra_bad_answer", "%s: more than %d bytes", req.URL.Host, maxAnswer)
	}
	return answer{resp.StatusCode, body}, nil
}

// into decodes a good answer.
func (a answer) into(value any, what string) error {
	if a.status != http.StatusOK {
		return authn.Errorf(authn.Unavailable, "entra_bad_answer", "%s: HTTP status %d", what, a.status)
	}
	if err := json.Unmarshal(a.body, value); err != nil {
		return authn.Errorf(authn.Unavailable, "entra_bad_answer", "%s: not the JSON that was expected", what)
	}
	return nil
}
