package authn

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"
)

// Defaults of Sessions.
const (
	DefaultSessionIdle = 30 * time.Minute
	DefaultSessionLife = 10 * time.Hour
	touchEvery         = time.Minute // a session's last use is not written down more often
	maxAgent           = 256         // bytes of the browser's own name that are kept
)

// Session is somebody signed in with a browser, as it is kept.
type Session struct {
	ID       string   // hash of the handle that only the browser knows
	User     string   // ITUser.Key
	Username string   // the IT user's name
	Typed    string   // the name that was typed, if one was
	Door     string   // the only door that it opens; empty: the users' portal
	Identity Identity // how they signed in
	Created  time.Time
	Proven   time.Time // when a factor was last proven
	Seen     time.Time // last use, to the minute
	Expires  time.Time // however often it is used
	Source   netip.Addr
	Agent    string // how the browser calls itself
	Data     []byte // what a door keeps with it
}

// SessionStore keeps sessions, for all nodes at once.
type SessionStore interface {
	// AddSession keeps a new session; where replaces is not empty, in the place of that one, in one transaction.
	AddSession(ctx context.Context, s Session, replaces string) error
	// Session returns a session whose IT user is active; found is false when there is none.
	Session(ctx context.Context, id string) (s Session, found bool, err error)
	// SaveSession keeps Seen, Proven and Data of a session that is still there, and tells whether it is.
	SaveSession(ctx context.Context, s Session) (bool, error)
}

// SessionRoster is what an owner sees and does with their sessions.
type SessionRoster interface {
	// Sessions returns a user's sessions, newest first; those that are over too, until they are purged.
	Sessions(ctx context.Context, user string) ([]Session, error)
	// EndSessions ends one session of a user, all of them when id is empty, and tells how many there were.
	EndSessions(ctx context.Context, user, id string) (int, error)
}

// Sessions says how long people stay signed in. It is safe for concurrent use.
type Sessions struct {
	Store SessionStore
	Idle  time.Duration // without a request
	Life  time.Duration // in all
	Now   func() time.Time
	Door  string // whose sessions these are: another door's handle opens nothing here
}

// Begin makes a session for somebody who has just signed in, and the handle for their browser, which is kept nowhere.
// Unavailable when the store does not answer.
func (s Sessions) Begin(ctx context.Context, r Result, typed string, source netip.Addr, agent string) (Secret, Session, error) {
	now := s.Now()
	session := Session{
		User: r.User.Key, Username: r.User.Username, Typed: typed, Identity: r.Identity, Door: s.Door,
		Created: now, Proven: now, Seen: now, Expires: now.Add(s.Life), Source: source, Agent: cutTo(agent, maxAgent),
	}
	if until := r.Identity.Until; !until.IsZero() && until.Before(session.Expires) {
		session.Expires = until
	}
	return s.keep(ctx, session, "")
}

// Renew gives the session a new handle, as every change of privilege does; the old one is worth nothing then.
func (s Sessions) Renew(ctx context.Context, session Session) (Secret, Session, error) {
	session.Proven = s.Now()
	return s.keep(ctx, session, session.ID)
}

func (s Sessions) keep(ctx context.Context, session Session, replaces string) (Secret, Session, error) {
	handle := newHandle()
	session.ID = hashHandle(handle)
	if err := s.Store.AddSession(ctx, session, replaces); err != nil {
		return "", Session{}, storeError(err)
	}
	return handle, session, nil
}

// Get returns the session of a handle, and notes that it was used. found is false when there is none, when it is over or
// another door's, or when its IT user was disabled. Unavailable when the store does not answer: nobody is signed in then.
func (s Sessions) Get(ctx context.Context, handle Secret) (session Session, found bool, err error) {
	if handle == "" {
		return Session{}, false, nil
	}
	session, found, err = s.Store.Session(ctx, hashHandle(handle))
	if err != nil || !found || s.over(session) {
		return Session{}, false, storeError(err)
	}
	if now := s.Now(); now.Sub(session.Seen) >= touchEvery {
		session.Seen = now
		if found, err = s.Store.SaveSession(ctx, session); err != nil || !found {
			return Session{}, false, storeError(err)
		}
	}
	return session, true, nil
}

// Lapsed returns the session of a handle that has ended because it was not used, and for no other reason. It signs nobody in: it
// tells whose browser this was.
func (s Sessions) Lapsed(ctx context.Context, handle Secret) (session Session, found bool, err error) {
	if handle == "" {
		return Session{}, false, nil
	}
	session, found, err = s.Store.Session(ctx, hashHandle(handle))
	if err != nil || !found || session.Door != s.Door || !s.Now().Before(session.Expires) || !s.over(session) {
		return Session{}, false, storeError(err)
	}
	return session, true, nil
}

// Live says whether a session of a SessionRoster is one of this door's, and not over yet.
func (s Sessions) Live(session Session) bool { return !s.over(session) }

func (s Sessions) over(session Session) bool {
	now := s.Now()
	return session.Door != s.Door || !now.Before(session.Expires) || now.Sub(session.Seen) >= s.Idle
}

// newHandle is a random text of 130 bits that stands for a row on the server.
func newHandle() Secret { return Secret(rand.Text()) }

// hashHandle is how a handle is kept: who reads the rows cannot take them over.
func hashHandle(handle Secret) string {
	sum := sha256.Sum256([]byte("idbridge handle\x00" + string(handle)))
	return hex.EncodeToString(sum[:])
}
