package main

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// TestWhatABreakGlassAccountBeganEnds with its window: its own sessions and tokens, and nobody else's.
func TestWhatABreakGlassAccountBeganEnds(t *testing.T) {
	s := configured(t, nil)
	text, err := os.ReadFile(s.file("idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const glass = "  - {id: glass, type: local, match: {pattern: 'bg-.+'}}\n"
	s.write(t, "idbridge.yaml", strings.Replace(string(text), "  - {id: corp, ", glass+"  - {id: corp, ", 1))
	s.write(t, "users.csv", "username,id:one\nbg-ann,1\n")
	run := func(args ...string) string {
		t.Helper()
		var out, problems bytes.Buffer
		if code := Run(t.Context(), append(args, "--config", s.file("idbridge.yaml")), bytes.NewReader(nil), &out, &problems); code != exitOK {
			t.Fatalf("%v: %d, %s", args, code, &problems)
		}
		return out.String()
	}
	run("users", "import", s.file("users.csv"))
	run("breakglass", "add", "bg-ann")

	c, err := loadConfig(s.file("idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := openBackend(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	account, found, err := b.store.LocalAccount(t.Context(), "bg-ann")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	user, err := b.findUser(t.Context(), "bg-ann")
	if err != nil {
		t.Fatal(err)
	}
	for _, identity := range []authn.Identity{
		{Provider: "glass", Subject: account.Subject, Username: "bg-ann"}, {Provider: "corp", Subject: "other", Username: "ann"},
	} {
		r := authn.Result{Identity: identity, User: user}
		sessions := authn.Sessions{Store: b.store, Idle: time.Hour, Life: time.Hour, Now: time.Now}
		if _, _, err := sessions.Begin(t.Context(), r, "", netip.Addr{}, ""); err != nil {
			t.Fatal(err)
		}
		_, token := authn.NewToken(r, nil, authn.TokenLife{}, time.Now())
		if err := b.store.AddToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := run("breakglass", "deactivate", "bg-ann"), "bg-ann: not active any more; 1 session(s) ended, 1 token(s) revoked\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	sessions, err := b.store.Sessions(t.Context(), user.Key)
	tokens, tokensErr := b.store.Tokens(t.Context(), user.Key, time.Now())
	if err != nil || tokensErr != nil || len(sessions) != 1 || sessions[0].Identity.Provider != "corp" ||
		len(tokens) != 1 || tokens[0].Identity.Provider != "corp" {
		t.Errorf("left: %+v, %v; %+v, %v", sessions, err, tokens, tokensErr)
	}
}
