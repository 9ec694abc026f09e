package supervise

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// dieWithParent makes the kernel kill the child when we end in any way, also by kill -9: an application that nobody
// supervises would follow no flip. The signal is sent when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG), so
// the caller must be locked to its thread for as long as the child lives. It reaches the leader only, not what it started.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// strays are the processes with mark in the environment that they were started with (proc(5), /proc/pid/environ) which are
// not in the process group: a daemon makes a session of its own, and no signal to the group reaches it. A zombie has no
// environment any more; what wiped its own, or runs as another user, is not found.
func strays(mark string, group int) (pids []int) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(env, []byte(mark)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if pgid, err := syscall.Getpgid(pid); err == nil && pgid != group {
			pids = append(pids, pid)
		}
	}
	return pids
}
