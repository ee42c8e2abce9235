// Package portal is the users' door: sign-in with a browser, second factors, sign-in tokens, and what there is to know
// and to end about one's own account.
//
// It is the HTTP skin of authn.Flow: routes, cookies, headers, forms and their answers. It leaves to others what signing
// in means and when it is refused (authn), what a code is (mfa), how a page looks and reads (templates) and where rows
// are kept (store). Pages work without JavaScript, forms without a state change on GET, and every redirect goes to a fixed
// path of ours: docs/portal.md tells what each of them does.
package portal

import (
	"net/http"

	"github.com/idbridge/idbridge/templates"
)

// Portal answers browsers. It is safe for concurrent use.
type Portal struct {
	pages *templates.Set
	base  string // the path of the public URL, without a slash at its end
}

// getPath is where a page that answers r can be asked for again.
func (p *Portal) getPath(r *http.Request) string { return r.URL.Path }
