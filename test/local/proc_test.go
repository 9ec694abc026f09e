package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain plays the parent of TestChildrenDieWithAKilledParent when told so by the environment.
func TestMain(m *testing.M) {
	if logFile := os.Getenv("DRAWBRIDGE_TEST_PARENT"); logFile != "" {
		p, err := Start(Spec{Name: "sleeper", Path: "sleep", Args: []string{"600"}, LogFile: logFile})
		fmt.Println(p.Pid(), err)
		select {}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Spec{Name: "child", Path: "sh", Args: []string{"-c", script}, LogFile: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func printed(p *Process, want string) func(context.Context) error {
	return func(context.Context) error {
		if got := p.Log(5); !strings.Contains(got, want) {
			return fmt.Errorf("log holds %q", got)
		}
		return nil
	}
}

func TestChildrenDieWithAKilledParent(t *testing.T) {
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), "DRAWBRIDGE_TEST_PARENT="+filepath.Join(t.TempDir(), "log"))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		t.Fatalf("parent printed %q: %v", line, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("child %d does not run: %v", pid, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed" is the point
	err = WaitFor(within(t, 2*time.Minute), "the end of the orphan", func(context.Context) error {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") { // gone, or dead and nobody to wait for it
			return nil
		}
		return fmt.Errorf("it still runs: %s", state)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStopKillsWhatIgnoresSIGTERM(t *testing.T) {
	p := start(t, "trap '' TERM; echo up; while true; do sleep 1; done")
	if err := p.WaitReady(within(t, 2*time.Minute), "child", printed(p, "up")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(100 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Stop: %v, want a word that it had to be killed", err)
	}
	if p.Running() {
		t.Error("it runs after Stop")
	}
}

func TestStopEndsAPausedChildInOrder(t *testing.T) {
	p := start(t, "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.05; done")
	if err := p.WaitReady(within(t, 2*time.Minute), "child", printed(p, "up")); err != nil {
		t.Fatal(err)
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.Log(5), "bye") {
		t.Errorf("it did not end by itself: %s", p.Log(5))
	}
}

func TestWaitReadyGivesUpWithTheLogWhenTheChildEnds(t *testing.T) {
	p := start(t, "echo no such disk; exit 3")
	err := p.WaitReady(within(t, 2*time.Minute), "child", func(context.Context) error { return errors.New("connection refused") })
	for _, want := range []string{"no such disk", "exit status 3", "connection refused", "child"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
}

func TestWaitForNamesWhatItWaitedForAndTheLastReason(t *testing.T) {
	n := 0
	err := WaitFor(within(t, 50*time.Millisecond), "lag 0 of orders", func(context.Context) error { n++; return fmt.Errorf("lag is %d", n) })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lag 0 of orders") || !strings.Contains(err.Error(), fmt.Sprintf("lag is %d", n)) {
		t.Error(err)
	}
}

func TestFreePortsNeverGivesAPortTwice(t *testing.T) {
	seen := make(map[int]bool)
	for range 20 {
		ports, err := FreePorts(10)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			if seen[p] || p >= ephemeralStart() {
				t.Errorf("port %d given twice, or taken from the range of outgoing connections", p)
			}
			seen[p] = true
		}
	}
}
