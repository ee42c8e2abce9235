package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/webhook"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"idbridge": main})
}

// TestScripts runs testdata/script/*.txtar, which read like a manual, with the real program.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			tb, _ := e.T().(testenv.TB)
			if tb == nil {
				tb = t
			}
			e.Setenv("DOOR", fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(tb)))
			e.Setenv("OPERATORS", fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(tb)))
			e.Setenv("NOBODY", fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(tb)))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "fetch": fetch, "enrol": enrolAs, "tamper": tamper, "subst": subst, "collect": collect, "saying": saying,
			"withargument": withArgument, "receiver": receiver, "reads": reads, "until": until,
		},
	})
}

// receiver NAME FILE STATUS starts somebody who is told of events, at $NAME. Each message that is signed as it must be is answered
// with STATUS, and its event and id become a line of FILE.
func receiver(ts *testscript.TestScript, _ bool, args []string) {
	file, status := ts.MkAbs(args[1]), args[2]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhook.Verify(testSecret, r.Header.Get(webhook.HeaderSignature), text, time.Now())
		}
		var said struct{ Event, ID string }
		if err == nil {
			err = json.Unmarshal(text, &said)
		}
		log, openErr := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err = errors.Join(err, openErr); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprintln(log, said.Event, said.ID)
		log.Close()
		code, _ := strconv.Atoi(status)
		w.WriteHeader(code)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// reads FILE TEXT waits until a file has a text.
func reads(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(text), args[1]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s never has %q:\n%s", args[0], args[1], text)
		}
	}
}

// await ADDRESS waits until something listens there.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", args[0])
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("nobody listens on %s: %v", args[0], err)
		}
	}
}

// fetch URL FILE writes status and body into a file.
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	ts.Check(err)
	r, err := (&http.Client{}).Do(request)
	ts.Check(err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), fmt.Appendf(nil, "%s\n%s", r.Status, body), 0o600))
}

// saying URL TEXT waits until a page has a text.
func saying(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		fetch(ts, false, []string{args[0], "said"})
		text := ts.ReadFile("said")
		if strings.Contains(text, args[1]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s never says %q:\n%s", args[0], args[1], text)
		}
	}
}

// enrol USER [CODE] runs `idbridge mfa enrol USER` and types the code that an authenticator app shows, or the one
// given.
func enrolAs(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command("idbridge", "mfa", "enrol", "--plain", args[0])
	if found, err := exec.LookPath("idbridge"); err == nil {
		cmd.Path, cmd.Err = found, nil
	}
	cmd.Dir, cmd.Env = ts.Getenv("WORK"), append(os.Environ(), "IDBRIDGE_CONFIG="+ts.MkAbs("idbridge.yaml"))
	in, err := cmd.StdinPipe()
	ts.Check(err)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = ts.Stderr()
	ts.Check(cmd.Start())
	text := bufio.NewReader(out)
	var secret string
	for secret == "" {
		line, err := text.ReadString('\n')
		ts.Check(err)
		fmt.Fprint(ts.Stdout(), line)
		if m := regexp.MustCompile(`or type: ([A-Z2-7 ]+)`).FindStringSubmatch(line); m != nil {
			secret = m[1]
		}
	}
	code, err := appCode(secret, time.Now())
	ts.Check(err)
	if len(args) > 1 {
		code = args[1]
	}
	fmt.Fprintln(in, code)
	_, _ = io.Copy(ts.Stdout(), text)
	if failed := cmd.Wait() != nil; failed != neg {
		ts.Fatalf("mfa enrol: failed is %v", failed)
	}
}

// collect OUT FILE REGEXP [FILE REGEXP ...] writes what the regular expressions' first groups match, one behind the other.
func collect(ts *testscript.TestScript, _ bool, args []string) {
	out := ""
	for at := 1; at+1 < len(args); at += 2 {
		m := regexp.MustCompile(args[at+1]).FindStringSubmatch(ts.ReadFile(args[at]))
		if m == nil {
			ts.Fatalf("%s has nothing like %s", args[at], args[at+1])
		}
		out += m[1]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out), 0o600))
}

// until PATTERN COMMAND... runs a command again and again until a line of what it prints is like that.
func until(ts *testscript.TestScript, _ bool, args []string) {
	like := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if like.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("never printed %s", args[0])
		}
	}
}

// tamper FILE STATEMENT changes the database behind the program's back.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0])+"?_pragma=busy_timeout(5000)") // a server may be writing
	ts.Check(err)
	defer db.Close()
	r, err := db.Exec(args[1])
	ts.Check(err)
	if n, _ := r.RowsAffected(); n != 1 {
		ts.Fatalf("%d rows changed", n)
	}
}

// subst FILE OLD NEW replaces a text in a file; $NAMEs in NEW are expanded.
func subst(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

// withArgument FILE COMMAND... runs a command with what a file holds as its last argument.
func withArgument(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], append(args[2:], ts.ReadFile(args[0]))...)
	if (err != nil) != neg {
		ts.Fatalf("%v: %v", args, err)
	}
}
