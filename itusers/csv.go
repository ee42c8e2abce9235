package itusers

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
)

// columns says where in a row what is; -1 for nowhere.
type columns struct {
	count                                          int
	username, name, email, active, id, environment int
	ids                                            map[int]string // column → environment
}

func (f *file) readCSV(text []byte) {
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma = separator(text)
	r.FieldsPerRecord = -1 // counted below, so that reading goes on
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		f.problem(1, "there is no header line with the names of the columns")
		return
	}
	line, _ := r.FieldPos(0)
	c, ok := f.header(line, header)
	if !ok {
		return // every row would be a problem
	}
	for {
		cells, err := r.Read()
		var syntax *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.As(err, &syntax):
			f.problem(syntax.StartLine, "a quotation mark is not closed or not doubled")
		default:
			line, _ := r.FieldPos(0)
			f.row(line, c, cells)
		}
	}
}

// separator is the one that the header uses most; Excel writes what the country's settings say.
func separator(text []byte) rune {
	header, _, _ := bytes.Cut(text, []byte("\n"))
	best, most := ',', 0
	for _, s := range ",;\t" {
		if n := bytes.Count(header, []byte(string(s))); n > most {
			best, most = s, n
		}
	}
	return best
}

func (f *file) header(line int, header []string) (columns, bool) {
	before := len(f.problems)
	c := columns{len(header), -1, -1, -1, -1, -1, -1, map[int]string{}}
	places := map[string]*int{
		"username": &c.username, "name": &c.name, "email": &c.email, "active": &c.active, "is_active": &c.active,
		"id": &c.id, "environment": &c.environment,
	}
	for i, column := range header {
		column = strings.TrimSpace(column)
		if prefix, name, ok := strings.Cut(column, ":"); ok && strings.EqualFold(prefix, "id") {
			f.idColumn(line, c, i, name)
			continue
		}
		switch place := places[strings.ToLower(column)]; {
		case place == nil:
			f.problem(line,
				"column %q is unknown; known are username, name, email, active, id, environment, id:ENVIRONMENT", column)
		case *place >= 0:
			f.problem(line, "column %q is there twice", column)
		default:
			*place = i
		}
	}
	f.checkForm(line, c)
	return c, len(f.problems) == before
}

func (f *file) idColumn(line int, c columns, at int, name string) {
	environment, ok := f.environment(line, strings.TrimSpace(name))
	if !ok {
		return
	}
	for _, other := range c.ids {
		if other == environment {
			f.problem(line, "column \"id:%s\" is there twice", environment)
		}
	}
	c.ids[at] = environment
}

// checkForm finds out whether there is one row per user, or one per user and environment.
func (f *file) checkForm(line int, c columns) {
	f.long = c.id >= 0
	switch {
	case c.username < 0:
		f.problem(line, "there is no column username")
	case c.id >= 0 && len(c.ids) > 0:
		f.problem(line, "there is a column id and one with an environment; use one form")
	case c.id < 0 && c.environment >= 0:
		f.problem(line, "there is a column environment but no column id")
	case c.id >= 0 && c.environment < 0 && f.Environment == "":
		f.problem(line, "whose ids are these? Say --environment, or name the column id:ENVIRONMENT")
	case c.environment >= 0 && f.Environment != "":
		f.problem(line, "--environment was given, but the file has a column environment")
	case f.Environment != "" && c.id >= 0:
		f.Environment, _ = f.environment(line, f.Environment)
	case f.Environment != "" && c.id < 0:
		f.problem(line, "--environment was given, but there is no column id")
	}
}

func (f *file) row(line int, c columns, cells []string) {
	if len(cells) == 1 && strings.TrimSpace(cells[0]) == "" {
		return
	}
	if len(cells) != c.count {
		f.problem(line, "has %d columns, the header has %d", len(cells), c.count)
		return
	}
	e := entry{line: line}
	f.setUsername(&e, cells[c.username])
	if c.name >= 0 {
		f.setText(line, "name", cells[c.name], &e.name)
	}
	if c.email >= 0 {
		f.setText(line, "email", cells[c.email], &e.email)
	}
	if c.active >= 0 && cells[c.active] != "" {
		f.setActive(&e, cells[c.active])
	}
	f.rowIDs(&e, c, cells)
	f.add(e)
}

func (f *file) rowIDs(e *entry, c columns, cells []string) {
	if c.id >= 0 {
		environment := f.Environment
		if c.environment >= 0 {
			environment, _ = f.environment(e.line, cells[c.environment])
		}
		f.cellID(e, environment, cells[c.id])
		return
	}
	for at, cell := range cells {
		if environment, ok := c.ids[at]; ok {
			f.cellID(e, environment, cell)
		}
	}
}

func (f *file) cellID(e *entry, environment, cell string) {
	switch {
	case cell == "":
	case cell == "-" && environment != "":
		e.set(environment, 0)
	default:
		f.setID(e, environment, cell)
	}
}
