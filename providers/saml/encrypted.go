package saml

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // the default digest of OAEP in XML Encryption, where it need not resist collisions
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"strings"

	"github.com/beevik/etree"
)

// maxEncryptedKeys bounds for how many recipients an assertion may be encrypted at once: each costs an RSA operation.
const maxEncryptedKeys = 4

// errDecryption is all that is ever said of an assertion that does not decrypt to an assertion. Wrong key, wrong padding and wrong
// XML are one to whoever sends changed ciphertexts to learn from the answers.
func errDecryption() error {
	return refuse("decryption_failed", "the encrypted assertion does not decrypt to an assertion with any of our keys")
}

// decrypt decrypts an EncryptedAssertion (XML Encryption 1.1; SAML Core 2.3.4) and passes its plain text through the
// gate.
func decrypt(e *etree.Element, keys []crypto.Decrypter) (*etree.Element, error) {
	if len(keys) == 0 {
		return nil, refuse("no_decryption_key", "the assertion is encrypted and we have no key for that")
	}
	data := child(e, nsEncryption, "EncryptedData")
	if data == nil {
		return nil, refuse("encryption_shape", "not exactly one EncryptedData")
	}
	open, size, err := blockCipher(encryptionMethod(data))
	if err != nil {
		return nil, err
	}
	wrapped, err := wrappedKeys(e, data)
	if err != nil {
		return nil, err
	}
	ciphertext := cipherValue(data)
	for _, w := range wrapped {
		for _, ours := range keys {
			key, err := ours.Decrypt(rand.Reader, w.value, w.options)
			if err != nil || len(key) != size {
				continue
			}
			if plain, ok := open(key, ciphertext); ok {
				return admitPlain(plain)
			}
		}
	}
	return nil, errDecryption()
}

// admitPlain is the gate again: nobody has looked at the plain text before.
func admitPlain(plain []byte) (*etree.Element, error) {
	m, err := admit(plain, "Assertion")
	if err != nil {
		return nil, errDecryption()
	}
	return m.root, nil
}

func encryptionMethod(e *etree.Element) *etree.Element {
	return child(e, nsEncryption, "EncryptionMethod")
}

func cipherValue(e *etree.Element) []byte {
	data := child(e, nsEncryption, "CipherData")
	if data == nil {
		return nil
	}
	value := child(data, nsEncryption, "CipherValue")
	if value == nil {
		return nil
	}
	encoded, _ := text(value)
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), ""))
	if err != nil {
		return nil
	}
	return decoded
}

// blockCipher is how content is decrypted: AES-GCM, or AES-CBC, which most IdPs still use. size is the key's, in bytes.
func blockCipher(method *etree.Element) (open func(key, ciphertext []byte) ([]byte, bool), size int, err error) {
	name := ""
	if method != nil {
		name = algorithm(method)
	}
	switch name {
	case nsEncryption1 + "aes128-gcm":
		return openGCM, 16, nil
	case nsEncryption1 + "aes192-gcm":
		return openGCM, 24, nil
	case nsEncryption1 + "aes256-gcm":
		return openGCM, 32, nil
	case nsEncryption + "aes128-cbc":
		return openCBC, 16, nil
	case nsEncryption + "aes192-cbc":
		return openCBC, 24, nil
	case nsEncryption + "aes256-cbc":
		return openCBC, 32, nil
	}
	return nil, 0, refuse("encryption_algorithm", "content encrypted with %.100q", name)
}

// openGCM: a nonce of 12 bytes, the content, a tag of 16 (XML Encryption 1.1, 5.2.4).
func openGCM(key, ciphertext []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil || len(ciphertext) < gcm.NonceSize() {
		return nil, false
	}
	plain, err := gcm.Open(nil, ciphertext[:gcm.NonceSize()], ciphertext[gcm.NonceSize():], nil)
	return plain, err == nil
}

// openCBC: an initialisation vector, then whole blocks, of which the last byte says how many bytes are padding (5.2).
func openCBC(key, ciphertext []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil || len(ciphertext) < 2*aes.BlockSize || len(ciphertext)%aes.BlockSize != 0 {
		return nil, false
	}
	plain := make([]byte, len(ciphertext)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, ciphertext[:aes.BlockSize]).CryptBlocks(plain, ciphertext[aes.BlockSize:])
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > aes.BlockSize {
		return nil, false
	}
	return plain[:len(plain)-padding], true
}

// wrappedKey is a content key, encrypted for somebody.
type wrappedKey struct {
	value   []byte
	options *rsa.OAEPOptions
}

// wrappedKeys are the keys inside the EncryptedData and those beside it; references between them need not be followed,
// as every key is tried.
func wrappedKeys(e, data *etree.Element) (all []wrappedKey, err error) {
	elements := children(e, nsEncryption, "EncryptedKey")
	if info := child(data, nsSignature, "KeyInfo"); info != nil {
		elements = append(elements, children(info, nsEncryption, "EncryptedKey")...)
	}
	if len(elements) == 0 || len(elements) > maxEncryptedKeys {
		return nil, refuse("encryption_shape", "%d EncryptedKeys", len(elements))
	}
	for _, k := range elements {
		options, err := oaep(encryptionMethod(k))
		if err != nil {
			return nil, err
		}
		all = append(all, wrappedKey{cipherValue(k), options})
	}
	return all, nil
}

// oaep is how a key is decrypted. RSA with PKCS #1 v1.5 padding is refused: whoever may ask often enough whether the
// padding was right decrypts with it.
func oaep(method *etree.Element) (*rsa.OAEPOptions, error) {
	name := ""
	if method != nil {
		name = algorithm(method)
	}
	o := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	switch name {
	case nsEncryption + "rsa-oaep-mgf1p":
	case nsEncryption1 + "rsa-oaep":
		if mgf := child(method, nsEncryption1, "MGF"); mgf != nil {
			o.MGFHash = hashes()[algorithm(mgf)]
		}
	default:
		return nil, refuse("encryption_algorithm", "key encrypted with %.100q", name)
	}
	if digest := child(method, nsSignature, "DigestMethod"); digest != nil {
		o.Hash = hashes()[algorithm(digest)]
	}
	if o.Hash == 0 || o.MGFHash == 0 || child(method, nsEncryption, "OAEPparams") != nil {
		return nil, refuse("encryption_algorithm", "parameters of %.100q", name)
	}
	return o, nil
}

// hashes are the digests and mask generation functions of OAEP.
func hashes() map[string]crypto.Hash {
	return map[string]crypto.Hash{
		nsSignature + "sha1":                            crypto.SHA1,
		nsEncryption + "sha256":                         crypto.SHA256,
		"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
		nsEncryption + "sha512":                         crypto.SHA512,
		nsEncryption1 + "mgf1sha1":                      crypto.SHA1,
		nsEncryption1 + "mgf1sha256":                    crypto.SHA256,
		nsEncryption1 + "mgf1sha384":                    crypto.SHA384,
		nsEncryption1 + "mgf1sha512":                    crypto.SHA512,
	}
}
