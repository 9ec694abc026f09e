package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Legacy message-set entry: offset int64, size int32, crc uint32, magic int8,
// attributes int8, v1 only: timestamp int64, then key and value, each with its
// length in four bytes (-1 = null). A compressed entry's value holds a message
// set, whose offsets are absolute in v0 and relative in v1, where the entry
// itself has the offset of its last message.
const (
	legacyPosCRC        = 12
	legacyPosAttributes = 17
	legacyPosTimestamp  = 18
	legacyOverheadV0    = 4 + 1 + 1 + 4 + 4 // behind the 12-byte prefix, empty key and value
	legacyOverheadV1    = legacyOverheadV0 + 8
)

// message is one decoded legacy message.
type message struct {
	offset     int64
	timestamp  int64
	key, value []byte
	codec      Codec
	magic      int8
}

func readLegacyHeader(p []byte, h header) header {
	h.last, h.count = h.base, 1
	h.leaderEpoch, h.producerID, h.producerEpoch, h.baseSequence = -1, -1, -1, -1
	h.attributes = int16(p[legacyPosAttributes] & codecMask)
	h.baseTimestamp, h.maxTimestamp = -1, -1
	if h.magic == 1 {
		h.attributes |= int16(p[legacyPosAttributes] & bitLogAppendTime)
		h.maxTimestamp = int64(binary.BigEndian.Uint64(p[legacyPosTimestamp:]))
		h.baseTimestamp = h.maxTimestamp
	}
	return h
}

// legacyWrapper says that b is a legacy message which holds others.
func (b Batch) legacyWrapper() bool { return b.h.magic < 2 && len(b.raw) > 0 && b.Codec() != None }

// legacyMessages decodes b: itself, or the messages inside with absolute offsets.
// On success there is at least one, and offsets ascend.
func (b Batch) legacyMessages() ([]message, error) {
	outer, err := decodeMessage(b.raw)
	if err != nil {
		return nil, err
	}
	if outer.codec == None {
		return []message{outer}, nil
	}
	packed := outer.value
	if outer.codec == LZ4 && b.h.magic == 0 {
		packed = repairLZ4(packed)
	}
	set, err := decompress(nil, packed, outer.codec)
	if err != nil {
		return nil, err
	}
	var out []message
	for len(set) > 0 {
		if len(set) < prefixSize {
			return nil, fmt.Errorf("%w: inner message set cut off", ErrCorrupt)
		}
		size := int64(int32(binary.BigEndian.Uint32(set[posLength:])))
		if size < legacyOverheadV0 || size > int64(len(set)-prefixSize) {
			return nil, fmt.Errorf("%w: inner message of %d bytes where %d are left", ErrCorrupt, size, len(set)-prefixSize)
		}
		m, err := decodeMessage(set[:prefixSize+size])
		if err != nil {
			return nil, err
		}
		if m.codec != None || m.magic != outer.magic {
			return nil, fmt.Errorf("%w: compressed message of format v%d holds one of format v%d with %v", ErrCorrupt, outer.magic, m.magic, m.codec)
		}
		if n := len(out); n > 0 && m.offset <= out[n-1].offset {
			return nil, fmt.Errorf("%w: inner offset %d follows %d", ErrCorrupt, m.offset, out[n-1].offset)
		}
		if b.IsLogAppendTime() {
			m.timestamp = b.h.maxTimestamp
		}
		out = append(out, m)
		set = set[prefixSize+size:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: compressed message holds none", ErrCorrupt)
	}
	last := out[len(out)-1].offset
	if outer.magic == 0 {
		if last != b.h.last {
			return nil, fmt.Errorf("%w: last inner offset %d differs", ErrCorrupt, last)
		}
		return out, nil
	}
	shift := b.h.last - last
	if out[0].offset < 0 || shift < 0 {
		return nil, fmt.Errorf("%w: last inner offset %d is not relative", ErrCorrupt, last)
	}
	for i := range out {
		out[i].offset += shift
	}
	return out, nil
}

// decodeMessage reads one whole legacy message with its prefix. Checksums
// are not looked at: that of the outer message is Check's, and it covers the inner ones.
func decodeMessage(p []byte) (message, error) {
	m := message{offset: int64(binary.BigEndian.Uint64(p)), timestamp: -1, magic: int8(p[posMagic])}
	m.codec = Codec(p[legacyPosAttributes] & codecMask)
	rest := p[legacyPosTimestamp:]
	switch {
	case m.magic == 1 && len(p) >= prefixSize+legacyOverheadV1:
		m.timestamp = int64(binary.BigEndian.Uint64(rest))
		rest = rest[8:]
	case m.magic != 0:
		return m, fmt.Errorf("%w: message of format v%d in %d bytes", ErrCorrupt, m.magic, len(p))
	}
	var ok bool
	if m.key, rest, ok = readBytes32(rest); !ok {
		return m, fmt.Errorf("%w: key of message at offset %d", ErrCorrupt, m.offset)
	}
	if m.value, rest, ok = readBytes32(rest); !ok || len(rest) != 0 {
		return m, fmt.Errorf("%w: value of message at offset %d", ErrCorrupt, m.offset)
	}
	return m, nil
}

func readBytes32(p []byte) (v, rest []byte, ok bool) {
	if len(p) < 4 {
		return nil, nil, false
	}
	size := int64(int32(binary.BigEndian.Uint32(p)))
	p = p[4:]
	if size == -1 {
		return nil, p, true
	}
	if size < 0 || size > int64(len(p)) {
		return nil, nil, false
	}
	return p[:size:size], p[size:], true
}

// legacyRecords is Records for formats v0 and v1.
func (b Batch) legacyRecords() ([]Record, error) {
	ms, err := b.legacyMessages()
	if err != nil {
		return nil, fmt.Errorf("decode message of format v%d at offset %d: %w", b.h.magic, b.h.last, err)
	}
	out := make([]Record, len(ms))
	for i, m := range ms {
		out[i] = Record{Offset: m.offset, Timestamp: m.timestamp, Key: m.key, Value: m.value}
	}
	return out, nil
}

// rewriteLegacy makes a v2 batch of a legacy message or of those inside it.
func rewriteLegacy(b Batch, s Stamp, from int64) (Out, error) {
	ms, err := b.legacyMessages()
	if err != nil {
		return Out{}, fmt.Errorf("rewrite message of format v%d at offset %d: %w", b.h.magic, b.h.last, err)
	}
	out := Out{Reencoded: ReasonLegacy}
	for i := 1; i < len(ms); i++ {
		if ms[i].offset != ms[i-1].offset+1 {
			out.Reencoded |= ReasonGap
			break
		}
	}
	if from > ms[0].offset {
		out.Reencoded |= ReasonInside
	}
	if b.IsLogAppendTime() {
		out.Reencoded |= ReasonAppendTime
	}
	scratch := getBuffer(2 * len(b.raw))
	defer putBuffer(scratch)
	next := (*scratch)[:0]
	var h header
	var body []byte
	for _, m := range ms {
		if m.offset < from {
			continue
		}
		if out.Records == 0 {
			h.baseTimestamp, h.maxTimestamp = m.timestamp, m.timestamp
		}
		h.maxTimestamp = max(h.maxTimestamp, m.timestamp)
		body = appendBody(body[:0], &Record{Key: m.key, Value: m.value})
		next = appendRecord(next, 0, m.timestamp-h.baseTimestamp, out.Records, body)
		out.add(m.offset)
	}
	*scratch = next
	if out.Records == 0 {
		return Out{}, errors.New("rewrite message: no record is left") // last >= from was asked before
	}
	h.count = out.Records
	if out.Bytes, err = finish(nil, next, b.Codec(), h, s); err != nil {
		return Out{}, fmt.Errorf("rewrite message of format v%d at offset %d: %w", b.h.magic, b.h.last, err)
	}
	return out, nil
}

// repairLZ4 gives back an LZ4 frame whose header checksum is right. Clients of
// format v0 computed it over the frame's magic as well (KAFKA-3160), and brokers
// kept it so. Frames of any other fault come back unchanged.
func repairLZ4(p []byte) []byte {
	const flags, sizeBit = 4, 0x08
	if len(p) < 7 {
		return p
	}
	end := flags + 2
	if p[flags]&sizeBit != 0 {
		end += 8
	}
	if len(p) <= end {
		return p
	}
	out := append([]byte(nil), p...)
	out[end] = byte(xxh32Short(p[flags:end]) >> 8)
	return out
}

// xxh32Short is XXH32 with seed 0 of fewer than 16 bytes.
func xxh32Short(p []byte) uint32 {
	const p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	h := uint32(p5) + uint32(len(p))
	for ; len(p) >= 4; p = p[4:] {
		h += binary.LittleEndian.Uint32(p) * p3
		h = (h<<17 | h>>15) * p4
	}
	for _, c := range p {
		h += uint32(c) * p5
		h = (h<<11 | h>>21) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
