package main

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/testenv"
	"github.com/idbridge/idbridge/webhook"
)

// audited is an audit of 1,500 records on a real database, with one webhook, as serve has it.
type audited struct {
	*live
	b      *backend
	db     *sql.DB
	logged bytes.Buffer
}

func newAudited(t *testing.T, change func(*Config) (driver, source string)) *audited {
	t.Helper()
	s := configured(t, map[string]string{"webhooks": "- {id: soc, url: 'http://127.0.0.1:1', secret: " + testSecret + "}"})
	c, err := loadConfig(s.file("idbridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	driver, source := change(&c)
	a := &audited{}
	if a.b, err = openGround(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.b.Close)
	if a.db, err = sql.Open(driver, source); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.db.Close() })
	a.live = &live{metrics: newMetrics(), log: slog.New(slog.NewTextHandler(&a.logged, nil))}
	a.ground.Store(a.b)
	a.metrics.verdicts(a.b)
	var all sync.WaitGroup
	for range 1500 {
		all.Go(func() {
			if err := a.b.audit.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.SignIn}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return a
}

func onSQLite(c *Config) (driver, source string) {
	return "sqlite", c.path(c.Store.Path) + "?_pragma=busy_timeout(5000)"
}

func (a *audited) run(t *testing.T, query string) {
	t.Helper()
	if _, err := a.db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func (a *audited) messages(t *testing.T) (events []string) {
	t.Helper()
	list, err := a.b.store.WebhookMessages(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		events = append(events, m.Event)
	}
	return events
}

// after are the records after a number.
func (a *audited) after(t *testing.T, seq int64) (list []audit.Row) {
	t.Helper()
	list, err := a.b.store.AuditRows(t.Context(), seq, 100)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (a *audited) verdict(t *testing.T) *audit.Verdict {
	t.Helper()
	d, err := a.b.Verdict(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What the schedule, an administrator and the command find is the same, is kept for all of them, and is told once; on each
// database.
func TestAuditIsVerified(t *testing.T) {
	for name, change := range map[string]func(*Config) (string, string){"sqlite": onSQLite, "postgres": func(c *Config) (string, string) {
		dsn := testenv.Postgres(t).NewDatabase(t)
		c.Store = StoreConfig{Driver: "postgres", DSN: authn.Secret(dsn)}
		return "pgx", dsn
	}} {
		t.Run(name, func(t *testing.T) { testAuditIsVerified(t, newAudited(t, change)) })
	}
}

func testAuditIsVerified(t *testing.T, a *audited) {
	ctx := t.Context()
	due := func() { a.verifyIfDue(ctx, time.Nanosecond, "node") }
	if next := a.verifyIfDue(ctx, time.Hour, "node"); next != time.Hour {
		t.Errorf("the first: next in %s", next)
	}
	if next := a.verifyIfDue(ctx, time.Hour, "node"); next > time.Hour || next < 50*time.Minute {
		t.Errorf("one that is not due: next in %s", next)
	}
	d := a.verdict(t)
	if d == nil || !d.Holds || d.Records != 1500 || d.Last != 1500 || d.Actor != "schedule" || len(d.MAC) != 64 {
		t.Fatalf("%+v", d)
	}
	if list := a.after(t, 1500); len(list) != 1 || list[0].Action != audit.VerifyEnded || list[0].Kind != "ok" ||
		!strings.Contains(list[0].Detail, d.MAC) {
		t.Errorf("recorded %+v", list)
	}
	if at := gathered(t, a.live, "idbridge_audit_verified_timestamp_seconds"); at != float64(d.Ended.Unix()) || gathered(t, a.live,
		"idbridge_audit_broken") != 0 || gathered(t, a.live, "idbridge_audit_verified_records") != 1500 {
		t.Errorf("metrics: %v", at)
	}

	a.run(t, `UPDATE audit SET detail = 'forged' WHERE seq = 1200`)
	found, err := verifying{a.b}.Verify(ctx, "admin:ann", nil, func(int64, int64) {})
	if err != nil || found.Holds || found.Broken != 1200 || found.Reason != audit.Changed || found.Records != 1199 {
		t.Errorf("%+v, %v", found, err)
	}
	due()
	again := a.verdict(t)
	if !again.Same(found) || again.Text != found.Text || again.Actor != "schedule" {
		t.Errorf("the administrator: %+v; the schedule: %+v", found, again)
	}
	if said, err := a.b.verify(ctx, "os:root", nil, nil); err != nil || !said.Same(found) || said.Text != found.Text {
		t.Errorf("the command: %+v, %v", said, err)
	}
	if list := a.messages(t); !slices.Equal(list, []string{webhook.AuditBroken}) {
		t.Errorf("webhooks are told %q", list)
	}
	if list := a.after(t, 1501); len(list) != 1 || list[0].Kind != "untrusted" || list[0].Reason != audit.Changed || list[0].Actor != "schedule" {
		t.Errorf("recorded %+v", list)
	} else if event, is := webhook.EventOf(list[0].Record); is {
		t.Errorf("the record is %s a second time", event)
	}
	if gathered(t, a.live, "idbridge_audit_broken") != 1 || !strings.Contains(a.logged.String(), "level=ERROR") {
		t.Errorf("the metric, or the log, does not tell: %s", &a.logged)
	}

	a.run(t, `UPDATE audit SET detail = '' WHERE seq = 1200`)
	due()
	if d := a.verdict(t); !d.Holds || gathered(t, a.live, "idbridge_audit_broken") != 0 {
		t.Errorf("mended: %+v", d)
	}
	a.run(t, `UPDATE audit SET detail = 'forged' WHERE seq = 1200`)
	due()
	if list := a.messages(t); len(list) != 2 {
		t.Errorf("a finding after it held is another one: %q", list)
	}
	a.run(t, `UPDATE audit_head SET mac = purged_mac`)
	due()
	if d := a.verdict(t); d.Holds || d.Broken != 0 || d.Reason != audit.HeadChanged || len(a.messages(t)) != 3 {
		t.Errorf("an end that takes no records: %+v, %q", d, a.messages(t))
	}
}

// One node at a time does what is due; who is told to stop, or has lost the lease, stops at the next page, and nothing is kept.
func TestAuditIsVerifiedByOneNode(t *testing.T) {
	a := newAudited(t, onSQLite)
	ctx := t.Context()
	now := time.Now()
	if held, err := a.b.store.Lease(ctx, verifyLease, "other", now, now.Add(time.Hour)); !held || err != nil {
		t.Fatal(held, err)
	}
	if next := a.verifyIfDue(ctx, time.Hour, "node"); next != verifyAgain || a.verdict(t) != nil {
		t.Errorf("while another node is at it: next in %s, %+v", next, a.verdict(t))
	}
	if _, err := a.b.store.Lease(ctx, verifyLease, "other", now, now); err != nil {
		t.Fatal(err)
	}
	stopping, stop := context.WithCancel(ctx)
	begun := time.Now()
	if d, err := a.b.verify(stopping, "schedule", nil, paced(stopping, 1<<30, func(int64, int64) { stop() })); err == nil || !d.Ended.IsZero() {
		t.Errorf("told to stop: %+v, %v", d, err)
	}
	if took := time.Since(begun); took > longestRest/2 || a.verdict(t) != nil {
		t.Errorf("told to stop: took %s; kept %+v", took, a.verdict(t))
	}

	doing, lost := context.WithCancel(ctx)
	hold, err := a.b.holdLease(doing, "node", lost)
	if err != nil || hold == nil {
		t.Fatal(err)
	}
	if other, err := a.b.holdLease(ctx, "other", lost); other != nil || err != nil {
		t.Errorf("two nodes have the lease: %v", err)
	}
	hold(0, 0)
	if doing.Err() != nil {
		t.Error("the lease that is ours is taken for lost")
	}

	var runs sync.WaitGroup
	round, end := context.WithCancel(ctx)
	defer end()
	if _, err := a.b.store.Lease(ctx, verifyLease, "node", time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if list, err := a.recurring(Config{}); err != nil || len(list) > 0 { // 0: never
		t.Errorf("%+v, %v", list, err)
	}
	list, err := a.recurring(Config{Audit: AuditConfig{VerifyEvery: 10 * time.Millisecond}})
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	runs.Go(func() { list[0].keep(round, round) })
	wait(t, "the schedule", func() bool { return a.verdict(t) != nil })
	end()
	runs.Wait()
}
