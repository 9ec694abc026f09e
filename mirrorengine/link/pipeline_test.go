package link

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// oneByOne writes n batches of one record each, in changing codecs.
func (s *site) oneByOne(t testing.TB, topic string, n int) {
	t.Helper()
	var clients []*kgo.Client
	// Not LZ4: its reader takes a block of 4 MiB for each of franz-go's frames, which
	// the race detector makes dear. Package batch merges it in its own tests.
	for _, c := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.ZstdCompression()} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(s.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(c), kgo.ProducerLinger(0))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		clients = append(clients, cl)
	}
	for i := range n {
		r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i%100), Value: fmt.Appendf(nil, "%d %080d", i, i)}
		if err := clients[i/50%len(clients)].ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// mergeTo are the options of an engine with other limits; without any it merges
// nothing.
func mergeTo(l batch.Limits) Options { return Options{merge: &l} }

func TestOneRecordBatchesCatchUpExactlyOnceThroughLostAnswersAndRefusals(t *testing.T) {
	const records = 2000
	for _, merged := range []bool{true, false} {
		t.Run(fmt.Sprintf("merged %v", merged), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			limits, hurts := batch.Limits{}, int64(20)
			if merged { // some 25 batches
				limits, hurts = batch.Limits{Packed: 8 << 10, Plain: 16 << 10}, 6
			}
			src, dst := newSite(t, "src"), newSite(t, "dst")
			src.topic(t, "orders", 1, nil)
			src.oneByOne(t, "orders", records)
			seen := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Count: -1, Observe: true})
			// Appended without an acknowledgement, and refused; only up to a number, so
			// that the end is reached.
			var hurt atomic.Int64
			for _, err := range []*kerr.Error{kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition, kerr.NotEnoughReplicas} {
				dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: err, Count: -1, When: func(kmsg.Request) bool {
					// The first one in any case. One cluster goroutine calls.
					if hurt.Load() >= hurts || hurt.Load() > 0 && rng.IntN(12) > 0 {
						return false
					}
					hurt.Add(1)
					return true
				}})
			}
			m, _ := newEngineWith(t, dst, mergeTo(limits))
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			awaitLagZero(t, m, src, "orders")
			if err := sameRecords(src.committed(t, "orders", 0), dst.committed(t, "orders", 0)); err != nil {
				t.Fatal(err)
			}
			requests := seen.Hits()
			t.Logf("%d records by %d produce requests, %d of them hurt", records, requests, hurt.Load())
			if merged && requests > records/20 {
				t.Errorf("%d requests for %d records: nothing was merged", requests, records)
			}
			if ends, err := dst.adm.ListEndOffsets(t.Context(), "orders"); err != nil || ends["orders"][0].Offset != records {
				t.Errorf("the mirror ends at %d (%v), want %d: no marker was needed", ends["orders"][0].Offset, err, records)
			}
		})
	}
}

func TestAMirrorThatTakesNoMergedBatchIsGivenThemAsTheyAre(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	limit := "4000"
	src.topic(t, "orders", 1, map[string]*string{"max.message.bytes": &limit})
	src.oneByOne(t, "orders", 300)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	// kfake does not look at max.message.bytes.
	dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.MessageTooLarge, Count: -1, When: func(r kmsg.Request) bool {
		for _, rt := range r.(*kmsg.ProduceRequest).Topics {
			for _, rp := range rt.Partitions {
				if len(rp.Records) > 4000 {
					return true
				}
			}
		}
		return false
	}})
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	if err := sameRecords(src.committed(t, "orders", 0), dst.committed(t, "orders", 0)); err != nil {
		t.Fatal(err)
	}
}

// Segments stand in the state topic, their batches are refused; meanwhile the
// source stays what it was, or is compacted.
func TestSegmentsOfAnEarlierTryStayUntilTheSourceSaysOtherwise(t *testing.T) {
	t.Parallel()
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted %v", compacted), func(t *testing.T) {
			src, dst := newSite(t, "src"), newSite(t, "dst")
			policy, small := "compact", "100"
			src.topic(t, "keyed", 1, map[string]*string{"cleanup.policy": &policy, "segment.bytes": &small})
			write := func(n int) { // squares leave gaps
				for i := range n {
					r := &kgo.Record{Topic: "keyed", Key: fmt.Appendf(nil, "k%d", i*i%23), Value: fmt.Appendf(nil, "v%d", i)}
					if err := src.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
			write(60)
			src.Compact()
			write(5)
			refuse := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "keyed", Err: kerr.NotEnoughReplicas, Count: -1})
			m, stop := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "keyed")
			segments := func(m *Manager) (out int) {
				segs, err := m.Segments(t.Context(), "l", "keyed")
				if err != nil {
					t.Fatal(err)
				}
				return len(segs.Partitions[0].Segments)
			}
			eventually(t, "segments are written ahead and a batch is refused", func() error {
				if n, hits := segments(m), refuse.Hits(); n < 2 || hits < 2 {
					return fmt.Errorf("%d segments, %d refusals", n, hits)
				}
				return nil
			})
			ahead := segments(m)
			stop() // the next engine knows of them by the state topic only
			if compacted {
				src.Compact()
			}
			refuse.Remove()
			m, _ = newEngine(t, dst)
			awaitLagZero(t, m, src, "keyed")
			want, got := src.committed(t, "keyed", 0), dst.committed(t, "keyed", 0)
			if err := sameRecords(want, got); err != nil {
				t.Fatal(err)
			}
			for i, s := range segmentsOf(t, m, "keyed") {
				if i > 0 && s.ProducerEpoch != map[bool]int16{true: 1}[compacted] {
					t.Errorf("segment %d has epoch %d: a fence was put, or none: %+v", i, s.ProducerEpoch, s)
				}
			}
			om := segmentsMap(t, m, "keyed")
			for i := range got {
				if s := om.ToSource(got[i].Offset); s != want[i].Offset {
					t.Fatalf("record %d at mirror offset %d leads to source offset %d, it is at %d", i, got[i].Offset, s, want[i].Offset)
				}
			}
			if n := segments(m); !compacted && n != ahead {
				t.Errorf("%d segments, there were %d", n, ahead)
			}
		})
	}
}

func TestBatchesFollowEachOtherOnlyWhereTheBrokerKnowsTheProducer(t *testing.T) {
	out := func(size int) batch.Out { return batch.Out{Bytes: make([]byte, size)} }
	now := time.Now()
	old := now.Add(-remembered - time.Minute)
	way := func(n int, newest time.Time) (w []underway) {
		for range n {
			w = append(w, underway{out: out(100), newest: newest})
		}
		return w
	}
	for name, tc := range map[string]struct {
		line pipeline
		size int
		want bool
	}{
		"nothing under way":             {pipeline{}, 100, true},
		"nothing under way, huge":       {pipeline{}, 100 << 20, true},
		"the first is not acknowledged": {pipeline{way: way(1, now)}, 100, false},
		"it is":                         {pipeline{way: way(1, now), acked: 1, last: now}, 100, true},
		"the broker forgets the last one, which was old or has grown old": {pipeline{way: way(1, now), acked: 1, last: old}, 100, false},
		"the broker forgets what comes":                                   {pipeline{way: way(1, old), acked: 1, last: now}, 100, false},
		"as many as may be":                                               {pipeline{way: way(windowBatches, now), acked: 1, last: now}, 100, false},
		"as many bytes as may be":                                         {pipeline{way: way(1, now), size: windowBytes, acked: 1, last: now}, 100, false},
		"more than may be, but it goes next":                              {pipeline{acked: 1, last: now}, windowBytes + 1, true},
	} {
		if got := tc.line.room(out(tc.size)); got != tc.want {
			t.Errorf("%s: room %v, want %v", name, got, tc.want)
		}
	}
}

func TestOldRecordsGoOneBatchAtATime(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{0, 7 * 24 * time.Hour} {
		src, dst := newSite(t, "src"), newSite(t, "dst")
		src.topic(t, "orders", 1, nil)
		for i := range 60 {
			r := &kgo.Record{Topic: "orders", Timestamp: time.Now().Add(-age), Value: fmt.Appendf(nil, "v%d", i)}
			if err := src.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		m, _ := newEngineWith(t, dst, mergeTo(batch.Limits{}))
		// The first request is slow, and the writer shows what waits behind it.
		most := 0
		dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Count: -1, Observe: true, When: func(kmsg.Request) bool {
			m.writers.mu.Lock()
			defer m.writers.mu.Unlock()
			for _, l := range m.writers.m {
				most = max(most, len(l.queue))
			}
			return true
		}})
		newTestLink(t, m, src, nil)
		newTestMirror(t, m, "orders")
		awaitLagZero(t, m, src, "orders")
		if err := sameRecords(src.committed(t, "orders", 0), dst.committed(t, "orders", 0)); err != nil {
			t.Fatal(err)
		}
		if (most == 0) != (age > 0) || most >= windowBatches {
			t.Errorf("records of %v ago: up to %d batches waited behind the one that was produced", age, most)
		}
	}
}

// A partition that stops for another reason must not say that it stops because
// it stopped.
func TestAGivenUpBatchIsNoErrorOfItsOwn(t *testing.T) {
	l := &pipeline{p: &partition{}, way: make([]underway, 2)}
	if err := l.answered(produced{err: fmt.Errorf("not sent: %w", errGivenUp)}); err != nil || len(l.way) != 1 {
		t.Errorf("got %v, %d under way", err, len(l.way))
	}
}
