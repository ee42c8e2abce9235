package lifetime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// do does the tasks, one after the other. A user whom LifeTime refuses is left; anything else ends the run.
func (w *work) do(ctx context.Context) error {
	for i, t := range w.tasks {
		w.tell(itusers.Progress{Stage: "writing to LifeTime", Done: i, Total: len(w.tasks)})
		err := w.task(ctx, t)
		switch {
		case err == nil && w.Changed != nil:
			err = w.Changed(context.WithoutCancel(ctx), w.run, t.row.Username, string(t.row.Action)+": "+strings.Join(t.row.What, ", "))
		case authn.ReasonOf(err) == reasonRejected:
			w.takeBack(t, err)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("after %d of %d users: %w", i, len(w.tasks), err)
		}
	}
	return nil
}

// takeBack corrects the report of a task that LifeTime refused.
func (w *work) takeBack(t task, why error) {
	i := slices.IndexFunc(w.report.Rows, func(r itusers.RunRow) bool { return r.Username == t.row.Username && r.Action == t.row.Action })
	if i >= 0 {
		w.report.Rows = slices.Delete(w.report.Rows, i, i+1)
	}
	switch t.row.Action {
	case itusers.RowAdded:
		w.report.Added--
	case itusers.RowDeactivated:
		w.report.Deactivated--
	default:
		w.report.Changed--
	}
	w.refuse(t.row.Username, reasonRejected, why.Error())
}

// task does one task. Before a user is made, the ledger knows that it is going to be: when the answer is lost, the next run
// knows the user as its own.
func (w *work) task(ctx context.Context, t task) error {
	if t.before == nil {
		if err := w.keep(ctx, Provisioned{Provider: t.entry.Provider, Subject: t.entry.Subject, Username: t.entry.Username}); err != nil {
			return err
		}
		key, err := w.Client.Create(ctx, t.after)
		if authn.ReasonOf(err) == reasonRejected { // so who is made there under this name later is somebody else's
			return errors.Join(err, w.Ledger.DropProvisioned(ctx, w.run.ID, w.Target, t.entry))
		}
		if err != nil {
			return err
		}
		t.after.Key, t.entry.Key = key, key
	} else if len(w.differences(*t.before, t.after)) > 0 {
		if err := w.Client.Update(ctx, t.after); err != nil {
			return err
		}
	}
	if err := w.keep(ctx, t.entry); err != nil {
		return err
	}
	for _, team := range t.leave {
		if err := w.Client.Leave(ctx, team, t.after.Key); err != nil {
			return err
		}
	}
	for team, role := range t.join {
		if err := w.Client.Join(ctx, team, t.after.Key, role); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) keep(ctx context.Context, p Provisioned) error {
	if err := w.Ledger.PutProvisioned(ctx, w.run.ID, w.Target, p); err != nil {
		return fmt.Errorf("remembering %q: %w", p.Username, err)
	}
	return nil
}
