// Package batch reads and rewrites Kafka record batches as raw bytes.
//
// It turns what a source broker's Fetch answered into what a destination broker
// accepts in Produce. Wherever a broker takes a batch as it is, only the 61-byte
// header is patched and the CRC recomputed: no decompression, no copy. Where a
// broker would refuse or silently alter it (compaction gaps, LogAppendTime, old
// message formats) the records' leading varints are rewritten and the bodies are
// copied, and the result is compressed with the same codec.
//
// It does not talk to a broker, knows no topics, and keeps no state: which
// batches are aborted, where a mirror stands and which sequence comes next is
// the record path's business.
//
// Start at Split, then Rewrite. Everything read here comes from another machine:
// every length is checked before it is used, and what a batch may unpack to is
// bounded (MaxPlain).
//
// Formats: Kafka's documentation, "Record Batch" and "Old Message Format"; the
// broker's rules for produced batches are listed with their evidence at Rewrite.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// Positions in a v2 batch. Base offset and length, the 12-byte prefix, stand at
// the same place in all formats, and so does the magic byte.
const (
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21 // the v2 CRC covers everything from here on
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posNumRecords      = 57
	headerSize         = 61
	prefixSize         = 12
)

// Attribute bits of a v2 batch. Legacy messages share the first four.
const (
	codecMask        = 0x07
	bitLogAppendTime = 0x08
	bitTransactional = 0x10
	bitControl       = 0x20
	bitDeleteHorizon = 0x40
)

// castagnoli is the CRC32C table, which the standard library runs in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is in every error that says the bytes themselves are wrong, as
// against a codec that this build does not know.
var ErrCorrupt = errors.New("corrupt batch")

// header is what Split read, kept beside the bytes because Rewrite patches those
// in place: a Batch goes on answering for the source after it was rewritten.
type header struct {
	base          int64 // legacy compressed: equal to last, the true base needs decompression
	last          int64
	baseTimestamp int64
	maxTimestamp  int64
	producerID    int64
	leaderEpoch   int32
	lastDelta     int32
	baseSequence  int32
	count         int32
	attributes    int16
	producerEpoch int16
	magic         int8
}

// Batch is the raw bytes of one record batch with its 12-byte prefix, or of one
// legacy (v0, v1) message-set entry. The zero value is not a batch.
type Batch struct {
	raw []byte
	h   header
}

// Split cuts the records of one partition of a Fetch response into batches,
// without copying. A last batch that is cut off is dropped silently, since a
// broker cuts at the byte limit; anything else that does not read as a batch is
// an error, returned with the batches before it. Offsets must ascend, as they do
// in every broker's log.
func Split(recordSet []byte) ([]Batch, error) {
	var out []Batch
	for at := 0; at < len(recordSet); {
		rest := recordSet[at:]
		if len(rest) <= posMagic {
			return out, nil
		}
		b, whole, err := parse(rest)
		if err != nil {
			return out, fmt.Errorf("split fetched records at byte %d of %d: %w", at, len(recordSet), err)
		}
		if !whole {
			return out, nil
		}
		if n := len(out); n > 0 && b.h.base <= out[n-1].h.last {
			return out, fmt.Errorf("split fetched records at byte %d of %d: %w: offset %d follows offset %d",
				at, len(recordSet), ErrCorrupt, b.h.base, out[n-1].h.last)
		}
		out = append(out, b)
		at += len(b.raw)
	}
	return out, nil
}

// parse reads the batch at the start of p, which holds at least the magic byte.
// whole is false if the batch goes on behind p.
func parse(p []byte) (b Batch, whole bool, err error) {
	base := int64(binary.BigEndian.Uint64(p))
	length := int64(int32(binary.BigEndian.Uint32(p[posLength:])))
	magic := int8(p[posMagic])
	smallest := int64(headerSize - prefixSize)
	switch magic {
	case 0:
		smallest = legacyOverheadV0
	case 1:
		smallest = legacyOverheadV1
	case 2:
	default:
		return b, false, fmt.Errorf("%w: magic byte %d where 0, 1 or 2 is known (offset %d)", ErrCorrupt, magic, base)
	}
	if base < 0 {
		return b, false, fmt.Errorf("%w: negative offset %d", ErrCorrupt, base)
	}
	if length < smallest {
		return b, false, fmt.Errorf("%w: length %d at offset %d, the smallest of format v%d is %d", ErrCorrupt, length, base, magic, smallest)
	}
	if int64(len(p)) < prefixSize+length {
		return b, false, nil
	}
	b.raw = p[: prefixSize+length : prefixSize+length]
	b.h, err = readHeader(b.raw)
	return b, err == nil, err
}

// readHeader reads the header of a whole batch and refuses what contradicts itself.
func readHeader(p []byte) (header, error) {
	h := header{base: int64(binary.BigEndian.Uint64(p)), magic: int8(p[posMagic])}
	if h.magic < 2 {
		return readLegacyHeader(p, h), nil
	}
	h.leaderEpoch = int32(binary.BigEndian.Uint32(p[posLeaderEpoch:]))
	h.attributes = int16(binary.BigEndian.Uint16(p[posAttributes:]))
	h.lastDelta = int32(binary.BigEndian.Uint32(p[posLastOffsetDelta:]))
	h.baseTimestamp = int64(binary.BigEndian.Uint64(p[posBaseTimestamp:]))
	h.maxTimestamp = int64(binary.BigEndian.Uint64(p[posMaxTimestamp:]))
	h.producerID = int64(binary.BigEndian.Uint64(p[posProducerID:]))
	h.producerEpoch = int16(binary.BigEndian.Uint16(p[posProducerEpoch:]))
	h.baseSequence = int32(binary.BigEndian.Uint32(p[posBaseSequence:]))
	h.count = int32(binary.BigEndian.Uint32(p[posNumRecords:]))
	if h.lastDelta < 0 || h.count < 0 || int64(h.count) > int64(h.lastDelta)+1 || h.base > math.MaxInt64-1-int64(h.lastDelta) {
		return h, fmt.Errorf("%w: %d records with last offset delta %d at offset %d", ErrCorrupt, h.count, h.lastDelta, h.base)
	}
	h.last = h.base + int64(h.lastDelta)
	return h, nil
}

// Bytes returns the batch as it lies in memory, not a copy. Rewrite patches
// these bytes in place.
func (b Batch) Bytes() []byte { return b.raw }

// Len is the size of the batch in bytes, with its 12-byte prefix.
func (b Batch) Len() int { return len(b.raw) }

// Header is the batch without its bytes, which may be part of a large answer: for who
// keeps it. Of a compressed legacy message it knows the last offset alone.
func (b Batch) Header() Batch {
	b.raw = nil
	return b
}

// Magic is the format: 2 today, 0 and 1 in log segments of brokers before 0.11.
func (b Batch) Magic() int8 { return b.h.magic }

// LastOffset is the highest offset that the batch covers; the next batch begins
// behind it. The record that had it may have been compacted away.
func (b Batch) LastOffset() int64 { return b.h.last }

// LeaderEpoch is the epoch of the leader that wrote the batch, -1 in legacy formats.
func (b Batch) LeaderEpoch() int32 { return b.h.leaderEpoch }

// ProducerID is the producer's id, -1 if it was not idempotent.
func (b Batch) ProducerID() int64 { return b.h.producerID }

// ProducerEpoch is the producer's epoch, -1 if it was not idempotent.
func (b Batch) ProducerEpoch() int16 { return b.h.producerEpoch }

// BaseSequence is the sequence number of the first record, -1 if the producer
// was not idempotent.
func (b Batch) BaseSequence() int32 { return b.h.baseSequence }

// LastSequence is the sequence number of the last record, -1 if the producer
// was not idempotent.
func (b Batch) LastSequence() int32 {
	if b.h.baseSequence < 0 {
		return -1
	}
	return NextSequence(b.h.baseSequence, b.h.lastDelta)
}

// Codec says how the records are compressed.
func (b Batch) Codec() Codec { return Codec(b.h.attributes & codecMask) }

// IsControl says that the batch holds a transaction marker and no records.
func (b Batch) IsControl() bool { return b.h.attributes&bitControl != 0 }

// IsTransactional says that the batch belongs to a transaction. Markers have the bit too.
func (b Batch) IsTransactional() bool { return b.h.attributes&bitTransactional != 0 }

// IsLogAppendTime says that the records' time is MaxTimestamp, set by the
// broker, and not what the producer sent.
func (b Batch) IsLogAppendTime() bool { return b.h.attributes&bitLogAppendTime != 0 }

// HasDeleteHorizon says that a log cleaner has dated the removal of the batch's
// tombstones, in the field of the base timestamp.
func (b Batch) HasDeleteHorizon() bool { return b.h.attributes&bitDeleteHorizon != 0 }

// MaxTimestamp is the largest record time in milliseconds since 1970, -1 if the
// format (v0) has none.
func (b Batch) MaxTimestamp() int64 { return b.h.maxTimestamp }

// BaseOffset is the first offset that the batch covers. Only for compressed
// legacy messages it has to unpack them; if that does not succeed it is
// LastOffset, and Rewrite and Records tell why.
func (b Batch) BaseOffset() int64 {
	if b.legacyWrapper() {
		if ms, err := b.legacyMessages(); err == nil {
			return ms[0].offset
		}
	}
	return b.h.base
}

// NumRecords is the number of records that the batch still holds: 0 where a
// cleaner left an empty batch. Compressed legacy messages have to be unpacked
// for it; if that does not succeed it is 1.
func (b Batch) NumRecords() int32 {
	if b.legacyWrapper() {
		if ms, err := b.legacyMessages(); err == nil {
			return int32(len(ms))
		}
	}
	return b.h.count
}

// Check compares the checksum: CRC32C from the attributes on in v2, CRC32 from
// the magic byte on in legacy formats. Call it before Rewrite, which computes a
// new one and would give bytes damaged on the way a valid seal.
func (b Batch) Check() error {
	if len(b.raw) == 0 {
		return errors.New("check batch: no batch")
	}
	want, got := uint32(0), uint32(0)
	if b.h.magic < 2 {
		want = binary.BigEndian.Uint32(b.raw[legacyPosCRC:])
		got = crc32.ChecksumIEEE(b.raw[posMagic:])
	} else {
		want = binary.BigEndian.Uint32(b.raw[posCRC:])
		got = crc32.Checksum(b.raw[posAttributes:], castagnoli)
	}
	if want != got {
		return fmt.Errorf("check batch at offset %d (%d bytes, format v%d): %w: checksum is %08x, the bytes give %08x",
			b.h.base, len(b.raw), b.h.magic, ErrCorrupt, want, got)
	}
	return nil
}

// IsAbort says of a control batch whether it ends its transaction by abort
// (true) or commit (false). It is an error for a batch without the control bit
// and for other kinds of control record.
func (b Batch) IsAbort() (bool, error) {
	if !b.IsControl() {
		return false, fmt.Errorf("read transaction marker at offset %d: the batch is not a control batch", b.h.base)
	}
	records, err := b.Records()
	if err != nil {
		return false, err
	}
	if len(records) == 0 {
		return false, fmt.Errorf("read transaction marker at offset %d: %w: the control batch is empty", b.h.base, ErrCorrupt)
	}
	// Key of a control record: version int16, type int16 (0 abort, 1 commit).
	key := records[0].Key
	if len(key) < 4 {
		return false, fmt.Errorf("read transaction marker at offset %d: %w: key of %d bytes, at least 4 expected", b.h.base, ErrCorrupt, len(key))
	}
	switch kind := int16(binary.BigEndian.Uint16(key[2:])); kind {
	case 0:
		return true, nil
	case 1:
		return false, nil
	default:
		return false, fmt.Errorf("read transaction marker at offset %d: control record of type %d is neither abort (0) nor commit (1)", b.h.base, kind)
	}
}

// NextSequence is the sequence number n records behind base. Kafka counts from 0
// to 2^31-1 and goes on at 0 (DefaultRecordBatch.incrementSequence).
func NextSequence(base int32, n int32) int32 {
	if base > math.MaxInt32-n {
		return n - (math.MaxInt32 - base) - 1
	}
	return base + n
}
