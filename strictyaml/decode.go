package strictyaml

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decoder fills structs from a syntax tree. Every problem is noted and the rest goes on.
type decoder struct {
	doc     *Document
	options Options
}

func (d *decoder) refuse(at position, path, format string, args ...any) {
	d.doc.refuse(at, path, format, args...)
}

func (d *decoder) root(n ast.Node, into any) {
	v := reflect.ValueOf(into).Elem()
	d.structure(n, "", position{1, 1}, v)
}

// value fills v from a node that is there.
func (d *decoder) value(n ast.Node, path string, v reflect.Value, f field) {
	if n.Type() == ast.NullType {
		d.refuse(at(n), path, "has no value (give one, or remove the key)")
		return
	}
	switch t := v.Type(); {
	case f.twin:
		d.secretFile(n, path, v)
	case isScalar(t):
		d.scalar(n, path, v, f)
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		d.value(n, path, v.Elem(), f)
	case t.Kind() == reflect.Slice:
		d.list(n, path, v, f)
	case t.Kind() == reflect.Map:
		d.table(n, path, v, f)
	case t.Kind() == reflect.Struct:
		d.structure(n, path, at(n), v)
	default:
		d.refuse(at(n), path, "the program has no way to read a %s", t)
	}
}

func (d *decoder) list(n ast.Node, path string, v reflect.Value, f field) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.refuse(at(n), path, "must be a list (write [a, b], or one item per line after \"- \")")
		return
	}
	items := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
	for i, item := range list.Values {
		p := fmt.Sprintf("%s[%d]", path, i)
		d.doc.at[p] = at(first(item))
		d.value(item, p, items.Index(i), f)
	}
	v.Set(items)
}

func (d *decoder) table(n ast.Node, path string, v reflect.Value, f field) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.entries(n, path) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, join(path, e.key), item, f)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), item)
	}
}

// entry is a key and its value.
type entry struct {
	key   string
	at    position
	value ast.Node
}

// entries lists a mapping in the order of the file, without keys that are not texts and without duplicates.
func (d *decoder) entries(n ast.Node, path string) []entry {
	values, ok := pairs(n)
	if !ok {
		d.refuse(at(n), path, "must be a mapping (key: value)")
		return nil
	}
	var entries []entry
	for _, pair := range values {
		e := entry{at: at(pair.Key), value: pair.Value}
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			d.refuse(e.at, path, "the key %s must be a text (put it in quotes)", pair.Key.GetToken().Value)
			continue
		}
		e.key = key.Value
		if i := slices.IndexFunc(entries, func(o entry) bool { return o.key == e.key }); i >= 0 {
			d.refuse(e.at, join(path, e.key), "given twice (first on line %d)", entries[i].at.line)
			continue
		}
		d.doc.at[join(path, e.key)] = e.at
		entries = append(entries, e)
	}
	return entries
}

func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case nil:
		return nil, true
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// first is the node whose position is where a person sees a value begin.
func first(n ast.Node) ast.Node {
	if values, ok := pairs(n); ok && len(values) > 0 {
		return values[0].Key
	}
	return n
}

// slot is a key that the mapping at hand may have, and where its value goes.
type slot struct {
	field
	v    reflect.Value
	seen bool
}

// structure fills a struct; n is nil for one that is absent, whose defaults and required keys count all the same.
func (d *decoder) structure(n ast.Node, path string, where position, v reflect.Value) {
	entries := d.entries(n, path)
	if _, ok := pairs(n); !ok {
		return // said already, and what is missing in it would be noise
	}
	slots, finish, complete := d.slots(path, v, entries)
	for _, e := range entries {
		i := slices.IndexFunc(slots, func(s slot) bool { return s.key == e.key })
		if i < 0 {
			if complete {
				d.refuse(e.at, join(path, e.key), "unknown key%s", suggest(e.key, slots))
			}
			continue
		}
		d.slot(e, path, slots, i)
	}
	if at, ok := d.doc.at[path]; ok {
		where = at
	}
	for i := range slots {
		d.absent(slots, i, path, where)
	}
	finish()
}

// slot fills the value of one key. A secret and its _file twin are neighbours; one of them is enough.
func (d *decoder) slot(e entry, path string, slots []slot, i int) {
	slots[i].seen = true
	other := -1
	switch {
	case slots[i].twin:
		other = i - 1
	case isSecret(slots[i].typ):
		other = i + 1
	}
	if other >= 0 && slots[other].seen {
		d.refuse(e.at, join(path, e.key), "given together with %s (give one of the two)", slots[other].key)
		return
	}
	d.value(e.value, join(path, e.key), slots[i].v, slots[i].field)
}

// slots lists the keys of a struct. With variants it takes in those of the struct that the entries select; complete is
// false when that is not known, so that nothing can be said about unknown keys. finish puts the variants in place.
func (d *decoder) slots(path string, v reflect.Value, entries []entry) (slots []slot, finish func(), complete bool) {
	finish, complete = func() {}, true
	for _, f := range fieldsOf(v.Type()) {
		if f.variants == "" {
			slots = append(slots, slot{field: f, v: v.FieldByIndex(f.index)})
			continue
		}
		chosen, ok := d.variant(path, f, entries)
		if !ok {
			complete = false
			continue
		}
		inner := reflect.New(chosen).Elem()
		for _, g := range fieldsOf(chosen) {
			slots = append(slots, slot{field: g, v: inner.FieldByIndex(g.index)})
		}
		finish = func() { v.FieldByIndex(f.index).Set(inner) }
	}
	return slots, finish, complete
}

// variant is the struct that the entries select. That the selecting key is absent is said by its own `required`.
func (d *decoder) variant(path string, f field, entries []entry) (reflect.Type, bool) {
	set := d.options.Variants[f.variants]
	i := slices.IndexFunc(entries, func(e entry) bool { return e.key == f.by })
	if i < 0 {
		return nil, false
	}
	text, ok := entries[i].value.(*ast.StringNode)
	if !ok {
		return nil, false
	}
	if chosen, ok := set[text.Value]; ok {
		return reflect.TypeOf(chosen), true
	}
	d.refuse(at(text), join(path, f.by), "%q is not one of %s", text.Value, strings.Join(slices.Sorted(maps.Keys(set)), ", "))
	return nil, false
}

// absent deals with a key that is not there: a default, a problem, or a struct of defaults.
func (d *decoder) absent(slots []slot, i int, path string, where position) {
	s := slots[i]
	if s.seen || s.twin || isSecret(s.typ) && slots[i+1].seen {
		return
	}
	p := join(path, s.key)
	switch {
	case s.required:
		d.refuse(where, p, "is missing%s", hint(s.field))
	case s.fallback != "":
		d.fallback(p, s)
	case s.typ.Kind() == reflect.Struct && !isScalar(s.typ):
		d.structure(nil, p, where, s.v)
	}
}

// fallback reads a default as if it stood in the file.
func (d *decoder) fallback(path string, s slot) {
	file, err := parser.ParseBytes([]byte(s.fallback), 0)
	if err != nil || len(file.Docs) != 1 || file.Docs[0].Body == nil {
		panic("strictyaml: the default of " + path + " is not YAML")
	}
	apart := &decoder{doc: &Document{file: "default", at: map[string]position{}}, options: d.options}
	apart.value(file.Docs[0].Body, path, s.v, s.field)
	if err := apart.doc.Err(); err != nil {
		panic("strictyaml: " + err.Error())
	}
}

func hint(f field) string {
	switch {
	case isSecret(f.typ):
		return " (give it, or " + f.key + twinSuffix + ")"
	case len(f.enum) > 0:
		return " (one of " + strings.Join(f.enum, ", ") + ")"
	case f.doc != "":
		return " (" + f.doc + ")"
	}
	return ""
}
