package link

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

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
// its shards over does, by what that one wrote of its map, not by what it had heard.
func TestTheHeirOfADeadReplicaEndsItsPart(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	src.many(t, "orders", spreadOver, 0, 30)
	awaitLagZero(t, m, src, "orders")
	c.deaf.Store(true)
	tx := newClient(t, src.ListenAddrs(), kgo.TransactionalID("hole"))
	for p := range int32(spreadOver) {
		begin(t, tx, "orders", p, "no", "not this") // a hole, and a new segment behind it
		end(t, tx, false)
	}
	src.many(t, "orders", spreadOver, 30, 5)
	c.same(t, "orders", spreadOver, 35)
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
	left := make(chan struct{})
	go func() {
		defer close(left)
		c.leave(other)
	}()
	eventually(t, "the other replica is told to stop", func() error {
		if l.mgr.run.Err() == nil {
			return errors.New("not yet")
		}
		return nil
	})
	l.ending.Unlock()
	<-left
	awaitStatus(t, m, "orders", status.Stopped)
	segs, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range segs.Partitions {
		if want := src.end(t, "orders", p.Partition); p.SourceStop != want {
			t.Errorf("partition %d stopped at %d, the mirror holds the source up to %d", p.Partition, p.SourceStop, want)
		}
	}
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

// What another replica last heard of a source that is silent says nothing of now: the
// mirror would count as one that holds all, and deletions that it missed as seen.
func TestTheTipOfAPartitionThatRunsElsewhereStandsWhileTheSourceIsSilent(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	c.spread(t, "orders", spreadOver)
	src.many(t, "orders", spreadOver, 0, 10)
	awaitLagZero(t, m, src, "orders")
	src.Close()
	l := linkOf(t, m)
	eventually(t, "the source counts as silent", func() error {
		if l.reachable() {
			return errors.New("not yet")
		}
		return nil
	})
	silent := time.Now()
	for range 3 {
		m.askPeers(t.Context())
	}
	for _, p := range mirrorOf(t, m, "orders").parts() {
		p.mu.Lock()
		if tip := p.tipNow(); !m.store.Owned(p.shard) && tip.After(silent) {
			t.Errorf("partition %d is said to have held all %s after the source fell silent", p.n, tip.Sub(silent))
		}
		p.mu.Unlock()
	}
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

// A leader knows how far another replica has read, not under which epochs of the
// source's leaders. When it takes the partition over, what was skipped under a new
// epoch behind the last record must not look like records that the source lost.
func TestAnHeirDoesNotTakeWhatItHeardForWhatItRead(t *testing.T) {
	t.Parallel()
	src, c, m := sharedMirror(t, nil)
	src.many(t, "orders", spreadOver, 0, 3)
	awaitLagZero(t, m, src, "orders")
	cl := newClient(t, src.ListenAddrs(), kgo.TransactionalID("aborts"))
	defer cl.Close()
	for p := range int32(spreadOver) {
		if err := src.MoveTopicPartition("orders", p, 0); err != nil {
			t.Fatal(err)
		}
		begin(t, cl, "orders", p, "gone")
		end(t, cl, false)
	}
	awaitLagZero(t, m, src, "orders")
	if at := c.spread(t, "orders", spreadOver); len(at) != 2 {
		t.Fatalf("partitions run at %v", at)
	}
	c.leave(c.name(func(m *Manager) bool { _, here := m.Leader(); return !here }))
	c.spread(t, "orders", spreadOver)
	src.many(t, "orders", spreadOver, 3, 2)
	awaitLagZero(t, m, src, "orders")
	c.same(t, "orders", spreadOver, 5)
}

// An answer of the owner before may come when this replica has taken over already.
func TestNothingHeardCountsOfAPartitionThatRunsHere(t *testing.T) {
	t.Parallel()
	_, _, m, _ := orders{records: 10}.mirror(t)
	p := mirrorOf(t, m, "orders").parts()[0]
	p.believe(api.ReplicaPartition{Known: true, Source: 3, Dest: 3, Segments: 1, HighWatermark: 3, Stalled: "there"})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pos.source != 10 || p.pos.heard || p.stalled != "" {
		t.Errorf("%+v %q", p.pos, p.stalled)
	}
}
