package saml

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
)

// TestTheLogOfMessages: each message, in and out, good and refused; their text only when that is switched on.
func TestTheLogOfMessages(t *testing.T) {
	s := registered(t, testenv.SAMLParty{SignAssertion: true}, nil)
	b := s.idp.Browser("ann", "pw-ann")
	pending, reply := s.answer(t, b)
	i, err := s.Finish(t.Context(), pending, reply)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Finish(t.Context(), pending, reply)
	s.config.LogMessages = true
	to, err := s.signOut(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	s.deliver(t, b.Go(t, to.URL, to.Fields))

	want := []Message{
		{Direction: "out", Type: "AuthnRequest"}, {Direction: "in", Type: "Response", Username: "ann"},
		{Direction: "in", Type: "Response", Reason: "replayed"},
		{Direction: "out", Type: "LogoutRequest"}, {Direction: "in", Type: "LogoutResponse"},
	}
	if len(s.mem.messages) != len(want) {
		t.Fatalf("%+v", s.mem.messages)
	}
	for n, m := range s.mem.messages {
		w := want[n]
		if m.Direction != w.Direction || m.Type != w.Type || m.Username != w.Username || m.Reason != w.Reason ||
			m.Provider != "corp" || m.ID == "" || m.At.IsZero() || m.Message == "" || (m.Direction == "in") != (m.InResponseTo != "") {
			t.Errorf("%+v, want %+v", m, w)
		}
		if kept := strings.Contains(string(m.Body), w.Type); kept != (n >= 3) {
			t.Errorf("%s: the text is kept: %t", m.Type, kept)
		}
	}
	if first, answer := s.mem.messages[0], s.mem.messages[1]; answer.InResponseTo != first.Message {
		t.Errorf("the answer is to %s, asked was %s", answer.InResponseTo, first.Message)
	}
}

// TestStrangersCannotFillTheLog: what anybody can post is written down no more than sixty times a minute, and that somebody
// begins a sign-in no more than 300 times.
func TestStrangersCannotFillTheLog(t *testing.T) {
	s, _ := lone(t)
	start := time.Now().Truncate(time.Minute)
	s.now = func() time.Time { return start }
	post := func(times int) {
		for range times {
			r := httptest.NewRequest(http.MethodPost, "/saml/corp/slo", strings.NewReader("SAMLRequest=PGEvPg%3D%3D"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			s.sp.Handler().ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	post(100)
	if n := len(s.mem.messages); n != refusedPerMinute || s.mem.messages[0].Reason != "wrong_root" {
		t.Errorf("%d messages, %+v", n, s.mem.messages[0])
	}
	s.now = func() time.Time { return start.Add(time.Minute) }
	post(1)
	if n := len(s.mem.messages); n != refusedPerMinute+1 {
		t.Errorf("%d messages a minute later", n)
	}

	before := len(s.mem.messages)
	for range begunPerMinute + 20 {
		if _, err := s.Begin(t.Context(), authn.Ask{State: "state"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.mem.messages) - before; n != begunPerMinute {
		t.Errorf("%d beginnings are written down", n)
	}
	s.now = func() time.Time { return start.Add(2 * time.Minute) }
	if _, err := s.Begin(t.Context(), authn.Ask{State: "state"}); err != nil || len(s.mem.messages)-before != begunPerMinute+1 {
		t.Errorf("%d a minute later, %v", len(s.mem.messages)-before, err)
	}
}
