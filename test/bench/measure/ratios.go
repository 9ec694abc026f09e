package measure

import "math"

// Cases of the catch-up.
const (
	None1K   = "none_1k"
	None100B = "none_100b"
	LZ4      = "lz4_1k"
	Zstd     = "zstd_1k"
	Tiny     = "tiny" // one record per batch
)

// Wanted are the ratios that the project aims at.
func Wanted() map[string]float64 {
	return map[string]float64{
		"cpu_none_1k": 3, "cpu_lz4_1k": 10, "cpu_zstd_1k": 15, "wall_catchup": 1.5, "p99_added": 3, "tiny_batches_cpu": 1, "tiny_batches_wall": 1,
	}
}

// RatioNames are all ratios, in the order in which they are shown.
var RatioNames = []string{
	"cpu_none_1k", "cpu_none_100b", "cpu_lz4_1k", "cpu_zstd_1k", "cpu_vs_relay", "wall_catchup", "p99_added", "tiny_batches_cpu", "tiny_batches_wall",
}

// Summarize fills Ratios, Wanted and what Machine says of the runs.
func (r *Report) Summarize() {
	engine := func(c string, of func(CatchUp) float64) float64 { return r.median(c, Engine, of) }
	r.Ratios = map[string]float64{}
	for name, v := range map[string]float64{
		"cpu_none_1k":       r.median(None1K, MirrorMaker, mirrorCPU) / engine(None1K, mirrorCPU),
		"cpu_none_100b":     r.median(None100B, MirrorMaker, mirrorCPU) / engine(None100B, mirrorCPU),
		"cpu_lz4_1k":        r.median(LZ4, MirrorMaker, mirrorCPU) / engine(LZ4, mirrorCPU),
		"cpu_zstd_1k":       r.median(Zstd, MirrorMaker, mirrorCPU) / engine(Zstd, mirrorCPU),
		"cpu_vs_relay":      engine(None1K, func(c CatchUp) float64 { return c.CPUPerWireGB.Mirror }) / r.relay(),
		"wall_catchup":      engine(None1K, speed) / r.median(None1K, MirrorMaker, speed),
		"p99_added":         r.added(MirrorMaker) / r.added(Engine),
		"tiny_batches_cpu":  r.median(Tiny, Plain, mirrorCPU) / engine(Tiny, mirrorCPU),
		"tiny_batches_wall": engine(Tiny, speed) / r.median(Tiny, Plain, speed),
	} {
		if !math.IsNaN(v) && !math.IsInf(v, 0) { // a JSON has neither: the runs were not made
			r.Ratios[name] = math.Round(v*100) / 100
		}
	}
	r.Wanted = Wanted()
	r.Machine.MostOthers, r.Machine.MostSteal = 0, 0
	for _, load := range r.loads() {
		r.Machine.MostOthers = max(r.Machine.MostOthers, load.Others)
		r.Machine.MostSteal = max(r.Machine.MostSteal, load.Steal)
	}
}

func mirrorCPU(c CatchUp) float64 { return c.CPUPerGB.Mirror }
func speed(c CatchUp) float64     { return c.MBPerSecond }

// median of one figure over the repeats of a case; NaN if there are none.
func (r *Report) median(name, mirror string, of func(CatchUp) float64) float64 {
	var values []float64
	for _, c := range r.CatchUp {
		if c.Case == name && c.Mirror == mirror {
			values = append(values, of(c))
		}
	}
	return Median(values)
}

// Speed is the median of a case's MB per second; NaN without runs.
func (r *Report) Speed(name, mirror string) float64 { return r.median(name, mirror, speed) }

// added is the median of the repeats' 99th percentiles.
func (r *Report) added(mirror string) float64 {
	var values []float64
	for _, l := range r.Latency {
		if l.Mirror == mirror {
			values = append(values, l.Added.P99)
		}
	}
	return Median(values)
}

func (r *Report) relay() float64 {
	var values []float64
	for _, run := range r.Relay {
		values = append(values, run.CPUPerGB)
	}
	return Median(values)
}

func (r *Report) loads() []Load {
	var all []Load
	for _, c := range r.CatchUp {
		all = append(all, c.Load)
	}
	for _, l := range r.Latency {
		all = append(all, l.Load)
	}
	for _, run := range r.Relay {
		all = append(all, run.Load)
	}
	return all
}
