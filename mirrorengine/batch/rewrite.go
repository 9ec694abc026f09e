package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// Stamp is our producer's mark on a batch: the broker admits it only if
// BaseSequence is the very next one of this id and epoch.
type Stamp struct {
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
}

// Run is a stretch of consecutive source offsets.
type Run struct {
	SourceStart int64
	Count       int32
}

// Reason is a set of reasons why a batch could not be passed on as it is. The
// zero value means that only its header was patched.
type Reason uint8

// Reasons to re-encode a batch.
const (
	ReasonGap        Reason = 1 << iota // compaction removed records from it
	ReasonInside                        // the mirror begins inside it
	ReasonAppendTime                    // record times come from the source broker's clock
	ReasonLegacy                        // message format v0 or v1
	ReasonMerged                        // joined with its neighbours
)

// String names the reasons, joined by +; "none" if there is none.
func (r Reason) String() string {
	var words []string
	for _, n := range []struct {
		bit  Reason
		word string
	}{{ReasonGap, "gap"}, {ReasonInside, "inside"}, {ReasonAppendTime, "append-time"}, {ReasonLegacy, "legacy"}, {ReasonMerged, "merged"}} {
		if r&n.bit != 0 {
			words = append(words, n.word)
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, "+")
}

// Out is a batch to produce, and what it means.
type Out struct {
	Bytes     []byte // one v2 batch; nil if Records is 0
	Runs      []Run  // source offsets of the records, ascending
	Records   int32  // 0: nothing of the batch is mirrored, go on behind its LastOffset
	Reencoded Reason

	pooled *[]byte // of a merged batch: what Bytes lies in
}

// MaxTimestamp is the largest record time in milliseconds since 1970, as it
// stands in Bytes; -1 if there is none.
func (o Out) MaxTimestamp() int64 {
	if len(o.Bytes) < headerSize {
		return -1
	}
	return int64(binary.BigEndian.Uint64(o.Bytes[posMaxTimestamp:]))
}

// Release gives the memory of a merged batch back; of others it does nothing.
// Call it once at most, and only when nobody will read Bytes any more: other
// batches are written there. What is never released is garbage collected.
func (o Out) Release() {
	if o.pooled != nil {
		putBuffer(o.pooled)
	}
}

// last is the highest source offset in o, which has records.
func (o Out) last() int64 {
	r := o.Runs[len(o.Runs)-1]
	return r.SourceStart + int64(r.Count) - 1
}

// Rewrite makes the batch that is produced to the mirror: b's records with
// source offset >= from, under our stamp. A control batch, an empty one and one
// that ends before from give an Out without records. Check b first.
//
// Where a broker takes b as it is, the header is patched in b's own bytes, which
// Out.Bytes then shares: the buffer must live until the produce is acknowledged.
// b's methods go on answering for the source. Otherwise Out.Bytes is new memory,
// and may be a little larger than b where our encoder packs less tightly.
//
// What a broker asks of a produced batch (Kafka's LogValidator, UnifiedLog):
// base offset 0; record count = last offset delta + 1, and in the records too,
// for an uncompressed batch whose header alone is patched is stored corrupt; no
// LogAppendTime bit (cleared silently, and consumers see other times); no
// control bit. The delete-horizon bit would be kept and give the mirror's
// cleaner the source's horizon, so it is cleared; deltas count from the base
// timestamp field either way. The transactional bit is cleared, since the mirror
// holds the committed view and its records are part of no transaction.
func Rewrite(b Batch, s Stamp, from int64) (Out, error) {
	if len(b.raw) == 0 {
		return Out{}, fmt.Errorf("rewrite batch: no batch")
	}
	if b.IsControl() || b.h.count == 0 || b.h.last < from {
		return Out{}, nil
	}
	if b.h.magic < 2 {
		return rewriteLegacy(b, s, from)
	}
	if why := b.reasons(from); why != 0 {
		return reencode(b, s, from, why)
	}
	h := b.h
	h.attributes &= codecMask
	seal(b.raw, h, s)
	return Out{Bytes: b.raw, Runs: []Run{{SourceStart: b.h.base, Count: b.h.count}}, Records: b.h.count}, nil
}

// reasons why a v2 batch cannot be passed on as it is.
func (b Batch) reasons(from int64) Reason {
	var why Reason
	if int64(b.h.count) != int64(b.h.lastDelta)+1 {
		why |= ReasonGap
	}
	if from > b.h.base {
		why |= ReasonInside
	}
	if b.IsLogAppendTime() {
		why |= ReasonAppendTime
	}
	return why
}

// seal writes the header of a batch to be produced over the first 61 bytes of p,
// from h's attributes, last delta, times and count, and the checksum over the rest.
func seal(p []byte, h header, s Stamp) {
	be := binary.BigEndian
	be.PutUint64(p, 0)
	be.PutUint32(p[posLength:], uint32(len(p)-prefixSize))
	be.PutUint32(p[posLeaderEpoch:], ^uint32(0)) // -1: the broker writes its own
	p[posMagic] = 2
	be.PutUint16(p[posAttributes:], uint16(h.attributes))
	be.PutUint32(p[posLastOffsetDelta:], uint32(h.lastDelta))
	be.PutUint64(p[posBaseTimestamp:], uint64(h.baseTimestamp))
	be.PutUint64(p[posMaxTimestamp:], uint64(h.maxTimestamp))
	be.PutUint64(p[posProducerID:], uint64(s.ProducerID))
	be.PutUint16(p[posProducerEpoch:], uint16(s.ProducerEpoch))
	be.PutUint32(p[posBaseSequence:], uint32(s.BaseSequence))
	be.PutUint32(p[posNumRecords:], uint32(h.count))
	be.PutUint32(p[posCRC:], crc32.Checksum(p[posAttributes:], castagnoli))
}

// finish compresses plain, the records of a new batch, behind a sealed header.
// Its last delta is count-1, since what is written here has no gaps. It uses
// dst's memory, as far as it goes; nil takes new memory.
func finish(dst, plain []byte, codec Codec, h header, s Stamp) ([]byte, error) {
	h.attributes = int16(codec)
	h.lastDelta = h.count - 1
	if cap(dst) < headerSize {
		dst = make([]byte, 0, headerSize+len(plain)/plainToPacked(codec)+64)
	}
	dst, err := compress(dst[:headerSize], plain, codec)
	if err != nil {
		return nil, err
	}
	seal(dst, h, s)
	return dst, nil
}

// plainToPacked is a guess of the packing, for the first allocation only.
func plainToPacked(c Codec) int {
	if c == None {
		return 1
	}
	return 2
}

// reencode unpacks a v2 batch, gives the records that stay new offset deltas,
// and under LogAppendTime the time that consumers of the source see.
func reencode(b Batch, s Stamp, from int64, why Reason) (Out, error) {
	plain, free, err := b.plain()
	if err != nil {
		return Out{}, fmt.Errorf("rewrite batch at offset %d: %w", b.h.base, err)
	}
	defer free()
	scratch := getBuffer(len(plain))
	defer putBuffer(scratch)
	next := (*scratch)[:0]

	out := Out{Reencoded: why}
	h := header{baseTimestamp: b.h.baseTimestamp, maxTimestamp: -1}
	stampTime := why&ReasonAppendTime != 0
	if stampTime {
		h.baseTimestamp, h.maxTimestamp = b.h.maxTimestamp, b.h.maxTimestamp
	}
	w := walker{rest: plain, batch: b.h}
	for w.next() {
		offset := b.h.base + int64(w.offsetDelta)
		if offset < from {
			continue
		}
		delta := w.timestampDelta
		if stampTime {
			delta = 0
		} else {
			h.maxTimestamp = max(h.maxTimestamp, b.h.baseTimestamp+delta)
		}
		next = appendRecord(next, w.attributes, delta, out.Records, w.body)
		out.add(offset)
	}
	if w.err != nil {
		return Out{}, fmt.Errorf("rewrite batch at offset %d: %w", b.h.base, w.err)
	}
	*scratch = next
	if out.Records == 0 {
		return Out{}, nil
	}
	h.count = out.Records
	if out.Bytes, err = finish(nil, next, b.Codec(), h, s); err != nil {
		return Out{}, fmt.Errorf("rewrite batch at offset %d: %w", b.h.base, err)
	}
	return out, nil
}

// add counts a record with a source offset, which ascend.
func (o *Out) add(offset int64) {
	o.Records++
	if n := len(o.Runs); n > 0 && o.Runs[n-1].SourceStart+int64(o.Runs[n-1].Count) == offset {
		o.Runs[n-1].Count++
		return
	}
	o.Runs = append(o.Runs, Run{SourceStart: offset, Count: 1})
}
