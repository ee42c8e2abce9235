package portal

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/templates"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// maxPage is what a page may weigh with all it needs.
const maxPage = 60 << 10

// gallery is every page in a state that people see, by the name of its picture; page is the template.
func gallery(f frame) []struct {
	name, page string
	view       any
} {
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	signed, bad := f, f
	signed.Who = "Ana Lúcia Ferreira"
	bad.Problem = "User name or password is not right. Check both and try again."
	done := signed
	done.Notice = "The sign-in token was revoked."
	redirects := []choice{{"entra", "Microsoft Entra ID", true}, {"partners", "Partner login", false}}
	return []struct {
		name, page string
		view       any
	}{
		{"signin", "signin", signInView{frame: f, Passwords: true, Focus: "username"}},
		{"signin-choice", "signin", signInView{frame: bad, Passwords: true, Username: "ana.ferreira", Redirects: redirects, Focus: "password"}},
		{"signin-redirects", "signin", signInView{frame: f, Redirects: redirects}},
		{"code", "code", codeView{frame: f, Username: "ana.ferreira", Action: "/login/code"}},
		{"code-recovery", "code", codeView{frame: bad, Username: "ana.ferreira", Action: "/login/code", Recovery: true}},
		{"invite", "invite", inviteView{frame: f, Username: "ana.ferreira"}},
		{"enrol", "enrol", enrolView{frame: f, ID: "x", Account: "ana.ferreira", Secret: "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP",
			QR: testQR(), Action: "/login/enrol", NoFocus: true}},
		{"recovery", "recovery", recoveryView{frame: f, Account: "ana.ferreira", Codes: tenCodes(), Onward: "/account",
			Download: template.URL("data:text/plain;charset=utf-8,X")}},
		{"password", "password", passwordView{frame: f, Username: "ana.ferreira"}},
		{"leave", "leave", leaveView{frame: f, Provider: "Microsoft Entra ID", URL: "https://login.example.com/",
			Fields: []field{{"SAMLRequest", "x"}}}},
		{"account", "account", accountView{frame: done, Name: signed.Who, Provider: "Corporate directory", Username: "ana.ferreira",
			Email: "ana.ferreira@example.com", ITUser: "ana.ferreira", Subject: "8d1f6f0e-6ad3-4b0c-9d6b-2f5a1c0e7b11", CanToken: true,
			Environments: []environmentView{{"production", 1042}, {"quality", 0}},
			Tokens: []tokenRow{{"1", "", "production", at, at.Add(time.Hour), at.Add(10 * time.Hour)},
				{"2", "quality", "", at, time.Time{}, at.Add(10 * time.Hour)}},
			Devices: []deviceRow{{"1", "My telephone", at, at.Add(time.Hour)}, {"2", "", at, time.Time{}}}, RecoveryLeft: 9, CanEnrol: true,
			Sessions: []sessionRow{{"1", "Firefox on Windows", "192.0.2.10", at, at, true},
				{"2", "Safari on iPhone", "2001:db8:85a3::8a2e:370:7334", at, at, false}},
			Recent: []recentRow{{at, true, true, "", "", "192.0.2.10"}, {at, true, false, "", "production", "10.20.0.4"},
				{at, false, true, "wrong password", "", "198.51.100.77"}}}},
		{"account-new", "account", accountView{frame: signed, Name: signed.Who, Provider: "Corporate directory",
			Username: "ana.ferreira", Subject: "8d1f6f0e-6ad3-4b0c-9d6b-2f5a1c0e7b11", CanEnrol: true}},
		{"token", "token", tokenView{frame: signed, Groups: []string{"BCDF", "GHJK", "LMNP", "QRST", "VWXZ", "BCDF"}, ITUser: "ana.ferreira",
			FirstUse: at.Add(5 * time.Minute), Lifetime: "10 hours"}},
		{"confirm", "confirm", confirmView{frame: signed, Title: "Remove this device?", Question: "Its codes will no longer sign you in.",
			Button: "Remove device", Action: "/account/factors/remove", NeedsCode: true, Danger: true}},
		{"confirm-lost", "confirm", confirmView{frame: bad, Title: "Remove this device?", Question: "Its codes will no longer sign you in.",
			Button: "Remove device", Action: "/account/factors/remove", NeedsCode: true, Danger: true, Recovery: true, NoFocus: true}},
		{"error", "error", errorView{frame: f, Title: "Please try again in a moment",
			Explain: "A system that is needed to sign you in does not answer. Nothing was counted against you.", ID: "3f9a0c1d2e4b5a6978"}},
		{"signedout", "signedout", signedOutView{f}},
	}
}

// testQR is the picture of a key that nobody has.
func testQR() template.HTML {
	picture, err := mfa.QRPicture("otpauth://totp/Example:ana.ferreira?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Example", "QR")
	if err != nil {
		return template.HTML(err.Error())
	}
	return template.HTML(picture)
}

func tenCodes() (list []string) {
	for i := range 10 {
		list = append(list, fmt.Sprintf("BCDF-GHJK-LMNP-QRST-VWX%c", "BCDFGHJKLM"[i]))
	}
	return list
}

// Every page, in every language, is sound for a browser and for people: no error on the console, nothing asked of
// another host, light, and without an accessibility finding, in light and in dark, on a desk and on a telephone.
func TestGallery(t *testing.T) {
	pages, err := templates.New("")
	if err != nil {
		t.Fatal(err)
	}
	p := &Portal{pages: pages}
	server := httptest.NewTLSServer(p.secured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := p.frame(r)
		for _, one := range gallery(f) {
			if r.URL.Path == "/"+one.name {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				if err := pages.Render(w, f.Language, one.page, one.view); err != nil {
					t.Error(err)
				}
			}
		}
	})))
	t.Cleanup(server.Close)
	for _, look := range []look{{"", 1000, false}, {"-dark", 1000, true}, {"-phone", 390, false}} {
		t.Run("look"+look.name, func(t *testing.T) {
			t.Parallel()
			page := chromium.Start(t, chromium.Options{Trust: []*x509.Certificate{server.Certificate()}}).NewPage()
			page.Size(look.width, 800)
			page.Dark(look.dark)
			for _, one := range gallery(frame{}) {
				if one.page != "leave" { // which leaves at once
					look.at(page, server.URL+"/"+one.name, one.name)
				}
			}
		})
	}
}

// look is a way to look at pages.
type look struct {
	name  string
	width int64
	dark  bool
}

// at looks at one page, and in the other languages whether the words fit: in dark they do as in light.
func (l look) at(page *chromium.Page, address, name string) {
	page.Open(address)
	page.Sound(name+l.name, maxPage)
	page.Screenshot("gallery/" + name + l.name)
	page.Fits(name + l.name)
	for _, language := range []string{"de", "pt"} {
		if !l.dark {
			page.Open(address + "?lang=" + language)
			page.Fits(name + l.name + " in " + language)
		}
	}
}

// Every page can be made in every language, with every place filled.
func TestPagesInEveryLanguage(t *testing.T) {
	pages, err := templates.New("")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range pages.Languages() {
		for _, one := range gallery(frame{Language: l.Code}) {
			var out bytes.Buffer
			if err := pages.Render(&out, l.Code, one.page, one.view); err != nil {
				t.Errorf("%s in %s: %v", one.name, l.Code, err)
			}
			if strings.Contains(out.String(), "ZgotmplZ") || strings.Contains(out.String(), "{0}") {
				t.Errorf("%s in %s holds what could not be shown safely, or an unfilled place", one.name, l.Code)
			}
		}
	}
}

var shownPicture = regexp.MustCompile(`images/portal/([a-z-]+)\.png`)

// The pictures in the documentation are those that TestGallery makes: `make pictures` renews them.
func TestPicturesInTheDocumentation(t *testing.T) {
	made := map[string]bool{"signin-challenge": true}
	for _, one := range gallery(frame{}) {
		for _, look := range []string{"", "-dark", "-phone"} {
			made[one.name+look] = true
		}
	}
	text, err := os.ReadFile("../docs/portal.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, m := range shownPicture.FindAllStringSubmatch(string(text), -1) {
		shown[m[1]+".png"] = true
		if !made[m[1]] {
			t.Errorf("docs/portal.md shows %s, which no test makes", m[1])
		}
	}
	files, err := os.ReadDir("../docs/images/portal")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !shown[f.Name()] {
			t.Errorf("docs/portal.md does not show %s", f.Name())
		}
		delete(shown, f.Name())
	}
	for name := range shown {
		t.Errorf("%s is missing: make pictures", name)
	}
}
