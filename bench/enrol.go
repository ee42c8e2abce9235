package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/keyring"
	"github.com/idbridge/idbridge/mfa"
	"github.com/idbridge/idbridge/store"
)

// totpPeriod is the time step of codes, in seconds (RFC 6238).
const totpPeriod = 30

// enroller gives users a second factor, straight in the store: the command would be started once for each.
type enroller struct {
	rows    *store.Store
	ring    *keyring.Ring
	users   []itusers.User // as username(n)
	secrets [][]byte
}

// enrolAll gives every user a second factor, and returns the secrets.
func (b *bench) enrolAll(settings string) (secrets [][]byte, err error) {
	ring, err := keyring.Load(filepath.Join(b.dir, "master.key"))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	rows, err := store.Open(ctx, b.storeConfig(settings))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	users, err := rows.Users(ctx, itusers.Filter{})
	if err != nil {
		return nil, err
	}
	if len(users) != b.users {
		return nil, fmt.Errorf("%d IT users, want %d", len(users), b.users)
	}
	e := &enroller{rows: rows, ring: ring, users: users, secrets: make([][]byte, len(users))}
	_, err = load{callers: portalCallers, users: len(users)}.run(func() (caller, error) { return e, nil })
	return e.secrets, err
}

func (b *bench) storeConfig(settings string) store.Config {
	if _, dsn, ok := strings.Cut(settings, "dsn: "); ok {
		return store.Config{Driver: store.Postgres, DSN: authn.Secret(dsn)}
	}
	return store.Config{Driver: store.SQLite, Path: filepath.Join(b.dir, "idbridge.db")}
}

// attempt enrols one user with a device that has not seen a code yet, so that the first one counts.
func (e *enroller) attempt(n int) error {
	ctx, secret, user := context.Background(), make([]byte, 20), e.users[n]
	_, _ = rand.Read(secret) // never fails
	d := mfa.Device{ID: rand.Text(), User: user.Key, Created: time.Now(), Confirmed: time.Now(), Name: "bench"}
	var err error
	if d.Sealed, err = e.ring.Seal(secret, mfa.SecretAD(d.User, d.ID)); err != nil {
		return err
	}
	if err := e.rows.AddDevice(ctx, d); err != nil {
		return err
	}
	confirmed, _, err := e.rows.ConfirmDevice(ctx, d, nil)
	if err == nil && (!confirmed || user.Username != username(n)) {
		err = fmt.Errorf("%s was not enrolled", username(n))
	}
	e.secrets[n] = secret
	return err
}

func (e *enroller) close() {}

// totp is the code of a secret at a time step (RFC 6238 with SHA-1, six digits).
func totp(secret []byte, step int64) string {
	m := hmac.New(sha1.New, secret)
	_ = binary.Write(m, binary.BigEndian, step) // a hash takes everything
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}
