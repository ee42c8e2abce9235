package audit_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

var key = bytes.Repeat([]byte{7}, 32)

// memory is a Store in memory, for what a database does not do when a test wants it. That the databases keep the
// interfaces' promises is tested in store.
type memory struct {
	mu   sync.Mutex
	head audit.Head
	rows []audit.Row

	enter func()       // called when a transaction begins
	fail  func() error // what a transaction returns although it was kept, or nothing
	err   error        // what a transaction returns that was not kept
	sizes []int        // how many records each transaction had
}

func (m *memory) AppendAudit(_ context.Context, link func(audit.Head) ([]audit.Row, audit.Head, error)) error {
	if m.enter != nil {
		m.enter()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rows, head, err := link(m.head)
	if err = errors.Join(err, m.err); err != nil {
		return err
	}
	m.rows, m.head, m.sizes = append(m.rows, rows...), head, append(m.sizes, len(rows))
	if m.fail != nil {
		return m.fail()
	}
	return nil
}

func (m *memory) PurgeAudit(
	_ context.Context, before time.Time, limit int, link func(audit.Head, audit.Row) (audit.Head, error),
) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < min(limit, len(m.rows)) && m.rows[n].Time.Before(before) {
		n++
	}
	if n == 0 {
		return 0, nil
	}
	head, err := link(m.head, m.rows[n-1])
	if err != nil {
		return 0, err
	}
	m.head, m.rows = head, m.rows[n:]
	return n, nil
}

func (m *memory) AuditHead(context.Context) (audit.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, nil
}

func (m *memory) AuditRows(_ context.Context, after int64, limit int) (rows []audit.Row, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if r.Seq > after && len(rows) < limit {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func newLog(t *testing.T, m *memory) *audit.Log {
	t.Helper()
	l, err := audit.New(m, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func wantVerified(t *testing.T, m *memory, records int64) {
	t.Helper()
	if v, err := audit.Verify(t.Context(), m, key, nil); err != nil || v.Records != records {
		t.Errorf("%+v, %v; want %d records", v, err, records)
	}
}

// Where the answer of a commit got lost, what is in the database decides: the record counts, and is not written twice.
func TestLostCommitReply(t *testing.T) {
	m := &memory{fail: func() error { return errors.New("the connection broke") }}
	l := newLog(t, m)
	for range 3 {
		must(t, l.Event(t.Context(), audit.Record{Time: time.Now()}))
	}
	wantVerified(t, m, 3)
}

// held is a Log whose first transaction has begun and waits for release; n further records wait for the next one.
func held(t *testing.T, m *memory, n int) (l *audit.Log, release func(), errs chan error) {
	t.Helper()
	began, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.enter = func() { once.Do(func() { close(began); <-gate }) }
	l = newLog(t, m)
	errs = make(chan error, n+1)
	event := func() { errs <- l.Event(context.Background(), audit.Record{Time: time.Now(), Action: audit.SignIn}) }
	go event()
	<-began
	for range n {
		go event()
	}
	waitUntil(t, func() bool { return l.Waiting() == n })
	return l, func() { close(gate) }, errs
}

func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came to pass")
		}
	}
}

func TestWaitingRecordsShareATransaction(t *testing.T) {
	m := &memory{}
	_, release, errs := held(t, m, 100)
	release()
	for range 101 {
		must(t, <-errs)
	}
	wantVerified(t, m, 101)
	if want := []int{1, 64, 36}; len(m.sizes) != 3 || m.sizes[1] != want[1] || m.sizes[2] != want[2] {
		t.Errorf("transactions of %v records, want %v", m.sizes, want)
	}
}

// Those whose records shared the last transaction are waited for, and nobody else is.
func TestThoseWhoCameTogetherAreWaitedFor(t *testing.T) {
	for _, c := range []struct {
		records, last int
		want          bool
	}{{1, 0, false}, {1, 1, false}, {1, 2, true}, {2, 2, false}, {63, 64, true}, {64, 64, false}} {
		if audit.Waits(c.records, c.last) != c.want {
			t.Errorf("%d records after %d: want to wait: %v", c.records, c.last, c.want)
		}
	}
}

// TestOneWhoStaysAwayIsMissedOnce has two callers share a transaction, of whom one goes on alone.
func TestOneWhoStaysAwayIsMissedOnce(t *testing.T) {
	m := &memory{}
	l, release, errs := held(t, m, 2)
	release()
	for range 3 {
		must(t, <-errs)
	}
	must(t, l.Event(t.Context(), audit.Record{Time: time.Now()}))
	l.GatherFor(time.Hour)
	must(t, l.Event(t.Context(), audit.Record{Time: time.Now()}))
	if want := []int{1, 2, 1, 1}; !slices.Equal(m.sizes, want) {
		t.Errorf("transactions of %v records, want %v", m.sizes, want)
	}
}

func TestAnErrorReachesEveryWaiter(t *testing.T) {
	m := &memory{err: authn.Errorf(authn.Unavailable, "store_full", "no room")}
	_, release, errs := held(t, m, 10)
	release()
	for range 11 {
		if err := <-errs; authn.ReasonOf(err) != "store_full" {
			t.Errorf("got %v, want store_full", err)
		}
	}
	if len(m.rows) != 0 {
		t.Errorf("%d rows", len(m.rows))
	}
}

// Who gives up before the record's transaction begins leaves nothing; who gives up later learns the outcome.
func TestGivingUp(t *testing.T) {
	m := &memory{}
	began, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.enter = func() { once.Do(func() { close(began); <-gate }) }
	l := newLog(t, m)
	ctx, hangUp := context.WithCancelCause(t.Context())
	event := func(id string) chan error {
		outcome := make(chan error, 1)
		go func() { outcome <- l.Event(ctx, audit.Record{Time: time.Now(), ID: id}) }()
		return outcome
	}
	first := event("begun")
	<-began
	second := event("waiting")
	waitUntil(t, func() bool { return l.Waiting() == 1 })
	why := errors.New("hung up")
	hangUp(why)
	if err := <-second; authn.ReasonOf(err) != "audit_wait" || authn.KindOf(err) != authn.Unavailable || !errors.Is(err, why) {
		t.Errorf("while waiting: %v, want audit_wait with the cause", err)
	}
	select {
	case err := <-first:
		t.Errorf("a record whose transaction had begun was left alone: %v", err)
	case <-time.After(50 * time.Millisecond): // an answer must not come before the release
	}
	close(gate)
	must(t, <-first)
	must(t, l.Event(t.Context(), audit.Record{Time: time.Now(), ID: "after"}))
	if len(m.rows) != 2 || m.rows[0].ID != "begun" || m.rows[1].ID != "after" {
		t.Errorf("%+v", m.rows)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	m := &memory{}
	l, release, errs := held(t, m, 200)
	closed := make(chan struct{})
	go func() { l.Close(); close(closed) }()
	waitUntil(t, l.Closing)
	release()
	for range 201 {
		must(t, <-errs)
	}
	<-closed
	wantVerified(t, m, 201)
	if err := l.Event(t.Context(), audit.Record{}); authn.ReasonOf(err) != "audit_closed" {
		t.Errorf("after Close: %v, want audit_closed", err)
	}
}

// A record of an event never restarts the chain, whatever it says it is.
func TestAnEventRestartsNothing(t *testing.T) {
	m := &memory{}
	l := newLog(t, m)
	for range 3 {
		must(t, l.Event(t.Context(), audit.Record{Time: time.Now(), Action: audit.Restarted, Detail: `{"from":0}`}))
	}
	if v, err := audit.Verify(t.Context(), m, key, nil); err != nil || len(v.Breaks) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	m.rows[0].Username = "eve"
	if _, err := audit.Verify(t.Context(), m, key, nil); authn.ReasonOf(err) != audit.Changed {
		t.Errorf("got %v, want changed", err)
	}
}

func TestWhatIsNeeded(t *testing.T) {
	if _, err := audit.New(&memory{}, key[:31]); err == nil {
		t.Error("a short key was taken")
	}
	for _, why := range []string{"", strings.Repeat("x", 501)} {
		if _, err := audit.Restart(t.Context(), &memory{}, key, "root", why); err == nil || authn.ReasonOf(err) == audit.NotBroken {
			t.Errorf("a reason of %d bytes: %v", len(why), err)
		}
	}
}

// TestVerifyRows finds what Verify finds, of single rows: also at the front of what was purged, and behind a restart.
func TestVerifyRows(t *testing.T) {
	m := &memory{}
	l := newLog(t, m)
	now := time.Now()
	for i := range 6 {
		must(t, l.Event(t.Context(), audit.Record{Time: now.Add(time.Duration(i-10) * time.Hour), Action: audit.SignIn}))
	}
	check := func(want ...string) {
		t.Helper()
		got, err := audit.VerifyRows(t.Context(), m, key, m.rows)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	check("", "", "", "", "", "")
	if _, err := l.Purge(t.Context(), now.Add(-9*time.Hour-time.Minute), "root"); err != nil {
		t.Fatal(err)
	}
	check("", "", "", "", "", "")
	m.rows[1].Username = "eve"
	check("", audit.Changed, "", "", "", "")
	m.rows = slices.Delete(m.rows, 2, 3)
	check("", audit.Changed, audit.Missing, "", "")
	if _, err := audit.Restart(t.Context(), m, key, "root", "an exercise"); err != nil {
		t.Fatal(err)
	}
	must(t, l.Event(t.Context(), audit.Record{Time: now, Action: audit.SignIn}))
	check("", audit.Changed, audit.Missing, "", "", "", "")
	m.rows[len(m.rows)-2].Actor = "eve"
	check("", audit.Changed, audit.Missing, "", "", audit.Changed, "")
	if got, err := audit.VerifyRows(t.Context(), m, bytes.Repeat([]byte{8}, 32), m.rows[3:4]); err != nil || got[0] != audit.Changed {
		t.Errorf("under another key: %v, %v", got, err)
	}
}
