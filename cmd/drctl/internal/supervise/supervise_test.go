//go:build unix

package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func rec(epoch int64, active string, phase record.Phase) record.Record {
	standby := map[string]string{"east": "west", "west": "east"}[active]
	return record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: phase, Epoch: epoch, PrevEpoch: epoch - 1,
		Active: []string{active}, Standby: []string{standby},
		Bootstrap:   map[string][]string{"east": {"e1:1", "e2:1"}, "west": {"w1:2"}},
		SecurityRef: map[string]string{"east": "ref-east", "west": "ref-west"},
		OpID:        "op", ChangedBy: "test",
	}
}

// trial is one Run under test.
type trial struct {
	t       *testing.T
	dir     string
	updates chan client.Update
	signals chan os.Signal
	cancel  context.CancelFunc
	done    chan struct{}
	code    int
	err     error

	mu   sync.Mutex // guards the field below
	acks []client.Ack
}

// try runs script with sh; $LOG is a file that it may write lines to.
func try(t *testing.T, script string, change ...func(*Config)) *trial {
	t.Helper()
	tr := &trial{t: t, dir: t.TempDir(), updates: make(chan client.Update), signals: make(chan os.Signal, 8), done: make(chan struct{})}
	t.Setenv("LOG", filepath.Join(tr.dir, "log"))
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	cfg := Config{
		Pair: "orders", Group: "billing", Instance: "i1", Command: []string{"sh", "-c", script},
		KillTimeout: 20 * time.Second, Stdin: null, Stdout: os.Stderr, Stderr: os.Stderr,
		Ack: tr.ack, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tr.cancel = cancel
	go func() {
		defer close(tr.done)
		tr.code, tr.err = Run(ctx, cfg, tr.updates, tr.signals)
	}()
	t.Cleanup(func() { cancel(); <-tr.done })
	return tr
}

func (tr *trial) ack(_ context.Context, a client.Ack) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.acks = append(tr.acks, a)
	return nil
}

func (tr *trial) show(r record.Record) {
	tr.t.Helper()
	select {
	case tr.updates <- client.Update{Record: r, Origin: client.FromConsul}:
	case <-tr.done:
		tr.t.Fatalf("it has ended: code %d, %v", tr.code, tr.err)
	case <-time.After(2 * time.Minute):
		tr.t.Fatal("the record was not taken in two minutes")
	}
}

func (tr *trial) log() []string {
	raw, err := os.ReadFile(filepath.Join(tr.dir, "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tr.t.Fatal(err)
	}
	return strings.Fields(string(raw))
}

// untilLog waits until the children have written exactly these words.
func (tr *trial) untilLog(want ...string) {
	tr.t.Helper()
	tr.until(fmt.Sprintf("log %q", want), func() error {
		if got := tr.log(); !slices.Equal(got, want) {
			return fmt.Errorf("log is %q", got)
		}
		return nil
	})
}

func (tr *trial) untilAck(state client.AckState, epoch int64, phase record.Phase, site string) {
	tr.t.Helper()
	tr.until(fmt.Sprintf("ack %s %d %s %s", state, epoch, phase, site), func() error {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, a := range tr.acks {
			if a.State == state && a.Epoch == epoch && a.Phase == phase && a.Site == site && a.Group == "billing" && a.Instance == "i1" {
				return nil
			}
		}
		return fmt.Errorf("acks so far: %+v", tr.acks)
	})
}

func (tr *trial) until(what string, cond func() error) {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *trial) ends(code int) {
	tr.t.Helper()
	select {
	case <-tr.done:
	case <-time.After(2 * time.Minute):
		tr.t.Fatalf("still running; log %q", tr.log())
	}
	if tr.code != code {
		tr.t.Errorf("ended with code %d (%v), want %d", tr.code, tr.err, code)
	}
}

// waiting logs where it was started and, on SIGTERM, that it ended.
const waiting = `trap 'echo stopped >>$LOG; exit 0' TERM; echo up:$DRAWBRIDGE_SITE:$DRAWBRIDGE_BOOTSTRAP:$DRAWBRIDGE_EPOCH:$DRAWBRIDGE_SECURITY_REF >>$LOG; while :; do sleep 0.02; done`

func TestFreezeStopsTheChildAndTheFlipStartsItAtTheNewSite(t *testing.T) {
	tr := try(t, waiting)
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east")
	tr.untilAck(client.Running, 1, record.Open, "east")
	tr.show(rec(1, "east", record.Frozen))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east", "stopped")
	tr.untilAck(client.Stopped, 1, record.Frozen, "")
	tr.show(rec(2, "west", record.Frozen))
	tr.untilAck(client.Stopped, 2, record.Frozen, "")
	tr.show(rec(2, "west", record.Open))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east", "stopped", "up:west:w1:2:2:ref-west")
	tr.untilAck(client.Running, 2, record.Open, "west")
}

func TestAChildWaitsForItsWaveAndIsNotStoppedByACopyThatDoesNotKnowOfIt(t *testing.T) {
	tr := try(t, waiting)
	wave := func(r record.Record, waits ...string) record.Record { r.Waits = waits; return r }
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east")
	tr.show(wave(rec(2, "west", record.Open), "billing", "reports"))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east", "stopped")
	tr.untilAck(client.Stopped, 2, record.Open, "")
	tr.show(wave(rec(2, "west", record.Open), "billing"))
	tr.show(wave(rec(2, "west", record.Frozen), "billing"))
	tr.show(wave(rec(2, "west", record.Frozen)))
	tr.untilAck(client.Stopped, 2, record.Frozen, "")
	if got := tr.log(); len(got) != 2 {
		t.Errorf("it was started before its turn: %q", got)
	}
	tr.show(wave(rec(2, "west", record.Open), "reports"))
	up := []string{"up:east:e1:1,e2:1:1:ref-east", "stopped", "up:west:w1:2:2:ref-west"}
	tr.untilLog(up...)
	tr.show(wave(rec(2, "west", record.Open), "billing", "reports")) // a copy that is behind
	tr.show(rec(2, "west", record.Open))
	tr.show(rec(2, "west", record.Frozen)) // what comes behind them: nothing has stopped it before
	tr.untilLog(append(up, "stopped")...)
}

func TestAFlipWithoutFreezeStopsFirstAndMovingMayStart(t *testing.T) {
	tr := try(t, waiting, func(c *Config) { c.Splay = 50 * time.Millisecond })
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east")
	tr.show(rec(2, "west", record.Moving))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east", "stopped", "up:west:w1:2:2:ref-west")
}

func TestAnEpochThatLeavesTheGroupsSiteAloneDoesNotRestartTheChild(t *testing.T) {
	tr := try(t, waiting)
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east")
	tr.show(rec(1, "east", record.Moving))
	other := rec(2, "east", record.Open)
	other.Groups = map[string]record.Group{"reporting": {Site: "west"}}
	tr.show(other)
	tr.untilAck(client.Running, 2, record.Open, "east")
	if got := tr.log(); len(got) != 1 {
		t.Errorf("log %q", got)
	}
	moved := rec(3, "east", record.Open)
	moved.Groups = map[string]record.Group{"billing": {Site: "west"}}
	tr.show(moved)
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east", "stopped", "up:west:w1:2:3:ref-west")
}

func TestAChildThatIgnoresSIGTERMIsKilledAfterTheTimeoutWithItsWholeGroup(t *testing.T) {
	// The grandchild ignores SIGTERM too and would go on producing.
	script := `trap '' TERM; sh -c 'trap "" TERM; echo $$ >>$LOG; while :; do sleep 0.02; done' & wait`
	tr := try(t, script, func(c *Config) { c.KillTimeout = 300 * time.Millisecond })
	tr.show(rec(1, "east", record.Open))
	tr.until("grandchild", func() error {
		if len(tr.log()) == 0 {
			return errors.New("not up")
		}
		return nil
	})
	var pid int
	if _, err := fmt.Sscan(tr.log()[0], &pid); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	tr.show(rec(1, "east", record.Frozen))
	tr.untilAck(client.Stopped, 1, record.Frozen, "")
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("acknowledged after %s, before the kill timeout", took)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
		t.Errorf("the grandchild %d still runs though the stop was acknowledged: %v", pid, err)
	}
}

// zombie: ended, but its new parent has not reaped it.
func zombie(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(raw), ") Z ")
}

func TestTheLeadersEndAloneIsNotAcknowledged(t *testing.T) {
	// The shell ends at once on SIGTERM, what it started takes a second longer.
	script := `trap 'exit 0' TERM; sh -c 'trap "sleep 1; echo late >>$LOG; exit 0" TERM; echo up >>$LOG; while :; do sleep 0.02; done' & wait`
	tr := try(t, script)
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("up")
	tr.show(rec(1, "east", record.Frozen))
	tr.untilAck(client.Stopped, 1, record.Frozen, "")
	if got := tr.log(); !slices.Equal(got, []string{"up", "late"}) {
		t.Errorf("acknowledged while the log was %q", got)
	}
}

func TestTheChildsExitCodeIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		code   int
	}{"zero": {"exit 0", 0}, "own": {"exit 42", 42}, "signal": {"kill -KILL $$", 137}} {
		t.Run(name, func(t *testing.T) {
			tr := try(t, c.script)
			tr.show(rec(1, "east", record.Open))
			tr.ends(c.code)
		})
	}
}

func TestACommandThatCannotStartEndsWithTheShellsCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "not-executable")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, code := range map[string]int{"drawbridge-no-such-command": CodeNotFound, file: CodeNotExecutable} {
		tr := try(t, "", func(c *Config) { c.Command = []string{command} })
		tr.show(rec(1, "east", record.Open))
		tr.ends(code)
		if tr.err == nil {
			t.Error("no error is returned")
		}
	}
}

func TestSignalsArePassedOnAndTermEndsTheSupervision(t *testing.T) {
	// A shell cannot trap what was ignored when it began, as HUP is under nohup and QUIT in the background; what we listen
	// for is not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGQUIT)
	script := `for s in HUP QUIT USR1 USR2; do trap "echo $s >>$LOG" $s; done; trap 'echo TERM >>$LOG; exit 7' TERM; echo up >>$LOG; while :; do sleep 0.02; done`
	tr := try(t, script, func(c *Config) { c.Restart = true })
	tr.show(rec(1, "east", record.Open))
	want := []string{"up"}
	tr.untilLog(want...)
	for _, s := range []struct {
		name string
		sig  syscall.Signal
	}{{"HUP", syscall.SIGHUP}, {"QUIT", syscall.SIGQUIT}, {"USR1", syscall.SIGUSR1}, {"USR2", syscall.SIGUSR2}, {"TERM", syscall.SIGTERM}} {
		tr.signals <- s.sig
		want = append(want, s.name)
		tr.untilLog(want...)
	}
	tr.ends(7)
}

func TestTermWhileFrozenEndsWithoutAChild(t *testing.T) {
	tr := try(t, waiting)
	tr.show(rec(1, "east", record.Frozen))
	tr.untilAck(client.Stopped, 1, record.Frozen, "")
	tr.signals <- syscall.SIGTERM
	tr.ends(143)
	if got := tr.log(); len(got) != 0 {
		t.Errorf("a child was started while frozen: %q", got)
	}
}

func TestAChildThatIgnoresSIGINTStillFollowsAFreeze(t *testing.T) {
	tr := try(t, `trap '' INT; `+waiting)
	tr.show(rec(1, "east", record.Open))
	tr.untilLog("up:east:e1:1,e2:1:1:ref-east")
	tr.signals <- syscall.SIGINT
	tr.show(rec(1, "east", record.Frozen))
	tr.ends(0)
}

func TestRestartStartsAnEndedChildAgainWithAPause(t *testing.T) {
	tr := try(t, `echo run >>$LOG; exit 1`, func(c *Config) { c.Restart = true })
	began := time.Now()
	tr.show(rec(1, "east", record.Open))
	tr.until("second run", func() error {
		if len(tr.log()) < 2 {
			return errors.New("one run")
		}
		return nil
	})
	if took := time.Since(began); took < firstBackOff/2 {
		t.Errorf("started again after %s", took)
	}
	// Frozen between two runs: none is started any more.
	tr.show(rec(1, "east", record.Frozen))
	tr.untilAck(client.Stopped, 1, record.Frozen, "")
	tr.cancel()
	tr.ends(143)
}
