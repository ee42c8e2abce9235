package plugin

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/idbridge/idbridge/authn"
)

// The methods of the contract, by the names of their elements.
const (
	getCapabilities             = "Plugin_GetCapabilities"
	getAllConfigurations        = "Plugin_GetAllConfigurations"
	setConfigurations           = "Plugin_SetConfigurations"
	test                        = "Plugin_Test"
	onActivation                = "Plugin_OnActivation"
	onDeactivation              = "Plugin_OnDeactivation"
	authenticateWithCredentials = "User_AuthenticateWithCredentials"
	authenticateWithUsername    = "User_AuthenticateWithUsername"
)

// methods are all of them, in the order of the WSDL.
func methods() []string {
	return []string{getCapabilities, getAllConfigurations, setConfigurations, test, onActivation, onDeactivation,
		authenticateWithCredentials, authenticateWithUsername}
}

// lookupMethod is the method of an element's name.
func lookupMethod(element []byte) (string, bool) {
	switch string(element) {
	case getCapabilities:
		return getCapabilities, true
	case getAllConfigurations:
		return getAllConfigurations, true
	case setConfigurations:
		return setConfigurations, true
	case test:
		return test, true
	case onActivation:
		return onActivation, true
	case onDeactivation:
		return onDeactivation, true
	case authenticateWithCredentials:
		return authenticateWithCredentials, true
	case authenticateWithUsername:
		return authenticateWithUsername, true
	}
	return "", false
}

// answer is what a method returned. Which parts are sent is the method's business.
type answer struct {
	status  status
	userID  int32
	pairs   []Setting
	outcome string // for Observe
}

func fine(s status) answer { return answer{status: s, outcome: authn.OK.String()} }

// call is one identified call.
type call struct {
	request
	id      string // correlation id
	env     *caller
	source  netip.Addr
	arrived time.Time
}

// dispatch runs the method that was asked for.
func (d *door) dispatch(ctx context.Context, c call) answer {
	switch c.method {
	case getCapabilities:
		return d.capabilities(c)
	case getAllConfigurations:
		return d.settings(ctx, c)
	case setConfigurations:
		return d.changeSettings(ctx, c)
	case test:
		return d.test(ctx, c)
	case onActivation:
		return d.activate(ctx, c)
	case onDeactivation:
		_ = d.journal(ctx, c, Deactivated, "") // a plugin may never refuse this; a failure is logged
		return fine(status{})
	case authenticateWithCredentials:
		return d.signIn(ctx, c, d.SignIns.SignIn)
	default:
		return d.signIn(ctx, c, d.SignIns.SignInIntegrated)
	}
}

func (d *door) capabilities(c call) answer {
	a := fine(status{success: true})
	a.pairs = []Setting{
		{"UserPassword.Supported", truth(d.PasswordSupported)},
		{"IntegratedAuthentication.Supported", truth(c.env.Integrated && d.NamesSupported)},
		{"ConfigurationAPI.Supported", truth(d.Screen != nil)},
		{"Cloud.Supported", truth(d.Cloud)},
	}
	return a
}

// truth is a Boolean as capabilities spell it.
func truth(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// settings are those that the platform's screen edits, or, while it may not, some that are good to know.
func (d *door) settings(ctx context.Context, c call) answer {
	a := fine(status{success: true})
	if d.Screen == nil {
		a.pairs = d.Settings()
		return a
	}
	var err error
	if a.pairs, err = d.Screen.Settings(ctx); err != nil {
		return d.settingsFailed(ctx, c, err)
	}
	return a
}

// settingsFailed is the answer where settings could be neither read nor judged.
func (d *door) settingsFailed(ctx context.Context, c call, err error) answer {
	kind := authn.KindOf(err)
	d.Log.ErrorContext(ctx, "the platform's settings", "id", c.id, "environment", c.env.Name, "error", err)
	return answer{outcome: kind.String(), status: status{id: IDUnavailable, info: "correlation id: " + c.id,
		message: "Nothing was changed: the settings cannot be reached now. The correlation id finds the cause in the log."}}
}

// changeSettings changes all of what was sent, or nothing.
func (d *door) changeSettings(ctx context.Context, c call) answer {
	if d.Screen == nil {
		return d.refuseSettings(ctx, c)
	}
	done, err := d.Screen.Change(ctx, SettingsChange{ID: c.id, Environment: c.env.Name, Settings: c.settings})
	var refusal Refusal
	switch {
	case err == nil:
		return fine(status{success: true, message: done})
	case !errors.As(err, &refusal):
		return d.settingsFailed(ctx, c, err)
	}
	_ = d.journal(ctx, c, ConfigRefused, oneLine(refusal.Error())) // nothing is changed either way; a failure is logged
	return fine(status{id: IDSettingsRefused, message: "Nothing was changed.\n" + refusal.Error(), info: "correlation id: " + c.id})
}

func (d *door) refuseSettings(ctx context.Context, c call) answer {
	_ = d.journal(ctx, c, ConfigRefused, "switched off") // nothing is changed either way; a failure is logged
	return fine(status{
		id: IDSettingsOff,
		message: "Nothing was changed: changing settings from the platform is switched off. " +
			"Edit idbridge's configuration file.",
		info: "correlation id: " + c.id,
	})
}

// test fails on any problem, warnings too: an administrator who runs it wants to hear of them.
func (d *door) test(ctx context.Context, c call) answer {
	problems := findingsText(d.Doctor.Diagnose(ctx, c.env.Environment.Environment))
	if problems == "" {
		return fine(status{success: true, message: "All checks passed."})
	}
	d.Log.WarnContext(ctx, "Plugin_Test found problems", "id", c.id, "environment", c.env.Name, "problems", problems)
	return fine(status{id: IDTestFailed, message: problems, info: "correlation id: " + c.id})
}

// activate refuses when nobody could sign in afterwards, or when the activation could not be recorded.
func (d *door) activate(ctx context.Context, c call) answer {
	findings := d.Doctor.Diagnose(ctx, c.env.Environment.Environment)
	problems := findingsText(findings)
	for _, f := range findings {
		if f.Blocking && !f.OK() {
			_ = d.journal(ctx, c, ActivationRefused, problems) // refused either way; a failure is logged
			return fine(status{id: IDNotActivated, message: problems, info: "correlation id: " + c.id})
		}
	}
	if err := d.journal(ctx, c, Activated, problems); err != nil {
		return fine(status{id: IDNotActivated, message: "problem: audit: the activation could not be recorded",
			info: "correlation id: " + c.id})
	}
	return fine(status{success: true, message: problems})
}

// signIn asks the core and words its decision.
func (d *door) signIn(ctx context.Context, c call,
	decide func(context.Context, authn.Call) (authn.Result, error)) answer {
	env := c.env.Environment.Environment
	result, err := decide(ctx, authn.Call{ID: c.id, Environment: env, Username: c.username, Password: c.password,
		Source: c.source, Arrived: c.arrived})
	if err == nil {
		err = answerable(env, result)
	}
	if err != nil {
		d.logRefusal(ctx, c, err)
		kind := authn.KindOf(err)
		return answer{status: refusedStatus(kind, d.PortalURL, c.id), outcome: kind.String()}
	}
	if env.IDs == authn.IDsModule { // the module looks the id up by this name
		return fine(status{success: true, info: result.User.Username})
	}
	a := fine(status{success: true})
	a.userID = result.User.UserID
	return a
}

// answerable makes sure that a sign-in without an id is never answered as a success: id 0 would be whatever the
// platform makes of it.
func answerable(env authn.Environment, r authn.Result) error {
	switch {
	case env.IDs == authn.IDsModule && r.User.Username == "":
		return authn.Errorf(authn.Internal, "no_username", "granted without an IT user's name")
	case env.IDs != authn.IDsModule && r.User.UserID <= 0:
		return authn.Errorf(authn.Internal, "bad_user_id", "granted with user id %d", r.User.UserID)
	}
	return nil
}

// logRefusal logs what an operator must act on as a warning or error; refused users are in the audit already.
func (d *door) logRefusal(ctx context.Context, c call, err error) {
	level := slog.LevelDebug
	switch authn.KindOf(err) {
	case authn.Unavailable:
		level = slog.LevelWarn
	case authn.Internal, authn.Untrusted:
		level = slog.LevelError
	}
	d.Log.Log(ctx, level, "sign-in refused", "id", c.id, "environment", c.env.Name, "kind", authn.KindOf(err).String(),
		"reason", authn.ReasonOf(err), "error", err)
}

const journalTimeout = 10 * time.Second

// journal writes an event down, also when the caller has hung up.
func (d *door) journal(ctx context.Context, c call, a Action, detail string) error {
	environment := ""
	if c.env != nil {
		environment = c.env.Name
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	err := d.Journal(ctx, Event{ID: c.id, Time: c.arrived, Action: a, Environment: environment, Source: c.source,
		Detail: detail})
	if err != nil {
		err = authn.Errorf(authn.Unavailable, "audit_unavailable", "journal: %w", err)
		d.Log.ErrorContext(ctx, "the journal did not take an event", "id", c.id, "action", string(a), "error", err)
	}
	return err
}
