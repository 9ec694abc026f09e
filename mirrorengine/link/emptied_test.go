package link

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// expire does what retention does: partition 0 of a topic begins at an offset then.
func (s *site) expire(t testing.TB, topic string, at int64) {
	t.Helper()
	cut := kadm.Offsets{}
	cut.Add(kadm.Offset{Topic: topic, At: at})
	res, err := s.adm.DeleteRecords(t.Context(), cut)
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mark puts a marker of ours behind a mirror, as an engine that went no further.
func (s *site) mark(t *testing.T, m *Manager, epoch int16) {
	t.Helper()
	segs := segmentsOf(t, m, "orders")
	topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	topic.Topic, topic.Partitions = "orders", []int32{0}
	mk := kmsg.NewWriteTxnMarkersRequestMarker()
	mk.ProducerID, mk.ProducerEpoch, mk.Topics = segs[len(segs)-1].ProducerID, epoch, append(mk.Topics, topic)
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = append(req.Markers, mk)
	res, err := req.RequestWith(t.Context(), s.client)
	if err == nil {
		err = kerr.ErrorForCode(res.Markers[0].Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holdEnd fails a mirror over and keeps its end unread behind the marker until
// release is called.
func (s *site) holdEnd(t *testing.T, m *Manager) (release func()) {
	t.Helper()
	var markers, refused atomic.Int64
	s.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.WriteTxnMarkers}, Count: -1, When: func(req kmsg.Request) bool {
		if slices.ContainsFunc(req.(*kmsg.WriteTxnMarkersRequest).Markers, func(mk kmsg.WriteTxnMarkersRequestMarker) bool { return mk.Topics[0].Topic == "orders" }) {
			markers.Add(1)
		}
		return false
	}})
	unread := s.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "orders", Err: kerr.NotLeaderForPartition, Count: -1, When: func(kmsg.Request) bool {
		if markers.Load() == 0 {
			return false
		}
		refused.Add(1)
		return true
	}})
	alter(t, m, api.VerbFailover, "orders")
	eventually(t, "the end could not be read behind the marker", func() error {
		if refused.Load() == 0 {
			return errors.New("nobody has asked")
		}
		return nil
	})
	return func() { unread.Remove() }
}

// expectStop waits until the mirror is STOPPED.
func expectStop(t *testing.T, m *Manager, topic string, source, dest int64) {
	t.Helper()
	awaitStatus(t, m, topic, status.Stopped)
	p := mirrorOf(t, m, topic).parts()[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop.SourceStop != source || p.stop.DestStop != dest {
		t.Errorf("stopped at source offset %d, mirror offset %d; want %d and %d", p.stop.SourceStop, p.stop.DestStop, source, dest)
	}
}

// A topic that is written seldom, as a pair's canary: all that was mirrored has
// expired on both sides when the mirror ends.
func TestAMirrorThatRetentionEmptiedEndsWhereItsRecordsEnded(t *testing.T) {
	t.Parallel()
	for _, restart := range []string{"never", "before the marker", "behind the marker"} {
		for _, several := range []bool{false, true} {
			t.Run(fmt.Sprintf("engine restarted %s, several segments %v", restart, several), func(t *testing.T) {
				t.Parallel()
				src, dst, m, stop := orders{records: 10}.mirror(t)
				if several {
					src.transact(t, "tx", 10, 2, true) // and a marker at 12
					src.produce(t, "orders", 0, 12, 3)
					awaitLagZero(t, m, src, "orders")
				}
				source, dest := src.end(t, "orders", 0), dst.end(t, "orders", 0)
				segs := segmentsOf(t, m, "orders")
				src.expire(t, "orders", source)
				dst.expire(t, "orders", dest)
				switch restart {
				case "never":
					alter(t, m, api.VerbFailover, "orders")
				case "before the marker":
					stop()
					m, _ = newEngine(t, dst)
					alter(t, m, api.VerbFailover, "orders")
				case "behind the marker":
					release := dst.holdEnd(t, m)
					stop()
					release()
					m, _ = newEngine(t, dst)
				}
				expectStop(t, m, "orders", source, dest+1)
				if d := cmp.Diff(segs, segmentsOf(t, m, "orders")); d != "" {
					t.Errorf("segments -before +after:\n%s", d)
				}
				if e := computed(t, m)[0]; e.Records != 0 || e.Unrecoverable != 0 || e.Decision != api.LedgerNothing {
					t.Errorf("ledger %+v", e)
				}
			})
		}
	}
}

// Retention takes the records, and perhaps what fenced an earlier try too, while
// the engine is away; then the source goes on.
func TestAMirrorThatRetentionEmptiedGoesOnBehindItsRecords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		marker  bool  // stands behind the ten records
		seen    bool  // by an engine, before retention comes
		emptied int64 // where the mirror begins then
		ahead   bool  // segments were written ahead of batches that are refused
		running bool  // the engine is not away, and resumes for another reason
		want    int64 // mirror offset of the next record
	}{
		"nothing is left":                               {emptied: 10, want: 10},
		"a marker is left":                              {marker: true, emptied: 10, want: 11},
		"a marker is gone with them":                    {marker: true, seen: true, emptied: 11, want: 11},
		"a marker is gone while the engine runs":        {marker: true, seen: true, running: true, emptied: 11, want: 11},
		"segments stand ahead":                          {emptied: 10, ahead: true, want: 10},
		"segments stand ahead of a marker that is left": {marker: true, seen: true, emptied: 10, ahead: true, want: 11},
		"segments stand ahead of a marker that is gone": {marker: true, seen: true, emptied: 11, ahead: true, want: 11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst, m, stop := orders{records: 10}.mirror(t)
			if tc.marker {
				stop()
				dst.mark(t, m, 1)
			}
			if tc.seen {
				m, stop = newEngine(t, dst)
				eventually(t, "the marker is seen", func() error { return standsAt(t, m, 11) })
			}
			more := func() { // with two holes: two segments
				src.transact(t, "tx", 10, 2, true)
				src.transact(t, "tx", 12, 2, true)
				src.produce(t, "orders", 0, 14, 1)
			}
			if tc.ahead {
				refuse := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.NotEnoughReplicas, Count: -1})
				more()
				eventually(t, "segments are written ahead and a batch is refused", func() error {
					if n, hits := len(segmentsOf(t, m, "orders")), refuse.Hits(); n < 3 || hits < 2 {
						return fmt.Errorf("%d segments, %d refusals", n, hits)
					}
					return nil
				})
				stop()
				refuse.Remove()
			}
			if !tc.running {
				stop()
			}
			dst.expire(t, "orders", tc.emptied)
			if tc.running {
				dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.NotLeaderForPartition})
			}
			if !tc.ahead {
				more()
			}
			if !tc.running {
				m, _ = newEngine(t, dst)
			}
			awaitLagZero(t, m, src, "orders")
			got := dst.committed(t, "orders", 0)
			if want := "v10 v11 v12 v13 v14"; values(got) != want {
				t.Fatalf("the mirror holds %s, want %s", values(got), want)
			}
			if got[0].Offset != tc.want {
				t.Errorf("they begin at mirror offset %d, want %d", got[0].Offset, tc.want)
			}
			om := segmentsMap(t, m, "orders")
			for i, r := range src.committed(t, "orders", 0)[10:] {
				if at := om.ToSource(got[i].Offset); at != r.Offset {
					t.Errorf("mirror offset %d leads to source offset %d, want %d", got[i].Offset, at, r.Offset)
				}
			}
			if got, err := m.Ledger(t.Context(), "l"); err != nil || len(got.Entries) > 0 {
				t.Errorf("nothing was lost: %+v, %v", got.Entries, err)
			}
		})
	}
}

// standsAt tells whether the mirror's position is known to be at an offset.
func standsAt(t *testing.T, m *Manager, dest int64) error {
	t.Helper()
	p := mirrorOf(t, m, "orders").parts()[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != "" || !p.pos.known || p.pos.dest != dest {
		return fmt.Errorf("position %+v, %s", p.pos, p.stalled)
	}
	return nil
}
