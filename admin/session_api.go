package admin

import (
	"encoding/json"
	"slices"
	"time"
)

// Me is who calls, and what they may.
type Me struct {
	Username string    `json:"username"`
	Name     string    `json:"name"`
	Provider string    `json:"provider"`
	Role     string    `json:"role" enum:"viewer,operator,administrator"`
	Fresh    time.Time `json:"fresh_until" doc:"until then changes need no step-up"`
	Expires  time.Time `json:"expires" doc:"of the session, however much it is used"`
}

// Code is one of the caller's second factor.
type Code struct {
	Code string `json:"code"`
}

func (c *call) whoAmI(struct{}) (Me, error) {
	s := c.v.Session()
	return Me{Username: s.Username, Name: s.Identity.Name, Provider: s.Identity.Provider, Role: c.role.String(),
		Fresh: s.Proven.Add(freshFor), Expires: s.Expires}, nil
}

// operations is everything that the API does.
func operations() []operation {
	return slices.Concat([]operation{
		op("GET", "/openapi.json", "describe", Viewer, "This document", func(c *call, _ struct{}) (json.RawMessage, error) {
			return c.spec, nil
		}),
		op("GET", "/session", "showSession", Viewer, "Who calls, and what they may", (*call).whoAmI),
		op("POST", "/session/step-up", "stepUp", Viewer, "Prove the second factor anew; the session's cookie changes",
			func(c *call, in Code) (Me, error) {
				if err := c.stepUp(in.Code); err != nil {
					return Me{}, err
				}
				return c.whoAmI(struct{}{})
			}).with(func(o *operation) { o.free = true }),
	}, userOperations(), importOperations(), auditOperations(), configurationOperations(), healthOperations(),
		webhookOperations(), verificationOperations())
}
