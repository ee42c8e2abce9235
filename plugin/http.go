package plugin

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

const (
	maxBody           = 64 << 10
	correlationHeader = "X-Correlation-Id"
)

// outcomes for Observe beside the names of Kinds.
const (
	outcomeFault   = "fault"
	outcomeRefused = "refused"
	outcomePage    = "page"
)

// fault is what a caller learns of a message that was not understood, or of a bug.
type fault struct{ code11, code12, text string }

func senderFault() fault { return fault{"Client", "Sender", "The request was not understood."} }
func serverFault() fault { return fault{"Server", "Receiver", "The request could not be processed."} }

func faultOf(m malformation) fault {
	switch m {
	case versionMismatch:
		return fault{"VersionMismatch", "VersionMismatch", "The envelope is of an unknown version of SOAP."}
	case mustUnderstand:
		return fault{"MustUnderstand", "MustUnderstand", "A header that must be understood is not."}
	}
	return senderFault()
}

// httpStatus is 500 for every fault of SOAP 1.1 (WS-I Basic Profile 1.1, R1126); SOAP 1.2 Part 2, table 20, has 400 for
// Sender.
func (f fault) httpStatus(v version) int {
	if v == soap12 && f.code12 == "Sender" {
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// ServeHTTP identifies the caller before it looks at anything else.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := call{id: d.NewID(), arrived: d.Now(), source: peerAddress(r)}
	plugin, onService := servicePath(r.URL.Path)
	env, why := identify(d.callers, newPeer(r, plugin))
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if why != "" {
		d.refuse(w, r, c, why)
		return
	}
	c.env = env
	h.Set(correlationHeader, c.id)
	switch {
	case !onService:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPost:
		d.post(w, r, c)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		d.describe(w, r, c)
	default:
		h.Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// servicePath takes /<plugin name>/OSPlatformAuthentication.asmx apart, in any case of letters.
func servicePath(path string) (plugin string, ok bool) {
	plugin, file, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return lower(plugin), lower(file) == lower(serviceFile)
}

// refuse answers an unidentified caller: 401 and nothing else, the same for every reason and path.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, c call, why refusal) {
	w.Header().Set("WWW-Authenticate", `Basic realm="idbridge", charset="UTF-8"`)
	w.WriteHeader(http.StatusUnauthorized)
	d.Observe("", outcomeRefused, d.Now().Sub(c.arrived))
	report, dropped := d.refusals.allow(c.arrived)
	if !report {
		return
	}
	detail := string(why)
	if dropped > 0 {
		detail += fmt.Sprintf(" (and %d other refused callers not listed)", dropped)
	}
	d.Log.WarnContext(r.Context(), "caller refused", "id", c.id, "reason", string(why), "source", c.source.String(),
		"not_listed", dropped)
	_ = d.journal(r.Context(), c, CallerRefused, detail) // logged there; the caller is refused either way
}

// describe answers GET: the WSDL at ?wsdl, otherwise the page.
func (d *door) describe(w http.ResponseWriter, r *http.Request, c call) {
	s := d.services[c.env.plugin]
	if q := lower(r.URL.RawQuery); q == "wsdl" || q == "wsdl=" {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(s.wsdl)))
		_, _ = w.Write(s.wsdl) // a caller who hung up cannot be told
	} else if err := d.writePage(w, s, c.env.Name); err != nil {
		d.Log.ErrorContext(r.Context(), "page", "id", c.id, "error", err)
	}
	d.Observe("", outcomePage, d.Now().Sub(c.arrived))
}

// post answers a SOAP message.
func (d *door) post(w http.ResponseWriter, r *http.Request, c call) {
	out := d.buffers.Get().(*buffer)
	out.Reset()
	defer d.buffers.Put(out)
	if code := d.receive(w, r, out, &c); code != 0 {
		d.Log.WarnContext(r.Context(), "request refused", "id", c.id, "environment", c.env.Name, "status", code)
		d.Observe("", outcomeFault, d.Now().Sub(c.arrived))
		w.WriteHeader(code)
		return
	}
	code, outcome := d.answer(r, out, &c)
	w.Header().Set("Content-Type", contentType(c.version))
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(code)
	_, _ = w.Write(out.Bytes()) // a caller who hung up cannot be told; the decision is recorded
	d.Observe(c.method, outcome, d.Now().Sub(c.arrived))
}

func contentType(v version) string {
	if v == soap12 {
		return "application/soap+xml; charset=utf-8"
	}
	return "text/xml; charset=utf-8"
}

// receive reads the body into the buffer. It returns the HTTP status to refuse with, or 0.
func (d *door) receive(w http.ResponseWriter, r *http.Request, in *buffer, c *call) int {
	if !acceptable(r) {
		return http.StatusUnsupportedMediaType
	}
	_, err := in.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return http.StatusBadRequest
	}
	return 0
}

// acceptable looks at type, charset and coding of the body. Which of the two types it is does not matter: the
// envelope's namespace tells the version.
func acceptable(r *http.Request) bool {
	media, params, err := mediaType(r)
	if err != nil || media != "text/xml" && media != "application/soap+xml" {
		return false
	}
	charset := params["charset"]
	return (charset == "" || strings.EqualFold(charset, "utf-8")) && r.Header.Get("Content-Encoding") == ""
}

// answer decodes what is in the buffer, runs the method, and leaves the response in the buffer.
func (d *door) answer(r *http.Request, buf *buffer, c *call) (code int, outcome string) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		d.Log.ErrorContext(r.Context(), "panic", "id", c.id, "value", v, "stack", string(debug.Stack()))
		buf.Reset()
		buf.fault(c.version, serverFault())
		code, outcome = serverFault().httpStatus(c.version), authn.Internal.String()
	}()
	var err error
	c.request, err = d.decode(buf.Bytes())
	clear(buf.Bytes()) // it may hold a password
	buf.Reset()
	if err == nil {
		err = checkAction(r, c.method)
	}
	if err != nil {
		return d.malformed(r.Context(), buf, c, err)
	}
	a := d.dispatch(r.Context(), *c)
	buf.response(c.request, a)
	return http.StatusOK, a.outcome
}

func (d *door) malformed(ctx context.Context, buf *buffer, c *call, err error) (code int, outcome string) {
	d.Log.WarnContext(ctx, "malformed request", "id", c.id, "environment", c.env.Name, "reason", err.Error())
	m, _ := errors.AsType[malformation](err)
	f := faultOf(m)
	buf.fault(c.version, f)
	return f.httpStatus(c.version), outcomeFault
}

// mediaType is the type of the body. What the platform itself sends needs no parsing.
func mediaType(r *http.Request) (media string, params map[string]string, err error) {
	text := r.Header.Get("Content-Type")
	if text == "text/xml; charset=utf-8" {
		return "text/xml", nil, nil
	}
	return mime.ParseMediaType(text)
}

// checkAction refuses a SOAPAction, or an action parameter of SOAP 1.2, that names another method than the body does.
// None is fine, and so is any prefix: the platform's client was generated from another plugin's WSDL.
func checkAction(r *http.Request, method string) error {
	actions := r.Header.Values("SOAPAction")
	if _, params, err := mediaType(r); err == nil && params["action"] != "" {
		actions = append(slices.Clone(actions), params["action"])
	}
	for _, a := range actions {
		a = strings.Trim(a, `" `)
		if a != "" && a[strings.LastIndexAny(a, "/#:")+1:] != method {
			return actionMismatch
		}
	}
	return nil
}
