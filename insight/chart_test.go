package insight

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/testenv/chromium"
)

// counter has counts of records, as a store would have counted them.
type counter []audit.Record

func (c counter) AuditCounts(_ context.Context, q CountQuery) (list []Count, err error) {
	sums := map[Count]int64{}
	for _, r := range c {
		e := EntryOf(r)
		if at := r.Time.Truncate(q.Width); e.Class.SignIn() && !at.Before(q.From) && at.Before(q.Until) {
			sums[Count{At: at, Kind: e.Class.Kind, Bucket: e.Bucket, Throttled: e.Class.Throttled}]++
		}
	}
	for c, n := range sums {
		c.N = n
		list = append(list, c)
	}
	return list, nil
}

// day is one on which more people come at nine than at night, and a directory fails after lunch.
func day() (c counter) {
	for minute := range 24 * 60 {
		hour := float64(minute) / 60
		for i := range int(2 + 8*math.Exp(-(hour-9)*(hour-9)/3) + 4*math.Exp(-(hour-14)*(hour-14)/4)) {
			r := audit.Record{Time: began.Truncate(24 * time.Hour).Add(time.Duration(minute) * time.Minute), Action: audit.SignIn, Kind: "ok",
				Duration: time.Duration(5+minute%40+10*i) * time.Millisecond}
			switch {
			case hour >= 13 && hour < 13.5:
				r.Kind, r.Reason, r.Duration = "unavailable", "directory_silent", 3*time.Second
			case (minute+i)%11 == 0:
				r.Kind, r.Reason = "bad_credentials", "wrong_password"
			case (minute+i)%53 == 0:
				r.Kind, r.Reason = "locked", Throttled
			}
			c = append(c, r)
		}
	}
	return c
}

func TestCharts(t *testing.T) {
	from := began.Truncate(24 * time.Hour)
	o, err := Look(t.Context(), day(), from, from.Add(24*time.Hour), "", "")
	if err != nil || o.Granted == 0 || o.Refused <= o.Throttled || o.Throttled == 0 || o.Granted+o.Refused != int64(len(day())) {
		t.Fatalf("%+v, %v", o, err)
	}
	text := ""
	for _, c := range []Chart{o.SignIns, o.Failures, o.Latency, o.Limits} {
		text += c.SVG()
		wellFormed(t, c.SVG())
		head, rows := c.Table()
		if len(rows) == 0 || len(rows[0]) != len(head) || len(head) != len(c.Series)+1 {
			t.Errorf("%s: table %v with %d rows", c.ID, head, len(rows))
		}
	}
	golden(t, "charts.svg", text)
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %.200s", err, text)
		}
	}
}

// A chart without anything in it, and one whose texts somebody else wrote.
func TestChartsOfNothing(t *testing.T) {
	o, err := Look(t.Context(), counter{}, began, began.Add(time.Hour), "", "")
	if err != nil || o.Granted+o.Refused != 0 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, c := range []Chart{o.SignIns, o.Failures, o.Latency, o.Limits} {
		wellFormed(t, c.SVG())
		if _, rows := c.Table(); len(rows) != 0 {
			t.Errorf("%s: %v", c.ID, rows)
		}
	}
	strange := Chart{ID: `a"b`, Title: "<script>", From: began, Span: time.Hour, Columns: 1, Series: []Series{{"</svg>&", []float64{1}}}}
	wellFormed(t, strange.SVG())
	if strings.Contains(strange.SVG(), "<script") || strings.Count(strange.SVG(), "</svg>") != 1 {
		t.Error(strange.SVG())
	}
}

// However long the time, there are neither too many columns to be seen nor too few.
func TestSpans(t *testing.T) {
	for of := time.Hour; of < 4*366*24*time.Hour; of += of/7 + time.Minute {
		width, span := spans(of)
		columns := int(of / span)
		if span%width != 0 || columns > 100 && of <= columns96 || columns < 12 {
			t.Errorf("%s: columns of %s from counts of %s: %d", of, span, width, columns)
		}
		if kept := keepCounts[widthIndex(width)]; of > kept {
			t.Errorf("%s: counts of %s are kept for %s only", of, width, kept)
		}
	}
}

const columns96 = columns * 12 * 24 * time.Hour

func widthIndex(w time.Duration) int {
	for i, width := range Widths {
		if width == w {
			return i
		}
	}
	return -1
}

func TestPercentile(t *testing.T) {
	counts := make([]int64, len(buckets)+1)
	if !math.IsNaN(percentile(counts, .5)) {
		t.Error("of nothing")
	}
	counts[3], counts[len(buckets)] = 98, 2 // between 2 and 5 ms, and very long
	for part, want := range map[float64]float64{.49: .0035, .98: .005, .99: 20} {
		if got := percentile(counts, part); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", part, got, want)
		}
	}
}

// TestChartsInABrowser draws them on a light and on a dark page, and without any style of ours.
func TestChartsInABrowser(t *testing.T) {
	from := began.Truncate(24 * time.Hour)
	o, err := Look(t.Context(), day(), from, from.Add(24*time.Hour), "", "")
	if err != nil {
		t.Fatal(err)
	}
	body := ""
	for _, c := range []Chart{o.SignIns, o.Failures, o.Latency, o.Limits} {
		body += c.SVG()
	}
	const page = `<!doctype html><html lang="en"><title>charts</title><link rel="icon" href="data:,">
		<style>:root{color-scheme:light dark} body{max-width:800px}%s</style>`
	mux := http.NewServeMux()
	for path, style := range map[string]string{"/": ChartStyle, "/plain": ""} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, page+"%s", style, body) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p := chromium.Start(t, chromium.Options{}).NewPage()
	p.Size(840, 1200)
	for name, dark := range map[string]bool{"charts": false, "charts-dark": true} {
		p.Dark(dark)
		p.Open(s.URL)
		p.Screenshot("insight/" + name)
		var colours int
		p.Eval(`new Set([...document.querySelectorAll(".bar,.line")].map(e => getComputedStyle(e).fill + getComputedStyle(e).stroke)).size`, &colours)
		if colours < 6 {
			t.Errorf("%s: %d colours", name, colours)
		}
	}
	p.Dark(false)
	p.Open(s.URL + "/plain")
	p.Screenshot("insight/charts-plain")
	if e := p.Errors(); len(e) > 0 {
		t.Error(e)
	}
}
