package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
)

// table prints the story's steps as they happen and keeps their times.
type table struct {
	out   io.Writer
	mu    sync.Mutex // guards out: progress comes from other goroutines
	steps []check.Step
}

// step plays one step.
func (t *table) step(ctx context.Context, name string, do func(context.Context) (string, error)) error {
	t.printf("\n%2d. %s\n", len(t.steps)+1, name)
	began := time.Now()
	detail, err := do(ctx)
	took := time.Since(began)
	t.steps = append(t.steps, check.Step{Name: name, Millis: took.Milliseconds()})
	if err != nil {
		t.printf("    %-8s %7.1fs  %v\n", "FAILED", took.Seconds(), err)
		return fmt.Errorf("%s: %w", name, err)
	}
	t.printf("    %-8s %7.1fs  %s\n", "ok", took.Seconds(), detail)
	return nil
}

func (t *table) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format, args...)
}

// progress is for what drctl says: each line indented below its step.
func (t *table) progress() io.Writer { return &lines{table: t} }

type lines struct {
	table *table
	rest  []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 {
			return len(b), nil
		}
		line := strings.TrimRight(string(l.rest[:end]), " \r")
		l.rest = l.rest[end+1:]
		const width = 150
		if r := []rune(line); len(r) > width {
			line = string(r[:width-1]) + "…"
		}
		l.table.printf("      | %s\n", line)
	}
}

// summary prints all steps and the verdict.
func (t *table) summary(r check.Report) {
	t.printf("\n%s\n", strings.Repeat("-", 78))
	var total int64
	for i, s := range r.Steps {
		total += s.Millis
		t.printf("%2d. %-64s %7.1fs\n", i+1, s.Name, float64(s.Millis)/1000)
	}
	t.printf("    %-64s %7.1fs\n\n", "in all", float64(total)/1000)
	t.printf("%-10s %8s %8s %8s %8s %8s %8s %6s %6s %6s\n", "topic", "acked", "unknown", "primary", "standby", "home", "lagged", "lost", "twice", "order")
	for _, name := range sortedKeys(r.Topics) {
		c := r.Topics[name]
		t.printf("%-10s %8d %8d %8d %8d %8d %8d %6d %6d %6d\n", name, c.Acked, len(c.Unknown), c.InPrimary, c.InStandby, c.InHome, c.LaggedInPrimary, c.Lost, c.Duplicates, c.Reordered)
	}
	if r.Planned {
		t.printf("\nthe group went on at %s; lost %d, stored twice %d, delivered again %d\n", r.ResumedAt, r.Lost, r.Duplicates, r.Redelivered)
		t.printf("clients stood still for %.1f s; fences: away %s, home %s; %s is active at epoch %d\n", float64(r.RTOMillis)/1000, r.Fence.Failover, r.Fence.Home, r.Active, r.Epoch)
		t.verdict(r)
		return
	}
	t.printf("\n%s: its group went on at %s; read %v, then recovered %v; RPO estimated %d, exact %d records\n", tutorialTopic, r.ResumedAt, r.ConsumedAfterFailover, r.ConsumedAfterRecovery, r.RPOEstimate, r.RPOExact)
	t.printf("RTO %.1f s; fences: failover %s, returned %s, home %s; %s is active at epoch %d\n",
		float64(r.RTOMillis)/1000, r.Fence.Failover, r.Fence.Returned, r.Fence.Home, r.Active, r.Epoch)
	t.verdict(r)
}

func (t *table) verdict(r check.Report) {
	if r.OK {
		t.printf("ok: every acknowledged record stands once and in order in both clusters, and reached its group\n")
		return
	}
	t.printf("NOT ok:\n")
	for _, f := range r.Faults {
		t.printf("  - %s\n", f)
	}
}

func joined(names []string) string { return strings.Join(names, ", ") }
