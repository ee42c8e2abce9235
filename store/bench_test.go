package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/store"
)

// BenchmarkSignIn is what one sign-in costs here: the attempts read, the IT user found, the audit record durable; 16
// callers. cpu-us/op is the process's time on all cores, records/tx how many records share a transaction.
func BenchmarkSignIn(b *testing.B) {
	s, err := store.Open(b.Context(), store.Config{Driver: store.SQLite, Path: filepath.Join(b.TempDir(), "x.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const users = 1000
	benchUsers(b, s, users)
	counting := &counted{Store: s}
	l, err := audit.New(counting, auditKey)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var next atomic.Int64
	b.SetParallelism(16 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := signIn(s, l, int(next.Add(1)%users)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/float64(counting.n.Load()), "records/tx")
}

func signIn(s *store.Store, l *audit.Log, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // as a request has
	defer cancel()
	name := fmt.Sprintf("user%05d", i)
	if _, err := s.Attempts(ctx, "subject:corp:"+name); err != nil {
		return err
	}
	u, err := s.FindLinked(ctx, "corp", name, "production")
	if err != nil || u.UserID == 0 {
		return fmt.Errorf("%+v: %w", u, err)
	}
	return l.Record(ctx, authn.Decision{
		ID: "0123456789abcdef", Time: time.Now(), Username: name, Environment: "production", Provider: "corp",
		Subject: name, ITUser: u.Username, Kind: authn.OK, Factors: []string{"password"},
	})
}

func benchUsers(b *testing.B, s *store.Store, n int) {
	b.Helper()
	for i := range n {
		name := fmt.Sprintf("user%05d", i)
		err := s.ChangeUser(b.Context(), name, func(u *itusers.User) error {
			u.Key, u.Username, u.Active, u.IDs = "k-"+name, name, true, map[string]int32{"production": int32(i + 1)}
			u.Links = []itusers.Link{{Provider: "corp", Subject: name, Username: name, Since: began}}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// counted counts the audit's transactions.
type counted struct {
	*store.Store
	n atomic.Int64
}

func (c *counted) AppendAudit(ctx context.Context, link func(audit.Head) ([]audit.Row, audit.Head, error)) error {
	c.n.Add(1)
	return c.Store.AppendAudit(ctx, link)
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
