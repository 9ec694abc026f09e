package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// replicaSession is the replicas' session timeout in these tests.
	replicaSession = 4 * time.Second
	// replicaGrace is what a takeover may take beyond it: the rebalance, reading the
	// shards and the tails on a busy machine.
	replicaGrace = 20 * time.Second
	// replicaParts is enough partitions for each replica to have some.
	replicaParts = 8
)

// replica starts a replica of the engine. Its connections to the destination have
// the client id local(name), as an engine's.
func (s *stage) replica(name string, session time.Duration) *harness.Engine {
	s.Helper()
	return s.start(harness.EngineConfig{Name: name, Replica: name, Session: session})
}

// shares waits until exactly these replicas share the shards, asked through each of
// them, and answers with the one that leads.
func (s *stage) shares(replicas ...*harness.Engine) (leader *harness.Engine) {
	s.Helper()
	s.await(time.Minute, "the replicas share the shards", func(ctx context.Context) error {
		for _, e := range replicas {
			got, err := e.Client().Engine(ctx)
			if err != nil {
				return err
			}
			if len(got.Replicas) != len(replicas) {
				return fmt.Errorf("asked at %s: %+v", e.Addr(), got.Replicas)
			}
			for _, r := range got.Replicas {
				i := slices.IndexFunc(replicas, func(e *harness.Engine) bool { return e.Addr() == r.Address })
				if i < 0 || len(r.Shards) == 0 {
					return fmt.Errorf("asked at %s: %+v", e.Addr(), got.Replicas)
				}
				if r.Leading {
					leader = replicas[i]
				}
			}
		}
		return nil
	})
	return leader
}

// crew is a mirror that two replicas share.
type crew struct {
	*stage
	topic string
	a, b  *harness.Engine
}

func newCrew(t *testing.T, p pair, topic, mutant string) *crew {
	t.Helper()
	return newCrewOf(t, p, topic, mutant, replicaSession)
}

func newCrewOf(t *testing.T, p pair, topic, mutant string, session time.Duration) *crew {
	t.Helper()
	c := &crew{stage: newStage(t, p, topic), topic: topic}
	c.mutant = mutant
	c.a, c.b = c.replica("a-"+topic, session), c.replica("b-"+topic, session)
	c.stage.topic(topic, replicaParts)
	c.shares(c.a, c.b)
	c.link(c.b, link) // either takes any call
	c.mirror(c.a, link, topic)
	return c
}

// other is the replica that e is not.
func (c *crew) other(e *harness.Engine) *harness.Engine {
	if e == c.a {
		return c.b
	}
	return c.a
}

// moving watches the mirror until stop is called, and then tells the longest time
// for which a partition stood still, with when that began.
func (c *crew) moving() (stop func() (time.Duration, time.Time)) {
	c.Helper()
	ctx, cancel := context.WithCancel(c.Context())
	type gap struct {
		took time.Duration
		at   time.Time
	}
	ended := make(chan gap, 1)
	go func() {
		var longest gap
		last, at := map[int32]int64{}, map[int32]time.Time{}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			ends, err := c.dstAdm.ListEndOffsets(ctx, c.topic)
			if err != nil {
				continue
			}
			now := time.Now()
			for p := range int32(replicaParts) {
				end, _ := ends.Lookup(c.topic, p)
				if end.Offset > last[p] || at[p].IsZero() {
					last[p], at[p] = end.Offset, now
				} else if took := now.Sub(at[p]); took > longest.took {
					longest = gap{took, at[p]}
				}
			}
		}
		ended <- longest
	}()
	return func() (time.Duration, time.Time) {
		cancel()
		g := <-ended
		return g.took, g.at
	}
}

// end fails the mirror over through a replica, and compares it with its source.
func (c *crew) end(through *harness.Engine) {
	c.Helper()
	if err := c.alter(through.Client(), link, api.VerbFailover, c.topic); err != nil {
		c.Fatal(err)
	}
	c.awaitStatus(through, link, c.topic, "STOPPED")
	stops := c.stops(through, link, c.topic)
	for p := range int32(replicaParts) {
		c.produce(c.dst, c.topic, p, "app", 0, 5)
	}
	c.drainedAll(stops)
	if err := c.exact(c.topic, stops, 5); err != nil {
		c.Error(err)
	}
}

// drainedAll checks that the mirror ended with all that the source has.
func (c *crew) drainedAll(stops map[int32]api.PartitionSegments) {
	c.Helper()
	ends, err := c.srcAdm.ListEndOffsets(c.Context(), c.topic)
	if err != nil {
		c.Fatal(err)
	}
	for p, stop := range stops {
		if end, _ := ends.Lookup(c.topic, p); stop.SourceStop != end.Offset {
			c.Errorf("partition %d stopped at %d, its source ends at %d", p, stop.SourceStop, end.Offset)
		}
	}
}

func onBoth(t *testing.T, name string, play func(t *testing.T, p pair, topic string)) {
	t.Run("kfake", func(t *testing.T) { play(t, fake, name+"-fake") })
	t.Run("apache", func(t *testing.T) { play(t, apache, name) })
}

// Either replica is killed without notice while the source is busy; the other one
// goes on within the session timeout, and nothing is lost, doubled or out of order.
func TestEitherReplicaMayDie(t *testing.T) {
	onBoth(t, "die", func(t *testing.T, p pair, topic string) {
		c := newCrew(t, p, topic, "")
		stop := c.busy(topic, replicaParts)
		for _, kind := range []string{"leads", "follows"} {
			victim := c.shares(c.a, c.b)
			if kind == "follows" {
				victim = c.other(victim)
			}
			survivor := c.other(victim)
			still := c.moving()
			if err := victim.Kill(); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			c.shares(survivor)
			c.await(time.Minute, "the survivor mirrors all partitions", func(ctx context.Context) error {
				at, err := c.progress(ctx, survivor, link, topic)
				for n, p := range at {
					if p.Stalled != "" || p.SourcePosition < 0 {
						err = errors.Join(err, fmt.Errorf("partition %d: %+v", n, p))
					}
				}
				return err
			})
			took, at := still()
			t.Logf("killed the replica that %s: a partition stood still for %s, from %s after the kill", kind, took, at.Sub(killed))
			if took > replicaSession+replicaGrace {
				t.Errorf("a partition stood still for %s, the session is %s", took, replicaSession)
			}
			if err := victim.Restart(c.within(2 * time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		leader := c.shares(c.a, c.b)
		stop()
		c.awaitMirrored(c.other(leader), link, topic)
		c.end(c.other(leader))
	})
}

func TestARollingRestartLeavesNoGap(t *testing.T) {
	onBoth(t, "rolling", func(t *testing.T, p pair, topic string) {
		c := newCrewOf(t, p, topic, "", 2*rollingGap)
		stop := c.busy(topic, replicaParts)
		c.awaitMoving()
		still := c.moving()
		for _, e := range []*harness.Engine{c.a, c.b} {
			if err := e.Stop(); err != nil {
				t.Fatal(err)
			}
			c.shares(c.other(e))
			if err := e.Restart(c.within(2 * time.Minute)); err != nil {
				t.Fatal(err)
			}
			c.shares(c.a, c.b)
		}
		took, _ := still()
		t.Logf("a partition stood still for at most %s", took)
		// Shards change hands by the group's heartbeats, not by a session that ends.
		if took > rollingGap {
			t.Errorf("a partition stood still for %s, want at most %s", took, rollingGap)
		}
		stop()
		c.awaitMirrored(c.a, link, topic)
		c.end(c.b)
	})
}

// rollingGap bounds how long a partition may stand still while a replica that
// stops hands it over: half the session, which is not to be waited for.
const rollingGap = 30 * time.Second

func (c *crew) awaitMoving() {
	c.Helper()
	c.await(time.Minute, "all partitions are mirrored", func(ctx context.Context) error {
		ends, err := c.dstAdm.ListEndOffsets(ctx, c.topic)
		for p := range int32(replicaParts) {
			if end, _ := ends.Lookup(c.topic, p); end.Offset == 0 {
				err = errors.Join(err, fmt.Errorf("partition %d is empty", p))
			}
		}
		return err
	})
}

// A replica is frozen with produces on their way. The other one fails the mirror
// over, which waits for the frozen one's session and takes its part over; an
// application writes; then the late produces reach the broker, and the replica
// wakes. Nothing of it may land behind the stop offsets.
func TestAFrozenReplicaWritesNothingBehindAFailover(t *testing.T) {
	c := newCrew(t, apache, "frozen", "")
	frozen, stops, err := c.freeze()
	if err != nil {
		t.Fatal(err)
	}
	if err := frozen.Process().Resume(); err != nil {
		t.Fatal(err)
	}
	c.shares(c.a, c.b) // so it has learned what became of its shards, and got some again
	now := c.stops(frozen, link, c.topic)
	for p, was := range stops {
		if now[p].SourceStop != was.SourceStop || now[p].DestStop != was.DestStop {
			t.Errorf("partition %d: stop offsets were %d and %d, now %d and %d", p, was.SourceStop, was.DestStop, now[p].SourceStop, now[p].DestStop)
		}
	}
	if err := c.exact(c.topic, now, frozenApp); err != nil {
		t.Error(err)
	}
}

// The same without the fence: the batches land. If they did not, the test above
// would prove nothing.
func TestWithoutTheWriterFenceAFrozenReplicaWritesBehindAFailover(t *testing.T) {
	c := newCrew(t, apache, "frozen-unfenced", "no-writer-fence")
	_, _, err := c.freeze()
	if err == nil || !strings.Contains(err.Error(), "behind the stop offset") {
		t.Fatalf("the checker found nothing wrong with replicas that do not fence: %v", err)
	}
	t.Logf("caught: %v", err)
}

// frozenApp is how many records the application writes to each partition.
const frozenApp = 25

// freeze plays the story up to the moment when a late batch has had its answer,
// and compares then.
func (c *crew) freeze() (frozen *harness.Engine, stops map[int32]api.PartitionSegments, err error) {
	c.Helper()
	stop := c.busy(c.topic, replicaParts)
	c.awaitMoving()
	stop()
	leader := c.shares(c.a, c.b)
	frozen = c.other(leader)
	c.awaitMirrored(leader, link, c.topic)
	names := map[*harness.Engine]string{c.a: "a-" + c.topic, c.b: "b-" + c.topic}
	// The source is gone for the leader. It would else mirror the very batches that
	// are late, and the sequence alone would keep those out.
	source, dest := remoteClients(names[leader], link), localClients(names[frozen])
	c.source.Proxies().Hold(source)
	c.Cleanup(func() { c.source.Proxies().Release(source) })
	c.dest.Proxies().Hold(dest)
	c.Cleanup(func() { c.dest.Proxies().Release(dest) })
	for p := range int32(replicaParts) {
		c.produce(c.src, c.topic, p, "late", 0, 30)
	}
	// A Fetch under way ends within half a second. That all produces have left is seen when they arrive.
	began := time.Now()
	c.await(2*time.Minute, "the replica's produces are on their way", func(context.Context) error {
		if since, held := time.Since(began), c.dest.Proxies().Held(kmsg.Produce.Int16(), dest); since < 2*time.Second || held == 0 {
			return fmt.Errorf("held for %s, produces on %d connections", since, held)
		}
		return nil
	})
	if err := frozen.Process().Pause(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = frozen.Process().Resume() })
	if err := c.alter(leader.Client(), link, api.VerbFailover, c.topic); err != nil {
		c.Fatal(err)
	}
	c.awaitStatus(leader, link, c.topic, "STOPPED")
	stops = c.stops(leader, link, c.topic)
	for p := range int32(replicaParts) {
		c.produce(c.dst, c.topic, p, "app", 0, frozenApp)
	}
	answered := c.dest.Proxies()[0].DropResponse(produceKey, dest, 1)
	c.dest.Proxies().Release(dest)
	select {
	case <-answered: // so the broker had a late request, and has decided
	case <-time.After(2 * time.Minute):
		c.Fatal("no late produce has reached the broker")
	}
	return frozen, stops, c.exact(c.topic, stops, frozenApp)
}
