package saml

import (
	"context"
	"testing"

	"github.com/idbridge/idbridge/authn"
)

func TestNothingIsTrustedYet(t *testing.T) {
	_, err := judge(context.Background(), []byte("<Response/>"), expectation{WantSigned: signedEither})
	for _, s := range []signing{signedAssertion, signedResponse, signedBoth} {
		if s == signedEither || authn.KindOf(err) != authn.Untrusted {
			t.Fatal(err)
		}
	}
}
