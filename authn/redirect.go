package authn

import (
	"context"
	"net/url"
	"time"
)

// RedirectProvider signs people in at pages of its own: the browser is sent there and comes back with an answer.
//
// Both methods are safe for concurrent use and return within ctx.
type RedirectProvider interface {
	// Begin prepares one sign-in. Kinds: Unavailable, Internal.
	Begin(ctx context.Context, ask Ask) (Redirect, error)
	// Finish judges the answer to the Begin whose Pending is given; nil when the source began by itself. Its caller has
	// made sure that the pending sign-in is this browser's and has not been answered before. Identity.Factors is
	// {FactorIdP}, with FactorIdPMFA where the source vouched for a second factor. Untrusted where any check of the
	// answer fails, Locked where the source says that this person may not, Unavailable, Internal.
	Finish(ctx context.Context, pending []byte, reply Reply) (Identity, error)
}

// Ask is one sign-in to prepare.
type Ask struct {
	State string // a random handle that the source must give back with its answer
	Door  string // to which the browser comes back, and whose the answer is alone; empty: the users' portal
	Anew  bool   // the source is to have the person prove who they are now, whatever session there is, and to say when they did
}

// Redirect is where a browser is sent.
type Redirect struct {
	URL     string
	Fields  url.Values // to be posted to URL; nil for a plain redirect
	Pending []byte     // what Finish needs to know the answer by; kept on the server, never in the browser
}

// Reply is what a browser brought back.
type Reply struct {
	Method   string     // GET or POST
	Form     url.Values // of the body
	RawQuery string     // as it came, for signatures over it
	Arrived  time.Time
}
