package link

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

func TestAMirrorTopicThatIsGoneFailsAndCannotBeFailedOver(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{partitions: 2, records: 5}.mirror(t)
	dst.deleteTopic(t, "orders")
	expectFailed(t, m, "orders", api.MirrorErrorIllegalState, "was deleted on this cluster", "create the mirror again")
	res, err := m.AlterMirrors(t.Context(), "l", api.VerbFailover, api.AlterMirrors{MirrorTopicNames: []string{"orders"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := res[0].Err(); !errors.Is(err, api.ErrBadRequest) || !strings.Contains(err.Error(), "was deleted on this cluster") {
		t.Errorf("failover: %v", err)
	}
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	if got := values(dst.read(t, "orders", 0, 0, 5)); got != "v0 v1 v2 v3 v4" {
		t.Errorf("got %s", got)
	}
	dst.deleteTopic(t, "orders")
	expectFailed(t, m, "orders", api.MirrorErrorIllegalState, "was deleted")
	if err := m.DeleteLink(t.Context(), "l", false, false); err != nil {
		t.Errorf("a link whose only mirror is gone: %v", err)
	}
}

func TestWhatIsSeenOfAMirrorThatWasReplacedIsNotWrittenOverTheNewOne(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{}.mirror(t)
	old := mirrorOf(t, m, "orders")
	dst.deleteTopic(t, "orders")
	newTestMirror(t, m, "orders")
	old.failed(t.Context(), topicGone(old.record(), "was deleted"))
	if err := old.edit(t.Context(), func(r *mirrorRecord) { r.Gone = true }); !errors.Is(err, api.ErrConflict) {
		t.Errorf("edit: %v", err)
	}
	var rec mirrorRecord
	if _, err := m.store.Get(mirrorKey("l", "orders"), &rec); err != nil || rec.Status != status.Active.String() || rec.Gone {
		t.Errorf("%+v %v", rec, err)
	}
	src.produce(t, "orders", 0, 0, 5)
	awaitLagZero(t, m, src, "orders")
}

func TestAFailoverOfATopicThatIsGoneEndsWithTheReasonAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	for _, topic := range []string{"gone", "kept", "remade"} {
		src.topic(t, topic, 1, nil)
		src.produce(t, topic, 0, 0, 5)
	}
	m, stop := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	for _, topic := range []string{"gone", "kept", "remade"} {
		newTestMirror(t, m, topic)
		awaitLagZero(t, m, src, topic)
	}
	alter(t, m, api.VerbPause, "gone", "kept", "remade") // nothing but the failover meets it
	stop()
	dst.deleteTopic(t, "gone")
	dst.deleteTopic(t, "remade")
	dst.topic(t, "remade", 1, nil)
	m, _ = newEngine(t, dst)
	alter(t, m, api.VerbFailover, "gone", "kept", "remade")
	awaitStatus(t, m, "kept", status.Stopped)
	expectFailed(t, m, "gone", api.MirrorErrorIllegalState, "was deleted on this cluster")
	expectFailed(t, m, "remade", api.MirrorErrorIllegalState, "made anew by somebody else")
	if got := dst.end(t, "remade", 0); got != 0 {
		t.Errorf("the topic of others ends at %d: a marker or record of ours is in it", got)
	}
	ctxDone := make(chan error, 1)
	go func() { ctxDone <- m.DeleteLink(t.Context(), "l", true, false) }()
	select {
	case err := <-ctxDone:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("deleting the link waits for mirrors that are gone")
	}
}

func TestATopicThatOthersMadeInTheMirrorsPlaceIsNeverFilled(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"with records": 5, "never a record": 0} {
		t.Run(name, func(t *testing.T) {
			src, dst := newSite(t, "src"), newSite(t, "dst")
			src.topic(t, "orders", 1, nil)
			src.produce(t, "orders", 0, 0, n)
			m, _ := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			awaitLagZero(t, m, src, "orders")
			dst.deleteTopic(t, "orders")
			dst.topic(t, "orders", 1, nil)
			src.produce(t, "orders", 0, n, 5)
			expectFailed(t, m, "orders", api.MirrorErrorIllegalState, "made anew by somebody else")
			if got := dst.end(t, "orders", 0); got != 0 {
				t.Errorf("the topic of others ends at %d", got)
			}
		})
	}
}
