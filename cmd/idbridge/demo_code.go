package main

import (
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- RFC 6238's default, which authenticator apps implement
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// appCode is what an authenticator app with this secret shows at a time (RFC 6238). It is here because the demo's users
// have no telephones; codes are judged in mfa.
func appCode(secret string, at time.Time) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(strings.ReplaceAll(secret, " ", "")))
	if err != nil {
		return "", fmt.Errorf("the secret is not base32: %w", err)
	}
	var step [8]byte
	binary.BigEndian.PutUint64(step[:], uint64(at.Unix()/30))
	mac := hmac.New(sha1.New, key)
	mac.Write(step[:])
	sum := mac.Sum(nil)
	from := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[from:])&0x7fffffff%1_000_000), nil
}

func newDemoCode() *cobra.Command {
	return &cobra.Command{
		Use: "code SECRET", Short: "Print the code that an authenticator app with this secret shows now",
		Example: "  idbridge demo code JBSWY3DPEHPK3PXP", Args: exactly("SECRET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := appCode(args[0], time.Now())
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintln(cmd.OutOrStdout(), code)
			return nil
		},
	}
}
