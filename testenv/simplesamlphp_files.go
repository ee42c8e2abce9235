package testenv

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The files of a SimpleSAMLphp, in PHP.

func ssphpConfig(s *SimpleSAMLphpServer) string {
	return `<?php
$config = [
	'baseurlpath' => '` + s.URL + `/',
	'certdir' => '` + s.dir + `/cert/', 'loggingdir' => '` + s.dir + `/log/', 'datadir' => '` + s.dir + `/data/',
	'tempdir' => '` + s.dir + `/tmp', 'metadatadir' => '` + s.dir + `/metadata/',
	'attributenamemapdir' => '` + s.dir + `/maps/',
	'secretsalt' => 'testenv', 'auth.adminpassword' => 'testenv', 'timezone' => 'UTC',
	'technicalcontact_name' => 'Testenv', 'technicalcontact_email' => 'testenv@example.test',
	'enable.saml20-idp' => true, 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
	'store.type' => 'phpsession', 'session.phpsession.savepath' => '` + s.dir + `/sessions',
	'session.cookie.secure' => true, 'session.cookie.samesite' => 'None',
	'logging.level' => SimpleSAML\Logger::INFO, 'logging.handler' => 'file', 'logging.logfile' => 'idp.log',
	'showerrors' => true, 'errorreporting' => false, 'admin.checkforupdates' => false, 'enable.http_post' => false,
	'metadata.sources' => [['type' => 'flatfile', 'directory' => '` + s.dir + `/metadata']],
	'language.available' => ['en'], 'language.default' => 'en', 'theme.use' => 'default', 'production' => true,
	'trusted.url.domains' => [],
];
`
}

// ssphpClaims are the names that Entra ID gives to attributes.
const ssphpClaims = `<?php
$attributemap = [
	'uid' => 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name',
	'mail' => 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress',
	'displayName' => 'http://schemas.microsoft.com/identity/claims/displayname',
	'employeeNumber' => 'http://schemas.microsoft.com/identity/claims/objectidentifier',
	'memberOf' => 'http://schemas.microsoft.com/ws/2008/06/identity/claims/groups',
];
`

func ssphpPeople(people map[string]SAMLPerson) string {
	var b strings.Builder
	b.WriteString("<?php\n$config = ['people' => ['exampleauth:UserPass',\n")
	for _, name := range slices.Sorted(maps.Keys(people)) {
		fmt.Fprintf(&b, "%s => %s,\n", phpText(name+":"+people[name].Password), phpLists(people[name].Attributes))
	}
	b.WriteString("]];\n")
	return b.String()
}

func ssphpHosted(s *SimpleSAMLphpServer, more string) string {
	const formats = `'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
		'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress', 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient'`
	const bindings = `['urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect', 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST']`
	return `<?php
$metadata[` + phpText(s.EntityID) + `] = [
	'host' => '__DEFAULT__', 'auth' => 'people', 'privatekey' => '` + s.private + `.key', 'certificate' => '` + s.private + `.pem',
	` + more + `
	'NameIDFormat' => [` + formats + `], 'redirect.sign' => true, 'sign.logout' => true, 'validate.logout' => true,
	'SingleSignOnServiceBinding' => ` + bindings + `, 'SingleLogoutServiceBinding' => ` + bindings + `,
];
`
}

// The long names of NameID formats.
const (
	nameIDFormat11 = "urn:oasis:names:tc:SAML:1.1:nameid-format:"
	nameIDFormat20 = "urn:oasis:names:tc:SAML:2.0:nameid-format:"
)

func ssphpParty(p SAMLParty) string {
	if p.NameIDFormat == "" {
		p.NameIDFormat = "persistent"
	}
	if p.NameIDFrom == "" {
		p.NameIDFrom = "uid"
	}
	prefix := nameIDFormat20
	if p.NameIDFormat == "emailAddress" || p.NameIDFormat == "unspecified" {
		prefix = nameIDFormat11
	}
	format := phpText(prefix + p.NameIDFormat)
	lines := []string{
		endpoint("AssertionConsumerService", "POST", p.ACS, p.OtherACS), "'NameIDFormat' => " + format,
		fmt.Sprintf("'saml20.sign.response' => %t, 'saml20.sign.assertion' => %t", p.SignResponse, p.SignAssertion),
		fmt.Sprintf("'assertion.encryption' => %t, 'nameid.encryption' => %t", p.EncryptAssertion, p.EncryptID),
		fmt.Sprintf("'validate.authnrequest' => %t, 'redirect.validate' => %[1]t, 'validate.logout' => %t",
			p.WantSignedRequests, p.Certificate != nil),
		"'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified'",
		"'authproc' => [" + ssphpFilters(p, format) + "]",
	}
	if p.SLO != "" {
		binding := map[bool]string{false: "Redirect", true: "POST"}[p.PostLogout]
		lines = append(lines, endpoint("SingleLogoutService", binding, p.SLO))
	}
	if p.Certificate != nil {
		lines = append(lines, "'keys' => ["+ssphpKey(p.Next)+ssphpKey(p.Certificate)+"]")
	}
	if p.SignatureAlgorithm != "" {
		lines = append(lines, "'signature.algorithm' => "+phpText(p.SignatureAlgorithm))
	}
	return "[\n\t" + strings.Join(lines, ",\n\t") + ",\n" + p.Additional + "\n]"
}

func ssphpKey(der []byte) string {
	if der == nil {
		return ""
	}
	return "['type' => 'X509Certificate', 'signing' => true, 'encryption' => true, 'X509Certificate' => " +
		phpText(base64.StdEncoding.EncodeToString(der)) + "], "
}

func endpoint(service, binding string, locations ...string) string {
	list := ""
	for i, location := range locations {
		if location != "" {
			list += fmt.Sprintf("['Binding' => 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-%s', 'Location' => %s, 'index' => %d], ",
				binding, phpText(location), i)
		}
	}
	return "'" + service + "' => [" + list + "]"
}

// ssphpFilters are what the identity provider does to the attributes before it answers.
func ssphpFilters(p SAMLParty, format string) string {
	name := fmt.Sprintf("10 => ['class' => 'saml:AttributeNameID', 'attribute' => %s, 'Format' => %s],", phpText(p.NameIDFrom), format)
	switch p.NameIDFormat {
	case "persistent":
		name = fmt.Sprintf("10 => ['class' => 'saml:PersistentNameID', 'attribute' => %s],", phpText(p.NameIDFrom))
	case "transient":
		name = "10 => ['class' => 'saml:TransientNameID'],"
	}
	if p.ClaimURIs {
		name += " 20 => ['class' => 'core:AttributeMap', 'entra'],"
	}
	if p.AuthnContext != "" {
		name += fmt.Sprintf(" 30 => ['class' => 'saml:AuthnContextClassRef', 'AuthnContextClassRef' => %s],", phpText(p.AuthnContext))
	}
	return name
}

// phpText is a text in PHP's single quotes.
func phpText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func phpLists(m map[string][]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s => [", phpText(name))
		for _, v := range m[name] {
			b.WriteString(phpText(v) + ", ")
		}
		b.WriteString("], ")
	}
	return "[" + b.String() + "]"
}
