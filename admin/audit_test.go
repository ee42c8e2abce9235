package admin_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/insight"
)

// The audit can be searched, gone through and explained; what a search cannot mean is said.
func TestAuditPages(t *testing.T) {
	r := newRig(t)
	r.furnished()
	b := r.signedIn("vera")
	first := b.get("/audit?user=URS*&kind=refused&limit=2").wants(t, "a search", http.StatusOK, "wrong_password", "throttled", "Next page")
	if strings.Contains(first.body, "<span class=\"yes\">") {
		t.Error("a granted sign-in among the refused")
	}
	b.get("/audit?from=2020-01-02T03:04&until=2020-01-01T00:00").wants(t, "backwards", 422, "ends before it begins", `value="2020-01-02T03:04"`)
	b.get("/audit?user=%3Cscript%3E").wants(t, "markup", http.StatusOK, "No record fits", "&lt;script&gt;")
	b.get("/audit?cursor=x").wants(t, "no cursor", 422, "leads to no page")
	b.get("/audit/explain?id=refused").wants(t, "explained", http.StatusOK, "Why it was refused", `class="ended"`, "/users/show?name=ursula", "127.0.0.0")
	b.get("/audit/explain?id=nothing").wants(t, "no such call", http.StatusNotFound, "There is nothing here")
	b.api("GET", "/calls/nothing", "").problem(t, "no such call", http.StatusNotFound, "not_found")
	b.api("GET", "/audit?from=yesterday", "").problem(t, "no time", 422, "invalid")
	b.api("GET", "/audit?kind=odd", "").problem(t, "no kind", 422, "invalid")
	b.get("/charts?span=7d&environment=production").wants(t, "charts", http.StatusOK, "<svg class=\"chart\"", "The numbers", "Refused, by kind")
	b.api("GET", "/statistics?span=24h", "").wants(t, "numbers", http.StatusOK, `"id":"latency"`, "null")
}

// The pages' style has that of charts, word for word.
func TestChartStyle(t *testing.T) {
	style, err := os.ReadFile("../templates/admin/style.css")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(style), insight.ChartStyle) {
		t.Error("templates/admin/style.css lacks insight.ChartStyle as it is now")
	}
}
