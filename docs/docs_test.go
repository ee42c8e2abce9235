package docs_test

import (
	"strings"
	"testing"

	"github.com/idbridge/idbridge/docs"
)

func TestExplain(t *testing.T) {
	for reason, want := range map[string]docs.Reason{
		"no_id_on_environment": {"the IT user has no id on this environment", "import the ids of that environment"},
		"wrong_password":       {"the directory refused the password", ""},
	} {
		if got, ok := docs.Explain(reason); !ok || got != want {
			t.Errorf("%s: %+v, %v", reason, got, ok)
		}
	}
	for _, among := range []string{"account_disabled", "code_replayed", "store_busy"} { // of rows with several
		if got, ok := docs.Explain(among); !ok || got.Happened == "" {
			t.Errorf("%s: %+v, %v", among, got, ok)
		}
	}
	for reason, want := range map[string]string{"code_replayed": "wrong_code", "wrong_code": "wrong_code", "account": "", "": ""} {
		if got := docs.RowOf(reason); got != want {
			t.Errorf("%s is explained with %q, want %q", reason, got, want)
		}
	}
	for _, unknown := range []string{"", "no_such_reason", "bad_credentials", "account"} {
		if got, ok := docs.Explain(unknown); ok {
			t.Errorf("%s: %+v", unknown, got)
		}
	}
	if r, _ := docs.Explain("service_account"); strings.Contains(r.Advice, "`") {
		t.Errorf("%q has Markdown in it", r.Advice)
	}
}
