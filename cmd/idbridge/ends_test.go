package main

import (
	"slices"
	"testing"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/providers/azuread"
)

// TestCredentialsThatEnd are in a metric, and in the log for the last thirty days.
func TestCredentialsThatEnd(t *testing.T) {
	const id = "72f988bf-0000-4000-8000-2d7cd011db47"
	entra, err := azuread.New("cloud", "", azuread.Config{Tenant: id, ClientID: id, Credentials: []azuread.Credential{
		{Secret: "x", Expires: "2027-05-31"}, {Secret: "y", Expires: "2027-07-31"}, {Secret: "z"},
	}}, authn.Route{}, azuread.Surroundings{})
	if err != nil {
		t.Fatal(err)
	}
	list := []authn.Provider{{ID: "directory"}, entra}
	m := newMetrics()
	m.credentialEnds(func() []authn.Provider { return list })
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "idbridge_credential_expiry_timestamp_seconds" {
			for _, one := range f.GetMetric() {
				seen[one.GetLabel()[1].GetValue()+" "+one.GetLabel()[0].GetValue()] = one.GetGauge().GetValue()
			}
		}
	}
	first := time.Date(2027, 5, 31, 0, 0, 0, 0, time.UTC)
	if len(seen) != 2 || seen["cloud credentials[0] (client secret)"] != float64(first.Unix()) {
		t.Errorf("%v", seen)
	}
	const warning = "provider cloud: credentials[0] (client secret) ends on 2027-05-31: add its successor, then remove it"
	if got := endWarnings(list, first.AddDate(0, 0, -29)); !slices.Equal(got, []string{warning}) {
		t.Errorf("%q", got)
	}
	if got := endWarnings(list, first.AddDate(0, 0, -31)); got != nil {
		t.Errorf("too early: %q", got)
	}
}
