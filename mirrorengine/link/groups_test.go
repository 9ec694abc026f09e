package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// syncing are the configs of a link that syncs all groups, when told to.
var syncing = map[string]string{
	keyOffsetSync:             "true",
	keyGroupFilters:           `{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`,
	"consumer.offset.sync.ms": "86400000",
}

func (s *site) commit(t *testing.T, group, topic string, p int32, at int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: 0, Metadata: "by " + group})
	if err := s.adm.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// committedAt is a group's offset, -1 for none.
func (s *site) committedAt(t testing.TB, group, topic string, p int32) kadm.Offset {
	t.Helper()
	res, err := s.adm.FetchOffsets(t.Context(), group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		t.Fatal(err)
	}
	o, ok := res.Lookup(topic, p)
	if !ok {
		return kadm.Offset{At: -1}
	}
	return o.Offset
}

func (s *site) expectCommit(t testing.TB, group, topic string, p int32, want int64) {
	t.Helper()
	if got := s.committedAt(t, group, topic, p).At; got != want {
		t.Errorf("group %s on %s partition %d stands at %d, want %d", group, topic, p, got, want)
	}
}

func syncNow(t *testing.T, m *Manager) map[groupAt]api.GroupState {
	t.Helper()
	got, err := m.SyncGroups(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	return byGroup(got)
}

func byGroup(got api.GroupSync) map[groupAt]api.GroupState {
	out := map[groupAt]api.GroupState{}
	for _, s := range got.Groups {
		out[groupAt{s.Group, s.Topic, s.Partition}] = s
	}
	return out
}

// mirrored is a running mirror of "orders" with n records and group sync.
func mirrored(t *testing.T, n int) (src, dst *site, m *Manager) {
	t.Helper()
	src, dst, m, _ = orders{partitions: 2, records: n, link: syncing}.mirror(t)
	return src, dst, m
}

func TestGroupOffsetsFollowTheSourceForwardsAndBack(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 20)
	for _, at := range []int64{5, 12, 3, 20} {
		src.commit(t, "app", "orders", 0, at)
		got := syncNow(t, m)[groupAt{"app", "orders", 0}]
		if got.SourceOffset != at || got.Wanted != at || got.DestOffset != at || !got.Owned || got.Problem != "" {
			t.Errorf("at %d: %+v", at, got)
		}
		dst.expectCommit(t, "app", "orders", 0, at)
	}
	if o := dst.committedAt(t, "app", "orders", 0); o.LeaderEpoch != -1 || o.Metadata != "by app" {
		t.Errorf("leader epoch %d (want -1), metadata %q (want the source's)", o.LeaderEpoch, o.Metadata)
	}
}

func TestGroupOfATopicThatIsNotMirroredIsNotSynced(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 5)
	src.topic(t, "other", 1, nil)
	dst.topic(t, "other", 1, nil)
	src.produce(t, "other", 0, 0, 3)
	src.commit(t, "app", "other", 0, 2)
	src.commit(t, "app", "orders", 0, 2)
	syncNow(t, m)
	dst.expectCommit(t, "app", "other", 0, -1)
	dst.expectCommit(t, "app", "orders", 0, 2)
}

func TestGroupDeletedAtTheSourceIsDeletedOnTheDestinationIfItIsOurs(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 20)
	for _, g := range []string{"ours", "theirs"} {
		src.commit(t, g, "orders", 0, 5)
	}
	syncNow(t, m)
	dst.commit(t, "theirs", "orders", 0, 11)
	for _, g := range []string{"ours", "theirs"} {
		if _, err := src.adm.DeleteGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	got := syncNow(t, m)
	if len(got) != 0 {
		t.Errorf("still listed: %+v", got)
	}
	dst.expectCommit(t, "ours", "orders", 0, -1)
	dst.expectCommit(t, "theirs", "orders", 0, 11)
}

func TestQuietGroupIsWrittenAgainBeforeItExpires(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 20)
	src.commit(t, "app", "orders", 0, 5)
	syncNow(t, m)
	l := linkOf(t, m)
	at := groupAt{"app", "orders", 0}
	l.groups.dest.Lock()
	rec := l.groups.records[at]
	old := time.Now().Add(-offsetRetention/4 - time.Minute) // kfake's retention is Kafka's default
	rec.WroteAt = old
	l.groups.records[at] = rec
	l.groups.dest.Unlock()
	syncNow(t, m)
	dst.expectCommit(t, "app", "orders", 0, 5)
	var stored groupRecord
	if ok, err := m.store.Get(at.key("l"), &stored); !ok || err != nil || time.Since(stored.WroteAt) > time.Minute {
		t.Errorf("not written again: %+v %v %v", stored, ok, err)
	}
}

func TestGroupAheadOfTheMirrorIsClampedAndSettledWhenTheMirrorEnds(t *testing.T) {
	t.Parallel()
	src, dst, m := mirrored(t, 10)
	alter(t, m, api.VerbPause, "orders")
	src.produce(t, "orders", 0, 10, 10)
	src.commit(t, "ahead", "orders", 0, 17)
	src.commit(t, "beyond", "orders", 0, 20)
	src.commit(t, "within", "orders", 0, 4)
	got := syncNow(t, m)
	if s := got[groupAt{"ahead", "orders", 0}]; !s.Clamped || s.Wanted != 10 || s.SourceOffset != 17 {
		t.Errorf("%+v", s)
	}
	dst.expectCommit(t, "ahead", "orders", 0, 10)
	alter(t, m, api.VerbResume, "orders")
	awaitLagZero(t, m, src, "orders")
	src.Close() // the last raw offset must do
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	dst.expectCommit(t, "ahead", "orders", 0, 17)
	dst.expectCommit(t, "within", "orders", 0, 4)
	// Partition 1 of the groups had no commit: it is explicit now.
	dst.expectCommit(t, "within", "orders", 1, 0)
	mt := mirrorOf(t, m, "orders")
	// The group at the tip stands where the application's first record will be.
	dst.expectCommit(t, "beyond", "orders", 0, mt.parts()[0].stop.DestStop)
	states, err := m.Groups(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	if s := byGroup(states)[groupAt{"ahead", "orders", 0}]; s.SourceOffset != 17 || s.DestOffset != 17 || s.Clamped {
		t.Errorf("%+v", s)
	}
}

func TestSyncOfASilentSourceSaysSo(t *testing.T) {
	t.Parallel()
	src, _, m := mirrored(t, 1)
	src.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := m.SyncGroups(ctx, "l"); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("got %v, want a 503", err)
	}
}

// Every position of a source with aborted transactions and markers must lead to
// the record that a reader of the source would get next.
func TestGroupTranslationOverGapsLeadsToTheNextCommittedRecord(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	src.produceTxns(t, rng, "orders", 12)
	src.produce(t, "orders", 0, 0, 1)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, syncing)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	from, to := src.committed(t, "orders", 0), dst.committed(t, "orders", 0)
	next := func(recs []*kgo.Record, at int64) string {
		for _, r := range recs {
			if r.Offset >= at && !r.Attrs.IsControl() {
				return string(r.Value)
			}
		}
		return "the end"
	}
	end := from[len(from)-1].Offset + 1
	for at := int64(0); at <= end; at++ {
		src.commit(t, fmt.Sprintf("g%d", at), "orders", 0, at)
	}
	got := syncNow(t, m)
	for at := int64(0); at <= end; at++ {
		s := got[groupAt{fmt.Sprintf("g%d", at), "orders", 0}]
		if s.Problem != "" || s.DestOffset < 0 {
			t.Fatalf("%+v", s)
		}
		if want, have := next(from, at), next(to, s.DestOffset); want != have {
			t.Errorf("a group at %d of the source reads %q next, at %d of the mirror %q", at, want, s.DestOffset, have)
		}
	}
}

func TestShareGroupsAreListedAsNotProtected(t *testing.T) {
	t.Parallel()
	src, _, m := mirrored(t, 5)
	member := newClient(t, src.ListenAddrs(), kgo.ShareGroup("shared"), kgo.ConsumeTopics("orders"))
	ctx, cancel := context.WithCancel(t.Context())
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		for ctx.Err() == nil {
			member.PollFetches(ctx)
		}
	}()
	defer func() { cancel(); <-polled }()
	eventually(t, "the share group is listed", func() error {
		s, ok := syncNow(t, m)[groupAt{"shared", "", -1}]
		if !ok || !strings.Contains(s.Problem, "share group") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	l := linkOf(t, m)
	faults, err := l.syncGroups(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if notes := faults.notes(); len(faults.tasks()) > 0 || len(notes) != 1 || !strings.Contains(notes[0].ErrorMessage, "share groups are not synced") || !strings.Contains(notes[0].ErrorMessage, "shared") {
		t.Errorf("%+v %+v", faults.tasks(), notes)
	}
}

func TestStateOfADeletedLinksGroupsIsGone(t *testing.T) {
	t.Parallel()
	src, _, m := mirrored(t, 5)
	src.commit(t, "app", "orders", 0, 3)
	syncNow(t, m)
	if recs, err := state.All[groupRecord](m.store, groupKeys("l")); err != nil || len(recs) != 1 {
		t.Fatalf("%v %v", recs, err)
	}
	if err := m.DeleteLink(t.Context(), "l", true, false); err != nil {
		t.Fatal(err)
	}
	if keys := m.store.Keys("group/"); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
}

func TestOffsetHeldByATransactionIsNamedAndNotWritten(t *testing.T) {
	at := groupAt{"app", "orders", 0}
	l := &Link{mirrors: map[string]*MirrorTopic{}}
	l.groups.records = map[groupAt]groupRecord{at: {Group: "app", Topic: "orders", Source: 4, Wrote: 4, Before: 4}}
	m := &MirrorTopic{link: l, rec: mirrorRecord{Topic: "orders", Status: status.Active.String()}}
	p := &partition{mirror: m, dst: topicPartition{"orders", 0}}
	parts := map[topicPartition]*partition{p.dst: p}
	view := sourceView{unknown: map[groupAt]string{at: "held by a transaction"}}
	dest := destView{commits: map[groupAt]kadm.Offset{at: {At: 4}}}
	var faults groupFaults
	work := l.decideAll([]groupWork{{at: at}}, view, dest, parts, &faults, time.Now(), time.Hour)
	if len(work) != 1 || work[0].decision.act != groupKeep || work[0].decision.next != l.groups.records[at] {
		t.Fatalf("%+v", work)
	}
	l.tellGroups(work, view, nil, &faults, time.Now())
	if s := l.groups.states[at]; s.Problem != "held by a transaction" || s.SourceOffset != 4 || s.DestOffset != 4 {
		t.Errorf("%+v", s)
	}
}
