package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Who has no code to give here, or whose session has ended meanwhile, has to go away and sign in. The form that they sent is kept
// so long: for them alone, in the browser from which it came alone. Afterwards a page says what it was, and one press of its
// button does it, once. What was typed does not go through the browser again, so neither a password nor anything else of it can
// be read or changed there.

const (
	resumePath = "/resume"
	formCookie = "__Host-idbridge-" + Door + "-form"
	formLife   = 15 * time.Minute
	maxKept    = 256 << 10 // of a form
)

func resumePages() []page {
	return []page{
		{method: "GET", path: resumePath, role: Viewer, act: (*call).askResume},
		{method: "POST", path: resumePath, role: Viewer, free: true, act: (*call).resume}, // the page that it goes on with asks for more
	}
}

// sent is a form that is kept.
type sent struct {
	Owner  string // itusers.User.Key of who sent it
	Path   string
	Fields url.Values
	Until  time.Time
}

// sentID is where the form of a cookie is: who reads the rows finds no cookie there.
func sentID(cookie string) string {
	sum := sha256.Sum256([]byte("idbridge form\x00" + cookie))
	return hex.EncodeToString(sum[:])
}

// keepSent keeps the form of this request; kept is false when it is too large for that.
func (c *call) keepSent(owner string) (kept bool, err error) {
	one := sent{owner, c.r.URL.Path, maps.Clone(c.r.PostForm), c.now().Add(formLife)}
	one.Fields.Del(codeField)
	if len(one.Fields.Encode()) > maxKept {
		return false, nil
	}
	cookie := rand.Text()
	if err := c.put(c.ctx(), keptForm, sentID(cookie), one, one.Until); err != nil {
		return false, err
	}
	http.SetCookie(c.w, &http.Cookie{Name: formCookie, Value: cookie, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: int(formLife / time.Second)})
	return true, nil
}

// signInAgain sends the caller away to prove anew who they are, and keeps what they sent.
func (c *call) signInAgain() error {
	kept, err := c.keepSent(c.me().Key)
	if err != nil {
		return err
	}
	if !kept {
		return c.v.SignInAgain("again", "/")
	}
	return c.v.SignInAgain("kept", resumePath)
}

// keepOfLapsed keeps what somebody sent whose session ended a short time ago because they were typing for so long.
func (c *call) keepOfLapsed(p page) (kept bool, err error) {
	if p.title == "" {
		return false, nil
	}
	s, found, err := c.v.Lapsed()
	if err != nil || !found || !s.Identity.SecondFactor() || roleOf(c.Roles, s.Identity) < p.role {
		return false, err
	}
	if err := c.readForm(false); err != nil {
		return false, err
	}
	if kept, err = c.keepSent(s.User); err != nil || !kept {
		return false, err
	}
	return true, c.v.SignInAgain("kept", resumePath)
}

// mySent is the form that this browser has sent, and the page that it was for. A cookie that somebody else's form belongs to
// is as good as none.
func (c *call) mySent() (one sent, p page, id string, err error) {
	cookie, err := c.r.Cookie(formCookie)
	if err != nil {
		return one, p, "", errFormOver
	}
	id = sentID(cookie.Value)
	found, err := c.kept(c.ctx(), keptForm, id, &one)
	if err != nil {
		return one, p, "", err
	}
	i := slices.IndexFunc(c.pages, func(p page) bool { return p.title != "" && p.path == one.Path })
	if !found || i < 0 || one.Owner != c.me().Key || !c.now().Before(one.Until) {
		return one, p, "", errFormOver
	}
	return one, c.pages[i], id, nil
}

// askResume says what was sent, and asks whether it shall be done.
func (c *call) askResume() error {
	one, p, _, err := c.mySent()
	if err != nil {
		return err
	}
	if err := c.may(p.role); err != nil {
		c.turnAway(p, err)
		return nil
	}
	facts, err := c.facts(one.Fields)
	if err != nil {
		return err
	}
	return c.ask(confirmView{shell: c.shell(""), Title: c.v.Text(p.title, about(one.Fields)), Question: c.v.Text("admin.resume.question"),
		Button: c.v.Text("admin.resume.button"), Action: c.to(resumePath), Facts: facts, Back: c.to("/")})
}

// about is whom, or what, a form is about.
func about(form url.Values) string {
	for _, name := range []string{"username", "name", "of", "id", "number", "key"} {
		if value := form.Get(name); value != "" {
			return value
		}
	}
	return ""
}

// resume does what was sent before, as if it were sent now: the role is looked up, the factor must be fresh, and it is done once.
func (c *call) resume() error {
	one, p, id, err := c.mySent()
	if err != nil {
		return err
	}
	dropped, err := c.Keeper.Drop(c.ctx(), keptForm, id)
	if err == nil && !dropped {
		err = errFormOver
	}
	if err != nil {
		return unavailable(err)
	}
	c.r = c.r.Clone(c.ctx())
	c.r.URL.Path, c.r.URL.RawQuery = one.Path, ""
	c.r.PostForm, c.r.Form = one.Fields, one.Fields
	c.page(p)
	return nil
}

// facts is what a form says that people know by a name. A password has none, and no secret may ever have.
func (c *call) facts(form url.Values) (list []field, err error) {
	for _, known := range []field{{"name", "admin.users.username"}, {"username", "admin.users.username"}, {"fullname", "admin.users.name"},
		{"email", "admin.user.email"}, {"provider", "admin.link.provider"}, {"account", "admin.link.account"},
		{"subject", "admin.link.subject"}, {"comment", "admin.proposal.comment"}, {"allow", "admin.sources.allow"}} {
		if form.Has(known.Name) {
			list = append(list, field{c.v.Text(known.Value), form.Get(known.Name)})
		}
	}
	for i, environment := range c.Environments {
		if form.Has(idName(i)) {
			list = append(list, field{c.v.Text("admin.user.id", environment), form.Get(idName(i))})
		}
	}
	ticked := map[bool]string{true: c.v.Text("admin.yes"), false: c.v.Text("admin.no")}
	for _, box := range []field{{"dry", "admin.sources.dry"}, {"force", "admin.proposal.force"}} {
		if form.Has(box.Name) {
			list = append(list, field{c.v.Text(box.Value), ticked[form.Get(box.Name) == "true"]})
		}
	}
	if !form.Has("draft") {
		return list, nil
	}
	d, err := c.draftOf(form.Get("draft"))
	return append(list, field{c.v.Text("admin.proposal.title"), c.titleOf(d.Proposal)}), err
}
