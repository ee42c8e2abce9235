package e2e_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
)

// soapReply is any answer of the door, by local names.
type soapReply struct {
	Body struct {
		Response struct {
			Success      bool `xml:"Status>Success"`
			ID           int  `xml:"Status>ResponseId"`
			UserID       int  `xml:"UserId"`
			Capabilities []struct {
				Name  string
				Value string
			} `xml:"SupportedCapabilities>Capability"`
		} `xml:",any"`
	}
}

// ask calls a method as one environment does.
func (b *bridge) ask(n *node, environment, method, arguments string) soapReply {
	b.t.Helper()
	url, secret := n.url, b.secret
	if environment == "quality" {
		url, secret = strings.Replace(url, "/IDBridge/", "/QualityBridge/", 1), "quality-"+secret
	}
	body := fmt.Sprintf(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><%s xmlns="http://www.outsystems.com">%s</%[1]s></s:Body></s:Envelope>`,
		method, arguments)
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, url, strings.NewReader(body))
	b.check(err)
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.SetBasicAuth(environment, secret)
	resp, err := soapHTTP.Do(req)
	b.check(err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	b.check(err)
	var r soapReply
	if err := xml.Unmarshal(text, &r); err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: HTTP %d, %v: %s", method, resp.StatusCode, err, text)
	}
	return r
}

// vouched is a sign-in whose name the front end's web server has authenticated.
func (b *bridge) vouched(n *node, environment, user string) soapReply {
	b.t.Helper()
	return b.ask(n, environment, "User_AuthenticateWithUsername", "<Username>"+user+"</Username>")
}

// capable asks an environment's door whether it offers integrated authentication.
func (b *bridge) capable(n *node, environment string) string {
	b.t.Helper()
	for _, c := range b.ask(n, environment, "Plugin_GetCapabilities", "").Body.Response.Capabilities {
		if c.Name == "IntegratedAuthentication.Supported" {
			return c.Value
		}
	}
	return ""
}

// TestIntegratedAuthentication: a web server in front has authenticated a Windows user; the domain says whether the
// account may still sign in, without a password and never from memory.
func TestIntegratedAuthentication(t *testing.T) {
	t.Parallel()
	b, dc := newDomainBridge(t, "deny_groups: [contractors]\n  - {id: glass, type: local, match: {pattern: 'bg-.*'}}")
	b.more = "    integrated_authentication: true\n"
	b.write("users2.csv", "username,active,id:production\nbg-ann,true,31\nprimary,true,32\n")
	b.run("", "users", "import", "--config", b.configure(1, 2), b.file("users2.csv"))
	b.run("", "breakglass", "add", "bg-ann", "--config", b.configure(1, 2))
	b.enrol("alice")
	n := b.serve()
	if on, off := b.capable(n, "production"), b.capable(n, "quality"); on != "True" || off != "False" {
		t.Errorf("capability on production %q, on quality %q", on, off)
	}
	granted := func(environment, user string) bool {
		r := b.vouched(n, environment, user).Body.Response
		if r.Success != (r.UserID == 12) || r.UserID != 0 && r.UserID != 12 {
			t.Errorf("%s: %+v", user, r)
		}
		return r.Success
	}
	for _, user := range []string{`EXAMPLE\bob`, "bob@example.test", "bob", `example.test\BOB`} {
		if !granted("production", user) {
			t.Errorf("%s is refused:\n%s", user, n.Output())
		}
	}
	want := []string{"", "", "", ""}
	for _, test := range []struct{ environment, user, reason string }{
		{"quality", `EXAMPLE\bob`, "integrated_off"},
		{"production", `EXAMPLE\disabled`, "account_disabled"},
		{"production", "accountexpired@example.test", "account_expired"},
		{"production", `EXAMPLE\mustchange`, "password_must_change"},
		{"production", `EXAMPLE\pwdexpired`, "password_expired"},
		{"production", `EXAMPLE\logonhours`, "logon_hours"},
		{"production", `EXAMPLE\primary`, "group_denied"},
		{"production", `EXAMPLE\alice`, "code_missing"},
		{"production", `EXAMPLE\josé`, "it_user_inactive"},
		{"production", `EXAMPLE\frank`, "no_it_user"},
		{"production", `EXAMPLE\nobody`, "unknown_user"},
		{"production", `OTHER\bob`, "unknown_user"},
		{"production", "carol@example.test", "ambiguous_user"},
		{"production", "bg-ann", "no_integrated"},
		{"production", "*", "unknown_user"},
	} {
		if granted(test.environment, test.user) {
			t.Errorf("%s signed in", test.user)
		}
		want = append(want, test.reason)
	}
	dc.LDBModify(t, "dn: CN=bob,"+testenv.SambaPeopleDN+"\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n")
	if granted("production", `EXAMPLE\bob`) {
		t.Error("bob signed in after he was disabled")
	}
	dc.Kill()
	if r := b.vouched(n, "production", `EXAMPLE\bob`).Body.Response; r.Success || r.ID != 4 {
		t.Errorf("without a domain controller: %+v", r)
	}
	want = append(want, "account_disabled", "directory_unreachable")
	var got []string
	for _, r := range b.audit() {
		if strings.HasSuffix(r.Action, "integrated sign-in") {
			got = append(got, r.Reason)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%q, want\n%q", got, want)
	}
}

// TestIntegratedAuthenticationNeedsADirectory: where no provider can look a name up, it is not offered.
func TestIntegratedAuthenticationNeedsADirectory(t *testing.T) {
	t.Parallel()
	b := emptyBridge(t)
	b.providers = func() string { return "  - {id: glass, type: local, match: {default: true}}\n" }
	b.more = "    integrated_authentication: true\n"
	n := b.serve()
	if got := b.capable(n, "production"); got != "False" {
		t.Errorf("capability %q", got)
	}
	if r := b.vouched(n, "production", "ann").Body.Response; r.Success {
		t.Errorf("%+v", r)
	}
}
