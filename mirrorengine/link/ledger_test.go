package link

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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
