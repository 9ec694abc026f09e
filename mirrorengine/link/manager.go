// Package link is the engine's runtime: it owns the cluster links whose
// destination is the local cluster, their mirror topics and the record path.
//
// It moves records and keeps what concerns them (segments, stop offsets, group
// offsets, guards, the loss ledger); it knows no HTTP and no workflow, and it
// decides no "should we". Status changes only through package status; what must
// not be forgotten goes through package state first. Start at Manager, then
// partition.go for the record path, finish.go for ending a mirror and replica.go
// for what several replicas share; lock order is in ../DESIGN.md.
package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// Options of a Manager.
type Options struct {
	// Local are the client options of the local cluster, the destination of
	// every link.
	Local []kgo.Opt
	// Canary are the options of the canary's own principal; nil if there is
	// none, and then no guard is ever proven.
	Canary []kgo.Opt
	// Principal is who the local cluster takes this engine for ("User:engine"),
	// CanaryPrincipal the same for the canary. Without the first, guards can be
	// set only where the engine is a super user.
	Principal         string
	CanaryPrincipal   string
	Name              string // of the site, part of client ids
	Version           string
	StateTopic        string
	Shards            int32
	ReplicationFactor int16
	// ProduceConnections is the number of connections to each local broker that
	// batches are sent over; 0 takes the default, 2.
	ProduceConnections int
	// Resolve puts secrets in the place of a link's references; nil takes
	// secret.Resolve, which reaches all that the process reaches.
	Resolve func(string) (string, error)
	// Sealer seals inline secrets; nil refuses them.
	Sealer   *secret.Sealer
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// Address is where other replicas of this engine reach this one, Instance its
	// lasting name and Session after what silence it counts as dead; see
	// state.Options.
	Address, Instance string
	Session           time.Duration
	// Peer reaches the replica at an address; nil where there is only one.
	Peer func(address string) Peer

	merge *batch.Limits // tests; nil takes mergeUpTo, no limits switch merging off
}

// Manager is the set of links of one engine, as one of its replicas holds them.
type Manager struct {
	opts        Options
	log         *slog.Logger
	store       *state.Store
	local       *cluster
	clusterID   string
	writerFence string // api.WriterFence…, probed at start
	metrics     *metrics
	writers     *writers
	merge       batch.Limits       // of small batches, see prepare
	stop        context.CancelFunc // of the writers
	canary      *cluster           // nil if there is none
	access      access
	replicas    replication
	tails       byLeader[*tailReader, tail]
	ready       atomic.Bool // New has made it

	mu    sync.Mutex // guards what follows; taken before Link.mu
	links map[string]*Link
	run   context.Context
	// ops serialises tokens, locks and fence registers: read, decide, write.
	ops     sync.Mutex
	running sync.WaitGroup
}

// New connects to the local cluster, takes this replica's share of the state
// topic over and loads what it says. Nothing is mirrored before Run.
func New(ctx context.Context, opts Options) (*Manager, error) {
	if opts.Resolve == nil {
		opts.Resolve = secret.Resolve
	}
	client, err := kgo.NewClient(append(slices.Clone(opts.Local),
		kgo.ClientID("drawbridge-engine-"+opts.Name),
		kgo.RequestTimeoutOverhead(answerTimeout), kgo.DialTimeout(answerTimeout), kgo.RetryTimeout(requestTimeout))...)
	if err != nil {
		return nil, fmt.Errorf("local cluster: %w", err)
	}
	local := newCluster(client)
	meta, err := firstMetadata(ctx, local.adm)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("local cluster: %w", err)
	}
	wctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	m := &Manager{
		opts: opts, log: opts.Logger, local: local, clusterID: meta.Cluster, stop: stop,
		writers: newWriters(wctx, local, cmp.Or(opts.ProduceConnections, 2)),
		merge:   mergeUpTo,
		links:   map[string]*Link{},
	}
	if opts.merge != nil {
		m.merge = *opts.merge
	}
	m.tails.ask = m.readNewest
	m.replicas.dirty, m.replicas.wake = map[string]bool{}, make(chan struct{}, 1)
	m.metrics = newMetrics(opts.Registry, m.shards)
	m.store, err = state.Open(ctx, state.Options{
		Local: opts.Local, ClusterID: meta.Cluster, Topic: opts.StateTopic, Shards: opts.Shards,
		ReplicationFactor: opts.ReplicationFactor, Logger: opts.Logger,
		Address: opts.Address, Instance: opts.Instance, Session: opts.Session,
		Release: func(n int32) {
			if m.ready.Load() { // before, nothing rests on it
				m.release(n)
			}
		},
		Changed: m.changed,
	})
	if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		err = m.lacking(err, opWrite, resourceTransactions, "drawbridge-"+meta.Cluster)
	} else {
		err = m.lacking(err, opAll, resourceTopic, opts.StateTopic)
	}
	if err == nil {
		m.writerFence, err = m.probeWriterFence(ctx)
	}
	if err == nil {
		m.canary, err = newCanary(opts.Canary, opts.Name)
	}
	if err == nil {
		if _, perr := m.standing(ctx); perr != nil {
			// Asked again when a guard is to be set; mirroring needs no answer.
			m.log.Warn("the local cluster's authorizer could not be probed", "error", perr)
		}
	}
	if err == nil {
		m.replicas.remaking.Lock()
		term, lead := m.store.Term()
		if err = m.load(); err == nil {
			m.replicas.lead(lead, term)
		}
		m.replicas.remaking.Unlock()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.ready.Store(true)
	return m, nil
}

// firstMetadata asks until a broker answers: one that hangs must not keep the
// engine from starting beside those that work.
func firstMetadata(ctx context.Context, adm *kadm.Client) (kadm.Metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	for {
		meta, err := adm.BrokerMetadata(ctx)
		if err == nil || ctx.Err() != nil {
			return meta, err
		}
		select {
		case <-ctx.Done():
			return meta, err
		case <-time.After(retryMin):
		}
	}
}

// load makes the links and mirrors that the state topic holds.
func (m *Manager) load() error {
	recs, err := state.All[linkRecord](m.store, "link/")
	if err != nil {
		return err
	}
	for _, rec := range recs {
		l, err := m.loadOne(rec)
		if err != nil {
			return err
		}
		m.links[rec.Name] = l
	}
	return nil
}

// loadOne makes a link with the mirrors that the state has of it.
func (m *Manager) loadOne(rec linkRecord) (*Link, error) {
	l, err := loadLink(m, rec)
	if err != nil {
		return nil, err
	}
	mirrors, err := state.All[mirrorRecord](m.store, mirrorPrefix(rec.Name))
	if err != nil {
		l.src.client.Close()
		return nil, err
	}
	for _, r := range mirrors {
		l.mirrors[r.Topic] = newMirror(l, r)
	}
	return l, nil
}

// Run mirrors what this replica's share is until ctx ends (nil), or until it met a
// record in the state that it cannot read.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	// Other replicas need not wait for what else this process has to end.
	defer m.store.Leave()
	defer m.running.Wait()
	defer cancel()
	m.replicas.remaking.Lock()
	m.mu.Lock()
	m.run = ctx
	for _, l := range m.links {
		m.launch(l)
	}
	m.mu.Unlock()
	m.replicas.remaking.Unlock()
	m.running.Go(func() { m.watchPeers(ctx) })
	return m.follow(ctx)
}

// launch runs a link, as the leader's if this replica leads. Called with mu.
func (m *Manager) launch(l *Link) {
	if m.run == nil || m.run.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(m.run)
	l.cancel = cancel
	l.leading, _ = m.led()
	l.mu.Lock()
	l.run = ctx
	l.mu.Unlock()
	m.running.Go(func() {
		defer close(l.ended)
		l.Run(ctx)
	})
}

// retry runs f until it succeeds or ctx ends; the last error names what.
func (m *Manager) retry(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		case <-time.After(retryMin):
		}
	}
}

// Stuck tells why the state takes no changes, nil if it does.
func (m *Manager) Stuck() error { return m.store.Stuck() }

// Ready tells whether requests can be served: the local cluster answers, and so
// does the replica that leads.
func (m *Manager) Ready() error {
	m.mu.Lock()
	run := m.run
	m.mu.Unlock()
	if run == nil || run.Err() != nil {
		return errors.New("the engine does not run")
	}
	ctx, cancel := context.WithTimeout(run, requestTimeout/2)
	defer cancel()
	if err := m.local.refresh(ctx); err != nil {
		return err
	}
	address, here := m.Leader()
	switch {
	case here:
		return nil
	case address == "" || m.opts.Peer == nil:
		return errors.New("no replica of the engine leads just now; one takes over when the former one's session has ended")
	}
	if err := m.opts.Peer(address).Healthy(ctx); err != nil {
		return fmt.Errorf("the replica %s, which leads, does not answer: %w; another one takes over when its session has ended", address, err)
	}
	return nil
}

// Share is the shards that this replica owns, and whether it leads.
func (m *Manager) Share() (shards []int32, leading bool) {
	shards = []int32{}
	for n := range m.store.Shards() {
		if m.store.Owned(n) {
			shards = append(shards, n)
		}
	}
	_, leading = m.Leader()
	return shards, leading
}

func (m *Manager) shards() float64 {
	if !m.ready.Load() {
		return 0
	}
	owned, _ := m.Share()
	return float64(len(owned))
}

// Close releases everything; call it when Run has returned.
func (m *Manager) Close() {
	m.stop()
	m.writers.wg.Wait()
	if m.store != nil {
		m.store.Close()
	}
	if m.canary != nil {
		m.canary.client.Close()
	}
	m.local.client.Close()
}

// ClusterID is the local cluster's.
func (m *Manager) ClusterID() string { return m.clusterID }

// clientID names a link's connections to its source, so that its owner can
// tell them apart.
func (m *Manager) clientID(link string) string {
	return "drawbridge-link-" + m.opts.Name + "-" + link
}

func (m *Manager) link(name string) (*Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[name]
	if l == nil {
		return nil, api.LinkNotFound()
	}
	return l, nil
}

func (m *Manager) all() []*Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*Link, 0, len(m.links))
	for _, name := range slices.Sorted(maps.Keys(m.links)) {
		out = append(out, m.links[name])
	}
	return out
}
