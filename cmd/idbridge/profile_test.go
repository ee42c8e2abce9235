package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestProfiled(t *testing.T) {
	failed := errors.New("what was profiled failed")
	file := filepath.Join(t.TempDir(), "cpu.pprof")
	if err := profiled(file, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want the function's own error", err)
	}
	profile, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if gzip := []byte{0x1f, 0x8b}; !bytes.HasPrefix(profile, gzip) {
		t.Errorf("%d bytes that are no profile", len(profile))
	}
	ran := false
	if err := profiled("", func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("without a file: ran is %v, %v", ran, err)
	}
	nowhere := filepath.Join(t.TempDir(), "none", "cpu.pprof")
	if err := profiled(nowhere, func() error { t.Error("it ran"); return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that cannot be made: %v", err)
	}
}
