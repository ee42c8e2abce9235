package plugin_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/plugin"
)

func secretOf(i int) authn.Secret { return authn.Secret(fmt.Sprintf("secret-number-%018d", i)) }

// callers is one environment for each way of identification.
func callers(c *plugin.Config) {
	env := func(name string) authn.Environment { return authn.Environment{Name: name} }
	office := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	uri := "spiffe://example.com/uri"
	c.Environments = []plugin.Environment{
		{Environment: env("basic"), Username: "basic", Secret: secretOf(1)},
		{Environment: env("path"), Username: "path", Secret: secretOf(2), Path: "OwnPath"},
		{Environment: env("office"), Username: "office", Secret: secretOf(3), AllowFrom: office},
		{Environment: env("cert"), CertificateSAN: "cert.example.com"},
		{Environment: env("uri"), CertificateSAN: uri},
		{Environment: env("mail"), CertificateSAN: "mail@example.com"},
		{Environment: env("both"), Username: "both", Secret: secretOf(4), CertificateSAN: "both.example.com"},
		{Environment: env("trusted"), Path: "Trusted", AllowFrom: office, TrustAddress: true},
	}
}

func observe(got *[]string) func(*plugin.Config) {
	return func(c *plugin.Config) {
		c.Observe = func(method, outcome string, _ time.Duration) { *got = append(*got, method+" "+outcome) }
	}
}

// presented is a way of calling.
type presented func(*http.Request)

func at(path string) presented { return func(r *http.Request) { r.URL.Path = path } }
func basic(user string, secret authn.Secret) presented {
	return func(r *http.Request) { r.SetBasicAuth(user, secret.Reveal()) }
}
func from(peer string) presented { return func(r *http.Request) { r.RemoteAddr = peer } }

// cert presents a certificate that the listener has verified.
func cert(san string) presented {
	return func(r *http.Request) {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf(san)}}}
	}
}

// unverified presents one that it has not.
func unverified(san string) presented {
	return func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf(san)}} }
}

func leaf(san string) *x509.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "cert.example.com"}}
	switch u, err := url.Parse(san); {
	case err == nil && u.Scheme != "":
		c.URIs = []*url.URL{u}
	case strings.Contains(san, "@"):
		c.EmailAddresses = []string{san}
	case san != "":
		c.DNSNames = []string{"other.example.com", san}
	}
	return c
}

func TestCallers(t *testing.T) {
	const (
		shared  = "/idbridge/OSPlatformAuthentication.asmx"
		own     = "/ownpath/osplatformauthentication.asmx"
		trusted = "/TRUSTED/OSPlatformAuthentication.asmx"
	)
	tests := map[string]struct {
		how  []presented
		want string // environment, or ! and the reason
	}{
		"secret":                     {[]presented{basic("basic", secretOf(1))}, "basic"},
		"nothing":                    {nil, "!no_credentials"},
		"wrong secret":               {[]presented{basic("basic", secretOf(9))}, "!bad_credentials"},
		"another's secret":           {[]presented{basic("basic", secretOf(2))}, "!bad_credentials"},
		"empty secret":               {[]presented{basic("basic", "")}, "!bad_credentials"},
		"start of the secret":        {[]presented{basic("basic", secretOf(1)[:20])}, "!bad_credentials"},
		"wrong user name":            {[]presented{basic("basi", secretOf(1))}, "!bad_credentials"},
		"user name in another case":  {[]presented{basic("Basic", secretOf(1))}, "!bad_credentials"},
		"empty credentials":          {[]presented{basic("", "")}, "!bad_credentials"},
		"bearer":                     {[]presented{func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }}, "!no_credentials"},
		"own path":                   {[]presented{basic("path", secretOf(2)), at(own)}, "path"},
		"own path without a secret":  {[]presented{at(own)}, "!no_credentials"},
		"own path, another's secret": {[]presented{basic("basic", secretOf(1)), at(own)}, "!wrong_path"},
		"secret on the shared path":  {[]presented{basic("path", secretOf(2)), at(shared)}, "!wrong_path"},
		"unknown path":               {[]presented{basic("basic", secretOf(1)), at("/x/OSPlatformAuthentication.asmx")}, "!wrong_path"},
		"unknown path, no secret":    {[]presented{at("/x/OSPlatformAuthentication.asmx")}, "!no_credentials"},
		"root":                       {[]presented{at("/")}, "!no_credentials"},
		"path with a letter like k":  {[]presented{basic("basic", secretOf(1)), at("/idbridge\u212a/x")}, "!wrong_path"},
		"allowed address":            {[]presented{basic("office", secretOf(3)), from("192.0.2.9:1")}, "office"},
		"allowed IPv6":               {[]presented{basic("office", secretOf(3)), from("[2001:db8::9]:1")}, "office"},
		"IPv4 in IPv6":               {[]presented{basic("office", secretOf(3)), from("[::ffff:192.0.2.9]:1")}, "office"},
		"another address":            {[]presented{basic("office", secretOf(3)), from("198.51.100.1:1")}, "!wrong_address"},
		"no address":                 {[]presented{basic("office", secretOf(3)), from("@")}, "!wrong_address"},
		"an address only claimed": {[]presented{basic("office", secretOf(3)), from("198.51.100.1:1"), func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", "192.0.2.9")
			r.Header.Set("Forwarded", "for=192.0.2.9")
			r.Header.Set("X-Real-Ip", "192.0.2.9")
		}}, "!wrong_address"},
		"certificate":                 {[]presented{cert("cert.example.com")}, "cert"},
		"certificate in another case": {[]presented{cert("CERT.example.com")}, "cert"},
		"URI":                         {[]presented{cert("spiffe://example.com/uri")}, "uri"},
		"mail":                        {[]presented{cert("mail@example.com")}, "mail"},
		"unverified certificate":      {[]presented{unverified("cert.example.com")}, "!no_credentials"},
		"another certificate":         {[]presented{cert("x.example.com")}, "!bad_credentials"},
		"common name only":            {[]presented{cert("")}, "!bad_credentials"},
		"wildcard certificate":        {[]presented{cert("*.example.com")}, "!bad_credentials"},
		"both":                        {[]presented{basic("both", secretOf(4)), cert("both.example.com")}, "both"},
		"both, secret only":           {[]presented{basic("both", secretOf(4))}, "!incomplete_proof"},
		"both, certificate only":      {[]presented{cert("both.example.com")}, "!incomplete_proof"},
		"two environments":            {[]presented{basic("basic", secretOf(1)), cert("cert.example.com")}, "!ambiguous_caller"},
		"half of one and another":     {[]presented{basic("both", secretOf(4)), cert("cert.example.com")}, "!ambiguous_caller"},
		"trusted address":             {[]presented{at(trusted), from("192.0.2.9:1")}, "trusted"},
		"trusted path from elsewhere": {[]presented{at(trusted), from("198.51.100.1:1")}, "!untrusted_address"},
		"trusted address, other path": {[]presented{at(shared), from("192.0.2.9:1")}, "!no_credentials"},
	}
	var refused *httptest.ResponseRecorder
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, callers)
			req := post(signIn("ana", canary))
			req.Header.Del("Authorization")
			for _, p := range tt.how {
				p(req)
			}
			w := r.do(req)
			reason, isRefused := strings.CutPrefix(tt.want, "!")
			if !isRefused {
				if w.Code != 200 || len(r.calls) != 1 || r.calls[0].Environment.Name != tt.want {
					t.Fatalf("%d, calls %+v, events %+v; want %s", w.Code, r.calls, r.events, tt.want)
				}
				return
			}
			if len(r.calls) != 0 || len(r.events) != 1 || r.events[0].Action != plugin.CallerRefused || r.events[0].Detail != reason {
				t.Errorf("calls %+v, journal %+v; want %s", r.calls, r.events, reason)
			}
			if !strings.Contains(r.log.String(), "reason="+reason) {
				t.Errorf("log: %s", &r.log)
			}
			if w.Code != 401 || w.Body.Len() != 0 || w.Header().Get("Www-Authenticate") == "" {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if refused == nil {
				refused = w
			}
			if fmt.Sprint(w.Header()) != fmt.Sprint(refused.Header()) {
				t.Errorf("two refusals differ: %v and %v", w.Header(), refused.Header())
			}
		})
	}
}

func TestNothingIsServedToStrangers(t *testing.T) {
	for _, target := range []string{address, address + "?wsdl", "/", "/favicon.ico", "/idbridge/", "/Other/OSPlatformAuthentication.asmx"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"} {
			w := newRig(t).do(httptest.NewRequest(method, target, strings.NewReader("x")))
			if w.Code != 401 || w.Body.Len() != 0 {
				t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
			}
		}
	}
}

func TestStrangersCannotFillTheJournal(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	r := newRig(t, func(c *plugin.Config) { c.Now = func() time.Time { return now } })
	for range 100 {
		r.do(httptest.NewRequest(http.MethodGet, address, nil))
	}
	if len(r.events) != 5 {
		t.Errorf("%d events in a second, want 5", len(r.events))
	}
	now = now.Add(time.Second)
	r.do(httptest.NewRequest(http.MethodGet, address, nil))
	if last := r.events[len(r.events)-1]; last.Detail != "no_credentials (and 95 other refused callers not listed)" {
		t.Errorf("the next event does not tell of the others: %q", last.Detail)
	}
}

func TestNewTellsEveryProblemAtOnce(t *testing.T) {
	anywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	home := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	env := func(name string) authn.Environment { return authn.Environment{Name: name} }
	type change = func(*plugin.Config)
	one := func(e plugin.Environment) change {
		return func(c *plugin.Config) { c.Environments = []plugin.Environment{e} }
	}
	two := func(a, b plugin.Environment) change {
		return func(c *plugin.Config) { c.Environments = []plugin.Environment{a, b} }
	}
	good := plugin.Environment{Environment: env("a"), Username: "a", Secret: secretOf(1)}
	alter := func(f func(*plugin.Environment)) plugin.Environment {
		e := good
		e.Environment, e.Username, e.Secret = env("b"), "b", secretOf(2)
		f(&e)
		return e
	}
	tests := map[string]change{
		"Config lacks":                       func(c *plugin.Config) { c.Doctor = nil },
		`name "a b"`:                         func(c *plugin.Config) { c.Name = "a b" },
		"public URL":                         func(c *plugin.Config) { c.PublicURL = "bridge.example.com" },
		"nobody could call":                  func(c *plugin.Config) { c.Environments = nil },
		"it has no name":                     one(alter(func(e *plugin.Environment) { e.Name = "" })),
		"path: want":                         one(alter(func(e *plugin.Environment) { e.Path = "a/b" })),
		"belong together":                    one(alter(func(e *plugin.Environment) { e.Username = "" })),
		"colon":                              one(alter(func(e *plugin.Environment) { e.Username = "a:b" })),
		"fewer than 32 bytes":                one(alter(func(e *plugin.Environment) { e.Secret = e.Secret[:31] })),
		"nothing identifies":                 one(plugin.Environment{Environment: env("a"), Path: "A", AllowFrom: home}),
		"needs a path of its own":            one(plugin.Environment{Environment: env("a"), AllowFrom: home, TrustAddress: true}),
		"needs allow_from":                   one(plugin.Environment{Environment: env("a"), Path: "A", TrustAddress: true}),
		"would trust everybody":              one(plugin.Environment{Environment: env("a"), Path: "A", AllowFrom: anywhere, TrustAddress: true}),
		"useless":                            one(alter(func(e *plugin.Environment) { e.Path, e.AllowFrom, e.TrustAddress = "A", home, true })),
		"invalid network":                    one(alter(func(e *plugin.Environment) { e.AllowFrom = []netip.Prefix{{}} })),
		"shared plugin name":                 one(alter(func(e *plugin.Environment) { e.Path = "IDBRIDGE" })),
		`"a" and "A" have the same name`:     two(good, alter(func(e *plugin.Environment) { e.Name = "A" })),
		`"a" and "b" have the same user`:     two(good, alter(func(e *plugin.Environment) { e.Username = "a" })),
		`"a" and "b" have the same secret`:   two(good, alter(func(e *plugin.Environment) { e.Secret = secretOf(1) })),
		`"c" and "b" have the same path`:     two(plugin.Environment{Environment: env("c"), Path: "P", CertificateSAN: "c"}, alter(func(e *plugin.Environment) { e.Path = "p" })),
		`"c" and "b" have the same certific`: two(plugin.Environment{Environment: env("c"), CertificateSAN: "C"}, alter(func(e *plugin.Environment) { e.CertificateSAN = "c" })),
	}
	for want, f := range tests {
		t.Run(want, func(t *testing.T) {
			c := config(&rig{core: &core{}})
			f(&c)
			_, err := plugin.New(c)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %q", err, want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more problems than the one there is: %v", err)
			}
			if strings.Contains(err.Error(), "secret-number") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	c := config(&rig{core: &core{}})
	c.Name, c.PublicURL, c.Environments = "", "", []plugin.Environment{{}}
	if _, err := plugin.New(c); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want four problems, got: %v", err)
	}
}
