//go:build real

package exactlyonce

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
)

// pair is shared by the tests: its start is the dear part.
var pair *Pair

func TestMain(m *testing.M) { os.Exit(start(m)) }

func start(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "exactlyonce-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer harness.Clean() //nolint:errcheck // best effort
	pair, err = Start(ctx, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer pair.Stop() //nolint:errcheck // best effort
	return m.Run()
}

// What the suite is worth: engines that are wrong on purpose.
func TestAnEngineThatResumesAtTheHighWatermarkIsCaught(t *testing.T) {
	if c := mutant(t, "resume-at-high-watermark", KillAtStall); c.Duplicated == 0 {
		t.Errorf("no duplicates: %+v", c)
	}
}

func TestAnEngineThatRestartsItsSequenceIsCaught(t *testing.T) {
	if c := mutant(t, "sequence-from-zero", KillUnanswered); c.Lost == 0 {
		t.Errorf("nothing is missing: %+v", c)
	}
}

func TestAnEngineThatDropsARecordIsCaught(t *testing.T) {
	if c := mutant(t, "drop-one-record"); c.Lost == 0 {
		t.Errorf("nothing is missing: %+v", c)
	}
}

func mutant(t *testing.T, name string, faults ...Kind) Counts {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cfg := Small(99, name, faults...)
	cfg.Say = t.Logf
	result, err := Run(ctx, pair, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Wrong() {
		t.Fatalf("the suite found nothing wrong with a wrong engine: %+v", result.Counts)
	}
	t.Logf("caught: %+v %q", result.Counts, result.Findings)
	return result.Counts
}

// TestNothingIsLostDoubledOrReorderedUnderFire takes its numbers from the
// environment (make test-exactly-once): EXACTLY_ONCE_SEEDS, _FIRST, _ENGINES and
// _OUT, the file of the report.
func TestNothingIsLostDoubledOrReorderedUnderFire(t *testing.T) {
	seeds := number(t, "SEEDS", 3)
	if os.Getenv("DRAWBRIDGE_LONG") != "" {
		seeds = number(t, "SEEDS", 20)
	}
	first, engines := number(t, "FIRST", 1), number(t, "ENGINES", 2)
	var report Report
	least := Least
	if engines > 1 {
		least.Rebalances = Rebalances
	} else {
		report.Notes = append(report.Notes, "one engine was asked for, so there is nothing to rebalance: rebalances is 0")
	}
	for seed := first; seed < first+seeds; seed++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		cfg := Full(uint64(seed), engines)
		cfg.Say = t.Logf
		result, err := Run(ctx, pair, cfg)
		cancel()
		report.Add(result)
		if file := os.Getenv("EXACTLY_ONCE_OUT"); file != "" {
			if err := report.Write(file); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d in %.0f s: %+v", seed, result.Seconds, result.Counts)
		if result.Wrong() || len(result.Findings) > 0 {
			t.Errorf("seed %d: %+v\n%q", seed, result.Counts, result.Findings)
		}
		if short := result.Short(least); short != "" {
			t.Errorf("seed %d went through too little: %s", seed, short)
		}
	}
	t.Logf("all: %+v", report.Counts)
}

func number(t *testing.T, name string, byDefault int) int {
	t.Helper()
	v := os.Getenv("EXACTLY_ONCE_" + name)
	if v == "" {
		return byDefault
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("EXACTLY_ONCE_%s=%q: give a number above 0", name, v)
	}
	return n
}
