package saml

import "net/http"

// metadataType is the media type of metadata (saml-metadata appendix A).
const metadataType = "application/samlmetadata+xml"

// Handler answers at the addresses that our metadata names, but for the assertion consumer service, which belongs to a
// sign-in under way: GET /saml/ID/metadata. It belongs on the listener of the public URL.
func (s *ServiceProvider) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /saml/{provider}/metadata", s.serveMetadata)
	return mux
}

func (s *ServiceProvider) serveMetadata(w http.ResponseWriter, r *http.Request) {
	p, err := s.provider(r.PathValue("provider"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	text, err := p.metadata(r.Context())
	if err != nil {
		p.Log.WarnContext(r.Context(), "saml: our metadata could not be given", "provider", p.id, "error", err)
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", metadataType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", `attachment; filename="idbridge-`+p.id+`.xml"`)
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(text) // a caller who is gone needs none
}
