package portal

import (
	"net/http"
	"time"

	"github.com/gorilla/sessions"

	"github.com/idbridge/idbridge/authn"
)

// cookieNames are the names of a door's cookies. Another door on the same host has others: browsers give cookies to every port.
type cookieNames struct {
	session string
	login   string
	usual   string // the provider that was picked the last time; nothing depends on it
}

// cookiesOf are those of a door by its name. The prefix makes browsers refuse them from anybody but this very host, over
// https, for every path.
func cookiesOf(door string) cookieNames {
	name := "__Host-idbridge"
	if door != "" {
		name += "-" + door
	}
	return cookieNames{name, name + "-login", name + "-usual"}
}

const rowKey = "row" // of the authn.Session in a sessions.Session's Values

// cookieStore is a sessions.Store whose sessions are rows on the server: the browser has a random handle, the row its hash.
type cookieStore struct {
	sessions authn.Sessions
	roster   authn.SessionRoster
}

var _ sessions.Store = (*cookieStore)(nil)

// Get returns the session of the request, the same one each time. Its Values are empty when nobody is signed in.
func (c *cookieStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(c, name)
}

// New looks the session up by its cookie. Unavailable when the rows cannot be read: nobody is signed in then.
func (c *cookieStore) New(r *http.Request, name string) (*sessions.Session, error) {
	s := sessions.NewSession(c, name)
	s.Options = &sessions.Options{Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	s.IsNew = true
	cookie, err := r.Cookie(name)
	if err != nil {
		return s, nil //nolint:nilerr // without a cookie nobody is signed in
	}
	row, found, err := c.sessions.Get(r.Context(), authn.Secret(cookie.Value))
	if err != nil || !found {
		return s, err
	}
	s.ID, s.IsNew, s.Values[rowKey] = cookie.Value, false, row
	return s, nil
}

// Save gives the browser the session's handle; of one that has been ended (MaxAge below zero) it removes row and cookie.
func (c *cookieStore) Save(r *http.Request, w http.ResponseWriter, s *sessions.Session) error {
	if s.Options.MaxAge < 0 {
		if row, ok := s.Values[rowKey].(authn.Session); ok {
			if _, err := c.roster.EndSessions(r.Context(), row.User, row.ID); err != nil {
				return err
			}
		}
		clear(s.Values)
		http.SetCookie(w, sessions.NewCookie(s.Name(), "", s.Options))
		return nil
	}
	http.SetCookie(w, sessions.NewCookie(s.Name(), s.ID, s.Options))
	return nil
}

// enter signs the browser in under a new id. A session that it had before ends.
func (v *visit) enter(result authn.Result, l authn.Login) error {
	handle, row, err := v.Sessions.Begin(v.r.Context(), result, l.Username, v.Source, v.r.UserAgent())
	if err != nil {
		return err
	}
	if before := v.session; before.ID != "" {
		if _, err := v.Roster.EndSessions(v.r.Context(), before.User, before.ID); err != nil {
			return err
		}
	}
	v.setLoginCookie("", false)
	return v.adopt(handle, row)
}

// renew gives the session a new id, as every change of what it may do does.
func (v *visit) renew() error {
	handle, row, err := v.Sessions.Renew(v.r.Context(), v.session)
	if err != nil {
		return err
	}
	return v.adopt(handle, row)
}

func (v *visit) adopt(handle authn.Secret, row authn.Session) error {
	s, err := v.cookies.Get(v.r, v.names.session)
	if err != nil {
		return err
	}
	s.ID, s.Values[rowKey] = handle.Reveal(), row
	v.session, v.Who = row, personName(row)
	return v.cookies.Save(v.r, v.w, s)
}

// leave ends the browser's session, and lets the browser forget what it has seen.
func (v *visit) leave() error {
	v.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	s, err := v.cookies.Get(v.r, v.names.session)
	if err != nil {
		return err
	}
	s.Options.MaxAge = -1
	return v.cookies.Save(v.r, v.w, s)
}

func (v *visit) loginCookie() authn.Secret {
	c, err := v.r.Cookie(v.names.login)
	if err != nil {
		return ""
	}
	return authn.Secret(c.Value)
}

// rememberUsual keeps which provider's button was pressed the last time; none when it was a password.
func (v *visit) rememberUsual(provider string) {
	c := &http.Cookie{Name: v.names.usual, Value: provider, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: 365 * 24 * 60 * 60}
	if provider == "" {
		c.MaxAge = -1
	}
	http.SetCookie(v.w, c)
}

// setLoginCookie binds a sign-in under way to this browser; without a handle it forgets it. The answer of an identity
// provider is posted by another site, so only then the cookie comes along from there.
func (v *visit) setLoginCookie(handle authn.Secret, fromOtherSites bool) {
	c := &http.Cookie{Name: v.names.login, Value: handle.Reveal(), Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: int(authn.DefaultLoginLife / time.Second)}
	if fromOtherSites {
		c.SameSite = http.SameSiteNoneMode
	}
	if handle == "" {
		c.MaxAge = -1
	}
	http.SetCookie(v.w, c)
}
