package saml

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// verifyWithXMLSec asks xmlsec1 for a second opinion: another implementation of XML Signature, in another language.
func verifyWithXMLSec(t *testing.T, raw []byte, owner string, by *x509.Certificate) (string, error) {
	t.Helper()
	args := append([]string{"--verify", "--enabled-key-data", "", "--pubkey-cert-pem", inPEM(t, "CERTIFICATE", by.Raw),
		"--node-xpath", "//*[local-name()='" + owner + "']/*[local-name()='Signature']"}, idAttributes()...)
	out, err := exec.Command("xmlsec1", append(args, write(t, "answer.xml", raw))...).CombinedOutput()
	return string(out), err
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func inPEM(t *testing.T, kind string, der []byte) string {
	return write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func privatePEM(t *testing.T, key crypto.PrivateKey) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM(t, "PRIVATE KEY", der)
}

// idAttributes tell xmlsec1, which reads no schema, which attributes are ids.
func idAttributes() []string {
	return []string{"--id-attr:ID", nsAssertion + ":Assertion", "--id-attr:ID", nsProtocol + ":Response"}
}

// TestXMLSecVerifiesWhatWeAccept: each signature of each accepted answer, with the certificate by which we took it.
func TestXMLSecVerifiesWhatWeAccept(t *testing.T) {
	verified := 0
	for name, c := range accepted() {
		raw, e := c.make()
		v, err := judged(t, raw, e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, owner := range []string{"Response", "Assertion"} {
			if !hasSignature(raw, owner) {
				continue
			}
			if out, err := verifyWithXMLSec(t, raw, owner, v.SignedBy); err != nil {
				t.Errorf("%s: the %s: %v\n%s", name, owner, err, out)
			}
			verified++
		}
	}
	changed := swap(">ann<", ">eve<")(usual().raw())
	if out, err := verifyWithXMLSec(t, changed, "Assertion", testKeys().idp.cert); err == nil {
		t.Errorf("a second opinion that agrees to everything: %s", out)
	}
	if verified < 30 {
		t.Errorf("only %d signatures were there to verify", verified)
	}
}

func hasSignature(raw []byte, owner string) bool {
	root := parseTest(string(raw))
	if owner == "Assertion" {
		root = assertionOf(root)
	}
	return root != nil && root.SelectElement("Signature") != nil
}

// TestWhatXMLSecSigned: we accept what xmlsec1 signed, with each algorithm.
func TestWhatXMLSecSigned(t *testing.T) {
	k := testKeys()
	for method, by := range map[string]signer{
		"rsa-sha256": k.idp, "rsa-sha384": k.idp, "rsa-sha512": k.idp, "ecdsa-sha256": k.ec, "ecdsa-sha384": k.ec, "ecdsa-sha512": k.ec,
	} {
		for _, owner := range []string{"Response", "Assertion"} {
			a := usual()
			form := &how{by: by, method: moreURI(method), keyInfo: " "}
			if a.signAssertion = form; owner == "Response" {
				a.signAssertion, a.signResponse = nil, form
			}
			root := a.tree()
			root.FindElement(".//SignatureValue").SetText("")
			root.FindElement(".//DigestValue").SetText("")
			args := append([]string{"--sign", "--privkey-pem", privatePEM(t, by.key)}, idAttributes()...)
			signed, err := exec.Command("xmlsec1", append(args, write(t, "template.xml", serialize(root)))...).Output()
			if err != nil {
				t.Fatalf("%s, %s: %v", method, owner, err)
			}
			e := expecting()
			e.Certificates = []*x509.Certificate{by.cert}
			if _, err := judged(t, signed, e); err != nil {
				t.Errorf("%s, %s: %v\n%s", method, owner, err, signed)
			}
		}
	}
}

// TestWhatXMLSecEncrypted: we decrypt what xmlsec1 encrypted.
func TestWhatXMLSecEncrypted(t *testing.T) {
	spki, err := x509.MarshalPKIXPublicKey(&testKeys().sp.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := inPEM(t, "PUBLIC KEY", spki)
	assertion := usual()
	assertion.signAssertion.keyInfo = " "
	plain := serialize(assertionOf(assertion.tree()))
	for content, session := range map[string]string{
		nsEncryption1 + "aes128-gcm": "aes-128", nsEncryption1 + "aes256-gcm": "aes-256",
		nsEncryption + "aes128-cbc": "aes-128", nsEncryption + "aes256-cbc": "aes-256", nsEncryption + "aes192-cbc": "aes-192",
	} {
		template := `<xenc:EncryptedData xmlns:xenc="` + nsEncryption + `" Type="http://www.w3.org/2001/04/xmlenc#Element">
			<xenc:EncryptionMethod Algorithm="` + content + `"/><ds:KeyInfo xmlns:ds="` + nsSignature + `"><xenc:EncryptedKey>
			<xenc:EncryptionMethod Algorithm="` + nsEncryption + `rsa-oaep-mgf1p"/><ds:KeyInfo/><xenc:CipherData><xenc:CipherValue/>
			</xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData><xenc:CipherValue/></xenc:CipherData></xenc:EncryptedData>`
		encrypted, err := exec.Command("xmlsec1", "--encrypt", "--pubkey-pem", public, "--session-key", session,
			"--xml-data", write(t, "plain.xml", plain), write(t, "template.xml", []byte(template))).Output()
		if err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		a := usual()
		a.assertion = ""
		root := a.tree()
		outer := root.CreateElement("saml:EncryptedAssertion")
		outer.AddChild(parseTest(string(encrypted)))
		v, err := judged(t, serialize(root), expecting())
		if err != nil || v.NameID != "ann" {
			t.Errorf("%s: %v\n%s", content, err, encrypted)
		}
	}
}

// TestXMLSecDecryptsTheForge: the forge encrypts as the standard has it, or its attacks would prove little.
func TestXMLSecDecryptsTheForge(t *testing.T) {
	for _, content := range []string{nsEncryption1 + "aes256-gcm", nsEncryption + "aes128-cbc"} {
		a := usual()
		a.encrypt = toSP()
		a.encrypt.content = content
		out, err := exec.Command("xmlsec1", "--decrypt", "--privkey-pem", privatePEM(t, testKeys().sp), write(t, "answer.xml", a.raw())).Output()
		if err != nil || !strings.Contains(string(out), ">ann<") {
			t.Errorf("%s: %v\n%s", content, err, out)
		}
	}
}
