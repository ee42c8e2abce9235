package strictyaml

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// field is a key that a struct has.
type field struct {
	key      string
	index    []int
	typ      reflect.Type
	doc      string
	fallback string // YAML
	required bool
	enum     []string
	twin     bool   // the _file key of a secret
	variants string // the set whose structs hold the further keys; the field itself has no key then
	by       string
}

const twinSuffix = "_file"

// fieldsOf lists the keys of a struct in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, tagged := f.Tag.Lookup("yaml")
		key, _, _ = strings.Cut(key, ",")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			fields = append(fields, embedded(f)...)
		case f.Tag.Get("variants") != "":
			fields = append(fields, field{index: f.Index, typ: f.Type, variants: f.Tag.Get("variants"), by: f.Tag.Get("by")})
		case tagged && key != "-" && key != "":
			fields = append(fields, withTwin(newField(f, key))...)
		}
	}
	return fields
}

func embedded(f reflect.StructField) []field {
	inner := fieldsOf(f.Type)
	for i := range inner {
		inner[i].index = append(slices.Clone(f.Index), inner[i].index...)
	}
	return inner
}

func newField(f reflect.StructField, key string) field {
	n := field{key: key, index: f.Index, typ: f.Type, doc: f.Tag.Get("doc"), fallback: f.Tag.Get("default")}
	n.required = f.Tag.Get("required") == "true"
	if enum := f.Tag.Get("enum"); enum != "" {
		n.enum = strings.Split(enum, ",")
	}
	return n
}

func withTwin(f field) []field {
	if !isSecret(f.typ) {
		return []field{f}
	}
	twin := f
	twin.key, twin.twin, twin.required = f.key+twinSuffix, true, false
	twin.doc = "name of a file that holds " + f.key + "; relative to this file's folder"
	return []field{f, twin}
}

func isSecret(t reflect.Type) bool {
	return t.Kind() == reflect.String && t.Implements(reflect.TypeFor[Secret]())
}

// Keys lists the paths of all keys that a struct can have, with [] for the items of a list and * for the keys of a map.
func Keys(prototype any, o Options) []string {
	var keys []string
	addKeys(&keys, "", reflect.TypeOf(prototype), o)
	slices.Sort(keys)
	return slices.Compact(keys)
}

func addKeys(keys *[]string, path string, t reflect.Type, o Options) {
	switch {
	case isScalar(t):
	case t.Kind() == reflect.Pointer:
		addKeys(keys, path, t.Elem(), o)
	case t.Kind() == reflect.Slice:
		addKeys(keys, path+"[]", t.Elem(), o)
	case t.Kind() == reflect.Map:
		addKeys(keys, path+".*", t.Elem(), o)
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			for _, name := range slices.Sorted(maps.Keys(o.Variants[f.variants])) {
				addKeys(keys, path, reflect.TypeOf(o.Variants[f.variants][name]), o)
			}
			if f.key != "" {
				*keys = append(*keys, join(path, f.key))
				addKeys(keys, join(path, f.key), f.typ, o)
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
