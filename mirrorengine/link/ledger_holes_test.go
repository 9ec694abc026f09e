package link

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// A log of offsets 10 to 29 that was compacted: 10 whole, 11 to 14 gone with their
// batch, 15 and 17 of a batch 15 to 18, an aborted batch at 20 with its marker, 22
// to 24 a batch of which nothing is left, 26 whole.
func TestHolesOfACompactedLogAreNamedAndNothingElse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	rec := func(n int) (out []batch.Record) {
		for range n {
			out = append(out, batch.Record{Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte("v")})
		}
		return out
	}
	empty := sealed((&kmsg.RecordBatch{FirstOffset: 22, PartitionLeaderEpoch: 1, Magic: 2, LastOffsetDelta: 2, ProducerID: 7}).AppendTo(nil))
	var set []byte
	for _, b := range [][]byte{
		dataBatch(t, r, 10, 10, []int64{10}, rec(1), -1, 0, 1),
		dataBatch(t, r, 15, 18, []int64{15, 17}, rec(2), -1, 0, 1),
		dataBatch(t, r, 20, 20, []int64{20}, rec(1), 100, 0x10, 1),
		markerBatch(21, 100, true, 1),
		empty,
		dataBatch(t, r, 26, 26, []int64{26}, rec(1), -1, 0, 1),
	} {
		set = append(set, b...)
	}
	p := &kmsg.FetchResponseTopicPartition{RecordBatches: set, HighWatermark: 30}
	p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 100, FirstOffset: 20}}
	h := &holes{at: 10}
	var read []int64
	err := readChunk(p, 10).each(10, 30, true, h.held, func(r *batch.Record) error {
		read = append(read, r.Offset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int64{10, 15, 17, 26}, read); d != "" {
		t.Errorf("records: -want +got:\n%s", d)
	}
	want := []offsetRange{{11, 15}, {16, 17}, {18, 20}, {22, 26}, {27, 30}}
	got, more := h.until(30)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(offsetRange{})); d != "" || more != 0 {
		t.Errorf("holes: %d more, -want +got:\n%s", more, d)
	}
}

// A million of them would not fit into the state topic.
func TestNotEveryHoleOfABusyCompactedTopicIsListed(t *testing.T) {
	t.Parallel()
	h := &holes{}
	for at := int64(1); at < 1_000_000; at += 2 {
		h.held(at, at)
	}
	found, more := h.until(1_000_001)
	if len(found) != api.CompactionGaps || int64(len(found))+more != 500_001 || found[1] != (offsetRange{2, 3}) {
		t.Errorf("%d found, %d more: %v", len(found), more, found[:2])
	}
}

func TestEachUnrecoverableGapIsNamedWithItsCause(t *testing.T) {
	t.Parallel()
	src, _, m, _ := orders{partitions: 2, records: 10}.mirror(t)
	if err := linkOf(t, m).recordGap(t.Context(), mirrorOf(t, m, "orders").parts()[0], 3, 7); err != nil {
		t.Fatal(err)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	src.produce(t, "orders", 0, 10, 5)
	src.produce(t, "orders", 1, 0, 2)
	cut := kadm.Offsets{}
	cut.Add(kadm.Offset{Topic: "orders", At: 12})
	if _, err := src.adm.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	got := computed(t, m)
	if d := cmp.Diff([]api.LedgerGap{{From: 3, To: 7, Cause: api.GapRetention}, {From: 10, To: 12, Cause: api.GapRetention}}, got[0].Gaps); d != "" || got[0].Unrecoverable != 6 {
		t.Errorf("%+v: -want +got:\n%s", got[0], d)
	}
	if len(got[1].Gaps) > 0 || got[1].Records != 2 {
		t.Errorf("a partition that lost nothing: %+v", got[1])
	}
	if _, err := src.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	got = computed(t, m)
	if d := cmp.Diff([]api.LedgerGap{{From: 0, To: 2, Cause: api.GapDeleted}}, got[1].Gaps); d != "" || got[1].Unrecoverable != 2 {
		t.Errorf("%+v: -want +got:\n%s", got[1], d)
	}
}

func TestSupersededKeysAreCountedOnceAndAFewAreShownByTheirPlaces(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 5, nil)
	src.keyed(t, "orders", 0, "ann@example.com=1", "ann@example.com=2", "b=1", "c=1", "d=1", "e=1", "f=1", "g=1")
	dst.keyed(t, "orders", 0, "x=0", "ann@example.com=9", "b=9", "ann@example.com=10", "c=9", "d=9", "e=9", "f=9")
	e := computed(t, m)[0]
	if e.Records != 8 || e.Superseded != 7 || e.SupersededKeys != 6 {
		t.Errorf("%+v", e)
	}
	if b, err := json.Marshal(e); err != nil || strings.Contains(string(b), "ann@") {
		t.Errorf("a ledger is no place for keys: %s, %v", b, err)
	}
	own := behind(t, m, dst, 0)[0].Offset // of x; ann's last lagged record is at 6
	var want []api.SupersededRecord
	for i, later := range []int64{1, 2, 4, 5, 6} {
		want = append(want, api.SupersededRecord{Offset: int64(6 + i), LaterPartition: 0, LaterOffset: own + later})
	}
	if d := cmp.Diff(want, e.SupersededAt); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
