package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// FaultsTag builds a worker that kills itself at places that KillWorkerAt names, and waits at those of HoldWorkerAt.
const FaultsTag = "faults"

// Beside starts another pair on s's servers: the same clusters, engines, Consuls
// and Temporal, but topics, links, keys, plan, worker and Temporal namespace of
// its own. Dir, Kind, Home, Standby and Brokers of cfg are s's; its Principals
// must be among s's, since brokers learn logins at their start. Links are named
// PairLink. workerTags are build tags of its worker. Its Stop ends only what is
// its own.
func (s *System) Beside(ctx context.Context, cfg Config, workerTags ...string) (_ *System, err error) {
	cfg.Dir, cfg.Kind, cfg.Brokers = filepath.Join(s.cfg.Dir, "pairs", cfg.Pair), s.cfg.Kind, s.cfg.Brokers
	cfg.Home, cfg.Standby = s.cfg.Home, s.cfg.Standby
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, fmt.Errorf("start pair: %w", err)
	}
	change := cfg.Plan
	cfg.Plan = func(p *plan.Plan) {
		s.share(p)
		if change != nil {
			change(p)
		}
	}
	o := &System{
		cfg: cfg, Home: s.Home, Standby: s.Standby, Reports: filepath.Join(cfg.Dir, "reports"),
		people: map[string]string{}, logins: s.logins, super: s.super, canary: s.canary, binaries: maps.Clone(s.binaries),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start pair %s: %w", cfg.Pair, err), o.Stop())
		}
	}()
	if o.Temporal, err = s.Temporal.In(ctx, "pair-"+cfg.Pair); err != nil {
		return nil, err
	}
	if o.binaries["worker"], err = Build(ctx, "worker", workerTags...); err != nil {
		return nil, err
	}
	for _, do := range []func(context.Context) error{o.createTopics, o.writePlan, o.startWorker} {
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// share lets a plan refer to what the pairs have in common: the secrets that
// engines can read, and link names that are this pair's only.
func (s *System) share(p *plan.Plan) {
	for i := range p.Sites {
		p.Sites[i].Engine.LinkSecurity.PasswordFile = filepath.Join(s.cfg.Dir, p.Sites[i].Name, "engine", "source.password")
	}
	for i := range p.Links {
		p.Links[i].Name = PairLink(p.Pair, p.Links[i].Source, p.Links[i].Destination)
	}
}

// PairLink is the name of the link between two sites of a pair that Beside
// started.
func PairLink(pair, source, destination string) string {
	return pair + "-" + source + "-to-" + destination
}

// KillWorkerAt makes a worker of FaultsTag end by SIGKILL, once at each place.
// A place is "before" or "after", an activity and a pattern of its step: "after
// FailoverMirrors fail over wave *"; "after readiness:LoadPlan load plan" is of
// that operation only.
func (s *System) KillWorkerAt(places ...string) error {
	file := filepath.Join(s.cfg.Dir, "worker", "faults")
	return os.WriteFile(file, []byte(strings.Join(places, "\n")), 0o600)
}

// HoldWorkerAt makes a worker of FaultsTag wait at places, all of them "before"
// something, until other places or none are named. A step is held for as long as
// a test takes, as one that heartbeats or is tried again may be.
func (s *System) HoldWorkerAt(places ...string) error {
	// Whole: a worker may be reading it.
	return renameio.WriteFile(filepath.Join(s.cfg.Dir, "worker", "faults.holds"), []byte(strings.Join(places, "\n")), 0o600)
}

// WorkerJournal is what a worker of FaultsTag did: a line each of operation,
// place and attempt, by tabs, and "killed" with a place.
func (s *System) WorkerJournal() ([]string, error) {
	raw, err := os.ReadFile(filepath.Join(s.cfg.Dir, "worker", "faults.journal"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return strings.Split(strings.TrimSpace(string(raw)), "\n"), nil
}

// KeepWorker starts the worker again whenever it ends, until ctx does; it
// returns how often that was.
func (s *System) KeepWorker(ctx context.Context) (int, error) {
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return n, nil
		case <-s.Worker.Process().Done():
		}
		if ctx.Err() != nil {
			return n, nil
		}
		err := s.Worker.Restart(ctx)
		if err != nil && ctx.Err() == nil && s.Worker.Process().Running() {
			return n, fmt.Errorf("start the killed worker again: %w", err)
		} // else it was killed again before it was ready
	}
}

// HoldPair is HoldLink for the one link of a pair that Beside started.
func (s *System) HoldPair() { s.Home.Kafka.Proxies().Hold(s.linkClients()) }

// ReleasePair ends HoldPair.
func (s *System) ReleasePair() { s.Home.Kafka.Proxies().Release(s.linkClients()) }

func (s *System) linkClients() string {
	return LinkClients + s.Standby.Name + "-" + PairLink(s.Pair(), s.Home.Name, s.Standby.Name)
}
