package ldap

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// two are servers that nobody connects to.
func two() servers {
	return servers{newServer(endpoint{url: "ldaps://1"}, &Config{}), newServer(endpoint{url: "ldaps://2"}, &Config{})}
}

func failing(reason string) error {
	return authn.Errorf(authn.Unavailable, reason, "as the test wants")
}

// TestWhatAnOutcomeMeans for the question, which may go to the next server, and for the server, which may be left alone.
func TestWhatAnOutcomeMeans(t *testing.T) {
	late := context.DeadlineExceeded
	for name, test := range map[string]struct {
		answered    bool
		err         error
		takes       time.Duration
		ends        error // of the caller's context, while the server is asked
		goesOn, ill bool
	}{
		"an answer":               {answered: true},
		"an answer of a search":   {},
		"a refusal":               {answered: true, err: &authn.Error{Kind: authn.BadCredentials, Reason: reasonWrongPassword}},
		"a lost bind":             {answered: true, err: failing(reasonSilent), ill: true},
		"unreachable":             {err: failing(reasonUnreachable), goesOn: true, ill: true},
		"silent":                  {err: failing(reasonSilent), goesOn: true, ill: true},
		"nonsense":                {err: failing(reasonBadAnswer), goesOn: true, ill: true},
		"busy":                    {err: failing(reasonBusy), goesOn: true},
		"wrongly configured":      {err: failing(reasonConfig), goesOn: true},
		"the service account":     {err: failing(reasonServiceAccount), ill: true},
		"a caller who went away":  {err: failing(reasonSilent), takes: time.Minute, ends: context.Canceled},
		"a caller who came late":  {err: failing(reasonSilent), takes: slow - 1, ends: late},
		"a caller who waited":     {err: failing(reasonSilent), takes: slow, ends: late, ill: true},
		"busy until the deadline": {err: failing(reasonBusy), takes: time.Minute, ends: late},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if errors.Is(test.ends, late) {
					ctx, cancel = context.WithTimeout(t.Context(), test.takes)
				}
				defer cancel()
				list, asked := two(), ""
				err := list.each(ctx, func(s *server) (bool, error) {
					asked += s.url
					if s == list[1] {
						return true, nil
					}
					time.Sleep(test.takes)
					synctest.Wait()
					if errors.Is(test.ends, context.Canceled) {
						cancel()
					}
					return test.answered, test.err
				})
				if wentOn := asked == "ldaps://1ldaps://2"; wentOn != test.goesOn || !wentOn && authn.ReasonOf(err) != authn.ReasonOf(test.err) {
					t.Errorf("asked %s: %v", asked, err)
				}
				if ill := list[0].failure != nil; ill != test.ill {
					t.Errorf("to be left alone: %v", ill)
				}
			})
		})
	}
}

// TestOnlyAnAnswerHeals a server that failed; that all its connections are in use says nothing.
func TestOnlyAnAnswerHeals(t *testing.T) {
	for _, test := range []struct {
		answered bool
		reason   string
		heals    bool
	}{{false, reasonBusy, false}, {true, reasonBusy, true}, {false, reasonConfig, true}, {true, reasonWrongPassword, true}} {
		list := two()[:1]
		list[0].failed(failing(reasonUnreachable), time.Now().Add(-skipTime))
		_ = list.each(t.Context(), func(*server) (bool, error) { return test.answered, failing(test.reason) })
		if healed := list[0].failure == nil; healed != test.heals {
			t.Errorf("%+v: %v", test, healed)
		}
	}
}

// TestWhyNobodyIsAsked: the reason is that of the first server.
func TestWhyNobodyIsAsked(t *testing.T) {
	list := two()
	list[0].failed(failing(reasonSilent), time.Now())
	list[1].failed(failing(reasonUnreachable), time.Now())
	err := list.each(t.Context(), func(*server) (bool, error) { t.Error("asked"); return true, nil })
	wantReason(t, err, authn.Unavailable, reasonSilent)
	err = two()[:1].each(t.Context(), func(*server) (bool, error) { return false, failing(reasonUnreachable) })
	wantReason(t, err, authn.Unavailable, reasonUnreachable)
}

// TestWhoCallsWhileTheLastServerIsTried waits for how that ends: a directory that comes back refuses nobody.
func TestWhoCallsWhileTheLastServerIsTried(t *testing.T) {
	down := authn.Errorf(authn.Unavailable, reasonUnreachable, "down")
	for name, test := range map[string]struct {
		outcome error         // of the try
		takes   time.Duration // the try
		later   time.Duration // the other caller comes
		waits   time.Duration
	}{
		"it is back":   {nil, lastResort / 2, 0, lastResort / 2},
		"it is not":    {down, lastResort / 2, 0, lastResort / 2},
		"nobody knows": {nil, 4 * lastResort, 2 * lastResort, lastResort},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := servers{newServer(endpoint{url: "ldaps://only"}, &Config{})}
				list[0].failed(down, time.Now())
				time.Sleep(lastResort)
				tries := 0
				call := func() error {
					return list.each(t.Context(), func(*server) (bool, error) {
						if tries++; tries == 1 {
							time.Sleep(test.takes)
						}
						return false, test.outcome
					})
				}
				go func() { _ = call() }()
				synctest.Wait()
				time.Sleep(test.later)
				began := time.Now()
				err := call()
				if in := err == nil; in != (name == "it is back") || (tries == 2) != in || time.Since(began) != test.waits {
					t.Errorf("%v after %v, %d tries", err, time.Since(began), tries)
				}
				time.Sleep(test.takes)
			})
		})
	}
}

// TestAServerThatFailedIsSkipped while another one answers.
func TestAServerThatFailedIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newServer(endpoint{url: "ldaps://1"}, &Config{}), newServer(endpoint{url: "ldaps://2"}, &Config{})
		tries := 0
		for passed := range skipTime/time.Second + 1 {
			err := servers{first, second}.each(t.Context(), func(s *server) (bool, error) {
				if s == second {
					return true, nil
				}
				tries++
				return false, authn.Errorf(authn.Unavailable, reasonUnreachable, "down")
			})
			if want := 1 + int(passed/(skipTime/time.Second)); err != nil || tries != want {
				t.Errorf("after %d s: %v, %d tries, want %d", passed, err, tries, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestAPanicEndsATry: somebody else may try the server later.
func TestAPanicEndsATry(t *testing.T) {
	list := servers{newServer(endpoint{url: "ldaps://only"}, &Config{})}
	list[0].failed(authn.Errorf(authn.Unavailable, reasonUnreachable, "down"), time.Now().Add(-skipTime))
	func() {
		defer func() { _ = recover() }()
		_ = list.each(t.Context(), func(*server) (bool, error) { panic("a bug") })
	}()
	if end, _ := list[0].claim(time.Now().Add(skipTime), false); end == nil {
		t.Error("nobody will ever try the server again")
	}
}
