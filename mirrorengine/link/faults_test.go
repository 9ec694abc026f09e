package link

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// soon are the configs of a link that gives a missing source topic up at once.
var soon = map[string]string{"cluster.link.retry.timeout.ms": "1000"}

func (s *site) deleteTopic(t *testing.T, name string) {
	t.Helper()
	if _, err := s.adm.DeleteTopic(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// expectFailed waits until the mirror is FAILED with that error and a reason
// that says all of that.
func expectFailed(t *testing.T, m *Manager, topic, code string, says ...string) {
	t.Helper()
	awaitStatus(t, m, topic, status.Failed)
	got, err := m.Mirror(t.Context(), "l", topic, true)
	if err != nil {
		t.Fatal(err)
	}
	if got.MirrorTopicError != code {
		t.Errorf("mirror_topic_error %s, want %s", got.MirrorTopicError, code)
	}
	text := fmt.Sprint(got.StateTransitionErrors)
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("%q is not in %s", s, text)
		}
	}
}

func TestADeletedSourceTopicFailsTheMirrorWhichKeepsItsRecords(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.topic(t, "other", 1, nil)
	src.produce(t, "orders", 0, 0, 5)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, soon)
	newTestMirror(t, m, "orders")
	newTestMirror(t, m, "other")
	awaitLagZero(t, m, src, "orders")
	src.deleteTopic(t, "orders")
	expectFailed(t, m, "orders", api.MirrorErrorSourceDeleted, "does not exist any more", "fail the mirror over")
	src.produce(t, "other", 0, 0, 3)
	awaitLagZero(t, m, src, "other")
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if got := values(dst.read(t, "orders", 0, 0, 5)); got != "v0 v1 v2 v3 v4" {
		t.Errorf("got %s", got)
	}
}

func TestASourceTopicThatIsUnknownForAMomentFailsNothing(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil) // five minutes
	newTestMirror(t, m, "orders")
	src.produce(t, "orders", 0, 0, 5)
	awaitLagZero(t, m, src, "orders")
	var unknown atomic.Int64
	fault := src.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "orders", Err: kerr.UnknownTopicOrPartition, Count: -1, When: func(kmsg.Request) bool {
		unknown.Add(1)
		return true
	}})
	eventually(t, "the topic was unknown three times", func() error {
		if n := unknown.Load(); n < 3 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	fault.Remove()
	src.produce(t, "orders", 0, 5, 5)
	awaitLagZero(t, m, src, "orders")
	awaitStatus(t, m, "orders", status.Active)
}

func TestASourceTopicThatWasMadeAnewFailsTheMirror(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{records: 5}.mirror(t)
	src.deleteTopic(t, "orders")
	src.topic(t, "orders", 1, nil)
	src.client = newClient(t, src.ListenAddrs()) // the old one clings to the old id
	src.produce(t, "orders", 0, 100, 9)
	expectFailed(t, m, "orders", api.MirrorErrorSourceIDChanged, "deleted and made anew")
	if got := dst.end(t, "orders", 0); got != 5 {
		t.Errorf("the mirror ends at %d: records of another topic went into it", got)
	}
}

// Only brokers without topic ids (before 2.8) can hide that the topic is another
// one; fewer partitions show it there.
func TestASourceTopicThatShrankFailsTheMirror(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src", kfake.MaxVersions(kversion.V2_7_0())), newSite(t, "dst")
	src.topic(t, "orders", 3, nil)
	src.produce(t, "orders", 0, 0, 5)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	src.deleteTopic(t, "orders")
	src.topic(t, "orders", 2, nil)
	expectFailed(t, m, "orders", api.MirrorErrorPartitionsDecreased, "has 2 partitions, the mirror 3")
}
