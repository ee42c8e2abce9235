package local

import (
	"errors"
	"fmt"
	"time"
)

// Config is what an administrator writes under a provider of type local.
type Config struct {
	AlwaysActive bool          `yaml:"always_active" doc:"true: the accounts may sign in at any time, not only when activated"`
	RotateAfter  time.Duration `yaml:"rotate_after" default:"90d" doc:"passwords older than this are warned of; 0: never"`
}

func (c Config) check() error {
	if c.RotateAfter < 0 {
		return errors.New("rotate_after: is negative")
	}
	return nil
}

func days(d time.Duration) string {
	n := int(d / (24 * time.Hour))
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}
