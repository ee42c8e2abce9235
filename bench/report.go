package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one measured load.
type row struct {
	name string
	outcome
	rates []float64 // of a load that took turns: the steady rate of each
}

// perSecond is the rate of the median turn, where the load took turns. Now and then the disk of a virtual machine stands still for
// half a second or two, and with it whoever's turn it is and writes: that says nothing of the load, and is in p99.
func (r row) perSecond() float64 {
	if len(r.rates) == 0 {
		return r.outcome.perSecond()
	}
	sorted := slices.Sorted(slices.Values(r.rates))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// table prints loads side by side, with each one's ratio to the row named base.
func table(w io.Writer, title string, rows []row, base string) {
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "load\tlogins/s\tp50\tp99\tCPU s/1000\tratio to %s\t\n", base)
	reference := find(rows, base)
	for _, r := range rows {
		cpu := "-"
		if r.cpu > 0 {
			cpu = fmt.Sprintf("%.3f", r.cpuPerThousand())
		}
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%s\t%.2f\t\n", r.name, r.perSecond(), short(r.p50), short(r.p99), cpu,
			r.perSecond()/reference.perSecond())
	}
	_ = t.Flush() // standard output
}

func (o outcome) cpuPerThousand() float64 { return o.cpu.Seconds() / float64(o.done) * 1000 }

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

func find(rows []row, name string) row {
	for _, r := range rows {
		if r.name == name {
			return r
		}
	}
	return row{}
}

// goal is a figure to reach.
type goal struct {
	what       string
	got, limit float64
	atMost     bool // the limit is an upper one
}

func (g goal) reached() bool {
	if g.atMost {
		return g.got <= g.limit
	}
	return g.got >= g.limit
}

func goals(w io.Writer, all []goal) {
	fmt.Fprintln(w, "\ngoals")
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	for _, g := range all {
		verdict, sign := "reached", "≥"
		if g.atMost {
			sign = "≤"
		}
		if !g.reached() {
			verdict = "MISSED"
		}
		fmt.Fprintf(t, "  %s\t%.3g\t%s %.3g\t%s\n", g.what, g.got, sign, g.limit, verdict)
	}
	_ = t.Flush() // standard output
}
