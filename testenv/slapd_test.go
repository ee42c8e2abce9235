package testenv_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/testenv"
)

func TestSlapdAnswersOverTLSAndAfterARestart(t *testing.T) {
	s := testenv.Slapd(t, testenv.SlapdConfig{Users: 50})
	who := func() string {
		t.Helper()
		cmd := exec.Command(testenv.Need(t, "ldapwhoami"), "-x", "-H", s.URL,
			"-D", "uid=user00042,"+s.PeopleDN, "-w", testenv.SlapdPassword("user00042"))
		cmd.Env = append(cmd.Environ(), "LDAPTLS_CACERT="+s.CAFile)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const want = "dn:uid=user00042,ou=people,dc=example,dc=test"
	if got := who(); got != want {
		t.Errorf("signed in as %q, want %q", got, want)
	}
	s.Kill()
	s.Restart(t)
	if got := who(); got != want {
		t.Errorf("after the restart: %q, want %q", got, want)
	}
}
