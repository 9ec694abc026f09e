package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
)

// daemon makes a session of its own, so that no signal to the child's process group reaches it; it writes its id, and
// "late" when it has taken its time to stop.
const daemon = `setsid sh -c 'trap "sleep 0.5; echo late >>$LOG; exit 0" TERM; echo $$ >>$LOG; while :; do sleep 0.02; done' & `

func (tr *trial) daemonUp() (pid int) {
	tr.t.Helper()
	tr.until("the daemon", func() error {
		if len(tr.log()) == 0 {
			return errors.New("not up")
		}
		return nil
	})
	if _, err := fmt.Sscan(tr.log()[0], &pid); err != nil {
		tr.t.Fatal(err)
	}
	return pid
}

func (tr *trial) gone(pid int) {
	tr.t.Helper()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
		tr.t.Errorf("the daemon %d still runs: %v", pid, err)
	}
}

func TestADaemonThatTheChildMadeIsStoppedBeforeTheStopIsAcknowledged(t *testing.T) {
	tr := try(t, daemon+`trap 'exit 0' TERM; while :; do sleep 0.02; done`)
	tr.show(rec(1, "east", record.Open))
	pid := tr.daemonUp()
	tr.show(rec(1, "east", record.Frozen))
	tr.untilAck(client.Stopped, 1, record.Frozen, "")
	tr.gone(pid)
	if got := tr.log(); !slices.Contains(got, "late") {
		t.Errorf("acknowledged before it had stopped by itself: %q", got)
	}
}

func TestADaemonThatIgnoresSIGTERMIsKilled(t *testing.T) {
	tr := try(t, strings.Replace(daemon, `"sleep 0.5; echo late >>$LOG; exit 0"`, `""`, 1)+`wait`, func(c *Config) { c.KillTimeout = 300 * time.Millisecond })
	tr.show(rec(1, "east", record.Open))
	pid := tr.daemonUp()
	tr.show(rec(2, "west", record.Frozen))
	tr.untilAck(client.Stopped, 2, record.Frozen, "")
	tr.gone(pid)
}

// A command that goes into the background cannot be supervised: it is ended, and its shell's code kept.
func TestAChildThatEndsAtOnceAndLeavesADaemonBehind(t *testing.T) {
	tr := try(t, daemon+`while ! [ -s $LOG ]; do sleep 0.01; done; exit 3`)
	tr.show(rec(1, "east", record.Open))
	tr.ends(3)
	tr.gone(tr.daemonUp())
}

func TestOnlyWhatTheChildStartedIsTakenForItsOwn(t *testing.T) {
	tr := try(t, waiting)
	tr.show(rec(1, "east", record.Open))
	tr.untilAck(client.Running, 1, record.Open, "east")
	found := strays("LOG="+filepath.Join(tr.dir, "log"), 0) // this trial's: the machine may have others under drctl exec
	if len(found) == 0 {
		t.Fatal("the child is not found")
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", found[0]))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(env, []byte(markName+"="))
	if i < 0 {
		t.Fatal("the child carries no mark")
	}
	mark, _, _ := strings.Cut(string(env[i:]), "\x00")
	group, err := syscall.Getpgid(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := strays(mark, group); len(got) != 0 || group == syscall.Getpgrp() {
		t.Errorf("%v outside of the child's group %d", got, group)
	}
	if got := strays("no such mark", 0); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}
