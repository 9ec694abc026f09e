package batch

import (
	"fmt"
)

// Limits bound a merged batch, in bytes.
type Limits struct {
	// Packed is the most that it may take as it is sent, header included: what the
	// broker still takes (max.message.bytes), or what the caller wants.
	Packed int
	// Plain is the most that its records may take unpacked: what one merge may cost
	// in memory, here and at everybody who reads the batch.
	Plain int
}

// Merge makes one batch of as many leading parts as fit into l, under our stamp,
// and says how many it took: at least one. The parts are neighbours in one
// partition. Records with source offsets below from stay out, as in Rewrite.
// Where the first part has to stay alone the answer is Rewrite's.
//
// A broker takes one batch per partition and request, so that tiny batches cost
// a request each; merged they cost one, and one header and checksum.
//
// Keys, values, headers, record attributes and times stay what a reader of the
// source sees. The batches differ in nothing else that a reader sees: a record
// of a LogAppendTime batch gets the broker's time as its own (as in Rewrite), the
// transactional bit and the delete horizon are cleared anyway, gaps are in
// Out.Runs. So only these stay apart: control batches, legacy formats (they stand
// in old segments only), codecs that this build does not know, and what does not
// unpack, which Rewrite may still pass on for the broker to judge.
//
// The records are packed with the codec that most of the parts' bytes had. The
// same parts, stamp and limits give the same bytes. Out.Bytes is pooled memory:
// see Out.Release. The parts' memory is not kept.
func Merge(parts []Batch, s Stamp, from int64, l Limits) (out Out, taken int, err error) {
	if len(parts) == 0 {
		return Out{}, 0, fmt.Errorf("merge batches: no batch")
	}
	for n := len(parts); n > 1; n /= 2 {
		out, taken, err = merge(parts[:n], s, from, l)
		if err != nil || out.Records > 0 {
			return out, taken, err
		}
		if taken < 2 {
			break // the first part stays alone
		}
		// It packed less tightly than the parts: half as many fit.
		n = taken
	}
	out, err = Rewrite(parts[0], s, from)
	return out, 1, err
}

// merger is a merge under way.
type merger struct {
	out    Out
	h      header
	next   []byte // records of the new batch
	packed int    // bytes of the parts taken, without headers
	codecs [Zstd + 1]int
}

// merge joins the leading parts that can be and fit. Without records in out it
// took less than two parts, or what came out is larger than l.Packed.
func merge(parts []Batch, s Stamp, from int64, l Limits) (Out, int, error) {
	records, scratch := getBuffer(0), getBuffer(0)
	defer putBuffer(scratch)
	defer putBuffer(records)
	m := merger{next: (*records)[:0], h: header{maxTimestamp: -1}}
	taken, joined := 0, 0
	for _, b := range parts {
		if b.h.magic == 2 && !b.IsControl() && (b.h.count == 0 || b.h.last < from) {
			taken++ // nothing of it is mirrored
			continue
		}
		if !m.add(b, from, l, scratch) {
			break
		}
		taken++
		joined++
	}
	*records = m.next
	if joined < 2 || m.out.Records == 0 {
		return Out{}, min(taken, 1), nil
	}
	codec := None
	for c := range m.codecs {
		if m.codecs[c] > m.codecs[codec] {
			codec = Codec(c)
		}
	}
	m.h.count = m.out.Records
	bytes := getBuffer(headerSize + len(m.next)/plainToPacked(codec) + 64)
	var err error
	if m.out.Bytes, err = finish((*bytes)[:0], m.next, codec, m.h, s); err != nil {
		putBuffer(bytes)
		return Out{}, taken, fmt.Errorf("merge %d batches from offset %d on: %w", taken, parts[0].h.base, err)
	}
	*bytes = m.out.Bytes
	if len(m.out.Bytes) > l.Packed {
		putBuffer(bytes)
		return Out{}, taken, nil
	}
	m.out.Reencoded |= ReasonMerged
	m.out.pooled = bytes
	return m.out, taken, nil
}

// add takes b's records in; false leaves the merge as it was before.
func (m *merger) add(b Batch, from int64, l Limits, scratch *[]byte) bool {
	size := len(b.raw) - headerSize
	if b.h.magic != 2 || b.IsControl() || b.Codec() > Zstd || headerSize+m.packed+size > l.Packed || len(m.next) >= l.Plain {
		return false
	}
	plain := b.raw[headerSize:]
	if b.Codec() != None {
		var err error
		plain, err = decompressUpTo((*scratch)[:0], plain, b.Codec(), l.Plain-len(m.next))
		if err != nil {
			return false
		}
		*scratch = plain
	}
	// Checked before the records are written, and again with the room that their
	// new varints take.
	if len(m.next)+len(plain) > l.Plain || len(m.out.Runs) > 0 && b.h.base <= m.out.last() {
		return false
	}
	before, n, runs := *m, len(m.next), len(m.out.Runs)
	var lastRun Run
	if runs > 0 {
		lastRun = m.out.Runs[runs-1]
	}
	if !m.walk(b, plain, from) || len(m.next) > l.Plain {
		before.next = m.next[:n] // it may have grown, and moved
		before.out.Runs = m.out.Runs[:runs]
		if runs > 0 {
			before.out.Runs[runs-1] = lastRun
		}
		*m = before
		return false
	}
	m.packed += size
	m.codecs[b.Codec()] += len(b.raw)
	m.out.Reencoded |= b.reasons(from)
	return true
}

// walk copies b's records with the deltas that they have in the new batch.
func (m *merger) walk(b Batch, plain []byte, from int64) bool {
	w := walker{rest: plain, batch: b.h}
	for w.next() {
		offset := b.h.base + int64(w.offsetDelta)
		if offset < from {
			continue
		}
		at := b.h.baseTimestamp + w.timestampDelta
		if b.IsLogAppendTime() {
			at = b.h.maxTimestamp
		}
		if m.out.Records == 0 {
			m.h.baseTimestamp = at
		}
		m.h.maxTimestamp = max(m.h.maxTimestamp, at)
		m.next = appendRecord(m.next, w.attributes, at-m.h.baseTimestamp, m.out.Records, w.body)
		m.out.add(offset)
	}
	return w.err == nil
}
