package main

import (
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/plugin"
	"github.com/idbridge/idbridge/strictyaml"
)

// uncommented is the example with the providers that it only shows.
func uncommented(t *testing.T) string {
	t.Helper()
	var lines []string
	section, inside := "", false
	for line := range strings.Lines(exampleConfig) {
		if key, _, ok := strings.Cut(line, ":"); ok && !strings.Contains(key, " ") {
			section = key
		}
		if section == "providers" && strings.HasPrefix(line, "  #- id: ") && !strings.Contains(line, "glass") {
			inside = true
		} else if inside && !strings.HasPrefix(line, "  #") {
			inside = false
		}
		if inside {
			line = "  " + strings.TrimPrefix(line, "  #")
		}
		// Files that are not there would be refused.
		if inside && regexp.MustCompile(`_file|certificate|- secret|expires|workload|endpoint|sso_|slo_|credentials|graph:|authority:|groups_separator`).MatchString(line) {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// TestConfigurationsComeBackAsTheyWere: read, written and read again, the example is the same, with secrets and without.
func TestConfigurationsComeBackAsTheyWere(t *testing.T) {
	for name, text := range map[string]string{"example": exampleConfig, "more": uncommented(t)} {
		var first Config
		doc := strictyaml.Decode(name, []byte(text), &first, decodeOptions("/etc/idbridge"))
		for _, p := range flatten(doc.Err()) { // what could be read must come back, whatever is missing for it to work
			t.Logf("%s", p)
		}
		if len(first.Providers) == 0 || name == "more" && len(first.Providers) < 4 {
			t.Fatalf("%s: %d providers", name, len(first.Providers))
		}
		for _, defaults := range []bool{false, true} {
			o := strictyaml.EncodeOptions{Dir: "/etc/idbridge", Defaults: defaults, Secret: strictyaml.Reveal}
			var second Config
			doc := strictyaml.Decode("written", strictyaml.Encode(first, o), &second, decodeOptions("/etc/idbridge"))
			if !reflect.DeepEqual(first, second) {
				t.Errorf("%s: %v\n%s", name, doc.Err(), strictyaml.Encode(first, o))
			}
			o.Secret = nil
			masked := string(strictyaml.Encode(first, o))
			if strings.Contains(masked, "replace-me") || !strings.Contains(masked, strictyaml.Mask) {
				t.Errorf("%s: secrets show:\n%s", name, masked)
			}
			var third Config
			strictyaml.Decode("masked", []byte(masked), &third, decodeOptions("/etc/idbridge"))
			if missing := strictyaml.Restore(&third, first); missing != nil || !reflect.DeepEqual(first, third) {
				t.Errorf("%s: masked secrets do not come back: %v", name, missing)
			}
		}
	}
}

// TestFormsDescribeEveryProvider, and no secret of a form is a file of the server's.
func TestFormsDescribeEveryProvider(t *testing.T) {
	fields := strictyaml.Describe(ProviderConfig{}, decodeOptions(""))
	variants := fields[len(fields)-1].Variants
	if len(variants) != len(providers(footing{})) || fields[len(fields)-1].By != "type" {
		t.Fatalf("%+v", fields)
	}
	for kind, list := range variants {
		if len(list) == 0 {
			t.Errorf("%s has no fields", kind)
		}
		for _, f := range list {
			if f.Doc == "" || f.Secret && strings.HasSuffix(f.Key, "_file") {
				t.Errorf("%s: %+v", kind, f)
			}
		}
	}
}

// TestWantedSettings: those of the platform's screen that were sent, in the place of those that are.
func TestWantedSettings(t *testing.T) {
	was := map[string]string{screenKind: ldapType, screenURL: "ldaps://a ldaps://b:636/dc=x", screenStartTLS: "False", screenBaseDN: "dc=x",
		screenFilter: "(uid={0})", screenDomain: "", screenBindDN: "cn=svc", screenPassword: "secret", screenFactor: "enrolled"}
	send := func(pairs ...string) (list []plugin.Setting) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, plugin.Setting{Name: pairs[i], Value: pairs[i+1]})
		}
		return list
	}
	for _, test := range []struct {
		sent    []plugin.Setting
		changes map[string]string // or
		want    string            // a problem
	}{
		{sent: send(screenBaseDN, " dc=y "), changes: map[string]string{screenBaseDN: "dc=y"}},
		{sent: send(screenStartTLS, "true", screenKind, "LDAP", screenFactor, "Never"), changes: map[string]string{screenStartTLS: "True", screenFactor: "never"}},
		{sent: send(screenURL, "ldaps://A;ldaps://b:636"), changes: map[string]string{screenURL: "ldaps://A ldaps://b:636"}},
		{sent: send(screenURL, "ldaps://c", screenPassword, screenMask), want: "must be typed again"},
		{sent: send(screenURL, "ldap://a"), want: "must be typed again"},
		{sent: send(screenURL, "ldaps://c", screenPassword, " typed "), changes: map[string]string{screenURL: "ldaps://c", screenPassword: " typed "}},
		{sent: send(screenKind, directoryType, screenDomain, "x.test", screenFilter, "(uid={0})"),
			changes: map[string]string{screenKind: directoryType, screenDomain: "x.test", screenFilter: ""}},
		{sent: send(screenKind, directoryType, screenDomain, "x.test", screenURL, ""), want: "must be typed again"},
		{sent: send(screenKind, directoryType), want: "DefaultDomain: is mandatory"},
		{sent: send(screenBaseDN, "a", screenBaseDN, "a"), want: "BaseDN: is given twice"},
		{sent: send("baseDN", "a"), want: `"baseDN": there is no such setting`},
		{sent: nil, want: "No setting was sent."},
	} {
		got, problems := wantedSettings(was, test.sent)
		want := map[string]string{}
		for name, value := range was {
			want[name] = value
		}
		for name, value := range test.changes {
			want[name] = value
		}
		if test.want != "" && !strings.Contains(problems.Error(), test.want) || test.want == "" && (problems != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%v: %v, %v", test.sent, problems, got)
		}
	}
}

// TestWhoIsLockedOut: by the rules about users and administrators, without asking a directory that did not change.
func TestWhoIsLockedOut(t *testing.T) {
	s := configured(t, map[string]string{"keys": "file: idbridge.keys\nmanaged: store"})
	c, err := loadConfig(s.file("idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := openGround(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	fresh := func() *draft {
		t.Helper()
		d, err := b.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody answers there once it is closed
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	gone := fmt.Sprintf(`{"id": "corp", "type": "ldap", "match": {"default": true}, "urls": ["ldaps://%s"], "base_dn": "dc=x"}`, l.Addr())
	broken := fresh()
	if _, err := broken.setProvider("form", []byte(gone), fromNetwork); err != nil {
		t.Fatal(err)
	}
	if err := broken.guard(t.Context()); err != nil {
		t.Errorf("there is nobody to lock out: %v", err)
	}
	shell(t, "printf 'username\nann\n' > "+s.file("users.csv")+" && idbridge users import --config "+s.file("idbridge.yaml")+" "+s.file("users.csv"))
	for name, test := range map[string]struct {
		edit func(*draft)
		want string
	}{
		"what did not change need not work": {func(d *draft) { d.next.Throttle.Window *= 2 }, ""},
		"what changed must":                 {func(d *draft) { d.next = broken.next }, "corp: it was changed, and does not work"},
		"nobody can be found by name": {func(d *draft) {
			d.next.Providers = append([]ProviderConfig{}, d.next.Providers...)
			d.next.Providers[0].ITUser.Attribute = "none"
		}, "no active IT user is linked at it, and none could be by name"},
		"nobody has a factor": {func(d *draft) { d.next.MFA.Policy = "required" }, "nobody has one, and there is no portal"},
		"administrators": {func(d *draft) {
			d.next.Admin = &AdminConfig{Roles: []RoleConfig{{Role: "administrator", Provider: "gone"}, {Role: "viewer", Provider: "corp"}}}
		}, "no administrator could sign in:\ngone: it is there no more"},
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh()
			test.edit(d)
			err := d.guard(t.Context())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	// A secret's file is nothing that somebody may name over the network.
	text := strings.Replace(gone, `"base_dn"`, `"bind_dn": "cn=x", "bind_password_file": "`+filepath.Join(s.dir, "idbridge.keys")+`", "base_dn"`, 1)
	if _, err := fresh().setProvider("form", []byte(text), fromNetwork); err == nil || !strings.Contains(err.Error(), "names of files are not accepted here") {
		t.Error(err)
	}
}
