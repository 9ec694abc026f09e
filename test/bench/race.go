package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// race runs everything, prints it and writes the report. MirrorMaker is started once for each codec and for the latency,
// since it must be warm; engine and rival take turns in every case (A B A B), so that a change of the machine's mood
// meets both.
func race(ctx context.Context, opts Options, out io.Writer) (err error) {
	report := &measure.Report{Started: time.Now(), Quick: opts.Quick, Command: command(opts)}
	report.Machine = measure.Machine{Cores: runtime.NumCPU(), CPU: measure.CPUModel(), LoadAtStart: measure.LoadAverage(), DataOn: "disk"}
	s, err := newStage(ctx, opts, out)
	defer func() {
		err = errors.Join(err, s.close(), harness.Clean())
	}()
	if err != nil {
		return err
	}
	if s.inMemory {
		report.Machine.DataOn = "memory"
	}
	e, err := s.startEngine(ctx)
	if err != nil {
		return err
	}
	report.Settings = measure.Settings{
		Repeats: opts.sizes.repeats, Partitions: partitions, BrokerJVM: brokerJVM, MirrorJVM: mirrorMakerJVM,
		MirrorMaker: mirrorMakerProperties, LatencyPreset: latencyPreset,
	}
	if report.Versions, err = s.versions(ctx, e); err != nil {
		return err
	}
	for _, codec := range codecs() {
		if err := s.raceMirrorMaker(ctx, report, e, codec); err != nil {
			return err
		}
	}
	if opts.wants(measure.Tiny) {
		if err := s.racePlain(ctx, report, e); err != nil {
			return err
		}
	}
	if opts.wants(partLatency) {
		if err := s.raceLatency(ctx, report, e); err != nil {
			return err
		}
	}
	if opts.wants(partRelay) {
		for repeat := range opts.sizes.repeats {
			r, err := s.relay(ctx, opts.sizes.relay, repeat+1)
			if err != nil {
				return err
			}
			s.say("relay %d/%d: %.3f CPU s/GB, %.0f MB/s", repeat+1, opts.sizes.repeats, r.CPUPerGB, float64(r.Bytes)/1e6/r.Seconds)
			report.Relay = append(report.Relay, r)
		}
	}
	report.Seconds = time.Since(report.Started).Seconds()
	report.Summarize()
	return write(report, opts.Out, out)
}

// codecs are those of the cases against MirrorMaker, each once, in order.
func codecs() []string {
	var all []string
	for _, w := range workloads {
		if name := codecName(w.codec); w.rival == measure.MirrorMaker && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// raceMirrorMaker runs all cases of a codec.
func (s *stage) raceMirrorMaker(ctx context.Context, report *measure.Report, e *engine, codec string) error {
	var cases []workload
	for _, w := range workloads {
		if w.rival == measure.MirrorMaker && codecName(w.codec) == codec && s.opts.wants(w.name) {
			cases = append(cases, w)
		}
	}
	if len(cases) == 0 {
		return nil
	}
	mm, err := s.startWarm(ctx, e, cases[0], nil)
	if err != nil {
		return err
	}
	for _, w := range cases {
		pool, err := newPool(w, 1, poolBytes)
		if err != nil {
			return err
		}
		for repeat := range s.opts.sizes.repeats {
			for _, m := range []mirror{e, mm} {
				if err := s.measureCatchUp(ctx, report, w, pool, m, repeat+1); err != nil {
					return err
				}
			}
		}
	}
	return s.stop(mm)
}

// startWarm starts a MirrorMaker and has it, and the engine with the brokers, copy what is not measured: Java is slow
// until its compiler has seen what matters.
func (s *stage) startWarm(ctx context.Context, e *engine, w workload, more map[string]string) (*mirrorMaker, error) {
	mm, err := s.startMirrorMaker(ctx, codecName(w.codec), more)
	if err != nil {
		return nil, err
	}
	pool, err := newPool(w, 2, poolBytes)
	if err != nil {
		return nil, err
	}
	for i := range s.opts.sizes.warmups {
		for _, m := range []mirror{mm, e} {
			c, err := s.catchUp(ctx, w, pool, m, s.opts.sizes.warmup, 0)
			if err != nil {
				return nil, fmt.Errorf("warm-up: %w", err)
			}
			s.say("warm-up of %s for %s, %d/%d: %.0f MB/s", m.name(), w.name, i+1, s.opts.sizes.warmups, c.MBPerSecond)
		}
	}
	return mm, nil
}

func (s *stage) measureCatchUp(ctx context.Context, report *measure.Report, w workload, pool *batchPool, m mirror, repeat int) error {
	c, err := s.catchUp(ctx, w, pool, m, s.opts.sizes.bytes[w.name], repeat)
	if err != nil {
		return err
	}
	report.CatchUp = append(report.CatchUp, c)
	s.say("%s %s %d/%d: %.0f MB in %.1f s, %.0f MB/s; CPU s/GB: mirror %.2f, source broker %.2f, destination broker %.2f; peak RSS %d MiB; others %.0f %%",
		w.name, m.name(), repeat, s.opts.sizes.repeats, float64(c.Bytes)*c.Measured/1e6, c.Seconds, c.MBPerSecond,
		c.CPUPerGB.Mirror, c.CPUPerGB.SourceBroker, c.CPUPerGB.DestBroker, c.PeakRSS>>20, 100*c.Load.Others)
	return nil
}

// racePlain runs the engine against the plain client, on batches of one record.
func (s *stage) racePlain(ctx context.Context, report *measure.Report, e *engine) error {
	w := workloads[slices.IndexFunc(workloads, func(w workload) bool { return w.rival == measure.Plain })]
	pool, err := newPool(w, 1, poolBytes)
	if err != nil {
		return err
	}
	for repeat := range s.opts.sizes.repeats {
		if err := s.measureCatchUp(ctx, report, w, pool, e, repeat+1); err != nil {
			return err
		}
		plain, err := s.startPlain()
		if err != nil {
			return err
		}
		if err := s.measureCatchUp(ctx, report, w, pool, plain, repeat+1); err != nil {
			return err
		}
		if err := s.stop(plain); err != nil {
			return err
		}
	}
	return nil
}

// raceLatency runs both mirrors at half of what the slower one does.
func (s *stage) raceLatency(ctx context.Context, report *measure.Report, e *engine) error {
	rate := s.opts.sizes.rate
	if rate == 0 {
		rate = min(report.Speed(measure.None1K, measure.Engine), report.Speed(measure.None1K, measure.MirrorMaker)) / 2 * 1e6 / latencyValue
	}
	mm, err := s.startWarm(ctx, e, workloads[0], latencyPreset)
	if err != nil {
		return err
	}
	for repeat := range s.opts.sizes.latencyRepeats {
		for _, m := range []mirror{e, mm} {
			l, err := s.latency(ctx, m, rate, repeat+1)
			if err != nil {
				return err
			}
			report.Latency = append(report.Latency, l)
			s.say("latency of %s %d/%d at %.0f MB/s: added p50 %.1f ms, p99 %.1f ms (source p99 %.1f ms); machine busy %.0f %%, others %.0f %%",
				m.name(), repeat+1, s.opts.sizes.latencyRepeats, l.MBPerSecond, l.Added.P50, l.Added.P99, l.Source.P99, 100*l.Load.Busy, 100*l.Load.Others)
		}
	}
	return s.stop(mm)
}

func (s *stage) versions(ctx context.Context, e *engine) (measure.Versions, error) {
	_, mm, err := local.MirrorMakerJars(ctx)
	if err != nil {
		return measure.Versions{}, err
	}
	said := func(name string, args ...string) string {
		out, cmdErr := exec.CommandContext(ctx, name, args...).CombinedOutput()
		err = errors.Join(err, cmdErr)
		first, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(first)
	}
	drawbridge := said(e.process().Spec().Path, "-version")
	if err == nil && strings.HasPrefix(drawbridge, "(devel)") { // built without the version control's stamp (-buildvcs=false)
		drawbridge = said("git", "describe", "--always", "--dirty")
	}
	v := measure.Versions{
		Drawbridge: drawbridge, Kafka: s.src.Version(), MirrorMaker: mm,
		Java: said("java", "-version"), Go: runtime.Version(), System: said("uname", "-sr"),
	}
	return v, err
}

// command is how to make the same report again.
func command(opts Options) string {
	c := "make bench"
	if opts.Quick {
		c += " QUICK=1"
	}
	if len(opts.Cases) > 0 {
		c += " CASES=" + strings.Join(opts.Cases, ",")
	}
	return c
}

// write leaves the report as JSON and as a table, and prints the table.
func write(report *measure.Report, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var raw, table strings.Builder
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false) // "src->dst" is to be read
	enc.SetIndent("", "  ")
	if err := enc.Encode(report); err != nil {
		return err
	}
	if err := report.Write(&table); err != nil {
		return err
	}
	base := filepath.Join(dir, "bench-mirror")
	if err := errors.Join(os.WriteFile(base+".json", []byte(raw.String()), 0o644), os.WriteFile(base+".md", []byte(table.String()), 0o644)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\nin full: %s.json\n", table.String(), base)
	return err
}
