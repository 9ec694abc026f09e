package brokerfacts

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Fact: ListOffsets(latest) as a consumer answers the high watermark; as the debugging replica (-2) it answers the leader's log
// end, with DESCRIBE on the topic as the only right (ReplicaManager.fetchOffsetForTimestamp without isolation; raw-mirroring.md C, 1).
// After a crash the engine resumes from there: what is written but not yet replicated must not be written again.
//
// Two facts beside it: a produce whose replicas do not follow is answered REQUEST_TIMED_OUT *after* the
// append, and DescribeProducers shows the leader's last sequence, that tail included.
func TestDebuggingReplicaSeesTheLogEndAboveTheHighWatermark(t *testing.T) {
	k, err := three()
	if err != nil {
		t.Fatal(err)
	}
	to := newTopic(t, k)
	lead := leaderOf(t, k, to)
	grant(t, k, allow(engine, kadm.OpDescribe).Topics(to.name))
	pid, _ := newPID(t, nil) // any id will do: partitions ask nobody
	cl, reader := connect(t, k, super), connect(t, k, engine)
	first, second := idempotent(pid, 0, 0, "0").encode(t), idempotent(pid, 0, 1, "1").encode(t)
	if _, err := produce(t, cl, lead, to, first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the high watermark to follow", nil, func() error { return wantOffsets(t, cl, lead, to, 1, 1) })
	if got := logEnd(t, reader, lead, to); got != 1 { // also opens the connection before the others stop
		t.Errorf("with DESCRIBE only: log end %d, want 1", got)
	}

	followers := []int{lead % 3, (lead + 1) % 3} // of brokers counted from 0, all but lead-1
	for _, i := range followers {
		if err := k.PauseBroker(i); err != nil {
			t.Fatal(err)
		}
	}
	resumed := false
	resume := func() {
		for _, i := range followers {
			if err := k.ResumeBroker(i); err != nil {
				t.Error(err)
			}
		}
		resumed = true
	}
	defer func() {
		if !resumed {
			resume()
		}
	}()
	if _, err := produceWithin(t, cl, lead, to, second, time.Second); !errors.Is(err, kerr.RequestTimedOut) {
		t.Errorf("produce without followers: %v, want REQUEST_TIMED_OUT", err)
	}
	// By a connection from before the pause: a client that is new now may ask a paused broker for metadata, and wait.
	if err := wantOffsets(t, cl, lead, to, 2, 1); err != nil {
		t.Error(err)
	}
	if got := producersAt(t, cl, lead, to)[pid].LastSequence; got != 1 {
		t.Errorf("DescribeProducers shows last sequence %d, want 1", got)
	}
	resume()
	eventually(t, "the high watermark to reach the log end", nil, func() error { return wantOffsets(t, cl, leaderOf(t, k, to), to, 2, 2) })
	// A retry of the ambiguous batch is known as a duplicate.
	eventually(t, "the same batch again", nil, func() error {
		base, err := produce(t, cl, leaderOf(t, k, to), to, second)
		if err == nil && base != 1 {
			t.Errorf("the same batch again: offset %d; want 1", base)
		}
		return err
	})
}

// wantOffsets compares log end (replica -2) and high watermark (consumer, -1).
func wantOffsets(t *testing.T, cl *kgo.Client, lead int, of topic, end, high int64) error {
	t.Helper()
	gotEnd, endErr := offsetAt(t, cl, lead, of, -2)
	gotHigh, highErr := offsetAt(t, cl, lead, of, -1)
	if err := errors.Join(endErr, highErr); err != nil {
		return err // led elsewhere meanwhile, perhaps
	}
	if gotEnd != end || gotHigh != high {
		return fmt.Errorf("log end %d, high watermark %d; want %d and %d", gotEnd, gotHigh, end, high)
	}
	return nil
}

// Fact: producer state outlives the change of the leader, and the death of the former one: the next leader refuses what
// the old one would have refused, fenced producers included (state is rebuilt from the log, ProducerStateManager).
func TestSequencesAndFencesHoldOverAChangeOfTheLeader(t *testing.T) {
	k, err := three()
	if err != nil {
		t.Fatal(err)
	}
	to := newTopic(t, k)
	lead := leaderOf(t, k, to)
	pid, _ := newPID(t, nil)
	batch := idempotent(pid, 0, 0, "0", "1").encode(t)
	if _, err := produce(t, connect(t, k, super), lead, to, batch); err != nil {
		t.Fatal(err)
	}
	fenced, _ := newPID(t, nil)
	if err := mark(t, connect(t, k, super), lead, fenced, 1, to); err != nil {
		t.Fatal(err)
	}
	if err := k.KillBroker(lead - 1); err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(connect(t, k, super))
	next := lead
	eventually(t, "another leader", nil, func() error {
		topics, err := adm.ListTopics(within(t, 2*time.Minute), to.name)
		if err != nil {
			return err
		}
		next = int(topics[to.name].Partitions[0].Leader)
		if next == lead || next < 1 {
			return kerr.LeaderNotAvailable
		}
		return nil
	})
	awaitLeader(t, k, next, to) // the controller has said so; the broker may not have heard yet
	cl := connect(t, k, super)
	if base, err := produce(t, cl, next, to, batch); err != nil || base != 0 {
		t.Errorf("the same batch at the new leader: offset %d, %v; want 0 as a duplicate", base, err)
	}
	if _, err := produce(t, cl, next, to, idempotent(pid, 0, 1, "1").encode(t)); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("another cut at the new leader: %v, want OUT_OF_ORDER_SEQUENCE_NUMBER", err)
	}
	if _, err := produce(t, cl, next, to, idempotent(fenced, 0, 0, "late").encode(t)); !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("a fenced producer at the new leader: %v, want INVALID_PRODUCER_EPOCH", err)
	}
	if err := k.RestartBroker(within(t, 2*time.Minute), lead-1); err != nil {
		t.Fatal(err)
	}
}
