//go:build unix && !linux

package supervise

import "syscall"

// dieWithParent does nothing: these systems have no parent-death signal. After a kill -9 of us the child goes on
// unsupervised and must be ended by hand.
func dieWithParent(*syscall.SysProcAttr) {}

// strays finds nothing: a command that makes itself a daemon is not stopped on these systems.
func strays(string, int) []int { return nil }
