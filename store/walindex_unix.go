//go:build unix

package store

import "syscall"

// walHeader is the header of the WAL index, as two copies of 48 bytes: https://www.sqlite.org/walformat.html. A writer
// changes one after the other, so that copies that differ are a change under way.
type walHeader [96]byte

// walIndex is the file beside the database that the processes share.
type walIndex struct{ fd int }

// openWALIndex opens the index of a database that a connection has open. It is never closed: a close of any descriptor
// ends all locks that the process has on the file, and SQLite's are on it (https://www.sqlite.org/howtocorrupt.html,
// section 2.2). That is one descriptor for each handle that a process has ever opened. Nil when it cannot be had.
func openWALIndex(path string) *walIndex {
	fd, err := syscall.Open(path+"-shm", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &walIndex{fd}
}

// header reads it; ok is false while it is being changed. A header is never all zeros: it begins with a version.
func (w *walIndex) header() (h walHeader, ok bool) {
	n, err := syscall.Pread(w.fd, h[:], 0)
	return h, err == nil && n == len(h) && [48]byte(h[:48]) == [48]byte(h[48:]) && h != walHeader{}
}
