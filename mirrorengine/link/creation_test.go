package link

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// A link that begins to run looks for creations that a crash has interrupted. One
// that a caller is at work with is none: two builders would each make partitions,
// and those that run would not be those that the mirror knows.
func TestALinkThatBeginsLeavesACreationUnderWayToItsCaller(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	l := linkOf(t, m)
	rec := mirrorRecord{Link: "l", Topic: "orders", SourceTopic: "orders", Status: status.PendingMirror.String(), Error: api.MirrorErrorNone, Partitions: 1, ReplicationFactor: 1}
	under := &MirrorTopic{link: l, rec: rec, log: l.log}
	if l.revive(t.Context(), under) {
		t.Error("a mirror that is being made is to be ended")
	}
	l.stop() // waits for all that revive began
	if got := under.record(); got.TopicID != "" || got.Status != rec.Status {
		t.Errorf("somebody else went on with the creation: %+v", got)
	}
}
