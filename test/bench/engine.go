package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// engine is the mirroring engine, with one link in its default configuration.
type engine struct{ *harness.Engine }

const engineLink = "bench"

// startEngine builds the engine of this tree and starts it.
func (s *stage) startEngine(ctx context.Context) (*engine, error) {
	s.say("the engine")
	binary, err := harness.Build(ctx, "mirrorengine")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, "engine")
	started, err := harness.StartEngine(ctx, harness.EngineConfig{
		Name: "bench", Dir: dir, Kafka: s.dst, User: s.dst.SuperUser(), Binary: binary,
	})
	if started == nil || started.Process() == nil {
		return nil, err
	}
	e := &engine{started}
	s.mirrors = append(s.mirrors, e)
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w\n%s", err, e.process().Log(30))
	}
	configs, err := harness.SourceConfigs(s.src, s.user, dir)
	if err != nil {
		return nil, err
	}
	return e, e.Client().CreateLink(ctx, engineLink, api.CreateLink{SourceClusterID: s.src.ClusterID(), Configs: configs}, false, true)
}

func (e *engine) name() string            { return measure.Engine }
func (e *engine) process() *local.Process { return e.Process() }

func (e *engine) begin(ctx context.Context, topic string) error {
	return e.Client().CreateMirror(ctx, engineLink, api.CreateMirror{SourceTopicName: topic, ReplicationFactor: 1})
}

func (e *engine) end(ctx context.Context, topic string) error {
	results, err := e.Client().AlterMirrors(ctx, engineLink, api.VerbFailover, api.AlterMirrors{MirrorTopicNames: []string{topic}}, false)
	if err == nil {
		err = results[0].Err()
	}
	if err != nil {
		return fmt.Errorf("end mirror %s: %w", topic, err)
	}
	return local.WaitFor(ctx, "mirror "+topic+" is stopped", func(ctx context.Context) error {
		m, err := e.Client().Mirror(ctx, engineLink, topic, true)
		if err == nil && m.MirrorStatus != status.Stopped.String() {
			err = fmt.Errorf("it is %s %v", m.MirrorStatus, m.StateTransitionErrors)
		}
		return err
	})
}
