// Package webhook tells other systems of security events: each is a signed POST, sent again until somebody takes it.
//
// It knows which records of the audit are events, what a message looks like, how it is signed, and when it is sent again or
// given up. It leaves to others where messages wait (store: they are made in the transaction that moves this follower's
// place in the audit, so that none is lost or made twice) and who is to be told (the configuration). A message may arrive
// twice, after a crash in the middle of one; its id is the same then.
package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// Events.
const (
	BreakGlassUsed       = "break_glass.used"      // somebody is in with a break-glass account
	BreakGlassAttempt    = "break_glass.attempt"   // somebody tried, and is not
	BreakGlassChanged    = "break_glass.changed"   // made, removed, activated ...
	UserLocked           = "user.locked"           // too many failed attempts; once in half an hour and user
	UserUnlocked         = "user.unlocked"         // by an administrator
	Untrusted            = "sign_in.untrusted"     // a signature, audience, time, replay or state check failed; once in 5 minutes and reason
	CallerRefused        = "caller.refused"        // a call that does not come from an environment; once in five minutes and reason
	FactorReset          = "factor.reset"          // second factors were taken away
	FactorEnrolled       = "factor.enrolled"       // one was set up
	ConfigurationChanged = "configuration.changed" // another version is in force
	KeysRotated          = "keys.rotated"
	SourceFailed         = "source.failed"   // a run of a source of IT users failed, or was stopped by its limit
	AuditBroken          = "audit.broken"    // the chain does not hold, as somebody found who verified it, or was restarted openly
	BackupRestored       = "backup.restored" // an older copy of the database is in place
	Expiring             = "expiring"        // a certificate or a secret ends soon
	Test                 = "test"            // idbridge webhooks test
)

// Events are all that an endpoint may ask for.
func Events() []string {
	return []string{BreakGlassUsed, BreakGlassAttempt, BreakGlassChanged, UserLocked, UserUnlocked, Untrusted, CallerRefused,
		FactorReset, FactorEnrolled, ConfigurationChanged, KeysRotated, SourceFailed, AuditBroken, BackupRestored,
		Expiring}
}

// EventOf is the event that a record tells of; ok is false for most.
func EventOf(r audit.Record) (event string, ok bool) {
	switch refused := r.Kind != authn.OK.String(); {
	case r.Action == audit.Restarted, r.Action == audit.FoundBroken: // the former's record has no kind
		return AuditBroken, true
	case r.Action == audit.VerifyEnded: // that it does not hold was told by who found it, as this record may not be written
		return "", false
	case r.Action == audit.BreakGlassChanged:
		return BreakGlassChanged, true
	case strings.HasPrefix(r.Action, audit.BreakGlass) && refused:
		return BreakGlassAttempt, true
	case strings.HasPrefix(r.Action, audit.BreakGlass):
		return BreakGlassUsed, true
	case r.Action == audit.CallerRefused:
		return CallerRefused, true
	case r.Kind == authn.Untrusted.String():
		return Untrusted, true
	case r.Reason == "throttled":
		return UserLocked, true
	case r.Action == audit.UsersSynced && refused:
		return SourceFailed, true
	}
	event, ok = actions[r.Action]
	return event, ok && r.Kind == authn.OK.String()
}

// actions are those of administrators that are events when they are done.
var actions = map[string]string{
	audit.Unlocked: UserUnlocked, audit.FactorReset: FactorReset, audit.FactorEnrolled: FactorEnrolled, audit.KeysRotated: KeysRotated,
	audit.Expiring: Expiring, audit.Restored: BackupRestored, audit.ConfigChanged: ConfigurationChanged,
}

// once is how often strangers can cause a message of one event: what is the same within that time is told once.
var once = map[string]time.Duration{
	UserLocked: 30 * time.Minute, Untrusted: 5 * time.Minute, CallerRefused: 5 * time.Minute, BreakGlassAttempt: time.Minute,
}

// Endpoint is somebody who is told.
type Endpoint struct {
	ID      string
	URL     string
	Secret  authn.Secret // that messages are signed with
	Events  []string     // empty: all
	CA      []byte       // PEM: the only authorities that are trusted; empty: the system's
	Timeout time.Duration
}

// Wants tells whether the endpoint is told of an event.
func (e Endpoint) Wants(event string) bool {
	return event == Test || len(e.Events) == 0 || slices.Contains(e.Events, event)
}

// Message is one event for one endpoint.
type Message struct {
	ID       string    `json:"id"`
	Endpoint string    `json:"endpoint"`
	Event    string    `json:"event"`
	Created  time.Time `json:"created"`
	Body     []byte    `json:"-"`
	State    State     `json:"state"`
	Attempts int       `json:"attempts"`
	Due      time.Time `json:"due"` // when it is sent next
	Trouble  string    `json:"trouble,omitempty"`
}

// State of a Message.
type State string

// States.
const (
	Waiting State = "waiting"
	Sent    State = "sent" // kept for a day
	Dead    State = "dead" // given up; idbridge webhooks resend
)

// body is what is sent. The audit has no field for a secret.
type body struct {
	ID     string       `json:"id"`
	Event  string       `json:"event"`
	Time   time.Time    `json:"time"`
	Record audit.Record `json:"record"`
}

// MaxAge is how old a record may be to be told: who switches an endpoint on does not want last year's events.
const MaxAge = 24 * time.Hour

// Messages are those that a record is worth now.
func Messages(endpoints []Endpoint, r audit.Record, now time.Time) (list []Message) {
	event, ok := EventOf(r)
	if !ok || now.Sub(r.Time) > MaxAge {
		return nil
	}
	for _, e := range endpoints {
		if e.Wants(event) {
			list = append(list, newMessage(e, event, r, now))
		}
	}
	return list
}

func newMessage(e Endpoint, event string, r audit.Record, now time.Time) Message {
	id := fmt.Sprintf("%s-%d-%x", event, r.Seq, r.Time.UnixMilli()) // after a restored backup numbers come a second time
	if span := once[event]; span > 0 {
		who := fmt.Sprintf("%q %q %q %q %d", r.Provider, authn.FoldName(known(r.ITUser, r.Username)), r.Reason, r.Environment,
			r.Time.Truncate(span).Unix())
		sum := sha256.Sum256([]byte(who))
		id = event + "-" + hex.EncodeToString(sum[:12])
	}
	text, _ := json.Marshal(body{id, event, r.Time, r}) // strings, numbers and times only
	return Message{ID: id, Endpoint: e.ID, Event: event, Created: now, Body: text, State: Waiting, Due: now}
}

func known(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Outbox keeps messages.
type Outbox interface {
	// PostAudit turns up to limit records behind the place into messages, and moves the place, in one transaction. A message
	// that is there already is not made again. The first call begins at the end of the audit. It returns how many records it
	// has looked at.
	PostAudit(ctx context.Context, limit int, turn func(audit.Record) []Message) (int, error)
	// DueMessage takes a message of an endpoint that waits and is due, if there is one, and puts its due time off, so that
	// it is sent again should its outcome never be known.
	DueMessage(ctx context.Context, endpoint string, now, putOff time.Time) (Message, bool, error)
	// SettleMessage keeps state, attempts, due time and trouble of a message.
	SettleMessage(ctx context.Context, m Message) error
}

// Leases let one node at a time send to an endpoint.
type Leases interface {
	// Lease takes or prolongs a lease until a time, and tells whether the holder has it.
	Lease(ctx context.Context, name, holder string, now, until time.Time) (bool, error)
}

// TestMessage is one that an administrator sends to see whether it is taken.
func TestMessage(e Endpoint, r audit.Record) Message { return newMessage(e, Test, r, r.Time) }
