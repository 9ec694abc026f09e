package link

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// holdMarkers keeps ends of "orders" from coming to theirs; each try is told.
func (s *site) holdMarkers() (tried chan struct{}, open func()) {
	tried = make(chan struct{}, 1)
	held := s.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.WriteTxnMarkers}, Topic: "orders", Err: kerr.NotLeaderForPartition, Count: -1, When: func(kmsg.Request) bool {
		select {
		case tried <- struct{}{}:
		default:
		}
		return true
	}})
	return tried, func() { held.Remove() }
}

func TestAnEndOutlivesTheCallerWhoGivesUpDeletingTheLink(t *testing.T) {
	t.Parallel()
	_, dst, m, _ := orders{records: 5}.mirror(t)
	tried, open := dst.holdMarkers()
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	deleted := make(chan error, 1)
	go func() { deleted <- m.DeleteLink(ctx, "l", true, false) }()
	<-tried
	giveUp()
	if err := <-deleted; !errors.Is(err, context.Canceled) {
		t.Fatalf("a delete that was given up: %v", err)
	}
	open()
	awaitStatus(t, m, "orders", status.Stopped)
	if err := m.DeleteLink(t.Context(), "l", true, false); err != nil {
		t.Fatal(err)
	}
	if _, err := m.link("l"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("the link: %v", err)
	}
}

func TestALinkIsNotDeletedUnderAFailoverThatStillEnds(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "orders", 1, nil)
	src.produce(t, "orders", 0, 0, 5)
	m, _ := guardedEngine(t, dst, "admin", false)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	tried, open := dst.holdMarkers()
	alter(t, m, api.VerbFailover, "orders")
	<-tried
	deleted := make(chan error, 1)
	go func() { deleted <- m.DeleteLink(t.Context(), "l", true, false) }()
	for range 2 {
		select {
		case err := <-deleted:
			t.Fatalf("deleted (%v) while its mirror was ending", err)
		case <-tried:
		}
	}
	open()
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	got, err := m.Segments(t.Context(), "l", "orders")
	if err != nil || len(got.Partitions) != 1 || got.Partitions[0].SourceStop != 5 {
		t.Errorf("where the mirror stopped: %+v, error %v", got, err)
	}
	if got := denials(t, m); len(got) > 0 {
		t.Errorf("the guard is still there: %q", got)
	}
}
