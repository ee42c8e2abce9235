// Package platform plays OutSystems' LifeTime: it fetches a plugin's WSDL, holds it against the contract, and makes
// the calls that the platform makes when an administrator chooses, tests and activates a plugin and a user signs in.
//
// It is the other side of the door, so it shares no code with it: what it demands is written down here a second time,
// and it reads answers with encoding/xml. It imports nothing of ours.
package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"
)

// Options say which plugin to try, and how.
type Options struct {
	URL    string       // .../<PluginName>/OSPlatformAuthentication.asmx, with or without ?wsdl
	Client *http.Client // with the client certificate and the roots that are needed; required
	Out    io.Writer    // the transcript

	Caller, Secret     string // HTTP Basic credentials of the environment; empty for none
	Username, Password string // who signs in; without a name that step is left out

	Module  bool          // the caller is a thin module: a success may carry a name instead of an id
	Timeout time.Duration // of each call; default 30 s
}

const defaultTimeout = 30 * time.Second

// ErrRefused is in the error of Run when the platform would refuse something; the transcript says what.
var ErrRefused = errors.New("the platform would refuse this plugin")

// Run goes through everything, prints a transcript and returns an error when the platform would refuse something, or
// when the user was not signed in. It goes on after a problem, unless there is nobody to talk to.
func Run(ctx context.Context, o Options) error {
	if o.Client == nil || o.Out == nil {
		return errors.New("platform: Options lack Client or Out")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if i := strings.LastIndexByte(o.URL, '?'); i >= 0 && strings.EqualFold(o.URL[i:], "?wsdl") {
		o.URL = o.URL[:i]
	}
	s := &session{Options: o}
	if s.wsdl(ctx) {
		s.capabilities(ctx)
		s.configurations(ctx)
		s.statusOf(ctx, "Plugin_Test")
		s.statusOf(ctx, "Plugin_OnActivation")
		s.signIn(ctx)
	}
	if s.problems > 0 {
		s.printf("\n%d problem(s): the platform would refuse this.\n", s.problems)
		return fmt.Errorf("%w: %d problem(s)", ErrRefused, s.problems)
	}
	s.printf("\nThe platform would accept this.\n")
	return nil
}

// session is one run: the transcript, and what was found.
type session struct {
	Options
	schema   string // namespace
	action   string // up to the method's name
	problems int
}

func (s *session) printf(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }
func (s *session) ok(format string, args ...any)     { s.printf("  ok    "+format+"\n", args...) }

func (s *session) fail(format string, args ...any) {
	s.problems++
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n        ")
	s.printf("  FAIL  %s\n", text)
}

// wsdl fetches and validates the description; false when there is no use in going on.
func (s *session) wsdl(ctx context.Context) bool {
	s.printf("GET %s?wsdl\n", s.URL)
	text, err := s.fetch(ctx)
	if err != nil {
		s.fail("%v", err)
		return false
	}
	d, err := parseWSDL(text)
	if err != nil {
		s.fail("%v", err)
		return false
	}
	deviations := d.deviations()
	for _, deviation := range deviations {
		s.fail("%s", deviation)
	}
	if len(deviations) == 0 {
		s.ok("the WSDL keeps the contract: %d methods over SOAP 1.1 and 1.2", len(contract()))
	}
	s.schema, s.action = schemaNamespace, d.TargetNamespace
	return true
}

// capabilities asks in both versions of SOAP, as either may be what a platform's client speaks.
func (s *session) capabilities(ctx context.Context) {
	for _, v := range []soapVersion{soap11, soap12} {
		s.printf("Plugin_GetCapabilities (%s)\n", v.label)
		r, err := s.call(ctx, v, "Plugin_GetCapabilities")
		if !s.succeeded(r, err) {
			continue
		}
		if v.label == soap11.label {
			s.listCapabilities(r.pairs)
		} else {
			s.ok("the same in %s", v.label)
		}
	}
}

func (s *session) listCapabilities(pairs []pair) {
	value := map[string]string{}
	for _, p := range pairs {
		if p.value != "True" && p.value != "False" {
			s.fail("capability %s is %q, neither True nor False", p.name, p.value)
		}
		value[p.name] = p.value
	}
	for _, name := range []string{"UserPassword.Supported", "IntegratedAuthentication.Supported",
		"ConfigurationAPI.Supported", "Cloud.Supported"} {
		if value[name] == "" {
			value[name] = "False (not listed)"
		}
		s.ok("%s: %s", name, value[name])
	}
}

func (s *session) configurations(ctx context.Context) {
	s.printf("Plugin_GetAllConfigurations\n")
	r, err := s.call(ctx, soap11, "Plugin_GetAllConfigurations")
	if !s.succeeded(r, err) {
		return
	}
	s.ok("%d setting(s)", len(r.pairs))
	for _, p := range r.pairs {
		s.printf("        %s = %s\n", p.name, p.value)
	}
}

func (s *session) statusOf(ctx context.Context, method string) {
	s.printf("%s\n", method)
	r, err := s.call(ctx, soap11, method)
	if s.succeeded(r, err) {
		s.ok("Success%s", r.status.suffix())
	}
}

// succeeded reports a call that did not.
func (s *session) succeeded(r response, err error) bool {
	if err != nil {
		s.fail("%v", err)
		return false
	}
	if !r.status.success {
		s.fail("Success false%s", r.status.suffix())
	}
	return r.status.success
}

func (s *session) signIn(ctx context.Context) {
	if s.Username == "" {
		s.printf("User_AuthenticateWithCredentials\n        left out: no user was given\n")
		return
	}
	s.printf("User_AuthenticateWithCredentials %s\n", s.Username)
	r, err := s.call(ctx, soap11, "User_AuthenticateWithCredentials",
		pair{"Username", s.Username}, pair{"Password", s.Password})
	switch {
	case err != nil:
		s.fail("%v", err)
	case !r.status.success && r.userID != 0:
		s.fail("Success false, but UserId %d: a refusal must carry 0", r.userID)
	case !r.status.success:
		s.fail("the user was not signed in%s", r.status.suffix())
	case s.Module && r.userID == 0 && r.status.info != "":
		s.ok("signed in as %s; the module looks the id up", r.status.info)
	case r.userID < 1 || r.userID > math.MaxInt32:
		s.fail("Success true, but UserId %d is not an id: want 1 to %d", r.userID, math.MaxInt32)
	default:
		s.ok("signed in as user id %d", r.userID)
	}
}

// suffix is what a status says beyond success.
func (s status) suffix() string {
	var b strings.Builder
	if s.id != 0 {
		fmt.Fprintf(&b, ", ResponseId %d", s.id)
	}
	for _, text := range []string{s.message, s.info} {
		if text != "" {
			b.WriteString("\n" + text)
		}
	}
	if b.Len() > 0 && s.success {
		return strings.ReplaceAll(b.String(), "\n", "\n        ")
	}
	return b.String()
}
