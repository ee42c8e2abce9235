package portal

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"testing"
	"time"

	"github.com/idbridge/idbridge/altcha"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// fail makes failed attempts from the browser's address.
func (b *browser) fail(n int) (last page) {
	b.t.Helper()
	for i := range n {
		last = b.post("/login", "username", fmt.Sprint("stranger", i), "password", "x")
	}
	return last
}

// solved is what the widget sends for the challenge on a page.
func solved(t *testing.T, p page) string {
	t.Helper()
	var c altcha.Challenge
	if err := json.Unmarshal([]byte(html.UnescapeString(hidden(t, p, "challenge"))), &c); err != nil {
		t.Fatal(err)
	}
	nonce, _ := hex.DecodeString(c.Parameters.Nonce)
	salt, _ := hex.DecodeString(c.Parameters.Salt)
	for n := range uint32(1 << 20) {
		key, err := pbkdf2.Key(sha256.New, string(binary.BigEndian.AppendUint32(nonce, n)), salt, c.Parameters.Cost, c.Parameters.KeyLength)
		if err != nil {
			t.Fatal(err)
		}
		if text := hex.EncodeToString(key); text[:2] == c.Parameters.KeyPrefix {
			answer, err := json.Marshal(map[string]any{"challenge": c, "solution": map[string]any{"counter": n, "derivedKey": text}})
			if err != nil {
				t.Fatal(err)
			}
			return base64.StdEncoding.EncodeToString(answer)
		}
	}
	t.Fatal("no solution")
	return ""
}

// After five failures from an address each attempt costs a proof of work, once; or, without JavaScript, a wait.
func TestProofOfWork(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	if p := b.fail(4); len(p.body) == 0 || p.header.Get("Content-Security-Policy") != b.get("/nothing").header.Get("Content-Security-Policy") {
		t.Error("a challenge after four failures")
	}
	asked := b.fail(1).wants(t, "the fifth", http.StatusUnauthorized, "data-challenge=", "wait 20 seconds")
	b.signIn("ann").wants(t, "without a proof", http.StatusForbidden, "let your browser finish its check")
	signIn := func(name, value string) page {
		t.Helper()
		return b.post("/login", "username", "ann", "password", "pw-ann", name, value)
	}
	signIn("proof", "rubbish").wants(t, "with rubbish", http.StatusForbidden, "let your browser finish its check")
	proof := solved(t, asked)
	signIn("proof", proof).wants(t, "with a proof", http.StatusSeeOther, "/account")
	b = r.browser()
	signIn("proof", proof).wants(t, "with the same proof", http.StatusForbidden, "let your browser finish its check")

	waited := html.UnescapeString(hidden(t, b.get("/login"), "challenge"))
	signIn("challenge", waited).wants(t, "at once", http.StatusForbidden, "let your browser finish its check")
	r.later(20 * time.Second)
	signIn("challenge", waited).wants(t, "after twenty seconds", http.StatusSeeOther, "/account")
	b = r.browser()
	signIn("challenge", waited).wants(t, "with the same wait", http.StatusForbidden, "let your browser finish its check")
	r.counted(5) // an attempt without a proof is none
}

// The widget works in a browser, under the policy, and the page with all it needs stays light.
func TestTheWidget(t *testing.T) {
	r := newRig(t)
	r.browser().fail(5)
	r.mu.Lock()
	r.now = time.Now()
	r.mu.Unlock()
	p := chromium.Start(t, chromium.Options{Language: "de", Trust: []*x509.Certificate{r.server.Certificate()}}).NewPage()
	p.Open(r.server.URL + "/login")
	p.Wait("altcha-widget")
	p.Wait("altcha-widget [data-state=verified]")
	p.Sound("the page with the widget", maxPage)
	p.Screenshot("gallery/signin-challenge")
	p.Dark(true)
	p.Sound("the page with the widget in dark", maxPage)
	p.Screenshot("gallery/signin-challenge-dark")
	p.Type("#username", "ann")
	p.Type("#password", "pw-ann")
	p.Click("button.primary")
	if got := p.Text("h1"); got != "Willkommen, ann <b>&" {
		t.Errorf("shows %q", got)
	}
}
