package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Header is one header of a record. A nil Value is Kafka's null.
type Header struct {
	Key   string
	Value []byte
}

// Record is one decoded record. A nil Key or Value is Kafka's null, which is not
// the same as an empty one: a null value is a tombstone.
type Record struct {
	Offset     int64
	Timestamp  int64 // milliseconds since 1970, -1 if the format has none
	Key, Value []byte
	Headers    []Header
}

// minRecordSize is the least a v2 record takes: seven one-byte varints.
const minRecordSize = 7

// walker steps over the records of an unpacked v2 batch without decoding their
// bodies.
type walker struct {
	rest  []byte
	batch header
	seen  int32
	prev  int64 // offset delta of the record before, checked to ascend
	err   error

	attributes     byte
	timestampDelta int64
	offsetDelta    int32
	body           []byte // key length onwards
}

// next steps to the next record; false at the end or on an error.
func (w *walker) next() bool {
	if w.err != nil {
		return false
	}
	if w.seen == 0 {
		w.prev = -1
		if int64(w.batch.count)*minRecordSize > int64(len(w.rest)) {
			w.err = fmt.Errorf("%w: %d records cannot fit into %d bytes", ErrCorrupt, w.batch.count, len(w.rest))
			return false
		}
	}
	if w.seen == w.batch.count {
		if len(w.rest) != 0 {
			w.err = fmt.Errorf("%w: %d bytes behind the last of %d records", ErrCorrupt, len(w.rest), w.batch.count)
		}
		return false
	}
	size, n := binary.Varint(w.rest)
	if n <= 0 || size < minRecordSize-1 || size > int64(len(w.rest)-n) {
		return w.fail("length")
	}
	p := w.rest[n : n+int(size)]
	w.rest = w.rest[n+int(size):]
	w.attributes, p = p[0], p[1:]
	delta, n := binary.Varint(p)
	if n <= 0 {
		return w.fail("timestamp delta")
	}
	w.timestampDelta, p = delta, p[n:]
	delta, n = binary.Varint(p)
	if n <= 0 || delta <= w.prev || delta > int64(w.batch.lastDelta) {
		return w.fail("offset delta")
	}
	w.offsetDelta, w.prev, w.body = int32(delta), delta, p[n:]
	w.seen++
	return true
}

func (w *walker) fail(what string) bool {
	w.err = fmt.Errorf("%w: %s of record %d of %d makes no sense", ErrCorrupt, what, w.seen+1, w.batch.count)
	return false
}

// appendRecord writes a record with its leading varints and the body behind them.
func appendRecord(dst []byte, attributes byte, timestampDelta int64, offsetDelta int32, body []byte) []byte {
	size := 1 + varintSize(timestampDelta) + varintSize(int64(offsetDelta)) + len(body)
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, attributes)
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, int64(offsetDelta))
	return append(dst, body...)
}

// varintSize is the length of v as a zigzag varint.
func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// Records decodes the batch. Keys and values of an uncompressed batch share b's
// memory. Of a control batch it returns the control record.
func (b Batch) Records() ([]Record, error) {
	if len(b.raw) == 0 {
		return nil, errors.New("decode batch: no batch")
	}
	if b.h.magic < 2 {
		return b.legacyRecords()
	}
	plain, err := decompress(nil, b.raw[headerSize:], b.Codec())
	if err != nil {
		return nil, fmt.Errorf("decode batch at offset %d: %w", b.h.base, err)
	}
	var out []Record
	w := walker{rest: plain, batch: b.h}
	for w.next() {
		if out == nil {
			out = make([]Record, 0, b.h.count)
		}
		r := Record{Offset: b.h.base + int64(w.offsetDelta), Timestamp: b.h.baseTimestamp + w.timestampDelta}
		if b.IsLogAppendTime() {
			r.Timestamp = b.h.maxTimestamp
		}
		if err := r.readBody(w.body); err != nil {
			return nil, fmt.Errorf("decode batch at offset %d: record at offset %d: %w", b.h.base, r.Offset, err)
		}
		out = append(out, r)
	}
	if w.err != nil {
		return nil, fmt.Errorf("decode batch at offset %d: %w", b.h.base, w.err)
	}
	return out, nil
}

// readBody decodes what stands behind the offset delta.
func (r *Record) readBody(p []byte) error {
	var ok bool
	if r.Key, p, ok = readBytes(p); !ok {
		return fmt.Errorf("%w: key", ErrCorrupt)
	}
	if r.Value, p, ok = readBytes(p); !ok {
		return fmt.Errorf("%w: value", ErrCorrupt)
	}
	count, n := binary.Varint(p)
	// A header takes two bytes at least.
	if n <= 0 || count < 0 || count*2 > int64(len(p)-n) {
		return fmt.Errorf("%w: header count", ErrCorrupt)
	}
	p = p[n:]
	if count > 0 {
		r.Headers = make([]Header, count)
	}
	for i := range r.Headers {
		var key []byte
		if key, p, ok = readBytes(p); !ok || key == nil {
			return fmt.Errorf("%w: key of header %d", ErrCorrupt, i+1)
		}
		r.Headers[i].Key = string(key)
		if r.Headers[i].Value, p, ok = readBytes(p); !ok {
			return fmt.Errorf("%w: value of header %d", ErrCorrupt, i+1)
		}
	}
	if len(p) != 0 {
		return fmt.Errorf("%w: %d bytes behind the last header", ErrCorrupt, len(p))
	}
	return nil
}

// readBytes reads a varint length and as many bytes; length -1 is null.
func readBytes(p []byte) (v, rest []byte, ok bool) {
	size, n := binary.Varint(p)
	if n <= 0 || size < -1 || size > int64(len(p)-n) {
		return nil, nil, false
	}
	p = p[n:]
	if size == -1 {
		return nil, p, true
	}
	return p[:size:size], p[size:], true
}

// Encode makes a v2 batch of records with contiguous offsets from 0, whatever
// their Offset field says. A stamp with producer id -1 makes it non-idempotent
// (give -1 as epoch and sequence as well).
func Encode(records []Record, codec Codec, s Stamp) ([]byte, error) {
	if len(records) == 0 {
		return nil, errors.New("encode batch: no records, and a broker refuses an empty batch")
	}
	if len(records) > math.MaxInt32 {
		return nil, fmt.Errorf("encode batch: %d records do not fit into one batch", len(records))
	}
	h := header{baseTimestamp: records[0].Timestamp, maxTimestamp: records[0].Timestamp, count: int32(len(records))}
	var plain, body []byte
	for i := range records {
		r := &records[i]
		h.maxTimestamp = max(h.maxTimestamp, r.Timestamp)
		body = appendBody(body[:0], r)
		plain = appendRecord(plain, 0, r.Timestamp-h.baseTimestamp, int32(i), body)
		if len(plain) > MaxPlain {
			return nil, fmt.Errorf("encode batch: the first %d of %d records take more than %d bytes", i+1, len(records), MaxPlain)
		}
	}
	p, err := finish(nil, plain, codec, h, s)
	if err != nil {
		return nil, fmt.Errorf("encode batch: %w", err)
	}
	return p, nil
}

// appendBody writes what stands behind the offset delta.
func appendBody(dst []byte, r *Record) []byte {
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(r.Headers[i].Key)))
		dst = append(dst, r.Headers[i].Key...)
		dst = appendBytes(dst, r.Headers[i].Value)
	}
	return dst
}

func appendBytes(dst, v []byte) []byte {
	if v == nil {
		return append(dst, 1) // zigzag of -1
	}
	dst = binary.AppendVarint(dst, int64(len(v)))
	return append(dst, v...)
}

// WrongCRC makes the canary batch: one record, not idempotent, with a checksum
// that is wrong on purpose. A broker that lets the sender write answers
// CORRUPT_MESSAGE, one that does not answers TOPIC_AUTHORIZATION_FAILED, and
// neither writes anything. Its time is 1970, so that something that is no Kafka
// and stored it all the same would let retention remove it first.
func WrongCRC(key, value []byte) []byte {
	body := appendBody(nil, &Record{Key: key, Value: value})
	p := append(make([]byte, headerSize), appendRecord(nil, 0, 0, 0, body)...)
	seal(p, header{count: 1}, Stamp{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
	binary.BigEndian.PutUint32(p[posCRC:], ^binary.BigEndian.Uint32(p[posCRC:]))
	return p
}
