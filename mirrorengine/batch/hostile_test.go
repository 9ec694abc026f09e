package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// allocated is how many bytes f took from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// raw makes a v2 batch whose packed records are given as they are.
func raw(codec Codec, count, lastDelta int32, packed []byte) Batch {
	p := append(make([]byte, headerSize), packed...)
	seal(p, header{attributes: int16(codec), count: count, lastDelta: lastDelta}, stamp)
	bs, err := Split(p)
	if err != nil {
		panic(err)
	}
	return bs[0]
}

// zstdClaiming is a frame that declares a size and holds next to nothing.
func zstdClaiming(size uint64) []byte {
	p := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0} // single segment, 8 bytes of size
	p = binary.LittleEndian.AppendUint64(p, size)
	return append(p, 0x01, 0, 0) // a last, empty raw block
}

func TestSmallBatchesThatClaimHugeSizesTakeLittleMemory(t *testing.T) {
	xerial := append(append([]byte(nil), xerialHeader...), 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x07)
	for name, b := range map[string]Batch{
		"count":            raw(None, math.MaxInt32, math.MaxInt32-1, []byte{1, 2, 3}),
		"count with a gap": raw(None, math.MaxInt32-1, math.MaxInt32-1, []byte{1, 2, 3}),
		"zstd size":        raw(Zstd, 1, 2, zstdClaiming(200<<20)),
		"zstd huge size":   raw(Zstd, 1, 2, zstdClaiming(1<<60)),
		"snappy size":      raw(Snappy, 1, 2, []byte{0xff, 0xff, 0xff, 0xff, 0x07, 0}),
		"xerial size":      raw(Snappy, 1, 2, xerial),
		"record length":    raw(None, 1, 2, binary.AppendVarint(nil, math.MaxInt32)),
		"header count":     raw(None, 1, 2, append([]byte{20, 0, 0, 0, 1, 1}, 0xfe, 0xff, 0xff, 0xff, 0x0f)),
	} {
		var err error
		took := allocated(func() { _, err = b.Records() })
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Records gives %v", name, err)
		}
		took += allocated(func() { _, err = Rewrite(b, stamp, 1) })
		if err == nil && name != "header count" { // Rewrite copies bodies unread
			t.Errorf("%s: Rewrite gives no error", name)
		}
		if took > 12<<20 {
			t.Errorf("%s: %d bytes of memory for a batch of %d", name, took, b.Len())
		}
	}
}

func TestABombIsAnError(t *testing.T) {
	const limit = 4 << 20
	mib := make([]byte, 1<<20)
	for name, tc := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"gzip members":  {Gzip, bytes.Repeat(pack(t, mib, Gzip), 5)},
		"zstd frames":   {Zstd, bytes.Repeat(pack(t, mib, Zstd), 5)},
		"zstd unsized":  {Zstd, unsized(t, make([]byte, 5<<20))},
		"lz4":           {LZ4, pack(t, make([]byte, 5<<20), LZ4)},
		"snappy":        {Snappy, pack(t, make([]byte, 5<<20), Snappy)},
		"snappy blocks": {Snappy, appendXerial(nil, make([]byte, 5<<20))},
	} {
		var err error
		took := allocated(func() { _, err = decompressUpTo(nil, tc.src, tc.codec, limit) })
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "4194304") {
			t.Errorf("%s of %d bytes: %v", name, len(tc.src), err)
		}
		if took > 10*limit {
			t.Errorf("%s took %d bytes of memory", name, took)
		}
		if _, err := decompressUpTo(nil, tc.src, tc.codec, 5<<20); err != nil {
			t.Errorf("%s, with room enough: %v", name, err)
		}
	}
	bomb := raw(Zstd, 1, 2, bytes.Repeat(pack(t, mib, Zstd), MaxPlain>>20+1))
	if _, err := Rewrite(bomb, stamp, 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a bomb of %d bytes: %v", bomb.Len(), err)
	}
}

// unsized packs as Java's writer does, a stream that does not say its size.
func unsized(t *testing.T, plain []byte) []byte {
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestSplitDropsACutOffBatchAndRefusesGarbage(t *testing.T) {
	one := build(t, spec{base: 10, last: 10, records: []Record{{Offset: 10, Value: []byte("v")}}})
	two := build(t, spec{base: 11, last: 11, records: []Record{{Offset: 11, Value: []byte("v")}}})
	both := append(append([]byte(nil), one...), two...)
	for cut := range both {
		bs, err := Split(both[:cut])
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if want := cut / len(one); len(bs) != want {
			t.Fatalf("cut at %d: %d batches, want %d", cut, len(bs), want)
		}
	}
	spoil := func(f func(p []byte)) []byte {
		p := append([]byte(nil), both...)
		f(p[len(one):])
		return p
	}
	for name, p := range map[string][]byte{
		"unknown magic":          spoil(func(p []byte) { p[posMagic] = 3 }),
		"negative length":        spoil(func(p []byte) { p[posLength] = 0x80 }),
		"length below a header":  spoil(func(p []byte) { copy(p[posLength:], []byte{0, 0, 0, 48}) }),
		"negative offset":        spoil(func(p []byte) { p[0] = 0x80 }),
		"offset before the last": spoil(func(p []byte) { p[7] = 10 }),
		"offset beyond int64":    spoil(func(p []byte) { copy(p, []byte{0x7f, 255, 255, 255, 255, 255, 255, 255}) }),
		"negative count":         spoil(func(p []byte) { p[posNumRecords] = 0x80 }),
		"count over the delta":   spoil(func(p []byte) { p[posNumRecords+3] = 2 }),
		"text":                   append(append([]byte(nil), one...), "HTTP/1.1 400 Bad Request\r\n"...),
	} {
		bs, err := Split(p)
		if !errors.Is(err, ErrCorrupt) || len(bs) != 1 {
			t.Errorf("%s: %d batches and error %v; want the first batch and an error", name, len(bs), err)
		}
	}
}

func TestSnappyFramesOfJavaAreReadAndWritten(t *testing.T) {
	plain := bytes.Repeat([]byte("drawbridge over the river "), 5000) // several blocks
	packed := appendXerial(nil, plain)
	if !bytes.HasPrefix(packed, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")) {
		t.Fatalf("no frame header: % x", packed[:16])
	}
	for name, p := range map[string][]byte{
		"one frame":  packed,
		"two frames": append(append([]byte(nil), appendXerial(nil, plain[:1000])...), appendXerial(nil, plain[1000:])...),
		"bare":       pack(t, plain, Snappy),
	} {
		got, err := decompress(nil, p, Snappy)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
	}
	for cut := 17; cut < len(packed); cut += 997 {
		if got, err := decompress(nil, packed[:cut], Snappy); err == nil && bytes.Equal(got, plain) {
			t.Errorf("cut at %d and still whole", cut)
		}
	}
}
