package link

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

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
	om := segmentsMap(t, m, "orders")
	for at := range int64(18) {
		if got, _ := om.ToDest(at, 18, 18); got != at || om.ToSource(at) != at {
			t.Errorf("%d leads to %d and back to %d", at, got, om.ToSource(at))
		}
	}
	if got, want := values(dst.read(t, "orders", 0, 0, 18)), values(src.read(t, "orders", 0, 0, 18)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
