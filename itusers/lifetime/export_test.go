package lifetime

import (
	"context"
	"time"
)

// SetSleep replaces the waits between tries.
func (c *Client) SetSleep(sleep func(context.Context, time.Duration)) { c.sleep = sleep }

// SetMost bounds answers.
func (c *Client) SetMost(n int64) { c.most = n }

// Own is the key of the token's account.
func (c *Client) Own() string { return c.own }
