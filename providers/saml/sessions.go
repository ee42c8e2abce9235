package saml

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Session is a session at an identity provider that one or more of ours hang on.
type Session struct {
	ID       string // what authn.Identity.Session says
	Provider string
	Subject  string
	Name     string    // hash of the NameID with all its parts: how a LogoutRequest finds it
	Index    string    // the provider's SessionIndex; may be empty
	NameID   []byte    // what the provider must be told to end it
	Expires  time.Time // nothing of ours lasts longer
}

// SessionStore remembers sessions at identity providers, for all nodes.
type SessionStore interface {
	AddSAMLSession(ctx context.Context, s Session) error
	// SAMLSessions returns the session of that id, and those of that name.
	SAMLSessions(ctx context.Context, provider, id, name string) ([]Session, error)
	RemoveSAMLSession(ctx context.Context, id string) error
}

// Sessions ends sessions of ours.
type Sessions interface {
	// EndAccountSessions ends the sessions of an account at a provider that have a name, or all of them when the name is
	// empty, and tells how many there were.
	EndAccountSessions(ctx context.Context, provider, subject, name string) (ended int, err error)
}

// sessionLife is how long a session at an identity provider is remembered where it does not limit ours.
const sessionLife = 24 * time.Hour

// nameID is a NameID with all that makes it unique (saml-core 2.2.3).
type nameID struct {
	Value           string `json:"value"`
	Format          string `json:"format,omitempty"`
	NameQualifier   string `json:"name_qualifier,omitempty"`
	SPNameQualifier string `json:"sp_name_qualifier,omitempty"`
}

// hash is how a NameID is looked for. An absent qualifier means the two parties that talk to each other, so it is the same
// as their names; an absent format is unspecified.
func (n nameID) hash(idp, sp string) string {
	if n.NameQualifier == idp {
		n.NameQualifier = ""
	}
	if n.SPNameQualifier == sp {
		n.SPNameQualifier = ""
	}
	if n.Format == nameIDFormats["unspecified"] {
		n.Format = ""
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{n.Value, n.Format, n.NameQualifier, n.SPNameQualifier}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// remember keeps what single logout needs, before there is a session of ours. Without a store there is none.
func (p *provider) remember(ctx context.Context, subject string, v verified) (string, error) {
	if p.IdPSessions == nil || v.NameID == "" {
		return "", nil
	}
	n := nameID{v.NameID, v.NameIDFormat, v.NameQualifier, v.SPNameQualifier}
	text, err := json.Marshal(n)
	if err != nil {
		return "", authn.Errorf(authn.Internal, "bad_name_id", "%w", err)
	}
	s := Session{
		ID: newID(), Provider: p.id, Subject: subject, Name: n.hash(p.config.EntityID, p.entityID()), Index: v.SessionIndex,
		NameID: text, Expires: v.SessionNotOnOrAfter,
	}
	if s.Expires.IsZero() {
		s.Expires = p.Now().Add(sessionLife)
	}
	return s.ID, p.IdPSessions.AddSAMLSession(ctx, s)
}
