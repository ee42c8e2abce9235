package insight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/docs"
)

// Story is what happened under one correlation id, in words.
type Story struct {
	ID       string       `json:"id"`
	Records  []audit.Row  `json:"-"`        // all under the id, oldest first
	Of       audit.Record `json:"-"`        // of them, the one that is told
	Title    string       `json:"title"`    // one sentence
	Way      string       `json:"way"`      // how it was signed in; empty when the records are about something else
	Steps    []Step       `json:"steps"`    // in the order in which they are checked
	Happened string       `json:"happened"` // the reason in words, from docs/errors.md; empty when nothing was refused
	Advice   string       `json:"advice"`   // what to do about it
	Message  *Message     `json:"message"`  // of the identity provider, where its log has one that fits
	Near     []audit.Row  `json:"-"`        // what else the same person did within a quarter of an hour, newest first
}

// Step is one check.
type Step struct {
	Check   string  `json:"check"`
	Outcome Outcome `json:"outcome"`
	Text    string  `json:"text"`
	Said    string  `json:"-"` // what Text says, by name, for other languages; empty: nothing, or why it was refused
	About   string  `json:"-"` // what that is said of
}

// Outcome of a Step.
type Outcome string

// Outcomes.
const (
	Passed     Outcome = "passed"
	Ended      Outcome = "ended"       // here the sign-in was refused
	NotReached Outcome = "not reached" // it was over before
)

// Message is a line of the log of SAML messages.
type Message struct {
	At        time.Time `json:"at"`
	Type      string    `json:"type"`
	Message   string    `json:"message"` // its own id
	Answers   string    `json:"answers"` // the id of the one it answers
	Reason    string    `json:"reason"`
	Direction string    `json:"direction"`
}

// Messages finds lines of the log of SAML messages.
type Messages interface {
	// SAMLMessagesBetween returns the messages that came from an identity provider between two times, newest first.
	SAMLMessagesBetween(ctx context.Context, provider string, from, until time.Time) ([]Message, error)
}

// ErrNoRecord is the error of Explain when there is no record under the id.
var ErrNoRecord = fmt.Errorf("no record has this correlation id")

// around is how far other records of the same person may be away.
const around = 15 * time.Minute

// Explain tells what happened under a correlation id. messages may be nil. ErrNoRecord, Unavailable.
func (s Searcher) Explain(ctx context.Context, id string, messages Messages) (Story, error) {
	if id == "" {
		return Story{}, ErrNoRecord
	}
	page, err := s.Search(ctx, Query{ID: id, Limit: MaxLimit})
	if err != nil {
		return Story{}, err
	}
	if len(page.Records) == 0 {
		return Story{}, ErrNoRecord
	}
	rows := page.Records
	for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
		rows[i], rows[j] = rows[j], rows[i]
	}
	main := decision(rows)
	story := Tell(main)
	story.Records = rows
	if story.Near, err = s.near(ctx, main); err != nil {
		return Story{}, err
	}
	story.Message, err = fitting(ctx, messages, main)
	return story, err
}

// decision is the record that the story is about: the last one of a sign-in, or else the last.
func decision(rows []audit.Row) audit.Record {
	for i := len(rows) - 1; i >= 0; i-- {
		if _, ok := journeyOf(rows[i].Record); ok {
			return rows[i].Record
		}
	}
	return rows[len(rows)-1].Record
}

// near is what else the person did about that time.
func (s Searcher) near(ctx context.Context, r audit.Record) (rows []audit.Row, err error) {
	user := known(r.ITUser, r.Username)
	if user == "" {
		return nil, nil
	}
	page, err := s.Search(ctx, Query{User: user, From: r.Time.Add(-around), Until: r.Time.Add(around), Limit: 21})
	for _, row := range page.Records {
		if row.ID != r.ID {
			rows = append(rows, row)
		}
	}
	return rows[:min(len(rows), 20)], err
}

// fitting is the answer of an identity provider that a sign-in was decided by: it came while that went on, and was refused
// for the same reason or not at all.
func fitting(ctx context.Context, messages Messages, r audit.Record) (*Message, error) {
	if messages == nil || !(Class{Action: r.Action}).SignIn() || r.Provider == "" {
		return nil, nil
	}
	list, err := messages.SAMLMessagesBetween(ctx, r.Provider, r.Time.Add(-time.Second), r.Time.Add(r.Duration+time.Second))
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.Reason == r.Reason || m.Reason == "" && byIdP.ended(r) > byIdP.at(checkVouched.name) {
			return &m, nil
		}
	}
	return nil, nil
}

// Tell puts one record into words.
func Tell(r audit.Record) Story {
	story := Story{ID: r.ID, Of: r, Title: title(r)}
	if r.Kind != authn.OK.String() {
		explained, _ := docs.Explain(r.Reason)
		story.Happened, story.Advice = sentence(explained.Happened), explained.Advice
	}
	j, ok := journeyOf(r)
	if !ok {
		return story
	}
	story.Way = j.name
	end := len(j.checks)
	if r.Kind != authn.OK.String() {
		end = j.ended(r)
	}
	if end < 0 { // nobody knows where: nothing is claimed
		story.Steps = []Step{{Check: "decision", Outcome: Ended, Text: refusal(r, story.Happened)}}
		return story
	}
	for i, c := range j.checks {
		passed := c.passed(r)
		step := Step{c.name, Passed, passed.String(), passed.name, passed.of}
		switch {
		case c.name == checkRecord.name && i != end: // there is a record, or there were no story
		case i == end:
			step = Step{Check: c.name, Outcome: Ended, Text: refusal(r, story.Happened)}
		case i > end:
			step = Step{Check: c.name, Outcome: NotReached}
		}
		if c.name == checkInvite.name && i != end {
			continue // few sign-ins have it
		}
		story.Steps = append(story.Steps, step)
	}
	return story
}

func refusal(r audit.Record, happened string) string {
	text := known(happened, "Refused.")
	return fmt.Sprintf("%s (%s, %s)", strings.TrimSuffix(text, "."), r.Kind, r.Reason)
}

// title is a record as one sentence.
func title(r audit.Record) string {
	who := known(r.ITUser, r.Username)
	if who != "" {
		who = fmt.Sprintf(" %q", who)
	}
	if r.ITUser != "" && authn.FoldName(r.Username) != authn.FoldName(r.ITUser) && r.Username != "" {
		who += fmt.Sprintf(" (typed as %q)", r.Username)
	}
	at := ""
	if r.Environment != "" {
		at = " at " + r.Environment
	}
	by := ""
	if r.Actor != "" {
		by = ", by " + r.Actor
	}
	outcome := "refused, " + r.Reason
	if r.Kind == authn.OK.String() {
		outcome = "granted"
		if !(Class{Action: r.Action}).SignIn() {
			outcome = "done"
		}
	}
	return fmt.Sprintf("%s of%s%s%s: %s", r.Action, known(who, " nobody known"), at, by, outcome)
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
