// Package audit writes down what happened, durably and so that a later change shows: one record per sign-in decision or
// administrative event, chained by HMAC-SHA-256.
//
// It knows the record, the chain and how to check it, and lets concurrent callers share a transaction. It leaves to
// others where rows are kept (store), how the key is kept (keyring) and what is worth a record (authn and the callers
// of Event).
//
// What the chain shows: a record that was changed, removed, inserted or moved, and records cut off at the end, by
// anybody who can write to the database but has no key. What it cannot show by itself: the whole database replaced by
// an older copy of itself, or emptied. Who must rule that out keeps the number and MAC that Verify returns elsewhere.
//
// A chain that broke is not continued as if nothing had happened, and not mended: see Restart.
package audit

import (
	"context"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Actions of records.
const (
	SignIn           = "sign-in"
	IntegratedSignIn = "integrated sign-in"
	PortalSignIn     = "portal sign-in"   // granted as a whole, or refused at a step
	PasswordChanged  = "password changed" // or refused, on the way of a portal sign-in
	Activation       = "activation"
	Deactivation     = "deactivation"
	CallerRefused    = "caller refused"
	UsersImported    = "users imported"
	UsersSynced      = "users synced" // a run of a source has ended
	UserAdded        = "user added"
	UserProvisioned  = "user provisioned"       // at LifeTime
	LoginsCleared    = "blocked logins cleared" // at LifeTime
	UserChanged      = "user changed"
	FactorEnrolled   = "factor enrolled"
	FactorReset      = "factor reset"
	FactorInvited    = "factor invited" // an administrator made an enrolment code
	SessionsEnded    = "sessions ended" // by an administrator, as the next two
	TokensRevoked    = "tokens revoked"
	Unlocked         = "unlocked"   // failed attempts were forgotten
	SteppedUp        = "stepped up" // an administrator proved a second factor anew, or did not
	KeysRotated      = "keys rotated"
	ConfigChanged    = "configuration changed"
	ConfigExported   = "configuration exported" // with its secrets
	SignInTested     = "sign-in tested"         // by an administrator; nothing came of it
	Expiring         = "expiring"               // certificates and secrets that end soon; once a day
	Restored         = "backup restored"        // an older copy of the database is in place
	WebhookTested    = "webhook tested"         // by an administrator, and whether it was taken
	WebhookResent    = "webhook messages resent"
	Purged           = "audit purged"
	FoundBroken      = "audit found broken"       // by who verified it; for webhooks only, since no chain can vouch for its own break
	VerifyBegun      = "audit verification begun" // by an administrator
	VerifyEnded      = "audit verified"           // by an administrator or the schedule: whether it holds
	Restarted        = "audit restarted"          // by Restart; a record of Event with this action restarts nothing
)

// BreakGlass comes before the action of every attempt at a break-glass account, so that one word finds them all.
const (
	BreakGlass        = "break-glass "
	BreakGlassChanged = BreakGlass + "account changed" // made, removed, activated, given a new password ...
)

// Record is one thing that happened. It has no field for a secret.
type Record struct {
	Seq         int64         `json:"seq"`  // place in the chain, from 1; set by Log
	Time        time.Time     `json:"time"` // kept in microseconds
	ID          string        `json:"id"`   // correlation id
	Action      string        `json:"action"`
	Actor       string        `json:"actor"` // who did it, where that is not the user: an administrator, a caller
	Environment string        `json:"environment"`
	Username    string        `json:"username"` // as typed
	Provider    string        `json:"provider"`
	Subject     string        `json:"subject"`
	ITUser      string        `json:"it_user"`
	Kind        string        `json:"kind"`    // authn.Kind's name; "ok" when granted or done
	Reason      string        `json:"reason"`  // stable code
	Factors     string        `json:"factors"` // joined by commas
	Source      string        `json:"source"`  // address
	Duration    time.Duration `json:"duration_ns"`
	Detail      string        `json:"detail"` // for people to read
}

// Row is a Record as it is kept.
type Row struct {
	Record
	MAC []byte // over the MAC of the row before and the record
}

// Head is what is remembered of both ends of the chain. The zero value is an empty chain; where there are rows but no
// head, it is the number of the last row and nothing else.
type Head struct {
	KeyID     []byte // tells a wrong key from a broken chain
	Seq       int64  // of the last record
	MAC       []byte // of the last record
	PurgedSeq int64  // of the last record that was purged
	PurgedMAC []byte
	Seal      []byte // MAC over the fields above
}

// Chain changes the chain. Each call is one transaction, and calls of all nodes come one after the other.
type Chain interface {
	// AppendAudit hands the head to link and keeps the rows and the head that it returns. link may be called again when
	// the transaction did not happen; its error is returned as it is, and nothing is written.
	AppendAudit(ctx context.Context, link func(Head) ([]Row, Head, error)) error
	// PurgeAudit removes up to limit rows from the front, none at or after the first one that is not before a time. link
	// gets the head and the last row to be removed, and returns the head to keep. It returns how many were removed.
	PurgeAudit(ctx context.Context, before time.Time, limit int, link func(Head, Row) (Head, error)) (int, error)
}

// Reader reads the chain.
type Reader interface {
	AuditHead(ctx context.Context) (Head, error)
	// AuditRows returns up to limit rows with Seq greater than after, in order.
	AuditRows(ctx context.Context, after int64, limit int) ([]Row, error)
}

// Store is both.
type Store interface {
	Chain
	Reader
}

// History is what a person may see of themselves.
type History interface {
	// RecordsOf returns up to limit records about an IT user, newest first, looking no further back than the newest
	// among records of all. They are not verified against the chain: for reading, not for proof.
	RecordsOf(ctx context.Context, user string, among, limit int) ([]Record, error)
}

// FromDecision is the record of a sign-in.
func FromDecision(d authn.Decision) Record {
	action := SignIn
	switch d.Method {
	case authn.MethodIntegrated:
		action = IntegratedSignIn
	case authn.MethodPortal:
		action = PortalSignIn
	case authn.MethodNewPassword:
		action = PasswordChanged
	}
	r := Record{
		Time: d.Time, ID: d.ID, Action: action, Environment: d.Environment, Username: d.Username, Provider: d.Provider,
		Subject: d.Subject, ITUser: d.ITUser, Kind: d.Kind.String(), Reason: d.Reason,
		Factors: strings.Join(d.Factors, ","), Duration: d.Duration,
	}
	if d.Source.IsValid() {
		r.Source = d.Source.String()
	}
	return r
}
