package azuread

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/idbridge/idbridge/authn"
)

// Reasons that more than one of Entra's numbers, or more than one place here, gives.
const (
	reasonCredential        = "app_credential"
	reasonCredentialExpired = "app_credential_expired"
	reasonConfig            = "entra_config"
	reasonBusy              = "entra_busy"
	reasonRefused           = "entra_refused"
	reasonCode              = "code_refused"
	reasonMFA               = "idp_mfa_required"
	reasonConditional       = "conditional_access"
	reasonConsent           = "consent_missing"
	reasonNotAssigned       = "not_assigned"
	reasonNotInTenant       = "not_in_tenant"
	reasonWrongPassword     = "wrong_password"
	reasonUnknownUser       = "unknown_user"
	reasonAccountLocked     = "account_locked"
	reasonAccountDisabled   = "account_disabled"
	reasonLogonHours        = "logon_hours"
)

// meaning is what a number of Entra's is to us. The advice is for the log and for idbridge check.
type meaning struct {
	kind           authn.Kind
	reason, advice string
}

const (
	adviceMFA = "this person must prove a second factor at Entra, which a password alone cannot: sign in at the portal, " +
		"make a sign-in token there and type that as the password"
	adviceConditional = "a Conditional Access policy of the tenant refuses this: Entra admin center, Sign-in logs, the " +
		"entry with the " +
		"correlation id, tab Conditional Access"
	adviceSecret = "give idbridge the value (not the ID) of a client secret that is listed under Certificates & " +
		"secrets of the " +
		"app registration"
	adviceAssertion = "upload the certificate under Certificates & secrets of the app registration, or check issuer, " +
		"subject and audience " +
		"of the federated credential there; check this machine's clock"
	adviceApp     = "check tenant, client_id and authority against the app registration's overview"
	adviceConsent = "an administrator grants admin consent under API permissions of the app registration"
	adviceBusy    = "a passing failure at Microsoft: try again"
	adviceOnPrem  = "the pass-through authentication agent does not reach Active Directory: see Entra Connect, " +
		"Pass-through authentication"
	adviceOther = "this account is not in the tenant: sign in with an account of the tenant, or invite it as a guest"
)

// meanings of the numbers that sign-ins meet; Microsoft adds to them without notice, so the rest goes by the OAuth error.
func meanings(number int) (meaning, bool) {
	for _, table := range []map[int]meaning{ofPeople(), ofPolicies(), ofTheApplication(), ofTheService()} {
		if m, ok := table[number]; ok {
			return m, true
		}
	}
	return meaning{}, false
}

// ofPeople are about the account and its password. Entra gives those of kind Locked and NotEnrolled only after the
// password was right, but for 50053.
func ofPeople() map[int]meaning {
	expired := meaning{authn.Locked, authn.ReasonPasswordExpired,
		"the password has expired: the person changes it at Entra"}
	change := meaning{authn.Locked, authn.ReasonPasswordMustChange,
		"the password must be changed at Entra, for instance after a risk was detected"}
	return map[int]meaning{
		50126: {authn.BadCredentials, reasonWrongPassword, "wrong user name or password; federated users need the portal"},
		50064: {authn.BadCredentials, reasonWrongPassword, "wrong user name or password"},
		50056: {authn.BadCredentials, reasonWrongPassword, "the account has no password at Entra"},
		50034: {authn.BadCredentials, reasonUnknownUser, "no such account in the tenant"},
		51004: {authn.BadCredentials, reasonUnknownUser, "no such account in the tenant"},
		50053: {authn.Locked, reasonAccountLocked,
			"locked by Entra after too many wrong passwords, or the address of idbridge is thought " +
				"malicious: see Sign-in logs"},
		50057: {authn.Locked, reasonAccountDisabled, "the account is disabled"},
		50055: expired, 50144: expired, 50142: change, 50135: change,
		80012: {authn.Locked, reasonLogonHours, "outside of the logon hours that Active Directory sets"},
	}
}

// ofPolicies are what the tenant's rules say of somebody.
func ofPolicies() map[int]meaning {
	table := map[int]meaning{
		50105: {authn.Locked, reasonNotAssigned,
			"assign the person or a group of theirs to the enterprise application, under Users and groups"},
		65004: {authn.Locked, reasonConsent, "the person declined to consent; " + adviceConsent},
	}
	for kind, numbers := range map[meaning][]int{
		{authn.NotEnrolled, reasonMFA, adviceMFA}: {
			50072, 50074, 50076, 50078, 50079, 50125, 50158, 50161, 53004, 700020,
		},
		{authn.Locked, reasonConditional, adviceConditional}: {
			50005, 50097, 50129, 50131, 50155, 50187, 53000, 53001, 53002, 53003, 53010, 53011, 530032, 530034,
			530035,
		},
		{authn.Locked, reasonConsent, adviceConsent}: {65001, 65005, 650056, 650057, 90008, 90094, 90095},
		{authn.Locked, reasonNotInTenant, adviceOther}: {
			16000, 16003, 50014, 50020, 50177, 50178, 90072, 500021, 500022, 500208, 500212, 500213,
		},
		{authn.Untrusted, reasonCode,
			"the code was redeemed before, is too old, or is of another sign-in: somebody may be trying"}: {
			54005, 70000, 70008, 50089, 501481, 50148, 700005, 9002313},
	} {
		for _, n := range numbers {
			table[n] = kind
		}
	}
	return table
}

// ofTheApplication are for its administrator: nobody can sign in until they are seen to.
func ofTheApplication() map[int]meaning {
	table := map[int]meaning{
		7000222: {authn.Unavailable, reasonCredentialExpired,
			"the client secret has expired: make a new one under Certificates & secrets, add it as a second " +
				"entry of credentials, and remove the old one"},
		7000215: {authn.Unavailable, reasonCredential, adviceSecret},
		70002:   {authn.Unavailable, reasonCredential, adviceSecret},
		50194: {authn.Unavailable, reasonConfig,
			"allowed_tenants needs an application with Supported account types: any organizational directory"},
		50011: {authn.Unavailable, reasonConfig,
			"add PORTAL/oidc/PROVIDER/callback as a redirect URI of the platform Web, under Authentication"},
		7000112: {authn.Unavailable, reasonConfig,
			"the enterprise application is disabled: Properties, Enabled for users to sign-in"},
		7000218: {authn.Unavailable, reasonConfig,
			"the app registration takes idbridge for a public client: its redirect URI must be of the " +
				"platform Web"},
	}
	for kind, numbers := range map[meaning][]int{
		{authn.Unavailable, reasonCredential, adviceAssertion}: {
			50012, 50013, 50027, 70021, 700024, 700027, 700030, 700211, 700212, 700213, 700229,
		},
		{authn.Unavailable, reasonConfig, adviceApp}: {
			50001, 50059, 50128, 500011, 70001, 70011, 700011, 700016, 700025, 700054, 90002, 90019, 90038,
			900382, 900432, 900971, 501491,
		},
	} {
		for _, n := range numbers {
			table[n] = kind
		}
	}
	return table
}

// ofTheService pass by themselves.
func ofTheService() map[int]meaning {
	table := map[int]meaning{}
	for kind, numbers := range map[meaning][]int{
		{authn.Unavailable, reasonBusy, adviceBusy}: {
			50000, 50033, 50087, 50088, 50166, 50196, 70012, 90006, 90012, 90024, 90033, 90055, 90090, 90091,
		},
		{authn.Unavailable, reasonBusy, adviceOnPrem}: {80001, 80002, 80005, 80007, 80010, 80013, 80014},
	} {
		for _, n := range numbers {
			table[n] = kind
		}
	}
	return table
}

// refusal is an error as Entra tells it.
type refusal struct {
	OAuth       string `json:"error"`
	Description string `json:"error_description"`
	Numbers     []int  `json:"error_codes"`
	Trace       string `json:"trace_id"`
	Correlation string `json:"correlation_id"`
	Timestamp   string `json:"timestamp"`

	credential string // that it was refused to
}

// readRefusal reads the token endpoint's error; ok is false for anything else.
func readRefusal(body []byte) (r refusal, ok bool) {
	return r, json.Unmarshal(body, &r) == nil && r.OAuth != ""
}

// returnedRefusal reads the error that a browser brings back. It is text from outside.
func returnedRefusal(q url.Values) refusal {
	r := refusal{OAuth: q.Get("error"), Description: q.Get("error_description")}
	r.Trace = after(r.Description, "Trace ID: ")
	r.Correlation = after(r.Description, "Correlation ID: ")
	r.Timestamp = after(r.Description, "Timestamp: ")
	return r
}

// after is the rest of the line behind a label.
func after(text, label string) string {
	_, rest, _ := strings.Cut(text, label)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

var numberPattern = regexp.MustCompile(`^AADSTS([0-9]{4,9})\b`)

// number is Entra's most telling number: the first one that is known here, or else the first one.
func (r refusal) number() int {
	numbers := r.Numbers
	if m := numberPattern.FindStringSubmatch(r.Description); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most nine digits
		numbers = append([]int{n}, numbers...)
	}
	for _, n := range numbers {
		if _, known := meanings(n); known {
			return n
		}
	}
	if len(numbers) == 0 {
		return 0
	}
	return numbers[0]
}

// meaning goes by the number, or else by the OAuth error (RFC 6749, sections 4.1.2.1 and 5.2).
func (r refusal) meaning() meaning {
	if m, known := meanings(r.number()); known {
		return m
	}
	switch r.OAuth {
	case "temporarily_unavailable", "server_error":
		return meaning{authn.Unavailable, reasonBusy, adviceBusy}
	case "access_denied":
		return meaning{authn.Locked, reasonRefused, "Entra or the person refused the sign-in: see Sign-in logs"}
	case "interaction_required":
		return meaning{authn.NotEnrolled, reasonMFA, adviceMFA}
	case "consent_required":
		return meaning{authn.Locked, reasonConsent, adviceConsent}
	case "invalid_client":
		return meaning{authn.Unavailable, reasonCredential, adviceSecret}
	}
	return meaning{authn.Unavailable, reasonRefused, fmt.Sprintf(
		"look the number up at https://login.microsoftonline.com/error; Entra says %q",
		cut(firstLine(r.Description)))}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\r\n")
	return line
}

// err is the refusal with number, advice and ids. The description is quoted only where it is all there is: it may name the
// person.
func (r refusal) err() *authn.Error {
	m := r.meaning()
	what := cut(r.OAuth)
	if n := r.number(); n != 0 {
		what = fmt.Sprintf("AADSTS%d", n)
	}
	if r.credential != "" && (m.reason == reasonCredential || m.reason == reasonCredentialExpired) {
		what = r.credential + ": " + what
	}
	return authn.Errorf(m.kind, m.reason,
		"%s: %s (correlation id %q, trace id %q, at %q)", what, m.advice, cut(r.Correlation), cut(r.Trace),
		cut(r.Timestamp))
}

func (r refusal) blamesCredential() bool {
	reason := r.meaning().reason
	return reason == reasonCredential || reason == reasonCredentialExpired
}
