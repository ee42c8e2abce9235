package platform

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// soapVersion is how one version of SOAP looks on the wire.
type soapVersion struct{ label, space, media string }

var (
	soap11 = soapVersion{"SOAP 1.1", "http://schemas.xmlsoap.org/soap/envelope/", "text/xml"}
	soap12 = soapVersion{"SOAP 1.2", "http://www.w3.org/2003/05/soap-envelope", "application/soap+xml"}
)

const maxAnswer = 1 << 20

type pair struct{ name, value string }

type status struct {
	success       bool
	id            int64
	message, info string
}

// response is an answer that keeps the contract.
type response struct {
	status status
	userID int64
	pairs  []pair
}

func (s *session) fetch(ctx context.Context) ([]byte, error) {
	text, r, err := s.send(ctx, http.MethodGet, s.URL+"?wsdl", nil, http.Header{})
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %s%s", r.Status, hint(r.StatusCode))
	}
	return text, nil
}

func hint(code int) string {
	if code == http.StatusUnauthorized {
		return ": the plugin does not know this caller; check the environment's user name and secret, or its certificate"
	}
	return ""
}

// send makes one HTTP exchange within the timeout and reads all of the answer.
func (s *session) send(ctx context.Context, verb, url string, body []byte, h http.Header) (
	[]byte, *http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, verb, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, errors.New("the address is not a URL") // err would repeat it, with what may be a secret
	}
	req.Header = h
	if s.Caller != "" {
		req.SetBasicAuth(s.Caller, s.Secret)
	}
	r, err := s.Client.Do(req)
	if err != nil {
		return nil, nil, s.late(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return text, r, s.late(err)
}

func (s *session) late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", s.Timeout)
	}
	return err
}

// call makes one call of the contract and holds the answer against it.
func (s *session) call(ctx context.Context, v soapVersion, name string, parameters ...pair) (response, error) {
	h := http.Header{}
	action := s.action + name
	if v == soap12 {
		h.Set("Content-Type", v.media+`; charset=utf-8; action="`+action+`"`)
	} else {
		h.Set("Content-Type", v.media+"; charset=utf-8")
		h.Set("SOAPAction", `"`+action+`"`)
	}
	text, r, err := s.send(ctx, http.MethodPost, s.URL, s.envelope(v, name, parameters), h)
	if err != nil {
		return response{}, err
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != v.media {
		return response{}, fmt.Errorf("HTTP %s, Content-Type %q, not %s%s", r.Status, r.Header.Get("Content-Type"), v.media,
			hint(r.StatusCode))
	}
	return s.read(v, name, text, r.StatusCode)
}

func (s *session) envelope(v soapVersion, name string, parameters []pair) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="%s"><soap:Body><%s xmlns="%s">`,
		v.space, name, s.schema)
	for _, p := range parameters {
		b.WriteString("<" + p.name + ">")
		_ = xml.EscapeText(&b, []byte(p.value)) // writing to a buffer does not fail
		b.WriteString("</" + p.name + ">")
	}
	fmt.Fprintf(&b, `</%s></soap:Body></soap:Envelope>`, name)
	return b.Bytes()
}

// node is an element of an answer.
type node struct {
	XMLName  xml.Name
	Text     string `xml:",chardata"`
	Children []node `xml:",any"`
}

func (s *session) read(v soapVersion, name string, text []byte, code int) (response, error) {
	var envelope node
	if err := xml.Unmarshal(text, &envelope); err != nil {
		return response{}, fmt.Errorf("HTTP %d, the answer cannot be read: %w", code, err)
	}
	body := envelope
	for _, want := range []string{"Envelope", "Body"} {
		if body.XMLName != (xml.Name{Space: v.space, Local: want}) {
			return response{}, fmt.Errorf("the answer has %s where the %s of %s belongs", spell(body.XMLName), want, v.label)
		}
		if len(body.Children) != 1 {
			return response{}, fmt.Errorf("the answer's %s holds %d elements, not one", want, len(body.Children))
		}
		body = body.Children[0]
	}
	if body.XMLName == (xml.Name{Space: v.space, Local: "Fault"}) {
		return response{}, fmt.Errorf("fault: %s", strings.Join(strings.Fields(body.allText()), " "))
	}
	if code != http.StatusOK {
		return response{}, fmt.Errorf("HTTP %d without a fault", code)
	}
	want := xml.Name{Space: s.schema, Local: name + "Response"}
	if body.XMLName != want {
		return response{}, fmt.Errorf("the answer is %s, not %s", spell(body.XMLName), spell(want))
	}
	m, _ := methodNamed(name)
	return s.response(body, m.out)
}

func spell(n xml.Name) string { return "{" + n.Space + "}" + n.Local }

func (n node) allText() string {
	b := n.Text
	for _, c := range n.Children {
		b += " " + c.allText()
	}
	return b
}

// members are the children by name; each must be of the contract, in its order, and there when it is required.
func (s *session) members(n node, want []member) (map[string]node, error) {
	got := map[string]node{}
	at := 0
	for _, c := range n.Children {
		for at < len(want) && want[at].name != c.XMLName.Local {
			at++
		}
		if at == len(want) || c.XMLName.Space != s.schema {
			return nil, fmt.Errorf("%s: %s is not expected here", n.XMLName.Local, spell(c.XMLName))
		}
		got[c.XMLName.Local] = c
		at++
	}
	for _, w := range want {
		if _, ok := got[w.name]; !ok && w.min == "1" {
			return nil, fmt.Errorf("%s lacks %s", n.XMLName.Local, w.name)
		}
	}
	return got, nil
}

func (s *session) response(n node, want []member) (r response, err error) {
	got, err := s.members(n, want)
	if err != nil {
		return r, err
	}
	if id, ok := got["UserId"]; ok {
		if r.userID, err = strconv.ParseInt(strings.TrimSpace(id.Text), 10, 64); err != nil {
			return r, fmt.Errorf("UserId %q is not a number", id.Text)
		}
	}
	for _, list := range []string{"SupportedCapabilities", "Configuration"} {
		for _, item := range got[list].Children {
			members, err := s.members(item, structures()["Capability"])
			if err != nil {
				return r, err
			}
			r.pairs = append(r.pairs, pair{members["Name"].Text, members["Value"].Text})
		}
	}
	st, ok := got["Status"]
	if !ok && len(want) > 0 {
		return r, errors.New("the answer has no Status")
	}
	if ok {
		r.status, err = s.status(st)
	}
	return r, err
}

func (s *session) status(n node) (st status, err error) {
	got, err := s.members(n, structures()["PluginAPIStatus"])
	if err != nil {
		return st, err
	}
	switch text := strings.TrimSpace(got["Success"].Text); text {
	case "true", "1":
		st.success = true
	case "false", "0":
	default:
		return st, fmt.Errorf("status: Success %q is not a Boolean", text)
	}
	if st.id, err = strconv.ParseInt(strings.TrimSpace(got["ResponseId"].Text), 10, 32); err != nil {
		return st, fmt.Errorf("status: ResponseId %q is not a 32-bit number", got["ResponseId"].Text)
	}
	st.message, st.info = got["ResponseMessage"].Text, got["ResponseAdditionalInfo"].Text
	return st, nil
}
