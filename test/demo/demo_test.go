//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// played runs the demo and returns its verdict.
func played(t *testing.T, opts Options) (ok bool, r check.Report, said string) {
	t.Helper()
	opts.Report = filepath.Join(t.TempDir(), "demo.json")
	t.Setenv("TMPDIR", t.TempDir()) // what a story that is not ok leaves goes with the test
	var out safeBuffer
	ok, err := play(t.Context(), opts, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	raw, err := os.ReadFile(opts.Report)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if r.OK != ok {
		t.Fatalf("the report says %t, the demo %t", r.OK, ok)
	}
	return ok, r, out.String()
}

// safeBuffer is written to by several goroutines.
type safeBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestTheTutorialAccountsForEveryRecord(t *testing.T) {
	for _, tc := range []struct {
		kind     local.KafkaKind
		seed     uint64
		replicas int // of the engine at each site
	}{{local.KFake, 1, 2}, {local.KFake, 2, 1}, {local.Apache, 3, 2}} {
		t.Run(fmt.Sprintf("%s seed %d replicas %d", tc.kind, tc.seed, tc.replicas), func(t *testing.T) {
			ok, r, said := played(t, Options{Kind: tc.kind, Seed: tc.seed, Replicas: tc.replicas})
			if !ok {
				t.Fatalf("%v\n%s", r.Faults, said)
			}
			clicks := r.Topics[clicksTopic]
			if clicks.Acked < 10_000 || clicks.LaggedFound == 0 {
				t.Errorf("%d clicks, %d of them lagged: the story is too small", clicks.Acked, clicks.LaggedFound)
			}
			t.Logf("RTO %d ms, %d clicks, %d lagged, redelivered %+v of at most %+v", r.RTOMillis, clicks.Acked, clicks.LaggedFound, clicks.Redelivered, clicks.Forecast)
		})
	}
}

func TestAnEngineThatDropsARecordIsFoundOut(t *testing.T) {
	ok, r, said := played(t, Options{Kind: local.KFake, Seed: 1, Mutant: "drop-one-record"})
	if ok || r.Topics[clicksTopic].Lost == 0 {
		t.Fatalf("ok %t, lost %d\n%s", ok, r.Topics[clicksTopic].Lost, said)
	}
	if r.Topics[tutorialTopic].Lost != 0 {
		t.Errorf("the mutant was to rob %s only: %v", clicksTopic, r.Faults)
	}
}

func TestCtrlCLeavesNothingRunning(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var out safeBuffer
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	err := local.WaitFor(ctx, "clients to run", func(context.Context) error {
		select {
		case err := <-ended:
			ended <- err
			cancel()
			return fmt.Errorf("it has ended: %w", err)
		default:
		}
		if !strings.Contains(out.String(), "produce 6 to 10") {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	dir := regexp.MustCompile(`data and logs: (\S+)`).FindStringSubmatch(out.String())[1]
	t.Cleanup(func() { os.RemoveAll(dir) })
	if n := len(processesOf(t, dir)); n < 8 {
		t.Errorf("only %d processes work in %s: the test looks at the wrong ones", n, dir)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitEnded {
			t.Errorf("it ended with %v, not with exit code %d\n%s", err, exitEnded, out.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("it still runs\n%s", out.String())
	}
	if left := processesOf(t, dir); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

// processesOf are the processes whose command line names dir.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, file := range found {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			out = append(out, file+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}
