package main

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"os"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/idbridge/idbridge/authn"
)

// lent is a provider that generations lend each other: one that a change leaves as it is keeps its connections, and what it
// remembers of its directory. The last generation that has it closes it.
type lent struct {
	provider authn.Provider
	config   ProviderConfig
	files    string // fingerprint of what is in the files that it names
	users    *atomic.Int64
}

// lending is what a generation has of such providers, for the next one. It is asked while that generation is in force, so
// none of them closes meanwhile.
type lending []lent

// take is the provider of a configuration: that of the generation before, or a fresh one.
func (l lending) take(c ProviderConfig, k kind, fresh func() (authn.Provider, error)) (lent, error) {
	if !k.lends {
		p, err := fresh()
		return lent{provider: p}, err
	}
	files := filesOf(c.Settings)
	for _, one := range l {
		if one.users != nil && one.files == files && reflect.DeepEqual(one.config, c) {
			one.users.Add(1)
			return one, nil
		}
	}
	p, err := fresh()
	one := lent{p, c, files, &atomic.Int64{}}
	one.users.Add(1)
	if closes := p.Close; closes != nil {
		one.provider.Close = func() {
			if one.users.Add(-1) == 0 {
				closes()
			}
		}
	}
	return one, err
}

// filesOf is a fingerprint of the files that settings name: a new certificate under an old name is a change too.
func filesOf(settings any) string {
	sum := sha256.New()
	addFiles(sum, reflect.ValueOf(settings))
	return hex.EncodeToString(sum.Sum(nil))
}

func addFiles(sum hash.Hash, v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			addFiles(sum, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if !strings.HasSuffix(key, "_file") || field.Type.Kind() != reflect.String {
				addFiles(sum, v.Field(i))
				continue
			}
			text, err := os.ReadFile(v.Field(i).String())
			one := sha256.Sum256(text)
			sum.Write(append(one[:], map[bool]byte{true: 1}[err == nil]))
		}
	}
}
