package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
)

// Restore puts secrets that came back as Mask in their place again, from the struct that was shown masked. It returns the
// paths of those that have none there. Items of lists belong together by their key id or name, else by their place; mappings
// by their keys, whatever their variant.
func Restore(into, from any) (missing []string) {
	r := restorer{}
	r.structure("", reflect.ValueOf(into).Elem(), indirect(from))
	return r.missing
}

type restorer struct{ missing []string }

// value walks both sides; from is the zero Value where there is nothing.
func (r *restorer) value(path string, v, from reflect.Value) {
	switch t := v.Type(); {
	case isSecret(t):
		if v.String() != Mask {
			return
		}
		if !from.IsValid() || !isSecret(from.Type()) || from.Len() == 0 {
			r.missing = append(r.missing, path)
			return
		}
		v.SetString(from.String())
	case isScalar(t) || v.Kind() == reflect.Pointer && v.IsNil():
	case t.Kind() == reflect.Pointer:
		r.value(path, v.Elem(), elem(from))
	case t.Kind() == reflect.Slice:
		for i := range v.Len() {
			r.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i), counterpart(v.Index(i), i, from))
		}
	case t.Kind() == reflect.Map:
		r.table(path, v, from)
	case t.Kind() == reflect.Struct:
		r.structure(path, v, from)
	}
}

func (r *restorer) table(path string, v, from reflect.Value) {
	for _, key := range v.MapKeys() {
		item := reflect.New(v.Type().Elem()).Elem()
		item.Set(v.MapIndex(key))
		var other reflect.Value
		if from.IsValid() && from.Kind() == reflect.Map && key.Type() == from.Type().Key() {
			other = from.MapIndex(key)
		}
		r.value(join(path, key.String()), item, other)
		v.SetMapIndex(key, item)
	}
}

func (r *restorer) structure(path string, v, from reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		x := v.FieldByIndex(f.index)
		switch {
		case f.variants != "" && !x.IsNil():
			inner := reflect.New(x.Elem().Type()).Elem()
			inner.Set(x.Elem())
			r.structure(path, inner, from)
			x.Set(inner)
		case f.variants == "" && !f.twin:
			r.value(join(path, f.key), x, keyed(from, f.key))
		}
	}
}

func elem(v reflect.Value) reflect.Value {
	if v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		return v.Elem()
	}
	return v
}

// keyed is the value of a key of a struct, also in its variant; the zero Value when there is none.
func keyed(v reflect.Value, key string) reflect.Value {
	if v = elem(v); !v.IsValid() || v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for _, f := range fieldsOf(v.Type()) {
		if f.variants != "" {
			if inner := keyed(v.FieldByIndex(f.index), key); inner.IsValid() {
				return inner
			}
		} else if f.key == key && !f.twin {
			return v.FieldByIndex(f.index)
		}
	}
	return reflect.Value{}
}

// counterpart is the item of a list that item, in place i, was made from.
func counterpart(item reflect.Value, i int, from reflect.Value) reflect.Value {
	if !from.IsValid() || from.Kind() != reflect.Slice {
		return reflect.Value{}
	}
	for _, name := range []string{"id", "name"} {
		id := keyed(item, name)
		if !id.IsValid() || id.Kind() != reflect.String {
			continue
		}
		places := make([]int, from.Len())
		for k := range places {
			places[k] = k
		}
		at := slices.IndexFunc(places, func(k int) bool {
			other := keyed(from.Index(k), name)
			return other.IsValid() && other.Kind() == reflect.String && other.String() == id.String()
		})
		if at < 0 {
			return reflect.Value{}
		}
		return from.Index(at)
	}
	if i < from.Len() {
		return from.Index(i)
	}
	return reflect.Value{}
}
