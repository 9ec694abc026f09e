package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// engines are the engines of a run, which whoever runs them in earnest starts
// again when they end: so does watch here.
type engines struct {
	run *run
	all []*engine
}

type engine struct {
	name string
	*harness.Engine

	mu sync.Mutex // held over a change of the process
	// down: a fault has ended it, watch leaves it alone.
	down bool
}

// state is the topic of this run's engines.
func (c Config) state() string { return "_state_" + c.name() }

const shards = 4

// session is after what silence a replica counts as dead, the least that brokers
// allow (group.min.session.timeout.ms).
const session = 6 * time.Second

// restartTime is how long an engine may take until it is ready: its state may
// wait for a broker that has died.
const restartTime = 2 * time.Minute

func (r *run) startEngines(ctx context.Context) error {
	if err := harness.PlaceState(ctx, r.Dest, Admin, r.cfg.state(), shards, stateBrokers...); err != nil {
		return err
	}
	var tags []string
	if r.cfg.Mutant != "" {
		tags = []string{"mutant"}
	}
	bin, err := harness.Build(ctx, "mirrorengine", tags...)
	if err != nil {
		return err
	}
	for i := range r.cfg.Engines {
		e := &engine{name: fmt.Sprintf("%s-e%d", r.cfg.name(), i)}
		e.Engine, err = harness.StartEngine(within(ctx, restartTime), harness.EngineConfig{
			Name: e.name, Replica: e.name, Session: session, Dir: r.dir(), Kafka: r.Dest, User: Admin, Binary: bin, Shards: shards,
			Env: []string{"DRAWBRIDGE_MUTANT=" + r.cfg.Mutant, "DRAWBRIDGE_STATE_TOPIC=" + r.cfg.state()},
		})
		if e.Engine != nil && e.Process() != nil {
			r.cleanup = append(r.cleanup, func() {
				if err := e.Stop(); err != nil {
					r.say("%v", err)
				}
			})
		}
		if err != nil {
			return fmt.Errorf("%w\n%s", err, r.engineLog(e))
		}
		r.engines.all = append(r.engines.all, e)
	}
	return nil
}

// dir is the engines' folder: the link refers to a password there.
func (r *run) dir() string { return filepath.Join(r.Dir, "engines", r.cfg.name()) }

// engineLog is the end of what an engine has written.
func (r *run) engineLog(e *engine) string {
	if e.Engine == nil || e.Process() == nil {
		return ""
	}
	return e.Process().Log(40)
}

// watch starts engines again that end by themselves.
func (es *engines) watch(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, e := range es.all {
			e.mu.Lock()
			if !e.down && !e.Process().Running() {
				es.run.note(func(c *Counts) { c.EngineExits++ })
				es.run.say("engine %s has ended by itself (%v); starting it again", e.name, e.Process().Err())
				if err := e.Restart(within(ctx, restartTime)); err != nil && ctx.Err() == nil {
					es.run.say("engine %s does not start: %v", e.name, err)
				}
			}
			e.mu.Unlock()
		}
	}
}

// kill ends an engine by SIGKILL; start brings it back.
func (e *engine) kill() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.Process().Running() {
		return fmt.Errorf("engine %s had ended before it was killed", e.name)
	}
	e.down = true
	return e.Kill()
}

// start waits until the engine is ready; one that ends while it starts is started
// again.
func (e *engine) start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, restartTime)
	defer cancel()
	err := local.WaitFor(ctx, "engine "+e.name+" starts", func(ctx context.Context) error { return e.Restart(ctx) })
	e.down = false
	return err
}

// up are the engines that no fault has ended.
func (es *engines) up() []*engine {
	var out []*engine
	for _, e := range es.all {
		e.mu.Lock()
		if !e.down {
			out = append(out, e)
		}
		e.mu.Unlock()
	}
	return out
}

// byClient finds the engine of a connection to the destination.
func (es *engines) byClient(id string) (*engine, error) {
	for _, e := range es.all {
		if id == engineClients+e.name {
			return e, nil
		}
	}
	return nil, fmt.Errorf("no engine has the client id %q", id)
}

// engineClients begins the client ids of engines at their own cluster.
const engineClients = "drawbridge-engine-"

// api calls an engine that is up; any answers for all.
func (r *run) api() *api.Client {
	for _, e := range r.engines.all {
		if e.mu.TryLock() {
			up := e.Process().Running()
			e.mu.Unlock()
			if up {
				return e.Client()
			}
		}
	}
	return r.engines.all[0].Client()
}

// awaitMeeting waits until an engine says that it waits for the replicas of one
// of the partitions. A wrong one may instead write on: then there is nothing to
// wait for.
func (r *run) awaitMeeting(ctx context.Context, hidden map[harness.At]harness.LogEnd, watch *harness.LogEnds) error {
	return local.WaitFor(within(ctx, time.Minute), "an engine meets the batch beyond the high watermark", func(ctx context.Context) error {
		var errs []error
		for _, e := range r.engines.all {
			err := e.WaitsForReplicas(ctx, r.cfg.name(), hidden)
			if err == nil {
				r.say("engine %s has met what broker %d does not have", e.name, follower)
				return nil
			}
			errs = append(errs, err)
		}
		for at, now := range watch.Hidden(ctx, -1) {
			if was, ok := hidden[at]; ok && now.End > was.End {
				r.say("%s grew from %d to %d before its replicas were in step", at, was.End, now.End)
				return nil
			}
		}
		return errors.Join(errs...)
	})
}
