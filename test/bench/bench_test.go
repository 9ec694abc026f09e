//go:build real

package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// smallest sizes that pass through all of the code.
var smallest = sizes{
	repeats: 1,
	bytes:   map[string]int64{measure.None1K: 24 * mib, measure.Tiny: 1 * mib},
	warmup:  8 * mib, warmups: 1, relay: 64 * mib,
	latencyRepeats: 1, latencyWarmup: 200 * time.Millisecond, latency: time.Second, rate: 500,
}

// It proves that the race can be run, not who wins: a busy machine says nothing about that.
func TestARaceMeasuresEveryPart(t *testing.T) {
	dir := t.TempDir()
	var out local.Output
	err := race(t.Context(), Options{Cases: []string{measure.None1K, measure.Tiny, partLatency, partRelay}, sizes: smallest, Out: dir}, &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "bench-mirror.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r measure.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.CatchUp {
		if c.Seconds <= 0 || c.CPUSeconds.Mirror < 0 || c.CPUSeconds.DestBroker < 0 || c.Measured <= 0 || c.Measured > 1 ||
			c.PeakRSS < mib || c.MirrorBytes < c.Bytes || c.WireBytes < c.Bytes {
			t.Errorf("no figures of a run: %+v", c)
		}
	}
	if len(r.CatchUp) != 4 || len(r.Latency) != 2 || len(r.Relay) != 1 {
		t.Errorf("%d catch-ups, %d latencies, %d relays", len(r.CatchUp), len(r.Latency), len(r.Relay))
	}
	for _, l := range r.Latency {
		if l.Source.P50 <= 0 || l.Mirrored.P99 < l.Source.P50 {
			t.Errorf("no times: %+v", l)
		}
	}
	for _, name := range []string{"wall_catchup", "p99_added", "tiny_batches_wall"} {
		if r.Ratios[name] <= 0 {
			t.Errorf("ratio %s is %f", name, r.Ratios[name])
		}
	}
	table, err := os.ReadFile(filepath.Join(dir, "bench-mirror.md"))
	if err != nil || !strings.Contains(string(table), "| none_1k | engine |") {
		t.Errorf("%v, the table:\n%s", err, table)
	}
	if left := local.ProcessesOf(t, regexp.MustCompile(`\S*drawbridge-bench-\d+`).FindString(out.String())); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

func TestAMirrorThatIsNotExactIsRefused(t *testing.T) {
	admin := local.User{Name: "admin", Password: "admin-secret"}
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.KFake, Name: "west", SuperUser: admin})
	pool, err := newPool(workload{codec: kgo.Lz4Compression(), value: 100, batch: 4096}, 1, mib)
	if err != nil {
		t.Fatal(err)
	}
	want, err := load(t.Context(), k, "orders", pool, 256<<10)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(k.Options(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, total, err := logEnds(t.Context(), cl, "orders")
	if err != nil || total != want.records {
		t.Fatalf("%d records of %d, %v", total, want.records, err)
	}
	if err := verify(t.Context(), k, want, ends); err != nil {
		t.Fatalf("what was loaded itself: %v", err)
	}
	other := want
	other.digests[3].sum++
	if err := verify(t.Context(), k, other, ends); err == nil || !strings.Contains(err.Error(), "partition 3: ") {
		t.Errorf("another record in partition 3: %v", err)
	}
	ends[5]++
	if err := verify(t.Context(), k, want, ends); err == nil || !strings.Contains(err.Error(), "partition 5 ends at") {
		t.Errorf("a record too many in partition 5: %v", err)
	}
}

func TestCtrlCLeavesNothingRunning(t *testing.T) {
	bench := local.ProgramForTest(t, "QUICK=1")
	folder := regexp.MustCompile(`clusters in (\S+)`)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var dir string
	err := local.WaitFor(ctx, "brokers to run", func(context.Context) error {
		if found := folder.FindStringSubmatch(bench.String()); found != nil && len(local.ProcessesOf(t, found[1])) >= 2 {
			dir = found[1]
			return nil
		}
		return os.ErrNotExist
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, bench)
	}
	bench.Interrupt(t, exitEnded)
	if left := local.ProcessesOf(t, dir); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its data are still in %s: %v", dir, err)
	}
}
