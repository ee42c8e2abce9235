package plugin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

//go:embed page.html
var pageText string

// page describes the service to an administrator who opens its address in a browser.
type page struct {
	Name, Address, Environment string
	Methods                    []string
}

// writePage sends the page. It loads nothing, runs nothing, and may be framed by nobody.
func writePage(w http.ResponseWriter, s service, environment string) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash()+
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	return t.Execute(w, page{Name: s.name, Address: s.address, Environment: environment, Methods: methods()})
}

// styleHash allows the page's one style element, and no other.
func styleHash() string {
	_, rest, _ := strings.Cut(pageText, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
