package link

import (
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// clampedGroup is a mirror that has all 20 records of its source, and a group that was
// seen there at 17 when the mirror had 10: it stands at 10 on the destination.
func clampedGroup(t *testing.T) (src, dst *site, m *Manager, stop func()) {
	t.Helper()
	src, dst, m, stop = orders{partitions: 2, records: 10, link: syncing}.mirror(t)
	alter(t, m, api.VerbPause, "orders")
	src.produce(t, "orders", 0, 10, 10)
	src.commit(t, "ahead", "orders", 0, 17)
	syncNow(t, m)
	dst.expectCommit(t, "ahead", "orders", 0, 10)
	alter(t, m, api.VerbResume, "orders")
	awaitLagZero(t, m, src, "orders")
	return src, dst, m, stop
}

// Who takes over the lead when the stop offsets stand already has not ended the
// partitions itself, and settles their groups all the same.
func TestANewLeaderSettlesTheGroupsOfPartitionsThatItsPredecessorEnded(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := clampedGroup(t)
	rec := mirrorOf(t, m, "orders").record()
	rec.Status, rec.Intent, rec.Fenced = status.PendingStopped.String(), string(api.VerbFailover), true
	for n, s := range []stopRecord{{Partition: 0, SourceStop: 20, DestStop: 20, At: time.Now()}, {Partition: 1, At: time.Now()}} {
		if err := m.put(t.Context(), m.store.ShardOf(rec.TopicID, int32(n)), state.Entry{Key: stopKey(rec.TopicID, int32(n)), Value: s}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.put(t.Context(), 0, state.Entry{Key: mirrorKey(rec.Link, rec.Topic), Value: rec}); err != nil {
		t.Fatal(err)
	}
	src.Close()
	stop()
	m, _ = newEngine(t, dst)
	awaitStatus(t, m, "orders", status.Stopped)
	dst.expectCommit(t, "ahead", "orders", 0, 17)
	dst.expectCommit(t, "ahead", "orders", 1, 0)
}
