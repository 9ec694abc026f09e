package link

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// Link is one cluster link: the clients of its source and its mirror topics.
// Run it to mirror; everything else may be called at any time.
type Link struct {
	mgr *Manager
	log *slog.Logger
	src *cluster
	// flow bounds what is fetched.
	flow *flow

	mu        sync.Mutex // guards what follows; taken before MirrorTopic.mu
	rec       linkRecord
	cfg       Config
	mirrors   map[string]*MirrorTopic
	making    map[string]bool // mirrors whose creation is under way (claimName)
	readers   map[int32]*reader
	tasks     map[string]api.LinkTask
	srcError  error                // last failure to reach the source
	srcDown   time.Time            // since when it does not answer
	drift     api.Drift            // as of the last config sync
	missing   map[string]time.Time // topics that are not there, see absent
	localLook time.Time            // when the mirrors' topics were last looked at
	run       context.Context

	groups    groupSync  // own locks, see there
	ledgerRun sync.Mutex // one ledger task at a time; taken before all other locks

	broken bool // its secrets could not be read at load; only its watcher uses it
	// leading: this replica changes the link and its mirrors, others follow. Set
	// before Run.
	leading bool
	// ending is held while partitions of this replica are ended; stopEnd (with mu)
	// stops that, endWake (buffered 1) asks for it.
	ending  sync.Mutex
	stopEnd context.CancelFunc
	endWake chan struct{}
	// toEnd (with mu) are mirrors whose end was asked for and not begun; endTurn (buffered 1) is held by who ends some, see end.
	toEnd   []*MirrorTopic
	endTurn chan struct{}

	cancel context.CancelFunc // of Run, nil before it
	ended  chan struct{}      // closed when Run has returned

	// guards serialises changes of the mirrors' guards: read, write down, make.
	guards sync.Mutex
	// rejoining serialises Rejoin: all topics are looked at before one is started.
	rejoining sync.Mutex

	// work counts goroutines that end with run: readers, tasks, ends, failures.
	work sync.WaitGroup
}

func newLink(mgr *Manager, rec linkRecord) (*Link, error) {
	cfg, err := mgr.configOf(rec)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", rec.Name, err)
	}
	opts, err := ClientOptions(cfg, mgr.opts.Resolve)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", rec.Name, err)
	}
	return linkWith(mgr, rec, cfg, opts)
}

// loadLink is newLink for a link that exists: one whose secrets cannot be read
// now must not keep the engine, and with it the failover of its mirrors, from
// working. Such a link reaches no source until they can be read (mend).
func loadLink(mgr *Manager, rec linkRecord) (*Link, error) {
	l, broken := newLink(mgr, rec)
	if broken == nil {
		return l, nil
	}
	mgr.log.Error("a link cannot reach its source, trying again", "link", rec.Name, "error", broken)
	cfg, err := Parse(rec.Configs)
	if err != nil {
		return nil, broken
	}
	l, err = linkWith(mgr, rec, cfg, []kgo.Opt{
		kgo.SeedBrokers(cfg.Bootstrap...),
		kgo.Dialer(func(context.Context, string, string) (net.Conn, error) { return nil, broken }),
	})
	if err == nil {
		l.broken = true
	}
	return l, err
}

func linkWith(mgr *Manager, rec linkRecord, cfg Config, opts []kgo.Opt) (*Link, error) {
	client, err := kgo.NewClient(append(opts, kgo.ClientID(mgr.clientID(rec.Name)), kgo.RetryTimeout(requestTimeout))...)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", rec.Name, err)
	}
	src := newCluster(client)
	src.wire.MaxFrame += int(cfg.Fetch.ResponseBytes)
	return &Link{
		mgr: mgr, log: mgr.log.With("link", rec.Name), src: src, flow: newFlow(cfg.Flow),
		rec: rec, cfg: cfg, mirrors: map[string]*MirrorTopic{}, making: map[string]bool{}, missing: map[string]time.Time{}, localLook: time.Now(), readers: map[int32]*reader{},
		tasks: map[string]api.LinkTask{}, ended: make(chan struct{}), endWake: make(chan struct{}, 1), endTurn: make(chan struct{}, 1),
	}, nil
}

// mend starts a broken link anew once its secrets can be read.
func (l *Link) mend(ctx context.Context) {
	rec := l.record()
	cfg, err := l.mgr.configOf(rec)
	if err == nil {
		_, err = ClientOptions(cfg, l.mgr.opts.Resolve)
	}
	if err != nil {
		return
	}
	l.broken = false
	if !l.leading {
		l.mgr.running.Go(func() { l.mgr.mended(l, rec) })
		return
	}
	l.mgr.running.Go(func() { // replace waits for this link to end
		if err := l.mgr.replace(context.WithoutCancel(ctx), l, rec); err != nil {
			l.log.Error("a link whose secrets are back could not be started anew", "error", err)
		}
	})
}

// Run mirrors until ctx ends.
func (l *Link) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.work.Wait()
	defer func() { haltAll(l.all()) }()
	defer l.src.client.Close() // before the waits: it ends requests that do not end with ctx (await)
	defer cancel()
	l.mu.Lock()
	l.run = ctx
	l.mu.Unlock()
	if l.leading {
		l.lead(ctx)
	} else {
		for _, m := range l.all() {
			m.obey()
		}
		l.background(l.keepEnds)
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if l.broken {
			l.mend(ctx)
		}
		l.watch(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lead does what the leader alone does: it takes up what its predecessor left,
// and runs the tasks.
func (l *Link) lead(ctx context.Context) {
	l.pauseAll(ctx)
	var finishing []*MirrorTopic
	for _, m := range l.all() {
		if l.revive(ctx, m) {
			finishing = append(finishing, m)
		}
	}
	if len(finishing) > 0 {
		l.background(func(ctx context.Context) { l.finish(ctx, claimEnds(finishing), func() {}) })
	}
	l.background(l.keepConfigs)
	l.background(l.keepAutoCreate)
	l.background(l.keepRetention)
	l.background(l.keepTransactions)
	l.background(l.keepGuards)
	l.background(l.keepGroups)
	l.background(l.keepACLs)
}

// revive brings a mirror back to what its record says; true means that its end
// is to be finished.
func (l *Link) revive(ctx context.Context, m *MirrorTopic) bool {
	rec := m.record()
	switch {
	case rec.Status == status.PendingMirror.String():
		if !m.loaded {
			return false
		}
		l.background(func(ctx context.Context) { l.complete(ctx, m) })
	case rec.Status == status.PendingStopped.String() && (rec.Intent == string(api.VerbFailover) || rec.Fenced):
		return true
	case runs(rec.Status):
		m.start(ctx)
	}
	return false
}

// runs tells whether a mirror of that status moves records.
func runs(s string) bool {
	switch s {
	case status.Active.String(), status.SourceUnavailable.String(), status.PendingStopped.String():
		return true
	}
	return false
}

// background runs work that ends with the link.
func (l *Link) background(f func(ctx context.Context)) {
	l.mu.Lock()
	ctx := l.run
	l.mu.Unlock()
	if ctx == nil || ctx.Err() != nil {
		return
	}
	l.work.Go(func() { f(ctx) })
}

// all lists the mirrors in the order of their names.
func (l *Link) all() []*MirrorTopic {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*MirrorTopic, 0, len(l.mirrors))
	for _, name := range slices.Sorted(maps.Keys(l.mirrors)) {
		out = append(out, l.mirrors[name])
	}
	return out
}

func (l *Link) mirror(topic string) (*MirrorTopic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mirrors[topic]
	if m == nil {
		return nil, api.MirrorNotFound(l.rec.Name, topic)
	}
	return m, nil
}

// running is done when the link has ended: its mirrors are those of the link in its
// place then, here or at another replica.
func (l *Link) running() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run == nil { // not launched yet
		return context.Background()
	}
	return l.run
}

func (l *Link) config() Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg
}

func (l *Link) record() linkRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec
}

// reader finds the fetch loop of the broker that leads a source partition; the
// topic must still be the one with that id.
func (l *Link) reader(ctx context.Context, tp topicPartition, sourceID string) (*reader, [16]byte, error) {
	broker, id, err := l.src.leader(ctx, tp.topic, tp.partition)
	if err == nil && id != [16]byte{} && idString(id) != sourceID {
		// What is known may be from before the topic, and the mirror with it, was made
		// anew: replicas that only follow hear of the mirror first.
		l.src.forget(tp.topic)
		broker, id, err = l.src.leader(ctx, tp.topic, tp.partition)
	}
	if err != nil {
		return nil, id, fmt.Errorf("leader of source %s partition %d: %w", tp.topic, tp.partition, l.lacking(err, opRead, resourceTopic, tp.topic))
	}
	if id != [16]byte{} && idString(id) != sourceID {
		// Not left to the watcher: at our position the new topic has other records.
		return nil, id, madeAnew(tp.topic)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.readers[broker]
	if r == nil {
		r = newReader(broker, l.src, l.cfg.Fetch, l.flow)
		l.readers[broker] = r
		run := l.run
		l.work.Go(func() { r.run(run) })
	}
	return r, id, nil
}
