package supervise

import "syscall"

// dieWithParent makes the kernel kill the child when we end in any way, also by kill -9: an application that nobody
// supervises would follow no flip. The signal is sent when the *thread* that forked ends (prctl(2), PR_SET_PDEATHSIG), so
// the caller must be locked to its thread for as long as the child lives. It reaches the leader only, not what it started.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
