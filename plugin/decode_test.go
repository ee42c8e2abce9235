package plugin

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/strictxml"
)

const (
	envelope11 = `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">`
	envelope12 = `<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope">`
	closing    = `</soap:Envelope>`
	body11     = envelope11 + `<soap:Body>`
	closeBody  = `</soap:Body></soap:Envelope>`
	operation  = `<User_AuthenticateWithCredentials xmlns="http://www.outsystems.com">`
	closeOp    = `</User_AuthenticateWithCredentials>`
)

// signInMessage is a whole message around the parameters of a sign-in.
func signInMessage(parameters string) string {
	return body11 + operation + parameters + closeOp + closeBody
}

// inBody is a whole message around an operation.
func inBody(op string) string { return body11 + op + closeBody }

func TestDecodeSignIn(t *testing.T) {
	const ns = schemaNamespace
	want := request{version: soap11, namespace: ns, method: authenticateWithCredentials, username: "ana", password: "s3 cret"}
	tests := map[string]struct {
		message string
		change  func(*request)
	}{
		"as .NET sends it": {`<?xml version="1.0" encoding="utf-8"?><soap:Envelope
			xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
			xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body>` + operation +
			`<Username>ana</Username><Password>s3 cret</Password>` + closeOp + closeBody, nil},
		"SOAP 1.2": {envelope12 + `<soap:Body>` + operation + `<Username>ana</Username><Password>s3 cret</Password>` +
			closeOp + closeBody, func(r *request) { r.version = soap12 }},
		"prefixes, any order, space between": {body11 + "\r\n\t" + `<o:User_AuthenticateWithCredentials xmlns:o="` + ns + `">
			<o:Password>s3 cret</o:Password> <o:Username>ana</o:Username> </o:User_AuthenticateWithCredentials>
			</soap:Body> ` + closing + "\n", nil},
		"another plugin's namespace": {inBody(`<q:User_AuthenticateWithCredentials xmlns:q="urn:other"><q:Username>ana</q:Username>
			<q:Password>s3 cret</q:Password></q:User_AuthenticateWithCredentials>`), func(r *request) { r.namespace = "urn:other" }},
		"references and CDATA": {signInMessage(`<Username>&#97;n&#x61;</Username><Password>s<![CDATA[3 c]]>ret</Password>`), nil},
		"byte order mark":      {"\uFEFF" + signInMessage(`<Username>ana</Username><Password>s3 cret</Password>`), nil},
		"space around is kept": {signInMessage("<Username> ana\t</Username><Password> s3 cret\n</Password>"),
			func(r *request) { r.username, r.password = " ana\t", " s3 cret\n" }},
		"markup in references stays text": {signInMessage(`<Username>ana</Username><Password>&lt;a&gt;&amp;&quot;&apos;&#13;</Password>`),
			func(r *request) { r.password = "<a>&\"'\r" }},
		"line ends": {signInMessage("<Username>ana</Username><Password>a\r\nb\rc</Password>"),
			func(r *request) { r.password = "a\nb\nc" }},
		"missing": {signInMessage(""), func(r *request) { r.username, r.password = "", "" }},
		"empty":   {signInMessage("<Username/><Password></Password>"), func(r *request) { r.username, r.password = "", "" }},
		"nil": {signInMessage(`<Username>ana</Username><Password xmlns:i="` + instanceNamespace + `" i:nil="true"/>`),
			func(r *request) { r.password = "" }},
		"a type says nothing": {signInMessage(`<Username xmlns:i="` + instanceNamespace + `" i:type="x:string" i:nil="0">ana</Username>` +
			`<Password>s3 cret</Password>`), nil},
		"a header nobody must understand": {envelope11 + `<soap:Header><a:To xmlns:a="urn:a" soap:mustUnderstand="0">x<a:y/></a:To>` +
			`</soap:Header><soap:Body>` + operation + `<Username>ana</Username><Password>s3 cret</Password>` + closeOp + closeBody, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := new(decoder).decode([]byte(tt.message))
			if err != nil {
				t.Fatalf("%v\n%s", err, tt.message)
			}
			expected := want
			if tt.change != nil {
				tt.change(&expected)
			}
			if !reflect.DeepEqual(got, expected) {
				t.Errorf("got %+v %q\nwant %+v %q", got, got.password.Reveal(), expected, expected.password.Reveal())
			}
		})
	}
}

func TestDecodeSettings(t *testing.T) {
	const item = `<PluginAPIConfigurationParameter><Name>n</Name><Value>v</Value></PluginAPIConfigurationParameter>`
	got, err := new(decoder).decode([]byte(inBody(`<Plugin_SetConfigurations xmlns="` + schemaNamespace + `"><Configuration>` + item +
		`<PluginAPIConfigurationParameter xmlns:i="` + instanceNamespace + `" i:nil="true"/>` + item +
		`</Configuration></Plugin_SetConfigurations>`)))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Setting{{"n", "v"}, {"n", "v"}}; !reflect.DeepEqual(got.settings, want) {
		t.Errorf("got %v, want %v", got.settings, want)
	}
}

// refusedMessages are messages that encoding/xml or a lenient SOAP stack takes, each with the reason for which we do not.
func refusedMessages() map[string]struct {
	message string
	want    malformation
} {
	const user, password = `<Username>a</Username>`, `<Password>b</Password>`
	const good = user + password
	settings := func(list string) string {
		return inBody(`<Plugin_SetConfigurations xmlns="` + schemaNamespace + `">` + list + `</Plugin_SetConfigurations>`)
	}
	xsi := `xmlns:i="` + instanceNamespace + `" `
	type m = struct {
		message string
		want    malformation
	}
	return map[string]m{
		// The text of the message.
		"empty":                         {"", strictxml.Truncated},
		"space only":                    {" \n", strictxml.Truncated},
		"not XML":                       {"hello", strictxml.BadMarkup},
		"Latin-1":                       {signInMessage("<Username>jos\xe9</Username>"), strictxml.NotUTF8},
		"declared as Latin-1":           {`<?xml version="1.0" encoding="iso-8859-1"?>` + signInMessage(good), strictxml.NotUTF8},
		"UTF-16":                        {"\xff\xfe<\x00a\x00", strictxml.NotUTF8},
		"version 1.1":                   {`<?xml version="1.1"?>` + signInMessage(good), strictxml.BadDeclaration},
		"declaration without a version": {`<?xml encoding="utf-8"?>` + signInMessage(good), strictxml.BadDeclaration},
		"declaration out of order":      {`<?xml encoding="utf-8" version="1.0"?>` + signInMessage(good), strictxml.BadDeclaration},
		"declaration with more":         {`<?xml version="1.0" evil="1"?>` + signInMessage(good), strictxml.BadDeclaration},
		"standalone maybe":              {`<?xml version="1.0" standalone="maybe"?>` + signInMessage(good), strictxml.BadDeclaration},
		"late declaration":              {` <?xml version="1.0"?>` + signInMessage(good), strictxml.Instruction},
		"control character":             {signInMessage("<Username>a\x01</Username>"), strictxml.IllegalCharacter},
		"NUL":                           {signInMessage("<Username>a\x00</Username>"), strictxml.IllegalCharacter},
		"noncharacter":                  {signInMessage("<Username>a\uFFFF</Username>"), strictxml.IllegalCharacter},
		"NUL by reference":              {signInMessage("<Username>a&#0;</Username>"), strictxml.BadReference},
		"surrogate by reference":        {signInMessage("<Username>a&#xD800;</Username>"), strictxml.BadReference},
		"beyond Unicode":                {signInMessage("<Username>a&#x110000;</Username>"), strictxml.BadReference},
		"beyond 64 bits":                {signInMessage("<Username>a&#x10000000000000041;</Username>"), strictxml.BadReference},
		"signed reference":              {signInMessage("<Username>a&#+65;</Username>"), strictxml.BadReference},
		"empty reference":               {signInMessage("<Username>a&#;&#x;</Username>"), strictxml.BadReference},
		"HTML entity":                   {signInMessage("<Username>a&nbsp;</Username>"), strictxml.BadReference},
		"lone ampersand":                {signInMessage("<Username>a & b</Username>"), strictxml.BadReference},
		// What XML has and SOAP does not.
		"DOCTYPE":                {`<!DOCTYPE x>` + signInMessage(good), strictxml.Doctype},
		"DOCTYPE with an entity": {`<!DOCTYPE x [<!ENTITY e "v">]>` + signInMessage(`<Username>&e;</Username>`), strictxml.Doctype},
		"DOCTYPE inside":         {signInMessage(`<!DOCTYPE x>` + good), strictxml.Doctype},
		"DOCTYPE after":          {signInMessage(good) + `<!DOCTYPE x>`, strictxml.TrailingData},
		"comment in a user name": {signInMessage(`<Username>admin<!-- -->x</Username>`), strictxml.Comment},
		"comment between":        {signInMessage(user + `<!-- -->` + password), strictxml.Comment},
		"comment before":         {`<!-- -->` + signInMessage(good), strictxml.Comment},
		"comment after":          {signInMessage(good) + `<!-- -->`, strictxml.TrailingData},
		"instruction":            {`<?php x?>` + signInMessage(good), strictxml.Instruction},
		"style sheet":            {`<?xml-stylesheet href="x"?>` + signInMessage(good), strictxml.Instruction},
		"instruction in a name":  {signInMessage(`<Username>a<?x y?></Username>`), strictxml.Instruction},
		// Markup that parsers read differently.
		"second root":               {signInMessage(good) + signInMessage(good), strictxml.TrailingData},
		"text after":                {signInMessage(good) + "x", strictxml.TrailingData},
		"NUL after":                 {signInMessage(good) + "\x00", strictxml.IllegalCharacter},
		"text before":               {"x" + signInMessage(good), strictxml.BadMarkup},
		"reference before":          {"&#32;" + signInMessage(good), strictxml.BadMarkup},
		"CDATA before":              {"<![CDATA[ ]]>" + signInMessage(good), strictxml.BadMarkup},
		"cut off":                   {body11, strictxml.Truncated},
		"cut off in a tag":          {body11 + `<User_Auth`, strictxml.Truncated},
		"cut off in an attribute":   {`<a b="`, strictxml.Truncated},
		"cut off after =":           {`<a b=`, strictxml.Truncated},
		"cut off in CDATA":          {signInMessage("<Username><![CDATA[x"), strictxml.Truncated},
		"tags crossed":              {envelope11 + `<soap:Header><a><b></a></b>`, strictxml.MismatchedTag},
		"end of another element":    {signInMessage(`<Username>a</Password>`), strictxml.MismatchedTag},
		"end with another prefix":   {inBody(`<a:Plugin_Test xmlns:a="urn:x" xmlns:b="urn:x"></b:Plugin_Test>`), strictxml.MismatchedTag},
		"end without a start":       {`</a>`, strictxml.MismatchedTag},
		"attribute in an end tag":   {signInMessage(`<Username></Username a="b">`), strictxml.BadMarkup},
		"attribute without quotes":  {inBody(`<Plugin_Test xmlns=urn:x/>`), strictxml.BadMarkup},
		"attribute without value":   {inBody(`<Plugin_Test xmlns/>`), strictxml.BadMarkup},
		"attributes not separated":  {inBody(`<Plugin_Test xmlns="urn:x"xmlns:y="urn:y"/>`), strictxml.BadMarkup},
		"attribute with <":          {inBody(`<Plugin_Test xmlns="urn:<x"/>`), strictxml.BadMarkup},
		"attribute with a line end": {inBody("<Plugin_Test xmlns=\"urn:\nx\"/>"), strictxml.BadMarkup},
		"attribute twice":           {inBody(`<Plugin_Test xmlns="urn:x" xmlns="urn:y"/>`), strictxml.DuplicateAttribute},
		"attribute twice by prefixes": {inBody(`<Plugin_Test xmlns="urn:x" xmlns:a="urn:a" xmlns:b="urn:a" a:c="" b:c=""/>`),
			strictxml.DuplicateAttribute},
		"attributes without end": {inBody(`<Plugin_Test ` + manyAttributes(limits().Attributes+1) + `/>`), strictxml.TooManyAttributes},
		"]]> in text":            {signInMessage(`<Username>a]]></Username>`), strictxml.BadMarkup},
		"two colons":             {inBody(`<a:b:Plugin_Test xmlns:a="urn:x"/>`), strictxml.BadMarkup},
		"colon first":            {inBody(`<:Plugin_Test xmlns="urn:x"/>`), strictxml.BadMarkup},
		"colon last":             {inBody(`<Plugin_Test: xmlns="urn:x"/>`), strictxml.BadMarkup},
		"space before a name":    {inBody(`< Plugin_Test xmlns="urn:x"/>`), strictxml.BadMarkup},
		"digit first":            {inBody(`<1/>`), strictxml.BadMarkup},
		"non-ASCII name":         {inBody(`<Plugin_Tést/>`), strictxml.BadMarkup},
		"slash and space":        {inBody(`<Plugin_Test xmlns="urn:x"/ >`), strictxml.BadMarkup},
		// Namespaces.
		"undeclared prefix":       {inBody(`<x:Plugin_Test/>`), strictxml.UndeclaredPrefix},
		"undeclared on attribute": {signInMessage(`<Username i:nil="true"/>`), strictxml.UndeclaredPrefix},
		"prefix unbound":          {inBody(`<Plugin_Test xmlns="urn:x" xmlns:y=""/>`), strictxml.BadNamespace},
		"xml prefix rebound":      {inBody(`<Plugin_Test xmlns="urn:x" xmlns:xml="urn:y"/>`), strictxml.BadNamespace},
		"xmlns prefix bound":      {inBody(`<Plugin_Test xmlns="urn:x" xmlns:xmlns="urn:y"/>`), strictxml.BadNamespace},
		"reserved name bound":     {inBody(`<y:Plugin_Test xmlns:y="http://www.w3.org/2000/xmlns/"/>`), strictxml.BadNamespace},
		"namespaces without end":  {strings.Repeat(`<a `+manyNamespaces(10)+`>`, 4), notAnEnvelope},
		// SOAP.
		"another root":              {`<html/>`, notAnEnvelope},
		"envelope of no namespace":  {`<Envelope><Body/></Envelope>`, versionMismatch},
		"envelope of another SOAP":  {`<Envelope xmlns="http://www.w3.org/2001/12/soap-envelope"/>`, versionMismatch},
		"unqualified attribute":     {strings.Replace(signInMessage(good), `<soap:Body`, `<soap:Body id="x"`, 1), unknownAttribute},
		"encodingStyle":             {strings.Replace(signInMessage(good), `<soap:Body`, `<soap:Body soap:encodingStyle=""`, 1), unknownAttribute},
		"attribute on the envelope": {`<Envelope xmlns="` + string(soap11) + `" a="b"/>`, unknownAttribute},
		"attribute on the header":   {envelope11 + `<soap:Header a="b"/>` + closing, unknownAttribute},
		"no body":                   {envelope11 + closing, bodyMissing},
		"two bodies":                {envelope11 + `<soap:Body>` + operation + closeOp + `</soap:Body><soap:Body/>` + closing, unexpectedElement},
		"two headers":               {envelope11 + `<soap:Header/><soap:Header/>` + closing, unexpectedElement},
		"header after body":         {envelope11 + `<soap:Body>` + operation + closeOp + `</soap:Body><soap:Header/>` + closing, unexpectedElement},
		"element after body":        {envelope11 + `<soap:Body>` + operation + closeOp + `</soap:Body><soap:X/>` + closing, unexpectedElement},
		"body of the other SOAP":    {envelope11 + `<Body xmlns="` + string(soap12) + `"/>` + closing, wrongNamespace},
		"body of no namespace":      {envelope11 + `<Body/>` + closing, wrongNamespace},
		"text in the envelope":      {envelope11 + `x<soap:Body>`, unexpectedText},
		"text in the body":          {body11 + `x`, unexpectedText},
		"text in the header":        {envelope11 + `<soap:Header>x`, unexpectedText},
		"must understand":           {envelope11 + `<soap:Header><a xmlns="urn:a" soap:mustUnderstand="1"/></soap:Header>`, mustUnderstand},
		"must understand, 1.2":      {envelope12 + `<soap:Header><a xmlns="urn:a" soap:mustUnderstand="true"/></soap:Header>`, mustUnderstand},
		"broken header":             {envelope11 + `<soap:Header><a><b></a></soap:Header>`, strictxml.MismatchedTag},
		"deep header":               {envelope11 + `<soap:Header>` + strings.Repeat("<a>", limits().Depth), strictxml.TooDeep},
		"empty body":                {inBody(""), operationMissing},
		"two operations":            {inBody(operation + closeOp + operation + closeOp), severalOperations},
		// The contract.
		"unknown operation":           {inBody(`<Plugin_Delete xmlns="urn:x"/>`), unknownOperation},
		"operation in other case":     {inBody(`<plugin_test xmlns="urn:x"/>`), unknownOperation},
		"operation of no namespace":   {inBody(`<Plugin_Test/>`), wrongNamespace},
		"operation in SOAP's":         {inBody(`<soap:Plugin_Test/>`), wrongNamespace},
		"namespace with a space":      {inBody(`<Plugin_Test xmlns="urn:x y"/>`), wrongNamespace},
		"namespace with a hidden tab": {inBody(`<Plugin_Test xmlns="urn:x&#9;y"/>`), wrongNamespace},
		"namespace without end":       {inBody(`<Plugin_Test xmlns="urn:` + strings.Repeat("x", 300) + `"/>`), wrongNamespace},
		"nil operation":               {inBody(`<Plugin_Test xmlns="urn:x" ` + xsi + `i:nil="1"/>`), badNil},
		"parameter twice":             {signInMessage(user + user + password), duplicateParameter},
		"second one empty":            {signInMessage(good + `<Password/>`), duplicateParameter},
		"foreign namespace":           {signInMessage(`<Username xmlns="urn:evil">a</Username>`), wrongNamespace},
		"no namespace":                {signInMessage(`<Username xmlns="">a</Username>`), wrongNamespace},
		"foreign namespace shadows":   {signInMessage(user + `<x:Username xmlns:x="urn:evil">b</x:Username>`), wrongNamespace},
		"unknown parameter":           {signInMessage(good + `<Role>admin</Role>`), unknownParameter},
		"parameter in other case":     {signInMessage(`<username>a</username>`), unknownParameter},
		"parameter to none":           {inBody(`<Plugin_Test xmlns="urn:x"><Username/></Plugin_Test>`), unknownParameter},
		"password for a user name call": {inBody(`<User_AuthenticateWithUsername xmlns="urn:x"><Password/></User_AuthenticateWithUsername>`),
			unknownParameter},
		"text beside parameters":    {signInMessage(user + `x`), unexpectedText},
		"element in a parameter":    {signInMessage(`<Username>a<b/></Username>`), unexpectedElement},
		"attribute on a parameter":  {signInMessage(`<Username id="1">a</Username>`), unknownAttribute},
		"foreign attribute":         {signInMessage(`<Username xmlns:f="urn:f" f:nil="1">a</Username>`), unknownAttribute},
		"another xsi attribute":     {signInMessage(`<Username ` + xsi + `i:schemaLocation="x y">a</Username>`), unknownAttribute},
		"nil with text":             {signInMessage(`<Username ` + xsi + `i:nil="true">a</Username>`), badNil},
		"nil maybe":                 {signInMessage(`<Username ` + xsi + `i:nil="TRUE"/>`), badNil},
		"replacement character":     {signInMessage("<Username>a\uFFFD</Username>"), replacementCharacter},
		"the same in a password":    {signInMessage(user + "<Password>a\uFFFD</Password>"), replacementCharacter},
		"the same by reference":     {signInMessage("<Username>a&#xFFFD;</Username>"), replacementCharacter},
		"list twice":                {settings(`<Configuration/><Configuration/>`), duplicateParameter},
		"another list":              {settings(`<Settings/>`), unknownParameter},
		"list in another namespace": {settings(`<Configuration xmlns="urn:y"/>`), wrongNamespace},
		"another item":              {settings(`<Configuration><Item/></Configuration>`), unknownParameter},
		"item in another namespace": {settings(`<Configuration><x:PluginAPIConfigurationParameter xmlns:x="urn:y"/></Configuration>`), wrongNamespace},
		"nil list with items":       {settings(`<Configuration ` + xsi + `i:nil="1"><PluginAPIConfigurationParameter/></Configuration>`), badNil},
		"nil item with a name": {settings(`<Configuration><PluginAPIConfigurationParameter ` + xsi +
			`i:nil="1"><Name>n</Name></PluginAPIConfigurationParameter></Configuration>`), unknownParameter},
		"settings without end": {settings(`<Configuration>` + strings.Repeat(`<PluginAPIConfigurationParameter/>`, maxSettings+1) +
			`</Configuration>`), tooManySettings},
		"attribute on a list":  {settings(`<Configuration soap:arrayType="x"/>`), unknownAttribute},
		"attribute on an item": {settings(`<Configuration><PluginAPIConfigurationParameter a="b"/></Configuration>`), unknownAttribute},
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + strings.Repeat("x", i) + `=""`)
	}
	return b.String()
}

func manyNamespaces(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" xmlns:a" + strings.Repeat("x", i) + `="urn:x"`)
	}
	return b.String()
}

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range refusedMessages() {
		t.Run(name, func(t *testing.T) {
			_, err := new(decoder).decode([]byte(tt.message))
			if got, _ := errors.AsType[malformation](err); got != tt.want {
				t.Errorf("got %q, want %q\n%s", got, tt.want, tt.message)
			}
		})
	}
}

func TestDecodeNamespaceScopes(t *testing.T) {
	for name, tt := range map[string]struct {
		message string
		want    malformation
	}{
		"too many": {envelope11 + `<soap:Header><a ` + manyNamespaces(15) + `><b ` + manyNamespaces(15) + `><c ` + manyNamespaces(2) + `/>`, strictxml.BadNamespace},
		"left":     {envelope11 + `<soap:Header><a xmlns:p="urn:p"/><p:b/></soap:Header>`, strictxml.UndeclaredPrefix},
		"many, one after another": {envelope11 + `<soap:Header>` + strings.Repeat(`<a `+manyNamespaces(15)+`/>`, 10) +
			`</soap:Header><soap:Body>` + operation + closeOp + closeBody, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := new(decoder).decode([]byte(tt.message))
			if got, _ := errors.AsType[malformation](err); got != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// encodeRequest writes a request as decode reads it.
func encodeRequest(r request) []byte {
	var b buffer
	b.openEnvelope(r.version)
	b.WriteString("<" + r.method + ` xmlns="`)
	b.text(r.namespace)
	b.WriteString(`">`)
	switch r.method {
	case authenticateWithCredentials:
		b.element("Username", r.username)
		b.element("Password", r.password.Reveal())
	case authenticateWithUsername:
		b.element("Username", r.username)
	case setConfigurations:
		b.pairs("Configuration", "PluginAPIConfigurationParameter", r.settings)
	}
	b.close(r.method)
	b.closeEnvelope()
	return b.Bytes()
}

func addSeeds(f *testing.F) {
	for _, tt := range refusedMessages() {
		f.Add([]byte(tt.message))
	}
	f.Add([]byte(signInMessage(`<Username>jos&#xe9;</Username><Password> a&lt;<![CDATA[<b>&]]>]]&gt;` + "\r\n" + `</Password>`)))
	f.Add([]byte(`<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>` + inBody(`<Plugin_SetConfigurations xmlns="urn:&amp;x">
		<Configuration><PluginAPIConfigurationParameter><Value>v</Value></PluginAPIConfigurationParameter></Configuration>
		</Plugin_SetConfigurations>`)))
	f.Add([]byte(envelope12 + `<soap:Header><a:x xmlns:a="urn:a" xml:lang="en" a:b='"'/></soap:Header><soap:Body>` +
		operation + closeOp + closeBody))
}

// FuzzDecode: no message makes decode panic, and what it understood survives being written and read again.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		first, err := new(decoder).decode(message)
		if err != nil {
			return
		}
		second, err := new(decoder).decode(encodeRequest(first))
		if err != nil {
			t.Fatalf("%v\n%q\n%q", err, message, encodeRequest(first))
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%q\nthen %q", encodeRequest(first), encodeRequest(second))
		}
	})
}
