package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/load"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Config says what a run is made of.
type Config struct {
	Seed uint64
	// Engines is how many replicas of the engine share the destination.
	Engines int
	// Records is the least to compare.
	Records int
	Script  []Fault
	// Mutant names a deliberate fault of the engine. Such a run does not end its
	// mirrors, and waits Patience only for them to be complete.
	Mutant   string
	Patience time.Duration
	// Say prints what happens.
	Say func(format string, args ...any)

	topics []topic
}

// Full is a whole seed.
func Full(seed uint64, engines int) Config {
	return Config{
		Seed: seed, Engines: engines, Records: Least.Records, Script: Script(seed, engines),
		Patience: 3 * time.Minute, topics: topics(),
	}
}

// Small is a run of a mutant on one topic: few records, chosen faults.
func Small(seed uint64, mutant string, faults ...Kind) Config {
	c := Config{
		Seed: seed, Engines: 1, Records: 10_000, Mutant: mutant, Patience: 20 * time.Second,
		topics: topics()[:1],
	}
	for _, k := range faults {
		c.Script = append(c.Script, Fault{Kind: k})
	}
	return c
}

// name tells runs on one pair apart.
func (c Config) name() string {
	if c.Mutant != "" {
		return fmt.Sprintf("eo%d-%s", c.Seed, c.Mutant)
	}
	return fmt.Sprintf("eo%d", c.Seed)
}

type run struct {
	*Pair
	cfg     Config
	began   time.Time
	cleanup []func() // called in reverse order

	producers      *load.Producers
	srcAdm, dstAdm *kadm.Client
	stock          []*stock
	engines        engines
	ids            map[[16]byte]string // of mirrors
	// back has the brokers that are being started again, by cluster; the script's
	// goroutine alone uses it.
	back map[*local.Kafka]chan error

	mu     sync.Mutex // guards result while faults happen
	result Result
}

// mostEngines is how many engines of a run have work: one shard at least.
const mostEngines = shards

// Run plays one seed. What is wrong with the mirrors is in the result; the error
// is for a run that could not be played.
func Run(ctx context.Context, p *Pair, cfg Config) (Result, error) {
	if cfg.Engines > mostEngines {
		return Result{Seed: cfg.Seed}, fmt.Errorf("%d engines share %d shards: give %d engines at most", cfg.Engines, shards, mostEngines)
	}
	r := &run{Pair: p, cfg: cfg, began: time.Now(), ids: map[[16]byte]string{}, back: map[*local.Kafka]chan error{}}
	r.engines.run = r
	r.result = Result{Seed: cfg.Seed, Engines: cfg.Engines}
	defer func() {
		for _, f := range slices.Backward(r.cleanup) {
			f()
		}
	}()
	err := r.play(ctx)
	r.result.Seconds = time.Since(r.began).Seconds()
	if err != nil {
		for _, e := range r.engines.all {
			err = fmt.Errorf("%w\nengine %s:\n%s", err, e.name, r.engineLog(e))
		}
		return r.result, fmt.Errorf("seed %d: %w", cfg.Seed, err)
	}
	return r.result, nil
}

func (r *run) play(ctx context.Context) error {
	if err := r.connect(); err != nil {
		return err
	}
	// The engines start while the topics are filled.
	setup, setupCtx := errgroup.WithContext(ctx)
	setup.Go(func() error { return r.startEngines(setupCtx) })
	setup.Go(func() error { return r.create(setupCtx) })
	if err := setup.Wait(); err != nil {
		return err
	}
	if err := r.mirror(ctx); err != nil {
		return err
	}
	groups := r.newGroups()
	if err := r.disturb(ctx, groups); err != nil {
		return err
	}
	complete := r.complete(ctx)
	if complete != nil && r.cfg.Mutant == "" {
		r.say("not complete: %v", complete)
		r.result.Findings = append(r.result.Findings, complete.Error())
	}
	if r.cfg.Mutant == "" && complete == nil {
		if err := r.end(ctx); err != nil {
			return err
		}
	}
	return r.check(ctx, groups)
}

func (r *run) connect() error {
	for _, c := range []struct {
		k    *local.Kafka
		into **kadm.Client
	}{{r.Source, &r.srcAdm}, {r.Dest, &r.dstAdm}} {
		cl, err := kgo.NewClient(append(c.k.DirectOptions(Admin), kgo.MetadataMinAge(100*time.Millisecond))...)
		if err != nil {
			return err
		}
		r.cleanup = append(r.cleanup, cl.Close)
		*c.into = kadm.NewClient(cl)
	}
	var err error
	if r.producers, err = load.NewProducers(r.Source, Admin); err != nil {
		return err
	}
	r.cleanup = append(r.cleanup, r.producers.Close)
	return nil
}

// disturb carries out the script while producers and groups go on, then lets
// them finish: the source stands still afterwards.
func (r *run) disturb(ctx context.Context, groups []*group) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	watchCtx, unwatch := context.WithCancel(ctx)
	defer unwatch()
	watching.Go(func() { r.engines.watch(watchCtx) })
	stop := make(chan struct{})
	traffic, going := errgroup.WithContext(ctx)
	for _, s := range r.stock {
		traffic.Go(func() error { return s.writer.Run(going, s.rate, stop) })
	}
	for _, g := range groups {
		traffic.Go(func() error { return g.run(going, r, stop) })
	}
	err := r.script(going)
	// Also after an error: the next run needs them.
	err = errors.Join(err, r.whole(r.Source), r.whole(r.Dest))
	close(stop)
	if trafficErr := traffic.Wait(); err == nil || !errors.Is(trafficErr, context.Canceled) {
		err = errors.Join(err, trafficErr)
	}
	if err != nil {
		return err
	}
	return r.topUp(ctx)
}

// attempts is how often a fault may fail to take effect.
const attempts = 3

func (r *run) script(ctx context.Context) error {
	for i, f := range r.cfg.Script {
		r.say("step %d of %d: %s", i+1, len(r.cfg.Script), f)
		var err error
		for range attempts {
			if err = r.do(ctx, f); err == nil || ctx.Err() != nil || r.cfg.Mutant != "" {
				break
			}
			r.say("%s had no effect: %v", f, err)
		}
		if err != nil && r.cfg.Mutant != "" && r.failed(ctx) {
			return nil // it gave up before the next fault came
		}
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, f, err)
		}
	}
	return nil
}

// topUp writes what is missing to the least number of records. Compacted topics
// do not count: their mirrors need not have all that was written.
func (r *run) topUp(ctx context.Context) error {
	have, first := 0, (*stock)(nil)
	for _, s := range r.stock {
		if !s.compacted {
			have += s.writer.Committed()
			if first == nil {
				first = s
			}
		}
	}
	r.say("%d records committed, %d wanted", have, r.cfg.Records)
	if have >= r.cfg.Records {
		return nil
	}
	return first.writer.Write(ctx, r.cfg.Records-have)
}

// ---- small things

func (r *run) each(ctx context.Context, do func(context.Context, *stock) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range r.stock {
		group.Go(func() error { return do(ctx, s) })
	}
	return group.Wait()
}

func (r *run) full(name string) string { return r.cfg.name() + "-" + name }

func (r *run) byName(full string) *stock {
	for _, s := range r.stock {
		if s.full == full {
			return s
		}
	}
	return nil
}

func (r *run) names() []string {
	var out []string
	for _, s := range r.stock {
		out = append(out, s.full)
	}
	return out
}

func (r *run) sourceConfigs() ([]api.NameValue, error) {
	return harness.SourceConfigs(r.Source, Admin, r.dir())
}

func (r *run) note(change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.result.Counts)
}

func (r *run) say(format string, args ...any) {
	line := fmt.Sprintf("seed %d +%.1fs: ", r.cfg.Seed, time.Since(r.began).Seconds()) + fmt.Sprintf(format, args...)
	r.mu.Lock()
	r.result.Events = append(r.result.Events, line)
	r.mu.Unlock()
	if r.cfg.Say != nil {
		r.cfg.Say("%s", line)
	}
}

// answered asks until there is an answer: a connection to a broker that was killed
// may be known to be broken only by the question.
func answered[T any](ctx context.Context, what string, ask func(context.Context) (T, error)) (got T, err error) {
	err = local.WaitFor(within(ctx, time.Minute), what, func(ctx context.Context) error {
		got, err = ask(ctx)
		return err
	})
	return got, err
}

func within(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}
