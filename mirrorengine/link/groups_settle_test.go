package link

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

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

// What the source tells last may be nothing, or an error: the groups begin from what
// was known before, for nobody repairs them once the mirror is STOPPED.
func TestGroupsAreSettledWhateverTheSourceSaysLast(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]kfake.Fault{
		"no coordinator": {Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorNotAvailable},
		"refusal":        {Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.GroupAuthorizationFailed},
		"no list":        {Keys: []kmsg.Key{kmsg.ListGroups}, Err: kerr.CoordinatorLoadInProgress, TopLevel: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst, m, _ := clampedGroup(t)
			fault.Count = -1
			src.Fault(fault)
			alter(t, m, api.VerbFailover, "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			dst.expectCommit(t, "ahead", "orders", 0, 17)
			dst.expectCommit(t, "ahead", "orders", 1, 0)
		})
	}
}

// One coordinator that is away takes nothing from the groups of the others.
func TestWhatSomeBrokersTellLastCountsWhereOthersDoNot(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := clampedGroup(t)
	src.commit(t, "told", "orders", 0, 4)
	syncNow(t, m)
	src.commit(t, "told", "orders", 0, 9)
	src.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "ahead", Err: kerr.CoordinatorNotAvailable, Count: -1})
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped) // a promote looks longer: the machine may be busy
	dst.expectCommit(t, "told", "orders", 0, 9)
	dst.expectCommit(t, "ahead", "orders", 0, 17)
}

// The look must not outlast its second, or a source that goes silent just now holds the
// failover up: a client that has to connect again waits for as long as a request may take.
func TestASourceThatGoesSilentDoesNotHoldUpTheLastLookAtItsGroups(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := clampedGroup(t)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) }) // before the site's own, which waits for it
	src.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
		src.KeepControl()
		src.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	asked := make(chan struct{})
	src.ControlKey(int16(kmsg.ListGroups), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(asked)
		return nil, errors.New("connection cut"), true
	})
	began := time.Now()
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if took := time.Since(began); took >= 2*requestTimeout {
		t.Errorf("stopped after %s", took)
	}
	select {
	case <-asked:
	default:
		t.Error("the source was not asked: the test shows nothing")
	}
	dst.expectCommit(t, "ahead", "orders", 0, 17)
	dst.expectCommit(t, "ahead", "orders", 1, 0)
}
