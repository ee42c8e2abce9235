package azuread

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/idbridge/idbridge/authn"
)

// assertionLife is how long a signed client assertion may be used.
const assertionLife = 5 * time.Minute

// credential proves to the token endpoint that it is idbridge that asks.
type credential struct {
	name  string    // for messages; holds no secret
	ends  time.Time // zero: not known
	prove func(clientID, endpoint string, now time.Time) (url.Values, error)
}

// loadCredentials reads the files of all credentials.
func loadCredentials(list []Credential) (held []credential, errs []error) {
	for i, c := range list {
		at := fmt.Sprintf("credentials[%d]", i)
		one, err := c.load(at)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		held = append(held, one)
	}
	return held, errs
}

func (c Credential) load(at string) (credential, error) {
	kinds := 0
	for _, given := range []bool{c.Secret != "", c.CertificateFile != "" || c.KeyFile != "", c.WorkloadIdentityFile != ""} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return credential{}, fmt.Errorf(
			"%s: give exactly one of secret, certificate_file with key_file, and workload_identity_file", at)
	case c.Secret == "" && c.Expires != "":
		return credential{}, fmt.Errorf("%s.expires: is only for a secret", at)
	case c.Secret != "":
		return c.loadSecret(at)
	case c.WorkloadIdentityFile != "":
		return credential{name: at + " (workload identity)", prove: c.proveWorkload}, nil
	}
	return c.loadCertificate(at)
}

func (c Credential) loadSecret(at string) (credential, error) {
	held := credential{name: at + " (client secret)", prove: func(string, string, time.Time) (url.Values, error) {
		return url.Values{"client_secret": {c.Secret.Reveal()}}, nil
	}}
	if c.Expires == "" {
		return held, nil
	}
	end, err := time.Parse(time.DateOnly, c.Expires)
	if err != nil {
		return held, fmt.Errorf("%s.expires: %q is not a day such as 2027-05-31", at, c.Expires)
	}
	held.ends = end
	return held, nil
}

func (c Credential) loadCertificate(at string) (credential, error) {
	if c.CertificateFile == "" || c.KeyFile == "" {
		return credential{}, fmt.Errorf("%s: certificate_file and key_file belong together", at)
	}
	pair, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
	if err != nil {
		return credential{}, fmt.Errorf("%s.certificate_file: %w", at, err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() < 2048 {
		return credential{}, fmt.Errorf("%s.key_file: Entra takes RSA keys of 2048 bits or more", at)
	}
	sum := sha256.Sum256(pair.Certificate[0])
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.PS256, Key: key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(sum[:])))
	if err != nil {
		return credential{}, fmt.Errorf("%s.key_file: %w", at, err)
	}
	return credential{name: at + " (certificate)", ends: pair.Leaf.NotAfter,
		prove: func(clientID, endpoint string, now time.Time) (url.Values, error) {
			return proveKey(signer, clientID, endpoint, now)
		}}, nil
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, section 2.2

// proveKey signs a client assertion (private_key_jwt, OpenID Connect Core section 9).
func proveKey(signer jose.Signer, clientID, endpoint string, now time.Time) (url.Values, error) {
	claims, err := json.Marshal(map[string]any{
		"aud": endpoint, "iss": clientID, "sub": clientID, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return nil, err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return nil, err
	}
	text, err := signed.CompactSerialize()
	return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {text}}, err
}

// maxWorkloadToken is more than any platform's token has.
const maxWorkloadToken = 64 << 10

// proveWorkload shows the token that the platform keeps fresh in a file (workload identity federation).
func (c Credential) proveWorkload(string, string, time.Time) (url.Values, error) {
	text, err := os.ReadFile(c.WorkloadIdentityFile)
	if err != nil {
		return nil, authn.Errorf(authn.Unavailable, reasonCredential, "workload identity: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > maxWorkloadToken {
		return nil, authn.Errorf(authn.Unavailable, reasonCredential, "workload identity: %s holds no token",
			c.WorkloadIdentityFile)
	}
	return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {string(text)}}, nil
}

// wallet holds the credentials, and remembers which one Entra took last. It is safe for concurrent use.
type wallet struct {
	held []credential
	now  func() time.Time

	mu   sync.Mutex
	best int
}

// order is in which order to try: the one that worked last, then as configured.
func (w *wallet) order() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := []int{w.best}
	for i := range w.held {
		if i != w.best {
			list = append(list, i)
		}
	}
	return list
}

// ends are when credentials end; of some nobody knows it.
func (w *wallet) ends() (list []authn.End) {
	for _, c := range w.held {
		if !c.ends.IsZero() {
			list = append(list, authn.End{What: c.name, At: c.ends})
		}
	}
	return list
}

func (w *wallet) took(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.best = i
}
