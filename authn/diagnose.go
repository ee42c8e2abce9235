package authn

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Finding is the outcome of one check of whether sign-ins can work now. Problem is empty when all is well; otherwise it
// says what is wrong and what to do, and holds no secret.
type Finding struct {
	Check    string // "provider corp", "store", "clock", "it-users production"
	Seen     string // what was found, for people; may be empty
	Problem  string
	Blocking bool // with this problem alone nobody could sign in, or a check of every sign-in would be missing
	Warning  bool // the problem keeps nobody out so far
}

// OK tells whether the check found nothing wrong.
func (f Finding) OK() bool { return f.Problem == "" }

// Ground is what every sign-in stands on, apart from the providers.
type Ground interface {
	// Ping tells whether rows can be read and written now.
	Ping(ctx context.Context) error
	// Clock is the time at the store; zero if it has no clock of its own (a file on this machine).
	Clock(ctx context.Context) (time.Time, error)
	// MappedUsers counts the active IT users who could sign in on an environment.
	MappedUsers(ctx context.Context, env Environment) (int, error)
}

// clockTolerance is how far two clocks may differ before a warning; a TOTP step is 30 s, so more than a few seconds costs
// users their codes.
const clockTolerance = 3 * time.Second

// Doctor checks providers, store, clock and IT users. Each check has its own deadline, so a silent directory costs that
// long and no more.
type Doctor struct {
	Providers []Provider
	Ground    Ground
	Timeout   time.Duration // of each check; default 10 s
	Now       func() time.Time
}

// Diagnose runs every check for one environment, all at once, and returns the findings in a fixed order: store, clock, IT
// users, then the providers as configured.
func (d Doctor) Diagnose(ctx context.Context, env Environment) []Finding {
	checks := d.ground(env)
	for _, p := range d.Providers {
		checks = append(checks, func(ctx context.Context) Finding { return checkOf(ctx, p) })
	}
	return d.blockIfNoProvider(d.run(ctx, checks))
}

// DiagnoseGround is Diagnose without the providers.
func (d Doctor) DiagnoseGround(ctx context.Context, env Environment) []Finding {
	return d.run(ctx, d.ground(env))
}

func (d Doctor) ground(env Environment) []check {
	return []check{d.store, d.clock, func(ctx context.Context) Finding { return d.users(ctx, env) }}
}

func checkOf(ctx context.Context, p Provider) Finding {
	return Finding{Check: "provider " + p.ID, Problem: problem(p.Check(ctx))}
}

// Inspect looks as close at every provider as it can, all at once: with Inspect, or else with Check. say is told what
// takes long, by provider. The deadlines are the providers' own.
func (d Doctor) Inspect(ctx context.Context, say func(provider, text string)) [][]Finding {
	all := make([][]Finding, len(d.Providers))
	var wg sync.WaitGroup
	for i, p := range d.Providers {
		wg.Go(func() {
			if p.Inspect == nil {
				all[i] = d.run(ctx, []check{func(ctx context.Context) Finding { return checkOf(ctx, p) }})
				return
			}
			broken := safely(ctx, func(ctx context.Context) Finding {
				all[i] = p.Inspect(ctx, func(text string) { say(p.ID, text) })
				return Finding{}
			})
			if !broken.OK() {
				all[i] = []Finding{broken}
			}
		})
	}
	wg.Wait()
	return all
}

// check finds one thing out.
type check func(context.Context) Finding

// run makes checks at once, each with its own deadline.
func (d Doctor) run(ctx context.Context, checks []check) []Finding {
	findings := make([]Finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, d.timeout())
			defer cancel()
			findings[i] = safely(ctx, check)
		})
	}
	wg.Wait()
	return findings
}

// safely keeps a bug in one check from ending the process, and from passing as health.
func safely(ctx context.Context, check check) (f Finding) {
	defer func() {
		if v := recover(); v != nil {
			f = Finding{Check: "internal", Problem: fmt.Sprintf("a check broke off: %v; please report it", v), Blocking: true}
		}
	}()
	return check(ctx)
}

// blockIfNoProvider makes the providers' problems blocking when not one of them is well.
func (d Doctor) blockIfNoProvider(findings []Finding) []Finding {
	providers := findings[len(findings)-len(d.Providers):]
	if len(providers) == 0 {
		return append(findings, Finding{Check: "providers", Problem: "no provider is configured; add one under providers:", Blocking: true})
	}
	for _, f := range providers {
		if f.OK() {
			return findings
		}
	}
	for i := range providers {
		providers[i].Blocking = true
	}
	return findings
}

func (d Doctor) store(ctx context.Context) Finding {
	return Finding{Check: "store", Problem: problem(d.Ground.Ping(ctx)), Blocking: true}
}

func (d Doctor) clock(ctx context.Context) Finding {
	f := Finding{Check: "clock"}
	there, err := d.Ground.Clock(ctx)
	if err != nil || there.IsZero() {
		f.Problem = problem(err)
		return f
	}
	if off := d.now().Sub(there).Abs(); off > clockTolerance {
		f.Problem = fmt.Sprintf("the clocks of this machine and of the store differ by %s; codes will be refused: set up NTP",
			off.Round(time.Second))
	}
	return f
}

func (d Doctor) users(ctx context.Context, env Environment) Finding {
	f := Finding{Check: "it-users " + env.Name, Blocking: true}
	n, err := d.Ground.MappedUsers(ctx, env)
	switch {
	case err != nil:
		f.Problem = err.Error()
	case n == 0 && env.IDs == IDsModule:
		f.Problem = "no active IT user is known: import them with idbridge users import FILE"
	case n == 0:
		f.Problem = fmt.Sprintf("no active IT user has an id on environment %q: import them with idbridge users import FILE", env.Name)
	}
	return f
}

func (d Doctor) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return 10 * time.Second
}

func (d Doctor) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
