package main

import (
	"errors"
	"os"
	"runtime/pprof"
)

// profiled runs f while the processor time of the whole program is written to a file, for go tool pprof. It is for
// whoever works on idbridge's speed; docs/performance.md tells how. No file, no cost.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
