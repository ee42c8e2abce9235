package insight

import (
	"context"
	"math"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// CountQuery asks for counts; empty texts stand for all.
type CountQuery struct {
	Width       time.Duration // one of Widths
	From, Until time.Time
	SignIns     bool // only decided sign-ins
	Environment string
	Provider    string
}

// Count is how many records of a kind began in one span and took about as long.
type Count struct {
	At     time.Time // where the span begins
	Kind   string
	Bucket int
	N      int64

	Throttled bool
}

// Counter reads what the follower has counted.
type Counter interface {
	// AuditCounts returns counts in the order of time.
	AuditCounts(ctx context.Context, q CountQuery) ([]Count, error)
}

// Overview are the charts of some time.
type Overview struct {
	Granted, Refused, Throttled int64 // in all; refused includes throttled

	SignIns, Failures, Latency, Limits Chart
}

// columns is about how many spans a chart shows.
const columns = 96

// Look draws the sign-ins of some time: of one environment or provider, or of all where they are empty. Unavailable.
func Look(ctx context.Context, c Counter, from, until time.Time, environment, provider string) (Overview, error) {
	width, span := spans(until.Sub(from))
	from, until = from.Truncate(span), until.Add(span-1).Truncate(span)
	counts, err := c.AuditCounts(ctx, CountQuery{
		Width: width, From: from, Until: until, SignIns: true, Environment: environment, Provider: provider,
	})
	if err != nil {
		return Overview{}, err
	}
	g := newGrid(from, until, span)
	for _, count := range counts {
		g.add(count)
	}
	return g.overview(), nil
}

// spans are the width to be read, and a multiple of it that is one column.
func spans(of time.Duration) (width, span time.Duration) {
	for _, width = range Widths {
		for _, n := range []time.Duration{1, 2, 3, 6, 12} {
			if span = n * width; of <= columns*span && (width == Widths[len(Widths)-1] || span < Widths[1] || width == Widths[1] && n <= 6) {
				return width, span
			}
		}
	}
	return width, span
}

// grid are counts by column.
type grid struct {
	from, until time.Time
	span        time.Duration
	kinds       map[string][]float64
	buckets     [][len(buckets) + 1]int64
}

func newGrid(from, until time.Time, span time.Duration) *grid {
	n := int(until.Sub(from) / span)
	return &grid{from, until, span, map[string][]float64{}, make([][len(buckets) + 1]int64, n)}
}

// line is the values of a kind.
func (g *grid) line(kind string) []float64 {
	if g.kinds[kind] == nil {
		g.kinds[kind] = make([]float64, len(g.buckets))
	}
	return g.kinds[kind]
}

func (g *grid) add(c Count) {
	i := int(c.At.Sub(g.from) / g.span)
	if c.At.Before(g.from) || i >= len(g.buckets) || c.Bucket < 0 || c.Bucket > len(buckets) {
		return
	}
	kind := c.Kind
	if c.Throttled {
		kind = Throttled
	}
	g.line(kind)[i] += float64(c.N)
	g.buckets[i][c.Bucket] += c.N
}

// overview draws the four charts.
func (g *grid) overview() (o Overview) {
	granted, refused := g.line(authn.OK.String()), make([]float64, len(g.buckets))
	var failures []Series
	kinds := []string{}
	for _, k := range authn.Kinds() {
		kinds = append(kinds, k.String())
	}
	for _, kind := range append(kinds, Throttled) {
		if g.kinds[kind] == nil {
			continue
		}
		failures = append(failures, Series{kind, g.kinds[kind]})
		for i, n := range g.kinds[kind] {
			refused[i] += n
		}
	}
	throttled := g.line(Throttled)
	o.Granted, o.Refused, o.Throttled = sum(granted), sum(refused), sum(throttled)
	chart := func(id, title string, bars bool, unit string, series ...Series) Chart {
		return Chart{ID: id, Title: title, From: g.from, Span: g.span, Columns: len(g.buckets), Bars: bars, Unit: unit, Series: series}
	}
	o.SignIns = chart("sign-ins", "Sign-ins", true, "", Series{"granted", granted}, Series{"refused", refused})
	o.Failures = chart("failures", "Refused sign-ins by kind", true, "", failures...)
	o.Latency = chart("latency", "Time until a sign-in was decided", false, "s",
		Series{"half of them", g.percentile(.5)}, Series{"95 %", g.percentile(.95)}, Series{"99 %", g.percentile(.99)})
	o.Limits = chart("throttled", "Sign-ins refused after too many failed attempts", true, "", Series{Throttled, throttled})
	return o
}

func sum(values []float64) (n int64) {
	for _, v := range values {
		n += int64(v)
	}
	return n
}

// percentile is the time in seconds within which a part of a column's sign-ins were decided, as far as the buckets tell;
// not a number where there were none.
func (g *grid) percentile(part float64) []float64 {
	list := make([]float64, len(g.buckets))
	for i, counts := range g.buckets {
		list[i] = percentile(counts[:], part)
	}
	return list
}

func percentile(counts []int64, part float64) float64 {
	all := int64(0)
	for _, n := range counts {
		all += n
	}
	if all == 0 {
		return math.NaN()
	}
	rank, below, low := part*float64(all), 0.0, 0.0
	for i, n := range counts {
		if i == len(buckets) {
			return low // longer than any bound: at least that
		}
		high := buckets[i].Seconds()
		if n > 0 && below+float64(n) >= rank {
			return low + (high-low)*(rank-below)/float64(n)
		}
		below, low = below+float64(n), high
	}
	return low
}
