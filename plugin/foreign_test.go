package plugin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/plugin"
	"github.com/idbridge/idbridge/testenv/soapclients"
)

// TestForeignClients: clients that are not ours import the WSDL from the door itself and make all eight calls.
func TestForeignClients(t *testing.T) {
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	r := newRig(t, func(c *plugin.Config) { c.PublicURL = srv.URL })
	h = r
	service := soapclients.Service{URL: srv.URL + address, User: "production", Secret: secret}
	for _, c := range soapclients.All() {
		t.Run(c.Name+" "+c.Version, func(t *testing.T) {
			answers := c.Calls(t, service,
				soapclients.Call{Method: "Plugin_GetCapabilities"},
				soapclients.Call{Method: "Plugin_GetAllConfigurations"},
				soapclients.Call{Method: "Plugin_SetConfigurations", Args: []string{"a", "b"}},
				soapclients.Call{Method: "Plugin_Test"},
				soapclients.Call{Method: "Plugin_OnActivation"},
				soapclients.Call{Method: "Plugin_OnDeactivation"},
				soapclients.Call{Method: "User_AuthenticateWithCredentials", Args: []string{"josé", " <p&ss> "}},
				soapclients.Call{Method: "User_AuthenticateWithCredentials", Args: []string{"bad_credentials", "x"}},
				soapclients.Call{Method: "User_AuthenticateWithUsername", Args: []string{"ana"}},
				soapclients.Call{Method: "User_AuthenticateWithCredentials", Args: []string{"panic", "x"}},
			)
			checkPlugin(t, answers)
			checkSignIns(t, answers[6:])
			r.mu.Lock()
			defer r.mu.Unlock()
			if got := r.calls[len(r.calls)-4]; got.Username != "josé" || got.Password.Reveal() != " <p&ss> " {
				t.Errorf("the core was asked for %q with %q", got.Username, got.Password.Reveal())
			}
		})
	}
}

func checkPlugin(t *testing.T, answers []soapclients.Answer) {
	t.Helper()
	if a := answers[0]; !a.Success || len(a.Pairs) != 4 || a.Pairs[0] != [2]string{"UserPassword.Supported", "True"} {
		t.Errorf("capabilities: %+v", a)
	}
	if a := answers[1]; !a.Success || len(a.Pairs) != 1 || a.Pairs[0] != [2]string{"a<b", "c&d"} {
		t.Errorf("configurations: %+v", a)
	}
	if a := answers[2]; a.Success || a.ResponseID != plugin.IDSettingsOff || a.Fault != "" {
		t.Errorf("set configurations: %+v", a)
	}
	if a := answers[3]; !a.Success || a.Message != "All checks passed." {
		t.Errorf("test: %+v", a)
	}
	if a := answers[4]; !a.Success {
		t.Errorf("activation: %+v", a)
	}
	if a := answers[5]; a.Fault != "" {
		t.Errorf("deactivation: %+v", a)
	}
}

func checkSignIns(t *testing.T, answers []soapclients.Answer) {
	t.Helper()
	if a := answers[0]; !a.Success || a.UserID != 2147483647 {
		t.Errorf("sign-in: %+v", a)
	}
	if a := answers[1]; a.Success || a.UserID != 0 || a.ResponseID != plugin.IDRefused || !strings.HasPrefix(a.Info, "correlation id: ") {
		t.Errorf("refused sign-in: %+v", a)
	}
	if a := answers[2]; !a.Success || a.UserID != 7 {
		t.Errorf("integrated sign-in: %+v", a)
	}
	if a := answers[3]; a.Fault != "The request could not be processed." {
		t.Errorf("fault: %+v", a)
	}
}
