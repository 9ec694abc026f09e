package measure

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Write writes the report for people, in Markdown: medians of the repeats.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s by `%s` (%.0f s, %d repeats): Drawbridge %s, Apache Kafka %s, MirrorMaker %s, Java %s, %s, %s; %d cores of %s, data on %s.\n",
		r.Started.UTC().Format("2006-01-02"), r.Command, r.Seconds, r.Settings.Repeats, r.Versions.Drawbridge, r.Versions.Kafka, r.Versions.MirrorMaker,
		r.Versions.Java, r.Versions.Go, r.Versions.System, r.Machine.Cores, r.Machine.CPU, r.Machine.DataOn)
	fmt.Fprintf(&b, "Of the machine, other processes took at most %.0f %% during a run, the hypervisor %.0f %%; load average at the start %.1f.\n\n",
		100*r.Machine.MostOthers, 100*r.Machine.MostSteal, r.Machine.LoadAtStart)

	b.WriteString("| ratio | measured | wanted |\n|---|---|---|\n")
	for _, name := range RatioNames {
		v, ok := r.Ratios[name]
		if !ok {
			continue
		}
		wanted := ""
		if want := r.Wanted[name]; want > 0 {
			wanted = fmt.Sprintf("≥ %g", want)
			if v < want {
				wanted += ", **missed**"
			}
		}
		fmt.Fprintf(&b, "| %s | %.2f | %s |\n", name, v, wanted)
	}
	r.writeCatchUp(&b)
	r.writeLatency(&b)
	if len(r.Relay) > 0 {
		fmt.Fprintf(&b, "\nRelay (receive, one CRC pass, send; frames of %d bytes): %.3f CPU s per GB.\n", r.Relay[0].FrameBytes, r.relay())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeCatchUp(b *strings.Builder) {
	type row struct{ name, mirror string }
	var rows []row
	first := map[row]CatchUp{}
	for _, c := range r.CatchUp {
		key := row{c.Case, c.Mirror}
		if _, seen := first[key]; !seen {
			first[key] = c
			rows = append(rows, key)
		}
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n| case | mirror | MB/s | mirror CPU s/GB | per wire GB | source broker | destination broker | stored / wire | peak RSS MiB |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, k := range rows {
		m := func(of func(CatchUp) float64) float64 { return r.median(k.name, k.mirror, of) }
		fmt.Fprintf(b, "| %s | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %.0f |\n", k.name, k.mirror, m(speed), m(mirrorCPU),
			m(func(c CatchUp) float64 { return c.CPUPerWireGB.Mirror }),
			m(func(c CatchUp) float64 { return c.CPUPerGB.SourceBroker }),
			m(func(c CatchUp) float64 { return c.CPUPerGB.DestBroker }),
			m(func(c CatchUp) float64 { return float64(c.MirrorBytes) / float64(c.WireBytes) }),
			m(func(c CatchUp) float64 { return float64(c.PeakRSS) / (1 << 20) }))
	}
}

func (r *Report) writeLatency(b *strings.Builder) {
	if len(r.Latency) == 0 {
		return
	}
	runs := slices.SortedStableFunc(slices.Values(r.Latency), func(a, b Latency) int { return cmp.Compare(a.Mirror, b.Mirror) })
	fmt.Fprintf(b, "\nLatency in ms at %.0f MB/s, half of what the slower one mirrored in the catch-up:\n\n", runs[0].MBPerSecond)
	b.WriteString("| mirror | repeat | source p50 | source p99 | added p50 | added p99 | added p99.9 | machine busy |\n|---|---|---|---|---|---|---|---|\n")
	for _, l := range runs {
		fmt.Fprintf(b, "| %s | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.0f %% |\n", l.Mirror, l.Repeat, l.Source.P50, l.Source.P99,
			l.Added.P50, l.Added.P99, l.Added.P999, 100*l.Load.Busy)
	}
}
