package measure

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCPUOfAProcessIsItsOwnAndItsChildren(t *testing.T) {
	const stat = `4711 (a (b) c) S 1 4711 4711 0 -1 4194560 9000 0 12 0 150 25 7 3 20 0 9 0 5000 123456 789`
	got, err := parseProcessCPU(stat)
	if want := 1850 * time.Millisecond; err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	for _, bad := range []string{"", "4711 (sh S 1", "4711 (sh) S 1 2 3", strings.Replace(stat, "150", "x", 1)} {
		if got, err := parseProcessCPU(bad); err == nil {
			t.Errorf("%q gave %s", bad, got)
		}
	}
}

func TestCPUOfThisProcessGrowsAsItWorks(t *testing.T) {
	before, err := ProcessCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for sum := 0.0; ; sum = math.Sqrt(sum + 1) {
		now, err := ProcessCPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s after 20 s of work (%f)", now, sum)
		}
	}
}

func TestPeakMemoryIsReadInBytes(t *testing.T) {
	got, err := parsePeakRSS("Name:\tjava\nVmPeak:\t  900 kB\nVmHWM:\t  1348 kB\nVmRSS:\t 12 kB\n")
	if err != nil || got != 1348*1024 {
		t.Errorf("%d %v", got, err)
	}
	if got, err := parsePeakRSS("Name:\tjava\nState:\tZ (zombie)\n"); err == nil {
		t.Errorf("of a zombie: %d", got)
	}
	if err := ResetPeakRSS(os.Getpid()); err != nil {
		t.Error(err)
	}
	if got, err := PeakRSS(os.Getpid()); err != nil || got < 1<<20 {
		t.Errorf("of this process: %d %v", got, err)
	}
}

func TestLoadTellsOthersFromOurs(t *testing.T) {
	from, err := parseSystem("cpu  100 10 50 1000 5 1 4 20 30 0\ncpu0 1 2 3\n")
	if want := (System{Busy: 1650 * time.Millisecond, Steal: 200 * time.Millisecond}); err != nil || from != want {
		t.Fatalf("%+v %v, want %+v", from, err, want)
	}
	if _, err := parseSystem("intr 1 2 3"); err == nil {
		t.Error("a line of interrupts was taken")
	}
	to := System{Busy: from.Busy + 1500*time.Millisecond, Steal: from.Steal + 100*time.Millisecond}
	got := loadBetween(from, to, time.Second, time.Second, 2)
	if d := cmp.Diff(Load{Busy: 0.75, Others: 0.25, Steal: 0.05}, got); d != "" {
		t.Error(d)
	}
	if got := loadBetween(from, to, 2*time.Second, time.Second, 2); got.Others != 0 {
		t.Errorf("others did %f of nothing", got.Others)
	}
}

func TestMedianAndQuantiles(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := Median(tc.values); got != tc.want {
			t.Errorf("median of %v is %f, want %f", tc.values, got, tc.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %f", got)
	}
	var times []time.Duration
	for i := 1000; i > 0; i-- {
		times = append(times, time.Duration(i)*time.Millisecond)
	}
	if d := cmp.Diff(Quantiles{P50: 500, P99: 990, P999: 999, Max: 1000}, QuantilesOf(times)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Quantiles{P50: 7, P99: 7, P999: 7, Max: 7}, QuantilesOf([]time.Duration{7 * time.Millisecond})); d != "" {
		t.Error(d)
	}
}

// run is a catch-up over one GB in which the mirror used cpu seconds.
func run(name, mirror string, seconds, cpu float64) CatchUp {
	c := CatchUp{Case: name, Mirror: mirror, Bytes: 2e9, WireBytes: 1e9, MirrorBytes: 1e9, Measured: 0.5, Seconds: seconds, CPUSeconds: CPU{Mirror: cpu, SourceBroker: 1, DestBroker: 2}}
	c.Derive()
	return c
}

func TestFiguresPerGBAreOfTheMeasuredShare(t *testing.T) {
	c := run(None1K, Engine, 4, 0.5)
	if c.MBPerSecond != 250 {
		t.Errorf("%f MB/s", c.MBPerSecond)
	}
	if d := cmp.Diff(CPU{0.5, 1, 2}, c.CPUPerGB); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(CPU{1, 2, 4}, c.CPUPerWireGB); d != "" {
		t.Error(d)
	}
}

func TestRatiosAreOfMedians(t *testing.T) {
	r := Report{
		CatchUp: []CatchUp{
			run(None1K, Engine, 2, 0.5), run(None1K, MirrorMaker, 8, 4), run(None1K, Engine, 1, 0.4), run(None1K, MirrorMaker, 9, 90), run(None1K, Engine, 1, 9),
			run(None1K, MirrorMaker, 10, 3),
			run(Tiny, Engine, 4, 1), run(Tiny, Plain, 2, 3),
		},
		Latency: []Latency{{Mirror: Engine, Added: Quantiles{P99: 5}}, {Mirror: MirrorMaker, Added: Quantiles{P99: 20}, Load: Load{Others: 0.3}}},
		Relay:   []Relay{{CPUPerGB: 0.25, Load: Load{Steal: 0.1}}, {CPUPerGB: 0.5}, {CPUPerGB: 4}},
	}
	r.Summarize()
	want := map[string]float64{
		"cpu_none_1k": 8, "cpu_vs_relay": 2, "wall_catchup": 9, "p99_added": 4, "tiny_batches_cpu": 3, "tiny_batches_wall": 0.5,
	}
	if d := cmp.Diff(want, r.Ratios); d != "" { // the cases that were not run are absent
		t.Error(d)
	}
	if r.Machine.MostOthers != 0.3 || r.Machine.MostSteal != 0.1 {
		t.Errorf("%+v", r.Machine)
	}
	var table strings.Builder
	if err := r.Write(&table); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| cpu_none_1k | 8.00 | ≥ 3 |", "| tiny_batches_wall | 0.50 | ≥ 1, **missed** |", "| cpu_vs_relay | 2.00 |  |",
		"| none_1k | engine | 1000 | 0.50 | 1.00 | 1.00 | 2.00 | 1.00 | 0 |",
	} {
		if !strings.Contains(table.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, table.String())
		}
	}
}

func TestEveryWantedRatioIsShown(t *testing.T) {
	shown := map[string]bool{}
	for _, name := range RatioNames {
		shown[name] = true
	}
	for name := range Wanted() {
		if !shown[name] {
			t.Errorf("%s is wanted and not among RatioNames", name)
		}
	}
}
