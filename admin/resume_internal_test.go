package admin

import "testing"

// What can be lost while somebody signs in has a name under which it is asked for again.
func TestEveryFormHasATitle(t *testing.T) {
	for _, p := range pages() {
		if wants := p.method == "POST" && !p.file && p.path != resumePath; wants != (p.title != "") {
			t.Errorf("%s %s: title %q", p.method, p.path, p.title)
		}
	}
}
