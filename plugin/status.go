package plugin

import (
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// status is PluginAPIStatus. The platform shows id, message and info in its own logs only.
type status struct {
	success       bool
	id            int
	message, info string
}

// ResponseIds, documented in docs/errors.md. Unknown user, wrong password, wrong or missing code and locked share one,
// as they share one text: the answer must not tell a guesser which it was.
const (
	IDOk           = 0
	IDRefused      = 1
	IDNotEnrolled  = 2
	IDNotMapped    = 3
	IDUnavailable  = 4
	IDInternal     = 5
	IDTestFailed   = 10
	IDNotActivated = 11
	IDSettingsOff  = 12

	IDSettingsRefused = 13
)

const refusedText = "Sign-in refused: the user name, the password or the code is wrong, " +
	"a code is missing, or the account is locked."

// refusedStatus words a refusal from its Kind alone. Nothing in the message differs from call to call; the correlation
// id is kept to the additional info.
func refusedStatus(k authn.Kind, portal, correlationID string) status {
	s := status{id: IDInternal,
		message: "Sign-in failed because of an internal error. The correlation id finds it in the log."}
	switch k {
	case authn.BadCredentials, authn.CodeRequired, authn.Locked:
		s.id, s.message = IDRefused, refusedText
	case authn.NotEnrolled:
		where := "at the idbridge portal"
		if portal != "" {
			where = "at " + portal
		}
		s.id, s.message = IDNotEnrolled, "This user must prove a second factor, and cannot do so here. It is set up "+where+
			", or by an administrator of idbridge. A sign-in token made there also works as the password."
	case authn.NotMapped:
		s.id = IDNotMapped
		s.message = "The credentials are right, but there is no active IT user for this account on this environment. " +
			"An administrator of idbridge can import, link or enable one."
	case authn.Unavailable:
		s.id = IDUnavailable
		s.message = "Sign-in is not possible now because a system behind it does not answer. Please try again."
	}
	s.info = "correlation id: " + correlationID
	return s
}

// findingsText is one line for each problem; empty when there is none.
func findingsText(findings []authn.Finding) string {
	var lines []string
	for _, f := range findings {
		if f.OK() {
			continue
		}
		weight := "warning"
		if f.Blocking {
			weight = "problem"
		}
		lines = append(lines, weight+": "+f.Check+": "+oneLine(f.Problem))
	}
	return strings.Join(lines, "\n")
}

// oneLine keeps a joined error from looking like several findings.
func oneLine(s string) string { return strings.Join(strings.Split(strings.TrimSpace(s), "\n"), "; ") }
