package ldap

import (
	"context"
	"fmt"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// shownGroups is how many groups are named to an administrator; their number is told in any case.
const shownGroups = 20

// Explain tells how the directory finds a user and what it says of the account, without a password and not from the
// cache. What only a bind shows is not in it: an expired password, for instance.
func (d *directory) Explain(ctx context.Context, username string) (a authn.Account, told []authn.Remark, err error) {
	if err := checkName(username); err != nil {
		return a, nil, d.by(err)
	}
	told = append(told, authn.Remark{About: "filter",
		Text: fmt.Sprintf("%s below %s (scope %s)", d.userFilter(username), d.config.BaseDN, d.config.Scope)})
	var server string
	err = d.searching(ctx, func(ctx context.Context, c *conn) (err error) {
		server = c.server.url
		a, err = d.searchOn(ctx, c, username)
		return err
	})
	if server != "" {
		told = append(told, authn.Remark{About: "server", Text: server})
	}
	if err != nil {
		return a, told, d.by(err)
	}
	told = append(append(told, authn.Remark{About: "DN", Text: a.Ref}), a.Remarks()...)
	told = append(told, d.explainState(ctx, a.Ref))
	if d.config.Groups.Source != groupsNone {
		told = append(told, TellGroups(a.Groups))
	}
	return a, told, nil
}

func (d *directory) explainState(ctx context.Context, dn string) authn.Remark {
	state := authn.Remark{About: "account", Text: "not locked by the password policy", Err: d.checkState(ctx, dn)}
	if state.Err == nil && d.config.DisabledFilter != "" {
		state.Text += ", and not disabled: it does not match " + d.config.DisabledFilter
		state.Err = d.checkEnabled(ctx, dn)
	}
	if state.Err != nil {
		state.Text, state.Err = "", d.by(state.Err)
	}
	return state
}

// TellGroups puts the names of groups into a Remark.
func TellGroups(names []string) authn.Remark {
	text := fmt.Sprintf("%d", len(names))
	if len(names) > 0 {
		text += ": " + strings.Join(names[:min(len(names), shownGroups)], "; ")
	}
	if len(names) > shownGroups {
		text += "; ..."
	}
	return authn.Remark{About: "groups", Text: text}
}
