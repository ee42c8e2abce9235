package audit

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// fill gives every field of a record a value of its own, by its place; a field of a new type needs a line here.
func fill(t *testing.T, r *Record) {
	t.Helper()
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		change(t, v.Field(i), i)
	}
}

func change(t *testing.T, f reflect.Value, n int) {
	t.Helper()
	switch value := f.Interface().(type) {
	case string:
		f.SetString(value + string(rune('a'+n)))
	case int64, time.Duration:
		f.SetInt(f.Int() + int64(n) + 1)
	case time.Time:
		f.Set(reflect.ValueOf(time.UnixMicro(value.UnixMicro() + int64(n) + 1).UTC()))
	default:
		t.Fatalf("field %d has a type that is not encoded: %T", n, value)
	}
}

// Every field is under the MAC, so a field that is added to Record and forgotten in encode fails here.
func TestEveryFieldIsUnderTheMAC(t *testing.T) {
	m := newMacer(bytes.Repeat([]byte{7}, 32))
	var r Record
	r.Time = time.UnixMicro(1).UTC()
	fill(t, &r)
	for name, mac := range map[string]func(*Record) []byte{
		"record": func(r *Record) []byte { return m.record(nil, r) }, "restart": m.restart,
	} {
		genuine := mac(&r)
		for i := range reflect.TypeFor[Record]().NumField() {
			changed := r
			change(t, reflect.ValueOf(&changed).Elem().Field(i), i)
			if bytes.Equal(mac(&changed), genuine) {
				t.Errorf("%s: the MAC does not depend on %s", name, reflect.TypeFor[Record]().Field(i).Name)
			}
		}
	}
}

// The same for the head: everything but the key's id, which a MAC under that key implies, and the seal itself.
func TestEveryFieldOfTheHeadIsSealed(t *testing.T) {
	m := newMacer(bytes.Repeat([]byte{7}, 32))
	h := Head{Seq: 9, MAC: []byte("mac"), PurgedSeq: 3, PurgedMAC: []byte("purged")}
	for i := range reflect.TypeFor[Head]().NumField() {
		name := reflect.TypeFor[Head]().Field(i).Name
		changed := h
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Interface().(type) {
		case int64:
			f.SetInt(f.Int() + 1)
		case []byte:
			f.SetBytes([]byte("other"))
		}
		if bytes.Equal(m.seal(changed), m.seal(h)) && name != "KeyID" && name != "Seal" {
			t.Errorf("the seal does not depend on %s", name)
		}
	}
}

// Text that moves from one field into the next one is another record, and no use of the key yields another use's MAC.
func TestEncodingIsUnambiguous(t *testing.T) {
	m := newMacer(bytes.Repeat([]byte{7}, 32))
	seen := map[string]string{}
	for name, mac := range map[string][]byte{
		"empty":             m.record(nil, &Record{}),
		"ab, c":             m.record(nil, &Record{ID: "ab", Action: "c"}),
		"a, bc":             m.record(nil, &Record{ID: "a", Action: "bc"}),
		"abc":               m.record(nil, &Record{ID: "abc"}),
		"after another one": m.record([]byte("previous"), &Record{ID: "abc"}),
		"restart":           m.restart(&Record{ID: "abc"}),
		"head":              m.seal(Head{}),
		"another key":       newMacer(bytes.Repeat([]byte{8}, 32)).record(nil, &Record{ID: "abc"}),
	} {
		if other, twice := seen[string(mac)]; twice {
			t.Errorf("%q and %q have the same MAC", name, other)
		}
		seen[string(mac)] = name
	}
}
