package brokerfacts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Fact: a batch whose last offset delta + 1 is not its count of records, as compaction leaves them, is refused (LogValidator.validateBatch;
// raw-mirroring.md A). The engine re-encodes those.
func TestBatchWithGapsIsRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	for _, packed := range []bool{false, true} {
		gap := plain("0", "2", "9")
		gap.deltas, gap.gzip = []int32{0, 2, 9}, packed
		send(t, to, gap, kerr.InvalidRecord)
	}
	wantEnd(t, to, 0)
}

// Fact: patching only the header of such a batch is no way out: compressed it is refused; uncompressed see
// TestHeaderPatchedGapIsStoredAsItIs (raw-mirroring.md A).
func TestCompressedGapWithAPatchedHeaderIsRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	gap := plain("0", "2", "9")
	gap.deltas, gap.lastDelta, gap.gzip = []int32{0, 2, 9}, 2, true
	if _, err := produce(t, connect(t, one, super), leader, to, gap.encode(t)); err == nil {
		t.Error("accepted")
	}
	wantEnd(t, to, 0)
}

// Fact: an uncompressed one is stored corrupt: a batch of three offsets that holds records outside of
// them. Nobody but the engine itself prevents it, so it must rewrite the records' deltas.
func TestHeaderPatchedGapIsStoredAsItIs(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	gap := plain("0", "2", "9")
	gap.deltas, gap.lastDelta = []int32{0, 2, 9}, 2
	send(t, to, gap, nil)
	wantEnd(t, to, 3)
	stored := split(t, fetch(t, to, 0, 0).RecordBatches)
	if !bytes.Equal(stored[0][atAttributes:], gap.encode(t)[atAttributes:]) {
		t.Error("the broker has rewritten the records after all: this fact is out of date")
	}
}

// Fact: control batches are refused from clients (LogValidator). The engine drops the source's markers.
func TestControlBatchIsRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	control := idempotent(pid, 0, 0, "\x00\x00\x00\x00\x00\x00")
	control.attributes = bitControl
	send(t, to, control, kerr.InvalidRecord)
	wantEnd(t, to, 0)
}

// Fact: a batch with the transactional bit is refused, for a super user too, when the request names no transactional id
// (KafkaApis.handleProduceRequest). The engine clears the bit of committed batches.
func TestTransactionalBitWithoutATransactionalIDIsRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	pid, _ := newPID(t, nil)
	sent := idempotent(pid, 0, 0, "v")
	sent.attributes = bitTransactional
	send(t, to, sent, kerr.TransactionalIDAuthorizationFailed)
	wantEnd(t, to, 0)
}

// Fact: two batches for a partition in one request are refused (ProduceRequest.validateRecords): one batch per
// partition and request, which limits the engine's throughput per partition.
func TestTwoBatchesForAPartitionInOneRequestAreRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	two := append(plain("0").encode(t), plain("1").encode(t)...)
	if _, err := produce(t, connect(t, one, super), leader, to, two); !errors.Is(err, kerr.InvalidRecord) {
		t.Errorf("got %v, want INVALID_RECORD", err)
	}
	wantEnd(t, to, 0)
}

// Fact: with compression.type=producer a batch keeps its bytes but for base offset and leader epoch, which the CRC does not
// cover (LogValidator, in-place assignment). That is what makes mirroring without decompression exact and cheap.
func TestBatchKeepsItsBytes(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one, "compression.type=producer")
	pid, _ := newPID(t, nil)
	for _, packed := range []bool{false, true} {
		sent := idempotent(pid, 0, 0, strings.Repeat("a", 1000), strings.Repeat("b", 1000))
		if packed {
			sent.sequence = 2
		}
		sent.gzip = packed
		offset := send(t, to, sent, nil)
		got := split(t, fetch(t, to, offset, 0).RecordBatches)[0]
		want := sent.encode(t)
		if base := binary.BigEndian.Uint64(got); int64(base) != offset {
			t.Errorf("stored with base offset %d, answered %d", base, offset)
		}
		if !bytes.Equal(got[8:atLeaderEpoch], want[8:atLeaderEpoch]) || !bytes.Equal(got[atMagic:], want[atMagic:]) {
			t.Errorf("gzip=%t: stored %x, sent %x", packed, got, want)
		}
	}
}

// Fact: another codec on the topic makes the broker decompress and compress again. Mirror topics get
// compression.type=producer for that.
func TestAnotherCodecOnTheTopicRebuildsTheBatch(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one, "compression.type=lz4")
	sent := plain(strings.Repeat("a", 1000))
	sent.gzip = true
	got := split(t, fetch(t, to, send(t, to, sent, nil), 0).RecordBatches)[0]
	if codec := header(t, got).Attributes & 7; codec != 3 {
		t.Errorf("stored with codec %d, want 3 (lz4)", codec)
	}
}

// Fact: a base offset other than 0 is refused, compressed or not. (performance.md 4, 2 has it, from an older source, that the broker
// rebuilds such a batch silently; see FACTS.md.) The engine writes 0 into the header.
func TestBaseOffsetOtherThanZeroIsRefused(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	for _, packed := range []bool{false, true} {
		sent := plain("0", "1")
		sent.gzip, sent.firstOffset = packed, 700
		base, err := produce(t, connect(t, one, super), leader, to, sent.encode(t))
		if !errors.Is(err, kerr.InvalidRecord) {
			t.Errorf("gzip=%t: stored at %d, %v; want INVALID_RECORD", packed, base, err)
		}
	}
	wantEnd(t, to, 0)
}

// Fact: on a CreateTime topic a batch with the LogAppendTime bit is stored without the bit, so that readers see the create
// times (raw-mirroring.md A, "timestamp type"). The engine re-encodes such sources.
func TestLogAppendTimeBitIsClearedOnACreateTimeTopic(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one, "message.timestamp.type=CreateTime")
	sent := plain("v")
	sent.attributes = bitLogAppendTime
	sent.at = time.Now().Add(-time.Hour)
	got := header(t, split(t, fetch(t, to, send(t, to, sent, nil), 0).RecordBatches)[0])
	if got.Attributes&bitLogAppendTime != 0 || got.FirstTimestamp != sent.at.UnixMilli() {
		t.Errorf("stored with attributes %#x and time %d, want no bit and %d", got.Attributes, got.FirstTimestamp, sent.at.UnixMilli())
	}
}

// Fact: on a LogAppendTime topic such a batch is refused, and without the bit its times are replaced. Mirror topics get
// message.timestamp.type=CreateTime.
func TestLogAppendTimeTopicRefusesTheBitAndReplacesTimes(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one, "message.timestamp.type=LogAppendTime")
	sent := plain("v")
	sent.at = time.Now().Add(-time.Hour)
	got := header(t, split(t, fetch(t, to, send(t, to, sent, nil), 0).RecordBatches)[0])
	if got.Attributes&bitLogAppendTime == 0 || got.MaxTimestamp <= sent.at.UnixMilli() {
		t.Errorf("stored with attributes %#x and time %d", got.Attributes, got.MaxTimestamp)
	}
	sent.attributes = bitLogAppendTime
	send(t, to, sent, kerr.InvalidTimestamp)
	wantEnd(t, to, 1)
}

// Fact: records more than an hour ahead of the broker's clock are refused by default since 4.0 (KIP-1030), records of any past are
// not; message.timestamp.after.max.ms lifts it. Mirror topics get open limits.
func TestTimestampsFarAheadAreRefusedUnlessTheTopicsLimitIsOpen(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	sent := plain("v")
	sent.at = time.Now().Add(2 * time.Hour)
	send(t, to, sent, kerr.InvalidTimestamp)
	sent.at = time.UnixMilli(1)
	send(t, to, sent, nil)
	wantEnd(t, to, 1)
}

// Fact: as above, the cure.
func TestOpenTimestampLimitTakesRecordsOfTheFuture(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one, "message.timestamp.after.max.ms=9223372036854775807", "message.timestamp.before.max.ms=9223372036854775807")
	sent := plain("v")
	sent.at = time.Now().Add(48 * time.Hour)
	send(t, to, sent, nil)
	wantEnd(t, to, 1)
}

// Fact: a compacted topic refuses records without a key (LogValidator). A source that became compacted late can
// hold such records: the mirror must fail loudly.
func TestCompactedTopicRefusesNullKeys(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one, "cleanup.policy=compact")
	keyless := plain("v")
	keyless.nullKeys = true
	send(t, to, keyless, kerr.InvalidRecord)
	wantEnd(t, to, 0)
}

// Fact: the delete-horizon bit is taken and kept (raw-mirroring.md A). The engine clears it, or the mirror's cleaner would take
// over the source's horizon.
func TestDeleteHorizonBitIsKept(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	sent := plain("v")
	sent.attributes = bitDeleteHorizon
	got := header(t, split(t, fetch(t, to, send(t, to, sent, nil), 0).RecordBatches)[0])
	if got.Attributes&bitDeleteHorizon == 0 {
		t.Errorf("stored with attributes %#x", got.Attributes)
	}
}
