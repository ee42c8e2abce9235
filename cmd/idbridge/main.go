// Command idbridge answers the platform's question "who is this?".
//
// This package is the program around the others: commands, the configuration's format, the table of providers, wiring,
// listeners and shutdown. What signing in means, how a directory is asked and where rows are kept is decided elsewhere.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
)

// linked is the version that make build puts in.
var linked string

// version is what make build put in, or else what go build or go install knows.
func version() string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func main() {
	if slices.Contains(os.Args[1:], "serve") {
		restLonger()
	}
	ctx, end := context.WithCancel(context.Background())
	go obey(end)
	os.Exit(Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// obey lets the first signal end the work in good order, and the second end the program at once, however soon it comes.
func obey(end func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	end()
	<-signals
	os.Exit(exitFailed)
}
