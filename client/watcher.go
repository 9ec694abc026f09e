package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Update is a record that has come into use.
type Update struct {
	Record record.Record
	Origin Origin
	// Source names the Consul agent, or the file, that the record came from.
	Source string
}

// Watcher follows one pair's record.
type Watcher struct {
	cfg     Config
	disk    disk
	sources []*source
}

// New checks cfg and makes StateDir; it asks no Consul yet.
func New(cfg Config) (*Watcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("watch the record of truth: %w", err)
	}
	cfg = cfg.withDefaults()
	w := &Watcher{cfg: cfg}
	var err error
	if w.disk, err = openDisk(cfg.StateDir, cfg.Pair); err != nil {
		return nil, err
	}
	for i, c := range cfg.Consuls {
		s, err := newSource(i, c, cfg)
		if err != nil {
			return nil, err
		}
		w.sources = append(w.sources, s)
	}
	return w, nil
}

// Watch gives out the record in use, now and whenever it changes, until ctx ends; then the channel is closed and nothing
// of the watcher runs any more. A receiver that is slow gets the newest record, not each one. It may be called once at a
// time.
func (w *Watcher) Watch(ctx context.Context) <-chan Update {
	updates := make(chan Update)
	go func() {
		defer close(updates)
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		seen := make(chan observation)
		for _, s := range w.sources {
			wg.Go(func() { s.run(ctx, seen) })
		}
		(&watch{Watcher: w, belief: newBelief(w.cfg.Consuls), told: map[int]string{}}).run(ctx, seen, updates)
	}()
	return updates
}

// watch is one call of Watch; only its goroutine touches it.
type watch struct {
	*Watcher
	belief   *belief
	pending  *Update
	told     map[int]string // last problem reported, by source; fromDisk for the file
	answered map[int]bool   // sources that have answered or failed once
}

const fromDisk = -1

func (w *watch) run(ctx context.Context, seen <-chan observation, updates chan<- Update) {
	w.answered = map[int]bool{}
	kept, err := w.disk.load(w.cfg.Pair)
	if err != nil {
		w.report(fromDisk, err)
	}
	if kept != nil {
		w.belief.kept(*kept)
	}
	grace := time.NewTimer(w.cfg.Grace)
	defer grace.Stop()
	useKept := func() {
		if kept != nil {
			w.use(*kept, FromDisk, w.disk.path)
		}
		kept = nil
	}
	for {
		var out chan<- Update // nil blocks: nothing to give
		var next Update
		if w.pending != nil {
			out, next = updates, *w.pending
		}
		select {
		case <-ctx.Done():
			return
		case out <- next:
			w.pending = nil
		case <-grace.C:
			useKept()
		case o := <-seen:
			if w.observe(o, kept != nil) {
				kept = nil
			}
			if w.answered[o.source] = true; len(w.answered) == len(w.sources) {
				useKept()
			}
		}
	}
}

// observe weighs what a Consul told and reports whether a record came into use by it. While the copy on disk is not given
// out yet, a Consul that shows the very same record confirms it.
func (w *watch) observe(o observation, keptWaits bool) bool {
	name := w.sources[o.source].name
	if o.err != nil {
		w.belief.lost(o.source)
		w.report(o.source, o.err)
		return false
	}
	if o.raw == nil {
		w.belief.lost(o.source)
		w.report(o.source, fmt.Errorf("%w under %s in consul %s", ErrNoRecord, w.sources[o.source].key, name))
		return false
	}
	r, err := decode(o.raw, w.cfg.Pair)
	if err != nil {
		w.belief.lost(o.source)
		w.report(o.source, fmt.Errorf("consul %s, key %s: %w", name, w.sources[o.source].key, err))
		return false
	}
	use, problem := w.belief.show(o.source, name, r)
	w.report(o.source, problem)
	if !use && problem == nil && keptWaits && r.SHA256 == w.belief.current.SHA256 {
		use = true
	}
	if use {
		if err := w.disk.save(o.raw, r); err != nil {
			w.report(fromDisk, err)
		} else {
			w.report(fromDisk, nil)
		}
		w.use(r, FromConsul, name)
	}
	return use
}

func (w *watch) use(r record.Record, from Origin, source string) {
	w.pending = &Update{Record: r, Origin: from, Source: source}
	log := w.cfg.Log.With("epoch", r.Epoch, "phase", r.Phase, "active", r.Active, "op_id", r.OpID, "source", source)
	if from == FromDisk {
		log.Warn("no Consul answers: going on with the last record kept on disk, which may be old", "changed_at", r.ChangedAt)
		return
	}
	log.Info("record of truth in use")
}

// report tells of a problem once until it changes; nil says that there is none any more.
func (w *watch) report(source int, problem error) {
	if problem == nil {
		delete(w.told, source)
		return
	}
	if w.told[source] == problem.Error() {
		return
	}
	w.told[source] = problem.Error()
	w.cfg.Log.Warn("record of truth", "err", problem)
	if w.cfg.OnProblem != nil {
		w.cfg.OnProblem(problem)
	}
}
