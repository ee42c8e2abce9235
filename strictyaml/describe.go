package strictyaml

import (
	"maps"
	"reflect"
	"slices"
)

// Field is a key that a struct can have, for a form.
type Field struct {
	Key      string   `json:"key"`
	Type     string   `json:"type"` // text, bool, integer, number, duration, size, network, address or mapping; of a list's items
	List     bool     `json:"list,omitempty"`
	Table    bool     `json:"table,omitempty"` // a mapping with keys of any name, whose values are of Type
	Doc      string   `json:"doc,omitempty"`
	Default  string   `json:"default,omitempty"` // YAML
	Required bool     `json:"required,omitempty"`
	Secret   bool     `json:"secret,omitempty"` // never shown
	Enum     []string `json:"enum,omitempty"`
	Fields   []Field  `json:"fields,omitempty"` // of a mapping

	// Variants are the further keys, by the value of the key named By. Only of a Field without Key.
	By       string             `json:"by,omitempty"`
	Variants map[string][]Field `json:"variants,omitempty"`
}

// Describe lists the keys of a struct in their order. The _file twins of secrets are left out: they name files of the machine
// that the program runs on, which is nothing for a form.
func Describe(prototype any, o Options) []Field { return describe(reflect.TypeOf(prototype), o) }

func describe(t reflect.Type, o Options) (list []Field) {
	for _, f := range fieldsOf(t) {
		switch {
		case f.twin:
		case f.variants != "":
			d := Field{By: f.by, Variants: map[string][]Field{}}
			for _, name := range slices.Sorted(maps.Keys(o.Variants[f.variants])) {
				d.Variants[name] = describe(reflect.TypeOf(o.Variants[f.variants][name]), o)
			}
			list = append(list, d)
		default:
			list = append(list, describeField(f, o))
		}
	}
	return list
}

func describeField(f field, o Options) Field {
	d := Field{Key: f.key, Doc: f.doc, Default: f.fallback, Required: f.required, Secret: isSecret(f.typ), Enum: f.enum}
	t := f.typ
	for !isScalar(t) && t.Kind() != reflect.Struct {
		d.List, d.Table = d.List || t.Kind() == reflect.Slice, d.Table || t.Kind() == reflect.Map
		t = t.Elem()
	}
	d.Type = typeName(t)
	if d.Type == "mapping" {
		d.Fields = describe(t, o)
	}
	return d
}

func typeName(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == reflect.TypeFor[Size]():
		return "size"
	case t.String() == "netip.Prefix":
		return "network"
	case t.String() == "netip.Addr", t.String() == "netip.AddrPort":
		return "address"
	case unmarshalsText(t), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return "number"
	case isScalar(t):
		return "integer"
	}
	return "mapping"
}
