package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/idbridge/idbridge/authn"
)

// maxGroup is how many writes share one transaction. Each waits for the ones before it, so more would only add latency.
const maxGroup = 64

// queueLength is how many writes wait before their callers wait to be let in.
const queueLength = 4 * maxGroup

// writer does all writes of one SQLite handle, on one connection and one goroutine: SQLite has one writer at a time,
// and a commit costs a disk flush whether it carries one write or many.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // of conn
	cache *cache               // may be nil
	seen  int64                // PRAGMA data_version after the last commit
	jobs  chan *job
	quit  chan struct{} // closed by close
	done  chan struct{} // closed when the goroutine has ended
	once  sync.Once
}

// job is one waiting write. Whoever moves its state away from waiting owns the outcome: the writer takes it or its
// caller gives it up.
type job struct {
	ctx     context.Context
	change  func(context.Context, *tx) error
	changed func(*cache) // told after the commit
	state   atomic.Int32
	outcome chan error // buffered
	err     error      // of change
	wrote   bool       // a statement of it changed a row
}

const (
	waiting int32 = iota
	taken
	givenUp
)

func newWriter(ctx context.Context, db *sql.DB, path string) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, explain(err)
	}
	w := &writer{
		db: db, conn: conn, stmts: map[string]*sql.Stmt{},
		jobs: make(chan *job, queueLength), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if w.seen, err = w.dataVersion(ctx); err != nil {
		return nil, explain(err)
	}
	w.cache = newCache(path)
	go w.loop()
	return w, nil
}

var errClosed = authn.Errorf(authn.Unavailable, "store_unavailable", "the store is closed")

// do hands a write to the writer and waits for its outcome.
func (w *writer) do(ctx context.Context, changed func(*cache), change func(context.Context, *tx) error) error {
	j := &job{ctx: ctx, change: change, changed: changed, outcome: make(chan error, 1)}
	select {
	case w.jobs <- j:
	case <-w.done:
		return errClosed
	case <-ctx.Done():
		return gaveUp(ctx)
	}
	select {
	case err := <-j.outcome:
		return err
	case <-w.done:
	case <-ctx.Done():
	}
	if j.state.CompareAndSwap(waiting, givenUp) {
		if ctx.Err() != nil {
			return gaveUp(ctx)
		}
		return errClosed
	}
	return <-j.outcome // it has begun: the truth is worth the wait
}

func gaveUp(ctx context.Context) error {
	return authn.Errorf(authn.Unavailable, "store_busy", "waiting for earlier writes: %w", context.Cause(ctx))
}

// close lets the writes that are waiting finish.
func (w *writer) close() error {
	w.once.Do(func() { close(w.quit) })
	<-w.done
	return errors.Join(w.conn.Close(), w.db.Close())
}

func (w *writer) loop() {
	defer close(w.done)
	for {
		select {
		case j := <-w.jobs:
			w.group(j)
		case <-w.quit:
			select {
			case j := <-w.jobs:
				w.group(j)
				continue
			default:
				return
			}
		}
	}
}

// group commits the first write together with all others that are waiting by the time the transaction has begun.
func (w *writer) group(first *job) {
	ctx := context.Background() // an interrupted statement would undo the other writes of the group
	jobs := []*job{first}
	if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		w.answer(w.claim(jobs), err)
		return
	}
	jobs = w.claim(w.collect(jobs))
	for _, j := range jobs {
		if err := w.one(ctx, j, len(jobs) == 1); err != nil {
			w.fail(ctx, jobs, err)
			return
		}
	}
	if err := w.exec(ctx, "COMMIT"); err != nil {
		w.cache.lost()
		w.fail(ctx, jobs, err)
		return
	}
	w.committed(ctx, jobs)
	for _, j := range jobs {
		j.outcome <- j.err
	}
}

// committed tells the cache what the jobs have changed.
func (w *writer) committed(ctx context.Context, jobs []*job) {
	if w.cache == nil {
		return
	}
	var c commit
	for _, j := range jobs {
		if j.err == nil { // else it was undone
			c.tell = append(c.tell, j.changed)
			c.wrote = c.wrote || j.wrote
		}
	}
	c.header, c.known = w.cache.header()
	version, err := w.dataVersion(ctx)
	c.alone = err == nil && version == w.seen
	w.seen = version
	w.cache.committed(c)
}

// dataVersion is a number that only commits of other connections change.
func (w *writer) dataVersion(ctx context.Context) (n int64, err error) {
	stmt, err := w.prepared(ctx, "PRAGMA data_version")
	if err == nil {
		err = stmt.QueryRowContext(ctx).Scan(&n)
	}
	return n, err
}

func (w *writer) collect(jobs []*job) []*job {
	for len(jobs) < maxGroup {
		select {
		case j := <-w.jobs:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// claim keeps the writes whose callers have not given up.
func (w *writer) claim(jobs []*job) []*job {
	claimed := jobs[:0]
	for _, j := range jobs {
		if j.ctx.Err() == nil && j.state.CompareAndSwap(waiting, taken) {
			claimed = append(claimed, j)
		}
	}
	return claimed
}

// one runs a single write in its own savepoint, so that its error undoes nothing but itself. The error returned is one
// of the transaction as a whole: a write that is alone in it needs no savepoint.
func (w *writer) one(ctx context.Context, j *job, alone bool) error {
	if alone {
		j.err = w.call(ctx, j)
		return j.err
	}
	if err := w.exec(ctx, "SAVEPOINT one"); err != nil {
		return err
	}
	if j.err = w.call(ctx, j); j.err != nil {
		if err := w.exec(ctx, "ROLLBACK TO one"); err != nil {
			return err
		}
	}
	return w.exec(ctx, "RELEASE one")
}

// call turns a panic into an error: one bug must not end every write of the process.
func (w *writer) call(ctx context.Context, j *job) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = authn.Errorf(authn.Internal, "panic", "panic in a write: %v\n%s", v, debug.Stack())
		}
	}()
	values := context.WithoutCancel(j.ctx)
	return j.change(values, &tx{
		query: func(query string) (querier, error) {
			stmt, err := w.prepared(ctx, query)
			if err != nil {
				return nil, err
			}
			return stmt.QueryContext, nil
		},
		run: func(ctx context.Context, query string, args ...any) (sql.Result, error) {
			stmt, err := w.prepared(ctx, query)
			if err != nil {
				return nil, err
			}
			res, err := stmt.ExecContext(ctx, args...)
			if err == nil {
				n, _ := res.RowsAffected()
				j.wrote = j.wrote || n > 0
			}
			return res, err
		},
	})
}

// fail undoes the whole transaction and tells every write of it: its own error where it had one, else what went wrong.
func (w *writer) fail(ctx context.Context, jobs []*job, err error) {
	_ = w.exec(ctx, "ROLLBACK") // SQLite may have rolled back by itself
	w.answer(jobs, err)
}

func (w *writer) answer(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err != nil {
			j.outcome <- j.err
			continue
		}
		j.outcome <- explain(fmt.Errorf("writing: %w", err))
	}
}

func (w *writer) exec(ctx context.Context, query string) error {
	stmt, err := w.prepared(ctx, query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(ctx)
	return err
}

func (w *writer) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = stmt
	return stmt, nil
}
