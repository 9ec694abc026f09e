package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
)

// workload is what the topic of a case holds.
type workload struct {
	name  string
	codec kgo.CompressionCodec
	value int // bytes of a record's value; its key has keyBytes
	batch int // bytes of records per batch before compression; 0: one record
	rival string
}

// sourceBatch is as much as the tuned MirrorMaker's own producer puts into a batch, so that both mirrors may hand the
// destination batches of the same size. Larger ones favour the engine, smaller ones MirrorMaker.
const sourceBatch = mirrorMakerBatch

// partitions of every topic: enough that neither mirror is bound by one partition's order.
const partitions = 12

var workloads = []workload{
	{measure.None1K, kgo.NoCompression(), 1024, sourceBatch, measure.MirrorMaker},
	{measure.None100B, kgo.NoCompression(), 100, sourceBatch, measure.MirrorMaker},
	{measure.LZ4, kgo.Lz4Compression(), 1024, sourceBatch, measure.MirrorMaker},
	{measure.Zstd, kgo.ZstdCompression(), 1024, sourceBatch, measure.MirrorMaker},
	{measure.Tiny, kgo.NoCompression(), 1024, 0, measure.Plain},
}

// codecNames are as Kafka's configurations write them.
func codecName(c kgo.CompressionCodec) string {
	switch c {
	case kgo.Lz4Compression():
		return "lz4"
	case kgo.ZstdCompression():
		return "zstd"
	}
	return "none"
}

// sizes say how much is measured.
type sizes struct {
	repeats int
	bytes   map[string]int64 // keys and values of one topic, by case
	warmup  int64            // bytes that a mirror copies, of the case to come, before it is measured
	warmups int              // how often
	relay   int64

	latencyRepeats int
	latencyWarmup  time.Duration
	latency        time.Duration
	rate           float64 // records per second of the latency; 0: half load
}

const mib = 1 << 20

var (
	quickSizes = sizes{
		repeats: 3,
		bytes: map[string]int64{
			measure.None1K: 640 * mib, measure.None100B: 256 * mib, measure.LZ4: 512 * mib, measure.Zstd: 512 * mib, measure.Tiny: 64 * mib,
		},
		warmup: 384 * mib, warmups: 3,
		relay:          2048 * mib,
		latencyRepeats: 2, latencyWarmup: 3 * time.Second, latency: 10 * time.Second,
	}
	fullSizes = sizes{
		repeats: 5,
		bytes: map[string]int64{
			measure.None1K: 2048 * mib, measure.None100B: 768 * mib, measure.LZ4: 2048 * mib, measure.Zstd: 2048 * mib, measure.Tiny: 256 * mib,
		},
		warmup: 1024 * mib, warmups: 4,
		relay:          8192 * mib,
		latencyRepeats: 5, latencyWarmup: 10 * time.Second, latency: 60 * time.Second,
	}
)
