package link

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// crew are replicas of one engine that reach one another in memory.
type crew struct {
	site *site
	mu   sync.Mutex // guards all
	all  map[string]*Manager
	stop map[string]func()
}

// peer is a replica as another one sees it.
type peer struct {
	c    *crew
	name string
}

func (p peer) manager() (*Manager, error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if m := p.c.all[p.name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no replica %s", p.name)
}

func (p peer) Healthy(context.Context) error {
	_, err := p.manager()
	return err
}

func (p peer) PutShard(ctx context.Context, shard int32, put api.ShardPut) (api.ShardRead, error) {
	m, err := p.manager()
	if err != nil {
		return api.ShardRead{}, err
	}
	return m.PutShard(ctx, shard, put)
}

func (p peer) ReplicaPartitions(ctx context.Context) (api.ReplicaPartitions, error) {
	m, err := p.manager()
	if err != nil {
		return api.ReplicaPartitions{}, err
	}
	return m.ReplicaPartitions(ctx)
}

func newCrew(t *testing.T, names ...string) *crew {
	t.Helper()
	c := &crew{site: newSite(t, "dst", kfake.GroupMinSessionTimeout(time.Second)), all: map[string]*Manager{}, stop: map[string]func(){}}
	for _, name := range names {
		c.join(t, name)
	}
	return c
}

func (c *crew) join(t *testing.T, name string) *Manager {
	t.Helper()
	m, stop := newEngineWith(t, c.site, Options{
		Address: name, Session: 2 * time.Second,
		Peer:   func(address string) Peer { return peer{c, address} },
		Logger: testLogger(t).With("replica", name),
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[name], c.stop[name] = m, stop
	return m
}

// name is that of a replica that is like that.
func (c *crew) name(like func(*Manager) bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, m := range c.all {
		if like(m) {
			return name
		}
	}
	return ""
}

// leave stops a replica.
func (c *crew) leave(name string) {
	c.mu.Lock()
	stop := c.stop[name]
	delete(c.all, name)
	c.mu.Unlock()
	stop()
}

// leader is the replica that leads once the shards are shared and all know.
func (c *crew) leader(t *testing.T) *Manager {
	t.Helper()
	var leader *Manager
	eventually(t, "the shards are shared and one replica leads", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		owned := 0
		leader = nil
		for name, m := range c.all {
			if m.shards() == 0 {
				return fmt.Errorf("%s owns nothing", name)
			}
			owned += int(m.shards())
			if _, here := m.Leader(); here {
				leader = m
			}
		}
		if leader == nil || owned != int(leader.store.Shards()) {
			return fmt.Errorf("%d shards are owned, a leader: %v", owned, leader != nil)
		}
		return nil
	})
	return leader
}

// runningAt are the partitions of a mirror that run at a replica.
func runningAt(m *Manager, topic string) ([]int32, error) {
	l, err := m.link("l")
	if err != nil {
		return nil, err
	}
	mt, err := l.mirror(topic)
	if err != nil {
		return nil, err
	}
	mt.mu.Lock()
	defer mt.mu.Unlock()
	var out []int32
	for p := range mt.live {
		out = append(out, p.n)
	}
	return out, nil
}

// spread waits until the partitions of a mirror run, each at the one replica that
// owns its shard, and answers with how many run where.
func (c *crew) spread(t *testing.T, topic string, partitions int) map[string]int {
	t.Helper()
	var at map[string]int
	eventually(t, "the partitions of "+topic+" run", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		at = map[string]int{}
		seen := map[int32]string{}
		for name, m := range c.all {
			running, err := runningAt(m, topic)
			if err != nil {
				return err
			}
			for _, p := range running {
				if other, twice := seen[p]; twice {
					t.Errorf("partition %d runs at %s and at %s", p, other, name)
				}
				seen[p] = name
				at[name]++
			}
		}
		if len(seen) != partitions {
			return fmt.Errorf("%v run", seen)
		}
		return nil
	})
	return at
}

// halted waits until no replica runs a partition of a mirror.
func (c *crew) halted(t *testing.T, topic string) {
	t.Helper()
	eventually(t, "nothing of "+topic+" runs", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for name, m := range c.all {
			if running, err := runningAt(m, topic); err != nil || len(running) > 0 {
				return fmt.Errorf("partitions %v run at %s (%w)", running, name, err)
			}
		}
		return nil
	})
}

// many writes n records to each partition, numbered from first.
func (s *site) many(t *testing.T, topic string, partitions, first, n int) {
	t.Helper()
	for p := range partitions {
		s.produce(t, topic, int32(p), first, n)
	}
}

// same fails the test unless each partition of the mirror holds exactly the
// first n numbered records.
func (c *crew) same(t *testing.T, topic string, partitions, n int) {
	t.Helper()
	for p := range partitions {
		recs := c.site.read(t, topic, int32(p), 0, n)
		for i, r := range recs {
			if want := fmt.Sprintf("v%d", i); string(r.Value) != want {
				t.Fatalf("partition %d: record %d is %s, want %s", p, i, r.Value, want)
			}
		}
		if len(recs) != n {
			t.Errorf("partition %d has %d records, want %d", p, len(recs), n)
		}
	}
}

const spreadOver = 8 // partitions, enough to have some at each replica

// sharedMirror is a mirror of "orders" that the replicas a and b share; m leads.
func sharedMirror(t *testing.T, configs map[string]string) (src *site, c *crew, m *Manager) {
	t.Helper()
	src = newSite(t, "src")
	src.topic(t, "orders", spreadOver, nil)
	c = newCrew(t, "a", "b")
	m = c.leader(t)
	newTestLink(t, m, src, configs)
	newTestMirror(t, m, "orders")
	return src, c, m
}

func TestReplicasShareThePartitionsAndTheLeaderKnowsAll(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	if at := c.spread(t, "orders", spreadOver); len(at) != 2 {
		t.Errorf("all partitions run at one replica: %v", at)
	}
	src.many(t, "orders", spreadOver, 0, 50)
	awaitLagZero(t, m, src, "orders")
	c.same(t, "orders", spreadOver, 50)

	// A third one gets its share, and the shards of one that leaves go to the others.
	c.join(t, "c")
	src.many(t, "orders", spreadOver, 50, 50)
	m = c.leader(t)
	c.spread(t, "orders", spreadOver)
	awaitLagZero(t, m, src, "orders")
	c.leave("a")
	src.many(t, "orders", spreadOver, 100, 50)
	m = c.leader(t)
	c.spread(t, "orders", spreadOver)
	awaitLagZero(t, m, src, "orders")
	c.same(t, "orders", spreadOver, 150)
}

func TestPausedAndResumedWhereverItRuns(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	c.spread(t, "orders", spreadOver)
	alter(t, m, api.VerbPause, "orders")
	c.halted(t, "orders")
	alter(t, m, api.VerbResume, "orders")
	src.many(t, "orders", spreadOver, 0, 20)
	awaitLagZero(t, m, src, "orders")
	c.same(t, "orders", spreadOver, 20)
}

func TestEachReplicaEndsItsPartOfAFailover(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	src.many(t, "orders", spreadOver, 0, 30)
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	segs, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range segs.Partitions {
		end, err := c.site.adm.ListEndOffsets(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := end.Lookup("orders", p.Partition); p.SourceStop != 30 || p.DestStop != e.Offset {
			t.Errorf("partition %d stopped at %d and %d, its log ends at %d", p.Partition, p.SourceStop, p.DestStop, e.Offset)
		}
	}
}

// The replica that has a part of a mirror dies before it has ended it: who takes
// its shards over does.
func TestTheHeirOfADeadReplicaEndsItsPart(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	src.many(t, "orders", spreadOver, 0, 30)
	awaitLagZero(t, m, src, "orders")
	other := c.name(func(r *Manager) bool { return r != m })
	l := linkOf(t, c.all[other])
	l.ending.Lock() // it does not come to it
	alter(t, m, api.VerbFailover, "orders")
	eventually(t, "the leader says whom it waits for", func() error {
		got, err := m.Mirror(t.Context(), "l", "orders", true)
		if err == nil && !slices.ContainsFunc(got.StateTransitionErrors, func(e api.TransitionError) bool {
			return strings.Contains(e.ErrorMessage, "at the replica "+other)
		}) {
			err = fmt.Errorf("%+v", got)
		}
		return err
	})
	if got, _ := m.Mirror(t.Context(), "l", "orders", false); got.MirrorStatus != status.PendingStopped.String() {
		t.Fatalf("the mirror is %s without the other replica's part", got.MirrorStatus)
	}
	go l.ending.Unlock()
	c.leave(other)
	awaitStatus(t, m, "orders", status.Stopped)
}

func TestANewLeaderTakesUpWhatTheFormerOneBegan(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	src.many(t, "orders", spreadOver, 0, 30)
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbFailover, "orders")
	c.leave(c.name(func(r *Manager) bool { return r == m }))
	if err := m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: "orders"}); err == nil {
		t.Error("a replica that was stopped changes mirrors")
	}
	m = c.leader(t)
	awaitStatus(t, m, "orders", status.Stopped)
	c.same(t, "orders", spreadOver, 30)
}

// A group's offset is translated by the leader, also on partitions that another
// replica mirrors, and whose segments that one has written: over a hole in the
// source, before and after the promote.
func TestTheLeaderTranslatesGroupsOnPartitionsThatRunElsewhere(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, syncing)
	if at := c.spread(t, "orders", spreadOver); len(at) != 2 {
		t.Fatalf("all partitions run at one replica: %v", at)
	}
	tx := newClient(t, src.ListenAddrs(), kgo.TransactionalID("hole"))
	for p := range int32(spreadOver) {
		src.produce(t, "orders", p, 0, 5)                       // offsets 0 to 4
		begin(t, tx, "orders", p, "no", "not this", "nor this") // offsets 5 to 7, a marker at 8
		end(t, tx, false)
		src.produce(t, "orders", p, 5, 5) // offsets 9 to 13
	}
	awaitLagZero(t, m, src, "orders")
	for _, step := range []struct{ source, dest int64 }{{11, 7}, {3, 3}, {14, 10}} {
		for p := range int32(spreadOver) {
			src.commit(t, "app", "orders", p, step.source)
		}
		eventually(t, "the group is translated on all partitions", func() error {
			got := syncNow(t, m)
			for p := range int32(spreadOver) {
				if s := got[groupAt{"app", "orders", p}]; s.DestOffset != step.dest || s.Clamped {
					return fmt.Errorf("partition %d: %+v, want %d", p, s, step.dest)
				}
			}
			return nil
		})
	}
	for p := range int32(spreadOver) {
		src.commit(t, "app", "orders", p, 12)
	}
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	for p := range int32(spreadOver) {
		c.site.expectCommit(t, "app", "orders", p, 8)
	}
	c.same(t, "orders", spreadOver, 10)
}

// A fault that another replica meets fails the mirror, and stops it everywhere.
func TestAFaultAtAnotherReplicaFailsTheMirror(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	src.many(t, "orders", spreadOver, 0, 10)
	awaitLagZero(t, m, src, "orders")
	mt := mirrorOf(t, m, "orders")
	for _, p := range mt.parts() {
		if !m.store.Owned(p.shard) {
			c.site.produce(t, "orders", p.n, 0, 1) // somebody else writes into the mirror
			break
		}
	}
	awaitStatus(t, m, "orders", status.Failed)
	c.halted(t, "orders")
}
