package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

var decision = api.DecideLedger{DecidedBy: "ann", Reason: "they are orders"}

// failedOver is a mirror of "orders" that was failed over with n records.
func failedOver(t *testing.T, n int, configs map[string]*string) (src, dst *site, m *Manager) {
	t.Helper()
	src, dst, m, _ = orders{partitions: 2, records: n, topic: configs}.mirror(t)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	return src, dst, m
}

// keyed writes records "key=value".
func (s *site) keyed(t *testing.T, topic string, p int32, records ...string) {
	t.Helper()
	for _, kv := range records {
		k, v, _ := strings.Cut(kv, "=")
		r := &kgo.Record{Topic: topic, Partition: p, Key: []byte(k), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "own", Value: []byte("h")}}}
		if err := s.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// behind reads what stands on partition p from the stop offset on, without
// markers.
func behind(t *testing.T, m *Manager, s *site, p int32) []*kgo.Record {
	t.Helper()
	mt := mirrorOf(t, m, "orders")
	var out []*kgo.Record
	for _, r := range s.committed(t, "orders", p) {
		if r.Offset >= mt.parts()[p].stop.DestStop && !r.Attrs.IsControl() {
			out = append(out, r)
		}
	}
	return out
}

func computed(t *testing.T, m *Manager) map[int32]api.LedgerEntry {
	t.Helper()
	got, err := m.ComputeLedger(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	return entries(got)
}

func entries(got api.Ledger) map[int32]api.LedgerEntry {
	out := map[int32]api.LedgerEntry{}
	for _, e := range got.Entries {
		out[e.Partition] = e
	}
	return out
}

func appended(t *testing.T, m *Manager) map[int32]api.LedgerEntry {
	t.Helper()
	got, err := m.AppendLedger(t.Context(), "l", decision)
	if err != nil {
		t.Fatal(err)
	}
	return entries(got)
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestLedgerCountsExactlyWhatTheMirrorNeverGot(t *testing.T) {
	t.Parallel()
	src, _, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	src.commit(t, "ahead", "orders", 0, 12)
	src.commit(t, "far", "orders", 0, 13)
	src.commit(t, "behind", "orders", 0, 10)
	got := computed(t, m)
	e := got[0]
	if e.From != 10 || e.To != 13 || e.Records != 3 || e.Keyed != 0 || e.Decision != api.LedgerUndecided || e.Bytes != 9 || e.FirstTime.IsZero() || e.LastTime.Before(e.FirstTime) {
		t.Errorf("%+v", e)
	}
	if len(e.Redelivered) != 2 || e.Redelivered["ahead"] != 2 || e.Redelivered["far"] != 3 {
		t.Errorf("redelivered %v", e.Redelivered)
	}
	if e := got[1]; e.Decision != api.LedgerNothing || e.Records != 0 {
		t.Errorf("partition without lag: %+v", e)
	}
}

func TestAppendedRecordsStandBehindTheNewPrimarysOwnOnce(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.keyed(t, "orders", 0, "a=1", "b=2")
	src.produce(t, "orders", 0, 99, 1)
	dst.produce(t, "orders", 0, 500, 2)
	computed(t, m)
	e := appended(t, m)[0]
	for range 2 {
		again := appended(t, m)[0]
		if again.Appended != e.Appended || again.Decision != api.LedgerAppended {
			t.Errorf("again %+v", again)
		}
	}
	got := behind(t, m, dst, 0)
	if values(got) != "v500 v501 1 2 v99" {
		t.Fatalf("got %s", values(got))
	}
	if e.Decision != api.LedgerAppended || e.DecidedBy != "ann" || e.Appended != 3 || e.AppendedFrom != got[2].Offset || e.AppendedTo != got[4].Offset+1 {
		t.Errorf("%+v", e)
	}
	from := src.read(t, "orders", 0, 10, 3)
	for i, r := range got[2:] {
		if string(r.Key) != string(from[i].Key) || (r.Key == nil) != (from[i].Key == nil) || !r.Timestamp.Equal(from[i].Timestamp) {
			t.Errorf("record %d: key %q at %s, want %q at %s", i, r.Key, r.Timestamp, from[i].Key, from[i].Timestamp)
		}
		if header(r, api.RecordHeaderLink) != "l" || header(r, api.RecordHeaderTopic) != "orders" || header(r, api.RecordHeaderPartition) != "0" || header(r, api.RecordHeaderOffset) != fmt.Sprint(10+i) {
			t.Errorf("record %d: headers %v", i, r.Headers)
		}
	}
	if header(got[2], "own") != "h" {
		t.Error("the record's own headers are gone")
	}
}

func TestAppendGoesOnWhereItWasInterrupted(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 1, nil)
	const n = 4*chunkRecords + 7
	src.produce(t, "orders", 0, 0, n)
	if e := computed(t, m)[0]; e.Records != n {
		t.Fatalf("%+v", e)
	}
	// Each time the caller goes away while a chunk is on its way to the broker.
	var interrupt atomic.Pointer[context.CancelFunc]
	var chunks atomic.Int32
	dst.onProduce(t, "orders", func() {
		if f := interrupt.Load(); f != nil && chunks.Add(-1) == 0 {
			(*f)()
		}
	})
	for _, stopAt := range []int32{1, 2, 1} {
		ctx, cancel := context.WithCancel(t.Context())
		chunks.Store(stopAt)
		interrupt.Store(&cancel)
		if _, err := m.AppendLedger(ctx, "l", decision); !errors.Is(err, context.Canceled) {
			t.Errorf("append was interrupted, got %v", err)
		}
		cancel()
		l, err := m.Ledger(t.Context(), "l")
		if err != nil {
			t.Fatal(err)
		}
		if e := entries(l)[0]; e.Decision != api.LedgerUndecided {
			t.Errorf("half appended and %s", e.Decision)
		}
		if _, err := m.DiscardLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) {
			t.Errorf("discard of what is half appended: %v", err)
		}
	}
	interrupt.Store(nil)
	if e := appended(t, m)[0]; e.Appended != n {
		t.Errorf("%+v", e)
	}
	got, want := values(behind(t, m, dst, 0)), values(src.read(t, "orders", 0, 1, n))
	if got != want {
		t.Errorf("%d records instead of %d, or not in order", len(strings.Fields(got)), n)
	}
}

// onProduce calls f for every produce request to a topic, before it is served.
func (s *site) onProduce(t *testing.T, topic string, f func()) {
	t.Helper()
	meta, err := s.adm.Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	id := meta.Topics[topic].ID
	s.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.KeepControl()
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			if rt.Topic == topic || rt.TopicID == id {
				f()
			}
		}
		return nil, nil, false
	})
}

func TestAppendToACompactedTopicLeavesSupersededKeysOut(t *testing.T) {
	t.Parallel()
	compact := "compact"
	src, dst, m := failedOver(t, 0, map[string]*string{"cleanup.policy": &compact})
	src.keyed(t, "orders", 0, "a=old", "b=1", "b=2", "c=")
	dst.keyed(t, "orders", 0, "a=new", "z=1")
	if e := computed(t, m)[0]; !e.Compacted || e.Records != 4 || e.Keyed != 4 || e.Superseded != 1 {
		t.Errorf("%+v", e)
	}
	if e := appended(t, m)[0]; e.Appended != 3 || e.Superseded != 1 || e.Decision != api.LedgerAppended {
		t.Errorf("%+v", e)
	}
	if got := values(behind(t, m, dst, 0)); got != "new 1 1 2 " {
		t.Errorf("got %q", got)
	}
	// Its own copies supersede nothing.
	src.keyed(t, "orders", 0, "b=3")
	if e := computed(t, m)[0]; e.Superseded != 1 || e.Records != 5 || e.Decision != api.LedgerUndecided {
		t.Errorf("after appending: %+v", e)
	}
	if e := appended(t, m)[0]; e.Appended != 4 {
		t.Errorf("%+v", e)
	}
	if got := values(behind(t, m, dst, 0)); got != "new 1 1 2  3" {
		t.Errorf("got %q", got)
	}
}

func TestSupersededKeysOfAnOrdinaryTopicAreCountedAndAppended(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 5, nil)
	src.keyed(t, "orders", 0, "a=1", "a=2", "b=1")
	dst.keyed(t, "orders", 0, "a=9")
	if e := computed(t, m)[0]; e.Superseded != 2 || e.Keyed != 3 || e.Compacted {
		t.Errorf("%+v", e)
	}
	appended(t, m)
	if got := values(behind(t, m, dst, 0)); got != "9 1 2 1" {
		t.Errorf("got %s", got)
	}
}

func TestAbortedRecordsAreNotLagged(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 5, nil)
	src.transaction(t, "orders", false, "dropped")
	src.transaction(t, "orders", true, "kept")
	src.transaction(t, "orders", false, "dropped too")
	if e := computed(t, m)[0]; e.Records != 1 || e.From != 5 || e.To != 11 {
		t.Errorf("%+v", e)
	}
	appended(t, m)
	if got := values(behind(t, m, dst, 0)); got != "kept" {
		t.Errorf("got %s", got)
	}
}

func TestOpenTransactionAtTheOldPrimaryHoldsTheLedger(t *testing.T) {
	t.Parallel()
	src, _, m := failedOver(t, 5, nil)
	cl := newClient(t, src.ListenAddrs(), kgo.TransactionalID("open"))
	begin(t, cl, "orders", 0, "x")
	if _, err := m.ComputeLedger(t.Context(), "l"); !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "transaction is open") {
		t.Errorf("got %v", err)
	}
	end(t, cl, true)
	if e := computed(t, m)[0]; e.Records != 1 {
		t.Errorf("%+v", e)
	}
}

func TestExportedRecordsStandInATopicOfTheirOwnOnce(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	src.keyed(t, "orders", 1, "k=x")
	computed(t, m)
	for range 2 {
		got, err := m.ExportLedger(t.Context(), "l", decision)
		if err != nil {
			t.Fatal(err)
		}
		if got.Topic != "drawbridge.ledger.l.orders" || got.Records != 4 || len(got.Entries) != 2 || got.Entries[0].Decision != api.LedgerExported {
			t.Errorf("%+v", got)
		}
	}
	recs := dst.committed(t, "drawbridge.ledger.l.orders", 0)
	if values(recs) != "v10 v11 v12" || header(recs[2], api.RecordHeaderOffset) != "12" {
		t.Errorf("got %s", values(recs))
	}
	if got := values(dst.committed(t, "drawbridge.ledger.l.orders", 1)); got != "x" {
		t.Errorf("partition 1: %s", got)
	}
	if got := behind(t, m, dst, 0); len(got) != 0 {
		t.Errorf("the topic itself got %s", values(got))
	}
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) {
		t.Errorf("append of exported records: %v", err)
	}
	configs, err := dst.adm.DescribeTopicConfigs(t.Context(), "drawbridge.ledger.l.orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" && c.MaybeValue() != "-1" {
			t.Errorf("retention.ms %s", c.MaybeValue())
		}
	}
}

func TestExportArchivesWhatWasAppendedAndTheDecisionStays(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	computed(t, m)
	appended(t, m)
	got, err := m.ExportLedger(t.Context(), "l", api.DecideLedger{DecidedBy: "bob", Topics: []string{"orders"}})
	if err != nil || got.Records != 3 || got.Entries[0].Decision != api.LedgerAppended || got.Entries[0].DecidedBy != "ann" {
		t.Errorf("%+v %v", got, err)
	}
	if got := values(dst.committed(t, "drawbridge.ledger.l.orders", 0)); got != "v10 v11 v12" {
		t.Errorf("got %s", got)
	}
}

func TestDecisionIsTakenOnce(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "compute the ledger") {
		t.Errorf("append before the ledger was computed: %v", err)
	}
	computed(t, m)
	for range 2 {
		got, err := m.DiscardLedger(t.Context(), "l", decision)
		if err != nil || entries(got)[0].Decision != api.LedgerDiscarded || entries(got)[1].Decision != api.LedgerNothing {
			t.Fatalf("%+v %v", got, err)
		}
	}
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "by ann: they are orders") {
		t.Errorf("append of discarded records: %v", err)
	}
	if got := behind(t, m, dst, 0); len(got) != 0 {
		t.Errorf("the topic got %s", values(got))
	}
	if e := computed(t, m)[0]; e.Decision != api.LedgerDiscarded || e.Records != 3 {
		t.Errorf("computed again: %+v", e)
	}
	src.produce(t, "orders", 0, 13, 1)
	if e := computed(t, m)[0]; e.Decision != api.LedgerUndecided || e.Records != 4 {
		t.Errorf("after the old primary got more: %+v", e)
	}
}

func TestOldPrimaryThatGotMoreIsFoundBeforeAppending(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	computed(t, m)
	src.produce(t, "orders", 0, 13, 2)
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) || !strings.Contains(err.Error(), "ends at 15") {
		t.Errorf("got %v", err)
	}
	computed(t, m)
	appended(t, m)
	src.produce(t, "orders", 0, 15, 1)
	if e := computed(t, m)[0]; e.Decision != api.LedgerUndecided {
		t.Errorf("%+v", e)
	}
	if _, err := m.DiscardLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) {
		t.Errorf("discard behind an append: %v", err)
	}
	if e := appended(t, m)[0]; e.Appended != 6 {
		t.Errorf("%+v", e)
	}
	if got := values(behind(t, m, dst, 0)); got != "v10 v11 v12 v13 v14 v15" {
		t.Errorf("got %s", got)
	}
}

func TestLedgerOfASilentSourceIsUndecidedUntilItIsDiscarded(t *testing.T) {
	t.Parallel()
	src, _, m := failedOver(t, 10, nil)
	src.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := m.ComputeLedger(ctx, "l"); !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "cluster src") {
		t.Errorf("got %v", err)
	}
	if err := m.DeleteLink(t.Context(), "l", false, true); !errors.Is(err, api.ErrBadRequest) || !strings.Contains(err.Error(), "orders partition 0 (not computed") {
		t.Errorf("delete: %v", err)
	}
	got, err := m.DiscardLedger(t.Context(), "l", decision)
	if err != nil || entries(got)[0].Decision != api.LedgerDiscarded {
		t.Errorf("%+v %v", got, err)
	}
	if err := m.DeleteLink(t.Context(), "l", false, true); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestPromotedMirrorLeavesNothingUndecided(t *testing.T) {
	t.Parallel()
	_, _, m, _ := orders{records: 5}.mirror(t)
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if got := m.undecided("l"); got != "" {
		t.Errorf("undecided: %s", got)
	}
	if e := computed(t, m)[0]; e.Decision != api.LedgerNothing {
		t.Errorf("%+v", e)
	}
}

func TestPartitionThatWasNeverMirroredAppearsFromItsStart(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	if _, err := src.adm.UpdatePartitions(t.Context(), 3, "orders"); err != nil {
		t.Fatal(err)
	}
	src.client.ForceMetadataRefresh()
	eventually(t, "the source has grown", func() error {
		return src.client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: 2, Value: []byte("new")}).FirstErr()
	})
	if e := computed(t, m)[2]; e.From != 0 || e.Records < 1 || e.Decision != api.LedgerUndecided {
		t.Errorf("%+v", e)
	}
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrBadRequest) || !strings.Contains(err.Error(), "add partitions") {
		t.Errorf("got %v", err)
	}
	if _, err := dst.adm.UpdatePartitions(t.Context(), 3, "orders"); err != nil {
		t.Fatal(err)
	}
	if e := appended(t, m)[2]; e.Appended != e.Records {
		t.Errorf("%+v", e)
	}
}

func TestWhatRetentionTookBehindTheStopIsUnrecoverable(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 5)
	cut := kadm.Offsets{}
	cut.Add(kadm.Offset{Topic: "orders", At: 12})
	if _, err := src.adm.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	if e := computed(t, m)[0]; e.Unrecoverable != 2 || e.Records != 3 {
		t.Errorf("%+v", e)
	}
	appended(t, m)
	if got := values(behind(t, m, dst, 0)); got != "v12 v13 v14" {
		t.Errorf("got %s", got)
	}
}

func TestLedgerOfASourceTopicThatIsGoneIsUnrecoverable(t *testing.T) {
	t.Parallel()
	src, _, m := failedOver(t, 10, nil)
	if _, err := src.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	src.topic(t, "orders", 2, nil)
	if e := computed(t, m)[0]; e.Decision != api.LedgerNothing || !strings.Contains(e.Reason, "made anew") {
		t.Errorf("%+v", e)
	}
}

func TestGapThatRetentionTookWhileMirroringCountsOnce(t *testing.T) {
	t.Parallel()
	src, _, m, _ := orders{partitions: 2, records: 10}.mirror(t)
	l, mt := linkOf(t, m), mirrorOf(t, m, "orders")
	p := mt.parts()[1]
	for range 2 {
		if err := l.recordGap(t.Context(), p, 3, 7); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.recordGap(t.Context(), p, 5, 9); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Ledger(t.Context(), "l"); err != nil || len(got.Entries) != 1 || got.Entries[0].Unrecoverable != 6 {
		t.Errorf("while the mirror runs: %+v, %v", got, err)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	src.produce(t, "orders", 0, 10, 1)
	if e := computed(t, m)[1]; e.Unrecoverable != 6 || e.Records != 0 || e.Decision != api.LedgerNothing {
		t.Errorf("%+v", e)
	}
}

func TestLedgerOutlivesARestart(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{}.mirror(t)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	src.produce(t, "orders", 0, 0, 3)
	computed(t, m)
	stop()
	m, _ = newEngine(t, dst)
	got, err := m.Ledger(t.Context(), "l")
	if err != nil || entries(got)[0].Records != 3 || got.ComputedAt.IsZero() || got.SourceClusterID != "src" {
		t.Errorf("%+v %v", got, err)
	}
	if e := appended(t, m)[0]; e.Appended != 3 {
		t.Errorf("%+v", e)
	}
}
