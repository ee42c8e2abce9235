package testenv

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of what every test domain holds. SambaPassword gives the passwords of its people.
const (
	SambaDomain          = "example.test"
	SambaNetBIOS         = "EXAMPLE"
	SambaBaseDN          = "DC=example,DC=test"
	SambaPeopleDN        = "OU=People," + SambaBaseDN
	SambaGroupsDN        = "OU=Groups," + SambaBaseDN
	SambaServiceDN       = "CN=svc-idbridge,OU=Services," + SambaBaseDN
	SambaServiceUPN      = "svc-idbridge@" + SambaDomain
	SambaServicePassword = "Passw0rd!svc-idbridge"
	SambaAdminUPN        = "Administrator@" + SambaDomain
	SambaAdminPassword   = "Passw0rd!Admin"
)

// SambaPassword is the password of one of the domain's people, by sAMAccountName.
func SambaPassword(user string) string { return "Passw0rd!" + user }

// SambaConfig says how one domain controller differs from the plain one.
type SambaConfig struct {
	CA      *Authority // nil makes a new one
	LDIF    string     // change records for the domain, applied before the server starts
	Options []string   // lines for the [global] part of smb.conf
	CertEnd time.Time  // when the server's certificate ends; zero is tomorrow, a past time is an expired certificate
}

// SambaDC is a running Active Directory domain controller on a loopback address of its own, with the fixed ports of AD.
type SambaDC struct {
	Address         string // the loopback IP address, without a port
	Host            string // the name in the certificate, beside the address: dc1.example.test. No DNS knows it
	URL, PlainURL   string // ldaps:// and ldap:// (StartTLS; a plain-text bind is refused), by address
	GCURL           string // the global catalogue over ldaps
	CA              *Authority
	CAFile          string
	Domain, NetBIOS string
	BaseDN          string

	BindDN, BindUPN, BindPassword string // an ordinary domain user with no group of its own
	AdminUPN, AdminPassword       string

	dir     string
	process *Process
	program string
}

// sambaPorts are those of LDAP, LDAPS, the global catalogue (plain and TLS), Kerberos and its password change.
var sambaPorts = [...]int{389, 636, 3268, 3269, 88, 464}

// sambaRPCPort is the one by which controllers replicate.
const sambaRPCPort = 135

// Samba starts a domain controller on a fresh copy of the test domain (see samba_domain.go for who is in it). The first
// call on a machine provisions the domain, which takes some 15 seconds; it is kept in the user's cache folder. Needs
// root, for the ports.
func Samba(tb TB, c SambaConfig) *SambaDC {
	tb.Helper()
	return startSamba(tb, c, "dc1")
}

// SambaPair starts both domain controllers of the test domain. The second is a real one, that joined the first. As no
// DNS knows their names they do not replicate by themselves, only when a test calls Replicate; so a test sees both the
// agreement and the lag of a real domain. Each controller counts wrong passwords for itself. The LDIF of the
// configuration is applied to the first and replicated.
func SambaPair(tb TB, c SambaConfig) (first, second *SambaDC) {
	tb.Helper()
	if c.CA == nil {
		c.CA = CA(tb)
	}
	c.Options = append([]string{sambaWithRPC}, c.Options...)
	first = startSamba(tb, c, "dc1")
	withLDIF := c.LDIF != ""
	c.LDIF = ""
	second = startSamba(tb, c, "dc2")
	if withLDIF {
		second.Replicate(tb, first)
	}
	return first, second
}

// Replicate brings the domain's changes from the other controller of a pair, which must run, to this one.
func (dc *SambaDC) Replicate(tb TB, from *SambaDC) {
	tb.Helper()
	from.process.waitFor(tb, net.JoinHostPort(from.Address, strconv.Itoa(sambaRPCPort)))
	args := []string{"drs", "replicate", dc.Address, from.Address, SambaBaseDN, "--local", "-s", dc.conf()}
	sambaRun(tb, "", "samba-tool", append(args, sambaAsAdmin[:]...)...)
}

// startSamba restores a controller from the cache and starts it.
func startSamba(tb TB, c SambaConfig, name string) *SambaDC {
	tb.Helper()
	from := filepath.Join(sambaDomainFolder(tb), name)
	if c.CA == nil {
		c.CA = CA(tb)
	}
	address := sambaAddress(tb)
	dc := &SambaDC{
		Address: address, Host: name + "." + SambaDomain, CA: c.CA, CAFile: c.CA.File,
		URL: "ldaps://" + address + ":636", PlainURL: "ldap://" + address + ":389", GCURL: "ldaps://" + address + ":3269",
		Domain: SambaDomain, NetBIOS: SambaNetBIOS, BaseDN: SambaBaseDN,
		BindDN: SambaServiceDN, BindUPN: SambaServiceUPN, BindPassword: SambaServicePassword,
		AdminUPN: SambaAdminUPN, AdminPassword: SambaAdminPassword,
		dir: sambaRunFolder(tb), program: Need(tb, "samba"),
	}
	if out, err := exec.Command("cp", "-a", "--sparse=always", from+"/.", dc.dir).CombinedOutput(); err != nil {
		tb.Fatalf("restoring the domain: %v\n%s", err, out)
	}
	writeSambaConf(tb, dc.dir, name, address, append(dc.certificate(tb, c.CertEnd), c.Options...))
	if c.LDIF != "" {
		dc.LDBModify(tb, c.LDIF)
	}
	dc.Restart(tb)
	return dc
}

// Restart starts the server on the same address and data, after a Stop or Kill.
func (dc *SambaDC) Restart(tb TB) {
	tb.Helper()
	dc.process = Start(tb, nil, dc.program, "-i", "--debug-stdout", "-M", "single", "-s", dc.conf())
	for _, port := range sambaPorts {
		dc.process.waitFor(tb, net.JoinHostPort(dc.Address, strconv.Itoa(port)))
	}
}

// Stop ends the server in good order.
func (dc *SambaDC) Stop() { dc.process.Stop() }

// Kill ends the server at once.
func (dc *SambaDC) Kill() { dc.process.Kill() }

// Process is the running server, for signals.
func (dc *SambaDC) Process() *Process { return dc.process }

func (dc *SambaDC) conf() string { return filepath.Join(dc.dir, "smb.conf") }

// certificate makes the server's certificate and returns the lines of smb.conf that name it.
func (dc *SambaDC) certificate(tb TB, end time.Time) []string {
	tb.Helper()
	cert := dc.CA.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: dc.Host}, DNSNames: []string{dc.Host, SambaDomain},
		IPAddresses: []net.IP{net.ParseIP(dc.Address)}, NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return []string{
		"tls enabled = yes", "tls keyfile = " + cert.KeyFile, "tls certfile = " + cert.CertFile, "tls cafile = " + dc.CAFile,
	}
}

// sambaRunFolder is not tb.TempDir, whose path grows with the test's name: Samba's socket paths may have 107 bytes.
func sambaRunFolder(tb TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "idb-ad-")
	check(tb, err)
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// sambaAddress takes a loopback address for this test: no other test binary has its lock, and nobody listens there.
func sambaAddress(tb TB) string {
	tb.Helper()
	locks := filepath.Join(sambaCache(tb), "addresses")
	check(tb, os.MkdirAll(locks, 0o700))
	for i := 2; i < 255; i++ {
		address := fmt.Sprintf("127.0.0.%d", i)
		lock, err := os.OpenFile(filepath.Join(locks, address), os.O_CREATE|os.O_RDWR, 0o600)
		check(tb, err)
		taken := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
		if taken || !canListen(address) {
			_ = lock.Close()
			continue
		}
		tb.Cleanup(func() { _ = lock.Close() })
		return address
	}
	tb.Fatal("no loopback address with free ports 389, 636, 3268, 3269, 88 and 464; listening there needs root")
	return ""
}

func canListen(address string) bool {
	for _, port := range append(sambaPorts[:], sambaRPCPort) {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// writeSambaConf writes dir/smb.conf, which keeps everything that Samba writes below dir.
func writeSambaConf(tb TB, dir, name, address string, lines []string) {
	tb.Helper()
	conf := `[global]
netbios name = ` + name + `
realm = ` + strings.ToUpper(SambaDomain) + `
workgroup = ` + SambaNetBIOS + `
server role = active directory domain controller
server services = ldap, cldap, kdc
interfaces = ` + address + `/8
bind interfaces only = yes
private dir = ` + dir + `/private
lock directory = ` + dir + `/lock
state directory = ` + dir + `/state
cache directory = ` + dir + `/cache
binddns dir = ` + dir + `/bind-dns
pid directory = ` + dir + `/run
ncalrpc dir = ` + dir + `/run/ncalrpc
winbindd socket directory = ` + dir + `/run/winbindd
log file = ` + dir + `/log
` + strings.Join(lines, "\n") + "\n"
	for _, sub := range []string{"lock", "cache", "run"} {
		check(tb, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	check(tb, os.WriteFile(filepath.Join(dir, "smb.conf"), []byte(conf), 0o600))
}
