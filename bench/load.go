package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// caller makes attempts on connections of its own.
type caller interface {
	attempt(user int) error
	close()
}

// outcome is what a load came to.
type outcome struct {
	done     int
	took     time.Duration
	p50, p99 time.Duration
	latency  []time.Duration // of each attempt, sorted
	cpu      time.Duration   // of the measured process; 0 when there is none
	steady   float64         // attempts a second while all callers were at work: neither the first moment nor the last ones
}

func (o outcome) perSecond() float64 { return float64(o.done) / o.took.Seconds() }

// load says how many callers go on for how long, or until every user had one turn.
type load struct {
	callers int
	runFor  time.Duration // 0: each user once
	users   int
	first   int // the users are those from this number on
}

// run lets callers of its own work.
func (l load) run(dial func() (caller, error)) (outcome, error) {
	callers, err := l.hire(dial)
	defer callers.dismiss()
	if err != nil {
		return outcome{}, err
	}
	return l.work(callers)
}

// crew are the callers of a load.
type crew []caller

func (l load) hire(dial func() (caller, error)) (all crew, err error) {
	for range l.callers {
		c, err := dial()
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (all crew) dismiss() {
	for _, c := range all {
		c.close()
	}
}

// work lets the callers work, each taking the next user, and measures every attempt. The first error ends it.
func (l load) work(callers crew) (outcome, error) {
	var (
		next    atomic.Int64
		failed  atomic.Pointer[error]
		wg      sync.WaitGroup
		latency = make([][]time.Duration, l.callers)
		ended   = make([][]time.Duration, l.callers) // each attempt, since the beginning
		idle    = make([]time.Duration, l.callers)   // when a caller found nothing left to do
		began   = time.Now()
	)
	for i, c := range callers {
		wg.Go(func() {
			for failed.Load() == nil {
				n := int(next.Add(1) - 1)
				if l.over(n, began) {
					idle[i] = time.Since(began)
					return
				}
				at := time.Now()
				user := l.first + n%l.users
				if err := c.attempt(user); err != nil {
					err = fmt.Errorf("user %d: %w", user, err)
					failed.CompareAndSwap(nil, &err)
					return
				}
				latency[i] = append(latency[i], time.Since(at))
				ended[i] = append(ended[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	o := summarise(latency, time.Since(began))
	o.steady = steady(slices.Concat(ended...), slices.Min(idle))
	if err := failed.Load(); err != nil {
		return o, *err
	}
	return o, nil
}

func (l load) over(n int, began time.Time) bool {
	if l.runFor == 0 {
		return n >= l.users
	}
	return time.Since(began) >= l.runFor
}

// settling is how long callers may take until they are spread evenly over what they wait for.
const settling = 50 * time.Millisecond

// steady is how many attempts a second ended between settling and the moment at which the first caller had nothing left to do. A
// load that is hardly longer than settling counts as a whole.
func steady(ended []time.Duration, until time.Duration) float64 {
	if until < 2*settling {
		return float64(len(ended)) / until.Seconds()
	}
	n := 0
	for _, at := range ended {
		if at > settling && at <= until {
			n++
		}
	}
	return float64(n) / (until - settling).Seconds()
}

func summarise(latency [][]time.Duration, took time.Duration) outcome {
	all := slices.Concat(latency...)
	slices.Sort(all)
	o := outcome{done: len(all), took: took, latency: all}
	if len(all) > 0 {
		o.p50, o.p99 = all[len(all)/2], all[len(all)*99/100]
	}
	return o
}

// add joins parts of the same load.
func (o outcome) add(p outcome) outcome {
	sum := summarise([][]time.Duration{o.latency, p.latency}, o.took+p.took)
	sum.cpu = o.cpu + p.cpu
	return sum
}
