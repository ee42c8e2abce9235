package testenv

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the variables below
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The code that makes the domain is part of its name in the cache: with other code it is made anew.
var (
	//go:embed samba_cache.go
	sambaCacheSource string
	//go:embed samba_domain.go
	sambaDomainSource string
)

// sambaProvision are the arguments that make the empty domain.
var sambaProvision = [...]string{
	"domain", "provision", "--realm=EXAMPLE.TEST", "--domain=" + SambaNetBIOS, "--server-role=dc", "--dns-backend=NONE",
	"--adminpass=" + SambaAdminPassword, "--host-name=dc1", "--host-ip=127.0.0.2", "--option=interfaces=127.0.0.2/8",
	"--option=bind interfaces only=yes", "--option=server services=ldap, cldap, kdc", "--option=dns forwarder=",
}

// sambaCache is where this machine user keeps provisioned domains and address locks.
func sambaCache(tb TB) string {
	tb.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	dir := filepath.Join(base, "idbridge-samba")
	check(tb, os.MkdirAll(dir, 0o700))
	return dir
}

// sambaDomainFolder is the folder of the provisioned domain, with a folder for each of its two controllers. It is named
// by what went into it, and appears by a rename: a folder that is there is complete. The lock lets one of several test
// binaries provision while the others wait.
func sambaDomainFolder(tb TB) string {
	tb.Helper()
	version, err := exec.Command(Need(tb, "samba"), "--version").Output()
	check(tb, err)
	people, sum := sambaPeople(), sha256.New()
	for _, part := range append(sambaProvision[:], string(version), sambaCacheSource, sambaDomainSource, people) {
		_, _ = io.WriteString(sum, part) // a hash takes everything
	}
	dir := filepath.Join(sambaCache(tb), hex.EncodeToString(sum.Sum(nil)[:8]))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	check(tb, err)
	defer func() { _ = lock.Close() }()
	check(tb, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		check(tb, os.Chtimes(dir, now, now)) // for forgetSamba
		return dir
	}
	forgetSamba(tb)
	making := dir + ".making"
	check(tb, os.RemoveAll(making)) // of a run that was killed
	dc := provisionSamba(tb, filepath.Join(making, "dc1"), people)
	joinSamba(tb, dc, filepath.Join(making, "dc2"))
	check(tb, os.Rename(making, dir))
	return dir
}

// forgetSamba removes the domains of other code or another Samba that no test has asked for in a week: each is 100 MB.
func forgetSamba(tb TB) {
	tb.Helper()
	domains, err := filepath.Glob(filepath.Join(sambaCache(tb), "*", "dc1"))
	check(tb, err)
	for _, dc1 := range domains {
		dir := filepath.Dir(dc1)
		info, err := os.Stat(dir)
		if err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
			check(tb, os.RemoveAll(dir))
		}
	}
}

// provisionSamba makes the domain, on its first controller, in dir.
func provisionSamba(tb TB, dir, people string) *SambaDC {
	tb.Helper()
	check(tb, os.MkdirAll(filepath.Dir(dir), 0o700))
	sambaRun(tb, "", "samba-tool", append(sambaProvision[:], "--targetdir="+dir)...)
	dc := &SambaDC{Address: sambaAddress(tb), dir: dir, program: Need(tb, "samba")}
	writeSambaConf(tb, dir, "dc1", dc.Address, []string{sambaWithRPC})
	dc.ldb(tb, "sam.ldb", people, "ldbadd")
	dc.LDBModify(tb, sambaLater(dc.rid(tb, "contractors")))
	dc.LDBModify(tb, sambaExpired(), "--controls=local_oid:1.3.6.1.4.1.7165.4.3.12:0") // lets it set pwdLastSet to a time
	// Samba refuses this change, but domains have such accounts from before it did: straight to the file.
	dc.ldb(tb, filepath.Join("sam.ldb.d", strings.ToUpper(SambaBaseDN)+".ldb"), sambaClash(), "ldbmodify")
	check(tb, os.RemoveAll(filepath.Join(dir, "state", "sysvol"))) // group policy files, which nobody here reads
	return dc
}

// joinSamba makes a second domain controller in dir: a real join to the first, which runs meanwhile.
func joinSamba(tb TB, first *SambaDC, dir string) {
	tb.Helper()
	first.Restart(tb)
	conf := dir + ".conf"
	check(tb, os.WriteFile(conf, []byte("[global]\nnetbios name = dc2\nworkgroup = "+SambaNetBIOS+"\nrealm = "+SambaDomain+
		"\ninterfaces = 127.0.0.1/8\nbind interfaces only = yes\nserver services = ldap, cldap, kdc\n"), 0o600))
	args := []string{"domain", "join", SambaDomain, "DC", "--server=" + first.Address, "--realm=" + SambaDomain,
		"--dns-backend=NONE", "--targetdir=" + dir, "-s", conf, "--option=netbios name=dc2"}
	sambaRun(tb, "", "samba-tool", append(args, sambaAsAdmin[:]...)...)
	first.Stop()
}

// sambaAsAdmin are the arguments that let samba-tool talk to a controller by address, for which Kerberos has no name.
var sambaAsAdmin = [...]string{"-UAdministrator", "--password=" + SambaAdminPassword, "--use-kerberos=off"}

// sambaWithRPC is the line of smb.conf with which another controller can join this one and replicate from it.
const sambaWithRPC = "server services = ldap, cldap, kdc, rpc\n" +
	"dcerpc endpoint servers = epmapper, samr, netlogon, lsarpc, drsuapi"

// rid is the last part of an account's SID.
func (dc *SambaDC) rid(tb TB, account string) string {
	tb.Helper()
	sid := dc.Attribute(tb, account, "objectSid")
	return sid[strings.LastIndexByte(sid, '-')+1:]
}

// ldb runs one of the ldb programs on a database file of the domain.
func (dc *SambaDC) ldb(tb TB, file, input, program string, args ...string) string {
	tb.Helper()
	at := []string{"--configfile=" + dc.conf(), "-H", filepath.Join(dc.dir, "private", file)}
	return sambaRun(tb, input, program, append(at, args...)...)
}

func sambaRun(tb TB, input, program string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(Need(tb, program), args...)
	cmd.Env = append(cmd.Environ(), "TDB_NO_FSYNC=1") // nothing here has to survive a power cut
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// The ldb programs end with 0 when they fail after the first record.
	if err != nil || strings.Contains(stderr.String(), "ERR:") {
		tb.Fatalf("%s: %v\n%s%s", program, err, out, stderr.String())
	}
	return string(out)
}
