package saml

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// OwnKey is one of our keys towards one identity provider, as it is kept. It signs what we send and opens what is
// encrypted for us.
type OwnKey struct {
	ID, Provider string
	Certificate  []byte    // DER
	Sealed       []byte    // PKCS #8, sealed and bound to KeyAD
	Signs        time.Time // from when on it signs; before, it is announced and opens what comes
	Ends         time.Time // from when on it is neither announced nor used; zero: nothing has taken over from it
}

// KeyStore keeps our keys, for all nodes at once.
type KeyStore interface {
	// SAMLKeys returns the keys of a provider, in the order in which they sign.
	SAMLKeys(ctx context.Context, provider string) ([]OwnKey, error)
	// AddSAMLKey keeps a key as the successor of the newest one, whose id is after, and sets that one's Ends; "" when
	// there must be none yet. added is false, and nothing is changed, when the newest is another one: of nodes that race
	// one wins.
	AddSAMLKey(ctx context.Context, k OwnKey, after string, ends time.Time) (added bool, err error)
}

// Sealer seals what must not be read in a database.
type Sealer interface {
	Seal(plain, ad []byte) ([]byte, error)
	Open(sealed, ad []byte) ([]byte, error)
}

// KeyAD is what the private key of a row is bound to.
func KeyAD(provider, id string) []byte { return []byte("saml-key:" + provider + ":" + id) }

// Lifetimes of our keys.
const (
	keyBits  = 3072
	keyLife  = 3 * 365 * 24 * time.Hour // of its certificate; nobody but people reads it
	keyFresh = time.Minute              // a key that another process made is seen after so long
	// DefaultOverlap is how long a new key is announced before it signs, and the old one stays after that.
	DefaultOverlap = 14 * 24 * time.Hour
)

// ownKey is a key that can be used.
type ownKey struct {
	OwnKey
	certificate *x509.Certificate
	private     *rsa.PrivateKey
}

// ownKeys are ours towards one identity provider. Safe for concurrent use.
type ownKeys struct {
	provider string
	store    KeyStore
	sealer   Sealer
	now      func() time.Time

	mu   sync.Mutex
	list []ownKey
	read time.Time
}

var errNoKeyStore = errors.New("there is no store for keys")

// all are the keys that are not over, and makes the first one.
func (k *ownKeys) all(ctx context.Context) ([]ownKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.list) == 0 || k.now().Sub(k.read) > keyFresh {
		list, err := k.load(ctx)
		if err != nil {
			return nil, err
		}
		k.list, k.read = list, k.now()
	}
	var good []ownKey
	for _, one := range k.list {
		if one.Ends.IsZero() || k.now().Before(one.Ends) {
			good = append(good, one)
		}
	}
	return good, nil
}

func (k *ownKeys) load(ctx context.Context) ([]ownKey, error) {
	rows, err := k.rows(ctx)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		if _, err := k.add(ctx, "", time.Time{}, k.now()); err != nil {
			return nil, err
		}
		if rows, err = k.rows(ctx); err != nil { // ours, or that of a node that was faster
			return nil, err
		}
	}
	return k.openAll(rows)
}

func (k *ownKeys) openAll(rows []OwnKey) (list []ownKey, err error) {
	for _, row := range rows {
		one, err := k.open(row)
		if err != nil {
			return nil, authn.Errorf(authn.Unavailable, "own_key_unopenable", "our key %s: %w", row.ID, err)
		}
		list = append(list, one)
	}
	return list, nil
}

// check tells whether the keys can be used, and makes none.
func (k *ownKeys) check(ctx context.Context) error {
	_, err := k.existing(ctx)
	return err
}

// existing are the keys there are, if any.
func (k *ownKeys) existing(ctx context.Context) ([]ownKey, error) {
	rows, err := k.rows(ctx)
	if err != nil {
		return nil, err
	}
	return k.openAll(rows)
}

func (k *ownKeys) rows(ctx context.Context) ([]OwnKey, error) {
	if k.store == nil {
		return nil, authn.Errorf(authn.Unavailable, "store_unavailable", "our keys: %w", errNoKeyStore)
	}
	return k.store.SAMLKeys(ctx, k.provider)
}

func (k *ownKeys) open(row OwnKey) (ownKey, error) {
	der, err := k.sealer.Open(row.Sealed, KeyAD(row.Provider, row.ID))
	if err != nil {
		return ownKey{}, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return ownKey{}, err
	}
	certificate, err := x509.ParseCertificate(row.Certificate)
	if err != nil {
		return ownKey{}, err
	}
	key, ok := private.(*rsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return ownKey{}, errors.New("private key and certificate do not belong together")
	}
	return ownKey{row, certificate, key}, nil
}

// add makes a key that signs from a time on.
func (k *ownKeys) add(ctx context.Context, after string, ends, signs time.Time) (added bool, err error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return false, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return false, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "idbridge " + k.provider},
		NotBefore: k.now().Add(-MaxClockSkew), NotAfter: signs.Add(keyLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return false, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return false, err
	}
	row := OwnKey{ID: hex.EncodeToString(serial.Bytes()), Provider: k.provider, Certificate: certificate, Signs: signs}
	if row.Sealed, err = k.sealer.Seal(der, KeyAD(row.Provider, row.ID)); err != nil {
		return false, err
	}
	return k.store.AddSAMLKey(ctx, row, after, ends)
}

// signing is the key that signs now.
func (k *ownKeys) signing(ctx context.Context) (ownKey, error) {
	list, err := k.all(ctx)
	if err != nil {
		return ownKey{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if !k.now().Before(list[i].Signs) {
			return list[i], nil
		}
	}
	return ownKey{}, authn.Errorf(authn.Internal, "no_signing_key", "none of our %d keys signs yet", len(list))
}

// decrypters are the keys that open what is encrypted for us, the newest first.
func (k *ownKeys) decrypters(ctx context.Context) (list []crypto.Decrypter, err error) {
	own, err := k.all(ctx)
	for i := len(own) - 1; i >= 0; i-- {
		list = append(list, own[i].private)
	}
	return list, err
}

// KeyInfo is one of our keys, as administrators see it.
type KeyInfo struct {
	ID, Provider string
	Fingerprint  string // SHA-256 of the certificate
	Signs, Ends  time.Time
	Expires      time.Time // of the certificate
	State        string    // next, current or previous
}

func (k *ownKeys) info(ctx context.Context) (list []KeyInfo, err error) {
	own, err := k.all(ctx)
	if err != nil {
		return nil, err
	}
	current, err := k.signing(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range own {
		i := KeyInfo{
			ID: one.ID, Provider: one.Provider, Fingerprint: fingerprint(one.certificate), State: "previous",
			Signs: one.Signs, Ends: one.Ends, Expires: one.certificate.NotAfter,
		}
		if one.ID == current.ID {
			i.State = "current"
		} else if one.Signs.After(k.now()) {
			i.State = "next"
		}
		list = append(list, i)
	}
	return list, nil
}

// rotate announces a new key, which signs after the overlap; the one before it goes when as much time has passed again.
func (k *ownKeys) rotate(ctx context.Context, overlap time.Duration) error {
	own, err := k.all(ctx)
	if err != nil {
		return err
	}
	newest := own[len(own)-1]
	if newest.Signs.After(k.now()) {
		return fmt.Errorf("a new key is announced already; it signs from %s on", newest.Signs.Format(time.RFC3339))
	}
	signs := k.now().Add(overlap)
	added, err := k.add(ctx, newest.ID, signs.Add(overlap), signs)
	if err == nil && !added {
		err = errors.New("somebody else has just rotated this key")
	}
	k.mu.Lock()
	k.list = nil
	k.mu.Unlock()
	return err
}
