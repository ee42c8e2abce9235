//go:build mutation

package azuread

import (
	"testing"

	"github.com/idbridge/idbridge/testenv/mutation"
)

// TestMutants (make mutate) takes one check at a time out of what decides about tokens, answers, groups and passwords. It
// takes minutes, so it is not part of make test.
func TestMutants(t *testing.T) {
	mutation.Run(t, mutation.Plan{
		Files: []string{"authority.go", "claims.go", "redirect.go", "token.go", "groups.go", "graph.go", "password.go", "saml.go", "web.go",
			"kept.go", "credentials.go", "config.go"},
		Tests: []string{
			"TestForged|TestKeyOf|TestOtherTenant|TestGuests|TestUsernameClaim|TestMalformed|TestMistakes|TestSAMLMistakes|TestCredentialMistakes|" +
				"TestAnswers",
			".",
		},
	})
}
