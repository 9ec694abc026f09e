package brokerfacts

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Fact: an abort marker (WriteTxnMarkers) with epoch + 1 fences an idempotent producer on the partition: the old epoch is
// refused, the next data must carry the new epoch and sequence 0; the marker takes one offset (raw-mirroring.md C,
// "fence"). Promote and failover end a mirror with it, so that no late batch of ours lands behind application writes.
func TestMarkerWithAHigherEpochFencesAnIdempotentProducer(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, 0, "0", "1"), nil)
	if err := mark(t, connect(t, one, super), leader, pid, 1, to); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, to, 3)
	send(t, to, idempotent(pid, 0, 2, "late"), kerr.InvalidProducerEpoch)
	// Even a batch that is stored already is refused now: a retry learns nothing, the log must be read.
	send(t, to, idempotent(pid, 0, 0, "0", "1"), kerr.InvalidProducerEpoch)
	wantEnd(t, to, 3)
	send(t, to, idempotent(pid, 1, 2, "x"), kerr.OutOfOrderSequenceNumber)
	if base := send(t, to, idempotent(pid, 1, 0, "2"), nil); base != 3 {
		t.Errorf("data behind the fence went to %d, want 3", base)
	}
}

// Fact: a marker fences a producer id that the partition has never seen, too (ProducerAppendInfo.appendEndTxnMarker makes
// its state). The engine fences partitions of a mirror that never got a record.
func TestMarkerFencesAProducerThatHasNotWrittenYet(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	if err := mark(t, connect(t, one, super), leader, pid, 1, to); err != nil {
		t.Fatal(err)
	}
	send(t, to, idempotent(pid, 0, 0, "late"), kerr.InvalidProducerEpoch)
	wantEnd(t, to, 1)
}

// Fact: a marker of the same epoch, or of another producer id, does not break a sequence (raw-mirroring.md B).
func TestMarkerOfTheSameEpochOrAnotherProducerLeavesTheSequence(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	other, _ := newPID(t, nil)
	cl := connect(t, one, super)
	send(t, to, idempotent(pid, 0, 0, "0"), nil)
	for _, id := range []int64{pid, other} {
		if err := mark(t, cl, leader, id, 0, to); err != nil {
			t.Fatal(err)
		}
	}
	if base := send(t, to, idempotent(pid, 0, 1, "1"), nil); base != 3 {
		t.Errorf("the next batch went to %d, want 3", base)
	}
}

// Fact: a marker of a lower epoch is refused: two engines that fence at once cannot undo each other.
func TestMarkerOfALowerEpochIsRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	cl := connect(t, one, super)
	send(t, to, idempotent(pid, 3, 0, "0"), nil)
	if err := mark(t, cl, leader, pid, 2, to); !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("marker of a lower epoch: %v, want INVALID_PRODUCER_EPOCH", err)
	}
	wantEnd(t, to, 1)
}

// Fact: readers do not see a marker; it only takes an offset. The batch is a control batch with one record.
func TestMarkerIsAControlBatchOfOneOffset(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	if err := mark(t, connect(t, one, super), leader, pid, 1, to); err != nil {
		t.Fatal(err)
	}
	batches := split(t, fetch(t, to, 0, 0).RecordBatches)
	if len(batches) != 1 {
		t.Fatalf("%d batches, want 1", len(batches))
	}
	b := header(t, batches[0])
	if b.Attributes&bitControl == 0 || b.NumRecords != 1 || b.LastOffsetDelta != 0 || b.ProducerID != pid || b.ProducerEpoch != 1 {
		t.Errorf("marker is stored as %+v", b)
	}
	if p := fetch(t, to, 0, readCommitted); p.LastStableOffset != 1 {
		t.Errorf("last stable offset %d behind a marker, want 1", p.LastStableOffset)
	}
}

// Fact: the fence outlives the expiry of producer state although the fenced records were old: the marker's own time is now
// (raw-mirroring.md C, "Backfill"). Without that a zombie of a backfill could write behind the fence after a sweep.
func TestFenceOverOldRecordsOutlivesTheSweep(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	sentinel, _ := newPID(t, nil)
	backfill := idempotent(pid, 0, 0, "two days old")
	backfill.at = time.Now().Add(-48 * time.Hour)
	send(t, to, backfill, nil)
	if err := mark(t, connect(t, one, super), leader, pid, 1, to); err != nil {
		t.Fatal(err)
	}
	gone := backfill
	gone.pid = sentinel
	send(t, to, gone, nil)
	eventually(t, "a sweep", nil, func() error {
		if _, there := producers(t, to)[sentinel]; there {
			return errors.New("the sentinel's state is still there")
		}
		return nil
	})
	backfill.sequence = 1
	send(t, to, backfill, kerr.InvalidProducerEpoch)
	wantEnd(t, to, 3)
}

// Fact: without rights on the cluster the same fence can be had through the coordinator, when the producer id belongs to a
// transactional id: InitProducerId (raises the epoch), AddPartitionsToTxn, EndTxn(abort) put a marker of the new epoch into the partition, some
// time after EndTxn has answered (raw-mirroring.md C, there read in source only). It needs WRITE on transactional id and topic.
func TestAbortedTransactionFencesWithoutRightsOnTheCluster(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	txn := t.Name()
	grant(t, one, allow(engine, kadm.OpWrite).Topics(to.name))
	grant(t, one, allow(engine, kadm.OpWrite).TransactionalIDs(txn))
	pid, old := newPID(t, &txn)
	send(t, to, idempotent(pid, old, 0, "0"), nil)

	_, epoch := newPID(t, &txn)
	// As a client before KIP-890: from version 4 on AddPartitionsToTxn is the brokers' own, and version 5 of EndTxn goes with that.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
	versions.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	cl := connect(t, one, engine, kgo.MaxVersions(versions))
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = txn, pid, epoch
	at := kmsg.NewAddPartitionsToTxnRequestTopic()
	at.Topic, at.Partitions = to.name, []int32{0}
	add.Topics = append(add.Topics, at)
	eventually(t, "the partition to join the transaction", nil, func() error {
		resp := ask[*kmsg.AddPartitionsToTxnResponse](t, cl, leader, add)
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch = txn, pid, epoch
	if err := kerr.ErrorForCode(ask[*kmsg.EndTxnResponse](t, cl, leader, end).ErrorCode); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the marker", nil, func() error {
		if got := producers(t, to)[pid].ProducerEpoch; got < int32(epoch) {
			return fmt.Errorf("the partition knows epoch %d, the marker has %d at least", got, epoch)
		}
		return nil
	})
	send(t, to, idempotent(pid, old, 1, "late"), kerr.InvalidProducerEpoch)
	wantEnd(t, to, 2)
}

// Fact: WriteTxnMarkers needs ALTER or CLUSTER_ACTION on the cluster (KIP-1037; raw-mirroring.md B), no right on the topic.
func TestMarkersNeedAlterOrClusterActionOnTheCluster(t *testing.T) {
	// Not parallel: the entries are on the cluster.
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	if err := mark(t, connect(t, one, engine), leader, pid, 1, to); !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		t.Errorf("marker without rights: %v, want CLUSTER_AUTHORIZATION_FAILED", err)
	}
	wantEnd(t, to, 0)
	grant(t, one, allow(alterer, kadm.OpAlter).Clusters())
	grant(t, one, allow(clerk, kadm.OpClusterAction).Clusters())
	eventually(t, "ALTER on the cluster to permit a marker", nil, func() error {
		return mark(t, connect(t, one, alterer), leader, pid, 1, to)
	})
	eventually(t, "CLUSTER_ACTION to permit a marker", nil, func() error {
		return mark(t, connect(t, one, clerk), leader, pid, 1, to)
	})
	wantEnd(t, to, 2)
}
