package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/docs"
	"github.com/idbridge/idbridge/mfa"
)

func newExplain(s *settings) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "explain USER", Short: "See how a user would sign in, step by step, and what would keep them out",
		Long: `Goes through a sign-in as far as it needs no password: which provider the name belongs to, which account the directory
finds for it, what state that is in, failed attempts, the IT user, the second factor, and how it would end on each
environment. Write USER as the user would type it. Changes and counts nothing, and tries no password.

Asks the directory anew, while a running idbridge may remember an account for the provider's cache_ttl. Exit code 1
when the directory or the store does not answer.`,
		Example: "  idbridge explain ann\n  idbridge explain 'CORP\\ann'\n  idbridge explain ann@corp.example.com -o json",
		Args:    exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			b, err := openExisting(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer b.Close()
			told, err := b.explain(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return told.print(cmd.OutOrStdout(), output)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// explain asks the service that serve would run.
func (b *backend) explain(ctx context.Context, username string) (explained, error) {
	list, fallback, err := makeProviders(b.config, b.footing())
	if err != nil {
		return explained{}, err
	}
	service, err := newService(b, newMetrics(), slog.New(slog.DiscardHandler), list, fallback)
	if err != nil {
		return explained{}, err
	}
	var environments []authn.Environment
	for _, e := range b.config.Environments {
		environments = append(environments, e.core())
	}
	found := service.Explain(ctx, username, environments)
	told := explained{User: username}
	for _, r := range found.Remarks {
		told.Steps = append(told.Steps, explainedStep{r.About, r.Text, refusalOf(r.Err)})
	}
	var codes error
	if found.User.Enrolled {
		codes = b.explainCodes(ctx, &told, found.User)
	}
	for _, o := range found.Outcomes {
		told.Outcomes = append(told.Outcomes, outcomeOf(o, found.User, codes))
	}
	return told, nil
}

// explainCodes tells of wrong codes, which are counted apart from wrong passwords.
func (b *backend) explainCodes(ctx context.Context, told *explained, user authn.ITUser) error {
	seen, err := b.throttle.Look(ctx, mfa.ThrottleKey(user.Key))
	text := "none"
	if seen.Failures > 0 {
		text = fmt.Sprintf("%d, the last at %s", seen.Failures, seen.LastFailure.UTC().Format(time.RFC3339))
	}
	told.Steps = append(told.Steps, explainedStep{"wrong codes", text, refusalOf(err)})
	return err
}

// explained is what explain prints; its JSON is for programs.
type explained struct {
	User     string             `json:"user"`
	Steps    []explainedStep    `json:"steps"`
	Outcomes []explainedOutcome `json:"outcomes"`
}

type explainedStep struct {
	Step    string            `json:"step"`
	Found   string            `json:"found,omitempty"`
	Refused *explainedRefusal `json:"refused,omitempty"`
}

type explainedRefusal struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

type explainedOutcome struct {
	Environment string            `json:"environment"`
	Method      string            `json:"method"`
	Outcome     string            `json:"outcome"` // ok, code, refused or unknown
	ITUser      string            `json:"it_user,omitempty"`
	UserID      int32             `json:"user_id,omitempty"`
	Refused     *explainedRefusal `json:"refused,omitempty"`
}

// Outcomes; the first two are also what begins a line.
const (
	outcomeOK      = "ok"
	outcomeCode    = "code"
	outcomeRefused = "refused"
	outcomeUnknown = "unknown" // something did not answer
)

// outcomeOf judges one outcome. Who would be asked for a code may have too many wrong ones behind them.
func outcomeOf(o authn.Outcome, user authn.ITUser, codes error) explainedOutcome {
	e := explainedOutcome{Environment: o.Environment.Name, Method: o.Method, ITUser: user.Username, UserID: o.UserID}
	err := o.Err
	asked := authn.KindOf(err) == authn.CodeRequired && o.Method == authn.MethodCredentials
	if asked && codes != nil {
		asked, err = false, codes
	}
	switch kind := authn.KindOf(err); {
	case err == nil:
		e.Outcome = outcomeOK
	case asked:
		e.Outcome = outcomeCode
	case kind == authn.Unavailable || kind == authn.Internal:
		e.Outcome, e.Refused = outcomeUnknown, refusalOf(err)
	default:
		e.Outcome, e.Refused = outcomeRefused, refusalOf(err)
	}
	return e
}

// refusalOf is an error in the words of its cause and of docs/errors.md; nil for none.
func refusalOf(err error) *explainedRefusal {
	if err == nil {
		return nil
	}
	r := &explainedRefusal{Kind: authn.KindOf(err).String(), Reason: authn.ReasonOf(err)}
	said, _ := docs.Explain(r.Reason)
	r.Text, r.Advice = said.Happened, said.Advice
	var e *authn.Error
	if errors.As(err, &e) && e.Err != nil {
		r.Text = strings.ReplaceAll(withoutReasons(e.Err.Error()), "\n", "; ")
	}
	return r
}

func (e explained) print(w io.Writer, output string) error {
	if output == "json" {
		if err := show(w, output, nil, nil, e); err != nil {
			return err
		}
	} else {
		e.printText(w)
	}
	for _, o := range e.Outcomes {
		if o.Outcome == outcomeUnknown {
			return fmt.Errorf("%s: not everything that a sign-in asks answered (%s)", e.User, o.Refused.Reason)
		}
	}
	return nil
}

func (e explained) printText(w io.Writer) {
	var list []verdict
	for _, s := range e.Steps {
		v := verdict{Verdict: "ok", Check: s.Step, Text: s.Found}
		if s.Refused != nil {
			v.Verdict, v.Text = "stop", strings.TrimPrefix(s.Found+"\n"+s.Refused.line(), "\n")
		}
		list = append(list, v)
	}
	fmt.Fprintf(w, "%s, step by step\n", printable(e.User))
	printVerdicts(w, list)
	fmt.Fprintln(w, "\nWith the right password")
	printVerdicts(w, e.conclusions())
}

// conclusions are the outcomes; what is the same on several environments is said once.
func (e explained) conclusions() (list []verdict) {
	for _, o := range e.Outcomes {
		v := o.verdict()
		same := func(other verdict) bool { return other.Verdict == v.Verdict && other.Text == v.Text }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i].Check += ", " + v.Check
		} else {
			list = append(list, v)
		}
	}
	return list
}

func (r explainedRefusal) line() string {
	text := r.Reason + ": " + r.Text
	if r.Advice != "" {
		text += "\nto do: " + r.Advice
	}
	return text
}

func (o explainedOutcome) verdict() verdict {
	where := o.Environment
	if o.Method == authn.MethodIntegrated {
		where += " (integrated)"
	}
	as := "as " + o.ITUser
	if o.UserID != 0 {
		as += fmt.Sprintf(", id %d", o.UserID)
	}
	switch o.Outcome {
	case outcomeOK:
		return verdict{Verdict: "ok", Check: where, Text: "would be signed in " + as}
	case outcomeCode:
		return verdict{Verdict: "code", Check: where, Text: "would be signed in " + as + ", with a code typed directly behind the password; " +
			"without one, refused (code_missing)"}
	case outcomeUnknown:
		return verdict{Verdict: "?", Check: where, Text: "cannot be told, " + o.Refused.line()}
	}
	return verdict{Verdict: "stop", Check: where, Text: "would be refused, " + o.Refused.line()}
}
