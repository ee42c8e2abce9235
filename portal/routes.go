package portal

import (
	"net/http"
	"slices"
	"strings"
)

// route is one thing that a browser can ask for.
type route struct {
	method, path string
	public       bool // looks neither at the session nor at who is signed in
	signedIn     bool // for people who are signed in
	raw          bool // its form is not read here
	act          func(*visit) error
}

// answerPath is where identity providers send browsers back to. It is the one path to which other sites may post: what is
// posted there is worth nothing without the login that this browser began.
const answerPath = "/saml/{provider}/acs"

// routes is everything that the portal answers. What changes anything is a POST.
func (p *Portal) routes() []route {
	if p.Inside.Serve != nil {
		return signInRoutes()
	}
	return slices.Concat([]route{{method: "GET", path: "/{$}", act: (*visit).begins}}, signInRoutes(), accountRoutes())
}

// signInRoutes are what every door with a sign-in has.
func signInRoutes() []route {
	return []route{
		{method: "GET", path: "/login", act: (*visit).signIn},
		{method: "POST", path: "/login", act: (*visit).password},
		{method: "POST", path: "/login/begin", act: (*visit).begin},
		{method: "POST", path: answerPath, act: (*visit).answer},
		{method: "GET", path: "/oidc/{provider}/callback", act: (*visit).answer},
		{method: "GET", path: "/login/next", act: (*visit).next},
		{method: "POST", path: "/login/code", act: (*visit).code},
		{method: "POST", path: "/login/password", act: (*visit).change},
		{method: "POST", path: "/login/invite", act: (*visit).invite},
		{method: "POST", path: "/login/enrol/show", act: (*visit).enrolShow},
		{method: "POST", path: "/login/enrol", act: (*visit).enrol},
		{method: "POST", path: "/login/finish", act: (*visit).finish},
		{method: "POST", path: "/login/cancel", act: (*visit).cancel},
		{method: "POST", path: "/signout", act: (*visit).signOut},
		{method: "GET", path: "/signedout", public: true, act: (*visit).signedOut},
		{method: "GET", path: "/assets/{name}", public: true, act: (*visit).asset},
		{method: "GET", path: "/.well-known/security.txt", public: true, act: (*visit).securityText},
	}
}

// accountRoutes are what is inside the users' door.
func accountRoutes() []route {
	return []route{
		{method: "GET", path: "/account", signedIn: true, act: (*visit).account},
		{method: "POST", path: "/account/tokens", signedIn: true, act: (*visit).makeToken},
		{method: "GET", path: "/account/tokens/revoke", signedIn: true, act: (*visit).askRevokeTokens},
		{method: "POST", path: "/account/tokens/revoke", signedIn: true, act: (*visit).revokeTokens},
		{method: "GET", path: "/account/factors/add", signedIn: true, act: (*visit).askAddFactor},
		{method: "POST", path: "/account/factors/add", signedIn: true, act: (*visit).addFactor},
		{method: "POST", path: "/account/factors/confirm", signedIn: true, act: (*visit).confirmFactor},
		{method: "GET", path: "/account/factors/remove", signedIn: true, act: (*visit).askRemoveFactor},
		{method: "POST", path: "/account/factors/remove", signedIn: true, act: (*visit).removeFactor},
		{method: "GET", path: "/account/recovery", signedIn: true, act: (*visit).askRecovery},
		{method: "POST", path: "/account/recovery", signedIn: true, act: (*visit).newRecovery},
		{method: "POST", path: "/account/sessions/end", signedIn: true, act: (*visit).endSession},
		{method: "GET", path: "/account/signout-everywhere", signedIn: true, act: (*visit).askSignOutEverywhere},
		{method: "POST", path: "/account/signout-everywhere", signedIn: true, act: (*visit).signOutEverywhere},
	}
}

// getPath is where a page that answers r can be asked for again: the same path, or where the form came from.
func (p *Portal) getPath(r *http.Request) string {
	path := r.URL.Path
	isPage := slices.ContainsFunc(p.routes(), func(to route) bool {
		return to.method == http.MethodGet && strings.TrimSuffix(to.path, "{$}") == path
	})
	switch {
	case isPage || p.isInside(path):
		return path
	case strings.HasPrefix(path, "/login/"):
		return "/login/next"
	case strings.HasPrefix(path, "/account/"):
		return "/account"
	}
	return "/"
}
