package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

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
