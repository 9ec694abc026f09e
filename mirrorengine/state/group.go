package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	defaultSession = 10 * time.Second
	// heartbeatMost bounds a heartbeat's period: a member learns by it that shards
	// wait for it.
	heartbeatMost = time.Second
	// rebalanceTimeout bounds how long a member may take to give shards up. What it
	// has under way ends sooner.
	rebalanceTimeout = 30 * time.Second
	// shareTimeout bounds the wait for the first share: a dead replica's session,
	// and taking shards over beside brokers that hang.
	shareTimeout = 3 * time.Minute
)

// membership is this replica's in the group that shares the shards out. It reads
// nothing: the group's partitions stand for the shards.
type membership struct {
	store  *Store
	client *kgo.Client

	mu     sync.Mutex // guards what follows
	shards map[int32]*kept
	err    error // last trouble with the group
	// shared is closed at the first assignment.
	shared chan struct{}
	once   sync.Once
	left   sync.Once
}

// kept is a shard that the group gave to this replica.
type kept struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing of it is owned any more
	err    error         // why it is not owned yet; guarded by membership.mu
}

// join joins the group.
func (s *Store) join() error {
	g := &membership{store: s, shards: map[int32]*kept{}, shared: make(chan struct{})}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(s.opts.Topic), kgo.ConsumeTopics(s.opts.Topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(s.opts.Session), kgo.HeartbeatInterval(min(s.opts.Session/3, heartbeatMost)),
		kgo.RebalanceTimeout(max(rebalanceTimeout, s.opts.Session)),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { g.assigned(got[s.opts.Topic]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { g.revoked(gone[s.opts.Topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { g.revoked(gone[s.opts.Topic]) }),
	}
	if s.opts.Instance != "" {
		opts = append(opts, kgo.InstanceID(s.opts.Instance))
	}
	client, err := s.opts.client(opts...)
	if err != nil {
		return err
	}
	client.PauseFetchTopics(s.opts.Topic)
	g.client, s.group = client, g
	s.wg.Go(func() {
		for s.ctx.Err() == nil {
			fetches := client.PollFetches(s.ctx)
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachError(func(_ string, _ int32, err error) { g.trouble(err) })
		}
	})
	return nil
}

// trouble keeps what the group's coordinator refused; the client tries again.
func (g *membership) trouble(err error) {
	if g.store.ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	g.mu.Lock()
	g.err = err
	g.mu.Unlock()
	if errors.Is(err, kerr.FencedInstanceID) {
		// It would come back and throw the other one out, and so on for ever.
		g.store.fail(fmt.Errorf("another replica has joined group %s under this one's name, %s: each replica needs a replicas.advertise of its own; if the other one is this replica started anew, this one is the former process and ends here: %w",
			g.store.opts.Topic, g.store.opts.Instance, err))
		return
	}
	g.store.opts.Logger.Warn("the group that shares out the state's shards is in trouble, trying again", "group", g.store.opts.Topic, "error", err)
}

// assigned takes shards over, each by itself.
func (g *membership) assigned(shards []int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range shards {
		if g.shards[n] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(g.store.ctx)
		k := &kept{cancel: cancel, done: make(chan struct{})}
		g.shards[n] = k
		g.store.wg.Go(func() {
			defer close(k.done)
			g.store.keep(ctx, n, func(err error) {
				g.mu.Lock()
				k.err = err
				g.mu.Unlock()
			})
		})
	}
	g.once.Do(func() { close(g.shared) })
}

// revoked gives shards up and returns when that is done.
func (g *membership) revoked(shards []int32) {
	g.mu.Lock()
	var gone []*kept
	for _, n := range shards {
		if k := g.shards[n]; k != nil {
			k.cancel()
			gone = append(gone, k)
			delete(g.shards, n)
		}
	}
	g.mu.Unlock()
	for _, k := range gone {
		<-k.done
	}
}

// leave gives all shards up and tells the group. A member with an instance id must
// be taken out by name, or the group would wait for its return (KIP-345).
func (g *membership) leave() {
	g.mu.Lock()
	var all []int32
	for n := range g.shards {
		all = append(all, n)
	}
	g.mu.Unlock()
	g.revoked(all)
	g.client.CloseAllowingRebalance()
	g.mu.Lock()
	named := g.store.opts.Instance != "" && !errors.Is(g.err, kerr.FencedInstanceID) // else the name is another's
	g.mu.Unlock()
	if !named {
		return
	}
	client, err := g.store.opts.client()
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.store.ctx), answerTimeout)
	defer cancel()
	_, err = kadm.NewClient(client).LeaveGroup(ctx, kadm.LeaveGroup(g.store.opts.Topic).Reason("the replica stops").InstanceIDs(g.store.opts.Instance))
	if err != nil {
		g.store.opts.Logger.Warn("this replica could not leave the group: its shards move when its session ends", "group", g.store.opts.Topic, "session", g.store.opts.Session, "error", err)
	}
}

// awaitShare waits until the first share of the shards is owned.
func (s *Store) awaitShare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	g := s.group
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	shared := false
	for {
		select {
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("its shards could not be taken over: %w", ctx.Err()), g.why())
		case <-g.shared:
			shared = true
		default:
		}
		err := g.why()
		if errors.Is(err, kerr.GroupAuthorizationFailed) {
			return fmt.Errorf("the engine's principal needs READ on group %s, by which replicas share the state: %w", s.opts.Topic, err)
		}
		if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) || errors.Is(err, kerr.TopicAuthorizationFailed) {
			return fmt.Errorf("its shards could not be taken over: %w", err) // no waiting gives the right
		}
		if shared && g.complete() {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.movedNow():
		case <-ctx.Done():
		}
	}
}

func (s *Store) movedNow() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.moved
}

// complete: all that the group gave is owned.
func (g *membership) complete() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := range g.shards {
		if !g.store.Owned(n) {
			return false
		}
	}
	return true
}

// why tells what keeps shards from being owned.
func (g *membership) why() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := []error{g.err}
	for n, k := range g.shards {
		if k.err != nil {
			errs = append(errs, fmt.Errorf("shard %d: %w", n, k.err))
		}
	}
	return errors.Join(errs...)
}
