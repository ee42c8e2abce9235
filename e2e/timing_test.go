package e2e_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/testenv"
)

const samplesOfEach = 1000

// Unknown user, wrong password, wrong code and locked account cannot be told apart by the time of the answer: a rank test
// over 1,000 of each finds no difference. What is promised holds for what is decided within refusal_time, and a machine that
// runs other tests beside this one can be too slow for that: then the same is asked again with more time, and fewer calls.
func TestRefusalsCannotBeToldApartByTime(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second} {
		if refusals(t, wait) {
			return
		}
	}
	t.Error("this machine did not decide 99 of 100 refusals within 10 s: nothing was shown")
}

// refusals compares the kinds where each is answered after a time, and reports whether nearly all were decided before it.
func refusals(t *testing.T, wait time.Duration) (inTime bool) {
	b := newBridge(t)
	b.fast = true // built for finding races it is ten times as slow, and nothing but the time is asked for here
	// No throttle, so that all are what they are meant to be.
	b.extra = fmt.Sprintf("refusal_time: %s\nthrottle:\n  steps: [{failures: 1000000, block: 1s}]\n", wait)
	b.importUsers()
	for i := range enrolledUsers { // several: attempts at one user wait for each other
		b.enrol(testenv.SlapdUser(i))
	}
	b.slapd.Modify(t, lockedUsers(b.slapd))
	n := b.serve()
	kinds := []struct {
		name  string
		login func(i int) (user, password string)
	}{
		{"unknown_user", func(i int) (string, string) { return fmt.Sprint("nobody", i), "x" }},
		{"wrong_password", func(i int) (string, string) { return victimUser(i), fmt.Sprint("guess", i) }},
		{"wrong_code", func(i int) (string, string) { return testenv.SlapdUser(i % enrolledUsers), fmt.Sprintf("x%06d", i) }},
		{"account_locked", func(i int) (string, string) { u := lockedUser(i); return u, testenv.SlapdPassword(u) }},
	}
	took := b.measureRefusals(n, len(kinds), func(kind, i int) (string, string) { return kinds[kind].login(i) })
	seen, late := map[string]int{}, 0
	for _, r := range b.audit() {
		seen[r.Reason]++
		if r.Duration > wait {
			late++
		}
	}
	if late > len(kinds)*samplesOfEach/100 {
		t.Logf("%d refusals were decided after more than %s", late, wait)
		return false
	}
	for i, kind := range kinds {
		if seen[kind.name] < samplesOfEach*99/100 { // by chance a wrong code is the right one of a neighbouring step
			t.Errorf("%d of %d were refused as %s: %v", seen[kind.name], samplesOfEach, kind.name, seen)
		}
		if z := rankTest(took[0], took[i]); i > 0 && math.Abs(z) > 4 { // 4 sigma: once in 16,000 by chance
			t.Errorf("%s and %s differ: z = %.1f (medians %v, %v)", kinds[0].name, kind.name, z, median(took[0]), median(took[i]))
		}
	}
	return true
}

// The first users have a second factor; of the others half are locked and half are guessed at.
func lockedUser(i int) string { return testenv.SlapdUser(enrolledUsers + i%lockedOrGuessed) }
func victimUser(i int) string {
	return testenv.SlapdUser(enrolledUsers + lockedOrGuessed + i%lockedOrGuessed)
}

const (
	enrolledUsers   = 12
	lockedOrGuessed = (usersInDirectory - enrolledUsers) / 2
)

// lockedUsers is the change that locks them.
func lockedUsers(s *testenv.SlapdServer) string {
	var ldif strings.Builder
	for i := range lockedOrGuessed {
		fmt.Fprintf(&ldif, "dn: uid=%s,%s\nchangetype: modify\nreplace: pwdPolicySubentry\npwdPolicySubentry: cn=strict,"+
			"ou=policies,%s\n-\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n\n",
			lockedUser(i), s.PeopleDN, s.BaseDN)
	}
	return ldif.String()
}

// callsAtOnce are forty calls a second, where each is answered after two.
const callsAtOnce = 80

// measureRefusals makes all calls in random order, many at a time, so that whatever else the machine does hits all kinds.
func (b *bridge) measureRefusals(n *node, kinds int, login func(kind, i int) (string, string)) [][]time.Duration {
	b.t.Helper()
	order := rand.Perm(kinds * samplesOfEach)
	took := make([][]time.Duration, kinds)
	var mu sync.Mutex
	failed, last := 0, ""
	var wg sync.WaitGroup
	slots := make(chan struct{}, callsAtOnce)
	for _, o := range order {
		kind, i := o%kinds, o/kinds
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			user, password := login(kind, i)
			began := time.Now()
			a, err := b.signIn(n, user, password)
			d := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.Success {
				failed++
				last = fmt.Sprintf("%s: %+v, %v", user, a, err)
			}
			took[kind] = append(took[kind], d)
		})
	}
	wg.Wait()
	if failed > 0 {
		b.t.Fatalf("%d were not refused, for instance %s", failed, last)
	}
	return took
}

// rankTest is the z of the Mann-Whitney U test: how far two samples are from having been drawn from one distribution.
func rankTest(a, b []time.Duration) float64 {
	type value struct {
		d     time.Duration
		first bool
	}
	var all []value
	for _, d := range a {
		all = append(all, value{d, true})
	}
	for _, d := range b {
		all = append(all, value{d, false})
	}
	slices.SortFunc(all, func(x, y value) int { return int(x.d - y.d) })
	ranks := 0.0
	for i, v := range all {
		if v.first {
			ranks += float64(i + 1)
		}
	}
	m, n := float64(len(a)), float64(len(b))
	u := ranks - m*(m+1)/2
	return (u - m*n/2) / math.Sqrt(m*n*(m+n+1)/12)
}

func median(d []time.Duration) time.Duration {
	s := slices.Clone(d)
	slices.Sort(s)
	return s[len(s)/2]
}
