package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/idbridge/idbridge/store"
)

// TestReplaysAreRemembered by every node, and by one that was started anew.
func TestReplaysAreRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "idbridge.db")
	open := func() replays {
		s, err := store.Open(t.Context(), store.Config{Driver: store.SQLite, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return replays{s}
	}
	until := time.Now().Add(time.Hour)
	seen := func(on replays, provider, id string, want bool) {
		t.Helper()
		if first, err := on.Seen(t.Context(), provider, id, until); err != nil || first != want {
			t.Errorf("%s %s is shown for the first time: %v, %v; want %v", provider, id, first, err, want)
		}
	}
	one, two := open(), open()
	seen(one, "corp", "_1", true)
	seen(two, "corp", "_1", false)
	seen(two, "other", "_1", true)
	one.Close()
	two.Close()
	again := open()
	defer again.Close()
	seen(again, "corp", "_1", false)
	seen(again, "corp", "_2", true)
}
