package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
)

var codecs = []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}

// produceTxns writes n small transactions, some aborted, in all codecs, with
// plain records between them; it is what gives a mirror holes to map.
func (s *site) produceTxns(t *testing.T, rng *rand.Rand, topic string, n int) {
	t.Helper()
	for i := range n {
		cl := newClient(t, s.ListenAddrs(), kgo.TransactionalID(fmt.Sprintf("tx-%d-%d", i, rng.Uint32())), kgo.ProducerBatchCompression(codecs[rng.IntN(len(codecs))]))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for j := range 1 + rng.IntN(5) {
			r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "t%d-%d %s", i, j, bytes.Repeat([]byte("x"), rng.IntN(50)))}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		commit := kgo.TransactionEndTry(rng.IntN(3) > 0)
		if err := cl.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
		cl.Close()
		if rng.IntN(2) == 0 {
			s.produce(t, topic, 0, i*1000, 1+rng.IntN(3))
		}
	}
}

// committed reads what a read_committed consumer sees up to the log's end.
func (s *site) committed(t *testing.T, topic string, p int32) []*kgo.Record {
	t.Helper()
	ends, err := s.adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, p)
	cl := newClient(t, s.ListenAddrs(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out []*kgo.Record
	for at := int64(0); at < end.Offset; {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("%s partition %d at %d of %d: %v", topic, p, at, end.Offset, err)
		}
		for _, r := range f.Records() {
			at = r.Offset + 1
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
		}
		// Aborted data at the very end shows no record; the abort marker does.
	}
	return out
}

func TestTheMirrorIsTheSourcesCommittedViewAndItsMapIsExact(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	src, dst, m, stop := orders{}.mirror(t)
	for range 3 {
		src.produceTxns(t, rng, "orders", 8)
		awaitLagZero(t, m, src, "orders")
		stop()
		m, stop = newEngine(t, dst)
	}
	src.produceTxns(t, rng, "orders", 8)
	awaitLagZero(t, m, src, "orders")
	want, got := src.committed(t, "orders", 0), dst.committed(t, "orders", 0)
	if err := sameRecords(want, got); err != nil {
		t.Fatal(err)
	}
	om := segmentsMap(t, m, "orders")
	for i := range got {
		if s := om.ToSource(got[i].Offset); s != want[i].Offset {
			t.Fatalf("record %d at mirror offset %d maps to source offset %d, it is at %d", i, got[i].Offset, s, want[i].Offset)
		}
	}
}

// segmentsOf are a mirror's segments of partition 0, as the API tells them.
func segmentsOf(t *testing.T, m *Manager, topic string) (list []offsetmap.Segment) {
	t.Helper()
	segs, err := m.Segments(t.Context(), "l", topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segs.Partitions[0].Segments {
		list = append(list, offsetmap.Segment(s))
	}
	return list
}

func segmentsMap(t *testing.T, m *Manager, topic string) *offsetmap.Map {
	t.Helper()
	om, err := offsetmap.New(segmentsOf(t, m, topic))
	if err != nil {
		t.Fatal(err)
	}
	return om
}

func sameRecords(want, got []*kgo.Record) error {
	var errs []error
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			errs = append(errs, fmt.Errorf("%d records are missing from %q on", len(want)-i, want[i].Value))
		case i >= len(want):
			errs = append(errs, fmt.Errorf("%d records too many from %q on", len(got)-i, got[i].Value))
		case !bytes.Equal(want[i].Value, got[i].Value) || !bytes.Equal(want[i].Key, got[i].Key) || want[i].Timestamp != got[i].Timestamp:
			errs = append(errs, fmt.Errorf("record %d is %q, want %q", i, got[i].Value, want[i].Value))
		default:
			continue
		}
		break
	}
	return errors.Join(errs...)
}

func TestACompactedSourceIsMirroredWithItsGaps(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	policy := "compact"
	small := "100"
	src.topic(t, "keyed", 1, map[string]*string{"cleanup.policy": &policy, "segment.bytes": &small})
	for i := range 60 {
		r := &kgo.Record{Topic: "keyed", Key: fmt.Appendf(nil, "k%d", i%7), Value: fmt.Appendf(nil, "v%d", i)}
		if err := src.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	src.Compact()
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "keyed")
	awaitLagZero(t, m, src, "keyed")
	want, got := src.committed(t, "keyed", 0), dst.committed(t, "keyed", 0)
	if len(want) == 60 {
		t.Fatal("the source was not compacted: the test shows nothing")
	}
	if err := sameRecords(want, got); err != nil {
		t.Fatal(err)
	}
}
