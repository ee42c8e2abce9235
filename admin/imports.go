package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/itusers"
)

// Limits of uploads. An import of 100,000 users has about 8 MiB.
const (
	maxUpload     = 32 << 20
	uploadLife    = 15 * time.Minute
	uploadTimeout = 2 * time.Minute
	shownRows     = 200 // of a report; the counts are of all
)

// upload is a file that somebody has seen a preview of, and may now import: exactly this file, with exactly these effects.
type upload struct {
	Owner   string // itusers.User.Key of who sent it
	Name    string
	Text    []byte
	Format  itusers.Format
	Into    string // the environment that an id column without one means
	Effects string // fingerprint of the preview
	Until   time.Time
}

// Import is what an import does, or would do.
type Import struct {
	ID        string          `json:"id,omitempty" doc:"to confirm it with; absent where there is nothing to confirm"`
	Until     *time.Time      `json:"until,omitempty" doc:"until then it can be confirmed"`
	Added     int             `json:"added"`
	Changed   int             `json:"changed"`
	Unchanged int             `json:"unchanged"`
	Rows      []ImportRow     `json:"rows" doc:"added and changed users, the first 200"`
	Problems  []ImportProblem `json:"problems" doc:"with one, nothing can be imported; the first 200"`
}

// ImportRow is what becomes of one user.
type ImportRow struct {
	Line     int      `json:"line"`
	Username string   `json:"username"`
	Added    bool     `json:"added"`
	What     []string `json:"what"`
}

// ImportProblem is what is wrong with a line; line 0 is the file.
type ImportProblem struct {
	Line int    `json:"line"`
	Text string `json:"text"`

	Of itusers.Problem `json:"-"`
}

func importOf(r itusers.Report) Import {
	out := Import{Added: r.Added, Changed: r.Changed, Unchanged: r.Unchanged, Rows: []ImportRow{}, Problems: []ImportProblem{}}
	for _, row := range r.Rows[:min(len(r.Rows), shownRows)] {
		out.Rows = append(out.Rows, ImportRow{row.Line, row.After.Username, row.Before.Key == "", row.What})
	}
	for _, p := range r.Problems[:min(len(r.Problems), shownRows)] {
		out.Problems = append(out.Problems, ImportProblem{p.Line, p.Text(), p})
	}
	return out
}

// effects is a fingerprint of what a report does.
func effects(r itusers.Report) string {
	sum := sha256.New()
	for _, row := range r.Rows {
		fmt.Fprintf(sum, "%q %t %q\n", row.After.Username, row.Before.Key == "", row.What)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// preview reads a file, says what importing it would do, and keeps it for a while if that is anything.
func (c *call) preview(in io.Reader, name string, format itusers.Format, into string) (Import, error) {
	if into != "" && !slices.Contains(c.Environments, into) {
		known := strings.Join(c.Environments, ", ")
		return Import{}, worded{invalid(fmt.Sprintf("environment %q is not one of %s", into, known)), "admin.problem.environment",
			[]any{into, known}}
	}
	text, err := io.ReadAll(in)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return Import{}, errTooLarge
	}
	if err != nil {
		return Import{}, malformed("it ended early")
	}
	report, err := c.Users.Import(c.ctx(), strings.NewReader(string(text)), format,
		itusers.Options{Environments: c.Environments, Environment: into, DryRun: true})
	if err != nil && !errors.Is(err, itusers.ErrRefused) {
		return Import{}, err
	}
	out := importOf(report)
	if len(report.Rows) > 0 {
		kept := upload{c.me().Key, name, text, format, into, effects(report), c.now().Add(uploadLife)}
		out.ID, out.Until = rand.Text(), &kept.Until
		return out, c.put(c.ctx(), keptUpload, out.ID, kept, kept.Until)
	}
	return out, nil
}

// confirm imports a file that was looked at, if it still does what was shown.
func (c *call) confirm(id string) (Import, error) {
	file, err := c.takeUpload(id)
	if err != nil {
		return Import{}, err
	}
	o := itusers.Options{Environments: c.Environments, Environment: file.Into, Agree: func(r itusers.Report) error {
		if effects(r) != file.Effects {
			return errOldPreview
		}
		return nil
	}}
	report, err := c.Users.Import(c.ctx(), strings.NewReader(string(file.Text)), file.Format, o)
	if err != nil && !errors.Is(err, itusers.ErrRefused) {
		return Import{}, err
	}
	if len(report.Problems) > 0 || len(report.Rows) == 0 {
		return Import{}, errOldPreview
	}
	sum := sha256.Sum256(file.Text)
	detail := fmt.Sprintf("%s (SHA-256 %x): %d added, %d changed, %d unchanged", file.Name, sum, report.Added, report.Changed,
		report.Unchanged)
	return importOf(report), c.note(audit.Record{Action: audit.UsersImported, Environment: file.Into, Detail: detail})
}

// patient lets an upload take longer than other requests, and be larger.
func (c *call) patient() {
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Now().Add(uploadTimeout)) // a server that cannot is one of a test
	_ = control.SetWriteDeadline(time.Now().Add(uploadTimeout))
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxUpload)
}

// slow lets an answer take longer than others: directories are being asked.
func (c *call) slow() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(uploadTimeout))
}

func importOperations() []operation {
	return []operation{
		op("POST", "/imports", "previewImport", Administrator, "Look what importing a file would do; it is kept for a quarter of an hour",
			func(c *call, _ struct{}) (Import, error) {
				c.patient()
				format := itusers.CSV
				if strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
					format = itusers.JSON
				}
				return c.preview(c.r.Body, "upload", format, c.r.URL.Query().Get("environment"))
			}).with(func(o *operation) {
			o.free, o.file = true, []string{"text/csv", "application/json"}
			o.query = []parameter{{name: "environment", doc: "the environment whose ids are in the column id"}}
		}),
		op("POST", "/imports/{id}/confirm", "confirmImport", Administrator, "Import exactly the file that was looked at",
			func(c *call, _ struct{}) (Import, error) { return c.confirm(c.r.PathValue("id")) }),
	}
}
