package itusers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// readJSON reads token by token: encoding/json alone would take the last of two equal keys, and tell no lines.
func (f *file) readJSON(text []byte) {
	r := &jsonReader{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	r.dec.UseNumber()
	if token, err := r.dec.Token(); err != nil || token != json.Delim('[') {
		f.problem(1, "is not an array of users: [{\"username\": …}, …]")
		return
	}
	for r.dec.More() {
		line := r.line()
		value, err := r.value(1)
		if err != nil {
			f.syntax(r, err)
			return
		}
		f.jsonUser(line, value)
	}
	if _, err := r.dec.Token(); err != nil {
		f.syntax(r, err)
		return
	}
	line := r.line()
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		f.problem(line, "there is something after the array")
	}
}

func (f *file) syntax(r *jsonReader, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends too early")
	}
	f.problem(r.errorLine(err), "is not JSON: %v", err)
}

// member is a member of a JSON object.
type member struct {
	key   string
	line  int
	value any // string, json.Number, bool, nil, []member or []any
}

// maxDepth is more than a user needs, and keeps a hostile file from the stack.
const maxDepth = 8

type jsonReader struct {
	text    []byte
	dec     *json.Decoder
	counted int // newlines have been counted up to here
	lines   int
}

func (r *jsonReader) value(depth int) (any, error) {
	token, err := r.dec.Token()
	if err != nil || depth > maxDepth {
		return nil, errors.Join(err, deep(depth))
	}
	switch token {
	case json.Delim('{'):
		return r.object(depth)
	case json.Delim('['):
		return r.array(depth)
	}
	return token, nil
}

func deep(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	return nil
}

func (r *jsonReader) object(depth int) (any, error) {
	members := []member{}
	for r.dec.More() {
		line := r.line()
		key, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{key.(string), line, value}) // the decoder lets nothing else be a key
	}
	_, err := r.dec.Token()
	return members, err
}

func (r *jsonReader) array(depth int) (any, error) {
	values := []any{}
	for r.dec.More() {
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	_, err := r.dec.Token()
	return values, err
}

// line is where the next token begins.
func (r *jsonReader) line() int {
	at := int(r.dec.InputOffset())
	for at < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[at]) >= 0 {
		at++
	}
	return r.lineAt(at)
}

func (r *jsonReader) lineAt(offset int) int {
	offset = min(offset, len(r.text))
	if offset < r.counted {
		r.counted, r.lines = 0, 0
	}
	r.lines += bytes.Count(r.text[r.counted:offset], []byte("\n"))
	r.counted = offset
	return r.lines + 1
}

func (r *jsonReader) errorLine(err error) int {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return r.lineAt(int(syntax.Offset))
	}
	return r.line()
}

func (f *file) jsonUser(line int, value any) {
	members, ok := value.([]member)
	if !ok {
		f.problem(line, "is not an object: {\"username\": …}")
		return
	}
	e := entry{line: line}
	seen := map[string]member{}
	for _, m := range members {
		if m.key == "is_active" {
			m.key = "active"
		}
		if _, twice := seen[m.key]; twice {
			f.problem(m.line, "%q is there twice", m.key)
			continue
		}
		seen[m.key] = m
		f.jsonMember(&e, m)
	}
	if _, there := seen["username"]; !there {
		f.problem(line, "there is no username")
	}
	f.jsonID(&e, seen)
	f.add(e)
}

func (f *file) jsonMember(e *entry, m member) {
	text, isText := m.value.(string)
	active, isBool := m.value.(bool)
	switch m.key {
	case "username", "name", "email":
		if !isText {
			f.problem(m.line, "%s is not a text", m.key)
			return
		}
		f.jsonText(e, m, text)
	case "active":
		if !isBool {
			f.problem(m.line, "active is not true or false")
			return
		}
		e.active = &active
	case "ids":
		f.jsonIDs(e, m)
	case "id", "environment": // together, in jsonID
	default:
		f.problem(m.line, "%q is unknown; known are username, name, email, active, ids, id, environment", m.key)
	}
}

func (f *file) jsonText(e *entry, m member, text string) {
	switch m.key {
	case "username":
		f.setUsername(e, text)
	case "name":
		f.setText(m.line, m.key, text, &e.name)
	case "email":
		f.setText(m.line, m.key, text, &e.email)
	}
}

func (f *file) jsonIDs(e *entry, ids member) {
	members, ok := ids.value.([]member)
	if !ok {
		f.problem(ids.line, "ids is not an object: {\"ENVIRONMENT\": 12}")
		return
	}
	for _, m := range members {
		environment, known := f.environment(m.line, m.key)
		if !known {
			continue
		}
		if _, twice := e.ids[environment]; twice {
			f.problem(m.line, "%q is there twice", m.key)
			continue
		}
		f.jsonNumber(e, environment, m)
	}
}

// jsonID reads the long form: one object per user and environment.
func (f *file) jsonID(e *entry, seen map[string]member) {
	number, hasID := seen["id"]
	where, hasEnvironment := seen["environment"]
	_, hasIDs := seen["ids"]
	f.long = hasID
	environment, _ := where.value.(string)
	switch {
	case hasID && hasIDs:
		f.problem(number.line, "there is an id and ids; use one form")
	case hasEnvironment && !hasID:
		f.problem(where.line, "there is an environment but no id")
	case !hasID:
	case hasEnvironment && f.Environment != "":
		f.problem(where.line, "--environment was given, but the file names environments")
	case !hasEnvironment && f.Environment == "":
		f.problem(number.line, "whose id is this? Say --environment, or add \"environment\"")
	default:
		if !hasEnvironment {
			environment = f.Environment
		}
		if known, ok := f.environment(number.line, environment); ok {
			f.jsonNumber(e, known, number)
		}
	}
}

func (f *file) jsonNumber(e *entry, environment string, m member) {
	at := *e
	at.line = m.line // for the problem, and for the id
	switch value := m.value.(type) {
	case nil:
		at.set(environment, 0)
	case json.Number:
		f.setID(&at, environment, value.String())
	default:
		f.problem(m.line, "id is not a number")
	}
	e.ids = at.ids
}
