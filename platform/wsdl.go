package platform

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// definitions is a WSDL 1.1 document, as far as the contract looks at it.
type definitions struct {
	XMLName         xml.Name   `xml:"http://schemas.xmlsoap.org/wsdl/ definitions"`
	Attributes      []xml.Attr `xml:",any,attr"`
	TargetNamespace string     `xml:"targetNamespace,attr"`
	Schemas         []schema   `xml:"types>schema"`
	Messages        []message  `xml:"message"`
	PortTypes       []portType `xml:"portType"`
	Bindings        []binding  `xml:"binding"`
	Services        []struct {
		Name  string `xml:"name,attr"`
		Ports []port `xml:"port"`
	} `xml:"service"`
}

type schema struct {
	Attributes      []xml.Attr    `xml:",any,attr"`
	TargetNamespace string        `xml:"targetNamespace,attr"`
	Form            string        `xml:"elementFormDefault,attr"`
	Elements        []element     `xml:"element"`
	Types           []complexType `xml:"complexType"`
	SimpleTypes     []struct {
		Name string `xml:"name,attr"`
	} `xml:"simpleType"`
}

type element struct {
	Name    string       `xml:"name,attr"`
	Type    string       `xml:"type,attr"`
	Min     string       `xml:"minOccurs,attr"`
	Max     string       `xml:"maxOccurs,attr"`
	Nil     string       `xml:"nillable,attr"`
	Complex *complexType `xml:"complexType"`
}

type complexType struct {
	Name    string    `xml:"name,attr"`
	Mixed   string    `xml:"mixed,attr"`
	Members []element `xml:"sequence>element"`
}

type message struct {
	Name  string `xml:"name,attr"`
	Parts []struct {
		Name    string `xml:"name,attr"`
		Element string `xml:"element,attr"`
	} `xml:"part"`
}

type portType struct {
	Name       string `xml:"name,attr"`
	Operations []struct {
		Name   string    `xml:"name,attr"`
		Input  reference `xml:"input"`
		Output reference `xml:"output"`
	} `xml:"operation"`
}

type reference struct {
	Message string `xml:"message,attr"`
}

type binding struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`
	SOAP struct {
		XMLName   xml.Name
		Transport string `xml:"transport,attr"`
		Style     string `xml:"style,attr"`
	} `xml:"binding"`
	Operations []struct {
		Name string `xml:"name,attr"`
		SOAP struct {
			XMLName xml.Name
			Action  string `xml:"soapAction,attr"`
			Style   string `xml:"style,attr"`
		} `xml:"operation"`
		Input  body `xml:"input>body"`
		Output body `xml:"output>body"`
	} `xml:"operation"`
}

type body struct {
	XMLName xml.Name
	Use     string  `xml:"use,attr"`
	Parts   *string `xml:"parts,attr"`
}

type port struct {
	Name    string `xml:"name,attr"`
	Binding string `xml:"binding,attr"`
	Address struct {
		XMLName  xml.Name
		Location string `xml:"location,attr"`
	} `xml:"address"`
}

func parseWSDL(text []byte) (*definitions, error) {
	var d definitions
	if err := xml.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("the WSDL cannot be read: %w", err)
	}
	return &d, nil
}

// audit collects deviations from the contract, a line each.
type audit struct {
	*definitions
	prefixes map[string]string
	lines    []string
}

func (d *definitions) deviations() []string {
	a := &audit{definitions: d, prefixes: map[string]string{}}
	a.declare(d.Attributes)
	if !strings.HasPrefix(d.TargetNamespace, "http://") || !strings.HasSuffix(d.TargetNamespace, "/"+serviceName+"/") {
		a.add("target namespace is %q, not http://<PluginName>/%s/", d.TargetNamespace, serviceName)
	}
	if len(d.Schemas) == 1 {
		a.schema(d.Schemas[0])
	} else {
		a.add("%d schemas, not one", len(d.Schemas))
	}
	a.messages()
	a.portType()
	a.bindings()
	a.service()
	return a.lines
}

func (a *audit) add(format string, args ...any) {
	a.lines = append(a.lines, fmt.Sprintf(format, args...))
}

func (a *audit) want(what, got, want string) {
	if got != want {
		a.add("%s is %q, not %q", what, got, want)
	}
}

func (a *audit) declare(attributes []xml.Attr) {
	for _, at := range attributes {
		if at.Name.Space == "xmlns" {
			a.prefixes[at.Name.Local] = at.Value
		} else if at.Name.Space == "" && at.Name.Local == "xmlns" {
			a.prefixes[""] = at.Value
		}
	}
}

// expand is a qualified name as {namespace}local.
func (a *audit) expand(qname string) string {
	prefix, local, ok := strings.Cut(qname, ":")
	if !ok {
		prefix, local = "", qname
	}
	return "{" + a.prefixes[prefix] + "}" + local
}

func (a *audit) schema(s schema) {
	a.declare(s.Attributes)
	a.want("schema namespace", s.TargetNamespace, schemaNamespace)
	a.want("elementFormDefault", s.Form, "qualified")
	for _, t := range s.SimpleTypes {
		a.add("simple type %s: Service Studio takes none", t.Name)
	}
	elements := map[string]*complexType{}
	for _, e := range s.Elements {
		elements[e.Name] = e.Complex
	}
	expected := map[string][]member{}
	for _, m := range contract() {
		expected[m.name], expected[m.name+"Response"] = m.in, m.out
	}
	a.complexes("element", elements, expected)
	types := map[string]*complexType{}
	for _, t := range s.Types {
		types[t.Name] = &t
	}
	a.complexes("type", types, structures())
}

func (a *audit) complexes(what string, got map[string]*complexType, want map[string][]member) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		c, ok := got[name]
		switch {
		case !ok:
			a.add("%s %s is missing", what, name)
		case c == nil:
			a.add("%s %s has no complex type", what, name)
		default:
			a.members(what+" "+name, *c, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			a.add("%s %s is not in the contract", what, name)
		}
	}
}

func (a *audit) members(where string, c complexType, want []member) {
	if c.Mixed == "true" || c.Mixed == "1" {
		a.add("%s has mixed content", where)
	}
	if len(c.Members) != len(want) {
		a.add("%s has %d members, not %d", where, len(c.Members), len(want))
		return
	}
	for i, w := range want {
		a.member(fmt.Sprintf("%s, member %s", where, w.name), c.Members[i], w)
	}
}

func (a *audit) member(where string, e element, w member) {
	a.want(where+": name", e.Name, w.name)
	a.want(where+": minOccurs", orOne(e.Min), w.min)
	a.want(where+": maxOccurs", orOne(e.Max), w.max)
	if nillable := e.Nil == "true" || e.Nil == "1"; nillable != w.nillable {
		a.add("%s: nillable is %t, not %t", where, nillable, w.nillable)
	}
	fits := func(t string) bool { return a.expand(e.Type) == "{"+w.space+"}"+t }
	if !slices.ContainsFunc(w.types, fits) {
		a.add("%s: type is %s, not %s", where, a.expand(e.Type), strings.Join(w.types, " or "))
	}
}

func orOne(occurs string) string {
	if occurs == "" {
		return "1"
	}
	return occurs
}

func (a *audit) messageElement(qname string) string {
	for _, m := range a.Messages {
		if "{"+a.TargetNamespace+"}"+m.Name == a.expand(qname) && len(m.Parts) == 1 {
			return a.expand(m.Parts[0].Element)
		}
	}
	return ""
}

// messages must have one part each, an element: that is what makes document/literal wrapped.
func (a *audit) messages() {
	for _, m := range a.Messages {
		if len(m.Parts) != 1 || m.Parts[0].Element == "" || m.Parts[0].Name != "parameters" {
			a.add("message %s: want one part named parameters, with an element", m.Name)
		}
	}
}

func (a *audit) portType() {
	if len(a.PortTypes) != 1 {
		a.add("%d port types, not one", len(a.PortTypes))
		return
	}
	names := map[string]bool{}
	for _, op := range a.PortTypes[0].Operations {
		names[op.Name] = true
		in, out := a.messageElement(op.Input.Message), a.messageElement(op.Output.Message)
		a.want("operation "+op.Name+": input", in, "{"+schemaNamespace+"}"+op.Name)
		a.want("operation "+op.Name+": output", out, "{"+schemaNamespace+"}"+op.Name+"Response")
	}
	a.exactlyTheMethods("port type "+a.PortTypes[0].Name, names)
}

func (a *audit) exactlyTheMethods(where string, got map[string]bool) {
	for _, m := range contract() {
		if !got[m.name] {
			a.add("%s: %s is missing", where, m.name)
		}
		delete(got, m.name)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		a.add("%s: %s is not in the contract", where, name)
	}
}

// wanted are the two ports, and the namespace of the SOAP extensions that each must use.
func wanted() map[string]string {
	return map[string]string{
		serviceName + "Soap":   "http://schemas.xmlsoap.org/wsdl/soap/",
		serviceName + "Soap12": "http://schemas.xmlsoap.org/wsdl/soap12/",
	}
}

func (a *audit) bindings() {
	for _, b := range a.Bindings {
		space, ok := wanted()[b.Name]
		if !ok {
			a.add("binding %s is not in the contract", b.Name)
			continue
		}
		where := "binding " + b.Name
		a.want(where+": SOAP namespace", b.SOAP.XMLName.Space, space)
		a.want(where+": style", b.SOAP.Style, "document")
		a.want(where+": transport", b.SOAP.Transport, "http://schemas.xmlsoap.org/soap/http")
		if len(a.PortTypes) == 1 {
			a.want(where+": port type", a.expand(b.Type), "{"+a.TargetNamespace+"}"+a.PortTypes[0].Name)
		}
		a.bindingOperations(where, space, b)
	}
}

func (a *audit) bindingOperations(where, space string, b binding) {
	names := map[string]bool{}
	for _, op := range b.Operations {
		names[op.Name] = true
		here := where + ", " + op.Name
		a.want(here+": SOAP namespace", op.SOAP.XMLName.Space, space)
		a.want(here+": soapAction", op.SOAP.Action, a.TargetNamespace+op.Name)
		if op.SOAP.Style != "" {
			a.want(here+": style", op.SOAP.Style, "document")
		}
		for _, b := range []body{op.Input, op.Output} {
			a.want(here+": body namespace", b.XMLName.Space, space)
			a.want(here+": body use", b.Use, "literal")
			if b.Parts != nil {
				a.add("%s: parts on soap:body", here)
			}
		}
	}
	a.exactlyTheMethods(where, names)
}

func (a *audit) service() {
	if len(a.Services) != 1 {
		a.add("%d services, not one", len(a.Services))
		return
	}
	a.want("service", a.Services[0].Name, serviceName)
	left := wanted()
	for _, p := range a.Services[0].Ports {
		space, ok := left[p.Name]
		if !ok {
			a.add("port %s is not in the contract, or there twice", p.Name)
			continue
		}
		delete(left, p.Name)
		a.want("port "+p.Name+": binding", a.expand(p.Binding), "{"+a.TargetNamespace+"}"+p.Name)
		a.want("port "+p.Name+": address namespace", p.Address.XMLName.Space, space)
		if p.Address.Location == "" {
			a.add("port %s has no address", p.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		a.add("port %s is missing", name)
	}
}
