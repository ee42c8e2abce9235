package insight

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"time"
)

// Chart is numbers over time, drawn as SVG without any script. Its colours are classes, s1, s2 ... (ChartStyle), so that a
// page's style has them lighter in the dark; without a style it can be read all the same.
type Chart struct {
	ID      string // unique on its page
	Title   string
	From    time.Time
	Span    time.Duration // of a column
	Columns int
	Bars    bool   // stacked bars, else lines
	Unit    string // "s": seconds; else plain numbers
	Series  []Series
	// Say says in another language what chartWords say in English; nil: English.
	Say func(name string, of ...any) string
}

// chartWords are what a chart says besides its title and the names of its series.
var chartWords = map[string]string{
	"time": "Time (UTC)", "range": "%s to %s, by %s.", "none": "%s: none.", "most": "%s: %d in all, most at %s (%s).",
	"longest": "%s: longest at %s (%s).", "day": "day", "days": "%d days", "hour": "hour", "hours": "%d hours", "minutes": "%d minutes",
}

func (c Chart) say(name string, of ...any) string {
	if c.Say != nil {
		return c.Say(name, of...)
	}
	if len(of) == 0 {
		return chartWords[name]
	}
	return fmt.Sprintf(chartWords[name], of...)
}

// Series is one line, or one part of each bar. Not a number is a gap.
type Series struct {
	Name   string
	Values []float64
}

// ChartStyle is what a page's style sheet says of charts. Colours are told apart also by those who see few of them.
const ChartStyle = `.chart{width:100%;height:auto;color:inherit;font:12px sans-serif}
.chart .grid{stroke:currentColor;stroke-opacity:.15}
.chart .line{fill:none;stroke-width:2}
.chart text{fill:currentColor}
.chart .s1{--c:#0b6bcb}.chart .s2{--c:#c4420c}.chart .s3{--c:#1a7f5a}.chart .s4{--c:#8250c4}.chart .s5{--c:#a06a00}
.chart .s6{--c:#b3307a}.chart .s7{--c:#4f6472}.chart .s8{--c:#5b7300}.chart .s9{--c:#00788a}.chart .s10{--c:#8a3b3b}
.chart .bar,.chart .key{fill:var(--c);fill-opacity:1}.chart .line{stroke:var(--c);stroke-opacity:1}
@media (prefers-color-scheme:dark){.chart .s1{--c:#6db3ff}.chart .s2{--c:#ff9466}.chart .s3{--c:#58cfa0}.chart .s4{--c:#c3a1ff}
.chart .s5{--c:#e6b450}.chart .s6{--c:#ff8ac4}.chart .s7{--c:#a9bac6}.chart .s8{--c:#bcd35f}.chart .s9{--c:#5fd0e0}.chart .s10{--c:#e39a9a}}
`

// Size of the drawing, and of its margins.
const (
	chartWidth, chartHeight = 760, 260
	left, right, top, foot  = 56, 12, 34, 28
	plotWidth, plotHeight   = chartWidth - left - right, chartHeight - top - foot
)

// SVG draws the chart. All text in it is escaped.
func (c Chart) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" `+
		`aria-labelledby="%s-title %[3]s-desc">`,
		chartWidth, chartHeight, html.EscapeString(c.ID))
	fmt.Fprintf(&b, "\n<title id=\"%s-title\">%s</title>\n<desc id=\"%[1]s-desc\">%[3]s</desc>\n",
		html.EscapeString(c.ID), html.EscapeString(c.Title), html.EscapeString(c.Description()))
	most := c.most()
	c.grid(&b, most)
	c.legend(&b)
	if c.Bars {
		c.bars(&b, most)
	} else {
		c.lines(&b, most)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// Description says in words what the drawing shows.
func (c Chart) Description() string {
	text := c.say("range", moment(c.From), moment(c.From.Add(time.Duration(c.Columns)*c.Span)), c.span())
	for _, s := range c.Series {
		highest, at := 0.0, -1
		for i, v := range s.Values {
			if !math.IsNaN(v) && (at < 0 || v > highest) {
				highest, at = v, i
			}
		}
		switch {
		case at < 0 || highest == 0:
			text += " " + c.say("none", s.Name)
		case c.Bars:
			text += " " + c.say("most", s.Name, sum(s.Values), c.moment(at), c.number(highest))
		default:
			text += " " + c.say("longest", s.Name, c.moment(at), c.number(highest))
		}
	}
	return text
}

// Table has the same numbers for those who read rather than look: the columns in which there is something.
func (c Chart) Table() (head []string, rows [][]string) {
	head = []string{c.say("time")}
	for _, s := range c.Series {
		head = append(head, s.Name)
	}
	for i := range c.Columns {
		row, empty := []string{c.moment(i)}, true
		for _, s := range c.Series {
			row = append(row, c.number(s.Values[i]))
			empty = empty && (s.Values[i] == 0 || math.IsNaN(s.Values[i]))
		}
		if !empty {
			rows = append(rows, row)
		}
	}
	return head, rows
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func (c Chart) moment(column int) string { return moment(c.From.Add(time.Duration(column) * c.Span)) }

// span is how long a column is.
func (c Chart) span() string {
	switch d := c.Span; {
	case d == 24*time.Hour:
		return c.say("day")
	case d%(24*time.Hour) == 0:
		return c.say("days", int(d/(24*time.Hour)))
	case d == time.Hour:
		return c.say("hour")
	case d%time.Hour == 0:
		return c.say("hours", int(d/time.Hour))
	}
	return c.say("minutes", int(c.Span/time.Minute))
}

// number is a value for people.
func (c Chart) number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case c.Unit != "s":
		return strconv.FormatFloat(v, 'f', -1, 64)
	case v < 1:
		return strconv.FormatFloat(math.Round(v*10_000)/10, 'f', -1, 64) + " ms"
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + " s"
}

// most is the round number at the upper end: 1, 2 or 5 times a power of ten, with 2 and 5 for four lines of the grid.
func (c Chart) most() float64 {
	highest := 0.0
	for i := range c.Columns {
		column := 0.0
		for _, s := range c.Series {
			switch v := s.Values[i]; {
			case math.IsNaN(v):
			case c.Bars:
				column += v
			default:
				column = max(column, v)
			}
		}
		highest = max(highest, column)
	}
	if highest == 0 {
		return 4
	}
	for unit := math.Pow(10, math.Floor(math.Log10(highest))-1); ; unit *= 10 {
		for _, n := range []float64{4, 8, 10, 20} {
			if most := n * unit; most >= highest && (c.Unit == "s" || most >= 4) {
				return most
			}
		}
	}
}

func x(column float64, of int) string { return coordinate(left + plotWidth*column/float64(max(of, 1))) }

func y(value, most float64) string { return coordinate(top + plotHeight*(1-value/most)) }

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func (c Chart) grid(b *strings.Builder, most float64) {
	for i := range 5 {
		at := y(most*float64(i)/4, most)
		fmt.Fprintf(b, "<line class=\"grid\" x1=\"%d\" y1=\"%s\" x2=\"%d\" y2=\"%[2]s\" stroke=\"currentColor\" stroke-opacity=\".15\"/>\n",
			left, at, chartWidth-right)
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%s\" dy=\".35em\" text-anchor=\"end\" fill=\"currentColor\">%s</text>\n",
			left-6, at, c.number(most*float64(i)/4))
	}
	layout := "15:04"
	if time.Duration(c.Columns)*c.Span > 36*time.Hour {
		layout = "01-02" // the same in every language
	}
	step := max((c.Columns+7)/8, 1)
	for i := 0; i < c.Columns; i += step {
		at := c.From.Add(time.Duration(i) * c.Span).UTC().Format(layout)
		fmt.Fprintf(b, "<text x=\"%s\" y=\"%d\" fill=\"currentColor\">%s</text>\n", x(float64(i), c.Columns), chartHeight-8, at)
	}
}

func (c Chart) legend(b *strings.Builder) {
	at := left
	for i, s := range c.Series {
		fmt.Fprintf(b, "<g class=\"s%d\"><rect class=\"key\" x=\"%d\" y=\"9\" width=\"12\" height=\"12\" fill=\"currentColor\" "+
			"fill-opacity=\"%s\"/></g>",
			i+1, at, opacity(i))
		fmt.Fprintf(b, "<text x=\"%d\" y=\"19\" fill=\"currentColor\">%s</text>\n", at+17, html.EscapeString(s.Name))
		at += 17 + 7*len([]rune(s.Name)) + 14
	}
}

// opacity tells series apart where no style does.
func opacity(series int) string { return []string{".8", ".45", ".6", ".3", ".7"}[series%5] }

func (c Chart) bars(b *strings.Builder, most float64) {
	wide := float64(plotWidth) / float64(max(c.Columns, 1))
	from := make([]float64, c.Columns)
	for i, s := range c.Series {
		fmt.Fprintf(b, "<g class=\"s%d\">", i+1)
		for column, v := range s.Values {
			if v <= 0 || math.IsNaN(v) {
				continue
			}
			tall := plotHeight * v / most
			fmt.Fprintf(b, "<rect class=\"bar\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"currentColor\" fill-opacity=\"%s\"/>",
				x(float64(column)+.1, c.Columns), y(from[column]+v, most), coordinate(wide*.8), coordinate(max(tall, .5)), opacity(i))
			from[column] += v
		}
		b.WriteString("</g>\n")
	}
}

func (c Chart) lines(b *strings.Builder, most float64) {
	for i, s := range c.Series {
		path, pen := "", "M"
		for column, v := range s.Values {
			if math.IsNaN(v) {
				pen = "M"
				continue
			}
			path += pen + x(float64(column)+.5, c.Columns) + " " + y(v, most)
			if pen == "M" { // a single value shows as a dot
				path += "h.01"
			}
			pen = "L"
		}
		fmt.Fprintf(b, "<g class=\"s%d\"><path class=\"line\" d=\"%s\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" "+
			"stroke-linecap=\"round\" stroke-opacity=\"%s\"%s/></g>\n", i+1, path, opacity(i), dashes(i))
	}
}

// dashes tell lines apart where colours do not.
func dashes(series int) string {
	return []string{"", ` stroke-dasharray="6 4"`, ` stroke-dasharray="2 4"`}[series%3]
}
