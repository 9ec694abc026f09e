package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/snappy"
)

// Kafka's Java clients frame snappy as the xerial library does: a 16-byte header
// (magic, version, oldest version that can read it), then blocks, each with its
// length in four bytes. Brokers take bare snappy as well, which librdkafka and
// franz-go send. Read both, write the frame.
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const (
	xerialMagicSize = 8
	xerialBlock     = 32 << 10 // the Java library's default
)

func appendXerial(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		n := min(len(src), xerialBlock)
		at := len(dst)
		need := at + 4 + snappy.MaxEncodedLen(n)
		if cap(dst) < need {
			dst = append(make([]byte, 0, max(need, 2*cap(dst))), dst...)
		}
		block := snappy.Encode(dst[at+4:need:need], src[:n])
		dst = dst[:at+4+len(block)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(block)))
		src = src[n:]
	}
	return dst
}

func unsnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialHeader[:xerialMagicSize]) {
		return appendUnsnapped(dst, src, limit)
	}
	for len(src) > 0 {
		// A writer that was flushed may begin anew with a header.
		if bytes.HasPrefix(src, xerialHeader[:xerialMagicSize]) {
			if len(src) < len(xerialHeader) {
				return nil, fmt.Errorf("%w: snappy frame header cut off", ErrCorrupt)
			}
			src = src[len(xerialHeader):]
			continue
		}
		if len(src) < 4 {
			return nil, fmt.Errorf("%w: length of a snappy block cut off", ErrCorrupt)
		}
		n := int64(binary.BigEndian.Uint32(src))
		if n > int64(len(src)-4) {
			return nil, fmt.Errorf("%w: snappy block of %d bytes where %d are left", ErrCorrupt, n, len(src)-4)
		}
		var err error
		if dst, err = appendUnsnapped(dst, src[4:4+n], limit); err != nil {
			return nil, err
		}
		src = src[4+n:]
	}
	return dst, nil
}

// appendUnsnapped unpacks one block. Snappy copies at most 64 bytes with three, so
// a block that claims more than that is corrupt before memory is taken for it.
func appendUnsnapped(dst, block []byte, limit int) ([]byte, error) {
	size, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if int64(size) > 32*int64(len(block)) {
		return nil, fmt.Errorf("%w: snappy block of %d bytes claims to hold %d", ErrCorrupt, len(block), size)
	}
	at := len(dst)
	if at+size > limit {
		return nil, tooLarge(limit)
	}
	if cap(dst) < at+size {
		dst = append(make([]byte, 0, max(at+size, 2*cap(dst))), dst...)
	}
	got, err := snappy.Decode(dst[at:at+size:at+size], block)
	if err != nil {
		return nil, err
	}
	return dst[:at+len(got)], nil
}
