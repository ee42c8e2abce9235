package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzAPI calls the operations of the document with what nobody would send. Whatever comes, there is no bug (500), every refusal
// is a problem with a correlation id, and who has no role for a change changes nothing.
func FuzzAPI(f *testing.F) {
	r := newRig(f)
	browsers := []*browser{r.browser(), r.signedIn("norm"), r.signedIn("vera")}
	var calls [][2]string // method and path
	for path, methods := range browsers[2].document().Paths {
		for method := range methods {
			calls = append(calls, [2]string{strings.ToUpper(method), path})
		}
	}
	slices.SortFunc(calls, func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	bodies := []string{"", "{}", `{"username":"x","ids":{"production":null}}`, `{"dry_run":true,"base":-1,"text":"a: [","code":"000000"}`, "[1", "\x00\xff", `{"a":{"a":{"a":1}}}`}
	for i := range calls {
		f.Add(uint8(i), uint8(i), bodies[i%len(bodies)], "name/../\x00é", "state=active&x=%zz")
	}
	before := r.dump()
	f.Fuzz(func(t *testing.T, call, who uint8, body, part, query string) {
		b := browsers[int(who)%len(browsers)]
		method, path := calls[int(call)%len(calls)][0], calls[int(call)%len(calls)][1]
		for _, name := range []string{"username", "provider", "id"} {
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(part+"x"))
		}
		r.t = t
		p := b.api(method, path+"?"+url.QueryEscape(query)+"="+url.QueryEscape(part), body)
		what := fmt.Sprintf("%s %s %q", method, path, body)
		if p.status == http.StatusInternalServerError || p.status >= 400 && p.status != http.StatusNotFound && p.header.Get("X-Correlation-Id") == "" {
			t.Fatalf("%s: %d %s", what, p.status, p.body)
		}
		if method != http.MethodGet && p.status < 300 && path != "/coverage" {
			t.Errorf("%s: %d, without a role for it", what, p.status)
		}
		if r.dump() != before {
			t.Errorf("%s: something changed", what)
		}
	})
}
