// Package lifetime speaks OutSystems LifeTime's REST API v2: IT users as a source, and provisioning of IT users from
// directory groups.
//
// It knows the API's paths, names and errors, and how to ask a server that may fail: only reads are repeated, what was cut off
// is an error, and the token goes to the configured host alone. It leaves to itusers what becomes of users here, and to
// providers who is in a group.
package lifetime

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/idbridge/idbridge/authn"
)

// Config says where LifeTime is, and as whom to ask.
type Config struct {
	URL     string        `yaml:"url" required:"true" doc:"https://lifetime.example.com"`
	Token   authn.Secret  `yaml:"token" required:"true" doc:"of a service account; docs/lifetime.md says which rights it needs"`
	Expires string        `yaml:"expires" doc:"the day on which the token ends (LifeTime: 6, 12 or 24 months), as 2027-05-31: idbridge expiry warns before it"`
	CAFile  string        `yaml:"ca_file" doc:"PEM file of the authorities that may have signed its certificate; absent: the system's"`
	Timeout time.Duration `yaml:"timeout" default:"60s" doc:"for one answer"`
}

// Ends is when the token ends; zero where that was not said.
func (c Config) Ends() (time.Time, error) {
	if c.Expires == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.DateOnly, c.Expires)
	if err != nil {
		return at, fmt.Errorf("expires: %q is not a day such as 2027-05-31", c.Expires)
	}
	return at, nil
}

const (
	path        = "/lifetimeapi/rest/v2"
	maxAnswer   = 256 << 20 // some hundred thousand users with their teams
	maxSaid     = 300       // of the words of an error
	tries       = 4         // of a read
	firstWait   = time.Second
	longestWait = 30 * time.Second
)

// Reasons of errors.
const (
	reasonUnreachable = "lifetime_unreachable"
	reasonRefused     = "lifetime_refused"
	reasonBusy        = "lifetime_busy"
	reasonBadAnswer   = "lifetime_bad_answer"
	reasonRejected    = "lifetime_rejected"
)

// Client asks one LifeTime. It is safe for concurrent use.
type Client struct {
	base  string
	token authn.Secret
	http  *http.Client
	own   string // key of the account that the token belongs to; empty when it does not say
	most  int64  // bytes of one answer
	sleep func(context.Context, time.Duration)
}

// New checks the configuration; it dials nothing.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("url: is not a URL such as https://lifetime.example.com, without credentials or a query")
	}
	if c.Token == "" || strings.ContainsFunc(c.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("token: is empty, or holds what no token holds")
	}
	if _, err := c.Ends(); err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", c.CAFile)
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), path) + path
	return &Client{base: u.String(), token: c.Token, own: accountOf(c.Token), most: maxAnswer, sleep: wait, http: &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 60 * time.Second, MaxConnsPerHost: 4,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// read asks for JSON, several times where the server fails for the moment. found is false for 204: there is nothing.
func (c *Client) read(ctx context.Context, at string, query url.Values, into any) (found bool, err error) {
	for try := 1; ; try++ {
		var again time.Duration
		found, again, err = c.once(ctx, http.MethodGet, at, query, nil, into)
		if err == nil || again < 0 || try == tries || ctx.Err() != nil {
			return found, err
		}
		backoff := firstWait << (try - 1)
		c.sleep(ctx, min(max(again, backoff), longestWait)+rand.N(backoff/2))
	}
}

// write changes something, with one request: whether one that got no answer was done, nobody knows.
func (c *Client) write(ctx context.Context, method, at string, query url.Values, body any, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return authn.Errorf(authn.Internal, "lifetime_encode", "%w", err)
		}
	}
	_, _, err := c.once(ctx, method, at, query, text, into)
	return err
}

// never is the wait before a request that would fail again.
const never time.Duration = -1

// once makes one request. again is how long to wait before it may be made again, or never.
func (c *Client) once(
	ctx context.Context, method, at string, query url.Values, body []byte, into any,
) (found bool, again time.Duration, err error) {
	address := c.base + at
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return false, never, authn.Errorf(authn.Internal, "lifetime_address", "%s is no address", at)
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("Accept", "application/json")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false, 0, c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	what := method + " " + at
	switch resp.StatusCode {
	case http.StatusNoContent:
		return false, never, nil
	case http.StatusOK, http.StatusCreated:
		return true, 0, c.decode(resp, what, into)
	}
	return false, retryAfter(resp), refusal(resp, what)
}

// unreachable takes the address out of an error: it could hold somebody's key.
func (c *Client) unreachable(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	host := strings.TrimPrefix(c.base, "https://")
	return authn.Errorf(authn.Unavailable, reasonUnreachable, "%s: %w", strings.TrimSuffix(host, path), err)
}

// decode reads the whole body: JSON, or the key of a user as text.
func (c *Client) decode(resp *http.Response, what string, into any) error {
	bad := func(format string, args ...any) error {
		return authn.Errorf(authn.Unavailable, reasonBadAnswer, what+": "+format, args...)
	}
	body := &io.LimitedReader{R: resp.Body, N: c.most}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if text, ok := into.(*string); ok {
		all, err := io.ReadAll(io.LimitReader(body, maxSaid))
		*text = strings.Trim(string(all), "\" \r\n\t")
		if err != nil {
			return c.unreachable(err)
		}
		return nil
	}
	if into == nil {
		return nil
	}
	if kind != "application/json" && kind != "text/json" {
		return bad("the answer is %q and not JSON: is there a proxy in between, or a maintenance page?", kind)
	}
	d := json.NewDecoder(body)
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.Join(errors.New("something follows the JSON"), more)
		}
	}
	var network net.Error
	switch {
	case body.N <= 0:
		return bad("more than %d bytes", c.most)
	case errors.As(err, &network):
		return c.unreachable(err)
	case err != nil:
		return bad("the answer is cut off, or no JSON of this API: %w", err)
	}
	return nil
}

// retryAfter is how long the server wants to be left alone, where asking again could help.
func retryAfter(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return never
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(longestWait/time.Second))) * time.Second
}

// refusal is an error of the API.
func refusal(resp *http.Response, what string) error {
	var e struct {
		Errors     []string
		StatusCode int
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&e) // what cannot be read said nothing
	said := strings.Join(e.Errors, "; ")
	said = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, said)
	if len(said) > maxSaid {
		said = strings.ToValidUTF8(said[:maxSaid], "") + "…"
	}
	text := fmt.Sprintf("%s: HTTP status %d %q", what, resp.StatusCode, said)
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return authn.Errorf(authn.Unavailable, reasonRefused,
			"%s: has the token expired, or has its service account too few rights? (docs/lifetime.md)", text)
	case status == http.StatusTooManyRequests || status >= 500:
		return authn.Errorf(authn.Unavailable, reasonBusy, "%s", text)
	case status >= 300 && status < 400:
		return authn.Errorf(authn.Unavailable, reasonBadAnswer, "%s: it leads elsewhere, where the token does not go: correct url", text)
	}
	return authn.Errorf(authn.Unavailable, reasonRejected, "%s", text)
}
