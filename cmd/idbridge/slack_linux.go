package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

const (
	// timerSlack is how late the kernel may wake a thread of serve that sleeps. Timers of idbridge are for milliseconds and
	// more, and all refusals are late alike.
	timerSlack = time.Millisecond
	// usualSlack is what a process has for which nobody has set another one.
	usualSlack = 50 * time.Microsecond

	setTimerSlack, getTimerSlack = 29, 30 // prctl(2)
)

// restLonger begins the program anew, as the same process, with a coarser timer slack.
//
// While threads are in system calls that take long, as each flush of the audit does, Go's monitor thread sleeps for 20 µs
// at a time, and in a virtual machine waking up costs as much: at full load that was 8 to 16 % of our processor time
// (docs/performance.md). A thread has its slack from the one that made it, and Go makes that thread before it runs
// the first line of ours; so the slack has to be there before the program is.
//
// Whoever has set another slack (systemd: TimerSlackNSec) keeps theirs. Where it cannot be set, everything works as well,
// at a higher cost. So it does if main is not on the first thread any more, where it begins: only there the new program has
// what its starter has set for that thread, such as the signal for the starter's death.
func restLonger() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if syscall.Gettid() != os.Getpid() {
		return
	}
	slack, _, failed := syscall.RawSyscall(syscall.SYS_PRCTL, getTimerSlack, 0, 0)
	if failed != 0 || time.Duration(slack) != usualSlack {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	if _, _, failed = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, uintptr(timerSlack), 0); failed == 0 {
		_ = syscall.Exec(self, os.Args, os.Environ()) // returns only when it failed
	}
}
