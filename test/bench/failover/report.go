package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
)

// Report is out/bench-failover.json.
type Report struct {
	Started time.Time       `json:"started"`
	Seconds float64         `json:"seconds"`
	Quick   bool            `json:"quick"`
	Kafka   string          `json:"kafka"` // kfake is embedded
	Repeats int             `json:"repeats"`
	Machine measure.Machine `json:"machine"`

	// Ratios are of medians of the time until writable. script_1000: the sequential script over the runbook; batched_1000: one call
	// for all over the runbook; growth_100_to_1000: the runbook of 1,000 topics over that of 100. The same of other sizes and of the
	// loop that does not look are there too.
	Ratios map[string]float64 `json:"ratios"`
	Wanted map[string]string  `json:"wanted"`
	// OrchestrationMillis is the median over all runs.
	OrchestrationMillis float64 `json:"orchestration_ms_per_step"`
	// Steps behind the approval, without the waves: the same for all sizes.
	Steps []string `json:"steps_without_waves"`

	Medians []Median `json:"medians"`
	Runs    []Run    `json:"runs"`
	Direct  []Direct `json:"direct"`
}

// Median of the repeats of a size; Way is "runbook" or one of the direct ways.
type Median struct {
	Size           string  `json:"size"`
	Way            string  `json:"way"`
	WritableMillis float64 `json:"writable_ms"`
	ProvenMillis   float64 `json:"proven_moved_ms,omitempty"`
	EndMillis      float64 `json:"end_ms,omitempty"`
	StepMillis     float64 `json:"orchestration_ms_per_step,omitempty"`
	Steps          int     `json:"steps,omitempty"`
	Waves          int     `json:"waves,omitempty"`
}

const wayRunbook = "runbook"

// wanted are the bounds that the project aims at: ratio → at least, or at most.
var (
	atLeast = map[string]float64{"script_1000": 10}
	atMost  = map[string]float64{"growth_100_to_1000": 10}
)

// summarize makes medians and ratios. It is an error when runs of different sizes took different steps, but for the waves.
func (r *Report) summarize() error {
	for _, run := range r.Runs {
		var steps []string
		for _, s := range run.Steps {
			if !strings.HasPrefix(s.Name, wave) {
				steps = append(steps, s.Name)
			}
		}
		if r.Steps == nil {
			r.Steps = steps
		}
		if !slices.Equal(r.Steps, steps) {
			return fmt.Errorf("the failover of size %s took other steps than that of size %s, waves apart: %q and %q", run.Size, r.Runs[0].Size, steps, r.Steps)
		}
		if run.Activities != r.Runs[0].Activities+2*(run.Waves-r.Runs[0].Waves) && run.Retried == 0 {
			return fmt.Errorf("the failover of size %s took %d activities in %d waves, that of size %s %d in %d: a wave is two", run.Size, run.Activities, run.Waves, r.Runs[0].Size, r.Runs[0].Activities, r.Runs[0].Waves)
		}
	}
	r.medians()
	r.Ratios = map[string]float64{}
	ratio := func(name, sizeA, wayA, sizeB, wayB string) {
		if v := r.writable(sizeA, wayA) / r.writable(sizeB, wayB); !math.IsNaN(v) && !math.IsInf(v, 0) {
			r.Ratios[name] = round(v)
		}
	}
	for _, n := range []string{few, many} {
		ratio("script_"+n, n, wayScript, n, wayRunbook)
		ratio("loop_"+n, n, wayLoop, n, wayRunbook)
		ratio("batched_"+n, n, wayBatch, n, wayRunbook)
	}
	ratio("growth_100_to_1000", many, wayRunbook, few, wayRunbook)
	ratio("script_growth_100_to_1000", many, wayScript, few, wayScript)
	r.Wanted = map[string]string{}
	for name, v := range atLeast {
		r.Wanted[name] = fmt.Sprintf("≥ %g", v)
	}
	for name, v := range atMost {
		r.Wanted[name] = fmt.Sprintf("≤ %g", v)
	}
	return nil
}

func (r *Report) medians() {
	var all []float64
	r.Medians = nil
	for _, run := range r.Runs {
		all = append(all, run.PerStepMillis)
		if run.Repeat != 1 {
			continue
		}
		of := func(get func(Run) float64) float64 {
			var vs []float64
			for _, o := range r.Runs {
				if o.Size == run.Size {
					vs = append(vs, get(o))
				}
			}
			return measure.Median(vs)
		}
		r.Medians = append(r.Medians, Median{
			Size: run.Size, Way: wayRunbook, Steps: len(run.Steps), Waves: run.Waves,
			WritableMillis: of(func(o Run) float64 { return o.WritableMillis }),
			ProvenMillis:   of(func(o Run) float64 { return o.ProvenMillis }),
			EndMillis:      of(func(o Run) float64 { return o.EndMillis }),
			StepMillis:     of(func(o Run) float64 { return o.PerStepMillis }),
		})
	}
	for _, d := range r.Direct {
		if d.Repeat != 1 {
			continue
		}
		var vs []float64
		for _, o := range r.Direct {
			if o.Size == d.Size && o.Way == d.Way {
				vs = append(vs, o.WritableMillis)
			}
		}
		r.Medians = append(r.Medians, Median{Size: d.Size, Way: d.Way, WritableMillis: measure.Median(vs)})
	}
	r.OrchestrationMillis = round(measure.Median(all))
}

// writable is the median until writable; NaN if there was no such run.
func (r *Report) writable(size, way string) float64 {
	for _, m := range r.Medians {
		if m.Size == size && m.Way == way {
			return m.WritableMillis
		}
	}
	return math.NaN()
}

// ratioNames in the order in which they are shown.
var ratioNames = []string{
	"script_1000", "loop_1000", "batched_1000", "growth_100_to_1000", "script_100", "loop_100", "batched_100", "script_growth_100_to_1000",
}

func (r *Report) markdown() string {
	var b strings.Builder
	command := "make bench-failover"
	if r.Quick {
		command += " QUICK=1"
	}
	fmt.Fprintf(&b, "Measured on %s by `%s` (%.0f s, %d repeats) on %s; %d cores of %s, load average at the start %.1f.\n\n",
		r.Started.UTC().Format("2006-01-02"), command, r.Seconds, r.Repeats, r.Kafka, r.Machine.Cores, r.Machine.CPU, r.Machine.LoadAtStart)
	b.WriteString("| ratio | measured | wanted |\n|---|---|---|\n")
	for _, name := range ratioNames {
		v, ok := r.Ratios[name]
		if !ok {
			continue
		}
		wanted := r.Wanted[name]
		if least, ok := atLeast[name]; ok && v < least {
			wanted += ", **missed**"
		}
		if most, ok := atMost[name]; ok && v > most {
			wanted += ", **missed**"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %s |\n", name, v, wanted)
	}
	fmt.Fprintf(&b, "| orchestration_ms_per_step | %.1f |  |\n", r.OrchestrationMillis)
	b.WriteString("\n| topics | way | writable ms | clients proven moved ms | ended ms | steps | of them waves | orchestration ms/step |\n|---|---|---|---|---|---|---|---|\n")
	for _, m := range r.Medians {
		if m.Way != wayRunbook {
			fmt.Fprintf(&b, "| %s | %s | %.0f |  |  |  |  |  |\n", m.Size, m.Way, m.WritableMillis)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f | %.0f | %d | %d | %.1f |\n", m.Size, m.Way, m.WritableMillis, m.ProvenMillis, m.EndMillis, m.Steps, m.Waves, m.StepMillis)
	}
	return b.String()
}

func round(v float64) float64 { return math.Round(v*100) / 100 }
