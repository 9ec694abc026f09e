package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/harness"
)

// bench runs everything, prints it and writes the report. The ways take turns within a repeat, so that a change of the machine's
// mood meets all.
func bench(ctx context.Context, o Options, out io.Writer) (err error) {
	defer func() { err = errors.Join(err, harness.Clean()) }()
	r := &Report{Started: time.Now(), Quick: o.Quick, Kafka: string(o.Kind), Repeats: o.Repeats}
	r.Machine = measure.Machine{Cores: runtime.NumCPU(), CPU: measure.CPUModel(), LoadAtStart: measure.LoadAverage()}
	for repeat := range o.Repeats {
		for _, of := range o.Sizes {
			if err := r.runbook(ctx, o, of, repeat+1, out); err != nil {
				return err
			}
			if !of.Scripts {
				continue
			}
			for _, way := range o.Ways {
				if err := r.direct(ctx, o, of, way, repeat+1, out); err != nil {
					return err
				}
			}
		}
	}
	r.Seconds = time.Since(r.Started).Seconds()
	if err := r.summarize(); err != nil {
		return err
	}
	return write(r, o.Out, out)
}

func (r *Report) runbook(ctx context.Context, o Options, of size, repeat int, out io.Writer) (err error) {
	s, err := newStage(ctx, o, of)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	got, err := s.runbook(ctx)
	if err != nil {
		return fmt.Errorf("failover of size %s: %w\n%s", of.Name, err, s.Worker.Log(20))
	}
	got.Repeat = repeat
	r.Runs = append(r.Runs, got)
	fmt.Fprintf(out, "%s, runbook %d/%d: writable after %.0f ms, clients proven moved after %.0f ms, ended after %.0f ms; %d steps, %d waves, %.1f ms orchestration a step\n",
		of.Name, repeat, o.Repeats, got.WritableMillis, got.ProvenMillis, got.EndMillis, len(got.Steps), got.Waves, got.PerStepMillis)
	return nil
}

func (r *Report) direct(ctx context.Context, o Options, of size, way string, repeat int, out io.Writer) (err error) {
	s, err := newStage(ctx, o, of)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	got, err := s.direct(ctx, way)
	if err != nil {
		return err
	}
	got.Repeat = repeat
	r.Direct = append(r.Direct, got)
	fmt.Fprintf(out, "%s, %s %d/%d: writable after %.0f ms, all STOPPED after %.0f ms, %d calls answered after %.0f ms\n",
		of.Name, way, repeat, o.Repeats, got.WritableMillis, got.StoppedMillis, got.Calls, got.CallsMillis)
	return nil
}

// write keeps the report as JSON and Markdown, and prints the table.
func write(r *Report, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	table := r.markdown()
	for name, text := range map[string]string{"bench-failover.json": string(raw) + "\n", "bench-failover.md": table} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "\n%s", table)
	return err
}
