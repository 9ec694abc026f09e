package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

func TestForeignGroupOffsetIsLeftAloneAndNamed(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 20)
	src.commit(t, "app", "orders", 0, 5)
	syncNow(t, m)
	dst.commit(t, "app", "orders", 0, 17)
	src.commit(t, "app", "orders", 0, 6)
	got := syncNow(t, m)[groupAt{"app", "orders", 0}]
	if got.Owned || got.SourceOffset != 6 || got.DestOffset != 17 || !strings.Contains(got.Problem, "offset 17") {
		t.Errorf("%+v", got)
	}
	dst.expectCommit(t, "app", "orders", 0, 17)
	l := linkOf(t, m)
	faults, err := l.syncGroups(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if tasks := faults.tasks(); len(tasks) != 1 || tasks[0].ErrorCode != "CONSUMER_GROUP_IN_USE_ERROR" || !strings.Contains(tasks[0].ErrorMessage, "group app") {
		t.Errorf("task errors %+v", tasks)
	}
	// It goes back to what the link wrote: the link goes on.
	dst.commit(t, "app", "orders", 0, 5)
	syncNow(t, m)
	dst.expectCommit(t, "app", "orders", 0, 6)
}

func TestGroupWithMembersOnTheDestinationIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string][]kgo.Opt{"classic": nil, "KIP-848": {kgo.ServerSideBalancer()}} {
		t.Run(name, func(t *testing.T) {
			src, dst, m := mirrored(t, 20)
			src.commit(t, "app", "orders", 0, 5)
			syncNow(t, m)
			opts := append(protocol, kgo.ConsumerGroup("app"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())
			member := newClient(t, dst.ListenAddrs(), opts...)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if f := member.PollFetches(ctx); f.Err() != nil {
				t.Fatal(f.Err())
			}
			src.commit(t, "app", "orders", 0, 9)
			got := syncNow(t, m)[groupAt{"app", "orders", 0}]
			if !strings.Contains(got.Problem, "members") || got.SourceOffset != 9 {
				t.Errorf("%+v", got)
			}
			dst.expectCommit(t, "app", "orders", 0, 5)
			member.Close()
			eventually(t, "the group is synced again", func() error {
				if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; s.Problem != "" {
					return errors.New(s.Problem)
				}
				return nil
			})
			dst.expectCommit(t, "app", "orders", 0, 9)
		})
	}
}

func TestGroupOwnershipOutlivesARestart(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{records: 20, link: syncing}.mirror(t)
	src.commit(t, "app", "orders", 0, 5)
	syncNow(t, m)
	stop()
	src.commit(t, "app", "orders", 0, 8)
	m, _ = newEngine(t, dst)
	awaitLagZero(t, m, src, "orders")
	eventually(t, "synced", func() error {
		if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; s.DestOffset != 8 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	dst.expectCommit(t, "app", "orders", 0, 8)
}

func TestEndedMirrorsGroupsBelongToTheApplications(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 10)
	src.commit(t, "app", "orders", 0, 4)
	syncNow(t, m)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	src.commit(t, "app", "orders", 0, 9)
	syncNow(t, m)
	dst.expectCommit(t, "app", "orders", 0, 4)
}

func TestLastRawOffsetsAreReadWhenAMirrorEndsBesideALivingSource(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 10)
	src.commit(t, "app", "orders", 0, 4)
	syncNow(t, m)
	src.commit(t, "app", "orders", 0, 9)
	src.produce(t, "orders", 1, 0, 4)
	src.commit(t, "new", "orders", 1, 2)
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	dst.expectCommit(t, "app", "orders", 0, 9)
	dst.expectCommit(t, "new", "orders", 1, 2)
	dst.expectCommit(t, "new", "orders", 0, 0)
}

func TestGroupOwnershipIsTakenOverWhenTheDirectionChanges(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 20)
	src.commit(t, "app", "orders", 0, 5)
	dst.commit(t, "app", "orders", 0, 3)
	dst.commit(t, "only-here", "orders", 0, 2)
	if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; s.Owned {
		t.Errorf("owned before it was taken over: %+v", s)
	}
	if _, err := m.OwnGroups(t.Context(), "l", api.TakeOwnership{}); err != nil {
		t.Fatal(err)
	}
	dst.expectCommit(t, "app", "orders", 0, 3)
	src.commit(t, "app", "orders", 0, 8)
	if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; !s.Owned || s.DestOffset != 8 {
		t.Errorf("%+v", s)
	}
	dst.expectCommit(t, "app", "orders", 0, 8)
	dst.expectCommit(t, "only-here", "orders", 0, 2)
	// Later foreign values are left alone as before.
	dst.commit(t, "app", "orders", 0, 1)
	src.commit(t, "app", "orders", 0, 9)
	syncNow(t, m)
	dst.expectCommit(t, "app", "orders", 0, 1)
}

// A pair goes home: the mirror has ended, the group has worked on this side, and
// the mirror will rejoin when the group works on the other.
func TestGroupOwnershipIsTakenOverWhileTheMirrorHasEnded(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 20)
	src.commit(t, "app", "orders", 0, 5)
	syncNow(t, m)
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	dst.commit(t, "app", "orders", 0, 7)
	got, err := m.OwnGroups(t.Context(), "l", api.TakeOwnership{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range got.Groups {
		if g.Group == "app" && g.Partition == 0 && g.Owned && g.DestOffset == 7 {
			return
		}
	}
	t.Errorf("the value of the ended mirror is not this link's: %+v", got.Groups)
}

func TestTakingOverAGroupThatTheFiltersLeaveOutIsRefused(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{
		keyOffsetSync:   "true",
		keyGroupFilters: `{"groupFilters":[{"name":"app","patternType":"PREFIXED","filterType":"INCLUDE"}]}`,
	})
	_, err := m.OwnGroups(t.Context(), "l", api.TakeOwnership{Groups: []string{"app-1", "other"}})
	if !errors.Is(err, api.ErrBadRequest) || !strings.Contains(err.Error(), "does not sync other:") {
		t.Errorf("got %v", err)
	}
}

func TestLastRawOffsetIsToldAfterARestartWithoutTheSource(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{records: 20, link: syncing}.mirror(t)
	alter(t, m, api.VerbPause, "orders")
	src.produce(t, "orders", 0, 20, 5)
	src.commit(t, "app", "orders", 0, 23)
	syncNow(t, m)
	stop()
	src.Close()
	m, _ = newEngine(t, dst)
	got, err := m.Groups(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	if s := byGroup(got)[groupAt{"app", "orders", 0}]; s.SourceOffset != 23 || s.DestOffset != 20 || !s.Owned {
		t.Errorf("%+v", s)
	}
}
