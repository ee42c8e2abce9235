package testenv

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// sambaProvision are the arguments that, with the LDIF of samba_domain.go and Samba's version, make the domain.
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

// sambaDomainFolder is the folder of the provisioned domain. It is named by what went into it, and appears by a rename:
// a folder that is there is complete. The lock lets one of several test binaries provision while the others wait.
func sambaDomainFolder(tb TB) string {
	tb.Helper()
	version, err := exec.Command(Need(tb, "samba"), "--version").Output()
	check(tb, err)
	people, later := sambaPeople(), sambaLater("RID")+sambaExpired()+sambaClash()
	sum := sha256.Sum256([]byte(string(version) + strings.Join(sambaProvision[:], "\n") + people + later))
	dir := filepath.Join(sambaCache(tb), hex.EncodeToString(sum[:8]))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	check(tb, err)
	defer func() { _ = lock.Close() }()
	check(tb, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	making := dir + ".making"
	check(tb, os.RemoveAll(making)) // of a run that was killed
	sambaRun(tb, "", "samba-tool", append(sambaProvision[:], "--targetdir="+making)...)
	writeSambaConf(tb, making, "dc1", "127.0.0.2", nil)
	dc := &SambaDC{dir: making}
	dc.ldb(tb, "sam.ldb", people, "ldbadd")
	dc.LDBModify(tb, sambaLater(dc.rid(tb, "contractors")))
	dc.LDBModify(tb, sambaExpired(), "--controls=local_oid:1.3.6.1.4.1.7165.4.3.12:0") // lets it set pwdLastSet to a time
	// Samba refuses this change (as Windows does since 2021), but domains have such accounts from before: straight to the file.
	dc.ldb(tb, filepath.Join("sam.ldb.d", strings.ToUpper(SambaBaseDN)+".ldb"), sambaClash(), "ldbmodify")
	check(tb, os.RemoveAll(filepath.Join(making, "state", "sysvol"))) // group policy files, which nobody here reads
	check(tb, os.Rename(making, dir))
	return dir
}

// rid is the last part of an account's SID.
func (dc *SambaDC) rid(tb TB, account string) string {
	tb.Helper()
	sid := dc.Attribute(tb, account, "objectSid")
	return sid[strings.LastIndexByte(sid, '-')+1:]
}

// ldb runs one of the ldb programs on a database file of the domain.
func (dc *SambaDC) ldb(tb TB, file, input, program string, args ...string) string {
	tb.Helper()
	at := []string{"--configfile=" + filepath.Join(dc.dir, "smb.conf"), "-H", filepath.Join(dc.dir, "private", file)}
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
