package brokerfacts

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// raw is a v2 record batch (magic 2, KIP-98) as a test wants it, right or wrong. The zero value is not valid: start from
// plain or idempotent.
type raw struct {
	values   []string
	nullKeys bool
	pid      int64
	epoch    int16
	sequence int32
	at       time.Time // create time of every record

	attributes  int16   // bits beside the codec, which gzip sets
	gzip        bool    //
	firstOffset int64   // brokers want 0
	deltas      []int32 // offset deltas of the records; nil: 0, 1, 2 …
	lastDelta   int32   // -1: that of the last record
	wrongCRC    bool
}

const (
	bitLogAppendTime = 1 << 3
	bitTransactional = 1 << 4
	bitControl       = 1 << 5
	bitDeleteHorizon = 1 << 6
)

// plain is a batch without a producer id.
func plain(values ...string) raw {
	return raw{values: values, pid: -1, epoch: -1, sequence: -1, at: time.Now(), lastDelta: -1}
}

// idempotent is a batch of a producer id, from that sequence number on.
func idempotent(pid int64, epoch int16, sequence int32, values ...string) raw {
	r := plain(values...)
	r.pid, r.epoch, r.sequence = pid, epoch, sequence
	return r
}

// Where the header's fields stand, counted from the batch's first byte.
const (
	atLeaderEpoch = 12
	atMagic       = 16
	atCRC         = 17
	atAttributes  = 21 // the CRC covers all from here
)

func (r raw) encode(t *testing.T) []byte {
	t.Helper()
	var records []byte
	last := int32(0)
	for i, v := range r.values {
		last = int32(i)
		if r.deltas != nil {
			last = r.deltas[i]
		}
		rec := kmsg.Record{OffsetDelta: last, Key: []byte("key"), Value: []byte(v)}
		if r.nullKeys {
			rec.Key = nil
		}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1) // without itself; 0 as a varint is one byte
		records = rec.AppendTo(records)
	}
	if r.lastDelta >= 0 {
		last = r.lastDelta
	}
	attributes := r.attributes
	if r.gzip {
		attributes |= 1
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(records); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		records = packed.Bytes()
	}
	ms := r.at.UnixMilli()
	b := kmsg.RecordBatch{
		FirstOffset: r.firstOffset, Length: int32(49 + len(records)), PartitionLeaderEpoch: -1, Magic: 2,
		Attributes: attributes, LastOffsetDelta: last, FirstTimestamp: ms, MaxTimestamp: ms,
		ProducerID: r.pid, ProducerEpoch: r.epoch, FirstSequence: r.sequence,
		NumRecords: int32(len(r.values)), Records: records,
	}
	out := b.AppendTo(nil)
	crc := crc32.Checksum(out[atAttributes:], crc32.MakeTable(crc32.Castagnoli))
	if r.wrongCRC {
		crc = ^crc
	}
	binary.BigEndian.PutUint32(out[atCRC:], crc)
	return out
}

// split cuts what a fetch returned into its whole batches.
func split(t *testing.T, log []byte) [][]byte {
	t.Helper()
	var batches [][]byte
	for len(log) >= 12 {
		n := 12 + int(binary.BigEndian.Uint32(log[8:]))
		if len(log) < n {
			break // the broker may cut the last one
		}
		batches = append(batches, log[:n])
		log = log[n:]
	}
	return batches
}

// header decodes a batch; its Records are as they stand in the log.
func header(t *testing.T, batch []byte) kmsg.RecordBatch {
	t.Helper()
	var b kmsg.RecordBatch
	if err := b.ReadFrom(batch); err != nil {
		t.Fatal(err)
	}
	return b
}
