package altcha

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

type rig struct {
	*Issuer
	now  time.Time
	used map[string]bool
	down error
}

func newRig() *rig {
	r := &rig{now: time.Unix(1_795_550_000, 0), used: map[string]bool{}}
	r.Issuer = &Issuer{
		Key: []byte("a key for tests, of thirty-two b"), Life: DefaultLife, Now: func() time.Time { return r.now },
		Once: func(_ context.Context, nonce string, _ time.Time) (bool, error) {
			first := !r.used[nonce]
			r.used[nonce] = true
			return first, r.down
		},
	}
	return r
}

// easy is a challenge of the rig's with fewer iterations, so that tests do not work for seconds.
func (r *rig) easy() Challenge {
	p := r.New().Parameters
	p.Cost = 1
	return Challenge{p, r.sign(p)}
}

// solve is what the widget does.
func solve(t *testing.T, p Parameters) solution {
	t.Helper()
	nonce, _ := hex.DecodeString(p.Nonce)
	salt, _ := hex.DecodeString(p.Salt)
	for n := range uint32(100_000) {
		counter := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		key, err := pbkdf2.Key(sha256.New, string(append(bytes.Clone(nonce), counter...)), salt, p.Cost, p.KeyLength)
		if err != nil {
			t.Fatal(err)
		}
		if text := hex.EncodeToString(key); strings.HasPrefix(text, p.KeyPrefix) {
			return solution{Counter: n, DerivedKey: text}
		}
	}
	t.Fatal("no solution")
	return solution{}
}

func payload(t *testing.T, c Challenge, s solution) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"challenge": c, "solution": s})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

// TestTheirSolution was made by altcha-lib 2.8.0, the protocol's reference.
func TestTheirSolution(t *testing.T) {
	p := Parameters{
		Algorithm: algorithm, Cost: 1000, ExpiresAt: 1795560000, KeyLength: 32, KeyPrefix: "00",
		Nonce: "000102030405060708090a0b0c0d0e0f", Salt: "f0e0d0c0b0a090807060504030201000",
	}
	s := solution{Counter: 102, DerivedKey: "00a2f338a64e065c76f6fc9a4116bf0e5d5e6922026ec50c264bf8f033c5cf4e"}
	if err := p.solvedBy(s); err != nil {
		t.Error(err)
	}
	s.Counter++
	if err := p.solvedBy(s); !errors.Is(err, ErrUnsolved) {
		t.Errorf("another counter: %v", err)
	}
}

func TestVerifyOnce(t *testing.T) {
	r := newRig()
	if p := r.New().Parameters; p.Cost != 5000 || p.KeyPrefix != "00" || p.ExpiresAt != r.now.Add(DefaultLife).Unix() {
		t.Errorf("browsers are asked for %+v", p)
	}
	c := r.easy()
	answer := payload(t, c, solve(t, c.Parameters))
	if err := r.Verify(t.Context(), answer); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(t.Context(), answer); !errors.Is(err, ErrUsed) {
		t.Errorf("again: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	cases := map[string]struct {
		spoil func(*rig, *Challenge, *solution)
		want  error
	}{
		"an easier prefix":     {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.KeyPrefix = "" }, ErrForged},
		"fewer iterations":     {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.Cost = 2 }, ErrForged},
		"longer life":          {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.ExpiresAt++ }, ErrForged},
		"another nonce":        {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.Nonce = "00" }, ErrForged},
		"another salt":         {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.Salt = "00" }, ErrForged},
		"another algorithm":    {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.Algorithm = "SHA-1" }, ErrForged},
		"another length":       {func(_ *rig, c *Challenge, _ *solution) { c.Parameters.KeyLength = 1 }, ErrForged},
		"another issuer's":     {func(r *rig, _ *Challenge, _ *solution) { r.Key = []byte("other") }, ErrForged},
		"no signature":         {func(_ *rig, c *Challenge, _ *solution) { c.Signature = "" }, ErrForged},
		"expired":              {func(r *rig, _ *Challenge, _ *solution) { r.now = r.now.Add(DefaultLife) }, ErrExpired},
		"a key made up":        {func(_ *rig, _ *Challenge, s *solution) { s.DerivedKey = "00" + s.DerivedKey[2:62] + "ff" }, ErrUnsolved},
		"a key of another try": {func(_ *rig, _ *Challenge, s *solution) { s.Counter++ }, ErrUnsolved},
		"a key that is none":   {func(_ *rig, _ *Challenge, s *solution) { s.DerivedKey = "zz" }, ErrMalformed},
		"a try without luck": {func(_ *rig, c *Challenge, s *solution) {
			nonce, _ := hex.DecodeString(c.Parameters.Nonce)
			salt, _ := hex.DecodeString(c.Parameters.Salt)
			for s.Counter = 0; strings.HasPrefix(s.DerivedKey, "00"); s.Counter++ {
				key, _ := pbkdf2.Key(sha256.New, string(append(nonce, 0, 0, 0, byte(s.Counter))), salt, 1, keyLength)
				s.DerivedKey = hex.EncodeToString(key)
			}
			s.Counter--
		}, ErrUnsolved},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			challenge := r.easy()
			s := solve(t, challenge.Parameters)
			c.spoil(r, &challenge, &s)
			if err := r.Verify(t.Context(), payload(t, challenge, s)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if len(r.used) != 0 {
				t.Error("a refused answer used its challenge up")
			}
		})
	}
}

func TestVerifyMalformed(t *testing.T) {
	r := newRig()
	for _, text := range []string{"", "!", "bm8ganNvbg==", "e30=", strings.Repeat("A", maxPayload+4)} {
		err := r.Verify(t.Context(), text)
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForged) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestVerifyWithoutMemory(t *testing.T) {
	r := newRig()
	r.down = errors.New("disk")
	c := r.easy()
	if err := r.Verify(t.Context(), payload(t, c, solve(t, c.Parameters))); !errors.Is(err, r.down) {
		t.Errorf("got %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	r := newRig()
	f.Add("e30=")
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"challenge":{"parameters":{"cost":1}},"solution":{"counter":1}}`)))
	f.Fuzz(func(t *testing.T, text string) {
		if r.Verify(t.Context(), text) == nil {
			t.Errorf("%q was taken for an answer", text)
		}
	})
}

// Where there is no JavaScript, time is the price: paid once, and only with a challenge of ours.
func TestWaited(t *testing.T) {
	r := newRig()
	wait := func(c Challenge) error {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return r.Waited(t.Context(), string(text), 10*time.Second)
	}
	want := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	c := r.New()
	r.now = r.now.Add(9 * time.Second)
	want("after nine seconds", wait(c), ErrUnsolved)
	r.now = r.now.Add(time.Second)
	forged := c
	forged.Parameters.ExpiresAt--
	want("made older", wait(forged), ErrForged)
	want("after ten seconds", wait(c), nil)
	want("again", wait(c), ErrUsed)
	late := r.New()
	r.now = r.now.Add(DefaultLife)
	want("after its life", wait(late), ErrExpired)
	want("no challenge", r.Waited(t.Context(), "{", 0), ErrMalformed)
	want("too long", r.Waited(t.Context(), strings.Repeat(" ", maxPayload)+"{}", 0), ErrMalformed)
	r.down = errors.New("disk")
	fresh := r.New()
	r.now = r.now.Add(10 * time.Second)
	want("without a store", wait(fresh), r.down)
}
