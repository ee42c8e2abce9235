package activedirectory

import "github.com/idbridge/idbridge/authn"

// ends tells what ends of the provider's own domain, and of the catalogue and the other domains, which have the same files,
// what their servers show.
func (d *domain) ends() (list []authn.End) {
	all := d.directory.Ends()
	if d.forest != nil {
		all = append(all, d.forest.catalogue.Ends()...)
	}
	for _, other := range d.others() {
		all = append(all, other.directory.Ends()...)
	}
	known := map[string]bool{}
	for _, e := range all {
		if !known[e.What] {
			list = append(list, e)
		}
		known[e.What] = true
	}
	return list
}
