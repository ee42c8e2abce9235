package plugin

import (
	"bytes"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/strictxml"
)

// version is a version of SOAP, and the namespace of its envelope.
type version string

const (
	soap11 version = "http://schemas.xmlsoap.org/soap/envelope/"
	soap12 version = "http://www.w3.org/2003/05/soap-envelope"
)

const (
	schemaNamespace   = "http://www.outsystems.com"
	instanceNamespace = "http://www.w3.org/2001/XMLSchema-instance"
	maxNamespaceName  = 256 // bytes of the namespace that an answer repeats
	maxSettings       = 256 // in one Plugin_SetConfigurations
)

// limits bound a message. The platform's own requests use a depth of 4 and a handful of attributes.
func limits() strictxml.Limits { return strictxml.Limits{Depth: 16, Attributes: 16, Namespaces: 32} }

// A malformation is why a message was refused.
type malformation = strictxml.Malformation

// Malformations of the SOAP message and of the contract; those of the XML are in strictxml.
const (
	notAnEnvelope        malformation = "not_an_envelope"
	versionMismatch      malformation = "version_mismatch"
	mustUnderstand       malformation = "must_understand"
	unexpectedElement    malformation = "unexpected_element"
	unexpectedText       malformation = "unexpected_text"
	unknownAttribute     malformation = "unknown_attribute"
	badNil               malformation = "bad_nil"
	bodyMissing          malformation = "body_missing"
	operationMissing     malformation = "operation_missing"
	unknownOperation     malformation = "unknown_operation"
	severalOperations    malformation = "several_operations"
	wrongNamespace       malformation = "wrong_namespace"
	unknownParameter     malformation = "unknown_parameter"
	duplicateParameter   malformation = "duplicate_parameter"
	replacementCharacter malformation = "replacement_character"
	tooManySettings      malformation = "too_many_settings"
	actionMismatch       malformation = "action_mismatch"
)

// request is one decoded call. A parameter that is missing or nil is empty.
type request struct {
	version   version
	namespace string // of the operation's element; the answer uses it too
	method    string
	username  string
	password  authn.Secret
	settings  []Setting
}

// decode reads a message with a decoder of the pool: one takes 3 KiB. Nothing of a message stays in it.
func (d *door) decode(message []byte) (request, error) {
	one := d.decoders.Get().(*decoder)
	defer func() {
		*one = decoder{}
		d.decoders.Put(one)
	}()
	return one.decode(message)
}

type decoder struct {
	strictxml.Scanner
	request request
}

// decode reads a message: exactly one Envelope with an optional Header, then one Body with one operation of the
// contract, whose parameters are each given at most once. On a malformation the request says how far it was
// understood, so that a fault can be worded in its version.
func (d *decoder) decode(message []byte) (request, error) {
	d.request.version = soap11
	if err := d.Reset(message, limits()); err != nil {
		return d.request, err
	}
	err := d.envelope()
	return d.request, err
}

func (d *decoder) envelope() error {
	if more, err := d.child(); err != nil || !more {
		return orElse(err, notAnEnvelope)
	}
	if string(d.Local) != "Envelope" {
		return notAnEnvelope
	}
	switch version(d.Space) {
	case soap11:
	case soap12:
		d.request.version = soap12
	default:
		return versionMismatch
	}
	if err := d.onlyForeignAttributes(); err != nil {
		return err
	}
	if err := d.envelopeChildren(); err != nil {
		return err
	}
	_, err := d.Next() // nothing may follow
	return err
}

func (d *decoder) envelopeChildren() error {
	header, body := false, false
	for {
		more, err := d.child()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if version(d.Space) != d.request.version {
			return wrongNamespace
		}
		switch {
		case string(d.Local) == "Header" && !header && !body:
			header, err = true, d.header()
		case string(d.Local) == "Body" && !body:
			body, err = true, d.body()
		default:
			err = unexpectedElement
		}
		if err != nil {
			return err
		}
	}
	if !body {
		return bodyMissing
	}
	return nil
}

// header steps over header blocks, addressing for instance; but one that must be understood is not.
func (d *decoder) header() error {
	if err := d.onlyForeignAttributes(); err != nil {
		return err
	}
	for {
		more, err := d.child()
		if err != nil || !more {
			return err
		}
		for _, a := range d.Attrs {
			if version(a.Space) == d.request.version && string(a.Local) == "mustUnderstand" && !isFalse(a.Value) {
				return mustUnderstand
			}
		}
		if err := d.skip(); err != nil {
			return err
		}
	}
}

// skip steps over the rest of the element just opened.
func (d *decoder) skip() error {
	for depth := d.Depth(); ; {
		if _, err := d.Next(); err != nil {
			return err
		}
		if d.Depth() < depth {
			return nil
		}
	}
}

func (d *decoder) body() error {
	if err := d.onlyForeignAttributes(); err != nil {
		return err
	}
	if more, err := d.child(); err != nil || !more {
		return orElse(err, operationMissing)
	}
	if err := d.operation(); err != nil {
		return err
	}
	if more, err := d.child(); err != nil || more {
		return orElse(err, severalOperations)
	}
	return nil
}

func (d *decoder) operation() error {
	space := string(d.Space)
	soap := version(space) == soap11 || version(space) == soap12
	if space == "" || soap || len(space) > maxNamespaceName || strings.ContainsAny(space, " \t\r\n") {
		return wrongNamespace
	}
	m, ok := lookupMethod(d.Local)
	if !ok {
		return unknownOperation
	}
	d.request.namespace, d.request.method = space, m
	if isNil, err := d.schemaAttributes(); err != nil || isNil {
		return orElse(err, badNil)
	}
	switch m {
	case authenticateWithCredentials:
		return d.texts(field{"Username", &d.request.username}, field{"Password", (*string)(&d.request.password)})
	case authenticateWithUsername:
		return d.texts(field{"Username", &d.request.username})
	case setConfigurations:
		return d.configuration()
	}
	return d.texts()
}

// field is a text parameter and where to put it.
type field struct {
	name string
	to   *string
}

// texts reads the children of an element: the given fields, in any order, each at most once, in the operation's
// namespace.
func (d *decoder) texts(fields ...field) error {
	var seen uint8 // one bit for each field
	for {
		more, err := d.child()
		if err != nil || !more {
			return err
		}
		i := 0
		for i < len(fields) && string(d.Local) != fields[i].name {
			i++
		}
		switch {
		case string(d.Space) != d.request.namespace:
			return wrongNamespace
		case i == len(fields):
			return unknownParameter
		case seen&(1<<i) != 0:
			return duplicateParameter
		}
		seen |= 1 << i
		if *fields[i].to, err = d.text(); err != nil {
			return err
		}
	}
}

// configuration reads Configuration, a list of PluginAPIConfigurationParameter.
func (d *decoder) configuration() error {
	for seen := false; ; seen = true {
		more, err := d.child()
		if err != nil || !more {
			return err
		}
		switch {
		case string(d.Space) != d.request.namespace:
			return wrongNamespace
		case string(d.Local) != "Configuration":
			return unknownParameter
		case seen:
			return duplicateParameter
		}
		if err := d.list(); err != nil {
			return err
		}
	}
}

func (d *decoder) list() error {
	isNil, err := d.schemaAttributes()
	if err != nil {
		return err
	}
	for {
		more, err := d.child()
		switch {
		case err != nil || !more:
			return err
		case isNil:
			return badNil
		case string(d.Space) != d.request.namespace:
			return wrongNamespace
		case string(d.Local) != "PluginAPIConfigurationParameter":
			return unknownParameter
		case len(d.request.settings) == maxSettings:
			return tooManySettings
		}
		if err := d.setting(); err != nil {
			return err
		}
	}
}

// setting reads one element of the list; a nil one is dropped.
func (d *decoder) setting() error {
	isNil, err := d.schemaAttributes()
	if err != nil {
		return err
	}
	var s Setting
	if isNil {
		return d.texts()
	}
	if err := d.texts(field{"Name", &s.Name}, field{"Value", &s.Value}); err != nil {
		return err
	}
	d.request.settings = append(d.request.settings, s)
	return nil
}

// text reads the text of the element just opened, exactly as it was sent, up to the element's end.
func (d *decoder) text() (string, error) {
	isNil, err := d.schemaAttributes()
	if err != nil {
		return "", err
	}
	var all string
	for {
		kind, err := d.Next()
		switch {
		case err != nil:
			return "", err
		case kind == strictxml.EndTag:
			return all, nil
		case kind != strictxml.Text && kind != strictxml.CDATA:
			return "", unexpectedElement
		case isNil:
			return "", badNil
		case bytes.ContainsRune(d.Data, '\uFFFD'): // what others put where they could not read a character
			return "", replacementCharacter
		}
		all += string(d.Data)
	}
}

// child steps to the next child of the element just opened, or over its end: then more is false. Between children there
// may be space only.
func (d *decoder) child() (more bool, err error) {
	for {
		kind, err := d.Next()
		switch {
		case err != nil:
			return false, err
		case kind == strictxml.StartTag || kind == strictxml.EndTag:
			return kind == strictxml.StartTag, nil
		case kind == strictxml.EndOfInput:
			return false, nil
		case !blank(d.Data):
			return false, unexpectedText
		}
	}
}

// onlyForeignAttributes checks Envelope, Header and Body: security and addressing put attributes of their own there,
// but one of SOAP's (encodingStyle) would ask for an encoding that the contract does not have.
func (d *decoder) onlyForeignAttributes() error {
	for _, a := range d.Attrs {
		if len(a.Space) == 0 || version(a.Space) == d.request.version {
			return unknownAttribute
		}
	}
	return nil
}

// schemaAttributes checks an operation or a parameter: xsi:nil and xsi:type only. The type says nothing new.
func (d *decoder) schemaAttributes() (isNil bool, err error) {
	for _, a := range d.Attrs {
		switch {
		case string(a.Space) != instanceNamespace:
			return false, unknownAttribute
		case string(a.Local) == "type":
		case string(a.Local) != "nil":
			return false, unknownAttribute
		case isTrue(a.Value):
			isNil = true
		case !isFalse(a.Value):
			return false, badNil
		}
	}
	return isNil, nil
}

func isTrue(v []byte) bool  { return string(v) == "true" || string(v) == "1" }
func isFalse(v []byte) bool { return string(v) == "false" || string(v) == "0" }

func blank(data []byte) bool { return len(bytes.Trim(data, " \t\r\n")) == 0 }

func orElse(err error, m malformation) error {
	if err != nil {
		return err
	}
	return m
}
