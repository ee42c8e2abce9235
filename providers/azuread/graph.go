package azuread

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/idbridge/idbridge/authn"
)

// maxPages of 999 entries each: nobody's token or policy needs more groups than that.
const maxPages = 20

// page is a page of a list (OData).
type page[T any] struct {
	Value []T    `json:"value"`
	Next  string `json:"@odata.nextLink"`
}

// graphURL is an address at Graph.
func (p *provider) graphURL(path string, query url.Values) string {
	return (&url.URL{Scheme: "https", Host: p.config.Graph, Path: "/v1.0" + path, RawQuery: query.Encode()}).String()
}

// list reads a list to its end. Unavailable, also where it does not end.
func list[T any](ctx context.Context, p *provider, bearer, path string, query url.Values) (all []T, err error) {
	address := p.graphURL(path, query)
	for range maxPages {
		var one page[T]
		got, err := p.web.get(ctx, address, bearer)
		if err == nil {
			err = got.graph(&one)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one.Value...)
		if one.Next == "" {
			return all, nil
		}
		next, err := url.Parse(one.Next)
		if err != nil || next.Scheme != "https" || next.Host != p.config.Graph || next.User != nil {
			return nil, authn.Errorf(authn.Unavailable, "entra_bad_answer", "Microsoft Graph leads elsewhere: %q", cut(one.Next))
		}
		address = one.Next
	}
	return nil, authn.Errorf(authn.Unavailable, "groups_incomplete",
		"Microsoft Graph's list is longer than %d pages", maxPages)
}

// graph decodes an answer of Graph, or tells its error.
func (a answer) graph(value any) error {
	if a.status == http.StatusOK {
		return a.into(value, "Microsoft Graph")
	}
	var e struct {
		Error struct {
			Code  string `json:"code"`
			Inner struct {
				Request string `json:"request-id"`
			} `json:"innerError"`
		} `json:"error"`
	}
	_ = json.Unmarshal(a.body, &e) // what cannot be read has no code
	what, request := cut(e.Error.Code), cut(e.Error.Inner.Request)
	switch {
	case a.status == http.StatusForbidden:
		return authn.Errorf(authn.Unavailable, "graph_denied",
			"Microsoft Graph: %q: grant the permissions that docs/providers/azure-ad.md lists, "+
				"with admin consent (request id %q)", what, request)
	case a.status == http.StatusTooManyRequests || a.status >= 500:
		return authn.Errorf(authn.Unavailable, reasonBusy,
			"Microsoft Graph: HTTP status %d %q: %s (request id %q)", a.status, what, adviceBusy, request)
	}
	return authn.Errorf(authn.Unavailable, "entra_bad_answer",
		"Microsoft Graph: HTTP status %d %q (request id %q)", a.status, what, request)
}

// probeGraph tells whether people can be found with the application's own permissions.
func (p *provider) probeGraph(ctx context.Context, bearer string) error {
	got, err := p.web.get(ctx, p.graphURL("/users", url.Values{"$top": {"1"}, "$select": {"id"}}), bearer)
	if err != nil {
		return err
	}
	return got.graph(&page[person]{})
}
