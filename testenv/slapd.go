package testenv

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Names of what every test directory holds.
const (
	SlapdBaseDN       = "dc=example,dc=test"
	SlapdPeopleDN     = "ou=people," + SlapdBaseDN
	SlapdGroupsDN     = "ou=groups," + SlapdBaseDN
	SlapdBindDN       = "cn=service," + SlapdBaseDN
	SlapdBindPassword = "service-secret"
	SlapdRootDN       = "cn=root," + SlapdBaseDN // for changes; no limits and no password policy apply to it
	SlapdRootPassword = "root-secret"
)

// SlapdConfig says what a directory holds beside its base, ou=people, ou=groups and the service account.
type SlapdConfig struct {
	Users   int        // user00000, user00001 ...; the password of user00042 is pw-user00042
	LDIF    string     // more entries; memberOf lines must be written out, as slapadd runs no overlay
	CA      *Authority // nil makes a new one
	Options []string   // lines for slapd.conf before the database, for instance "sizelimit 10"
}

// SlapdServer is a running OpenLDAP.
type SlapdServer struct {
	URL, PlainURL        string // ldaps:// and ldap:// (which offers StartTLS), on 127.0.0.1
	CAFile               string
	CA                   *Authority
	BindDN, BindPassword string // the service account: may read everything but passwords
	BaseDN, PeopleDN     string
	GroupsDN             string
	RootDN, RootPassword string
	conf                 string
	ports                []int
	process              *Process
	program              string
}

// SlapdPassword is the password of a generated user.
func SlapdPassword(user string) string { return "pw-" + user }

// SlapdUser is the name of the i-th generated user.
func SlapdUser(i int) string { return fmt.Sprintf("user%05d", i) }

// Slapd starts an OpenLDAP of the test's own, with ldaps, StartTLS and the memberof and ppolicy overlays. The policy
// locks an account after three wrong passwords in a row only where an entry's pwdPolicySubentry says so: the entry
// cn=strict,ou=policies is such a policy; the default policy has no limit.
func Slapd(tb TB, c SlapdConfig) *SlapdServer {
	tb.Helper()
	program, slapadd := Need(tb, "slapd"), Need(tb, "slapadd")
	if c.CA == nil {
		c.CA = CA(tb)
	}
	dir := tb.TempDir()
	check(tb, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	plain, secure := FreePort(tb), FreePort(tb)
	s := &SlapdServer{
		URL: fmt.Sprintf("ldaps://127.0.0.1:%d", secure), PlainURL: fmt.Sprintf("ldap://127.0.0.1:%d", plain),
		CA: c.CA, CAFile: c.CA.File, BindDN: SlapdBindDN, BindPassword: SlapdBindPassword,
		BaseDN: SlapdBaseDN, PeopleDN: SlapdPeopleDN, GroupsDN: SlapdGroupsDN,
		RootDN: SlapdRootDN, RootPassword: SlapdRootPassword,
		conf: filepath.Join(dir, "slapd.conf"), ports: []int{plain, secure}, program: program,
	}
	check(tb, os.WriteFile(s.conf, []byte(slapdConf(tb, c, dir)), 0o600))
	ldif := filepath.Join(dir, "data.ldif")
	check(tb, os.WriteFile(ldif, []byte(slapdLDIF(tb, c)), 0o600))
	if out, err := exec.Command(slapadd, "-q", "-f", s.conf, "-l", ldif).CombinedOutput(); err != nil {
		tb.Fatalf("slapadd: %v\n%s", err, out)
	}
	s.Restart(tb)
	return s
}

// Restart starts the server on the same ports and data, after a Stop or Kill.
func (s *SlapdServer) Restart(tb TB) {
	tb.Helper()
	s.process = Start(tb, s.ports, s.program, "-d", "0", "-f", s.conf, "-h", s.PlainURL+"/ "+s.URL+"/")
}

// Stop ends the server in good order.
func (s *SlapdServer) Stop() { s.process.Stop() }

// Kill ends the server at once.
func (s *SlapdServer) Kill() { s.process.Kill() }

// Process is the running server, for signals.
func (s *SlapdServer) Process() *Process { return s.process }

// Modify applies LDIF change records as the root of the directory.
func (s *SlapdServer) Modify(tb TB, ldif string) {
	tb.Helper()
	cmd := exec.Command(Need(tb, "ldapmodify"), "-x", "-e", "relax", "-H", s.PlainURL, "-D", s.RootDN, "-w", s.RootPassword)
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("ldapmodify: %v\n%s", err, out)
	}
}

func slapdConf(tb TB, c SlapdConfig, dir string) string {
	tb.Helper()
	cert := c.CA.Server(tb)
	return `modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload memberof
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
pidfile ` + dir + `/slapd.pid
threads 8
TLSCACertificateFile ` + c.CA.File + `
TLSCertificateFile ` + cert.CertFile + `
TLSCertificateKeyFile ` + cert.KeyFile + `
TLSVerifyClient try
` + strings.Join(c.Options, "\n") + `
database mdb
suffix ` + SlapdBaseDN + `
rootdn ` + SlapdRootDN + `
rootpw ` + SlapdRootPassword + `
directory ` + dir + `/db
maxsize 1073741824
dbnosync
index objectClass,uid,cn,mail,member,uniqueMember,memberUid,memberOf,entryUUID eq
access to attrs=userPassword by self write by anonymous auth by * none
access to * by dn.exact="` + SlapdBindDN + `" read by anonymous auth by self read by * none
overlay memberof
memberof-group-oc groupOfNames
memberof-member-ad member
overlay ppolicy
ppolicy_default "cn=default,ou=policies,` + SlapdBaseDN + `"
ppolicy_use_lockout
`
}

func slapdLDIF(tb TB, c SlapdConfig) string {
	tb.Helper()
	var b strings.Builder
	b.WriteString(`dn: ` + SlapdBaseDN + `
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,` + SlapdBaseDN + `
objectClass: organizationalUnit
ou: people

dn: ou=groups,` + SlapdBaseDN + `
objectClass: organizationalUnit
ou: groups

dn: ou=policies,` + SlapdBaseDN + `
objectClass: organizationalUnit
ou: policies

dn: cn=default,ou=policies,` + SlapdBaseDN + `
cn: default
objectClass: applicationProcess
objectClass: pwdPolicy
pwdAttribute: userPassword

dn: cn=strict,ou=policies,` + SlapdBaseDN + `
cn: strict
objectClass: applicationProcess
objectClass: pwdPolicy
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 3
pwdMustChange: TRUE
pwdMaxAge: 86400

dn: ` + SlapdBindDN + `
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: service
userPassword: ` + SSHA(SlapdBindPassword) + "\n\n")
	for i := range c.Users {
		u := SlapdUser(i)
		fmt.Fprintf(&b, "dn: uid=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: User %d\nsn: %d\nmail: %s@example.test\nuserPassword: %s\n\n",
			u, SlapdPeopleDN, u, i, i, u, SSHA(SlapdPassword(u)))
	}
	b.WriteString(c.LDIF)
	return b.String()
}

// SSHA is a password in OpenLDAP's {SSHA} format.
func SSHA(password string) string {
	salt := make([]byte, 8)
	_, _ = rand.Read(salt) // never fails; crypto/rand ends the process instead
	sum := sha1.Sum(append([]byte(password), salt...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}
