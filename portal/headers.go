package portal

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// secured puts the headers on every answer that keep a browser from doing more with it than show it. Each has its own test.
func (p *Portal) secured(next http.Handler) http.Handler {
	policy := p.contentPolicy("'self'", "'none'")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		h.Set("X-Content-Type-Options", "nosniff")
		// For browsers that know no policy. X-XSS-Protection is switched off: its filter itself could be misused.
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-XSS-Protection", "0")
		next.ServeHTTP(w, r)
	})
}

// contentPolicy allows the pages' own style and script by their hashes and nothing else. forms says where forms may post
// to, worker and scripts are for the page with the proof of work.
func (p *Portal) contentPolicy(forms, worker string, scripts ...string) string {
	styles := append([]string{p.pages.StyleSource()}, scripts...)
	return strings.Join([]string{
		"default-src 'none'",
		"style-src " + strings.Join(styles, " "),
		"script-src " + strings.Join(append([]string{p.pages.ScriptSource()}, scripts...), " "),
		"worker-src " + worker,
		"img-src 'self'",
		"form-action " + forms,
		"base-uri 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

// allowFormsTo lets this one page post to a provider.
func (v *visit) allowFormsTo(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(u.Host, " ;,'") {
		return authn.Errorf(authn.Internal, "bad_provider", "a provider sends browsers to %q", address)
	}
	origin := url.URL{Scheme: u.Scheme, Host: u.Host}
	v.w.Header().Set("Content-Security-Policy", v.contentPolicy("'self' "+origin.String(), "'none'"))
	return nil
}
