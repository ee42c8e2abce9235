package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idbridge/idbridge/authn"
)

const (
	maxBatch      = 64
	queue         = 16 * maxBatch
	gatherTime    = 2 * time.Millisecond
	commitTimeout = 10 * time.Second
	purgeBatch    = 5000
)

// Log appends records. Callers that come while one transaction commits share the next one. It is safe for concurrent
// use, also with other processes on the same database.
type Log struct {
	store  Store
	key    []byte
	macer  *macer // of the goroutine
	jobs   chan *entry
	last   int           // of the goroutine: how many records shared the last transaction
	gather time.Duration // how long so many of them are waited for
	batch  batch         // of the goroutine
	late   *time.Timer   // of the goroutine
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
}

var _ authn.Auditor = (*Log)(nil)

// entry is one waiting record. Whoever moves its state away from 0 owns the outcome: 1 the log, 2 its caller.
type entry struct {
	record  Record
	state   atomic.Int32
	outcome chan error
}

// batch are the records that share a transaction. Its space is used again for the next one.
type batch struct {
	entries []*entry
	records []Record
}

func (b *batch) add(e *entry) {
	b.entries, b.records = append(b.entries, e), append(b.records, e.record)
}

func (b *batch) clear() {
	clear(b.entries)
	clear(b.records)
	b.entries, b.records = b.entries[:0], b.records[:0]
}

// New starts a Log; key is the chain's, of 32 bytes or more. Close ends it.
func New(store Store, key []byte) (*Log, error) {
	if store == nil || len(key) < 32 {
		return nil, errors.New("audit: a store and a key of at least 32 bytes are needed")
	}
	l := &Log{
		store: store, key: key, macer: newMacer(key), gather: gatherTime,
		late: time.NewTimer(0), jobs: make(chan *entry, queue), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go l.loop()
	return l, nil
}

// Record implements authn.Auditor.
func (l *Log) Record(ctx context.Context, d authn.Decision) error {
	return l.Event(ctx, FromDecision(d))
}

var errClosed = authn.Errorf(authn.Unavailable, "audit_closed", "the audit log is closed")

// Event appends a record and returns when it is durable. On an error it was not written, unless the database was lost
// while it committed. When ctx ends before the record's transaction begins, it is not written; afterwards Event waits.
// Unavailable, or Internal (wrong_key, head_changed) when the chain cannot be continued.
func (l *Log) Event(ctx context.Context, r Record) error {
	r.normalise()
	e := &entry{record: r, outcome: make(chan error, 1)}
	select {
	case l.jobs <- e:
	case <-l.done:
		return errClosed
	case <-ctx.Done():
		return gaveUp(ctx)
	}
	select {
	case err := <-e.outcome:
		return err
	case <-l.done:
	case <-ctx.Done():
	}
	if e.state.CompareAndSwap(0, 2) {
		if ctx.Err() != nil {
			return gaveUp(ctx)
		}
		return errClosed
	}
	return <-e.outcome
}

func gaveUp(ctx context.Context) error {
	return authn.Errorf(authn.Unavailable, "audit_wait", "waiting for earlier records: %w", context.Cause(ctx))
}

// Close lets the records that are waiting be written.
func (l *Log) Close() {
	l.once.Do(func() { close(l.quit) })
	<-l.done
}

func (l *Log) loop() {
	defer close(l.done)
	for {
		select {
		case e := <-l.jobs:
			l.write(e)
		case <-l.quit:
			select {
			case e := <-l.jobs:
				l.write(e)
				continue
			default:
				return
			}
		}
	}
}

// write writes the first record together with all others that are waiting.
func (l *Log) write(first *entry) {
	b := &l.batch
	defer b.clear()
	l.late.Reset(l.gather)
	for e := first; e != nil; e = l.next(len(b.entries), l.late.C) {
		if e.state.CompareAndSwap(0, 1) {
			b.add(e)
		}
	}
	l.late.Stop()
	l.last = len(b.entries)
	if len(b.entries) == 0 {
		return
	}
	err := l.commit(b.records)
	for _, e := range b.entries {
		e.outcome <- err
	}
}

// next is another record that waits; nil when it is time to commit. A commit costs the same for one record as for many, and
// under load the callers of the batch before are about to come again. So everybody who is ready to run gets a turn first,
// and as many records as shared the last transaction are waited for, a moment. Who comes alone does not wait.
func (l *Log) next(n int, late <-chan time.Time) *entry {
	if n >= maxBatch {
		return nil
	}
	if len(l.jobs) == 0 {
		runtime.Gosched()
	}
	select {
	case e := <-l.jobs:
		return e
	default:
	}
	if n >= l.last {
		return nil
	}
	select {
	case e := <-l.jobs:
		return e
	case <-late:
		return nil
	}
}

// commit writes records in one transaction. Where its outcome got lost on the way back, the chain itself tells: nobody
// else could have made the last row's MAC.
func (l *Log) commit(records []Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	var last Row
	err := l.store.AppendAudit(ctx, func(h Head) ([]Row, Head, error) {
		rows, h, err := l.macer.link(h, records)
		if err == nil {
			last = rows[len(rows)-1]
		}
		return rows, h, err
	})
	if err == nil || last.Seq == 0 {
		return err
	}
	kept, readErr := l.store.AuditRows(ctx, last.Seq-1, 1)
	if readErr == nil && len(kept) == 1 && sameMAC(kept[0].MAC, last.MAC) {
		return nil
	}
	return err
}

// Purge removes records older than a time, from the front of the chain, and records that it did. It returns how many.
func (l *Log) Purge(ctx context.Context, before time.Time, actor string) (int, error) {
	total, m := 0, newMacer(l.key)
	var last int64
	for {
		n, err := l.store.PurgeAudit(ctx, before, purgeBatch, func(h Head, row Row) (Head, error) {
			last = row.Seq
			return m.purge(h, row)
		})
		total += n
		if err != nil || n == 0 {
			return total, errors.Join(err, l.recordPurge(ctx, total, last, actor))
		}
	}
}

func (l *Log) recordPurge(ctx context.Context, n int, last int64, actor string) error {
	if n == 0 {
		return nil
	}
	return l.Event(ctx, Record{Time: time.Now(), Action: Purged, Actor: actor, Kind: authn.OK.String(),
		Detail: fmt.Sprintf("%d records, up to number %d", n, last)})
}
