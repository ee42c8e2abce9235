package saml

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"

	"github.com/beevik/etree"
)

// encryption is how the forge encrypts an assertion.
type encryption struct {
	to        *rsa.PublicKey
	content   string // algorithm
	transport string // algorithm
	oaep      string // XML inside of the key's EncryptionMethod
	hash, mgf crypto.Hash
	keys      int                            // how many EncryptedKeys; the last one is ours
	beside    bool                           // EncryptedKeys beside the EncryptedData, not inside
	plain     func([]byte) []byte            // of the content
	cipher    func([]byte) []byte            // of the ciphertext
	key       func(ciphertext []byte) []byte // of the encrypted key
	edit      func(encrypted *etree.Element) // at the end
}

func toSP() *encryption { return &encryption{to: &testKeys().sp.PublicKey} }

func (x *encryption) wrap(assertion *etree.Element) *etree.Element {
	content := or(x.content, nsEncryption1+"aes256-gcm")
	plain := serialize(assertion)
	if x.plain != nil {
		plain = x.plain(plain)
	}
	size := 32
	if strings.Contains(content, "128") {
		size = 16
	}
	key := make([]byte, size)
	rand.Read(key)
	ciphertext := seal(content, key, plain)
	if x.cipher != nil {
		ciphertext = x.cipher(ciphertext)
	}
	encryptedKeys := ""
	for i := range max(x.keys, 1) {
		to := x.to
		if i < x.keys-1 {
			to = &testKeys().foreign.key.(*rsa.PrivateKey).PublicKey
		}
		encryptedKeys += x.encryptedKey(to, key)
	}
	inside, beside := encryptedKeys, ""
	if x.beside {
		inside, beside = "", encryptedKeys
	}
	e := parseTest(`<saml:EncryptedAssertion xmlns:saml="` + nsAssertion + `" xmlns:xenc="` + nsEncryption + `" xmlns:ds="` +
		nsSignature + `"><xenc:EncryptedData Type="http://www.w3.org/2001/04/xmlenc#Element"><xenc:EncryptionMethod Algorithm="` +
		content + `"/><ds:KeyInfo>` + inside + `</ds:KeyInfo><xenc:CipherData><xenc:CipherValue>` +
		base64.StdEncoding.EncodeToString(ciphertext) + `</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>` + beside +
		`</saml:EncryptedAssertion>`)
	if x.edit != nil {
		x.edit(e)
	}
	return e
}

func (x *encryption) encryptedKey(to *rsa.PublicKey, key []byte) string {
	transport := or(x.transport, nsEncryption+"rsa-oaep-mgf1p")
	var wrapped []byte
	var err error
	if strings.Contains(transport, "rsa-1_5") {
		wrapped, err = rsa.EncryptPKCS1v15(rand.Reader, to, key) //nolint:staticcheck // an attacker would
	} else {
		o := rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
		if x.hash != 0 {
			o.Hash = x.hash
		}
		if x.mgf != 0 {
			o.MGFHash = x.mgf
		}
		wrapped, err = rsa.EncryptOAEPWithOptions(rand.Reader, to, key, &o)
	}
	if err != nil {
		panic(err)
	}
	if x.key != nil {
		wrapped = x.key(wrapped)
	}
	return `<xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="` + transport + `">` + x.oaep +
		`</xenc:EncryptionMethod><xenc:CipherData><xenc:CipherValue>` + base64.StdEncoding.EncodeToString(wrapped) +
		`</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey>`
}

func seal(algorithm string, key, plain []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	iv := make([]byte, aes.BlockSize)
	rand.Read(iv)
	if strings.HasSuffix(algorithm, "gcm") {
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			panic(err)
		}
		return gcm.Seal(iv[:12], iv[:12], plain, nil)
	}
	n := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append(append([]byte{}, plain...), make([]byte, n)...)
	padded[len(padded)-1] = byte(n)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	return append(iv, padded...)
}
