package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// browser visits the portal over one kept-alive TLS connection, as a browser does, except that it follows no redirects: the
// page of a step is left out. Everybody who signs in with it begins without cookies.
type browser struct {
	address string // host:port
	secrets [][]byte
	conn    *tls.Conn
	in      *bufio.Reader
	cookies map[string]string
}

func (b *bench) browse(address string, secrets [][]byte) (caller, error) {
	conn, err := tls.Dial("tcp", address, b.portalTLS)
	if err != nil {
		return nil, err
	}
	return &browser{address: address, secrets: secrets, conn: conn, in: bufio.NewReader(conn)}, nil
}

func (b *browser) close() { b.conn.Close() }

// attempt is a whole sign-in: the password, the code, the page of somebody who is signed in.
func (b *browser) attempt(n int) error {
	b.cookies = map[string]string{}
	form := url.Values{"username": {username(n)}, "password": {password(n)}}
	if err := b.post("/login", form, "/login/next"); err != nil {
		return err
	}
	code := totp(b.secrets[n], time.Now().Unix()/totpPeriod)
	if err := b.post("/login/code", url.Values{"code": {code}}, "/account"); err != nil {
		return err
	}
	status, _, page, err := b.ask(http.MethodGet, "/account", "")
	if err == nil && (status != http.StatusOK || !bytes.Contains(page, []byte(username(n)))) {
		err = fmt.Errorf("/account is not %s's: %d: %s", username(n), status, page)
	}
	return err
}

// post sends a form, and wants to be sent to a page.
func (b *browser) post(path string, form url.Values, to string) error {
	status, header, page, err := b.ask(http.MethodPost, path, form.Encode())
	if err != nil {
		return err
	}
	if at := header.Get("Location"); status != http.StatusSeeOther || !strings.HasPrefix(at, to) {
		return fmt.Errorf("%s answered %d, %q: %s", path, status, at, page)
	}
	return nil
}

// ask sends one request with the headers and cookies of a browser, and keeps the cookies of the answer.
func (b *browser) ask(method, path, body string) (status int, header http.Header, page []byte, err error) {
	origin := "https://" + b.address
	req, err := http.NewRequest(method, origin+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		req.Header.Set("Origin", origin)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		req.AddCookie(&http.Cookie{Name: name, Value: b.cookies[name]}) //nolint:gosec // the attributes are for answers
	}
	if err := req.Write(b.conn); err != nil {
		return 0, nil, nil, err
	}
	resp, err := http.ReadResponse(b.in, req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		b.keep(c)
	}
	page, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, page, err
}

func (b *browser) keep(c *http.Cookie) {
	if c.MaxAge < 0 {
		delete(b.cookies, c.Name)
		return
	}
	b.cookies[c.Name] = c.Value
}
