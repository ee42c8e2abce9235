package insight

import (
	"fmt"
	"strings"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
)

// check is a step of a sign-in, as docs/architecture.md has them.
type check struct {
	name    string
	passed  func(audit.Record) said // what going on behind it means
	reasons string                  // those of a refusal at it
}

// said is a sentence, with a name by which it is found in other languages.
type said struct {
	name, text string
	of         string // takes the place of a verb in text, where there is one
}

func (s said) String() string {
	if s.of == "" {
		return s.text
	}
	return fmt.Sprintf(s.text, s.of)
}

func plain(name, text string) func(audit.Record) said {
	return func(audit.Record) said { return said{name, text, ""} }
}

// quoting is a sentence with something of the record in it.
func quoting(name, text string, field func(audit.Record) string) func(audit.Record) said {
	return func(r audit.Record) said { return said{name, text, known(field(r), "?")} }
}

func known(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

// Checks that more than one journey has.
var (
	checkTyped = check{"what was typed", plain("typed", "User name and password are well formed."),
		"malformed_username malformed_password empty_password password_too_long"}
	checkRoute = check{"provider", quoting("route", "The name belongs to provider %q.", func(r audit.Record) string { return r.Provider }),
		"no_route ambiguous_route no_passwords no_redirect"}
	checkFind = check{"account",
		quoting("found", "The provider found one account; its subject is %q.", func(r audit.Record) string { return r.Subject }),
		"unknown_user ambiguous_user directory_config directory_bad_answer groups_incomplete service_account graph_denied"}
	checkThrottle = check{"failed attempts", plain("attempts", "There were not too many failed attempts before."), "throttled throttle_wait"}
	checkUser     = check{"IT user", func(r audit.Record) said {
		if r.ITUser == "" {
			return said{"nouser", "No IT user was found for the account; that is told only behind the right password.", ""}
		}
		return said{"user", "The account belongs to IT user %q.", r.ITUser}
	}, ""}
	checkCode = check{"second factor", func(r audit.Record) said {
		if strings.Contains(r.Factors, authn.FactorTOTP) || strings.Contains(r.Factors, authn.FactorRecovery) {
			return said{"code", "The code was right, and had not been used before.", ""}
		}
		if strings.Contains(r.Factors, authn.FactorIdPMFA) {
			return said{"idpfactor", "The identity provider vouched for a second factor.", ""}
		}
		return said{"nocode", "No code was checked: none is set up, or none was typed.", ""}
	}, "wrong_code code_replayed factor_unopenable unknown_factor"}
	checkPassword = check{"password", plain("password", "The password was right."),
		"wrong_password repeated_password account_locked account_disabled password_expired password_must_change not_activated " +
			"account_expired logon_hours workstation_not_allowed near_lockout group_denied group_not_allowed account_changed subject_changed " +
			"hash_wait password_unopenable no_accounts bad_account_name idp_mfa_required " +
			"conditional_access consent_missing not_assigned not_in_tenant other_tenant guest_refused app_credential app_credential_expired " +
			"entra_refused entra_config"}
	checkEnter = check{"may enter", func(r audit.Record) said {
		if r.Environment == "" {
			return said{"enterportal", "The IT user is active and known on the portal, and what policy asks for was given.", ""}
		}
		return said{"enter", "The IT user is active and known on %s, and what policy asks for was given.", r.Environment}
	}, "no_it_user name_belongs_to_another_subject it_user_inactive no_id_on_environment linked_at_another_provider " +
		"subject_linked_elsewhere not_linked no_match_attribute incomplete_link code_missing factor_required bad_user_id"}
	checkRecord = check{"record", plain("recorded", "The decision was written into the audit before it was answered."),
		"audit_unavailable audit_wait audit_closed head_changed wrong_key"}
)

// Checks of one journey only.
var (
	checkToken = check{"sign-in token",
		plain("token", "The password was a sign-in token of this user, and still good. No directory was asked."),
		"token_unknown token_expired token_never_used token_revoked token_of_another_user token_of_another_environment " +
			"token_of_removed_provider"}
	checkFrontEnd = check{"integrated authentication", plain("frontend", "The environment's web server vouched for the name."),
		"integrated_off no_integrated"}
	checkAsked = check{"question",
		plain("asked", "The browser was sent to the identity provider, and came back with an answer to that question."),
		"answer_without_login state_mismatch login_over login_moved unsolicited no_message wrong_binding no_public_url no_endpoint " +
			"own_key_unopenable no_signing_key signing_failed bad_pending metadata_unreachable metadata_malformed metadata_other_entity " +
			"metadata_expired metadata_signature certificates_expired code_refused answer_unasked answer_malformed " +
			"answer_wrong_issuer entra_address"}
	checkForm = check{"form of the answer", plain("form", "The answer has the one form that is accepted."),
		"xml_truncated xml_bad_markup xml_mismatched_tag xml_not_utf8 xml_illegal_character xml_bad_reference xml_declaration " +
			"xml_undeclared_prefix xml_duplicate_attribute xml_trailing_data xml_doctype xml_comment xml_processing_instruction xml_cdata " +
			"message_too_large message_too_complex xml_depth xml_too_many_attributes xml_bad_namespace_declaration bad_base64 bad_deflate " +
			"wrong_root several_assertions misplaced_assertion misplaced_signature signature_object bad_id duplicate_id missing_id bad_namespace " +
			"assertion_shape id_token_missing id_token_malformed id_token_version"}
	checkStatus = check{"what the identity provider says", plain("status", "The identity provider says that it signed the person in."),
		"idp_refused idp_failed status_missing no_assertion wrong_version"}
	checkSigned = check{"signature", plain("signed", "It is signed by the identity provider, and unchanged."),
		"signature_shape signature_reference signature_transforms signature_canonicalisation signature_algorithm digest_algorithm " +
			"unknown_signer no_certificate weak_key signature_invalid not_signed assertion_not_signed response_not_signed not_encrypted " +
			"no_decryption_key encryption_algorithm encryption_shape decryption_failed id_token_signature id_token_unknown_key"}
	checkMeant = check{"meant for this sign-in", plain("meant", "It is from the right one, for us, for this sign-in, and of now."),
		"response_issuer wrong_issuer wrong_destination destination_missing wrong_recipient in_response_to_missing wrong_in_response_to " +
			"unexpected_in_response_to audience_missing wrong_audience subject_missing bad_name_id no_bearer_confirmation " +
			"confirmation_without_end " +
			"conditions_missing unknown_condition early_assertion early_confirmation issued_in_future authn_in_future expired_assertion " +
			"expired_confirmation session_over authn_statement_missing authn_too_old bad_time logout_expired bad_expectation " +
			"id_token_wrong_issuer id_token_wrong_audience id_token_wrong_party id_token_wrong_nonce id_token_expired " +
			"id_token_early id_token_without_subject"}
	checkOnce    = check{"used once", plain("once", "It had not been used before."), "replayed replay_store"}
	checkVouched = check{"person",
		quoting("vouched", "It names the account with the subject %q.", func(r audit.Record) string { return r.Subject }),
		"authn_context nameid_not_persistent nameid_qualifier attribute_missing attribute_ambiguous attribute_malformed no_username " +
			"bad_account bad_provider"}
	checkInvite = check{"enrolment", plain("enrolled", "A new second factor was set up with an administrator's code."),
		"wrong_invite no_enrolment enrolment_expired too_many_devices no_device"}
	checkNewPassword = check{"new password", plain("newpassword", "The provider took the new password."),
		"no_password_change password_unchanged password_too_short password_too_simple password_used_before password_too_recent " +
			"password_unsuitable password_change_forbidden password_has_username password_repeats name_taken window_too_long"}
)

// journey is a way of signing in: its checks, in order.
type journey struct {
	name   string
	checks []check
}

var (
	byPassword = journey{"user name and password, asked for by the platform", []check{
		checkTyped, checkRoute, checkFind, checkThrottle, checkUser, checkCode, checkPassword, checkEnter, checkRecord}}
	byToken = journey{"a sign-in token in place of the password", []check{
		checkTyped, checkThrottle, checkToken, checkUser, checkEnter, checkRecord}}
	byFrontEnd = journey{"integrated authentication", []check{
		checkFrontEnd, checkTyped, checkRoute, checkFind, checkUser, checkEnter, checkRecord}}
	byForm = journey{"user name and password, in a browser", []check{
		checkTyped, checkRoute, checkFind, checkThrottle, checkPassword, checkUser, checkCode, checkInvite, checkEnter, checkRecord}}
	byIdP = journey{"an identity provider's pages, in a browser", []check{checkRoute, checkAsked, checkForm, checkStatus, checkSigned,
		checkMeant, checkOnce, checkVouched, checkUser, checkCode, checkInvite, checkEnter, checkRecord}}
	byNewPassword = journey{"a new password, on the way of a sign-in in a browser", []check{
		checkTyped, checkThrottle, checkPassword, checkNewPassword, checkRecord}}
)

// journeyOf tells the way of a sign-in from its record. ok is false where a record is not about a sign-in.
func journeyOf(r audit.Record) (j journey, ok bool) {
	switch strings.TrimPrefix(r.Action, audit.BreakGlass) {
	case audit.SignIn:
		if strings.HasPrefix(r.Reason, "token_") || strings.Contains(r.Factors, authn.FactorToken) {
			return byToken, true
		}
		return byPassword, true
	case audit.IntegratedSignIn:
		return byFrontEnd, true
	case audit.PasswordChanged:
		return byNewPassword, true
	case audit.PortalSignIn:
		if strings.Contains(r.Factors, authn.FactorIdP) || byForm.ended(r) < 0 && byIdP.ended(r) >= 0 {
			return byIdP, true
		}
		return byForm, true
	}
	return journey{}, false
}

// silent are the reasons for which something did not answer; at which check, only what is known of the account tells.
const silent = "deadline caller_gone directory_unreachable directory_silent directory_busy store_unavailable store_busy store_full " +
	"store_read_only store_corrupt entra_unreachable entra_bad_answer entra_busy panic"

// ended is the place of the check at which a sign-in was refused: -1 when none is known to refuse so.
func (j journey) ended(r audit.Record) int {
	if r.Reason == "throttled" && r.ITUser != "" && j.at(checkCode.name) >= 0 {
		return j.at(checkCode.name) // wrong codes are counted per IT user
	}
	for i, c := range j.checks {
		if isOne(r.Reason, c.reasons) {
			return i
		}
	}
	if !isOne(r.Reason, silent) {
		return -1
	}
	for _, name := range j.waitedAt(r) {
		if i := j.at(name); i >= 0 {
			return i
		}
	}
	return 0
}

// waitedAt is what a sign-in waited for, by how much is known of it.
func (j journey) waitedAt(r audit.Record) []string {
	switch {
	case r.Provider == "":
		return []string{checkRoute.name}
	case r.Subject == "":
		return []string{checkFind.name, checkAsked.name}
	case r.ITUser == "":
		return []string{checkPassword.name, checkUser.name}
	}
	return []string{checkPassword.name, checkToken.name, checkEnter.name}
}

func (j journey) at(name string) int {
	for i, c := range j.checks {
		if c.name == name {
			return i
		}
	}
	return -1
}

func isOne(word, of string) bool { return word != "" && strings.Contains(" "+of+" ", " "+word+" ") }
