package saml

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"

	"github.com/idbridge/idbridge/authn"
)

// metadataType is the media type of metadata (saml-metadata appendix A).
const metadataType = "application/samlmetadata+xml"

// Handler answers at the addresses that our metadata names, but for the assertion consumer service, which belongs to a
// sign-in under way: GET /saml/ID/metadata, GET and POST /saml/ID/slo. It belongs on the listener of the public URL, and
// its slo outside of protection against cross-origin requests: such are all of them, and each is signed.
func (s *ServiceProvider) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /saml/{provider}/metadata", s.serve((*provider).serveMetadata))
	mux.HandleFunc("GET /saml/{provider}/slo", s.serve((*provider).serveLogout))
	mux.HandleFunc("POST /saml/{provider}/slo", s.serve((*provider).serveLogout))
	return mux
}

func (s *ServiceProvider) serve(do func(*provider, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.provider(r.PathValue("provider"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cache-Control", "no-store")
		do(p, w, r)
	}
}

func (p *provider) serveMetadata(w http.ResponseWriter, r *http.Request) {
	text, err := p.metadata(r.Context())
	if err != nil {
		p.Log.WarnContext(r.Context(), "saml: our metadata could not be given", "provider", p.id, "error", err)
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", metadataType)
	w.Header().Set("Content-Disposition", `attachment; filename="idbridge-`+p.id+`.xml"`)
	_, _ = w.Write(text) // a caller who is gone needs none
}

// maxForm is how much is read of a form: a message in base64, and the rest.
const maxForm = 2 * maxMessage

func (p *provider) serveLogout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	m, err := logoutMessage(r)
	var to authn.Redirect
	switch {
	case err == nil && m.field == "SAMLRequest" && p.canEnd():
		to, err = p.logout(r.Context(), m)
	case err == nil && m.field == "SAMLRequest":
		err = authn.Errorf(authn.Unavailable, "store_unavailable", "there is no store of sessions")
	case err == nil:
		err = p.loggedOut(r.Context(), m)
	}
	p.note(r.Context(), Message{Direction: "in", Type: logoutTypes[m.field]}, m.raw, err)
	if err != nil {
		p.Log.WarnContext(r.Context(), "saml: logout message", "provider", p.id, "error", err)
	}
	switch {
	case m.field == "SAMLResponse": // whatever it says: our session has ended before we asked
		http.Redirect(w, r, p.PublicURL+signedOutPage, http.StatusSeeOther)
	case err != nil:
		refuseLogout(w, err)
	default:
		send(w, r, to)
	}
}

// signedOutPage is the portal's.
const signedOutPage = "/signedout"

func (p *provider) canEnd() bool {
	return p.IdPSessions != nil && p.Sessions != nil && p.Replays != nil
}

func refuseLogout(w http.ResponseWriter, err error) {
	if authn.KindOf(err) == authn.Untrusted {
		http.Error(w, "This sign-out message was not accepted. Sign out in the portal.", http.StatusBadRequest)
		return
	}
	http.Error(w, "Signing out did not work just now. Sign out in the portal.", http.StatusServiceUnavailable)
}

// submit sends the form; the policy of the page allows this script and no other.
const submit = `document.forms[0].submit()`

var formPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Signing out</title></head>
<body><form method="post" action="{{.URL}}">
{{range $name, $values := .Fields}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}<p>You are signed out here.</p><button>Sign out at your identity provider</button>
</form><script>` + submit + `</script></body></html>
`))

// send sends a browser on: by redirect, or by a form that sends itself.
func send(w http.ResponseWriter, r *http.Request, to authn.Redirect) {
	if to.Fields == nil {
		http.Redirect(w, r, to.URL, http.StatusSeeOther)
		return
	}
	sum := sha256.Sum256([]byte(submit))
	w.Header().Set("Content-Security-Policy",
		"default-src 'none'; frame-ancestors 'none'; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = formPage.Execute(w, to) // a caller who is gone needs none
}
