//go:build unix

package testdb

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// An account is the user as whom a server runs.
type account struct{ uid, gid int }

// accountFor is the user of that name, or nobody, where the test process is
// root, and nil where it is not.
func accountFor(name string) (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // nil is the user that runs the test
	}
	found, err := user.Lookup(name)
	if err != nil {
		if found, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("there is neither a user %s nor nobody, and a server does not run as root: %w", name, err)
		}
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(found.Gid)
	return &account{uid: uid, gid: gid}, err
}

// take makes the command run as that user, in a process group of its own, so
// that an interrupt at the terminal leaves the watch alive to clean up.
func (a *account) take(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C"}
	}
}
