package strictyaml

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
)

// Schema makes a JSON Schema (2020-12) of a struct. It says what Decode checks, so that an editor can tell while one
// types.
func Schema(prototype any, title string, o Options) ([]byte, error) {
	root := schemaOf(reflect.TypeOf(prototype), o)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = title
	return json.MarshalIndent(root, "", "  ")
}

type schema map[string]any

const (
	durationPattern = `^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^[0-9]+(\.[0-9]+)?d$|^0$`
	sizePattern     = `^[0-9]+(B|KiB|MiB|GiB)?$`
)

func schemaOf(t reflect.Type, o Options) schema {
	switch {
	case t == durationType:
		return schema{"type": "string", "pattern": durationPattern}
	case t == reflect.TypeFor[Size]():
		return schema{"type": []string{"string", "integer"}, "pattern": sizePattern}
	case unmarshalsText(t), t.Kind() == reflect.String:
		return schema{"type": "string"}
	case t.Kind() == reflect.Bool:
		return schema{"type": "boolean"}
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return schema{"type": "number"}
	case isScalar(t):
		return schema{"type": "integer"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), o)
	case reflect.Slice:
		return schema{"type": "array", "items": schemaOf(t.Elem(), o)}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": schemaOf(t.Elem(), o)}
	}
	return structSchema(t, o)
}

// structSchema is one object, or, with variants, one object for each of them.
func structSchema(t reflect.Type, o Options) schema {
	fields := fieldsOf(t)
	i := slices.IndexFunc(fields, func(f field) bool { return f.variants != "" })
	if i < 0 {
		return object(fields, o)
	}
	chosen, set := fields[i], o.Variants[fields[i].variants]
	fields = slices.Delete(fields, i, i+1)
	var either []schema
	for _, name := range slices.Sorted(maps.Keys(set)) {
		one := object(append(slices.Clone(fields), fieldsOf(reflect.TypeOf(set[name]))...), o)
		properties, _ := one["properties"].(schema)
		properties[chosen.by] = schema{"const": name, "description": "what the other keys are"}
		either = append(either, one)
	}
	return schema{"oneOf": either}
}

func object(fields []field, o Options) schema {
	properties, required, either := schema{}, []string{}, []schema{}
	for _, f := range fields {
		properties[f.key] = property(f, o)
		switch {
		case f.required && isSecret(f.typ):
			one, other := schema{"required": []string{f.key}}, schema{"required": []string{f.key + twinSuffix}}
			either = append(either, schema{"oneOf": []schema{one, other}})
		case f.required:
			required = append(required, f.key)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if len(either) > 0 {
		s["allOf"] = either
	}
	return s
}

func property(f field, o Options) schema {
	s := schemaOf(f.typ, o)
	if f.doc != "" {
		s["description"] = f.doc
	}
	if len(f.enum) > 0 {
		target := s
		if items, ok := s["items"].(schema); ok {
			target = items
		}
		target["enum"] = f.enum
	}
	if f.fallback != "" && !f.twin {
		s["default"] = fallbackJSON(f)
	}
	return s
}

// fallbackJSON is a default as JSON has it; a text stays a text.
func fallbackJSON(f field) any {
	if isScalar(f.typ) && (f.typ.Kind() == reflect.String || unmarshalsText(f.typ) || f.typ == durationType) {
		return f.fallback
	}
	var v any
	if err := yaml.Unmarshal([]byte(f.fallback), &v); err != nil {
		return fmt.Sprint(f.fallback)
	}
	return v
}
