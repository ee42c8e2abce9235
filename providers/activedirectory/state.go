package activedirectory

import (
	"strconv"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/ldap"
)

// Attributes that tell whether an account may sign in.
const (
	attrControl     = "userAccountControl"
	attrComputed    = "msDS-User-Account-Control-Computed" // constructed: flags that time and policy change
	attrExpires     = "accountExpires"
	attrLockoutTime = "lockoutTime"
	attrPwdLastSet  = "pwdLastSet"
	attrBadCount    = "badPwdCount" // kept per domain controller; the PDC emulator's holds for the domain
	attrBadTime     = "badPasswordTime"
	attrHours       = "logonHours"
	attrPSO         = "msDS-ResultantPSO" // constructed: the fine-grained password policy, where one applies
)

func stateAttributes() []string {
	return []string{attrControl, attrComputed, attrExpires, attrLockoutTime, attrPwdLastSet, attrBadCount, attrBadTime,
		attrHours, attrPSO}
}

// Flags of attrControl and attrComputed, [MS-ADTS] sections 2.2.16 and 3.1.1.4.5.17.
const (
	flagDisabled        = 0x2
	flagLocked          = 0x10
	flagNeverExpires    = 0x10000
	flagSmartcard       = 0x40000
	flagPasswordExpired = 0x800000
)

// state is what an entry says about signing in with it, at one moment.
type state struct {
	flags       int64
	expires     time.Time // zero: never
	mustChange  bool
	passwordSet time.Time
	hours       []byte // a bit for each hour of the week that is allowed; empty: all are
	badCount    int
	badTime     time.Time
	policy      string // DN of the fine-grained policy; empty: the domain's
	at          time.Time
}

// readState reads the state. What is always there and cannot be read is an error: a missing right of the service
// account must not make a locked account look well.
func readState(e ldap.Entry) (state, error) {
	r := stateReader{e: e}
	s := state{
		flags: r.number(attrControl) | r.number(attrComputed), expires: fileTime(r.number(attrExpires)),
		badCount: int(r.optional(attrBadCount)), badTime: fileTime(r.optional(attrBadTime)), policy: e.Text(attrPSO),
		hours: first(e.Values(attrHours)), passwordSet: fileTime(r.number(attrPwdLastSet)),
	}
	s.mustChange = s.passwordSet.IsZero() && s.flags&(flagNeverExpires|flagSmartcard) == 0
	return s, r.err
}

// stateReader reads numbers until one is missing.
type stateReader struct {
	e   ldap.Entry
	err error
}

func (r *stateReader) number(attribute string) int64 {
	text := r.e.Text(attribute)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil && r.err == nil {
		r.err = authn.Errorf(authn.Unavailable, reasonConfig, "%q has %q as %s: may the service account read it?",
			r.e.DN(), text, attribute)
	}
	return n
}

// optional reads a number that an account without a sign-in does not have.
func (r *stateReader) optional(attribute string) int64 {
	if len(r.e.Values(attribute)) == 0 {
		return 0
	}
	return r.number(attribute)
}

// fileTime is a time of Windows: 100 ns since 1601. 0 and the largest number mean never, here the zero time.
func fileTime(n int64) time.Time {
	const ticks, epoch, never = 10_000_000, 11_644_473_600, 1<<63 - 1
	if n <= 0 || n == never {
		return time.Time{}
	}
	return time.Unix(n/ticks-epoch, n%ticks*100)
}

// mayEnter refuses an account that the domain forbids. It is for where no password is proven: the domain controller
// says the same, and more, in its answer to a bind.
func (s state) mayEnter(now time.Time) error {
	refuse := func(reason string) error { return &authn.Error{Kind: authn.Locked, Reason: reason} }
	if err := s.isOver(now); err != nil {
		return err
	}
	switch {
	case !s.isHour(now.UTC()):
		return refuse(reasonHours)
	case s.mustChange:
		return refuse(reasonMustChange)
	case s.flags&flagPasswordExpired != 0:
		return refuse(reasonPassExpired)
	}
	return nil
}

// isOver refuses an account that cannot be used, whatever its password: locked, disabled or expired.
func (s state) isOver(now time.Time) error {
	refuse := func(reason string) error { return &authn.Error{Kind: authn.Locked, Reason: reason} }
	switch {
	case s.flags&flagDisabled != 0:
		return refuse(reasonDisabled)
	case s.flags&flagLocked != 0:
		return refuse(reasonLocked)
	case !s.expires.IsZero() && !now.Before(s.expires):
		return refuse(reasonExpired)
	}
	return nil
}

// isHour tells whether a moment is in the logon hours: bit 0 of the first byte is Sunday, 0:00 to 1:00 UTC.
func (s state) isHour(utc time.Time) bool {
	hour := int(utc.Weekday())*24 + utc.Hour()
	return len(s.hours) == 0 || hour/8 < len(s.hours) && s.hours[hour/8]>>(hour%8)&1 == 1
}
