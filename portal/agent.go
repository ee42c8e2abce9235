package portal

import "strings"

// agents and systems are the names that browsers give themselves, the telling ones first: Edge calls itself Chrome too, and
// Chrome calls itself Safari.
var (
	agents  = [][2]string{{"Edg", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}}
	systems = [][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"},
		{"Mac OS", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}}
)

// agent is a browser's name for people: "Firefox on Windows". It is a hint, not a proof; empty when it says nothing.
func (v *visit) agent(userAgent string) string {
	browser, system := telling(agents, userAgent), telling(systems, userAgent)
	switch {
	case browser == "":
		return system
	case system == "":
		return browser
	}
	return v.text("sessions.agent", browser, system)
}

func telling(names [][2]string, text string) string {
	for _, n := range names {
		if strings.Contains(text, n[0]) {
			return n[1]
		}
	}
	return ""
}
