package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A way to fail over by calls to the engine alone.
const (
	// wayScript is one call per topic, one after the other: each topic is STOPPED before the next is asked for.
	wayScript = "script"
	// wayLoop does not look: it calls for topic after topic, and waits for all of them at the end.
	wayLoop = "loop"
	// wayBatch is one call for all topics.
	wayBatch = "batch"
)

var ways = []string{wayScript, wayLoop, wayBatch}

// lookEvery is the pause between two looks at a mirror. It costs the script half of it per topic; without it the looks take the
// processors from the engine, and the script takes longer.
const lookEvery = 5 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Direct is a run of a way.
type Direct struct {
	Size   string `json:"size"`
	Way    string `json:"way"`
	Repeat int    `json:"repeat"`
	// CallsMillis until the last call was answered, StoppedMillis until every mirror was STOPPED, WritableMillis until an
	// application could write to the samples. All from the first call.
	CallsMillis    float64 `json:"calls_ms"`
	StoppedMillis  float64 `json:"stopped_ms"`
	WritableMillis float64 `json:"writable_ms"`
	Calls          int     `json:"calls"`
}

// direct runs a way on a stage. Its HTTP client keeps its connection; it waits for answers, and between looks for lookEvery.
func (s *stage) direct(ctx context.Context, way string) (Direct, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	out := Direct{Size: s.size.Name, Way: way}
	engine := s.Standby.Engine.Client()
	if _, err := engine.ClusterID(ctx); err != nil { // asked for once, before the clock runs
		return out, err
	}
	var writable time.Time
	probe := make(chan error, 1)
	go func() { probe <- s.writable(ctx, &writable) }()
	began := time.Now()
	if err := s.call(ctx, engine, way, &out); err != nil {
		cancel()
		return out, errors.Join(fmt.Errorf("%s of %s topics: %w", way, s.size.Name, err), <-probe)
	}
	out.CallsMillis = millis(time.Since(began))
	for {
		n, err := s.stopped(ctx)
		if err != nil {
			return out, err
		}
		if n == len(s.topics) {
			break
		}
		if err := pause(ctx, lookEvery); err != nil {
			return out, err
		}
	}
	out.StoppedMillis = millis(time.Since(began))
	if err := <-probe; err != nil {
		return out, err
	}
	out.WritableMillis = millis(writable.Sub(began))
	return out, s.allWritable(ctx)
}

func (s *stage) call(ctx context.Context, engine *api.Client, way string, out *Direct) error {
	if way == wayBatch {
		out.Calls++
		return failOver(ctx, engine, s.link, s.topics)
	}
	for _, t := range s.topics {
		out.Calls++
		if err := failOver(ctx, engine, s.link, []string{t}); err != nil {
			return err
		}
		for way == wayScript {
			out.Calls++
			m, err := engine.Mirror(ctx, s.link, t, false)
			if err != nil {
				return err
			}
			if m.MirrorStatus == runbook.StatusStopped {
				break
			}
			if err := pause(ctx, lookEvery); err != nil {
				return err
			}
		}
	}
	return nil
}

func failOver(ctx context.Context, engine *api.Client, link string, topics []string) error {
	res, err := engine.AlterMirrors(ctx, link, api.VerbFailover, api.AlterMirrors{MirrorTopicNames: topics}, false)
	if err != nil {
		return err
	}
	for _, r := range res {
		if err := r.Err(); err != nil {
			return fmt.Errorf("%s: %w", r.MirrorTopicName, err)
		}
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
