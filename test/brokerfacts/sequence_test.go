package brokerfacts

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Fact: of batches with one producer id and epoch a partition stores only the very next one (raw-mirroring.md A, C;
// ProducerAppendInfo.checkSequence). Two engines that write the same mirror need it: whoever is late is refused.
func TestSequenceIsACompareAndSetAmongWritersOfOneProducerID(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, 0, "0", "1"), nil)
	send(t, to, idempotent(pid, 0, 2, "2", "3"), nil)

	if base := send(t, to, idempotent(pid, 0, 2, "2", "3"), nil); base != 2 {
		t.Errorf("the same batch by a second writer answered offset %d, want that of the first, 2", base)
	}
	wantEnd(t, to, 4)
	send(t, to, idempotent(pid, 0, 2, "2"), kerr.OutOfOrderSequenceNumber)           // another cut
	send(t, to, idempotent(pid, 0, 3, "3", "4"), kerr.OutOfOrderSequenceNumber)      // overlapping
	send(t, to, idempotent(pid, 0, 5, "5"), kerr.OutOfOrderSequenceNumber)           // ahead
	send(t, to, idempotent(pid, 0, 0, "0", "1", "2"), kerr.OutOfOrderSequenceNumber) // from the start, cut otherwise
	wantEnd(t, to, 4)
	if base := send(t, to, idempotent(pid, 0, 4, "4"), nil); base != 4 {
		t.Errorf("the next batch went to %d, want 4", base)
	}
}

// Fact: a batch is known as a duplicate while it is one of the last five of its producer id, an older one is refused
// (ProducerStateEntry.NUM_BATCHES_TO_RETAIN). Either way it is not stored twice.
func TestDuplicateOlderThanFiveBatchesIsRefusedAndNotStored(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	for seq := range int32(6) {
		send(t, to, idempotent(pid, 0, seq, "v"), nil)
	}
	if base := send(t, to, idempotent(pid, 0, 1, "v"), nil); base != 1 {
		t.Errorf("the fifth last batch answered offset %d, want 1", base)
	}
	send(t, to, idempotent(pid, 0, 0, "v"), kerr.OutOfOrderSequenceNumber)
	wantEnd(t, to, 6)
}

// Fact: a partition that knows nothing of a producer id takes any first sequence (until Kafka 4.5, KAFKA-15591; raw-mirroring.md
// A). The engine resumes with its running sequence after producer state was lost.
func TestUnknownProducerMayStartAtAnySequence(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, 1234, "v"), nil)
	send(t, to, idempotent(pid, 0, 1235, "v"), nil)
	wantEnd(t, to, 2)
}

// Fact: sequence numbers go on with 0 after 2^31-1 (ProducerAppendInfo.inSequence; DefaultRecordBatch.incrementSequence).
func TestSequenceWrapsToZeroAfterMaxInt32(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, math.MaxInt32-1, "a", "b"), nil)
	send(t, to, idempotent(pid, 0, 0, "c"), nil)
	wantEnd(t, to, 3)
}

// Fact: as above, inside a batch.
func TestSequenceWrapsToZeroInsideABatch(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, math.MaxInt32, "2^31-1", "0"), nil)
	send(t, to, idempotent(pid, 0, 1, "1"), nil)
	wantEnd(t, to, 3)
}

// Fact: a higher epoch must begin at sequence 0 and is otherwise free; the lower one is refused as soon as
// the partition has seen the higher (ProducerAppendInfo.checkProducerEpoch). A new segment over our own log starts so.
func TestHigherEpochStartsAtSequenceZeroAndShutsOutTheLower(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, 0, "old"), nil)
	send(t, to, idempotent(pid, 1, 1, "new"), kerr.OutOfOrderSequenceNumber)
	send(t, to, idempotent(pid, 1, 0, "new"), nil)
	send(t, to, idempotent(pid, 0, 1, "zombie"), kerr.InvalidProducerEpoch)
	send(t, to, idempotent(pid, 1, 1, "new"), nil)
	wantEnd(t, to, 3)
}

// Fact: InitProducerId raises the epoch at the coordinator, not at partitions: a batch of the old epoch that
// is not transactional is still stored (raw-mirroring.md C, hole 2). So the engine never takes InitProducerId for a fence on data.
func TestInitProducerIDDoesNotFenceIdempotentBatches(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	txn := t.Name()
	pid, epoch := newPID(t, &txn)
	send(t, to, idempotent(pid, epoch, 0, "before"), nil)
	again, higher := newPID(t, &txn)
	if again != pid || higher <= epoch {
		t.Fatalf("second InitProducerId: pid %d epoch %d, first: pid %d epoch %d", again, higher, pid, epoch)
	}
	send(t, to, idempotent(pid, epoch, 1, "zombie"), nil)
	wantEnd(t, to, 2)
}

// Fact: DescribeProducers (key 61) shows the last sequence of plain idempotent producers (raw-mirroring.md C, 1).
func TestDescribeProducersShowsTheLastSequence(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	send(t, to, idempotent(pid, 0, 0, "0", "1", "2"), nil)
	got := producers(t, to)[pid]
	if diff := cmp.Diff([]int32{0, 2}, []int32{got.ProducerEpoch, got.LastSequence}); diff != "" {
		t.Errorf("epoch and last sequence: %s", diff)
	}
}

// Fact: producer state expires by the *records'* time: producer.id.expiration.ms (one day) is measured against the
// last batch's timestamp, at each sweep (raw-mirroring.md A, "producer state expiry"). Mirroring records older than
// that, an already stored batch that is sent again is appended again; hence the fence after an ambiguous answer.
func TestStateOfAProducerOfOldRecordsExpiresAtTheNextSweep(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	old, _ := newPID(t, nil)
	fresh, _ := newPID(t, nil)
	backfill := idempotent(old, 0, 0, "two days old")
	backfill.at = time.Now().Add(-48 * time.Hour)
	send(t, to, backfill, nil)
	send(t, to, idempotent(fresh, 0, 0, "now"), nil)
	eventually(t, "the state of the old records' producer to expire", nil, func() error {
		if _, there := producers(t, to)[old]; there {
			return errors.New("it is still there")
		}
		return nil
	})
	if _, there := producers(t, to)[fresh]; !there {
		t.Error("the state of a producer of new records is gone too")
	}
	if base := send(t, to, backfill, nil); base != 2 {
		t.Errorf("the batch sent again went to %d, want 2: a duplicate", base)
	}
	wantEnd(t, to, 3)
}
