//go:build mutation

package saml

import (
	"testing"

	"github.com/idbridge/idbridge/testenv/mutation"
)

// TestMutants (make mutate) takes one check at a time out of what decides about an answer. It takes minutes, so it is not part
// of make test.
func TestMutants(t *testing.T) {
	mutation.Run(t, mutation.Plan{
		Files: []string{"tree.go", "gate.go", "signature.go", "encrypted.go", "checks.go", "replay.go", "inflate.go", "judge.go"},
		Tests: []string{"TestAttacks|TestAccepted|TestReplay|TestWithoutAnExpectation|TestWhatIsRead|TestDecode|TestGate|TestStrong|TestOpenCBC"},
		Spare: map[string]string{
			"verify: got != id || !is(signed, e.NamespaceURI(), e.Tag)": "goxmldsig verified this element; another one would be its bug",
			"verify: got != id":                            "the same",
			"verify: !is(signed, e.NamespaceURI(), e.Tag)": "the same",
			"signer: err != nil":                           "of canonicalisation: the gate lets nothing through that has no canonical form",
			"decrypt: err != nil":                          "without a key, its size is wrong",
			"openGCM: err != nil":                          "the size of the key was checked",
			"openCBC: err != nil":                          "the size of the key was checked",
		},
	})
}

// TestMutantsAround does the same to what stands around it: metadata, logout messages, the configuration, who the person is.
func TestMutantsAround(t *testing.T) {
	mutation.Run(t, mutation.Plan{
		Files: []string{"answer.go", "detached.go", "logout.go", "mapping.go", "metadata.go", "request.go", "source.go", "config.go", "keys.go",
			"http.go", "sessions.go", "saml.go"},
		Tests: []string{
			"TestMetadata|TestLogoutRequests|TestTheQuery|TestLocalSignOut|TestConfiguration|TestStrangers|TestAKey|TestTheFirst|TestWarnings|" +
				"TestACertificate|TestOne|TestRun|TestOurMetadata|TestWhoSomebodyIs",
			"TestAnswers|TestSignIn|TestIdP|TestTwoProviders|TestAnAnswer|TestAPinned|TestTheIdentity|TestAnIdentity|TestRollOver|TestSingleLogout|" +
				"TestOurKeys|TestTheLog",
		},
	})
}
