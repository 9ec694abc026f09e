package link

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// A batch that needs no new segment is sent, and its connection is lost: it may land
// still. Where the source says the same again the next try is the same batch; where the
// cleaner took a record of it meanwhile it is another one under the same sequence, and
// the late one has to be shut out first.
func TestABatchThatMayLandStillIsShutOutBeforeTheSourceSaysOtherwise(t *testing.T) {
	t.Parallel()
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted %v", compacted), func(t *testing.T) {
			uncleaned := kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "86400000"})
			src, dst := newSite(t, "src", uncleaned), newSite(t, "dst", uncleaned)
			policy, small := "compact", "1"
			src.topic(t, "keyed", 1, map[string]*string{"cleanup.policy": &policy, "segment.bytes": &small})
			m, _ := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			src.keyedAs(t, "keyed", "a=1", "b=1")
			newTestMirror(t, m, "keyed")
			awaitLagZero(t, m, src, "keyed")
			alter(t, m, api.VerbPause, "keyed")
			mirrorOf(t, m, "keyed").halt() // whoever paused it may be on the way
			src.keyedAs(t, "keyed", "c=1", "d=1", "e=1", "f=1", "g=1", "d=2", "h=1")

			var lost, markers atomic.Int64
			var back atomic.Bool
			topic := dst.TopicInfo("keyed")
			dst.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				dst.KeepControl()
				for _, rt := range req.(*kmsg.ProduceRequest).Topics {
					if (rt.Topic == "keyed" || rt.TopicID == topic.TopicID) && !back.Load() {
						lost.Add(1)
						return nil, errors.New("lost"), true
					}
				}
				return nil, nil, false
			})
			dst.ControlKey(int16(kmsg.WriteTxnMarkers), func(req kmsg.Request) (kmsg.Response, error, bool) {
				dst.KeepControl()
				for _, mk := range req.(*kmsg.WriteTxnMarkersRequest).Markers {
					if mk.Topics[0].Topic == "keyed" {
						markers.Add(1)
					}
				}
				return nil, nil, false
			})
			alter(t, m, api.VerbResume, "keyed")
			eventually(t, "a batch is sent, and no answer comes", func() error {
				if lost.Load() == 0 {
					return errors.New("not yet")
				}
				return nil
			})
			if compacted {
				src.Compact()
				n := lost.Load()
				eventually(t, "what was read before is not tried any more", func() error {
					if lost.Load() < n+2 {
						return errors.New("not yet")
					}
					return nil
				})
			}
			back.Store(true)
			awaitLagZero(t, m, src, "keyed")
			want, got := src.committed(t, "keyed", 0), dst.committed(t, "keyed", 0)
			if err := sameRecords(want, got); err != nil {
				t.Fatal(err)
			}
			if compacted == (len(want) == 9) {
				t.Fatalf("%d records: the test shows nothing", len(want))
			}
			if n := markers.Load(); n != map[bool]int64{true: 1}[compacted] {
				t.Errorf("%d markers", n)
			}
			om := segmentsMap(t, m, "keyed")
			for i := range got {
				if s := om.ToSource(got[i].Offset); s != want[i].Offset {
					t.Errorf("record %d at mirror offset %d leads to source offset %d, it is at %d", i, got[i].Offset, s, want[i].Offset)
				}
			}
		})
	}
}
