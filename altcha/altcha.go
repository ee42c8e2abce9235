// Package altcha makes and checks proof-of-work challenges in the format of the ALTCHA protocol, version 2, whose widget
// solves them in a browser: whoever wants to guess on pays for each guess with processor time, and nobody else is asked.
//
// It knows the format and nothing of pages. It leaves to others when a challenge is wanted (portal), and remembering which
// have been used (store).
//
// A challenge is a set of parameters under a signature of ours, so none is kept before it comes back. The solution is a
// counter for which PBKDF2-HMAC-SHA-256 of nonce and counter, with the salt and the iterations that the parameters name,
// begins with the bytes of keyPrefix.
package altcha

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What is asked of a browser: 256 derivations on average, about a second of one core.
const (
	algorithm  = "PBKDF2/SHA-256"
	cost       = 5_000 // iterations of one derivation
	keyLength  = 32    // bytes
	keyPrefix  = "00"
	maxPayload = 4 << 10 // bytes
)

// DefaultLife is how long a challenge may be answered.
const DefaultLife = 10 * time.Minute

// Parameters are a challenge's, in the order in which they are signed.
type Parameters struct {
	Algorithm string `json:"algorithm"`
	Cost      int    `json:"cost"`
	ExpiresAt int64  `json:"expiresAt"` // Unix seconds
	KeyLength int    `json:"keyLength"`
	KeyPrefix string `json:"keyPrefix"` // hexadecimal, as nonce and salt
	Nonce     string `json:"nonce"`
	Salt      string `json:"salt"`
}

// Challenge is what the widget is given, as JSON.
type Challenge struct {
	Parameters Parameters `json:"parameters"`
	Signature  string     `json:"signature"`
}

type solution struct {
	Counter    uint32  `json:"counter"`
	DerivedKey string  `json:"derivedKey"`
	Time       float64 `json:"time"` // what the browser says it took; of no use
}

// Errors of Verify.
var (
	ErrMalformed = errors.New("altcha: not an answer to a challenge")
	ErrForged    = errors.New("altcha: not a challenge of ours")
	ErrExpired   = errors.New("altcha: the challenge has expired")
	ErrUnsolved  = errors.New("altcha: the counter does not solve the challenge")
	ErrUsed      = errors.New("altcha: the challenge was answered before")
)

// Issuer makes challenges and checks answers. It is safe for concurrent use, and so are all Issuers with the same Key.
type Issuer struct {
	Key  []byte // signs challenges; the same on all nodes
	Life time.Duration
	Now  func() time.Time
	// Once tells whether a nonce is used for the first time; it is remembered until it expires, on all nodes.
	Once func(ctx context.Context, nonce string, expires time.Time) (first bool, err error)
}

// New makes a challenge.
func (i *Issuer) New() Challenge {
	p := Parameters{
		Algorithm: algorithm, Cost: cost, ExpiresAt: i.Now().Add(i.Life).Unix(), KeyLength: keyLength, KeyPrefix: keyPrefix,
		Nonce: randomHex(), Salt: randomHex(),
	}
	return Challenge{p, i.sign(p)}
}

func randomHex() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

func (i *Issuer) sign(p Parameters) string {
	text, _ := json.Marshal(p) // texts and numbers only
	m := hmac.New(sha256.New, i.Key)
	m.Write([]byte("idbridge altcha challenge\x00"))
	m.Write(text)
	return hex.EncodeToString(m.Sum(nil))
}

// Verify checks what the widget sends: base64 of JSON. The signature comes first, so that nobody but us chooses how much
// work checking is. nil: solved, in time, and for the first time. An error that is none of the above is Once's: refuse.
func (i *Issuer) Verify(ctx context.Context, payload string) error {
	c, s, err := decode(payload)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(i.sign(c.Parameters)), []byte(c.Signature)) {
		return ErrForged
	}
	expires := time.Unix(c.Parameters.ExpiresAt, 0)
	if !i.Now().Before(expires) {
		return ErrExpired
	}
	if err := c.Parameters.solvedBy(s); err != nil {
		return err
	}
	first, err := i.Once(ctx, c.Parameters.Nonce, expires)
	if err == nil && !first {
		return ErrUsed
	}
	return err
}

func decode(payload string) (Challenge, solution, error) {
	var answer struct {
		Challenge Challenge `json:"challenge"`
		Solution  solution  `json:"solution"`
	}
	if len(payload) > maxPayload {
		return Challenge{}, solution{}, ErrMalformed
	}
	text, err := base64.StdEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return Challenge{}, solution{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return answer.Challenge, answer.Solution, nil
}

func (p Parameters) solvedBy(s solution) error {
	nonce, errNonce := hex.DecodeString(p.Nonce)
	salt, errSalt := hex.DecodeString(p.Salt)
	prefix, errPrefix := hex.DecodeString(p.KeyPrefix)
	claimed, errClaimed := hex.DecodeString(s.DerivedKey)
	if err := errors.Join(errNonce, errSalt, errPrefix, errClaimed); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	counter := []byte{byte(s.Counter >> 24), byte(s.Counter >> 16), byte(s.Counter >> 8), byte(s.Counter)}
	key, err := pbkdf2.Key(sha256.New, string(append(nonce, counter...)), salt, p.Cost, p.KeyLength)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.HasPrefix(key, prefix) || subtle.ConstantTimeCompare(key, claimed) != 1 {
		return ErrUnsolved
	}
	return nil
}

// Waited checks a challenge that comes back, as the JSON it was given as, without a solution, from where there is no
// JavaScript: it must be ours, unused, and at least so old. The errors are those of Verify; ErrUnsolved: it is too young.
func (i *Issuer) Waited(ctx context.Context, text string, least time.Duration) error {
	var c Challenge
	if len(text) > maxPayload {
		return ErrMalformed
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !hmac.Equal([]byte(i.sign(c.Parameters)), []byte(c.Signature)) {
		return ErrForged
	}
	expires := time.Unix(c.Parameters.ExpiresAt, 0)
	switch now := i.Now(); {
	case !now.Before(expires):
		return ErrExpired
	case now.Before(expires.Add(least - i.Life)):
		return ErrUnsolved
	}
	first, err := i.Once(ctx, c.Parameters.Nonce, expires)
	if err == nil && !first {
		return ErrUsed
	}
	return err
}
