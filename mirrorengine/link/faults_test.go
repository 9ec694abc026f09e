package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
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

// restored is a source that is put back to an older copy of its disk, as an
// unclean leader election does to a partition: its log is shorter, and has
// another leader epoch from there on.
type restored struct {
	dir  string
	port int
}

func (r *restored) start(t *testing.T) *site {
	t.Helper()
	s := newSite(t, "src", kfake.DataDir(r.dir), kfake.Ports(r.port))
	if _, err := fmt.Sscanf(s.ListenAddrs()[0], "127.0.0.1:%d", &r.port); err != nil {
		t.Fatal(err)
	}
	return s
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// truncatedSource mirrors 10 records, then takes the last 5 from the source and
// has it grow again by n others.
func truncatedSource(t *testing.T, restartEngine bool, n int) (*Manager, *site) {
	t.Helper()
	dir := t.TempDir()
	r := &restored{dir: filepath.Join(dir, "data")}
	src, dst := r.start(t), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.produce(t, "orders", 0, 0, 5)
	src.Close()
	copyDir(t, r.dir, filepath.Join(dir, "backup"))
	src = r.start(t)
	m, stop := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	src.produce(t, "orders", 0, 5, 5)
	awaitLagZero(t, m, src, "orders")
	if restartEngine {
		stop()
	}
	src.Close()
	copyDir(t, filepath.Join(dir, "backup"), r.dir)
	src = r.start(t)
	if err := src.MoveTopicPartition("orders", 0, 0); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		src.produce(t, "orders", 0, 100, n)
	}
	if restartEngine {
		m, _ = newEngine(t, dst)
	}
	return m, dst
}

func TestATruncatedSourceFailsTheMirror(t *testing.T) {
	t.Parallel()
	for name, grown := range map[string]int{"shorter": 0, "as long": 5, "longer": 20} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %t", name, restart), func(t *testing.T) {
				t.Parallel() // they wait for a source that comes back
				m, dst := truncatedSource(t, restart, grown)
				expectFailed(t, m, "orders", api.MirrorErrorTruncation, "lost records that are in the mirror", "source offsets 5 to 9")
				if got := values(dst.read(t, "orders", 0, 0, 10)); got != "v0 v1 v2 v3 v4 v5 v6 v7 v8 v9" || dst.end(t, "orders", 0) != 10 {
					t.Errorf("the mirror holds %s and ends at %d", got, dst.end(t, "orders", 0))
				}
				alter(t, m, api.VerbFailover, "orders")
				awaitStatus(t, m, "orders", status.Stopped)
			})
		}
	}
}

// A leader that changes while the connection stands shows by the epoch of what
// comes next.
func TestAnotherLeaderIsAskedForWhatWasReadBeforeItsRecordsAreTaken(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{records: 5}.mirror(t)
	for i := range 3 { // clean changes
		if err := src.MoveTopicPartition("orders", 0, 0); err != nil {
			t.Fatal(err)
		}
		src.produce(t, "orders", 0, 5+2*i, 2)
		awaitLagZero(t, m, src, "orders")
	}
	segs, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	var epochs []int32
	for _, s := range segs.Partitions[0].Segments {
		epochs = append(epochs, s.SourceLeaderEpoch)
	}
	if fmt.Sprint(epochs) != "[0 1 2 3]" {
		t.Errorf("epochs of the segments %v", epochs)
	}
	src.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		src.KeepControl()
		req := r.(*kmsg.OffsetForLeaderEpochRequest)
		res := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		rt.Topic, rp.LeaderEpoch, rp.EndOffset = "orders", req.Topics[0].Partitions[0].LeaderEpoch, 9
		rt.Partitions = append(rt.Partitions, rp)
		res.Topics = append(res.Topics, rt)
		return res, nil, true
	})
	if err := src.MoveTopicPartition("orders", 0, 0); err != nil {
		t.Fatal(err)
	}
	src.produce(t, "orders", 0, 100, 4)
	expectFailed(t, m, "orders", api.MirrorErrorTruncation, "epoch 3 ends at 9", "source offsets 9 to 10")
	if got := dst.end(t, "orders", 0); got != 11 {
		t.Errorf("the mirror ends at %d, want 11", got)
	}
}

func TestOffsetsAreMappedAcrossTheSegmentsOfLeaderEpochs(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{}.mirror(t)
	for i := range 6 {
		src.produce(t, "orders", 0, 3*i, 3)
		awaitLagZero(t, m, src, "orders")
		if err := src.MoveTopicPartition("orders", 0, 0); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			stop()
			m, stop = newEngine(t, dst)
		}
	}
	segs, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	var list []offsetmap.Segment
	for _, s := range segs.Partitions[0].Segments {
		list = append(list, offsetmap.Segment(s))
	}
	om, err := offsetmap.New(list)
	if err != nil {
		t.Fatal(err)
	}
	for at := range int64(18) {
		if got, _ := om.ToDest(at, 18, 18); got != at || om.ToSource(at) != at {
			t.Errorf("%d leads to %d and back to %d", at, got, om.ToSource(at))
		}
	}
	if got, want := values(dst.read(t, "orders", 0, 0, 18)), values(src.read(t, "orders", 0, 0, 18)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

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
	case <-time.After(30 * time.Second):
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

func (s *site) end(t *testing.T, topic string, p int32) int64 {
	t.Helper()
	ends, err := s.adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := ends.Lookup(topic, p)
	return o.Offset
}
