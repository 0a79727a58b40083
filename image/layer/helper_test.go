package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An entry is one of an archive: a header and its content.
type entry struct {
	tar.Header
	body string
}

var epoch = time.Unix(1_600_000_000, 0)

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, body}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

func special(name string, typeflag byte) entry {
	return entry{Header: tar.Header{Typeflag: typeflag, Name: name, Mode: 0o644}}
}

func (e entry) mode(mode int64) entry { e.Mode = mode; return e }
func (e entry) owner(uid, gid int) entry {
	e.Uid, e.Gid = uid, gid
	return e
}

func (e entry) xattr(key, value string) entry {
	records := map[string]string{xattrPrefix + key: value}
	for k, v := range e.PAXRecords {
		records[k] = v
	}
	e.PAXRecords = records
	return e
}

// archive is the tar of entries, written leniently: archive/tar refuses little of what a hostile writer would say.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.ModTime.IsZero() {
			e.ModTime = epoch
		}
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("write header of %q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack unpacks entries into a fresh folder, as a user with one id does.
func unpack(t testing.TB, entries ...entry) (string, Summary) {
	t.Helper()
	root := t.TempDir()
	sum, err := Unpack(context.Background(), root, bytes.NewReader(archive(t, entries...)), Options{TolerateChown: true})
	if err != nil {
		t.Fatal(err)
	}
	return root, sum
}

// list answers a line per file below root, in order: what it is, not where it is. skip is left out.
func list(t testing.TB, root, skip string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == skip {
			return filepath.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		fmt.Fprintf(&b, "%s %o %d:%d %d.%d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " links=%d %q", st.Nlink, data)
		case unix.S_IFLNK:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		case unix.S_IFCHR:
			fmt.Fprintf(&b, " dev=%d", st.Rdev)
		}
		fmt.Fprintf(&b, " %v\n", testXattrs(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func testXattrs(name string) map[string]string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(name, buf)
	if err != nil || n == 0 {
		return nil
	}
	found := map[string]string{}
	for _, key := range strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		n, _ := unix.Lgetxattr(name, key, value)
		found[key] = string(value[:max(n, 0)])
	}
	return found
}

func content(t testing.TB, root, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func lstat(t testing.TB, root, name string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
		t.Errorf("lstat %s: %v", name, err)
	}
	return st
}

const usernsVariable = "MINIPOD_LAYER_TEST_IN_USERNS"

// inUserns runs the calling test again as root of a user and a mount namespace, and answers whether this is that run:
//
//	if !inUserns(t, oneID) { return }
//
// The maps are those that users have: one id, or that and the range of /etc/subuid.
func inUserns(t *testing.T, ids idCount) bool {
	t.Helper()
	if os.Getenv(usernsVariable) != "" {
		return true
	}
	// The shell waits for its map and then execs: as root of the namespace, so with all capabilities.
	cmd := exec.Command("/bin/sh", "-c", `read _ && exec "$@"`, "sh", os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), usernsVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	var tools [][]string
	switch uid, gid := os.Getuid(), os.Getgid(); {
	case uid == 0 && ids == idRange:
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: 65536}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{Size: 65536}}
	case ids == oneID:
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	default:
		tools = [][]string{
			append([]string{"newuidmap", "PID", "0", strconv.Itoa(uid), "1", "1"}, subordinate(t, "/etc/subuid")...),
			append([]string{"newgidmap", "PID", "0", strconv.Itoa(gid), "1", "1"}, subordinate(t, "/etc/subgid")...),
		}
	}
	gate, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("user namespaces are not allowed here: %v", err)
	}
	for _, tool := range tools {
		tool[1] = strconv.Itoa(cmd.Process.Pid)
		if text, err := exec.Command(tool[0], tool[1:]...).CombinedOutput(); err != nil {
			gate.Close()
			cmd.Wait()
			t.Skipf("%v: %v: %s", tool, err, text)
		}
	}
	io.WriteString(gate, "go\n")
	gate.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("in the user namespace: %v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "--- SKIP") {
		t.Skipf("in the user namespace:\n%s", out.String())
	}
	return false
}

type idCount int

const (
	oneID idCount = iota
	idRange
)

// subordinate answers the first and the number of the ids that file gives the user.
func subordinate(t *testing.T, file string) []string {
	me, err := user.Current()
	if err != nil {
		t.Skipf("who am I: %v", err)
	}
	data, _ := os.ReadFile(file)
	for _, line := range strings.Split(string(data), "\n") {
		if fields := strings.Split(line, ":"); len(fields) == 3 && (fields[0] == me.Username || fields[0] == me.Uid) {
			return fields[1:]
		}
	}
	t.Skipf("no range for %s in %s", me.Username, file)
	return nil
}
