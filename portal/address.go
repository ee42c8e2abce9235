package portal

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// AddressSteps are the limits of failed attempts by address, as the platform's own.
func AddressSteps() []authn.Step {
	return []authn.Step{{Failures: 20, Block: 5 * time.Minute}, {Failures: 50, Block: 60 * time.Minute}}
}

// source is the address of the browser: the peer's, or, where that is a listed proxy, the last address in
// X-Forwarded-For that is not one. What a browser writes there itself stands further left and is never reached.
func (p *Portal) source(r *http.Request) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	peer = peer.Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusts(peer); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = hop.Unmap().WithZone("")
	}
	return peer
}

func (p *Portal) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.TrustedProxies, func(n netip.Prefix) bool { return n.Contains(a) })
}

// addressError is a refusal because of where it came from.
type addressError struct {
	error
	minutes int
}

func (e addressError) Unwrap() error { return e.error }

// mayTry refuses when too many attempts from this address have failed. It tells how many have.
func (v *visit) mayTry() (failures int, err error) {
	seen, err := v.Addresses.Look(v.r.Context(), authn.AddressKey(v.Source))
	if authn.KindOf(err) == authn.Locked {
		wait := seen.BlockedUntil.Sub(v.Now())
		return seen.Failures, addressError{err, int((wait + time.Minute - 1) / time.Minute)}
	}
	return seen.Failures, err
}

// tried counts a failed attempt against the address. A refusal that was no guess does not count.
func (v *visit) tried(err error) {
	if authn.KindOf(err) != authn.BadCredentials || isLoginError(err) {
		return
	}
	ctx := context.WithoutCancel(v.r.Context()) // who hangs up is counted too
	attempt, begun := v.Addresses.Begin(ctx, authn.AddressKey(v.Source))
	if begun == nil {
		begun = attempt.Failed(ctx)
	}
	if begun != nil && authn.KindOf(begun) != authn.Locked {
		v.Log.Warn("a failed attempt could not be counted by address", "id", v.ID, "error", begun)
	}
}
