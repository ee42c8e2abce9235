package admin

import (
	"errors"
	"net/http"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// refusal is why something is not done: the status and the stable code of a problem, and words for people.
type refusal struct {
	status int
	code   string
	title  string
	faults []string // of what was sent
}

func (r *refusal) Error() string { return r.code }

// worded is a refusal that pages tell in a text of their own.
type worded struct {
	*refusal
	key string
	of  []any
}

func (w worded) Unwrap() error { return w.refusal }

var (
	errSignedOut   = &refusal{http.StatusUnauthorized, "signed_out", "Sign in first", nil}
	errNoFactor    = &refusal{http.StatusForbidden, "second_factor_required", "This session has no second factor", nil}
	errNoRole      = &refusal{http.StatusForbidden, "no_role", "No role here is yours", nil}
	errRole        = &refusal{http.StatusForbidden, "role_too_low", "Your role does not allow this", nil}
	errStepUp      = &refusal{http.StatusForbidden, "step_up_required", "Prove your second factor first", nil}
	errCrossOrigin = &refusal{http.StatusForbidden, "cross_origin", "This came from another site", nil}
	errNoSuchPath  = &refusal{http.StatusNotFound, "no_such_path", "There is nothing at this address", nil}
	errMethod      = &refusal{http.StatusMethodNotAllowed, "wrong_method", "This address takes other methods", nil}
	errMediaType   = &refusal{http.StatusUnsupportedMediaType, "wrong_media_type", "The body must have another media type", nil}
	errTooLarge    = &refusal{http.StatusRequestEntityTooLarge, "too_large", "The body is too large", nil}
	errNoSuchThing = &refusal{http.StatusNotFound, "not_found", "There is no such thing", nil}
	errYourself    = &refusal{http.StatusConflict, "that_is_you", "You would lock yourself out", nil}
	errHasFactor   = &refusal{http.StatusConflict, "has_factor", "The user has a second factor already", nil}
	errOldProposal = &refusal{http.StatusConflict, "proposal_outdated", "This proposal is too old", nil}
	errJobUnderWay = &refusal{http.StatusConflict, "job_under_way", "One is under way already", nil}
	errFormOver    = &refusal{http.StatusConflict, "form_over", "What was sent is not kept any more", nil}
	errOldPreview  = &refusal{http.StatusConflict, "preview_outdated", "The IT users have changed since the preview", nil}
)

func invalid(faults ...string) *refusal {
	return &refusal{http.StatusUnprocessableEntity, "invalid", "What was sent is not right", faults}
}

func malformed(fault string) *refusal {
	return &refusal{http.StatusBadRequest, "malformed", "The body cannot be read", []string{fault}}
}

// refusalOf is what an error is to those who asked. What went wrong inside stays in the log.
func refusalOf(err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	var wrong itusers.Invalid
	if errors.As(err, &wrong) {
		return invalid(wrong.Texts()...)
	}
	if r, ok := configurationRefusal(err); ok {
		return r
	}
	reason := authn.ReasonOf(err)
	switch kind := authn.KindOf(err); {
	case kind == authn.NotMapped && (reason == "no_it_user" || reason == "not_linked"):
		return &refusal{http.StatusNotFound, reason, "There is no such thing", nil}
	case kind == authn.NotMapped:
		return &refusal{http.StatusConflict, reason, "That is somebody else's", nil}
	case kind == authn.BadCredentials && (reason == "wrong_code" || reason == "code_replayed"):
		return &refusal{http.StatusForbidden, reason, "The code is not right, or was used", nil}
	case kind == authn.BadCredentials:
		return &refusal{http.StatusNotFound, reason, "There is no such account", nil}
	case kind == authn.Locked && reason == "throttled":
		return &refusal{http.StatusTooManyRequests, reason, "There were too many failed attempts", nil}
	case kind == authn.Locked:
		return &refusal{http.StatusConflict, reason, "The source forbids this account", nil}
	case kind == authn.Unavailable:
		return &refusal{http.StatusServiceUnavailable, reason, "A system that is needed does not answer", nil}
	}
	return &refusal{http.StatusInternalServerError, "internal", "Something went wrong here", nil}
}

// logged tells whether a refusal is worth a line in the log: ours to mend, not the caller's.
func (r *refusal) logged() bool { return r.status >= http.StatusInternalServerError }
