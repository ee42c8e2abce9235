package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/webhook"
)

const secret = authn.Secret("a-secret-of-more-than-32-bytes-for-tests")

// outbox keeps messages in memory. That the databases do it right is tested in store.
type outbox struct {
	mu       sync.Mutex
	records  []audit.Record
	messages []webhook.Message
	settled  chan webhook.Message
}

func (o *outbox) PostAudit(_ context.Context, _ int, turn func(audit.Record) []webhook.Message) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.records)
	for _, r := range o.records {
		o.messages = append(o.messages, turn(r)...)
	}
	o.records = nil
	return n, nil
}

func (o *outbox) DueMessage(_ context.Context, endpoint string, now, putOff time.Time) (webhook.Message, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, m := range o.messages {
		if m.Endpoint == endpoint && m.State == webhook.Waiting && !m.Due.After(now) {
			o.messages[i].Due = putOff
			return m, true, nil
		}
	}
	return webhook.Message{}, false, nil
}

func (o *outbox) SettleMessage(_ context.Context, m webhook.Message) error {
	o.mu.Lock()
	for i := range o.messages {
		if o.messages[i].ID == m.ID && o.messages[i].Endpoint == m.Endpoint {
			o.messages[i] = m
		}
	}
	o.mu.Unlock()
	o.settled <- m
	return nil
}

func (o *outbox) Lease(context.Context, string, string, time.Time, time.Time) (bool, error) {
	return true, nil
}

// run sends what an outbox has to endpoints until the test ends.
func run(t *testing.T, o *outbox, endpoints ...webhook.Endpoint) {
	t.Helper()
	o.settled = make(chan webhook.Message, 100)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	s := &webhook.Sender{Outbox: o, Leases: o, Endpoints: func() []webhook.Endpoint { return endpoints }, Holder: "test",
		Log: slog.New(slog.DiscardHandler), Now: time.Now}
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
}

func receiver(t *testing.T, h http.HandlerFunc) webhook.Endpoint {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return webhook.Endpoint{ID: "soc", URL: s.URL, Secret: secret, CA: ca, Timeout: 10 * time.Second}
}

var locked = audit.Record{Seq: 7, Time: time.Now(), Action: audit.SignIn, Kind: "locked", Reason: "throttled", Username: "ann", Provider: "corp"}

// TestDelivery: what arrives is signed, says what happened, and is settled once it was taken.
func TestDelivery(t *testing.T) {
	arrived := make(chan error, 1)
	e := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		var message struct {
			ID, Event string
			Record    audit.Record
		}
		err := errors.Join(webhook.Verify(secret, r.Header.Get(webhook.HeaderSignature), text, time.Now()), json.Unmarshal(text, &message))
		if message.ID != r.Header.Get(webhook.HeaderID) || message.Event != webhook.UserLocked || message.Record.Username != "ann" {
			err = errors.Join(err, fmt.Errorf("%s", text))
		}
		arrived <- err
	})
	o := &outbox{records: []audit.Record{locked}}
	run(t, o, e)
	if err := <-arrived; err != nil {
		t.Error(err)
	}
	if m := <-o.settled; m.State != webhook.Sent || m.Attempts != 1 {
		t.Errorf("%+v", m)
	}
}

// TestTrouble: what is not taken waits and is sent again, later each time, and given up at last.
func TestTrouble(t *testing.T) {
	elsewhere := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string
		change func(*webhook.Endpoint)
	}{
		"fails":     {handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, want: "answered 500"},
		"refuses":   {handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, want: "answered 404"},
		"redirects": {handle: http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP, want: "redirects are not followed"},
		"hangs": {handle: func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server would not see that its client has gone
			<-r.Context().Done()
		}, want: "exceeded", change: func(e *webhook.Endpoint) { e.Timeout = 100 * time.Millisecond }},
		"breaks off": {handle: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "EOF"},
		"stranger": {handle: func(http.ResponseWriter, *http.Request) {}, want: "certificate",
			change: func(e *webhook.Endpoint) { e.CA = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			e := receiver(t, test.handle)
			if test.change != nil {
				test.change(&e)
			}
			o := &outbox{records: []audit.Record{locked}}
			before := time.Now()
			run(t, o, e)
			m := <-o.settled
			if m.State != webhook.Waiting || m.Attempts != 1 || !strings.Contains(m.Trouble, test.want) || !m.Due.After(before.Add(3*time.Second)) {
				t.Errorf("%+v", m)
			}
			if strings.Contains(m.Trouble, e.URL) {
				t.Errorf("the address is in %q", m.Trouble)
			}
			m.Attempts, m.Due = 17, before
			o.mu.Lock()
			o.messages[0] = m
			o.mu.Unlock()
			if m = <-o.settled; m.State != webhook.Dead {
				t.Errorf("%+v", m)
			}
		})
	}
}

// TestOneHangs: an endpoint that hangs keeps no other waiting.
func TestOneHangs(t *testing.T) {
	hang, arrived := make(chan struct{}), make(chan struct{}, 10)
	slow := receiver(t, func(http.ResponseWriter, *http.Request) { <-hang })
	quick := receiver(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{} })
	slow.ID = "slow"
	second := locked
	second.Username = "bob"
	run(t, &outbox{records: []audit.Record{locked, second}}, slow, quick)
	<-arrived
	<-arrived
	close(hang)
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	text := []byte(`{"id":"x"}`)
	good := webhook.Sign(secret, text, now)
	for name, c := range map[string]struct {
		secret    authn.Secret
		signature string
		body      string
		at        time.Time
		ok        bool
	}{
		"good":           {secret, good, string(text), now, true},
		"four minutes":   {secret, good, string(text), now.Add(4 * time.Minute), true},
		"replayed":       {secret, good, string(text), now.Add(6 * time.Minute), false},
		"from tomorrow":  {secret, good, string(text), now.Add(-6 * time.Minute), false},
		"changed":        {secret, good, string(text) + " ", now, false},
		"another secret": {secret + "x", good, string(text), now, false},
		"new time":       {secret, strings.Replace(good, "t=1800000000", "t=1800000300", 1), string(text), now.Add(5 * time.Minute), false},
		"no mac":         {secret, "t=1800000000,v1=", string(text), now, false},
		"nothing":        {secret, "", string(text), now, false},
	} {
		if err := webhook.Verify(c.secret, c.signature, []byte(c.body), c.at); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEvents(t *testing.T) {
	now := time.Now()
	all := webhook.Endpoint{ID: "all"}
	if event, ok := webhook.EventOf(audit.Record{Action: audit.VerifyEnded, Kind: "untrusted", Reason: "changed"}); ok {
		t.Errorf("that the audit does not hold would be told twice: %s", event)
	}
	if event, ok := webhook.EventOf(audit.Record{Action: audit.FoundBroken, Kind: "untrusted"}); !ok || event != webhook.AuditBroken {
		t.Errorf("a break that was found is %q", event)
	}
	for want, r := range map[string]audit.Record{
		webhook.BreakGlassUsed:       {Action: audit.BreakGlass + audit.SignIn, Kind: "ok"},
		webhook.BreakGlassAttempt:    {Action: audit.BreakGlass + audit.PortalSignIn, Kind: "locked", Reason: "not_activated"},
		webhook.BreakGlassChanged:    {Action: audit.BreakGlassChanged, Kind: "ok"},
		webhook.UserLocked:           {Action: audit.SignIn, Kind: "locked", Reason: "throttled"},
		webhook.UserUnlocked:         {Action: audit.Unlocked, Kind: "ok"},
		webhook.Untrusted:            {Action: audit.PortalSignIn, Kind: "untrusted", Reason: "replayed"},
		webhook.CallerRefused:        {Action: audit.CallerRefused, Kind: "untrusted"},
		webhook.FactorReset:          {Action: audit.FactorReset, Kind: "ok"},
		webhook.FactorEnrolled:       {Action: audit.FactorEnrolled, Kind: "ok"},
		webhook.ConfigurationChanged: {Action: audit.ConfigChanged, Kind: "ok"},
		webhook.KeysRotated:          {Action: audit.KeysRotated, Kind: "ok"},
		webhook.SourceFailed:         {Action: audit.UsersSynced, Kind: "unavailable"},
		webhook.AuditBroken:          {Action: audit.Restarted, Kind: "ok"},
		webhook.BackupRestored:       {Action: audit.Restored, Kind: "ok"},
		webhook.Expiring:             {Action: audit.Expiring, Kind: "ok"},
		"":                           {Action: audit.SignIn, Kind: "ok"},
	} {
		r.Time = now
		list := webhook.Messages([]webhook.Endpoint{all}, r, now)
		if want == "" {
			if len(list) != 0 {
				t.Errorf("%+v: %+v", r, list)
			}
			continue
		}
		if len(list) != 1 || list[0].Event != want || !slices.Contains(webhook.Events(), want) {
			t.Errorf("%s: %+v", want, list)
		}
		only := webhook.Endpoint{ID: "some", Events: []string{"nothing else"}}
		if got := webhook.Messages([]webhook.Endpoint{only}, r, now.Add(time.Hour)); len(got) != 0 {
			t.Errorf("%s: to one who did not ask: %+v", want, got)
		}
		if got := webhook.Messages([]webhook.Endpoint{all}, r, now.Add(25*time.Hour)); len(got) != 0 {
			t.Errorf("%s: a day later: %+v", want, got)
		}
	}
	if restarted := (audit.Record{Time: now, Action: audit.Restarted}); len(webhook.Messages([]webhook.Endpoint{all}, restarted, now)) != 1 {
		t.Error("a restart's record has no kind, and is an event")
	}
}

// TestOnce: what strangers can cause again and again is told once for a while.
func TestOnce(t *testing.T) {
	e := []webhook.Endpoint{{ID: "all"}}
	at := time.Now().Truncate(time.Hour)
	id := func(r audit.Record, seq int64, after time.Duration) string {
		r.Seq, r.Time = seq, at.Add(after)
		return webhook.Messages(e, r, r.Time)[0].ID
	}
	first := id(locked, 1, 0)
	other := locked
	other.Username = "bob"
	reset := audit.Record{Action: audit.FactorReset, Kind: "ok", ITUser: "ann"}
	if id(locked, 2, time.Minute) != first || id(locked, 3, 31*time.Minute) == first || id(other, 4, 0) == first ||
		id(reset, 5, 0) == id(reset, 6, 0) {
		t.Error("what is the same, and what is not, was mixed up")
	}
}

func TestCheck(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://siem.example.test/x": true, "http://127.0.0.1:9/x": true, "http://localhost/x": true, "http://[::1]:9/": true,
		"http://siem.example.test/x": false, "ftp://127.0.0.1/": false, "https://user:pass@siem.example.test/": false, "": false, "siem": false,
	} {
		if err := (webhook.Endpoint{URL: url, Secret: secret}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	if err := (webhook.Endpoint{URL: "https://a.test", Secret: "short"}).Check(); err == nil {
		t.Error("a short secret")
	}
	if err := (webhook.Endpoint{URL: "https://a.test", Secret: secret, CA: []byte("x")}).Check(); err == nil {
		t.Error("no certificate")
	}
}
