package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/webhook"
)

// TestWebhooksOfTheAdministratorsDoor: of an address they see the host only, and a test is sent as messages are.
func TestWebhooksOfTheAdministratorsDoor(t *testing.T) {
	status := http.StatusOK
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if err := webhook.Verify(authn.Secret(testSecret), r.Header.Get(webhook.HeaderSignature), text, time.Now()); err != nil ||
			r.URL.Path != "/secret-part" || !strings.Contains(string(text), "admin:ann") {
			t.Errorf("%v: %s %s", err, r.URL, text)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(target.Close)
	h := hooksOf{&backend{config: Config{Webhooks: []WebhookConfig{{ID: "soc", URL: target.URL + "/secret-part", Secret: testSecret, Timeout: time.Minute}}}}}
	if list := h.Endpoints(); len(list) != 1 || "http://"+list[0].Host != target.URL {
		t.Errorf("%+v", list)
	}
	record := audit.Record{Time: time.Now(), ID: "id", Action: audit.WebhookTested, Actor: "admin:ann"}
	if err := h.Send(t.Context(), "soc", record); err != nil {
		t.Error(err)
	}
	status = http.StatusForbidden
	if err := h.Send(t.Context(), "soc", record); err == nil || strings.Contains(err.Error(), "secret-part") {
		t.Errorf("%v", err)
	}
	if err := h.Send(t.Context(), "nobody", record); err == nil {
		t.Error("sent to nobody")
	}
}

// TestWebhookAfterKill kills the program with SIGKILL in the middle of a message: the one that is started after it sends the
// same message again, signed anew.
func TestWebhookAfterKill(t *testing.T) {
	arrived, hang := make(chan string, 10), make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if err := webhook.Verify(authn.Secret(testSecret), r.Header.Get(webhook.HeaderSignature), text, time.Now()); err != nil {
			t.Error(err)
		}
		arrived <- r.Header.Get(webhook.HeaderID)
		<-hang
	}))
	t.Cleanup(target.Close)
	t.Cleanup(func() { close(hang) })
	s := serving(t, map[string]string{
		"webhooks": "- {id: soc, url: '" + target.URL + "', secret: " + testSecret + ", timeout: 1s, events: [caller.refused]}"})
	id := ""
	wait(t, "a message", func() bool {
		request(t.Context(), t, &http.Client{}, "http://"+s.door+"/", func(r *http.Request) { r.SetBasicAuth("one", "wrong") })
		select {
		case id = <-arrived:
		default:
		}
		return id != ""
	})
	s.signal(t, syscall.SIGKILL)
	wait(t, "the process is gone", func() bool { return s.Signal(syscall.Signal(0)) != nil })
	testenv.Start(t, []int{port(t, s.door)}, "idbridge", "serve", "--config", s.file("idbridge.yaml"))
	select {
	case again := <-arrived:
		if again != id || !strings.HasPrefix(id, "caller.refused-") {
			t.Errorf("first %q, after the crash %q", id, again)
		}
	case <-time.After(30 * time.Second):
		t.Error("the message was lost")
	}
}
