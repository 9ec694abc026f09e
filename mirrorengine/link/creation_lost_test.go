package link

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// begun is a mirror whose source was lost while it was made: the topic stands, the
// start offsets are not known. found lets the source answer again.
func begun(t *testing.T) (src, dst *site, m *Manager, stop, found func()) {
	t.Helper()
	src, dst = newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 2, nil)
	src.produce(t, "orders", 0, 0, 3)
	m, stop = newEngine(t, dst)
	newTestLink(t, m, src, nil)
	var lost atomic.Bool
	lost.Store(true)
	src.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		src.KeepControl()
		if !lost.Load() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ListOffsetsRequest)
		res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.KafkaStorageError.Code
				st.Partitions = append(st.Partitions, sp)
			}
			res.Topics = append(res.Topics, st)
		}
		return res, nil, true
	})
	err := m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1})
	if err == nil || !strings.Contains(err.Error(), "its first segments were not") {
		t.Fatalf("the creation was to be interrupted, got %v", err)
	}
	awaitStatus(t, m, "orders", status.PendingMirror)
	return src, dst, m, stop, func() { lost.Store(false) }
}

// stoppedEmpty: the mirror has ended with nothing mirrored, as its maps say too.
func stoppedEmpty(t *testing.T, m *Manager, partitions int) {
	t.Helper()
	awaitStatus(t, m, "orders", status.Stopped)
	got, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Partitions) != partitions {
		t.Fatalf("%d partitions have maps, want %d", len(got.Partitions), partitions)
	}
	for _, p := range got.Partitions {
		if len(p.Segments) != 1 || p.SourceStop != 0 || p.DestStop < 0 {
			t.Errorf("partition %d: %d segments, stop offsets %d at the source and %d here", p.Partition, len(p.Segments), p.SourceStop, p.DestStop)
		}
	}
}

func TestAMirrorWhoseSourceWasLostWhileItWasMadeIsFailedOver(t *testing.T) {
	t.Parallel()
	_, dst, m, _, found := begun(t)
	mt, l := mirrorOf(t, m, "orders"), linkOf(t, m)
	alter(t, m, api.VerbFailover, "orders")
	stoppedEmpty(t, m, 2)
	dst.produce(t, "orders", 0, 100, 1)

	// The source comes back: nobody goes on with the creation, for the topic is the
	// applications' now, and a guard would keep them out.
	found()
	if _, err := l.build(t.Context(), mt); err == nil {
		t.Error("the creation goes on over a mirror that has ended")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.complete(t.Context(), mt)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("somebody goes on trying to make a mirror that has ended")
	}
	mt.startIn(l)
	if mt.mu.Lock(); mt.cancel != nil {
		t.Error("a mirror that has ended is run again")
	}
	mt.mu.Unlock()
	if got := mt.record(); got.Status != status.Stopped.String() {
		t.Errorf("status %s", got.Status)
	}
	stoppedEmpty(t, m, 2)
	// All that the source had is lagged data, for none of it was mirrored.
	ledger, err := m.ComputeLedger(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	var records int64
	for _, e := range ledger.Entries {
		records += e.Records
	}
	if records != 3 {
		t.Errorf("the ledger counts %d records, want 3", records)
	}
}

// restarted is an engine that begins behind the loss, with begun's mirror.
func restarted(t *testing.T) (dst *site, m *Manager) {
	t.Helper()
	src, dst, _, stop, _ := begun(t)
	stop()
	src.Close()
	m, _ = newEngine(t, dst)
	awaitStatus(t, m, "orders", status.PendingMirror)
	return dst, m
}

// deleteByForce deletes link "l", within two minutes.
func deleteByForce(t *testing.T, m *Manager) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := m.DeleteLink(ctx, "l", true, false); err != nil {
		t.Error(err)
	}
}

func TestAnEngineThatStartsBehindTheLossFailsItOver(t *testing.T) {
	t.Parallel()
	_, m := restarted(t)
	alter(t, m, api.VerbFailover, "orders")
	stoppedEmpty(t, m, 2)
	deleteByForce(t, m)
}

func TestALinkIsDeletedByForceWithAMirrorThatWasNotMadeWhole(t *testing.T) {
	t.Parallel()
	dst, m := restarted(t)
	deleteByForce(t, m)
	dst.produce(t, "orders", 0, 100, 1)
}

// An engine of an earlier release recorded such an end as fenced, and then found no map.
func TestAnEndThatAnEarlierEngineLeftFencedWithoutMapsComesToItsEnd(t *testing.T) {
	t.Parallel()
	src, dst, m, stop, _ := begun(t)
	rec := mirrorOf(t, m, "orders").record()
	stop()
	src.Close()
	m, stop = newEngine(t, dst)
	rec.Status, rec.Intent, rec.Before = status.PendingStopped.String(), string(api.VerbFailover), status.PendingMirror.String()
	rec.Unmade, rec.Fenced = false, true
	if err := m.put(t.Context(), 0, state.Entry{Key: mirrorKey("l", "orders"), Value: rec}); err != nil {
		t.Fatal(err)
	}
	stop()
	m, _ = newEngine(t, dst)
	stoppedEmpty(t, m, 2)
}

func TestAMirrorThatWasNotMadeWholeHoldsUpNoOtherEnd(t *testing.T) {
	t.Parallel()
	src, dst, _, stop, found := begun(t)
	stop()
	found()
	src.topic(t, "payments", 1, nil)
	m, _ := newEngine(t, dst)
	awaitStatus(t, m, "orders", status.Active)
	newTestMirror(t, m, "payments")
	orders := mirrorOf(t, m, "orders")
	if err := orders.edit(t.Context(), func(r *mirrorRecord) { r.Unmade = true }); err != nil {
		t.Fatal(err)
	}
	orders.making.Lock() // whoever makes it hangs
	maker := sync.OnceFunc(orders.making.Unlock)
	t.Cleanup(maker)
	alter(t, m, api.VerbFailover, "orders", "payments")
	awaitStatus(t, m, "payments", status.Stopped)
	if got := orders.record(); got.Fenced {
		t.Errorf("ended beside its maker: %s", got.Status)
	}
	maker()
	awaitStatus(t, m, "orders", status.Stopped)
}

func TestWhoeverMadeAMirrorLeavesItToTheLinkThatIsBegunAnew(t *testing.T) {
	t.Parallel()
	_, _, m, _, _ := begun(t)
	old := mirrorOf(t, m, "orders")
	paused := "true"
	if err := m.AlterLinkConfigs(t.Context(), "l", []api.AlterConfig{{Name: "cluster.link.paused", Value: &paused}}, false); err != nil {
		t.Fatal(err)
	}
	if old == mirrorOf(t, m, "orders") {
		t.Fatal("the link was not begun anew: the test shows nothing")
	}
	if _, err := old.link.build(t.Context(), old); !errors.Is(err, errNotMade) {
		t.Errorf("the old one goes on making the mirror: %v", err)
	}
	if gone, err := old.abandon(t.Context()); gone {
		t.Errorf("the old one takes the mirror's record away: %v", err)
	}
	if err := old.edit(t.Context(), func(*mirrorRecord) {}); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("the old one writes over the record of the one in its place: %v", err)
	}
}

func TestAMirrorThatIsMadeInAPausedLinkIsPausedWithIt(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.produce(t, "orders", 0, 0, 3)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"cluster.link.paused": "true"})
	newTestMirror(t, m, "orders")
	if got := mirrorOf(t, m, "orders").record().Status; got != status.LinkPaused.String() {
		t.Errorf("%s in a paused link", got)
	}
	resumed := "false"
	if err := m.AlterLinkConfigs(t.Context(), "l", []api.AlterConfig{{Name: "cluster.link.paused", Value: &resumed}}, false); err != nil {
		t.Fatal(err)
	}
	awaitLagZero(t, m, src, "orders")
}

// A growth of the source that was seen before the wish to end is not recorded behind it:
// a partition that nobody ends would have no stop offset.
func TestAMirrorThatEndsIsNotGrown(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{records: 3}.mirror(t)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if _, err := src.adm.CreatePartitions(t.Context(), 1, "orders"); err != nil {
		t.Fatal(err)
	}
	mt := mirrorOf(t, m, "orders")
	if err := linkOf(t, m).grow(t.Context(), mt, 2); !errors.Is(err, errEnding) {
		t.Errorf("grown: %v", err)
	}
	if got := mt.record().Partitions; got != 1 || len(mt.parts()) != 1 {
		t.Errorf("%d partitions recorded, %d known", got, len(mt.parts()))
	}
	dst.produce(t, "orders", 0, 100, 1)
}

// What a crash leaves before the topic's id is recorded: a record, and perhaps a topic.
func TestAMirrorThatACrashLeftBeforeItsTopicWasKnownEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		made    bool // the topic stands
		records int  // somebody else's, in it
		want    status.Status
		reason  string
	}{
		"the topic was made":           {made: true, want: status.Stopped},
		"the topic was not made":       {want: status.Failed, reason: "was never made"},
		"somebody else made the topic": {made: true, records: 1, want: status.Failed, reason: "holds records"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := newSite(t, "src"), newSite(t, "dst")
			src.topic(t, "orders", 1, nil)
			m, stop := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			rec := mirrorRecord{
				Link: "l", Topic: "orders", SourceTopic: "orders", SourceClusterID: "src", DestClusterID: "dst", Status: status.PendingMirror.String(),
				Error: api.MirrorErrorNone, Partitions: 1, ReplicationFactor: 1, Guard: api.GuardNone, WriterFence: m.writerFence, StateTime: time.Now(), TipAt: time.Now(),
			}
			if err := m.put(t.Context(), 0, state.Entry{Key: mirrorKey("l", "orders"), Value: rec}); err != nil {
				t.Fatal(err)
			}
			stop()
			if tc.made {
				dst.topic(t, "orders", 1, nil)
				dst.produce(t, "orders", 0, 0, tc.records)
			}
			src.Close()
			m, _ = newEngine(t, dst)
			alter(t, m, api.VerbFailover, "orders")
			awaitStatus(t, m, "orders", tc.want)
			if tc.want == status.Stopped {
				stoppedEmpty(t, m, 1)
			} else if got := mirrorOf(t, m, "orders").record(); !strings.Contains(got.Reason, tc.reason) || !got.Gone {
				t.Errorf("reason %q, gone %v", got.Reason, got.Gone)
			}
			deleteByForce(t, m)
		})
	}
}

// The stop offsets of a former life are not those of a rejoined mirror that ends
// before it was made whole.
func TestARejoinThatIsFailedOverBeforeItIsWholeForgetsFormerStops(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	rec := p.crashedRejoin(t, func(r *mirrorRecord) { // right behind the wish to fail it over
		r.Status, r.Intent, r.Before, r.Unmade = status.PendingStopped.String(), string(api.VerbFailover), status.PendingMirror.String(), true
	})
	p.b.Close()
	p.ma, _ = newEngine(t, p.a)
	awaitStatus(t, p.ma, "orders", status.Stopped)
	var got stopRecord
	if ok, err := p.ma.store.Get(stopKey(rec.TopicID, 0), &got); err != nil || !ok || got.DestStop <= 1 {
		t.Errorf("stop offsets %+v, there %v, error %v", got, ok, err)
	}
}
