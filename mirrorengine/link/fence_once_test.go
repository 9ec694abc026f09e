package link

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// An end that is tried again must not write a second marker: the application's
// own records would begin one offset later for each try, and a stop offset that
// somebody has seen would not hold.
func TestAnEndThatIsTriedAgainFencesOnce(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("engine restarted %v", restart), func(t *testing.T) {
			src, dst := newSite(t, "src"), newSite(t, "dst")
			src.topic(t, "orders", 1, nil)
			src.produce(t, "orders", 0, 0, 5)
			m, stop := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			awaitLagZero(t, m, src, "orders")

			var markers, refused atomic.Int64
			dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.WriteTxnMarkers}, Count: -1, When: func(req kmsg.Request) bool {
				if slices.ContainsFunc(req.(*kmsg.WriteTxnMarkersRequest).Markers, func(mk kmsg.WriteTxnMarkersRequestMarker) bool { return mk.Topics[0].Topic == "orders" }) {
					markers.Add(1) // and not for the engine's own probe
				}
				return false
			}})
			unread := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "orders", Err: kerr.NotLeaderForPartition, Count: -1, When: func(kmsg.Request) bool {
				if markers.Load() == 0 {
					return false
				}
				refused.Add(1)
				return true
			}})
			alter(t, m, api.VerbFailover, "orders")
			eventually(t, "the end of the log could not be read behind the marker, twice", func() error {
				if refused.Load() < 2 {
					return errors.New("not yet")
				}
				return nil
			})
			if restart {
				stop()
				unread.Remove()
				m, _ = newEngine(t, dst)
			} else {
				unread.Remove()
			}
			awaitStatus(t, m, "orders", status.Stopped)
			if n := markers.Load(); n != 1 {
				t.Errorf("%d requests for markers, want 1", n)
			}
			if end := dst.end(t, "orders", 0); end != 6 {
				t.Errorf("the mirror ends at %d, want 6: five records and one marker", end)
			}
		})
	}
}
