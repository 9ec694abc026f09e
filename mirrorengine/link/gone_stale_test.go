package link

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// A replica may know the topic that a rebuild has deleted: it asks before it gives up
// the mirror that another replica made in its place.
func TestATopicKnownFromBeforeARebuildFailsNoMirror(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.produce(t, "orders", 0, 0, 5)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbPause, "orders")
	awaitStatus(t, m, "orders", status.Paused)
	m.local.mu.Lock()
	old := m.local.topics["orders"]
	old.id = [16]byte{1}
	m.local.topics["orders"] = old
	m.local.mu.Unlock()
	l, err := m.link("l")
	if err != nil {
		t.Fatal(err)
	}
	for _, mt := range l.all() {
		p := &partition{mirror: mt, dst: topicPartition{"orders", 0}}
		if err := p.sameTopic(t.Context()); err != nil {
			t.Error(err)
		}
	}
	alter(t, m, api.VerbResume, "orders")
	src.produce(t, "orders", 0, 5, 5)
	awaitLagZero(t, m, src, "orders")
}
