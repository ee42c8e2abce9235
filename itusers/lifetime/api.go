package lifetime

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// User is an IT user as LifeTime knows them. PUT and POST take no notice of teams.
type User struct {
	Key      string `json:"Key,omitempty"`
	Username string `json:"Username"`
	Name     string `json:"Name"`
	Email    string `json:"Email"`
	IsActive *bool  `json:"IsActive,omitempty"` // where it is missing, it is true
	RoleKey  string `json:"RoleKey"`
	RoleName string `json:"RoleName,omitempty"`
	Teams    []Team `json:"Teams,omitempty"`
}

// Active tells whether the user is active.
func (u User) Active() bool { return u.IsActive == nil || *u.IsActive }

// Team is a team that a user is in, and as what.
type Team struct {
	TeamKey  string `json:"TeamKey"`
	TeamName string `json:"TeamName"`
	RoleKey  string `json:"RoleKey"`
	RoleName string `json:"RoleName"`
}

// Named is a role or a team.
type Named struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

// Environment is an environment of the infrastructure.
type Environment struct {
	Key              string `json:"Key"`
	Name             string `json:"Name"`
	HostName         string `json:"HostName"`
	EnvironmentType  string `json:"EnvironmentType"`
	DatabaseProvider string `json:"DatabaseProvider"`
}

// Listing says what comes with users.
type Listing struct{ Inactive, Teams bool }

// List lists the users. None is no error; what is no user, or there twice, is.
func (c *Client) List(ctx context.Context, l Listing) ([]User, error) {
	query := url.Values{"IncludeInactive": {fmt.Sprint(l.Inactive)}, "IncludeTeams": {fmt.Sprint(l.Teams)},
		"IncludeApplicationRoles": {"false"}}
	var users []User
	if _, err := c.read(ctx, "/users/", query, &users); err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(users))
	for _, u := range users {
		if u.Key == "" || seen[u.Key] {
			return nil, authn.Errorf(authn.Unavailable, reasonBadAnswer, "the list has a user without a key, or one twice: %q", u.Username)
		}
		seen[u.Key] = true
	}
	return users, nil
}

// Create makes a user and returns the key.
func (c *Client) Create(ctx context.Context, u User) (key string, err error) {
	if err := c.write(ctx, http.MethodPost, "/users/", nil, u, &key); err != nil {
		return "", err
	}
	if !guid.MatchString(key) {
		return "", authn.Errorf(authn.Unavailable, reasonBadAnswer, "POST /users/: the answer is not the key of a user")
	}
	return key, nil
}

// Update replaces what PUT replaces: names, e-mail, activity and role.
func (c *Client) Update(ctx context.Context, u User) error {
	u.Teams = nil
	return c.write(ctx, http.MethodPut, "/users/"+url.PathEscape(u.Key)+"/", nil, u, nil)
}

// Roles lists the roles, Teams the teams, Environments the environments.
func (c *Client) Roles(ctx context.Context) (list []Named, err error) {
	_, err = c.read(ctx, "/roles/", nil, &list)
	return list, err
}

// Teams lists the teams.
func (c *Client) Teams(ctx context.Context) (list []Named, err error) {
	_, err = c.read(ctx, "/teams/", nil, &list)
	return list, err
}

// Environments lists the environments.
func (c *Client) Environments(ctx context.Context) (list []Environment, err error) {
	_, err = c.read(ctx, "/environments/", nil, &list)
	return list, err
}

// Join makes a user a member of a team, with a role there.
func (c *Client) Join(ctx context.Context, team, user, role string) error {
	body := struct {
		UserKey string `json:"userKey"`
		RoleKey string `json:"roleKey"`
	}{user, role}
	return c.write(ctx, http.MethodPost, "/teams/"+url.PathEscape(team)+"/users/", nil, body, nil)
}

// Leave takes a user out of a team.
func (c *Client) Leave(ctx context.Context, team, user string) error {
	return c.write(ctx, http.MethodDelete, "/teams/"+url.PathEscape(team)+"/users/"+url.PathEscape(user)+"/", nil, nil, nil)
}

// BlockedLogin is a login that the platform blocks, as the API describes it.
type BlockedLogin map[string]any

// Texts are its members, sorted, for people.
func (b BlockedLogin) Texts() (list []string) {
	for k, v := range b {
		list = append(list, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(list)
	return list
}

// blocked selects blocked logins; empty means all.
func blocked(environment, address string) url.Values {
	query := url.Values{}
	if environment != "" {
		query.Set("EnvironmentKey", environment)
	}
	if address != "" {
		query.Set("IpAddress", address)
	}
	return query
}

// BlockedLogins lists the blocked logins of a user, of one environment or of all.
func (c *Client) BlockedLogins(ctx context.Context, user, environment, address string) (list []BlockedLogin, err error) {
	_, err = c.read(ctx, "/users/"+url.PathEscape(user)+"/blockedlogins/", blocked(environment, address), &list)
	return list, err
}

// Unblock clears them.
func (c *Client) Unblock(ctx context.Context, user, environment, address string) error {
	return c.write(ctx, http.MethodDelete, "/users/"+url.PathEscape(user)+"/blockedlogins/", blocked(environment, address), nil, nil)
}

// ByName finds a user, in upper or lower case. NotMapped (no_it_user).
func (c *Client) ByName(ctx context.Context, username string) (User, error) {
	users, err := c.List(ctx, Listing{Inactive: true})
	if err != nil {
		return User{}, err
	}
	for _, u := range users {
		if authn.FoldName(u.Username) == authn.FoldName(username) {
			return u, nil
		}
	}
	return User{}, authn.Errorf(authn.NotMapped, "no_it_user", "LifeTime knows no user %q", username)
}

// Source is LifeTime as a source of IT users. It knows no ids.
type Source struct{ *Client }

var _ itusers.Source = Source{}

// Users implements itusers.Source.
func (s Source) Users(ctx context.Context, take func(itusers.Listed) error) error {
	users, err := s.List(ctx, Listing{Inactive: true})
	if err != nil {
		return err
	}
	for _, u := range users {
		err := take(itusers.Listed{Ref: u.Key, Username: u.Username, Name: &u.Name, Email: &u.Email, Active: new(u.Active())})
		if err != nil {
			return err
		}
	}
	return nil
}

// Check implements itusers.Source.
func (s Source) Check(ctx context.Context) (string, error) {
	list, err := s.Environments(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return fmt.Sprintf("LifeTime answers; its environments are %s", strings.Join(names, ", ")), nil
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// accountOf is the key of the service account that a token names as its subject, in clear or in Base64. The token is LifeTime's
// to verify; here it only says whom never to touch.
func accountOf(token authn.Secret) string {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var claims struct {
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	if plain, err := base64.StdEncoding.DecodeString(claims.Subject); err == nil && guid.Match(plain) {
		return string(plain)
	}
	if guid.MatchString(claims.Subject) {
		return claims.Subject
	}
	return ""
}
