package testenv

import (
	"crypto/tls"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// SAMLBrowser is a browser without a screen: it follows redirects, keeps cookies, fills in the identity provider's
// sign-in form and stops at whatever is to be sent to a service provider.
type SAMLBrowser struct {
	Name, Password string // typed into the form

	idp    *SimpleSAMLphpServer
	client *http.Client
}

// SAMLMessage is what a browser was told to send to a service provider.
type SAMLMessage struct {
	To     string     // without its query
	Method string     // GET or POST
	Form   url.Values // of the body, or of the query
	Query  string     // as it was written, of a redirect
}

// Browser opens a browser that knows nobody's cookies.
func (s *SimpleSAMLphpServer) Browser(name, password string) *SAMLBrowser {
	jar, _ := cookiejar.New(nil) // has no error without options
	b := &SAMLBrowser{Name: name, Password: password, idp: s}
	b.client = &http.Client{
		Jar: jar, Timeout: startTimeout,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA.Pool, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return b
}

// Go sends the browser somewhere: by redirect, or with fields by a posted form. It returns the message that the identity
// provider then wants to be sent to somebody else; where there is none, the test fails with the page that was shown.
func (b *SAMLBrowser) Go(tb TB, address string, fields url.Values) SAMLMessage {
	tb.Helper()
	m, page := b.Try(tb, address, fields)
	if m == nil {
		tb.Fatalf("the identity provider shows a page of its own:\n%s\n%s", page, b.idp.Log())
		return SAMLMessage{}
	}
	return *m
}

// Try is Go for what the identity provider may refuse: without a message it returns the text of the page.
//
// On a busy machine PHP's own server cuts answers off. The browser then begins again from the start: a step sent twice
// would meet a state that is used up, which the identity provider takes for a sign-in that nobody asked for.
func (b *SAMLBrowser) Try(tb TB, address string, fields url.Values) (*SAMLMessage, string) {
	tb.Helper()
	for again := 2; ; again-- {
		m, page, err := b.goThrough(tb, address, fields)
		cutOff := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
		if !cutOff || again == 0 {
			check(tb, err)
			return m, page
		}
	}
}

func (b *SAMLBrowser) goThrough(tb TB, address string, fields url.Values) (*SAMLMessage, string, error) {
	tb.Helper()
	for range 20 {
		if !strings.HasPrefix(address, b.idp.URL+"/") {
			return message(tb, address, fields), "", nil
		}
		location, page, err := b.ask(address, fields)
		if err != nil {
			return nil, "", err
		}
		if location != "" {
			address, fields = location, nil
			continue
		}
		next, form, ok := b.form(address, page)
		if !ok {
			return nil, words(page), nil
		}
		address, fields = next, form
	}
	tb.Fatal("the identity provider sends the browser in a circle")
	return nil, "", nil
}

func message(tb TB, address string, fields url.Values) *SAMLMessage {
	tb.Helper()
	to, query, _ := strings.Cut(address, "?")
	if fields != nil {
		return &SAMLMessage{To: to, Method: http.MethodPost, Form: fields}
	}
	form, err := url.ParseQuery(query)
	check(tb, err)
	return &SAMLMessage{To: to, Method: http.MethodGet, Form: form, Query: query}
}

func (b *SAMLBrowser) ask(address string, fields url.Values) (location, page string, err error) {
	var r *http.Response
	if fields != nil {
		r, err = b.client.PostForm(address, fields)
	} else {
		r, err = b.client.Get(address)
	}
	if err != nil {
		return "", "", err
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if next, err := r.Location(); err == nil {
		return next.String(), "", nil
	}
	return "", string(text), err
}

var (
	formTag  = regexp.MustCompile(`(?is)<form\b[^>]*>.*?</form>`)
	inputTag = regexp.MustCompile(`(?is)<input\b[^>]*>`)
	tag      = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`)
	spaces   = regexp.MustCompile(`\s+`)
)

// form fills in the one form of a page that goes on: the sign-in form, or one that a script would send.
func (b *SAMLBrowser) form(page0, page string) (action string, fields url.Values, ok bool) {
	for _, f := range formTag.FindAllString(page, -1) {
		fields = url.Values{}
		for _, input := range inputTag.FindAllString(f, -1) {
			if name := attribute(input, "name"); name != "" {
				fields.Set(name, attribute(input, "value"))
			}
		}
		if fields.Has("password") {
			if strings.Contains(page, "Incorrect username or password") {
				return "", nil, false
			}
			fields.Set("username", b.Name)
			fields.Set("password", b.Password)
		} else if !fields.Has("SAMLResponse") && !fields.Has("SAMLRequest") {
			continue
		}
		base, err := url.Parse(page0)
		if err != nil {
			return "", nil, false
		}
		next, err := base.Parse(attribute(f[:strings.Index(f, ">")+1], "action"))
		if err != nil {
			return "", nil, false
		}
		return next.String(), fields, true
	}
	return "", nil, false
}

func attribute(element, name string) string {
	m := regexp.MustCompile(`(?is)\b` + name + `="([^"]*)"`).FindStringSubmatch(element)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

func words(page string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(tag.ReplaceAllString(page, " ")), " "))
}
