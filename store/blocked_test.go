package store_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/insight"
	"github.com/idbridge/idbridge/itusers"
)

// testBlocked blocks one person in every way, and others, and lifts it again.
func testBlocked(t *testing.T, open opener) {
	s, now := open(t), began
	must(t, s.ChangeUser(t.Context(), "", func(u *itusers.User) error {
		*u = itusers.User{Key: "k1", Username: "Ann", Active: true, Links: []itusers.Link{{Provider: "corp", Subject: "s:1", Username: "ann"}}}
		return nil
	}))
	until := map[string]time.Duration{
		authn.ThrottleKey("corp", "s:1"): 5, authn.CodeKey("k1"): 4, authn.TokenThrottleKey("ann"): 3, authn.NameKey("entra", "ANN"): 2,
		authn.AddressKey(netip.MustParseAddr("2001:db8::7")): 6, authn.ThrottleKey("corp", "s2"): 1, authn.CodeKey("k2"): -1,
	}
	for key, hours := range until {
		must(t, s.UpdateAttempts(t.Context(), key, func(authn.Attempts) (authn.Attempts, error) {
			return authn.Attempts{Failures: 6, LastFailure: now, BlockedUntil: now.Add(hours * time.Hour)}, nil
		}))
	}
	var recorded []audit.Record
	blocks := insight.Blocks{
		BlockStore: s, Throttle: authn.NewThrottle(s, authn.DefaultSteps(), time.Minute, func() time.Time { return now }),
		Providers: []string{"corp", "entra"}, Now: func() time.Time { return now },
		Audit: func(_ context.Context, r audit.Record) error { recorded = append(recorded, r); return nil },
	}
	list, all, err := blocks.List(t.Context(), 5)
	if err != nil || all != 6 || len(list) != 5 {
		t.Fatalf("%+v, %d, %v", list, all, err)
	}
	for i, want := range []insight.Block{
		{What: authn.CountedAddress, Of: "2001:db8::/64"}, {What: authn.CountedPassword, Provider: "corp", Of: "s:1", ITUser: "Ann"},
		{What: authn.CountedCode, Of: "Ann", ITUser: "Ann"}, {What: authn.CountedToken, Of: "ann", ITUser: "Ann"},
		{What: authn.CountedName, Provider: "entra", Of: "ann", ITUser: "Ann"},
	} {
		want.Key, want.Failures, want.Last, want.Until = list[i].Key, 6, now, now.Add(time.Duration(6-i)*time.Hour)
		if list[i] != want {
			t.Errorf("%+v, want %+v", list[i], want)
		}
	}
	keys, err := blocks.UnlockUser(t.Context(), "aNN", audit.Record{Actor: "os:root"})
	if err != nil || len(keys) != 4 || len(recorded) != 1 || recorded[0].Action != audit.Unlocked || recorded[0].ITUser != "aNN" {
		t.Errorf("%v, %v, %+v", keys, err, recorded)
	}
	if keys, err = blocks.UnlockUser(t.Context(), "nobody", audit.Record{}); err != nil || len(keys) != 0 || len(recorded) != 1 {
		t.Errorf("nobody: %v, %v, %d records", keys, err, len(recorded))
	}
	if keys, err = blocks.UnlockAddress(t.Context(), netip.MustParseAddr("2001:db8::1"), audit.Record{}); err != nil || len(keys) != 1 {
		t.Errorf("the address: %v, %v", keys, err)
	}
	list, all, err = blocks.List(t.Context(), 5)
	if err != nil || all != 1 || !slices.ContainsFunc(list, func(b insight.Block) bool { return b.Of == "s2" && b.ITUser == "" }) {
		t.Errorf("%+v, %d, %v", list, all, err)
	}
	recorded = nil
	blocks.Audit = func(context.Context, audit.Record) error { return authn.Unavailable }
	if _, err = blocks.UnlockKey(t.Context(), list[0].Key, audit.Record{}); authn.KindOf(err) != authn.Unavailable {
		t.Errorf("without a record: %v", err)
	}
	if _, all, _ = blocks.List(t.Context(), 5); all != 1 {
		t.Error("unlocked without a record")
	}
}
