// Package saml signs people in at a SAML 2.0 identity provider (IdP); idbridge is the service provider (SP).
//
// An answer comes from a browser, so from anybody. It passes, in this order and each time with a reason of its own:
//
//	gate.go       one strict parse, before any library sees a byte: limits, one assertion, where signatures may stand
//	signature.go  the signatures, against the configured certificates and no other
//	encrypted.go  an encrypted assertion, whose plain text passes the gate again
//	checks.go     what the verified elements say: for us, from this IdP, for this request, now
//	replay.go     and not for the second time
//
// What is read of a person is read from the element that the signature verification returned, never from what was sent.
// The package leaves to others where answers arrive and which login they belong to (portal), and where replays are
// remembered (store).
package saml

import (
	"context"
	"crypto"
	"crypto/x509"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// signing says which signatures an IdP must give. One that is there is always verified, asked for or not.
type signing string

const (
	signedEither    signing = "" // the response or the assertion
	signedAssertion signing = "assertion"
	signedResponse  signing = "response"
	signedBoth      signing = "both"
)

// expectation is what an answer must fit.
type expectation struct {
	Provider string // id of the configured provider, for the memory of replays
	SP       string // our entityID at this IdP, the audience
	ACS      string // where the answer was posted: destination and recipient
	IdP      string // its entityID, the issuer

	// RequestID is the id of the AuthnRequest that the answer must name. Empty for an answer that nobody asked for
	// (IdP-initiated), which must not name any; whether that is allowed is for the caller to decide before.
	RequestID string

	Certificates []*x509.Certificate // of the IdP, all that are good now; expired ones are the caller's decision
	WantSigned   signing
	AllowSHA1    bool               // for an old IdP; nothing else is weakened by it
	Keys         []crypto.Decrypter // ours, of encrypted assertions: the current one and those before it
	Skew         time.Duration      // by which clocks may differ
	Now          time.Time
	Replays      Replays
}

// verified is what an IdP said of a person, after every check.
type verified struct {
	NameID, NameIDFormat, NameQualifier, SPNameQualifier string

	Attributes map[string][]string // by Name, in the order given; an attribute given twice has the values of both

	AuthnContext        string // class reference
	AuthnInstant        time.Time
	SessionIndex        string
	SessionNotOnOrAfter time.Time // zero when the IdP does not limit our session
	AssertionID         string
	Expires             time.Time         // until when the assertion could be presented again, skew included
	SignedBy            *x509.Certificate // of the innermost signature
	Encrypted           bool
}

// Replays remembers the assertions that were accepted, for all nodes and over restarts.
type Replays interface {
	// Seen tells whether this is the first time that an id of a provider is shown, and remembers it until a time. On an
	// error the caller refuses: it may or may not have been the first.
	Seen(ctx context.Context, provider, id string, until time.Time) (first bool, err error)
}

// judge decides about the XML of a Response. Kinds: Untrusted where any check fails, Locked where the IdP says that it
// refused the person, Unavailable where it says that it failed, or where replays could not be looked up.
func judge(ctx context.Context, raw []byte, e expectation) (verified, error) {
	return verified{}, refuse("not_built", "the judge is being built")
}

// refuse is an error of kind Untrusted. The text is for the log: it may quote what was sent, cut and quoted, but nothing
// about the person.
func refuse(reason, format string, args ...any) error {
	return authn.Errorf(authn.Untrusted, reason, format, args...)
}
