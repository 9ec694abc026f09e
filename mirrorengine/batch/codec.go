package batch

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is the compression of a batch's records, by its number in the attributes.
type Codec int8

// The codecs of Kafka's protocol.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// String is the codec's name in Kafka's configuration (compression.type).
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", int8(c))
}

// MaxPlain is the most that the records of one batch may unpack to, in bytes.
// Kafka's default largest batch is 1 MiB packed; this leaves room for large
// limits and stops a bomb.
const MaxPlain = 256 << 20

func tooLarge(limit int) error {
	return fmt.Errorf("%w: the records unpack to more than %d bytes", ErrCorrupt, limit)
}

// plain returns b's records unpacked and a function that takes the memory back.
func (b Batch) plain() ([]byte, func(), error) {
	if b.Codec() == None {
		return b.raw[headerSize:], func() {}, nil
	}
	buf := getBuffer(4 * len(b.raw))
	p, err := decompress((*buf)[:0], b.raw[headerSize:], b.Codec())
	if err != nil {
		putBuffer(buf)
		return nil, nil, err
	}
	*buf = p
	return p, func() { putBuffer(buf) }, nil
}

// decompress appends the unpacked src to dst. Without compression and with a nil
// dst it returns src itself.
func decompress(dst, src []byte, c Codec) ([]byte, error) {
	return decompressUpTo(dst, src, c, MaxPlain)
}

// decompressUpTo refuses to unpack more than limit bytes, at most MaxPlain.
func decompressUpTo(dst, src []byte, c Codec, limit int) ([]byte, error) {
	var err error
	switch c {
	case None:
		if dst == nil {
			return src, nil
		}
		dst = append(dst, src...)
	case Gzip:
		dst, err = gunzip(dst, src, limit)
	case Snappy:
		dst, err = unsnappy(dst, src, limit)
	case LZ4:
		dst, err = unlz4(dst, src, limit)
	case Zstd:
		dst, err = unzstd(dst, src, limit)
	default:
		return nil, fmt.Errorf("unpack %d bytes: %v is not known to this build", len(src), c)
	}
	if err == nil && len(dst) > limit {
		err = tooLarge(limit)
	}
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return nil, fmt.Errorf("unpack %d bytes of %v: %w", len(src), c, err)
	}
	return dst, nil
}

// compress appends the packed src to dst.
func compress(dst, src []byte, c Codec) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		return packStream(dst, src, w)
	case Snappy:
		return appendXerial(dst, src), nil
	case LZ4:
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		return packStream(dst, src, w)
	case Zstd:
		w := zstdEncoders.Get().(*zstd.Encoder)
		defer zstdEncoders.Put(w)
		return w.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("pack %d bytes: %v is not known to this build", len(src), c)
}

type resetWriter interface {
	io.WriteCloser
	Reset(io.Writer)
}

func packStream(dst, src []byte, w resetWriter) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	w.Reset(buf)
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("pack %d bytes: %w", len(src), err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack %d bytes: %w", len(src), err)
	}
	return buf.Bytes(), nil
}

// The encoders' and decoders' tables cost far more than a batch; all of them work
// without goroutines, so that the garbage collector may take them from the pools.
var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	lz4Readers  = sync.Pool{New: func() any { return lz4.NewReader(nil) }}
	lz4Writers  = sync.Pool{New: func() any {
		w := lz4.NewWriter(nil)
		// As Kafka's own writer: 64 KiB blocks, no content checksum (the batch has
		// a CRC). Independent blocks, which Kafka demands, are this writer's way.
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
			panic(err) // constant options
		}
		return w
	}}
	zstdEncoders = sync.Pool{New: func() any {
		// The default level is about Kafka's default (3): a re-encoded batch should
		// not outgrow the topic's max.message.bytes. A window of 1 MiB, Kafka's
		// default largest batch, keeps the encoders small.
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true),
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // constant options
		}
		return w
	}}
	zstdDecoders = sync.Pool{New: func() any {
		// 128 MiB is the window of Kafka's highest level (22).
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(MaxPlain), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			panic(err) // constant options
		}
		return r
	}}
)

func gunzip(dst, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return readAll(dst, r, limit)
}

func unlz4(dst, src []byte, limit int) ([]byte, error) {
	r := lz4Readers.Get().(*lz4.Reader)
	defer lz4Readers.Put(r)
	r.Reset(bytes.NewReader(src))
	return readAll(dst, r, limit)
}

// unzstd unpacks at once into memory sized by what the frame declares, as far as
// real data packs that tightly, or by a guess where it declares nothing (as with
// Java's writer). What turns out larger is unpacked again as a stream, where
// memory grows only with data that is really there.
func unzstd(dst, src []byte, limit int) ([]byte, error) {
	r := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(r)
	var first zstd.Header
	if err := first.Decode(src); err != nil {
		return nil, err
	}
	size := 8*len(src) + 1<<10
	if first.HasFCS && first.FrameContentSize <= 64*uint64(len(src))+1<<16 {
		size = int(first.FrameContentSize)
	}
	dst = slices.Grow(dst, min(size, limit))
	out, err := r.DecodeAll(src, dst)
	if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return out, err
	}
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	dst, err = readAll(dst, r, limit)
	if resetErr := r.Reset(nil); err == nil {
		err = resetErr
	}
	return dst, err
}

// readAll appends what r yields to dst, and stops soon behind limit.
func readAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) > limit {
			return nil, tooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// buffers holds memory for unpacked records; what one huge batch needed is left
// to the garbage collector.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const largestPooled = 16 << 20

func getBuffer(size int) *[]byte {
	p := buffers.Get().(*[]byte)
	if cap(*p) < size {
		*p = make([]byte, 0, size)
	}
	return p
}

func putBuffer(p *[]byte) {
	if cap(*p) <= largestPooled {
		*p = (*p)[:0]
		buffers.Put(p)
	}
}
