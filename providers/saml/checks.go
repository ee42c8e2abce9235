package saml

import (
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/idbridge/idbridge/authn"
)

const (
	statusPrefix = "urn:oasis:names:tc:SAML:2.0:status:"
	bearer       = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	formatEntity = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
)

// checkStatus lets successes with an assertion pass. What an IdP says of a failure need not be signed: it opens nothing.
func checkStatus(m message) error {
	if v, _ := attr(m.root, "Version"); v != "2.0" {
		return refuse("wrong_version", "the response is of version %.100q", v)
	}
	first, second := "", ""
	if status := child(m.root, nsProtocol, "Status"); status != nil {
		first, second = statusCodes(status)
	}
	switch {
	case first == "":
		return refuse("status_missing", "the response has no status")
	case first == statusPrefix+"Success" && m.assertion == nil:
		return refuse("no_assertion", "the response says Success and has no assertion")
	case first == statusPrefix+"Success":
		return nil
	}
	switch strings.TrimPrefix(second, statusPrefix) {
	case "AuthnFailed", "RequestDenied", "UnknownPrincipal", "NoAuthnContext":
		return authn.Errorf(authn.Locked, "idp_refused", "status %.200q, %.200q", first, second)
	}
	return authn.Errorf(authn.Unavailable, "idp_failed", "status %.200q, %.200q", first, second)
}

// statusCodes are the two levels of a status; the second may be missing.
func statusCodes(status *etree.Element) (first, second string) {
	if code := child(status, nsProtocol, "StatusCode"); code != nil {
		first, _ = attr(code, "Value")
		if detail := child(code, nsProtocol, "StatusCode"); detail != nil {
			second, _ = attr(detail, "Value")
		}
	}
	return first, second
}

// checks are what a verified answer must pass, in this order (SAML Profiles 4.1.4.3; Core 2.3.3 to 2.7.2).
func (j *judgement) checks() []func() error {
	return []func() error{
		j.checkResponseIssuer, j.checkDestination, j.checkInResponseTo,
		j.checkAssertion, j.checkIssuer,
		j.checkSubject, j.checkConfirmation,
		j.checkConditions, j.checkAudience,
		j.checkAuthn, j.readAttributes,
	}
}

// checkResponseIssuer: who signs as the IdP must also say so. Without a signature the Issuer may be missing, as nobody
// could rely on it.
func (j *judgement) checkResponseIssuer() error {
	issuers := children(j.response, nsAssertion, "Issuer")
	if len(issuers) == 0 && !j.responseSigned {
		return nil
	}
	return j.issuedBy(issuers, "response_issuer")
}

func (j *judgement) issuedBy(issuers []*etree.Element, reason string) error {
	if len(issuers) != 1 {
		return refuse(reason, "%d Issuers", len(issuers))
	}
	if f, given := attr(issuers[0], "Format"); given && f != formatEntity {
		return refuse(reason, "an Issuer of the format %.100q", f)
	}
	if got := uri(issuers[0]); got != j.IdP {
		return refuse(reason, "issued by %.200q, not by %q", got, j.IdP)
	}
	return nil
}

// checkDestination: a signed response was meant for one address (Bindings 3.5.5.2).
func (j *judgement) checkDestination() error {
	got, given := attr(j.response, "Destination")
	switch {
	case !given && j.responseSigned:
		return refuse("destination_missing", "a signed response without Destination")
	case given && got != j.ACS:
		return refuse("wrong_destination", "sent to %.200q, not to %q", got, j.ACS)
	}
	return nil
}

// checkInResponseTo checks the response's; the confirmation has its own.
func (j *judgement) checkInResponseTo() error { return j.answers(j.response) }

// answers: to our request, or to nobody's when we asked for nothing.
func (j *judgement) answers(e *etree.Element) error {
	got, given := attr(e, "InResponseTo")
	switch {
	case j.RequestID == "" && given:
		return refuse("unexpected_in_response_to", "nothing was asked for, and the %s answers %.100q", e.Tag, got)
	case j.RequestID != "" && !given:
		return refuse("in_response_to_missing", "the %s does not say what it answers", e.Tag)
	case got != j.RequestID:
		return refuse("wrong_in_response_to", "the %s answers %.100q, not %q", e.Tag, got, j.RequestID)
	}
	return nil
}

// checkAssertion checks what every assertion has. An element that may be there once and is there twice would let two
// readers choose differently.
func (j *judgement) checkAssertion() error {
	if v, _ := attr(j.assertion, "Version"); v != "2.0" {
		return refuse("wrong_version", "the assertion is of version %.100q", v)
	}
	if j.found.AssertionID, _ = attr(j.assertion, "ID"); j.found.AssertionID == "" {
		return refuse("missing_id", "an assertion without an ID")
	}
	for _, once := range []string{"Subject", "Conditions"} {
		if n := len(children(j.assertion, nsAssertion, once)); n > 1 {
			return refuse("assertion_shape", "%d elements %s", n, once)
		}
	}
	issued, given, err := instant(j.assertion, "IssueInstant")
	switch {
	case err != nil:
		return err
	case !given:
		return refuse("bad_time", "an assertion without IssueInstant")
	case j.before(issued):
		return refuse("issued_in_future", "issued at %s: check the clocks", issued)
	}
	return nil
}

func (j *judgement) checkIssuer() error {
	return j.issuedBy(children(j.assertion, nsAssertion, "Issuer"), "wrong_issuer")
}

// checkSubject reads the name. There may be none: which attribute names the person is configured.
func (j *judgement) checkSubject() error {
	subject := child(j.assertion, nsAssertion, "Subject")
	if subject == nil {
		return refuse("subject_missing", "the assertion is about nobody")
	}
	names := children(subject, nsAssertion, "NameID")
	switch {
	case len(names) == 0:
		return nil
	case len(names) > 1:
		return refuse("bad_name_id", "%d NameIDs", len(names))
	}
	name, _ := text(names[0])
	if name == "" || len(name) > 1024 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, isControl) {
		return refuse("bad_name_id", "empty, not only text, too long, or with space around it")
	}
	j.found.NameID = name
	j.found.NameIDFormat, _ = attr(names[0], "Format")
	j.found.NameQualifier, _ = attr(names[0], "NameQualifier")
	j.found.SPNameQualifier, _ = attr(names[0], "SPNameQualifier")
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// checkConfirmation: one bearer confirmation must fit in everything. Others may be there, for other receivers. The
// assertion is remembered for as long as any of them could be used.
func (j *judgement) checkConfirmation() error {
	problem, confirmed := refuse("no_bearer_confirmation", "no SubjectConfirmation of the method bearer"), false
	for _, c := range children(child(j.assertion, nsAssertion, "Subject"), nsAssertion, "SubjectConfirmation") {
		if method, _ := attr(c, "Method"); method != bearer {
			continue
		}
		data := child(c, nsAssertion, "SubjectConfirmationData")
		if data == nil {
			problem = refuse("no_bearer_confirmation", "not exactly one SubjectConfirmationData")
			continue
		}
		j.remember(data)
		if err := j.bearer(data); err != nil {
			problem = err
			continue
		}
		confirmed = true
	}
	if !confirmed {
		return problem
	}
	return nil
}

func (j *judgement) bearer(data *etree.Element) error {
	if to, _ := attr(data, "Recipient"); to != j.ACS {
		return refuse("wrong_recipient", "for %.200q, not for %q", to, j.ACS)
	}
	if err := j.answers(data); err != nil {
		return err
	}
	_, given, err := j.window(data, "early_confirmation", "expired_confirmation")
	switch {
	case err != nil:
		return err
	case !given:
		return refuse("confirmation_without_end", "the bearer confirmation has no NotOnOrAfter")
	}
	return nil
}

// remember sees to it that the assertion is not forgotten before a confirmation ends, also one that does not fit now: it
// could fit another request, or later.
func (j *judgement) remember(data *etree.Element) {
	until, _, err := instant(data, "NotOnOrAfter")
	// Twice the skew: the IdP's clock may differ from this node's, and this node's from another's.
	if until = until.Add(2 * j.Skew); err == nil && until.After(j.found.Expires) {
		j.found.Expires = until
	}
}

// window checks NotBefore and NotOnOrAfter of an element, and returns the latter. It is given its two reasons.
func (j *judgement) window(e *etree.Element, tooEarly, expired string) (until time.Time, given bool, err error) {
	from, early, err := instant(e, "NotBefore")
	if err == nil && early && j.before(from) {
		err = refuse(tooEarly, "good from %s: check the clocks", from)
	}
	if err != nil {
		return until, false, err
	}
	until, given, err = instant(e, "NotOnOrAfter")
	if err == nil && given && j.over(until) {
		err = refuse(expired, "good until %s: check the clocks", until)
	}
	return until, given, err
}

// before tells whether a moment is still to come, even by a clock that is ahead of ours.
func (j *judgement) before(t time.Time) bool { return j.Now.Add(j.Skew).Before(t) }

// over tells whether a moment has passed, even by a clock that is behind ours. The moment itself is outside: "not on or
// after".
func (j *judgement) over(t time.Time) bool { return !j.Now.Add(-j.Skew).Before(t) }

// instant is a time of a message. SAML writes them in UTC; one that says how far it is from UTC is as clear.
func instant(e *etree.Element, name string) (t time.Time, given bool, err error) {
	value, given := attr(e, name)
	if !given {
		return t, false, nil
	}
	if t, err = time.Parse(time.RFC3339Nano, value); err != nil {
		return t, true, refuse("bad_time", "%s %.50q", name, value)
	}
	return t.UTC(), true, nil
}

// checkConditions: all of them must hold, so one that we do not know makes the assertion invalid (Core 2.5.1.1).
// OneTimeUse holds for every assertion here; ProxyRestriction is for those who pass assertions on.
func (j *judgement) checkConditions() error {
	conditions := child(j.assertion, nsAssertion, "Conditions")
	if conditions == nil {
		return refuse("conditions_missing", "the assertion has no Conditions")
	}
	for _, c := range conditions.ChildElements() {
		known := []string{"AudienceRestriction", "OneTimeUse", "ProxyRestriction"}
		if c.NamespaceURI() != nsAssertion || !slices.Contains(known, c.Tag) {
			return refuse("unknown_condition", "%.100q", c.Tag)
		}
	}
	_, _, err := j.window(conditions, "early_assertion", "expired_assertion")
	return err
}

// checkAudience: there is a restriction, each of them names us, and each may name others too (Core 2.5.1.4).
func (j *judgement) checkAudience() error {
	restrictions := children(child(j.assertion, nsAssertion, "Conditions"), nsAssertion, "AudienceRestriction")
	if len(restrictions) == 0 {
		return refuse("audience_missing", "the assertion is for everybody")
	}
	for _, r := range restrictions {
		isUs := func(audience *etree.Element) bool { return uri(audience) == j.SP }
		if !slices.ContainsFunc(children(r, nsAssertion, "Audience"), isUs) {
			return refuse("wrong_audience", "a restriction does not name %q", j.SP)
		}
	}
	return nil
}

// checkAuthn: the IdP says when and how it saw the person, and for how long that may be relied on.
func (j *judgement) checkAuthn() error {
	statements := children(j.assertion, nsAssertion, "AuthnStatement")
	if len(statements) == 0 {
		return refuse("authn_statement_missing", "the assertion does not say that anybody signed in")
	}
	for _, s := range statements {
		if err := j.checkStatement(s); err != nil {
			return err
		}
	}
	j.found.SessionIndex, _ = attr(statements[0], "SessionIndex")
	if context := child(statements[0], nsAssertion, "AuthnContext"); context != nil {
		if class := child(context, nsAssertion, "AuthnContextClassRef"); class != nil {
			j.found.AuthnContext = uri(class)
		}
	}
	return nil
}

func (j *judgement) checkStatement(s *etree.Element) error {
	seen, given, err := instant(s, "AuthnInstant")
	switch {
	case err != nil:
		return err
	case !given:
		return refuse("bad_time", "an AuthnStatement without AuthnInstant")
	case j.before(seen):
		return refuse("authn_in_future", "signed in at %s: check the clocks", seen)
	case seen.Before(j.AuthnAfter.Add(-j.Skew)):
		return refuse("authn_too_old", "signed in at %s, and should have again since %s", seen, j.AuthnAfter)
	}
	if j.found.AuthnInstant.IsZero() {
		j.found.AuthnInstant = seen
	}
	end, given, err := instant(s, "SessionNotOnOrAfter")
	switch {
	case err != nil || !given:
		return err
	case j.over(end):
		return refuse("session_over", "the session at the IdP ended at %s", end)
	case j.found.SessionNotOnOrAfter.IsZero() || end.Before(j.found.SessionNotOnOrAfter):
		j.found.SessionNotOnOrAfter = end
	}
	return nil
}

// readAttributes collects attributes by Name. A value that is not text is left out, but for a NameID, as in
// eduPersonTargetedID.
func (j *judgement) readAttributes() error {
	j.found.Attributes = map[string][]string{}
	for _, statement := range children(j.assertion, nsAssertion, "AttributeStatement") {
		for _, a := range children(statement, nsAssertion, "Attribute") {
			name, _ := attr(a, "Name")
			for _, v := range children(a, nsAssertion, "AttributeValue") {
				if inner := child(v, nsAssertion, "NameID"); inner != nil {
					v = inner
				}
				if value, ok := text(v); ok {
					j.found.Attributes[name] = append(j.found.Attributes[name], value)
				}
			}
		}
	}
	return nil
}
