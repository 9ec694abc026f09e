package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// crew are replicas of one engine that reach one another in memory.
type crew struct {
	site *site
	mu   sync.Mutex // guards all
	all  map[string]*Manager
	stop map[string]func()
	deaf atomic.Bool // no replica tells another where its partitions stand
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
	if err == nil && p.c.deaf.Load() {
		err = errors.New("no answer")
	}
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
		Address: name, Session: 30 * time.Second, // a replica that leaves says so; one without time for a while is not to lose its shards
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
