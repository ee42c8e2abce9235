package saml

import (
	"context"
	"sync"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Message is a line of the log of SAML messages, which administrators read when the two sides do not understand each
// other.
type Message struct {
	ID           string // of the line
	At           time.Time
	Provider     string
	Direction    string // in or out
	Type         string // AuthnRequest, Response, LogoutRequest or LogoutResponse
	Message      string // its own id, as far as it could be read
	InResponseTo string
	Username     string // of an answer that was accepted
	Reason       string // why it was refused; empty when it was not
	Body         []byte `json:",omitempty"` // the XML, only when log_messages is on
}

// MessageLog keeps messages for some days.
type MessageLog interface {
	AddSAMLMessage(ctx context.Context, m Message) error
}

// Bounds of the log, as strangers can write into it: they begin sign-ins, and what they send is refused. Both are written
// down.
const (
	refusedPerMinute = 60
	begunPerMinute   = 300
	maxBody          = 64 << 10 // bytes
)

// journal writes the messages of one identity provider down. It keeps nobody from signing in: what cannot be written is
// told in the program's log.
type journal struct {
	mu             sync.Mutex
	minute         time.Time
	refused, begun int
}

// mayWrite tells whether a message is written down. Those that anybody can cause are so many times a minute.
func (j *journal) mayWrite(now time.Time, kind string, refused bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if minute := now.Truncate(time.Minute); minute != j.minute {
		j.minute, j.refused, j.begun = minute, 0, 0
	}
	switch {
	case refused:
		j.refused++
		return j.refused <= refusedPerMinute
	case kind == "AuthnRequest":
		j.begun++
		return j.begun <= begunPerMinute
	}
	return true
}

// note writes a message down. raw is its XML, err why it was refused.
func (p *provider) note(ctx context.Context, m Message, raw []byte, err error) {
	if p.Messages == nil || !p.journal.mayWrite(p.Now(), m.Type, err != nil) {
		return
	}
	m.ID, m.At, m.Provider = newID(), p.Now(), p.id
	if err != nil {
		m.Reason = authn.ReasonOf(err)
	}
	if m.Direction == "in" {
		m.Message, m.InResponseTo = ids(raw, m.Type)
	}
	if p.config.LogMessages && len(raw) <= maxBody {
		m.Body = raw
	}
	if err := p.Messages.AddSAMLMessage(context.WithoutCancel(ctx), m); err != nil {
		p.Log.WarnContext(ctx, "saml: a message could not be logged", "provider", p.id, "error", err)
	}
}

// ids are what a message calls itself and what it answers; empty where the gate would not let it in.
func ids(raw []byte, kind string) (id, inResponseTo string) {
	m, err := admit(raw, kind)
	if err != nil {
		return "", ""
	}
	return cut(value(m.root, "ID")), cut(value(m.root, "InResponseTo"))
}

// noteOut writes a message of ours down.
func (p *provider) noteOut(ctx context.Context, o outgoing) {
	m := Message{Direction: "out", Type: o.element.Tag}
	m.Message, m.InResponseTo = value(o.element, "ID"), value(o.element, "InResponseTo")
	raw, _ := written(o.element.Copy()) // it was written before, so it can be
	p.note(ctx, m, raw, nil)
}
