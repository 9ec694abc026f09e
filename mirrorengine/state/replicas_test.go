package state

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (s *Store) ownedShards() []int32 {
	var out []int32
	for n := range s.Shards() {
		if s.Owned(n) {
			out = append(out, n)
		}
	}
	return out
}

// shared waits until the replicas own all shards between them, each at least
// least.
func shared(t *testing.T, least int, replicas ...*Store) {
	t.Helper()
	eventually(t, "the shards are shared out", func() error {
		seen := map[int32]int{}
		for i, s := range replicas {
			own := s.ownedShards()
			if len(own) < least {
				return fmt.Errorf("replica %d owns %v", i, own)
			}
			for _, n := range own {
				seen[n]++
			}
		}
		for n := range replicas[0].Shards() {
			if seen[n] != 1 {
				return fmt.Errorf("shard %d has %d owners", n, seen[n])
			}
		}
		return nil
	})
}

func TestReplicasShareTheShardsAndEachReadsAll(t *testing.T) {
	c := newCluster(t)
	a := replica(t, c, "a")
	write(t, a, 0, "early", thing{1})
	b := replica(t, c, "b")
	shared(t, 2, a, b)
	d := replica(t, c, "d")
	shared(t, 1, a, b, d)
	all := map[string]*Store{"a": a, "b": b, "d": d}
	for name, s := range all {
		for n := range s.Shards() {
			err := s.Put(t.Context(), n, Entry{fmt.Sprintf("k/%d", n), thing{int(n)}})
			if s.Owned(n) != (err == nil) || err != nil && !errors.Is(err, ErrNotOwner) {
				t.Errorf("%s writes shard %d, owned: %v: %v", name, n, s.Owned(n), err)
			}
		}
	}
	for name, s := range all {
		eventually(t, name+" reads all", func() error {
			got, err := All[thing](s, "k/")
			if err != nil || len(got) != 4 || len(s.Keys("early")) != 1 {
				return fmt.Errorf("got %v: %w", got, err)
			}
			for n := range s.Shards() {
				if o := s.Owner(n).Address; o == "" || all[o] == nil || !all[o].Owned(n) {
					return fmt.Errorf("takes %q for the owner of shard %d", o, n)
				}
			}
			return nil
		})
	}
}

func TestWhatRestsOnAShardIsStoppedBeforeAnotherReplicaHasIt(t *testing.T) {
	c := newCluster(t)
	var a, b *Store
	var released atomic.Int32
	ready := make(chan struct{})
	a = replica(t, c, "a", func(o *Options) {
		o.Release = func(n int32) {
			<-ready
			if b.Owned(n) {
				t.Errorf("shard %d has gone to the other replica before this one let go", n)
			}
			released.Add(1)
		}
	})
	var err error
	if b, err = Open(t.Context(), options(c, "b")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	close(ready)
	shared(t, 2, a, b)
	if n := released.Load(); n != 2 {
		t.Errorf("%d shards were released, want 2", n)
	}
	a.Close()
	shared(t, 4, b)
	if n := released.Load(); n != 4 {
		t.Errorf("%d shards were released, want 4", n)
	}
}

// silence makes a replica's heartbeats, and whatever else it tells the group, go
// nowhere, as if the process stood still; its writes still arrive.
func silence(c *kfake.Cluster, name string) (speak func()) {
	var silent atomic.Bool
	silent.Store(true)
	for _, key := range []int16{kmsg.Heartbeat.Int16(), kmsg.JoinGroup.Int16(), kmsg.SyncGroup.Int16(), kmsg.LeaveGroup.Int16()} {
		c.ControlKey(key, func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			var member string
			switch r := req.(type) {
			case *kmsg.HeartbeatRequest:
				member = r.MemberID
			case *kmsg.JoinGroupRequest:
				member = r.MemberID
			case *kmsg.SyncGroupRequest:
				member = r.MemberID
			case *kmsg.LeaveGroupRequest:
				for _, m := range r.Members {
					member = m.MemberID
				}
			}
			if silent.Load() && strings.HasPrefix(member, name) {
				return nil, errors.New("lost on the way"), true
			}
			return nil, nil, false
		})
	}
	return func() { silent.Store(false) }
}

func TestASilentReplicaIsTakenOverWithinItsSessionAndItsWritesAreRefused(t *testing.T) {
	c := newCluster(t)
	released := make(chan int32, 16)
	const session = 6 * time.Second
	short := func(o *Options) { o.Session = session }
	a := replica(t, c, "a", short, func(o *Options) { o.Release = func(n int32) { released <- n } })
	b := replica(t, c, "b", short)
	shared(t, 2, a, b)
	for len(released) > 0 {
		<-released
	}
	lost := a.ownedShards()
	for _, n := range lost {
		write(t, a, n, fmt.Sprintf("k/%d", n), thing{1})
	}
	speak := silence(c, "a")
	began := time.Now()
	eventually(t, "the other replica owns all", func() error {
		if got := b.ownedShards(); len(got) < 4 {
			return fmt.Errorf("it owns %v", got)
		}
		return nil
	})
	if took := time.Since(began); took > session+25*time.Second {
		t.Errorf("the takeover took %s with a session of %s", took, session)
	}
	for _, n := range lost {
		var got thing
		if ok, err := b.Get(fmt.Sprintf("k/%d", n), &got); err != nil || !ok || got.N != 1 {
			t.Errorf("the new owner of shard %d reads %v, %v, %v", n, got, ok, err)
		}
		if err := a.Put(t.Context(), n, Entry{fmt.Sprintf("k/%d", n), thing{2}}); !errors.Is(err, ErrFenced) && !errors.Is(err, ErrNotOwner) {
			t.Errorf("the former owner's write to shard %d: %v", n, err)
		}
		write(t, b, n, fmt.Sprintf("k/%d", n), thing{3})
	}
	for range lost {
		select {
		case <-released:
		case <-time.After(2 * time.Minute):
			t.Fatal("the former owner was refused and did not let go")
		}
	}
	speak()
	shared(t, 2, a, b)
	for _, n := range lost {
		var got thing
		eventually(t, "both read the new owner's word", func() error {
			if _, err := a.Get(fmt.Sprintf("k/%d", n), &got); err != nil || got.N != 3 {
				return fmt.Errorf("got %v: %w", got, err)
			}
			return nil
		})
	}
}

func TestAReplicaThatComesBackUnderItsNameNeedNotWaitForItsFormerSession(t *testing.T) {
	c := newCluster(t)
	long := func(o *Options) { o.Instance, o.Session = "a", 30*time.Second }
	a := replica(t, c, "a", long)
	write(t, a, 3, "k", thing{1})
	a.group.client.Close() // without a word to the group: it has an instance id
	a.cancel()
	began := time.Now()
	b := replica(t, c, "b", long)
	shared(t, 4, b)
	if took := time.Since(began); took > 28*time.Second {
		t.Errorf("it took %s, as if it had waited for the session", took)
	}
	if len(b.Keys("k")) != 1 {
		t.Error("it does not know what it wrote")
	}
}

func TestAWriteForALeaderOfAnOlderTermIsRefused(t *testing.T) {
	c := newCluster(t)
	a := replica(t, c, "a")
	old, ok := a.Term()
	if !ok {
		t.Fatal("the only replica does not own shard 0")
	}
	b := replica(t, c, "b")
	shared(t, 2, a, b)
	leader, other := a, b
	if b.Owned(0) {
		leader, other = b, a
	}
	n := other.ownedShards()[0]
	term, _ := leader.Term()
	at, err := other.PutFor(t.Context(), term, n, []RawEntry{{"k", []byte(`{"n":1}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Await(t.Context(), n, at); err != nil {
		t.Fatal(err)
	}
	if len(leader.Keys("k")) != 1 {
		t.Error("the leader does not read what was written for it")
	}
	if again, err := other.PutFor(t.Context(), term, n, nil); err != nil || again != at {
		t.Errorf("an empty write answers with %d, %v, want %d", again, err, at)
	}
	leader.Close()
	eventually(t, "a new term", func() error {
		now, ok := other.Term()
		if !ok || now <= term || now <= old {
			return fmt.Errorf("term %d, own %v; before %d, %d", now, ok, term, old)
		}
		return nil
	})
	if _, err := other.PutFor(t.Context(), term, n, []RawEntry{{"k", []byte(`{"n":2}`)}}); !errors.Is(err, ErrFenced) {
		t.Errorf("a write of the former term: %v", err)
	}
	if own := other.ownedShards(); !slices.Contains(own, n) {
		t.Errorf("the survivor owns %v", own)
	}
}

// The mutant takeover-unread owns a shard before it has read it, and is caught
// here.
func TestAShardIsOwnedOnlyWhenItWasReadToItsEnd(t *testing.T) {
	c := newCluster(t)
	a := replica(t, c, "a")
	gate, blocked := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	b := replica(t, c, "b", func(o *Options) {
		o.Changed = func(key string) {
			if key == "gate" { // the reader stands still
				close(blocked)
				<-gate
			}
		}
	})
	t.Cleanup(open)
	shared(t, 2, a, b)
	lost := a.ownedShards()
	write(t, a, lost[0], "gate", thing{})
	<-blocked
	for _, n := range lost {
		write(t, a, n, fmt.Sprintf("k/%d", n), thing{1})
	}
	a.Close()
	check := func() (owned int) {
		for _, n := range lost {
			if b.Owned(n) {
				owned++
				if len(b.Keys(fmt.Sprintf("k/%d", n))) == 0 {
					t.Fatalf("shard %d is owned and not read", n)
				}
			}
		}
		return owned
	}
	eventually(t, "the takeover is recorded", func() error {
		check()
		var at []byte
		for _, r := range records(t, c, lost[0]) {
			if string(r.Key) == ownerKey {
				at = r.Value
			}
		}
		if !strings.Contains(string(at), `"address":"b"`) {
			return fmt.Errorf("the owner of shard %d is %s", lost[0], at)
		}
		return nil
	})
	for range 100 {
		if check() > 0 {
			t.Fatal("a shard is owned while its reader stands still")
		}
		runtime.Gosched()
	}
	open()
	eventually(t, "the shards are owned", func() error {
		if n := check(); n < len(lost) {
			return fmt.Errorf("%d of %d", n, len(lost))
		}
		return nil
	})
}

// records reads what a shard holds now.
func records(t *testing.T, c *kfake.Cluster, n int32) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"_state": {n: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return cl.PollFetches(ctx).Records()
}

// Kafka lets only one member have an instance id (KIP-345): the one that joined
// last. The other would join again and throw that one out, for ever.
func TestTwoReplicasOfOneNameAreToldApart(t *testing.T) {
	c := newCluster(t)
	named := func(o *Options) { o.Instance, o.Address = "engine-1", "engine-1" }
	a := replica(t, c, "a", named)
	b := replica(t, c, "b", named)
	select {
	case err := <-a.Failed():
		for _, want := range []string{"engine-1", "replicas.advertise"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the first replica goes on beside one of its own name")
	}
	a.Close()
	eventually(t, "the second one has all shards", func() error {
		if own := b.ownedShards(); len(own) != int(b.Shards()) {
			return fmt.Errorf("it has %v", own)
		}
		return nil
	})
	select {
	case err := <-b.Failed():
		t.Errorf("the second replica ended too: %v", err)
	default:
	}
}
