// Package keyring seals secrets that have to be kept in a database and read again: AES-256-GCM under a master key
// that is kept outside of it, in a file or an environment variable.
//
// It knows keys, sealed texts and how one master key takes over from another. What is sealed, where the sealed text is
// kept and what it is bound to are for the callers; the small interfaces they implement are defined here.
//
// # Key file
//
// One key per line, ID:BASE64, where BASE64 is 32 random bytes. The first key is the current one and seals; the
// others only open. Empty lines and lines that begin with # are ignored. In an environment variable the keys may be
// separated by commas instead of lines. On Unix the file must not be readable by group or others.
//
// To rotate: put a new key (Generate) first in the file of every node, restart them, Reseal, then drop the old line.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"strings"
)

const (
	keySize = 32
	version = 1 // first byte of everything sealed
	maxFile = 64 << 10
)

// ErrSealed is wrapped by every error that means: this text was not sealed by this ring, for this use.
var ErrSealed = errors.New("cannot be opened")

// keyID is short enough for the one length byte of the header, and safe to print.
var keyID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Ring holds one current key and any number of older ones. It is immutable and safe for concurrent use.
//
// Nonces are random, so one key should not seal more than 2^32 texts; idbridge seals a few per user.
type Ring struct {
	current string
	keys    map[string]cipher.AEAD
}

// Generate makes a new line for a key file, under an id of the caller's choice, for instance a date.
func Generate(id string) (string, error) {
	if !keyID.MatchString(id) {
		return "", fmt.Errorf("key id %q: use 1 to 64 of the characters A-Z a-z 0-9 . _ -", id)
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails; crypto/rand ends the process instead
	return id + ":" + base64.StdEncoding.EncodeToString(key), nil
}

// Load reads a key file.
func Load(path string) (*Ring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if err := checkMode(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("key file %s is longer than 64 KiB: is it the right file?", path)
	}
	ring, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return ring, nil
}

func checkMode(path string, info fs.FileInfo) error {
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("key file %s is readable by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return nil
}

// LoadEnv reads the keys from an environment variable.
func LoadEnv(name string) (*Ring, error) {
	ring, err := Parse(os.Getenv(name))
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", name, err)
	}
	return ring, nil
}

// Parse reads keys from the text of a key file. Its errors name the line and never show what is in it.
func Parse(text string) (*Ring, error) {
	r := &Ring{keys: map[string]cipher.AEAD{}}
	for i, line := range strings.FieldsFunc(text, func(c rune) bool { return c == '\n' || c == ',' }) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := r.add(line); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	if r.current == "" {
		return nil, errors.New("holds no key: make one with idbridge keys generate")
	}
	return r, nil
}

func (r *Ring) add(line string) error {
	id, text, ok := strings.Cut(line, ":")
	if !ok || !keyID.MatchString(id) {
		return errors.New("is not ID:BASE64, with 1 to 64 of A-Z a-z 0-9 . _ - as the id")
	}
	if r.keys[id] != nil {
		return fmt.Errorf("key id %s is there twice", id)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return fmt.Errorf("key %s is not %d bytes of base64", id, keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if r.keys[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	if r.current == "" {
		r.current = id
	}
	return nil
}

// CurrentID is the id of the key that seals.
func (r *Ring) CurrentID() string { return r.current }

// Seal encrypts plain under the current key and binds it to ad: only the same ad opens it.
func (r *Ring) Seal(plain, ad []byte) ([]byte, error) {
	header := append([]byte{version, byte(len(r.current))}, r.current...)
	return r.keys[r.current].Seal(header, nil, plain, bind(header, ad)), nil
}

// bind puts the header in front of ad, so that it cannot be exchanged either. The header tells its own length.
func bind(header, ad []byte) []byte { return append(append([]byte{}, header...), ad...) }

// Open decrypts what Seal made. Every error wraps ErrSealed.
func (r *Ring) Open(sealed, ad []byte) ([]byte, error) {
	id, header, err := split(sealed)
	if err != nil {
		return nil, err
	}
	key := r.keys[id]
	if key == nil {
		return nil, fmt.Errorf("%w: sealed under key %s, which is not in the key file; put that key back", ErrSealed, id)
	}
	plain, err := key.Open(nil, nil, sealed[len(header):], bind(header, ad))
	if err != nil {
		return nil, fmt.Errorf(
			"%w: it was changed, belongs to another record, or the key file holds another key %s", ErrSealed, id)
	}
	return plain, nil
}

// Current tells whether a text is sealed under the current key.
func (r *Ring) Current(sealed []byte) bool {
	id, _, err := split(sealed)
	return err == nil && id == r.current
}

func split(sealed []byte) (id string, header []byte, err error) {
	if len(sealed) < 2 || sealed[0] != version || len(sealed) < 2+int(sealed[1]) {
		return "", nil, fmt.Errorf("%w: it is not a sealed text", ErrSealed)
	}
	header = sealed[:2+int(sealed[1])]
	id = string(header[2:])
	if !keyID.MatchString(id) {
		return "", nil, fmt.Errorf("%w: it is not a sealed text", ErrSealed)
	}
	return id, header, nil
}

// String hides the keys: a ring never shows them, however it is printed.
func (r *Ring) String() string { return "<secret>" }

// GoString hides them from %#v.
func (r *Ring) GoString() string { return "<secret>" }

// MarshalText hides them from encoders.
func (r *Ring) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }
