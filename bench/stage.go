package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// stage is what testenv's servers need of a test: folders and a way to be ended.
type stage struct {
	dir      string
	mu       sync.Mutex
	cleanups []func()
	failed   error
}

// Helper does nothing here.
func (s *stage) Helper() {}

// Error remembers a failure that is reported at the end.
func (s *stage) Error(args ...any) { s.failed = errors.Join(s.failed, errors.New(fmt.Sprint(args...))) }

// Fatal ends the preparation.
func (s *stage) Fatal(args ...any) { panic(errFatal{fmt.Sprint(args...)}) }

// Fatalf ends the preparation.
func (s *stage) Fatalf(format string, args ...any) { panic(errFatal{fmt.Sprintf(format, args...)}) }

// TempDir is a folder that is removed at the end.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "idbridge-bench-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Cleanup is called at the end, the last one first.
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

func (s *stage) end() error {
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	return s.failed
}
