package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// meaning is how an AADSTS number is told: the OAuth error that comes with it, and its first sentence.
type meaning struct {
	oauth, text string
	status      int
}

var meanings = map[int]meaning{
	50011: {"invalid_request",
		"The redirect URI specified in the request does not match the redirect URIs configured for the " +
			"application.", 400},
	50034: {"invalid_grant",
		"The user account does not exist in the directory. To sign into this application, the account " +
			"must be added to the directory.", 400},
	50053: {"invalid_grant",
		"The account is locked, you've tried to sign in too many times with an incorrect user ID or " +
			"password.", 400},
	50055: {"invalid_grant", "The password is expired.", 400},
	50057: {"invalid_grant", "The user account is disabled.", 400},
	50076: {"invalid_grant",
		"Due to a configuration change made by your administrator, or because you moved to a new " +
			"location, you must use multi-factor authentication.", 400},
	50079: {"invalid_grant",
		"Due to a configuration change made by your administrator, you must enroll in multi-factor " +
			"authentication.", 400},
	50105: {"access_denied",
		"Your administrator has configured the application to block users unless they are specifically " +
			"granted ('assigned') access to the application.", 400},
	50126: {"invalid_grant", "Error validating credentials due to invalid username or password.", 400},
	50158: {"invalid_grant", "External security challenge not satisfied.", 400},
	50194: {"invalid_request", "Application is not configured as a multi-tenant application.", 400},
	501481: {"invalid_grant",
		"The Code_Verifier does not match the code_challenge supplied in the authorization request.", 400},
	501491: {"invalid_request", "The size of the code challenge parameter is not valid.", 400},
	53003: {"access_denied",
		"Access has been blocked by Conditional Access policies. The access policy does not allow token " +
			"issuance.", 400},
	54005: {"invalid_grant",
		"OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an " +
			"existing refresh token.", 400},
	65001:  {"invalid_grant", "The user or administrator has not consented to use the application.", 400},
	65004:  {"access_denied", "User declined to consent to access the app.", 400},
	70000:  {"invalid_grant", "The provided value for the 'code' parameter is not valid.", 400},
	700005: {"invalid_grant", "Provided Authorization Code is intended to use against other tenant, thus rejected.", 400},
	700016: {"unauthorized_client", "Application was not found in the directory.", 400},
	700027: {"invalid_client",
		"The certificate with identifier used to sign the client assertion is not registered on " +
			"application.", 401},
	70003:  {"unsupported_grant_type", "The app requested an unsupported grant type.", 400},
	70011:  {"invalid_scope", "The provided value for the input parameter 'scope' is not valid.", 400},
	700054: {"unsupported_response_type", "response_type 'id_token' is not enabled for the application.", 400},
	7000215: {"invalid_client",
		"Invalid client secret provided. Ensure the secret being sent in the request is the client " +
			"secret value, not the client secret ID.", 401},
	7000218: {"invalid_client",
		"The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", 401},
	7000222: {"invalid_client", "The provided client secret keys for app are expired.", 401},
	90002: {"invalid_request",
		"Tenant not found. Check to make sure you have the correct tenant ID and are signing into the " +
			"correct cloud.", 400},
	90033: {"temporarily_unavailable", "A transient error has occurred. Please try again.", 503},
	90094: {"access_denied",
		"An administrator of the organization has set a policy that prevents you from granting the app " +
			"the permissions it requires.", 400},
	900144:  {"invalid_request", "The request body must contain the following parameter: 'client_assertion_type'.", 400},
	9001023: {"invalid_request", "The grant type is not supported over the /common or /consumers endpoints.", 400},
}

func meaningOf(number int) meaning {
	if m, known := meanings[number]; known {
		return m
	}
	return meaning{"invalid_grant", "Something that this stand-in has no words for.", 400}
}

// describe is the text of an error_description. The ids are made up, and the same in each run.
func (s *Server) describe(number int) string {
	return fmt.Sprintf(
		"AADSTS%d: %s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s", number, meaningOf(number).text,
		GUID("trace"), CorrelationID(number), s.Now().UTC().Format("2006-01-02 15:04:05Z"))
}

// CorrelationID is the one that a refusal with that number has.
func CorrelationID(number int) string { return GUID(fmt.Sprint("correlation ", number)) }

// refuse answers as the token endpoint does.
func (s *Server) refuse(w http.ResponseWriter, number int) {
	sendJSON(w, meaningOf(number).status, map[string]any{
		"error": meaningOf(number).oauth, "error_description": s.describe(number), "error_codes": []int{number},
		"timestamp": s.Now().UTC().Format("2006-01-02 15:04:05Z"), "trace_id": GUID("trace"),
		"correlation_id": CorrelationID(number), "error_uri": fmt.Sprintf("https://%s/error?code=%d", s.Authority, number),
	})
}

func sendJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who hangs up has nobody to tell
}
