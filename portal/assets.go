package portal

import (
	"compress/gzip"
	"fmt"
	"mime"
	"path"
	"strings"
	"time"
)

// asset answers with a file that a page loads by its name. It may be kept: its address changes with the program.
func (v *visit) asset() error {
	name := v.r.PathValue("name")
	content, ok := v.pages.Asset(name)
	if !ok {
		return errNotFound
	}
	h := v.w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("Vary", "Accept-Encoding")
	if !strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") {
		_, err := v.w.Write(content)
		return err
	}
	h.Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(v.w, gzip.BestCompression) // a level that there is
	if _, err := z.Write(content); err != nil {
		return err
	}
	return z.Close()
}

// securityText tells those who find a weakness whom to tell (RFC 9116).
func (v *visit) securityText() error {
	s := v.Security
	if len(s.Contacts) == 0 {
		return errNotFound
	}
	expires := s.Expires
	if expires.IsZero() { // as long as this program runs, somebody is there
		expires = v.Now().AddDate(0, 6, 0)
	}
	var b strings.Builder
	for _, c := range s.Contacts {
		fmt.Fprintf(&b, "Contact: %s\n", c)
	}
	fmt.Fprintf(&b, "Expires: %s\n", expires.UTC().Format(time.RFC3339))
	var languages []string
	for _, l := range v.pages.Languages() {
		languages = append(languages, l.Code)
	}
	fmt.Fprintf(&b, "Preferred-Languages: %s\nCanonical: %s/.well-known/security.txt\n", strings.Join(languages, ", "),
		strings.TrimSuffix(v.PublicURL, "/"))
	if s.Policy != "" {
		fmt.Fprintf(&b, "Policy: %s\n", s.Policy)
	}
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := v.w.Write([]byte(b.String()))
	return err
}
