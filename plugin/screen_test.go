package plugin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/plugin"
	"github.com/idbridge/idbridge/testenv/soapclients"
)

// screen remembers what it was sent.
type screen struct {
	err  error
	sent []plugin.SettingsChange
}

func (s *screen) Settings(context.Context) ([]plugin.Setting, error) {
	return []plugin.Setting{{Name: "BaseDN", Value: "dc=é"}, {Name: "BindPassword", Value: "********"}}, s.err
}

func (s *screen) Change(_ context.Context, c plugin.SettingsChange) (string, error) {
	s.sent = append(s.sent, c)
	return "Saved as version 7.", s.err
}

func setting(name, value string) string {
	return `<PluginAPIConfigurationParameter><Name>` + name + `</Name><Value>` + value + `</Value></PluginAPIConfigurationParameter>`
}

func setConfigurations(settings ...string) string {
	return soap(v11, `<Plugin_SetConfigurations xmlns="`+namespace+`"><Configuration>`+strings.Join(settings, "")+
		`</Configuration></Plugin_SetConfigurations>`)
}

// TestTheScreen is served where there is one, and only then offered.
func TestTheScreen(t *testing.T) {
	s := &screen{}
	r := newRig(t, func(c *plugin.Config) { c.Screen = s })
	if got := r.say(t, "production", operation("Plugin_GetCapabilities")); !strings.Contains(got, capability("ConfigurationAPI", "True")) {
		t.Error(got)
	}
	if got := r.say(t, "production", operation("Plugin_GetAllConfigurations")); !strings.Contains(got, setting("BindPassword", "********")) ||
		strings.Contains(got, "a&lt;b") {
		t.Error(got)
	}
	got := r.say(t, "production", setConfigurations(setting("BaseDN", "dc=x"), setting("BindPassword", canary)))
	if !strings.Contains(got, "<Success>true</Success><ResponseId>0</ResponseId><ResponseMessage>Saved as version 7.<") {
		t.Error(got)
	}
	if len(s.sent) != 1 || s.sent[0].Environment != "production" || s.sent[0].ID == "" || len(s.sent[0].Settings) != 2 ||
		s.sent[0].Settings[1] != (plugin.Setting{Name: "BindPassword", Value: canary}) {
		t.Errorf("%+v", s.sent)
	}
	if len(r.events) != 0 {
		t.Errorf("the change is the screen's to record: %+v", r.events)
	}
}

// TestARefusalOfTheScreen is told in its words; what else goes wrong is not.
func TestARefusalOfTheScreen(t *testing.T) {
	for _, test := range []struct {
		err   error
		want  string
		known bool
	}{
		{plugin.Refusal{"BaseDN: is mandatory", "StartTLS: what?"}, "<Success>false</Success><ResponseId>13</ResponseId>" +
			"<ResponseMessage>Nothing was changed.\nBaseDN: is mandatory\nStartTLS: what?<", true},
		{errors.New("disk " + canary), "<Success>false</Success><ResponseId>4</ResponseId>" +
			"<ResponseMessage>Nothing was changed: the settings cannot be reached now.", false},
	} {
		r := newRig(t, func(c *plugin.Config) { c.Screen = &screen{err: test.err} })
		got := r.say(t, "production", setConfigurations(setting("BaseDN", "")))
		if !strings.Contains(strings.ReplaceAll(got, "&#xA;", "\n"), test.want) || strings.Contains(got, canary) {
			t.Errorf("%s\nwant %s", got, test.want)
		}
		told := len(r.events) == 1 && r.events[0].Action == plugin.ConfigRefused && r.events[0].Detail == "BaseDN: is mandatory; StartTLS: what?"
		if told != test.known {
			t.Errorf("journal: %+v", r.events)
		}
	}
	r := newRig(t, func(c *plugin.Config) { c.Screen = &screen{err: errors.New("disk")} })
	if got := r.say(t, "production", operation("Plugin_GetAllConfigurations")); !strings.Contains(got, "<ResponseId>4</ResponseId>") {
		t.Error(got)
	}
}

// TestForeignClientsChangeSettings.
func TestForeignClientsChangeSettings(t *testing.T) {
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	s := &screen{}
	h = newRig(t, func(c *plugin.Config) { c.PublicURL, c.Screen = srv.URL, s })
	service := soapclients.Service{URL: srv.URL + address, User: "production", Secret: secret}
	for _, c := range soapclients.All() {
		t.Run(c.Name+" "+c.Version, func(t *testing.T) {
			s.sent = nil
			answers := c.Calls(t, service, soapclients.Call{Method: "Plugin_GetAllConfigurations"},
				soapclients.Call{Method: "Plugin_SetConfigurations", Args: []string{"BaseDN", "dc=<é>"}})
			if a := answers[0]; !a.Success || len(a.Pairs) != 2 || a.Pairs[0] != [2]string{"BaseDN", "dc=é"} {
				t.Errorf("%+v", a)
			}
			if a := answers[1]; !a.Success || a.Message != "Saved as version 7." {
				t.Errorf("%+v", a)
			}
			if len(s.sent) != 1 || len(s.sent[0].Settings) != 1 || s.sent[0].Settings[0] != (plugin.Setting{Name: "BaseDN", Value: "dc=<é>"}) {
				t.Errorf("%+v", s.sent)
			}
		})
	}
}
