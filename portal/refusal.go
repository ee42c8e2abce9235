package portal

import (
	"errors"
	"net/http"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// Errors that the portal itself has.
var (
	errTooLarge    = errors.New("the form is too large or no form")
	errNotFound    = errors.New("no such page")
	errMethod      = errors.New("not with this method")
	errCrossOrigin = errors.New("from another site")
	errCookies     = errors.New("the browser keeps no cookies")
	errLoginOver   = errors.New("the sign-in is over")
)

func isLoginError(err error) bool {
	return errors.Is(err, authn.ErrLoginOver) || errors.Is(err, authn.ErrLoginMoved)
}

// outcome is how an error that ends a visit is shown: its status and the name of its texts, error.NAME.title and so on.
func outcome(err error) (status int, name string) {
	switch {
	case errors.Is(err, errTooLarge):
		return http.StatusRequestEntityTooLarge, "toolarge"
	case errors.Is(err, errNotFound):
		return http.StatusNotFound, "notfound"
	case errors.Is(err, errMethod):
		return http.StatusMethodNotAllowed, "method"
	case errors.Is(err, errCrossOrigin):
		return http.StatusForbidden, "crossorigin"
	case errors.Is(err, errCookies):
		return http.StatusBadRequest, "cookies"
	case errors.Is(err, errLoginOver), isLoginError(err):
		return http.StatusBadRequest, "login"
	}
	switch authn.KindOf(err) {
	case authn.Unavailable:
		return http.StatusServiceUnavailable, "unavailable"
	case authn.Untrusted:
		return http.StatusForbidden, "untrusted"
	case authn.NotMapped:
		return http.StatusForbidden, "notmapped"
	case authn.NotEnrolled:
		return http.StatusForbidden, "more"
	case authn.Locked, authn.BadCredentials:
		return http.StatusForbidden, forbidden(authn.ReasonOf(err))
	}
	return http.StatusInternalServerError, "internal"
}

// forbidden tells apart what people can do something about, after their identity provider has seen who they are.
func forbidden(reason string) (name string) {
	switch reason {
	case "conditional_access":
		return "policy"
	case "consent_missing":
		return "consent"
	}
	return "locked"
}

// errorTexts are title and explanation by name: written out, so that a text that is missing is found.
var errorTexts = map[string][2]string{
	"toolarge":    {"error.toolarge.title", "error.toolarge"},
	"notfound":    {"error.notfound.title", "error.notfound"},
	"method":      {"error.method.title", "error.method"},
	"crossorigin": {"error.crossorigin.title", "error.crossorigin"},
	"cookies":     {"error.cookies.title", "error.cookies"},
	"login":       {"error.login.title", "error.login"},
	"unavailable": {"error.unavailable.title", "error.unavailable"},
	"untrusted":   {"error.untrusted.title", "error.untrusted"},
	"notmapped":   {"error.notmapped.title", "problem.notmapped"},
	"locked":      {"error.locked.title", "problem.disabled"},
	"policy":      {"error.locked.title", "error.policy"},
	"consent":     {"error.locked.title", "error.consent"},
	"more":        {"error.locked.title", "error.more"},
	"internal":    {"error.internal.title", "error.internal"},
}

// showError ends a visit with a page that says what to do. What went wrong inside is in the log, under the number shown.
func (v *visit) showError(err error) {
	status, name := outcome(err)
	view := errorView{frame: v.frame, Title: v.text(errorTexts[name][0]), Explain: v.text(errorTexts[name][1])}
	kind := authn.KindOf(err)
	if status >= http.StatusInternalServerError || kind == authn.Untrusted || kind == authn.Locked || kind == authn.NotEnrolled {
		view.ID = v.ID // what a source says of somebody is for the administrator, who finds it in the log
	}
	if status >= http.StatusInternalServerError || kind == authn.Untrusted {
		v.Log.Error("portal", "id", v.ID, "path", v.r.URL.Path, "reason", authn.ReasonOf(err), "error", err)
	}
	if err := v.show(status, "error", view); err != nil {
		v.Log.Error("portal: the error page cannot be shown", "id", v.ID, "error", err)
		http.Error(v.w, http.StatusText(status), status)
	}
}

// problem is how a refusal is told beside the form that it answers: status and text. ok is false when it ends the visit.
func (v *visit) problem(err error) (status int, text string, ok bool) {
	var address addressError
	switch kind := authn.KindOf(err); {
	case errors.As(err, &address) && address.minutes > aFew:
		return http.StatusTooManyRequests, v.text("problem.address", address.minutes), true
	case errors.Is(err, errProof):
		return http.StatusForbidden, v.text("problem.proof"), true
	case isLoginError(err):
		return 0, "", false
	case kind == authn.BadCredentials, authn.ReasonOf(err) == authn.ReasonNotActivated:
		return http.StatusUnauthorized, v.text("problem.credentials"), true
	case kind == authn.Locked && authn.ReasonOf(err) == "throttled":
		return http.StatusTooManyRequests, v.text("problem.throttled"), true
	case kind == authn.Locked && isExpiry(err):
		return http.StatusForbidden, v.text("problem.expired"), true
	case kind == authn.Locked:
		return http.StatusForbidden, v.text("problem.disabled"), true
	case kind == authn.NotMapped:
		return http.StatusForbidden, v.text("problem.notmapped"), true
	case kind == authn.NotEnrolled:
		return http.StatusForbidden, v.text("problem.more"), true
	case kind == authn.Unsuitable:
		return http.StatusUnprocessableEntity, v.text("password.refused"), true
	case kind == authn.Unavailable:
		return http.StatusServiceUnavailable, v.text("error.unavailable"), true
	}
	return 0, "", false
}

// aFew are as many minutes as the platform's own text for a short block calls few.
const aFew = 5

func isExpiry(err error) bool {
	reason := authn.ReasonOf(err)
	return reason == authn.ReasonPasswordExpired || reason == authn.ReasonPasswordMustChange
}

// notFound answers what is no route of ours, and a route that was asked for with another method: who opens the address of
// a form, from the history for instance, is shown the page that the form is on.
func (v *visit) notFound() error {
	for _, to := range v.routes() {
		if fits(to.path, v.r.URL.Path) && to.method != v.r.Method {
			if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead {
				return v.goTo(v.getPath(v.r))
			}
			return errMethod
		}
	}
	return errNotFound
}

// fits tells whether a path is one of a pattern, in which {name} stands for any one part.
func fits(pattern, path string) bool {
	want, got := strings.Split(strings.TrimSuffix(pattern, "{$}"), "/"), strings.Split(path, "/")
	for i := range want {
		if len(got) != len(want) || want[i] != got[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}
