package admin

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// document is the API's description (OpenAPI 3.1), made of the operations themselves.
func (a *Admin) document() []byte {
	d := describer{schemas: map[string]any{}}
	paths := map[string]map[string]any{}
	for _, o := range a.api {
		if paths[o.path] == nil {
			paths[o.path] = map[string]any{}
		}
		paths[o.path][strings.ToLower(o.method)] = d.operation(o)
	}
	text, err := json.MarshalIndent(map[string]any{
		"openapi":           "3.1.0",
		"jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"info": map[string]any{
			"title": "idbridge administration", "version": "1",
			"description": "What the administrators' pages do. Sign in with a browser; the session's cookie is what calls prove. " +
				"Bodies are JSON with the media type application/json. What changes anything wants a second factor that was proven " +
				"within ten minutes: POST /session/step-up.",
			"license": map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{map[string]any{"url": strings.TrimSuffix(a.Portal.PublicURL, "/") + apiBase}},
		"paths":   paths,
		"components": map[string]any{
			"schemas":         d.schemas,
			"securitySchemes": map[string]any{"session": map[string]any{"type": "apiKey", "in": "cookie", "name": "__Host-idbridge-" + Door}},
		},
		"security": []any{map[string]any{"session": []any{}}},
	}, "", " ")
	if err != nil {
		panic(err) // maps of texts
	}
	return append(text, '\n')
}

// describer makes schemas (JSON Schema 2020-12) of Go types, those with a name once.
type describer struct{ schemas map[string]any }

var inPath = regexp.MustCompile(`\{([a-z]+)\}`)

func (d describer) operation(o operation) map[string]any {
	var parameters []any
	for _, m := range inPath.FindAllStringSubmatch(o.path, -1) {
		parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range o.query {
		schema := map[string]any{"type": "string"}
		if p.integer {
			schema["type"] = "integer"
		}
		if p.enum != nil {
			schema["enum"] = p.enum
		}
		parameters = append(parameters, map[string]any{"name": p.name, "in": "query", "description": p.doc, "schema": schema})
	}
	success := map[string]any{"description": http.StatusText(o.status)}
	if o.out != nil {
		success["content"] = content("application/json", d.schema(o.out))
	}
	out := map[string]any{
		"operationId": o.id, "summary": o.summary, "x-role": o.role.String(),
		"responses": map[string]any{
			statusKey(o.status): success,
			"default": map[string]any{"description": "Refused", "content": content("application/problem+json",
				d.schema(reflect.TypeFor[Problem]()))},
		},
	}
	if parameters != nil {
		out["parameters"] = parameters
	}
	switch {
	case o.in != nil:
		out["requestBody"] = map[string]any{"required": true, "content": content("application/json", d.schema(o.in))}
	case o.file != nil:
		files := map[string]any{}
		for _, media := range o.file {
			files[media] = map[string]any{}
		}
		out["requestBody"] = map[string]any{"required": true, "content": files}
	}
	return out
}

func statusKey(status int) string {
	text, _ := json.Marshal(status)
	return string(text)
}

func content(media string, schema any) map[string]any {
	return map[string]any{media: map[string]any{"schema": schema}}
}

// schema describes a type as encoding/json writes and reads it.
func (d describer) schema(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.nullable(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	}
	panic("admin: the API's types have no " + t.String())
}

func (d describer) nullable(t reflect.Type) map[string]any {
	s := d.schema(t)
	if name, ok := s["type"].(string); ok {
		s["type"] = []string{name, "null"}
		return s
	}
	return map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
}

func (d describer) object(t reflect.Type) map[string]any {
	reference := map[string]any{"$ref": "#/components/schemas/" + t.Name()}
	if _, known := d.schemas[t.Name()]; known {
		return reference
	}
	d.schemas[t.Name()] = nil // for types that hold themselves
	properties, required := map[string]any{}, []string{}
	d.fields(t, properties, &required)
	d.schemas[t.Name()] = map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	return reference
}

func (d describer) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			d.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		s := d.schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			s = described(s, doc)
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			s["enum"] = strings.Split(enum, ",")
		}
		properties[name] = s
		if options != "omitempty" && options != "omitzero" {
			*required = append(*required, name)
		}
	}
}

func described(s map[string]any, doc string) map[string]any {
	s["description"] = doc
	return s
}
