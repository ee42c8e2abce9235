package authn

import (
	"errors"
	"fmt"
)

// Kind is what a caller or a user may learn of an error, and what decides how it is treated. It is itself an error, so
// errors.Is(err, authn.Unavailable) works.
type Kind uint8

// The kinds. docs/errors.md says for each what it counts as and what each door answers.
const (
	Internal       Kind = iota // a bug; also the kind of every foreign error
	BadCredentials             // unknown user, wrong password, wrong code: the only kind that counts as a failed attempt
	CodeRequired               // the password is right, the code is missing
	NotEnrolled                // policy wants a second factor that is not set up
	Locked                     // throttled here, or disabled, expired or locked at the source
	NotMapped                  // authenticated, but no active IT user on this environment
	Untrusted                  // a signature, audience, time, replay or state check failed: raises an alert
	Unavailable                // a source is silent, or did not answer in time: never counts
	Unsuitable                 // a new password that the source's rules refuse: never counts
	OK                         // no error; only in a Decision
)

var kindNames = [...]string{
	Internal: "internal", BadCredentials: "bad_credentials", CodeRequired: "code_required", NotEnrolled: "not_enrolled",
	Locked: "locked", NotMapped: "not_mapped", Untrusted: "untrusted", Unavailable: "unavailable",
	Unsuitable: "unsuitable", OK: "ok",
}

// Kinds are all kinds of error, without OK.
func Kinds() []Kind {
	return []Kind{Internal, BadCredentials, CodeRequired, NotEnrolled, Locked, NotMapped, Untrusted, Unavailable, Unsuitable}
}

// String is the stable name used in the audit, in logs and as a metric label.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

func (k Kind) Error() string { return k.String() }

// Error is an error of a Kind. Kind decides what the outside sees; Reason, Provider and Err are for the audit and the log.
type Error struct {
	Kind     Kind
	Reason   string // stable snake_case code: wrong_password, account_disabled, throttled ...
	Provider string
	Err      error // may be nil
}

// Errorf makes an Error with a cause; the format takes %w like fmt.Errorf.
func Errorf(k Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: k, Reason: reason, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string {
	s := e.Kind.String()
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	if e.Provider != "" {
		s = e.Provider + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives both the Kind and the cause, so errors.Is finds either.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf is the kind of the outermost Error or Kind in err's tree; Internal for a foreign error, OK for nil.
func KindOf(err error) Kind {
	if err == nil {
		return OK
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}

// ReasonOf is the reason of the outermost Error in err's tree, or the kind's name where none was given.
func ReasonOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Reason != "" {
		return e.Reason
	}
	return KindOf(err).String()
}
