package admin

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// User is an IT user in a list.
type User struct {
	Username     string           `json:"username" doc:"as the platform spells it; unique without regard to case"`
	Name         string           `json:"name"`
	Email        string           `json:"email"`
	Active       bool             `json:"active" doc:"false: may not sign in"`
	IDs          map[string]int32 `json:"ids" doc:"the user's id by environment"`
	Links        []Link           `json:"links" doc:"accounts that are this IT user, one at most for each provider"`
	SecondFactor bool             `json:"second_factor"`
}

// Link says that an account is an IT user.
type Link struct {
	Provider string    `json:"provider"`
	Subject  string    `json:"subject" doc:"never changes and is never given to another person"`
	Account  string    `json:"account" doc:"the account's name when it was linked"`
	Since    time.Time `json:"since"`
}

// UserDetail is an IT user with everything that hangs on them.
type UserDetail struct {
	User
	Devices       []Device  `json:"devices"`
	RecoveryCodes int       `json:"recovery_codes" doc:"unused ones"`
	Tokens        []Token   `json:"tokens" doc:"sign-in tokens that are not over"`
	Sessions      []Session `json:"sessions" doc:"browsers that are signed in"`
	Blocks        []Block   `json:"blocks" doc:"limits of failed attempts that keep the user out now"`
	SignIns       []SignIn  `json:"sign_ins" doc:"the newest, newest first"`
}

// Device is an authenticator.
type Device struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Since    time.Time `json:"since"`
	LastUsed time.Time `json:"last_used"`
}

// Token is a sign-in token, without the token.
type Token struct {
	ID           string     `json:"id"`
	Environments []string   `json:"environments" doc:"empty: all"`
	Made         time.Time  `json:"made"`
	LastUsed     *time.Time `json:"last_used"`
	Expires      time.Time  `json:"expires"`
}

// Session is a browser that is signed in.
type Session struct {
	ID      string    `json:"id"`
	Door    string    `json:"door" enum:"portal,admin"`
	Agent   string    `json:"agent" doc:"how the browser calls itself"`
	Source  string    `json:"source"`
	Since   time.Time `json:"since"`
	Seen    time.Time `json:"seen"`
	Expires time.Time `json:"expires"`
}

// Block is a limit that keeps a user out.
type Block struct {
	What     string    `json:"what" enum:"password,code,token"`
	Provider string    `json:"provider" doc:"of the password"`
	Failures int       `json:"failures"`
	Until    time.Time `json:"until"`
}

// SignIn is a sign-in, granted or refused.
type SignIn struct {
	Time        time.Time `json:"time"`
	Door        string    `json:"door" enum:"portal,plugin"`
	Environment string    `json:"environment"`
	Kind        string    `json:"kind" doc:"ok, or the kind of refusal"`
	Reason      string    `json:"reason"`
	Source      string    `json:"source"`
}

// UserPage is a page of a list.
type UserPage struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty" doc:"the cursor of the page that follows; absent: there is none"`
}

// NewUser is an IT user to be added.
type NewUser struct {
	Username string `json:"username"`
	UserChange
}

// UserChange says what becomes of an IT user; what is absent stays.
type UserChange struct {
	Name   *string           `json:"name,omitempty"`
	Email  *string           `json:"email,omitempty"`
	Active *bool             `json:"active,omitempty"`
	IDs    map[string]*int32 `json:"ids,omitempty" doc:"by environment; null removes the id there"`
}

// LinkTo names the account that a user is to be linked to.
type LinkTo struct {
	Account string `json:"account,omitempty" doc:"its name at the provider, where names can be looked up"`
	Subject string `json:"subject,omitempty" doc:"where they cannot"`
}

// Invitation is an enrolment code, shown once.
type Invitation struct {
	Code    string    `json:"code"`
	Expires time.Time `json:"expires"`
}

// Count says how many things an action met.
type Count struct {
	Count int `json:"count"`
}

func userOf(u itusers.User) User {
	out := User{Username: u.Username, Name: u.Name, Email: u.Email, Active: u.Active, IDs: u.IDs, Links: []Link{}, SecondFactor: u.Enrolled}
	if out.IDs == nil {
		out.IDs = map[string]int32{}
	}
	for _, l := range u.Links {
		out.Links = append(out.Links, Link{l.Provider, l.Subject, l.Username, l.Since})
	}
	return out
}

func userOrError(u itusers.User, err error) (User, error) { return userOf(u), err }

func countOrError(n int, err error) (Count, error) { return Count{n}, err }

func (e UserChange) edit() itusers.Edit {
	out := itusers.Edit{Name: e.Name, Email: e.Email, Active: e.Active}
	for environment, id := range e.IDs {
		if out.IDs == nil {
			out.IDs = map[string]int32{}
		}
		if id != nil && *id == 0 { // which would remove it
			out.IDs[environment] = -1
		} else if id != nil {
			out.IDs[environment] = *id
		} else {
			out.IDs[environment] = 0
		}
	}
	return out
}

// Pages of lists.
const (
	usualPage = 50
	maxPage   = 200
)

// paging are the parameters of a list.
var paging = []parameter{
	{name: "cursor", doc: "where to go on: next of the page before"},
	{name: "limit", doc: "how many at most, up to 200; 50 when absent", integer: true},
}

func limitOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return usualPage
	}
	return min(n, maxPage)
}

func cursorOf(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

func fromCursor(text string) (string, error) {
	last, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", invalid("query: cursor is none of ours")
	}
	return string(last), nil
}

// filters are the states that a list of IT users can be cut down to, by the name of the parameter's value.
var filters = map[string]func(*itusers.Filter){
	"active":    func(f *itusers.Filter) { f.Active = true },
	"disabled":  func(f *itusers.Filter) { f.Inactive = true },
	"unlinked":  func(f *itusers.Filter) { f.Unlinked = true },
	"no_factor": func(f *itusers.Filter) { f.NoFactor = true },
}

func userFilter() []parameter {
	return append([]parameter{
		{name: "text", doc: "in user name, name or e-mail, in upper or lower case"},
		{name: "environment", doc: "only those with an id there"},
		{name: "state", doc: "only those in that state", enum: []string{"active", "disabled", "unlinked", "no_factor"}},
	}, paging...)
}

// listUsers is a page of IT users, and the cursor of the next one.
func (c *call) listUsers() (users []itusers.User, next string, err error) {
	q := c.r.URL.Query()
	f := itusers.Filter{Text: q.Get("text"), Environment: q.Get("environment"), Limit: limitOf(q.Get("limit")) + 1}
	if narrow, ok := filters[q.Get("state")]; ok {
		narrow(&f)
	}
	if f.After, err = fromCursor(q.Get("cursor")); err != nil {
		return nil, "", err
	}
	if users, err = c.Users.List(c.ctx(), f); err != nil || len(users) < f.Limit {
		return users, "", err
	}
	users = users[:f.Limit-1]
	return users, cursorOf(users[len(users)-1].Username), nil
}

func (c *call) userPage(struct{}) (UserPage, error) {
	users, next, err := c.listUsers()
	out := UserPage{Users: []User{}, Next: next}
	for _, u := range users {
		out.Users = append(out.Users, userOf(u))
	}
	return out, err
}

func (c *call) userDetail(struct{}) (UserDetail, error) {
	p, err := c.person(c.username())
	if err != nil {
		return UserDetail{}, err
	}
	out := UserDetail{User: userOf(p.User), Devices: []Device{}, RecoveryCodes: p.recovery, Tokens: []Token{}, Sessions: []Session{},
		Blocks: []Block{}, SignIns: []SignIn{}}
	for _, d := range p.devices {
		out.Devices = append(out.Devices, Device{d.ID, d.Name, d.Confirmed, d.LastUsed()})
	}
	for _, t := range p.tokens {
		out.Tokens = append(out.Tokens, TokenOf(t))
	}
	for _, s := range p.sessions {
		out.Sessions = append(out.Sessions, SessionOf(s))
	}
	for _, b := range p.blocks {
		out.Blocks = append(out.Blocks, Block{b.what, b.provider, b.Failures, b.BlockedUntil})
	}
	history, err := c.Portal.People.History(c.ctx(), p.Username)
	for _, s := range history {
		one := SignIn{Time: s.Time, Door: "plugin", Environment: s.Environment, Kind: s.Kind.String(), Reason: s.Reason, Source: s.Source}
		if s.Portal {
			one.Door = "portal"
		}
		out.SignIns = append(out.SignIns, one)
	}
	return out, unavailable(err)
}

// TokenOf is a sign-in token for programs.
func TokenOf(t authn.Token) Token {
	token := Token{ID: t.ID, Environments: append([]string{}, t.Environments...), Made: t.Created, Expires: t.Expires}
	if !t.LastUsed.IsZero() {
		token.LastUsed = &t.LastUsed
	}
	return token
}

// SessionOf is a session for programs.
func SessionOf(s authn.Session) Session {
	return Session{s.ID, doorName(s.Door), s.Agent, s.Source.String(), s.Created, s.Seen, s.Expires}
}

func doorName(door string) string {
	if door == "" {
		return "portal"
	}
	return door
}

func (c *call) username() string { return c.r.PathValue("username") }

// userOperations are what the API does to IT users.
func userOperations() []operation {
	const one = "/users/{username}"
	return []operation{
		op("GET", "/users", "listUsers", Viewer, "List, search and filter IT users, by user name", (*call).userPage).
			with(func(o *operation) { o.query = userFilter() }),
		op("POST", "/users", "addUser", Administrator, "Add an IT user", func(c *call, in NewUser) (User, error) {
			return userOrError(c.create(in.Username, in.edit()))
		}).with(func(o *operation) { o.status = http.StatusCreated }),
		op("GET", one, "showUser", Viewer, "Show an IT user with everything that hangs on them", (*call).userDetail),
		op("PATCH", one, "changeUser", Administrator, "Change name, e-mail, state or ids of an IT user", func(c *call, in UserChange) (User,
			error) {
			return userOrError(c.edit(c.username(), in.edit()))
		}),
		op("POST", one+"/enable", "enableUser", Administrator, "Let an IT user sign in again", func(c *call, _ struct{}) (User, error) {
			return userOrError(c.setActive(c.username(), true))
		}),
		op("POST", one+"/disable", "disableUser", Operator, "Keep an IT user from signing in; sessions and tokens end",
			func(c *call, _ struct{}) (User, error) { return userOrError(c.setActive(c.username(), false)) }),
		op("PUT", one+"/links/{provider}", "linkUser", Administrator, "Make an account the user's at its provider, in place of any other",
			func(c *call, in LinkTo) (User, error) {
				return userOrError(c.link(c.username(), c.r.PathValue("provider"), in.Account, in.Subject))
			}),
		op("DELETE", one+"/links/{provider}", "unlinkUser", Administrator, "Remove the user's link at a provider",
			func(c *call, _ struct{}) (User, error) {
				return userOrError(c.unlink(c.username(), c.r.PathValue("provider")))
			}),
		op("DELETE", one+"/factors", "resetFactors", Operator, "Take all second factors of an IT user away",
			func(c *call, _ struct{}) (Count, error) { return countOrError(c.resetFactors(c.username())) }),
		op("POST", one+"/invitation", "inviteUser", Operator, "Make a one-time code for setting up a second factor",
			func(c *call, _ struct{}) (Invitation, error) {
				code, expires, err := c.invite(c.username())
				return Invitation{code.Reveal(), expires}, err
			}),
		op("DELETE", one+"/sessions", "endSessions", Operator, "End all sessions of an IT user",
			func(c *call, _ struct{}) (Count, error) { return countOrError(c.endSessions(c.username(), "")) }),
		op("DELETE", one+"/sessions/{id}", "endSession", Operator, "End one session of an IT user",
			func(c *call, _ struct{}) (Count, error) {
				return countOrError(c.endSessions(c.username(), c.r.PathValue("id")))
			}),
		op("DELETE", one+"/tokens", "revokeTokens", Operator, "Revoke all sign-in tokens of an IT user",
			func(c *call, _ struct{}) (Count, error) { return countOrError(c.revokeTokens(c.username(), "")) }),
		op("DELETE", one+"/tokens/{id}", "revokeToken", Operator, "Revoke one sign-in token of an IT user",
			func(c *call, _ struct{}) (Count, error) {
				return countOrError(c.revokeTokens(c.username(), c.r.PathValue("id")))
			}),
		op("POST", one+"/unlock", "unlockUser", Operator, "Forget the failed attempts of an IT user",
			func(c *call, _ struct{}) (Count, error) { return countOrError(c.unlock(c.username())) }),
	}
}
