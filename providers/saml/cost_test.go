package saml

import (
	"context"
	"crypto"
	"encoding/base64"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// expensive are messages that cost as much as somebody can make them without being the IdP: those of strangers, and those of
// a user who has an answer with a good signature and fills it up.
func expensive() map[string]func() ([]byte, expectation) {
	many := func(n int) string { // declarations of n namespaces
		var b strings.Builder
		for i := range n {
			b.WriteString(` xmlns:n` + strings.Repeat("a", i) + `="urn:example:a-name-space-of-some-length"`)
		}
		return b.String()
	}
	inAssertion := func(xml string) func() ([]byte, expectation) {
		return func() ([]byte, expectation) {
			root := usual().tree()
			assertionOf(root).AddChild(parseTest(`<x>` + xml + `</x>`))
			return serialize(root), expecting()
		}
	}
	certificates := func(make func() ([]byte, expectation)) func() ([]byte, expectation) {
		return func() ([]byte, expectation) {
			raw, e := make()
			for range 8 {
				e.Certificates = append(e.Certificates, testKeys().foreign.cert)
			}
			e.Certificates[0] = testKeys().next.cert
			return raw, e
		}
	}
	elements := strings.Repeat(`<y/>`, maxElements-80)
	return map[string]func() ([]byte, expectation){
		"text":            inAssertion(strings.Repeat("x", 250<<10)),
		"escaped text":    inAssertion(strings.Repeat("&lt;", 62<<10)),
		"elements":        inAssertion(elements),
		"named elements":  inAssertion(strings.Repeat(`<`+strings.Repeat("y", 100)+`/>`, maxElements-80)),
		"elements, text":  inAssertion(strings.Repeat(`<y>`+strings.Repeat("x", 100)+`</y>`, maxElements-80)),
		"attributes":      inAssertion(strings.Repeat(`<y a="" b="" c=""/>`, 1300)),
		"long attributes": inAssertion(strings.Repeat(`<y a="`+strings.Repeat("&quot;", 15)+`" b=""/>`, 1800)),
		"depth":           inAssertion(strings.Repeat(strings.Repeat("<y>", 28)+strings.Repeat("</y>", 28), 69)),
		"namespaces":      inAssertion(`<y` + many(18) + `>` + elements + `</y>`),
		"used namespaces": inAssertion(`<y` + many(18) + `>` + strings.Repeat(`<nx xmlns:nx="urn:nx"/>`, 1) + elements + `</y>`),
		"redeclared":      inAssertion(strings.Repeat(`<y xmlns="urn:a"><y xmlns="urn:b"/></y>`, 970)),
		"deep namespaces": inAssertion(strings.Repeat(`<y xmlns:p="urn:p"><y xmlns:p="urn:q"><y xmlns:p="urn:p">`, 6) + elements + strings.Repeat(`</y>`, 18)),
		"ids":             inAssertion(idElements()),
		"no known signer": certificates(inAssertion(elements)),
		"encrypted":       encryptedFlood,
		"large signature": func() ([]byte, expectation) {
			root := usual().tree()
			root.FindElement(".//KeyInfo").AddChild(parseTest(`<x>` + elements + `</x>`))
			return serialize(root), expecting()
		},
		"large SignedInfo": func() ([]byte, expectation) {
			root := usual().tree()
			for _, e := range root.FindElements(".//SignedInfo//*") {
				e.Attr = append(e.Attr, parseTest(`<x`+many(2)+` a="`+strings.Repeat("x", 20<<10)+`"/>`).Attr...)
			}
			return serialize(root), expecting()
		},
		"both signed": func() ([]byte, expectation) {
			a := usual()
			a.signResponse = byIdP()
			root := a.tree()
			root.AddChild(parseTest(`<x` + many(18) + `>` + elements + `</x>`))
			return serialize(root), expecting()
		},
	}
}

func idElements() string {
	var b strings.Builder
	for i := range maxElements - 50 {
		b.WriteString(`<y ID="i` + strconv.Itoa(i) + `"/>`)
	}
	return b.String()
}

// encryptedFlood: anybody can encrypt for us, so everything that costs most inside of an encrypted assertion costs a stranger nothing.
func encryptedFlood() ([]byte, expectation) {
	a := usual()
	a.encrypt = toSP()
	a.encrypt.keys = maxEncryptedKeys
	a.encrypt.plain = func(plain []byte) []byte {
		root := parseTest(string(plain))
		root.AddChild(parseTest(`<x>` + strings.Repeat(`<y a="" b=""/>`, maxElements-80) + `</x>`))
		return serialize(root)
	}
	e := expecting()
	e.Keys = []crypto.Decrypter{testKeys().oldSP, testKeys().sp}
	return a.raw(), e
}

// TestCost: nothing that anybody may post takes more than 50 ms of processor time or 8 MiB of memory, counting all that was
// allocated, also what was free again.
func TestCost(t *testing.T) {
	for name, make := range expensive() {
		t.Run(name, func(t *testing.T) {
			raw, e := make()
			if len(raw) > maxMessage {
				t.Fatalf("%d bytes: too large to be read at all", len(raw))
			}
			field := base64.StdEncoding.EncodeToString(raw)
			var err error
			spent, allocated := cost(func() {
				if raw, err = decodePost(field); err == nil {
					_, err = judge(context.Background(), raw, e)
				}
			})
			t.Logf("%v, %d KiB: %v", spent, allocated>>10, err)
			if limit := 50 * time.Millisecond * slower; spent > limit {
				t.Errorf("took %v of processor time", spent)
			}
			if limit := uint64(8 << 20); allocated > limit {
				t.Errorf("allocated %d KiB", allocated>>10)
			}
			if authn.KindOf(err) != authn.Untrusted {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestCostOfABomb: what inflates without end costs no more than what came as long.
func TestCostOfABomb(t *testing.T) {
	bomb := base64.StdEncoding.EncodeToString(deflate(make([]byte, 4<<20)))
	var err error
	spent, allocated := cost(func() { _, err = decodeRedirect(bomb) })
	if spent > 50*time.Millisecond*slower || allocated > 8<<20 || authn.ReasonOf(err) != "message_too_large" {
		t.Errorf("%v, %d KiB: %v", spent, allocated>>10, err)
	}
}

// cost measures a function: the least of three runs, of this thread alone, as other tests run beside.
func cost(f func()) (spent time.Duration, allocated uint64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for run := range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := processorTime()
		f()
		took := processorTime() - start
		runtime.ReadMemStats(&after)
		if run == 0 || took < spent {
			spent = took
		}
		if total := after.TotalAlloc - before.TotalAlloc; run == 0 || total < allocated {
			allocated = total
		}
	}
	return spent, allocated
}

func processorTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD of Linux
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
