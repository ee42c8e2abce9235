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

	"github.com/beevik/etree"

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

	Certificates  []*x509.Certificate // of the IdP, all that are good now; expired ones are the caller's decision
	WantSigned    signing
	AllowSHA1     bool               // for an old IdP; nothing else is weakened by it
	WantEncrypted bool               // refuse an assertion in clear
	AuthnAfter    time.Time          // the IdP must have seen the person since, as after ForceAuthn; zero for any time
	Keys          []crypto.Decrypter // ours, of encrypted assertions: the current one and those before it
	Skew          time.Duration      // by which clocks may differ
	Now           time.Time
	Replays       Replays
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
	Expires             time.Time         // until when the assertion could be shown again, skew included
	SignedBy            *x509.Certificate // of the assertion's signature, or else of the response's
}

// judge decides about the XML of a Response. Kinds: Untrusted where any check fails, Locked where the IdP says that it
// refused the person, Unavailable where it says that it failed, or where replays could not be looked up.
func judge(ctx context.Context, raw []byte, e expectation) (verified, error) {
	if e.SP == "" || e.ACS == "" || e.IdP == "" || e.Now.IsZero() || e.Replays == nil {
		return verified{}, authn.Errorf(authn.Internal, "bad_expectation", "an answer is judged without saying what by")
	}
	m, err := admit(raw, "Response")
	if err != nil {
		return verified{}, err
	}
	if err := checkStatus(m); err != nil {
		return verified{}, err
	}
	j := judgement{expectation: e}
	if err := j.verify(m); err != nil {
		return verified{}, err
	}
	for _, check := range j.checks() {
		if err := check(); err != nil {
			return verified{}, err
		}
	}
	if err := e.claim(ctx, j.found); err != nil {
		return verified{}, err
	}
	return j.found, nil
}

// judgement is an answer on its way through the checks.
type judgement struct {
	expectation
	response       *etree.Element // as its signature covers it, if it has one
	responseSigned bool
	assertion      *etree.Element // as a signature covers it: its own, or the response's
	found          verified
}

// verify makes sure of who wrote the assertion, decrypting it if need be.
func (j *judgement) verify(m message) error {
	t := trust{certificates: j.Certificates, allowSHA1: j.AllowSHA1}
	response, signer, err := t.verifyIfSigned(m.root)
	if err != nil {
		return err
	}
	j.response, j.responseSigned, j.found.SignedBy = response, signer != nil, signer
	if !j.responseSigned && (j.WantSigned == signedResponse || j.WantSigned == signedBoth) {
		return refuse("response_not_signed", "want_signed is %q", j.WantSigned)
	}
	assertion := child(response, nsAssertion, m.assertion.Tag) // the verified one, not that of the message
	if m.encrypted {
		if assertion, err = decrypt(assertion, j.Keys); err != nil {
			return err
		}
	} else if j.WantEncrypted {
		return refuse("not_encrypted", "the assertion is not encrypted")
	}
	if j.assertion, signer, err = t.verifyIfSigned(assertion); err != nil {
		return err
	}
	return j.checkSigned(signer)
}

// verifyIfSigned verifies a signature that is there; without one it returns the element as it is, and no certificate.
func (t trust) verifyIfSigned(e *etree.Element) (*etree.Element, *x509.Certificate, error) {
	if signatureOf(e) == nil {
		return e, nil, nil
	}
	return t.verify(e)
}

// checkSigned: either signature makes an assertion trustworthy; the configuration says which must be there.
func (j *judgement) checkSigned(assertionSigner *x509.Certificate) error {
	if assertionSigner != nil {
		j.found.SignedBy = assertionSigner
		return nil
	}
	switch {
	case j.WantSigned == signedAssertion || j.WantSigned == signedBoth:
		return refuse("assertion_not_signed", "want_signed is %q", j.WantSigned)
	case !j.responseSigned:
		return refuse("not_signed", "neither the response nor the assertion is signed")
	}
	return nil
}

// refuse is an error of kind Untrusted. The text is for the log: it may quote what was sent, cut and quoted, but nothing
// about the person.
func refuse(reason, format string, args ...any) error {
	return authn.Errorf(authn.Untrusted, reason, format, args...)
}
