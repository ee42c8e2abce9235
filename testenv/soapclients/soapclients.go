// Package soapclients calls a plugin with SOAP clients that are not ours: zeep, PHP's SoapClient, gSOAP and npm's soap.
// Each is a small program in programs/ that imports the WSDL from the service itself. It is for tests only; what is
// missing on a machine fails them, and `make test-setup` installs it.
//
// A program takes the service's URL, the caller's user name and the SOAP version as arguments, and the caller's secret
// as SOAP_SECRET. It reads calls from standard input, one a line, method and arguments separated by tabs (so neither
// may hold a tab or a line end), and prints one JSON object for each.
package soapclients

import (
	"bytes"
	"embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed programs
var programs embed.FS

// Client is one foreign client, speaking one version of SOAP.
type Client struct {
	Name    string
	Version string // 1.1 or 1.2
	prepare func(t testing.TB, dir string, s Service) []string
}

// Service is the plugin to call, and as whom.
type Service struct{ URL, User, Secret string }

// Call is a method and its arguments: user name and password, or for Plugin_SetConfigurations a name and a value.
type Call struct {
	Method string
	Args   []string
}

// Answer is what a client understood.
type Answer struct {
	Success    bool        `json:"success"`
	ResponseID int         `json:"responseId"`
	Message    string      `json:"message"`
	Info       string      `json:"info"`
	UserID     int64       `json:"userId"`
	Pairs      [][2]string `json:"pairs"`
	Fault      string      `json:"fault"`
}

// All are the clients, with the versions of SOAP that they speak.
func All() []Client {
	return []Client{
		{"zeep", "1.1", zeep}, {"zeep", "1.2", zeep}, {"php", "1.1", php}, {"php", "1.2", php},
		{"npm soap", "1.1", npm}, {"npm soap", "1.2", npm}, {"gSOAP", "1.1", gsoap},
	}
}

// Calls imports the WSDL once and makes the calls in order.
func (c Client) Calls(t testing.TB, s Service, calls ...Call) []Answer {
	t.Helper()
	command := append(c.prepare(t, t.TempDir(), s), s.URL, s.User, c.Version)
	var in, out bytes.Buffer
	for _, call := range calls {
		in.WriteString(strings.Join(append([]string{call.Method}, call.Args...), "\t") + "\n")
	}
	run(t, s, &in, &out, "", command...)
	answers := make([]Answer, 0, len(calls))
	for line := range strings.Lines(out.String()) {
		var a Answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%s printed %q: %v", c.Name, line, err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(calls) {
		t.Fatalf("%s answered %d of %d calls", c.Name, len(answers), len(calls))
	}
	return answers
}

func run(t testing.TB, s Service, in, out *bytes.Buffer, dir string, command ...string) {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		t.Fatalf("%v: run `make test-setup`", err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, command[1:]...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "SOAP_SECRET="+s.Secret, "NODE_PATH="+npmModules())
	if in != nil {
		cmd.Stdin, cmd.Stdout = in, out
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n(`make test-setup` installs what the SOAP clients need)", command[0], err, &stderr)
	}
}

func program(t testing.TB, dir, name string) string {
	t.Helper()
	text, err := programs.ReadFile("programs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zeep(t testing.TB, dir string, _ Service) []string {
	return []string{"/usr/bin/python3", program(t, dir, "zeep_client.py")}
}

func php(t testing.TB, dir string, _ Service) []string {
	return []string{"php", program(t, dir, "php.php")}
}

func npm(t testing.TB, dir string, _ Service) []string {
	return []string{"node", program(t, dir, "npm.js")}
}

// npmModules is where test-setup put npm's soap: .cache beside the go.mod above the test's folder.
func npmModules() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, ".cache", "npm-soap", "node_modules")
}

// gsoap generates a client from the WSDL, which wsdl2h fetches with the caller's credentials, and compiles it.
func gsoap(t testing.TB, dir string, s Service) []string {
	source := program(t, dir, "gsoap.c")
	run(t, s, nil, nil, dir, "wsdl2h", "-c", "-W", "-r:"+s.User+":"+s.Secret, "-o", "auth.h", s.URL+"?wsdl")
	run(t, s, nil, nil, dir, "soapcpp2", "-c", "-C", "-L", "-x", "-I/usr/share/gsoap/import", "auth.h")
	run(t, s, nil, nil, dir, "gcc", "-o", "client", source, "soapC.c", "soapClient.c", "-lgsoap")
	return []string{filepath.Join(dir, "client")}
}
