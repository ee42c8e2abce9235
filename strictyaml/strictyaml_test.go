package strictyaml_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/idbridge/idbridge/strictyaml"
)

type secret string

func (s secret) Reveal() string { return string(s) }

type server struct {
	Listen  listen            `yaml:"listen"`
	Level   string            `yaml:"level" enum:"debug,info,warn" default:"info"`
	Timeout time.Duration     `yaml:"timeout" default:"20s"`
	Body    strictyaml.Size   `yaml:"body" default:"64KiB"`
	Nodes   uint16            `yaml:"nodes" default:"1"`
	Weight  float64           `yaml:"weight"`
	From    []netip.Prefix    `yaml:"from"`
	Labels  map[string]string `yaml:"labels"`
	Steps   []step            `yaml:"steps" default:"[{failures: 3, block: 30s}]"`
	Metrics *listen           `yaml:"metrics"`
	Sources []source          `yaml:"sources"`
	Hidden  string
}

type listen struct {
	Address netip.AddrPort `yaml:"address" required:"true" doc:"where to listen"`
	Plain   bool           `yaml:"plain"`
	CAFile  string         `yaml:"ca_file"`
}

type step struct {
	Failures int           `yaml:"failures"`
	Block    time.Duration `yaml:"block"`
}

type source struct {
	ID       string `yaml:"id" required:"true" doc:"a name for it"`
	Type     string `yaml:"type" required:"true"`
	Settings any    `variants:"source" by:"type"`
}

type directory struct {
	URLs     []string `yaml:"urls" required:"true"`
	Password secret   `yaml:"password" required:"true"`
}

type table struct {
	File string `yaml:"file"`
	Key  secret `yaml:"key"`
}

func options(dir string) strictyaml.Options {
	return strictyaml.Options{Dir: dir, Variants: map[string]strictyaml.Variants{
		"source": {"directory": directory{}, "table": table{}},
	}}
}

func decode(t *testing.T, text string) (s server, doc *strictyaml.Document) {
	t.Helper()
	doc = strictyaml.Decode("c.yaml", []byte(text), &s, options(os.TempDir()))
	return s, doc
}

const minimal = "listen: {address: '127.0.0.1:1'}\n"

func TestEveryProblemAtOnce(t *testing.T) {
	_, doc := decode(t, `listen:
  adress: 127.0.0.1:8443
  plain: yes
level: loud
timeout: soon
body: 64 KB
nodes: 70000
weight: heavy
from: [10.0.0.0/8, nowhere]
from: []
labels: {a: 1}
steps: {failures: 3}
sources:
  - id: 7
    type: directory
    urls: ldap://x
    password: 12345678
  - type: tabel
    colour: red
  - {id: c, type: table, key: x, key_file: y}
  - {id: d, type: table, key_file: nofile}
  - {id: e}
`)
	want := []string{
		`c.yaml:1:1: listen.address: is missing (where to listen)`,
		`c.yaml:2:3: listen.adress: unknown key (did you mean "address"?)`,
		`c.yaml:3:10: listen.plain: "yes" is neither true nor false`,
		`c.yaml:4:8: level: "loud" is not one of debug, info, warn`,
		`c.yaml:5:10: timeout: "soon" is not a duration (write 300ms, 30s, 5m, 12h or 400d)`,
		`c.yaml:6:7: body: "64 KB" is not valid: must be a size such as 64KiB or 4MiB`,
		`c.yaml:7:8: nodes: 70000 is not a whole number from 0 to 65535`,
		`c.yaml:8:9: weight: "heavy" is not a number`,
		`c.yaml:9:20: from[1]: "nowhere" is not a network (such as 10.20.0.0/24): netip.ParsePrefix("nowhere"): no '/'`,
		`c.yaml:10:1: from: given twice (first on line 9)`,
		`c.yaml:11:13: labels.a: 1 is not a text (put it in quotes)`,
		`c.yaml:12:8: steps: must be a list (write [a, b], or one item per line after "- ")`,
		`c.yaml:14:9: sources[0].id: 7 is not a text (put it in quotes)`,
		`c.yaml:16:11: sources[0].urls: must be a list (write [a, b], or one item per line after "- ")`,
		`c.yaml:17:15: sources[0].password: is not a text (put it in quotes)`,
		`c.yaml:18:5: sources[1].id: is missing (a name for it)`,
		`c.yaml:18:11: sources[1].type: "tabel" is not one of directory, table`,
		`c.yaml:20:34: sources[2].key_file: given together with key (give one of the two)`,
		`c.yaml:21:36: sources[3].key_file: cannot be read: open DIR/nofile: no such file or directory`,
		`c.yaml:22:6: sources[4].type: is missing`,
	}
	compare(t, doc, want)
}

// compare checks the lines, with the temporary folder taken out.
func compare(t *testing.T, doc *strictyaml.Document, want []string) {
	t.Helper()
	if doc.Err() == nil {
		t.Fatal("no problem was found")
	}
	got := strings.Split(doc.Err().Error(), "\n")
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], os.TempDir()+"/", "DIR/")
	}
	for i := range max(len(got), len(want)) {
		g, w := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d\n got %s\nwant %s", i, g, w)
		}
	}
}

func TestWhatIsNotReadAtAll(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"anchor":    {"a: &x 1\nb: *x\n", "c.yaml:1:4: anchors (&name) are not accepted (write the value out; a text that begins with & needs quotes)"},
		"alias":     {"b: *x\n", "c.yaml:1:4: aliases (*name) are not accepted (write the value out; a text that begins with * needs quotes)"},
		"merge":     {"b:\n  <<: {a: 1}\n", "c.yaml:2:3: merge keys (<<) are not accepted (write the keys out)"},
		"tag":       {"b: !!binary aa\n", "c.yaml:1:4: tags (!name) are not accepted (a text that begins with ! needs quotes)"},
		"documents": {minimal + "---\na: 1\n", "c.yaml:3:2: a second document (---) is not accepted; one file holds one"},
		"flow":      {"a: " + strings.Repeat("[", 100000), "c.yaml:1:36: nested too deeply"},
		"dashes":    {strings.Repeat("- ", 100000), "c.yaml:1:65: nested too deeply"},
		"size":      {strings.Repeat("#", strictyaml.MaxSize+1), "c.yaml:1:1: the file is larger than 256 KiB"},
		"utf-8":     {"a: \xff", "c.yaml:1:1: the file is not UTF-8"},
		"list":      {"- a\n", "c.yaml:1:1: must be a mapping (key: value)"},
		"text":      {"hello\n", "c.yaml:1:1: must be a mapping (key: value)"},
		"empty":     {"", "c.yaml:1:1: listen.address: is missing (where to listen)"},
		"comment":   {"# nothing\n", "c.yaml:1:1: listen.address: is missing (where to listen)"},
		"no value":  {minimal + "level:\n", "c.yaml:2:8: level: has no value (give one, or remove the key)"},
		"key":       {minimal + "1: a\n", "c.yaml:2:1: the key 1 must be a text (put it in quotes)"},
		"far off":   {minimal + "colour: red\n", "c.yaml:2:1: colour: unknown key (known here: listen, level, timeout, body, nodes, weight, from, labels, steps, metrics, sources)"},
		"hidden":    {minimal + "Hidden: x\n", "c.yaml:2:1: Hidden: unknown key (known here: listen, level, timeout, body, nodes, weight, from, labels, steps, metrics, sources)"},
		"pointer":   {minimal + "metrics: {}\n", "c.yaml:2:1: metrics.address: is missing (where to listen)"},
		"secret": {minimal + "sources: [{id: a, type: directory, urls: [x]}]\n",
			"c.yaml:2:12: sources[0].password: is missing (give it, or password_file)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, doc := decode(t, test.text)
			compare(t, doc, []string{test.want})
		})
	}
}

func TestSyntaxErrorsHaveAPlace(t *testing.T) {
	_, doc := decode(t, "listen:\n  address: 'open\n")
	if err := doc.Err(); err == nil || !strings.HasPrefix(err.Error(), "c.yaml:2:12: not YAML: ") {
		t.Errorf("got %v", err)
	}
}

func TestValuesAndDefaults(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte(" s3cret \n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s server
	doc := strictyaml.Decode("c.yaml", []byte(`# a comment
listen: {address: "127.0.0.1:8443", plain: true, ca_file: ca.pem}
timeout: 2d
body: 1MiB
from: [10.0.0.0/8]
labels: {"a b": c}
weight: 3
metrics: {address: "127.0.0.1:9", ca_file: /ca.pem}
sources:
  - {type: directory, id: corp, urls: [ldaps://a, ldaps://b], password_file: pw}
  - {id: t, type: table, file: users, key: "12"}
`), &s, options(dir))
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	want := server{
		Listen: listen{netip.MustParseAddrPort("127.0.0.1:8443"), true, filepath.Join(dir, "ca.pem")}, Level: "info", Timeout: 48 * time.Hour,
		Body: 1 << 20, Nodes: 1, Weight: 3, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Labels: map[string]string{"a b": "c"}, Steps: []step{{3, 30 * time.Second}},
		Metrics: &listen{Address: netip.MustParseAddrPort("127.0.0.1:9"), CAFile: "/ca.pem"},
		Sources: []source{
			{"corp", "directory", directory{[]string{"ldaps://a", "ldaps://b"}, " s3cret \n"}},
			{"t", "table", table{"users", "12"}},
		},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if got := doc.Where("sources[1].key"); got != "c.yaml:11:39" {
		t.Errorf("Where = %s", got)
	}
	if got := doc.Where("sources[1].nothing.here"); got != "c.yaml:11:6" {
		t.Errorf("Where of an absent key = %s", got)
	}
}

func TestRefuseSaysNothingTwice(t *testing.T) {
	_, doc := decode(t, minimal+"timeout: soon\nsources:\n  - {id: a, type: nix}\n")
	doc.Refuse("timeout", "too short")
	doc.Refuse("sources", "too many")
	doc.Refuse("sources[0].type.x", "wrong")
	doc.Refuse("listen.address", "must be %s", "public")
	doc.Refuse("sources[0].id", "must be longer")
	compare(t, doc, []string{
		`c.yaml:1:10: listen.address: must be public`,
		`c.yaml:2:10: timeout: "soon" is not a duration (write 300ms, 30s, 5m, 12h or 400d)`,
		`c.yaml:4:6: sources[0].id: must be longer`,
		`c.yaml:4:19: sources[0].type: "nix" is not one of directory, table`,
	})
}

func TestNoProblemShowsASecret(t *testing.T) {
	for _, value := range []string{"[canary]", "{canary: 1}", "105", "true", "''"} {
		_, doc := decode(t, minimal+"sources: [{id: a, type: table, key: "+value+"}]\n")
		if err := doc.Err(); err == nil || strings.Contains(err.Error(), value) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestSchemaSaysWhatDecodeChecks(t *testing.T) {
	text, err := strictyaml.Schema(server{}, "test", options(""))
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Schema     string `json:"$schema"`
		Additional bool   `json:"additionalProperties"`
		Properties map[string]struct {
			Type        any
			Description string
			Default     any
			Enum        []string
			Required    []string
			Items       struct {
				OneOf []struct {
					Required   []string
					AllOf      []any
					Properties map[string]struct{ Const, Description string }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	p := s.Properties
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.Additional || p["Hidden"].Type != nil {
		t.Errorf("root: %+v", s)
	}
	if p["level"].Default != "info" || len(p["level"].Enum) != 3 || p["nodes"].Default != 1.0 {
		t.Errorf("level %+v, nodes %+v", p["level"], p["nodes"])
	}
	if !reflect.DeepEqual(p["listen"].Required, []string{"address"}) {
		t.Errorf("listen %+v", p["listen"])
	}
	either := p["sources"].Items.OneOf
	if len(either) != 2 || either[0].Properties["type"].Const != "directory" || len(either[0].AllOf) != 1 {
		t.Errorf("sources %+v", either)
	}
	if either[0].Properties["password_file"].Description == "" || either[1].Properties["urls"].Const != "" {
		t.Errorf("sources %+v", either)
	}
}

func TestKeys(t *testing.T) {
	got := strings.Join(strictyaml.Keys(server{}, options("")), " ")
	want := "body from labels level listen listen.address listen.ca_file listen.plain metrics metrics.address metrics.ca_file metrics.plain nodes sources " +
		"sources[].file sources[].id sources[].key sources[].key_file sources[].password sources[].password_file sources[].type " +
		"sources[].urls steps steps[].block steps[].failures timeout weight"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzDecode: no text makes Decode panic, hang or point outside the text.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", minimal, "a: &x [*x]", "{", "- - -\n  - a", "? a\n: b", "sources:\n- id: a\n  type: directory\n  urls: [x]",
		"a: |\n  x\n y", "\t", "'", "--- \n...\n---", "listen: {address: }", "steps: [{failures: 1, block: 1s}]", "%YAML 1.2\n---\na: 1",
		"a: b: c", "#", "sources: [{id: a, type: table, key: [x]}]", ": ", "<<: {}", "- ? b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, doc := decode(t, text)
		err := doc.Err()
		if err == nil {
			return
		}
		problems, _ := errors.AsType[strictyaml.Problems](err)
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 2
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Line > lines || strings.Contains(p.Text, "\n") {
				t.Errorf("%q: %s", text, p)
			}
		}
	})
}
