package strictyaml

import (
	"encoding"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mask is what Encode writes in the place of a secret, unless it is told otherwise. Restore takes it back.
const Mask = "<secret>"

// EncodeOptions say how a struct is written.
type EncodeOptions struct {
	Dir      string                           // names of files below it are written relative to it, as Decode reads them
	Defaults bool                             // write keys too whose value is the default
	Secret   func(path, secret string) string // what stands for a secret; nil: Mask
}

// Reveal is an EncodeOptions.Secret that shows secrets.
func Reveal(_, secret string) string { return secret }

// Encode writes a struct that Decode has filled so that Decode reads the same from it. Secrets are written in their own key,
// never as the name of the file that they came from; comments are gone.
func Encode(v any, o EncodeOptions) []byte {
	var text strings.Builder
	e := encoder{o}
	write(&text, e.structure("", indirect(v)), 0)
	return []byte(text.String())
}

// Values is the same as Encode writes, as encoding/json would have decoded it.
func Values(v any, o EncodeOptions) map[string]any {
	e := encoder{o}
	m, _ := e.structure("", indirect(v)).value().(map[string]any)
	return m
}

func indirect(v any) reflect.Value {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	return r
}

// tree is what is to be written: a scalar, a list or a mapping.
type tree struct {
	scalar any    // string, bool, int64, uint64 or float64
	plain  string // the scalar's text, where it needs no quotes
	list   []tree
	keys   []string // of a mapping, in order
	values []tree
	kind   reflect.Kind // String (any scalar), Slice or Map
}

func (t tree) empty() bool { return t.kind != reflect.String && len(t.list)+len(t.keys) == 0 }

func (t tree) value() any {
	switch t.kind {
	case reflect.Slice:
		list := []any{}
		for _, item := range t.list {
			list = append(list, item.value())
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for i, key := range t.keys {
			m[key] = t.values[i].value()
		}
		return m
	}
	return t.scalar
}

type encoder struct{ EncodeOptions }

func (e encoder) value(path string, v reflect.Value, f field) tree {
	switch t := v.Type(); {
	case isScalar(t):
		return e.scalar(path, v, f)
	case t.Kind() == reflect.Pointer:
		return e.value(path, v.Elem(), f)
	case t.Kind() == reflect.Slice:
		list := tree{kind: reflect.Slice}
		for i := range v.Len() {
			list.list = append(list.list, e.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f))
		}
		return list
	case t.Kind() == reflect.Map:
		return e.table(path, v, f)
	}
	return e.structure(path, v)
}

func (e encoder) table(path string, v reflect.Value, f field) tree {
	m := tree{kind: reflect.Map}
	for _, key := range v.MapKeys() {
		m.keys = append(m.keys, key.String())
	}
	slices.Sort(m.keys)
	for _, key := range m.keys {
		item := v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key()))
		m.values = append(m.values, e.value(join(path, key), item, f))
	}
	return m
}

// structure writes the fields that are worth it, those of the variant in its place.
func (e encoder) structure(path string, v reflect.Value) tree {
	m := tree{kind: reflect.Map}
	for _, f := range fieldsOf(v.Type()) {
		x := v.FieldByIndex(f.index)
		switch {
		case f.variants != "" && !x.IsNil():
			inner := e.structure(path, x.Elem())
			m.keys, m.values = append(m.keys, inner.keys...), append(m.values, inner.values...)
		case f.variants != "" || f.twin:
		case e.worth(join(path, f.key), x, f):
			if t := e.value(join(path, f.key), x, f); !t.empty() || f.required || x.Kind() != reflect.Struct {
				m.keys, m.values = append(m.keys, f.key), append(m.values, t)
			}
		}
	}
	return m
}

// worth tells whether a key must be written for Decode to find the value.
func (e encoder) worth(path string, v reflect.Value, f field) bool {
	switch {
	case isSecret(f.typ):
		return v.Len() > 0
	case f.required:
		return v.Kind() != reflect.Pointer || !v.IsNil()
	case f.fallback != "":
		usual := reflect.New(f.typ).Elem()
		(&decoder{}).fallback(path, slot{field: f, v: usual})
		return e.Defaults || !same(v, usual)
	case v.Kind() == reflect.Struct && !isScalar(f.typ):
		return true // its own keys decide
	}
	return !v.IsZero()
}

// same takes no list and an empty one for the same.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func (e encoder) scalar(path string, v reflect.Value, f field) tree {
	t := tree{kind: reflect.String}
	switch {
	case v.Type() == durationType:
		t.plain = durationText(time.Duration(v.Int()))
		t.scalar = t.plain
	case isSecret(v.Type()):
		t.scalar = Mask
		if e.Secret != nil {
			t.scalar = e.Secret(path, v.String())
		}
	case unmarshalsText(v.Type()):
		text := textOfValue(v)
		if t.scalar = text; selfRead.MatchString(text) {
			t.plain = text
		}
	case v.Kind() == reflect.String:
		t.scalar = v.String()
		if strings.HasSuffix(f.key, twinSuffix) {
			t.scalar = e.relative(v.String())
		}
	case v.Kind() == reflect.Bool:
		t.scalar, t.plain = v.Bool(), strconv.FormatBool(v.Bool())
	case v.CanFloat():
		t.scalar, t.plain = v.Float(), strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case v.CanUint():
		t.scalar, t.plain = v.Uint(), strconv.FormatUint(v.Uint(), 10)
	default:
		t.scalar, t.plain = v.Int(), strconv.FormatInt(v.Int(), 10)
	}
	return t
}

// selfRead is a text that needs no quotes where a type reads itself: there a number is a text too.
var selfRead = regexp.MustCompile(`^[0-9A-Za-z./]+$`)

// textOfValue is the text of a type that reads itself.
func textOfValue(v reflect.Value) string {
	x := v.Interface()
	if v.CanAddr() {
		x = v.Addr().Interface()
	}
	if m, ok := x.(encoding.TextMarshaler); ok {
		if text, err := m.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(x)
}

// relative is the name of a file as it stands in a file in Dir.
func (e encoder) relative(name string) string {
	if e.Dir == "" || !filepath.IsAbs(name) {
		return name
	}
	rel, err := filepath.Rel(e.Dir, name)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return name
	}
	return rel
}

// durationText is a duration as people write it: 30s, 1h30m, 400d.
func durationText(d time.Duration) string {
	const day = 24 * time.Hour
	if d != 0 && d%day == 0 && d > 0 && d/day <= math.MaxInt32 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText writes a size in the largest unit that has no remainder.
func (s Size) MarshalText() ([]byte, error) {
	n, unit := int64(s), ""
	for _, u := range []string{"KiB", "MiB", "GiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return []byte(strconv.FormatInt(n, 10) + unit), nil
}
