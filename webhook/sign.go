package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// Headers of a message. The signature is "t=SECONDS,v1=HEX": Unix time of this attempt, and HMAC-SHA-256 under the endpoint's
// secret over "SECONDS.BODY".
const (
	HeaderSignature = "Idbridge-Signature"
	HeaderEvent     = "Idbridge-Event"
	HeaderID        = "Idbridge-Message" // the same when a message comes again
)

// Window is how far a signature's time may be from the receiver's clock: what is older is a replay.
const Window = 5 * time.Minute

func sign(secret authn.Secret, body []byte, at time.Time) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(sum(secret, seconds, body))
}

func sum(secret authn.Secret, seconds string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write([]byte(seconds + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify is what a receiver checks, before it reads anything of the body. It is here for receivers in Go, and as the exact
// words for all others.
func Verify(secret authn.Secret, signature string, body []byte, now time.Time) error {
	stamp, mac, ok := strings.Cut(signature, ",v1=")
	seconds, isTime := strings.CutPrefix(stamp, "t=")
	at, err := strconv.ParseInt(seconds, 10, 64)
	given, hexErr := hex.DecodeString(mac)
	switch {
	case !ok || !isTime || err != nil || hexErr != nil:
		return errors.New("webhook: the signature is malformed")
	case now.Sub(time.Unix(at, 0)).Abs() > Window:
		return fmt.Errorf("webhook: the signature is of another time than now")
	case !hmac.Equal(given, sum(secret, seconds, body)):
		return errors.New("webhook: the signature does not fit")
	}
	return nil
}
