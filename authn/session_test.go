package authn_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// memorySessions keeps sessions in memory; what the databases do is tested in store.
type memorySessions struct {
	kept  map[string]authn.Session
	saved int
	down  error
}

func (m *memorySessions) AddSession(_ context.Context, s authn.Session, replaces string) error {
	delete(m.kept, replaces)
	m.kept[s.ID] = s
	return m.down
}

func (m *memorySessions) Session(_ context.Context, id string) (authn.Session, bool, error) {
	s, ok := m.kept[id]
	return s, ok, m.down
}

func (m *memorySessions) SaveSession(_ context.Context, s authn.Session) (bool, error) {
	m.saved++
	if _, ok := m.kept[s.ID]; !ok {
		return false, nil
	}
	m.kept[s.ID] = s
	return true, nil
}

type sessionBench struct {
	authn.Sessions
	rows *memorySessions
	now  time.Time
}

func newSessionBench() *sessionBench {
	b := &sessionBench{rows: &memorySessions{kept: map[string]authn.Session{}}, now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	b.Sessions = authn.Sessions{
		Store: b.rows, Idle: authn.DefaultSessionIdle, Life: authn.DefaultSessionLife, Now: func() time.Time { return b.now },
	}
	return b
}

func (b *sessionBench) begin(t *testing.T, until time.Time) (authn.Secret, authn.Session) {
	t.Helper()
	r := authn.Result{Identity: authn.Identity{Provider: "corp", Subject: "s", Until: until}, User: authn.ITUser{Key: "k-ann", Username: "ann"}}
	handle, s, err := b.Begin(t.Context(), r, "Ann", netip.MustParseAddr("192.0.2.1"), strings.Repeat("a", 300))
	if err != nil {
		t.Fatal(err)
	}
	return handle, s
}

func (b *sessionBench) want(t *testing.T, handle authn.Secret, want bool) {
	t.Helper()
	s, found, err := b.Get(t.Context(), handle)
	if err != nil || found != want || found != (s.User == "k-ann") {
		t.Errorf("after %s: found %v, %+v, %v", b.now.Format("15:04:05"), found, s, err)
	}
}

func TestSession(t *testing.T) {
	b := newSessionBench()
	handle, s := b.begin(t, time.Time{})
	if s.ID == handle.Reveal() || len(s.ID) != 64 || len(handle) < 26 || len(s.Agent) != 256 || !s.Proven.Equal(b.now) {
		t.Errorf("session %+v", s)
	}
	b.want(t, handle, true)
	b.want(t, authn.Secret(s.ID), false)
	b.want(t, "", false)
	b.rows.down = errors.New("disk")
	if _, found, err := b.Get(t.Context(), ""); found || err != nil {
		t.Errorf("a browser without a cookie, without the store: %v, %v", found, err)
	}
	if _, found, err := b.Get(t.Context(), handle); found || authn.KindOf(err) != authn.Unavailable {
		t.Errorf("without the store: %v, %v", found, err)
	}
}

func TestSessionIdle(t *testing.T) {
	b := newSessionBench()
	handle, _ := b.begin(t, time.Time{})
	for range 5 { // used in time, it goes on
		b.now = b.now.Add(authn.DefaultSessionIdle - time.Second)
		b.want(t, handle, true)
	}
	b.now = b.now.Add(authn.DefaultSessionIdle)
	b.want(t, handle, false)
}

// Lapsed is a session that was not used, and none that goes on, is over for another reason, or is another door's.
func TestSessionLapsed(t *testing.T) {
	b := newSessionBench()
	handle, _ := b.begin(t, time.Time{})
	want := func(what string, handle authn.Secret, want bool) {
		t.Helper()
		if s, found, err := b.Lapsed(t.Context(), handle); err != nil || found != want || found != (s.User == "k-ann") {
			t.Errorf("%s: found %v, %+v, %v", what, found, s, err)
		}
	}
	want("one that goes on", handle, false)
	b.now = b.now.Add(authn.DefaultSessionIdle)
	want("one that was not used", handle, true)
	b.want(t, handle, false)
	want("no handle", "", false)
	want("a handle of nobody", "x", false)
	b.Door = "admin"
	want("another door's", handle, false)
	b.Door = ""
	b.rows.down = errors.New("disk")
	if _, found, err := b.Lapsed(t.Context(), handle); found || authn.KindOf(err) != authn.Unavailable {
		t.Errorf("without the store: %v, %v", found, err)
	}
	b.rows.down = nil
	b.now = b.now.Add(authn.DefaultSessionLife)
	want("one whose life is over", handle, false)
}

func TestSessionUseIsNotWrittenDownEachTime(t *testing.T) {
	b := newSessionBench()
	handle, _ := b.begin(t, time.Time{})
	for range 60 {
		b.now = b.now.Add(time.Second)
		b.want(t, handle, true)
	}
	if b.rows.saved != 1 {
		t.Errorf("%d writes in a minute, want 1", b.rows.saved)
	}
}

func TestSessionEnds(t *testing.T) {
	for name, until := range map[string]time.Duration{"its life": 0, "the source's session": 2 * time.Hour} {
		b := newSessionBench()
		end, capped := b.now.Add(authn.DefaultSessionLife), time.Time{}
		if until > 0 {
			end, capped = b.now.Add(until), b.now.Add(until)
		}
		handle, _ := b.begin(t, capped)
		for b.now.Before(end.Add(-15 * time.Minute)) {
			b.now = b.now.Add(15 * time.Minute)
			b.want(t, handle, b.now.Before(end))
		}
		b.now = end
		if b.want(t, handle, false); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestSessionEndedMeanwhile(t *testing.T) {
	b := newSessionBench()
	handle, s := b.begin(t, time.Time{})
	b.now = b.now.Add(2 * time.Minute)
	b.rows.kept[s.ID] = s
	found := map[string]authn.Session{s.ID: s}
	b.Store = &endedMeanwhile{b.rows, found}
	b.want(t, handle, false)
}

// endedMeanwhile still reads a session that is ended before it is saved.
type endedMeanwhile struct {
	*memorySessions
	read map[string]authn.Session
}

func (e *endedMeanwhile) Session(_ context.Context, id string) (authn.Session, bool, error) {
	clear(e.kept)
	return e.read[id], true, nil
}

func TestSessionRenewed(t *testing.T) {
	b := newSessionBench()
	old, s := b.begin(t, time.Time{})
	b.now = b.now.Add(5 * time.Minute)
	fresh, renewed, err := b.Renew(t.Context(), s)
	if err != nil || fresh == old || !renewed.Proven.Equal(b.now) || !renewed.Expires.Equal(s.Expires) {
		t.Errorf("%+v, %v", renewed, err)
	}
	b.want(t, old, false)
	b.want(t, fresh, true)
}

// A handle opens the door that gave it and no other.
func TestSessionOfAnotherDoor(t *testing.T) {
	b := newSessionBench()
	handle, session := b.begin(t, time.Time{})
	b.Door = "admin"
	b.want(t, handle, false)
	if b.Live(session) {
		t.Error("another door's session is listed")
	}
	handle, session = b.begin(t, time.Time{})
	if b.want(t, handle, true); session.Door != "admin" {
		t.Errorf("of door %q", session.Door)
	}
	renewed, _, err := b.Renew(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	b.want(t, renewed, true)
	b.Door = ""
	b.want(t, renewed, false)
}
