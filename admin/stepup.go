package admin

import (
	"context"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// freshFor is how long after proving a factor one may change anything.
const freshFor = 10 * time.Minute

// fresh tells whether a factor was proven a short time ago.
func (c *call) fresh() bool { return c.now().Sub(c.v.Session().Proven) < freshFor }

// me is the caller as second factors know them.
func (c *call) me() authn.ITUser {
	s := c.v.Session()
	return authn.ITUser{Key: s.User, Username: s.Username, Active: true}
}

// stepUp proves the caller's second factor anew. The code is used up, and the session gets a new id. BadCredentials, Locked,
// Unavailable.
func (c *call) stepUp(code string) error {
	code = strings.ReplaceAll(code, " ", "")
	ctx := c.ctx()
	if err := c.v.MayTry(); err != nil {
		return err
	}
	proof, err := c.Portal.Factors.Check(ctx, c.me(), code)
	if err == nil {
		err = c.Portal.Factors.Accept(ctx, proof)
	}
	c.v.Tried(err)
	record := audit.Record{Action: audit.SteppedUp, ITUser: c.me().Username, Kind: authn.KindOf(err).String()}
	if err != nil {
		record.Reason = authn.ReasonOf(err)
	} else {
		record.Factors = proof.Factor
	}
	if noted := c.note(record); noted != nil {
		return noted
	}
	if err != nil {
		return err
	}
	return c.v.Renew()
}

// proof is what a form asks for beside what it is about.
type proof struct {
	NeedsCode bool // of the caller's second factor
	Away      bool // nothing, but the caller will have to sign in again: there is no factor here
}

func (c *call) proof() (p proof, err error) {
	if c.fresh() {
		return p, nil
	}
	p.NeedsCode, err = c.canStepUp(c.ctx())
	p.Away = !p.NeedsCode
	return p, err
}

// canStepUp tells whether the caller has a factor that can be proven here. Who brought one from an identity provider
// signs in again instead.
func (c *call) canStepUp(ctx context.Context) (bool, error) {
	devices, err := c.Portal.Factors.Devices(ctx, c.me())
	return len(devices) > 0, err
}
