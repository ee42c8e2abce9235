package itusers

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/idbridge/idbridge/authn"
)

// File is a source that is an import file, read anew in each run. Its problems refuse all of it, as they do in an import.
type File struct {
	Path         string
	Format       Format
	Environment  string   // whose ids a column id without environment holds
	Environments []string // the known ones
}

var _ Source = File{}

// Users implements Source. Unavailable (source_unreadable).
func (f File) Users(_ context.Context, take func(Listed) error) error {
	parsed, err := f.read()
	if err != nil {
		return err
	}
	for _, e := range parsed.users {
		l := Listed{Username: e.username, Name: e.name, Email: e.email, Active: e.active, IDs: make(map[string]int32, len(e.ids))}
		for environment, id := range e.ids {
			if id.number == 0 {
				return f.broken("line %d: an id of \"-\" is for imports; leave a source's id empty", id.line)
			}
			l.IDs[environment] = id.number
		}
		if err := take(l); err != nil {
			return err
		}
	}
	return nil
}

// Check implements Source.
func (f File) Check(context.Context) (string, error) {
	parsed, err := f.read()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d users", f.Path, len(parsed.users)), nil
}

func (f File) read() (*file, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return nil, f.broken("%w", err)
	}
	defer func() { _ = in.Close() }()
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, f.broken("%w", err)
	}
	parsed := parse(text, f.Format, Options{Environments: f.Environments, Environment: f.Environment})
	if n := len(parsed.problems); n > 0 {
		return nil, f.broken("%d problem(s), the first: %s", n, parsed.problems[0])
	}
	return parsed, nil
}

func (f File) broken(format string, args ...any) error {
	return authn.Errorf(authn.Unavailable, "source_unreadable", filepath.Base(f.Path)+": "+format, args...)
}
