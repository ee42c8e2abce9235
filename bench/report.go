package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// row is one measured load.
type row struct {
	name string
	outcome
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

func find(rows []row, name string) outcome {
	for _, r := range rows {
		if r.name == name {
			return r.outcome
		}
	}
	return outcome{}
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
