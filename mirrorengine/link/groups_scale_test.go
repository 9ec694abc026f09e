package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requests counts what a site is asked, by key.
type requests struct {
	mu sync.Mutex // guards n
	n  map[kmsg.Key]int
}

func (s *site) count(keys ...kmsg.Key) *requests {
	c := &requests{n: map[kmsg.Key]int{}}
	for _, key := range keys {
		s.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			s.KeepControl()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.n[key]++
			return nil, nil, false
		})
	}
	return c
}

func (c *requests) take() map[kmsg.Key]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[kmsg.Key]int{}
	return n
}

func TestThousandsOfGroupsAreSyncedByFewRequests(t *testing.T) {
	const groups, moved = 5000, 7
	src, dst, m, _ := orders{partitions: 2, records: 20, link: syncing}.mirror(t)
	for n := range groups {
		src.commit(t, fmt.Sprintf("g%d", n), "orders", 0, int64(n%20))
	}
	asked, wrote := src.count(kmsg.ListGroups, kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.DescribeGroups), dst.count(kmsg.ListGroups, kmsg.OffsetFetch, kmsg.OffsetCommit, kmsg.OffsetDelete, kmsg.DescribeGroups)
	round := func() (from, to map[kmsg.Key]int) {
		t.Helper()
		l := linkOf(t, m)
		faults, err := l.syncGroups(t.Context(), false)
		if err := errors.Join(err, faults.err()); err != nil {
			t.Fatal(err)
		}
		return asked.take(), wrote.take()
	}
	few := func(what string, n map[kmsg.Key]int, commits int) {
		t.Helper()
		if n[kmsg.OffsetCommit] != commits {
			t.Errorf("%s: %d commits, want %d", what, n[kmsg.OffsetCommit], commits)
		}
		delete(n, kmsg.OffsetCommit)
		for key, times := range n {
			if times > 4 { // per broker, and there is one; some are asked again on a new connection
				t.Errorf("%s: %d requests %s", what, times, key.Name())
			}
		}
	}
	from, to := round()
	few("the first round at the source", from, 0)
	few("the first round here", to, groups) // a commit is of one group
	dst.expectCommit(t, "g4999", "orders", 0, 4999%20)
	from, to = round()
	few("a quiet round at the source", from, 0)
	few("a quiet round here", to, 0)
	for n := range moved {
		src.commit(t, fmt.Sprintf("g%d", n), "orders", 0, 1)
	}
	_, to = round()
	few("a round with few changes", to, moved-1) // g1 stood there
	states, err := m.Groups(t.Context(), "l")
	if err != nil || len(states.Groups) != groups {
		t.Errorf("%d groups listed: %v", len(states.Groups), err)
	}
}

func TestRefreshIsAQuarterOfTheDestinationsOwnRetention(t *testing.T) {
	t.Parallel()
	src := newSite(t, "src")
	dst := newSite(t, "dst", kfake.BrokerConfigs(map[string]string{"offsets.retention.minutes": "60"}))
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, syncing)
	l := linkOf(t, m)
	if got := l.refreshEvery(t.Context(), time.Now()); got != 15*time.Minute {
		t.Errorf("written again every %s, want 15m", got)
	}
}

// A group of either protocol that works at the source, its members committing by
// themselves: the standby's empty group is of another protocol, or none.
func TestOffsetsOfGroupsOfBothProtocolsArriveWhileTheirMembersWork(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string][]kgo.Opt{"classic": nil, "KIP-848": {kgo.ServerSideBalancer()}} {
		t.Run(name, func(t *testing.T) {
			src, dst, m := mirrored(t, 20)
			work := func() {
				t.Helper()
				opts := append(protocol, kgo.ConsumerGroup("app"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
				member := newClient(t, src.ListenAddrs(), opts...)
				defer member.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if f := member.PollFetches(ctx); f.Err() != nil || f.NumRecords() == 0 {
					t.Fatal(f.Err(), f.NumRecords())
				}
				if err := member.CommitUncommittedOffsets(ctx); err != nil {
					t.Fatal(err)
				}
				at := src.committedAt(t, "app", "orders", 0).At
				if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; at <= 0 || s.DestOffset != at || s.Problem != "" {
					t.Errorf("at %d of the source: %+v", at, s)
				}
				dst.expectCommit(t, "app", "orders", 0, at)
			}
			work()
			src.produce(t, "orders", 0, 20, 10)
			awaitLagZero(t, m, src, "orders")
			work()
			kind := map[string]string{"classic": "classic", "KIP-848": "consumer"}[name]
			if groups, err := listGroups(t.Context(), newCluster(src.client)); err != nil || !strings.EqualFold(groups["app"].kind, kind) {
				t.Errorf("%+v %v", groups["app"], err)
			}
		})
	}
}
