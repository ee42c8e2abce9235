package keyring_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/keyring"
)

func line(t *testing.T, id string) string {
	t.Helper()
	l, err := keyring.Generate(id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func ring(t *testing.T, lines ...string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Parse(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func seal(t *testing.T, r *keyring.Ring, plain, ad string) []byte {
	t.Helper()
	sealed, err := r.Seal([]byte(plain), []byte(ad))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealedOpensOnlyForItsOwnUse(t *testing.T) {
	r := ring(t, line(t, "a"))
	sealed := seal(t, r, "plain", "ann/1")
	if plain, err := r.Open(sealed, []byte("ann/1")); err != nil || string(plain) != "plain" {
		t.Fatalf("%q, %v", plain, err)
	}
	if _, err := r.Open(sealed, []byte("bob/1")); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("opened for another user: %v", err)
	}
	if bytes.Equal(sealed, seal(t, r, "plain", "ann/1")) {
		t.Error("sealed twice to the same bytes: the nonce repeats")
	}
	if bytes.Contains(sealed, []byte("plain")) {
		t.Error("the plain text shows")
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	r := ring(t, line(t, "a"), line(t, "b"))
	sealed := seal(t, r, "plain", "ad")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 3 // turns key id a into b as well
		if _, err := r.Open(changed, []byte("ad")); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := r.Open(sealed[:n], []byte("ad")); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
}

// The header is bound too: with the same key under two ids, a text sealed as one does not open as the other.
func TestTheKeyIDIsBound(t *testing.T) {
	a := line(t, "a")
	r := ring(t, a, "b"+a[1:])
	sealed := seal(t, r, "plain", "ad")
	sealed[2] = 'b'
	if _, err := r.Open(sealed, []byte("ad")); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("opened under an exchanged key id: %v", err)
	}
}

func TestOlderKeysOpenAndUnknownKeysSayWhatToDo(t *testing.T) {
	a, b := line(t, "2025"), line(t, "2026")
	sealed := seal(t, ring(t, a), "plain", "ad")
	both := ring(t, "# newest first", "", b, " "+a+"\r")
	if plain, err := both.Open(sealed, []byte("ad")); err != nil || string(plain) != "plain" {
		t.Errorf("%q, %v", plain, err)
	}
	if both.Current(sealed) || !both.Current(seal(t, both, "", "")) || both.CurrentID() != "2026" {
		t.Error("the first key of the file is the current one")
	}
	_, err := ring(t, b).Open(sealed, []byte("ad"))
	if err == nil || !strings.Contains(err.Error(), "sealed under key 2025, which is not in the key file") {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	a := line(t, "a")
	for text, want := range map[string]string{
		"":                       "holds no key",
		"# only a comment":       "holds no key",
		a + "\n" + a:             "key id a is there twice",
		"a:c2hvcnQ=":             "key a is not 32 bytes of base64",
		"a:" + a[2:len(a)-1]:     "key a is not 32 bytes of base64",
		a[2:]:                    "is not ID:BASE64",
		"a b:" + a[2:]:           "is not ID:BASE64",
		":" + a[2:]:              "is not ID:BASE64",
		"a\x1b:" + a[2:]:         "is not ID:BASE64",
		line(t, "b") + ",a:oops": "entry 2: key a",
	} {
		_, err := keyring.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), a[5:20]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	if _, err := keyring.Generate("a b"); err == nil {
		t.Error("a key id with a space in it")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text string, mode os.FileMode) error {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keyring.Load(path)
		return err
	}
	if err := write(line(t, "a")+"\n", 0o600); err != nil {
		t.Error(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := write(line(t, "a"), mode); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := write("", 0o600); err == nil || !strings.Contains(err.Error(), "holds no key") {
		t.Errorf("empty: %v", err)
	}
	if err := write(strings.Repeat("#\n", 1<<16), 0o600); err == nil || !strings.Contains(err.Error(), "64 KiB") {
		t.Errorf("too long: %v", err)
	}
	if _, err := keyring.Load(path + "-not-there"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestKeysFromTheEnvironment(t *testing.T) {
	t.Setenv("IDBRIDGE_TEST_KEYS", line(t, "new")+","+line(t, "old"))
	r, err := keyring.LoadEnv("IDBRIDGE_TEST_KEYS")
	if err != nil || r.CurrentID() != "new" {
		t.Errorf("%v", err)
	}
	if _, err := keyring.LoadEnv("IDBRIDGE_TEST_UNSET"); err == nil || !strings.Contains(err.Error(), "IDBRIDGE_TEST_UNSET") {
		t.Error(err)
	}
}

func TestARingNeverShowsItself(t *testing.T) {
	r := ring(t, line(t, "a"))
	j, err := json.Marshal(map[string]any{"ring": r})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(r), fmt.Sprintf("%+v %#v %s", r, r, r)} {
		if strings.Trim(strings.ReplaceAll(text, "<secret>", ""), " ") != "" {
			t.Errorf("%q", text)
		}
	}
	if !strings.Contains(string(j), "secret") || strings.Contains(string(j), "keys") {
		t.Errorf("%s", j)
	}
}
