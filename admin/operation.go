package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/portal"
)

const apiBase = "/api/v1"

// operation is one thing that the API does. The document is made of these, so that neither can lack what the other has.
type operation struct {
	method, path string // path is below apiBase
	id           string // of the document's operation
	summary      string
	role         Role
	free         bool // changes nothing of anybody's, or proves a factor itself: no step-up
	slow         bool // directories are asked
	query        []parameter
	in           reflect.Type // of the body; nil: none
	file         []string     // media types of a body that is a file; none: JSON
	status       int          // of success
	out          reflect.Type // of the answer; nil: none
	act          func(c *call, in any) (any, error)
}

// parameter is one of a query.
type parameter struct {
	name, doc string
	enum      []string
	integer   bool
}

// op is an operation with a body of one type and an answer of another; struct{} stands for none.
func op[In, Out any](method, path, id string, role Role, summary string, act func(*call, In) (Out, error)) operation {
	o := operation{method: method, path: path, id: id, role: role, summary: summary, status: http.StatusOK,
		in: bodyType[In](), out: bodyType[Out]()}
	o.act = func(c *call, in any) (any, error) {
		typed, _ := in.(In)
		return act(c, typed)
	}
	if o.out == nil {
		o.status = http.StatusNoContent
	}
	return o
}

func bodyType[T any]() reflect.Type {
	t := reflect.TypeFor[T]()
	if t == reflect.TypeFor[struct{}]() {
		return nil
	}
	return t
}

func (o operation) with(change func(*operation)) operation {
	change(&o)
	return o
}

func (o operation) changes() bool { return o.method != http.MethodGet }

// operation answers a request to the API.
func (c *call) operation(o operation) {
	in, err := c.admit(o)
	if err != nil {
		c.fail(err)
		return
	}
	if o.slow {
		c.slow()
	}
	out, err := o.act(c, in)
	if err != nil {
		c.fail(err)
		return
	}
	if o.out == nil {
		c.header("")
		c.w.WriteHeader(o.status)
		return
	}
	c.json(o.status, "application/json", out)
}

// admit judges who asks, and reads what they sent.
func (c *call) admit(o operation) (in any, err error) {
	if err := c.may(o.role); err != nil {
		return nil, err
	}
	if err := o.checkQuery(c.r); err != nil {
		return nil, err
	}
	if !o.changes() {
		return nil, nil
	}
	if !o.free && !c.fresh() {
		return nil, errStepUp
	}
	media, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	switch {
	case o.file != nil && !slices.Contains(o.file, media):
		return nil, errMediaType
	case o.file != nil:
		return nil, nil
	case media != "application/json": // no form of another site can say so
		return nil, errMediaType
	}
	return decode(c.w, c.r, o.in)
}

func (o operation) checkQuery(r *http.Request) error {
	var faults []string
	for name, values := range r.URL.Query() {
		i := slices.IndexFunc(o.query, func(p parameter) bool { return p.name == name })
		switch {
		case i < 0:
			faults = append(faults, fmt.Sprintf("query: %q is not known", name))
		case len(values) > 1:
			faults = append(faults, fmt.Sprintf("query: %s is there more than once", name))
		case o.query[i].enum != nil && !slices.Contains(o.query[i].enum, values[0]):
			faults = append(faults, fmt.Sprintf("query: %s is none of %s", name, strings.Join(o.query[i].enum, ", ")))
		case o.query[i].integer && !wholeNumber(values[0]):
			faults = append(faults, fmt.Sprintf("query: %s is not a whole number", name))
		}
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return invalid(faults...)
	}
	return nil
}

func wholeNumber(text string) bool {
	_, err := strconv.ParseInt(text, 10, 32)
	return err == nil
}

// maxBody is the largest JSON body that is read.
const maxBody = 512 << 10

// decode reads a body strictly: JSON, nothing unknown, nothing twice, nothing after it.
func decode(w http.ResponseWriter, r *http.Request, t reflect.Type) (any, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case err != nil:
		return nil, malformed("it ended early")
	case t == nil && len(bytes.TrimSpace(text)) == 0:
		return nil, nil
	case t == nil:
		t = reflect.TypeFor[struct{}]()
	}
	if err := noneTwice(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return nil, malformed(err.Error())
	}
	into := reflect.New(t)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into.Interface()); err != nil {
		return nil, malformed(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("something follows the value")
	}
	return into.Elem().Interface(), nil
}

// noneTwice refuses a value in which an object has a name twice, in whatever case: readers would differ in which one counts.
func noneTwice(d *json.Decoder) error {
	d.UseNumber()
	token, err := d.Token()
	if err != nil {
		return errors.New("it is not JSON")
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			text, ok := name.(string)
			if err != nil || !ok {
				return errors.New("it is not JSON")
			}
			folded := strings.ToLower(text)
			if seen[folded] {
				return fmt.Errorf("%q is there twice", text)
			}
			seen[folded] = true
		}
		if err := noneTwice(d); err != nil {
			return err
		}
	}
	if _, err = d.Token(); err != nil {
		return errors.New("it is not JSON")
	}
	return nil
}

// Problem is how the API refuses (RFC 9457).
type Problem struct {
	Type     string   `json:"type" doc:"urn:idbridge:problem: and the code"`
	Title    string   `json:"title" doc:"in words; may change"`
	Status   int      `json:"status"`
	Code     string   `json:"code" doc:"stable; docs/errors.md explains it"`
	Instance string   `json:"instance" doc:"urn:idbridge:call: and the correlation id, under which audit and log tell more"`
	Errors   []string `json:"errors,omitempty" doc:"what is wrong with what was sent"`
}

// fail answers with a problem.
func (c *call) fail(err error) {
	r := refusalOf(err)
	if r.logged() {
		c.Portal.Log.Error("admin", "id", c.v.ID, "path", c.r.URL.Path, "code", r.code, "error", err)
	}
	c.json(r.status, "application/problem+json", Problem{Type: "urn:idbridge:problem:" + r.code, Title: r.title, Status: r.status,
		Code: r.code, Instance: "urn:idbridge:call:" + c.v.ID, Errors: r.faults})
}

func (c *call) wrongMethod(allowed []string) {
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	c.fail(errMethod)
}

func (c *call) header(media string) {
	c.w.Header().Set("X-Correlation-Id", c.v.ID)
	if media != "" {
		c.w.Header().Set("Content-Type", media)
	}
}

func (c *call) json(status int, media string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		c.Portal.Log.Error("admin: an answer cannot be made", "id", c.v.ID, "error", err)
		status, text = http.StatusInternalServerError, []byte("{}")
	}
	c.header(media)
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(text, '\n')) // who has hung up has nobody to tell
}

// foreign answers the API's requests from other sites as the API does.
func (a *Admin) foreign(v *portal.Visitor) bool {
	if !strings.HasPrefix(v.R.URL.Path, "/api/") {
		return false
	}
	(&call{Admin: a, v: v, w: v.W, r: v.R}).fail(errCrossOrigin)
	return true
}
