package plugin

import "net/http"

// page describes the service to an administrator who opens its address in a browser.
type page struct {
	Name, Address, Environment string
	Methods                    []string
}

// writePage sends the page. It loads nothing, runs nothing, and may be framed by nobody.
func (d *door) writePage(w http.ResponseWriter, s service, environment string) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+d.page.StyleSource()+
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	return d.page.Execute(w, page{Name: s.name, Address: s.address, Environment: environment, Methods: methods()})
}
