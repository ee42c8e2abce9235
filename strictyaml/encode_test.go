package strictyaml_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/strictyaml"
)

const full = `listen: {address: '127.0.0.1:1', ca_file: ca.pem}
timeout: 400d
body: 4MiB
nodes: 3
weight: 0.25
from: [10.0.0.0/8]
labels: {b: "1", 'a: b': "x\ny"}
steps: [{failures: 1, block: 90s}, {}]
metrics: {address: '[::1]:2'}
sources:
  - {id: one, type: directory, urls: ["ldaps://x/dc=a,dc=b", "it's", "-", "#", "*"], password: "a: b # c"}
  - {id: two, type: table, file: t, key: "true"}
  - {id: three, type: table}
`

func reveal() strictyaml.EncodeOptions {
	return strictyaml.EncodeOptions{Dir: os.TempDir(), Secret: strictyaml.Reveal}
}

func TestEncode(t *testing.T) {
	s, doc := decode(t, full)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	const want = `listen:
  address: '127.0.0.1:1'
  ca_file: ca.pem
timeout: 400d
body: 4MiB
nodes: 3
weight: 0.25
from:
  - 10.0.0.0/8
labels:
  'a: b': "x\ny"
  b: '1'
steps:
  - failures: 1
    block: 1m30s
  - {}
metrics:
  address: '[::1]:2'
sources:
  - id: one
    type: directory
    urls:
      - ldaps://x/dc=a,dc=b
      - 'it''s'
      - '-'
      - '#'
      - '*'
    password: 'a: b # c'
  - id: two
    type: table
    file: t
    key: 'true'
  - id: three
    type: table
`
	if got := string(strictyaml.Encode(s, reveal())); got != want {
		t.Errorf("got\n%s", got)
	}
	masked := string(strictyaml.Encode(&s, strictyaml.EncodeOptions{Defaults: true}))
	if strings.Contains(masked, "a: b # c") || !strings.Contains(masked, "password: <secret>\n") || !strings.Contains(masked, "level: info\n") {
		t.Errorf("got\n%s", masked)
	}
	if strings.Contains(masked, "ca_file: ca.pem") {
		t.Error("a name of a file is relative to nothing")
	}
	again, doc := decode(t, masked)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	if missing := strictyaml.Restore(&again, s); missing != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%v\n%+v\nwant\n%+v", missing, again, s)
	}
	values, err := json.Marshal(strictyaml.Values(s, strictyaml.EncodeOptions{}))
	if err != nil || !strings.Contains(string(values), `{"id":"one","password":"\u003csecret\u003e","type":"directory"`) {
		t.Errorf("%s, %v", values, err)
	}
}

// TestEmptyListsAreNoDefaults: what was emptied on purpose stays empty.
func TestEmptyListsAreNoDefaults(t *testing.T) {
	s, doc := decode(t, minimal+"steps: []\nfrom: []\ntimeout: 0s\nnodes: 0\nlevel: debug\n")
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	const want = "listen:\n  address: '127.0.0.1:1'\nlevel: debug\ntimeout: 0s\nnodes: 0\nfrom: []\nsteps: []\n"
	if got := string(strictyaml.Encode(s, reveal())); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := string(strictyaml.Encode(struct{}{}, reveal())); got != "" {
		t.Errorf("nothing is %q", got)
	}
}

// TestRestore: by id, whatever the order and the variant, and never from another one.
func TestRestore(t *testing.T) {
	shown, _ := decode(t, full)
	edited, doc := decode(t, minimal+`sources:
  - {id: two, type: table, key: <secret>}
  - {id: one, type: directory, urls: [], password: <secret>}
  - {id: new, type: directory, urls: [], password: <secret>}
  - {id: three, type: table, key: <secret>}
  - {id: own, type: table, key: typed}
`)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	missing := strictyaml.Restore(&edited, &shown)
	if want := []string{"sources[2].password", "sources[3].key"}; !reflect.DeepEqual(missing, want) {
		t.Errorf("missing %v, want %v", missing, want)
	}
	for i, want := range []any{table{Key: "true"}, directory{URLs: []string{}, Password: "a: b # c"}, directory{URLs: []string{}, Password: "<secret>"},
		table{Key: "<secret>"}, table{Key: "typed"}} {
		if got := edited.Sources[i].Settings; !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %#v", i, got)
		}
	}
}

func TestNoSecretFiles(t *testing.T) {
	var s server
	doc := strictyaml.Decode("c.yaml", []byte(minimal+"sources: [{id: a, type: table, key_file: /etc/hostname}]\n"), &s,
		strictyaml.Options{Variants: options("").Variants, NoSecretFiles: true})
	if err := doc.Err(); err == nil || !strings.Contains(err.Error(), "sources[0].key_file: names of files are not accepted here (give sources[0].key itself)") {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	text, err := json.Marshal(strictyaml.Describe(server{}, options("")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"key":"address","type":"address","doc":"where to listen","required":true}`,
		`{"key":"level","type":"text","default":"info","enum":["debug","info","warn"]}`,
		`{"key":"timeout","type":"duration","default":"20s"}`, `{"key":"body","type":"size","default":"64KiB"}`,
		`{"key":"from","type":"network","list":true}`, `{"key":"labels","type":"text","table":true}`,
		`{"key":"steps","type":"mapping","list":true,"default":"[{failures: 3, block: 30s}]","fields":[{"key":"failures","type":"integer"}`,
		`{"key":"","type":"","by":"type","variants":{"directory":[{"key":"urls","type":"text","list":true,"required":true}`,
		`{"key":"password","type":"text","required":true,"secret":true}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s\nlacks %s", text, want)
		}
	}
	if strings.Contains(string(text), "password_file") {
		t.Error("a form must not ask for names of files")
	}
}

// FuzzEncode: whatever Decode accepts, Encode writes so that Decode reads the same.
func FuzzEncode(f *testing.F) {
	for _, seed := range []string{full, minimal, minimal + "labels: {'': '', '~': '0x1', ' ': \"\\t\\u0000\\x7f\", '<<': '- a', e: \"\\u2028\"}\n",
		minimal + "steps: []\nweight: 1e30\nlabels: {}\n", minimal + "sources: [{id: 'no', type: table, key: '~'}]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, doc := decode(t, text)
		if doc.Err() != nil {
			return
		}
		written := string(strictyaml.Encode(first, reveal()))
		second, doc := decode(t, written)
		if err := doc.Err(); err != nil {
			t.Fatalf("%q became\n%s\n%v", text, written, err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Errorf("%q became\n%s\n%#v\n%#v", text, written, first, second)
		}
	})
}

func TestDurationsAsPeopleWriteThem(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 48 * time.Hour: "2d",
		time.Hour + time.Second: "1h0m1s", 300 * time.Millisecond: "300ms", -time.Hour: "-1h", 10 * time.Minute: "10m", 20 * time.Hour: "20h"} {
		s, _ := decode(t, minimal)
		s.Timeout = d
		if got := string(strictyaml.Encode(s, reveal())); !strings.Contains(got, "timeout: "+want+"\n") {
			t.Errorf("%s is written\n%s", d, got)
		}
	}
}
