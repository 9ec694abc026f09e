package link

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

func TestMirrorHoldsTheSourcesRecordsAtTheSameOffsets(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 2, nil)
	src.produce(t, "orders", 0, 0, 10)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	src.produce(t, "orders", 0, 10, 10)
	src.produce(t, "orders", 1, 100, 3)
	awaitLagZero(t, m, src, "orders")
	if got, want := values(dst.read(t, "orders", 0, 0, 20)), values(src.read(t, "orders", 0, 0, 20)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := values(dst.read(t, "orders", 1, 0, 3)); got != "v100 v101 v102" {
		t.Errorf("partition 1: %s", got)
	}
}

func TestMirrorGoesOnAfterARestartFromTheDestinationsTail(t *testing.T) {
	t.Parallel()
	src, dst, _, stop := orders{records: 10}.mirror(t)
	stop()
	src.produce(t, "orders", 0, 10, 10)
	m, _ := newEngine(t, dst)
	awaitLagZero(t, m, src, "orders")
	if got, want := values(dst.read(t, "orders", 0, 0, 20)), values(src.read(t, "orders", 0, 0, 20)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestFailoverNeedsNoSourceAndKeepsTheStopOffsets(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{}.mirror(t)
	src.produce(t, "orders", 0, 0, 7)
	awaitLagZero(t, m, src, "orders")
	src.Close()
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	check := func(m *Manager) {
		t.Helper()
		got, err := m.Mirror(t.Context(), "l", "orders", false)
		if err != nil {
			t.Fatal(err)
		}
		if o := got.MirrorLags[0].LastSourceFetchOffset; o != 7 {
			t.Errorf("last source fetch offset %d, want 7", o)
		}
	}
	check(m)
	dst.produce(t, "orders", 0, 7, 1)
	stop()
	m, _ = newEngine(t, dst)
	check(m)
	res, err := m.AlterMirrors(t.Context(), "l", api.VerbFailover, api.AlterMirrors{MirrorTopicNames: []string{"orders"}}, false)
	if err != nil || res[0].Err() == nil {
		t.Fatalf("failover of a stopped mirror: %v %v", err, res)
	}
}

func TestPromoteDrainsAndStops(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 3, nil)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	for p := range int32(3) {
		src.produce(t, "orders", p, 0, 50)
	}
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	for p := range int32(3) {
		if n := len(dst.read(t, "orders", p, 0, 50)); n != 50 {
			t.Errorf("partition %d holds %d records", p, n)
		}
	}
}

func TestAWriteByOthersFailsTheMirror(t *testing.T) {
	t.Parallel()
	_, dst, m, _ := orders{records: 5}.mirror(t)
	dst.produce(t, "orders", 0, 666, 1)
	awaitStatus(t, m, "orders", status.Failed)
	got, err := m.Mirror(t.Context(), "l", "orders", true)
	if err != nil {
		t.Fatal(err)
	}
	if got.MirrorTopicError != api.MirrorErrorIllegalState || len(got.StateTransitionErrors) == 0 {
		t.Errorf("%+v", got)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
}

// The records of others stand between ours: the mirror's last record lies further
// behind than its segments say, and it has to end all the same.
func TestAMirrorThatOthersWroteIntoWhileItWasBusyFailsOver(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.oneByOne(t, "orders", 2000)
	m, _ := newEngineWith(t, dst, mergeTo(batch.Limits{}))
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	foreign := 0
	eventually(t, "the mirror fails", func() error {
		dst.produce(t, "orders", 0, 666, 1)
		foreign++
		got, err := m.Mirror(t.Context(), "l", "orders", false)
		if err == nil && got.MirrorStatus != status.Failed.String() {
			err = errors.New(got.MirrorStatus)
		}
		return err
	})
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	segs, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	// Each of the source's records before the stop offset is there.
	stop, n := segs.Partitions[0].SourceStop, int64(0)
	for _, r := range dst.committed(t, "orders", 0) {
		if string(r.Value) != "v666" {
			if want := fmt.Sprintf("%d %080d", n, n); string(r.Value) != want {
				t.Fatalf("record %d is %q", n, r.Value)
			}
			n++
		}
	}
	if n != stop {
		t.Errorf("the mirror holds %d records of the source and stopped at source offset %d, with %d of others", n, stop, foreign)
	}
}

func TestMirrorFollowsTheSourcesPartitions(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{}.mirror(t)
	if _, err := src.adm.UpdatePartitions(t.Context(), 3, "orders"); err != nil {
		t.Fatal(err)
	}
	src.produce(t, "orders", 2, 0, 4)
	eventually(t, "the mirror has three partitions", func() error {
		got, err := m.Mirror(t.Context(), "l", "orders", false)
		if err == nil && got.NumPartitions != 3 {
			err = fmt.Errorf("%d partitions", got.NumPartitions)
		}
		return err
	})
	if got := values(dst.read(t, "orders", 2, 0, 4)); got != "v0 v1 v2 v3" {
		t.Errorf("partition 2: %s", got)
	}
}

func TestAMirrorWhoseTopicWasDeletedCanBeMadeAnew(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{records: 5}.mirror(t)
	again := func() error {
		return m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1})
	}
	if err := again(); !errors.Is(err, api.ErrBadRequest) {
		t.Fatalf("over an existing topic: %v", err)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if _, err := dst.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mirror is made anew", again)
	awaitLagZero(t, m, src, "orders")
	if got := values(dst.read(t, "orders", 0, 0, 5)); got != "v0 v1 v2 v3 v4" {
		t.Errorf("got %s", got)
	}
}

func TestABrokerThatLostTheSequenceIsGivenANewOneBehindAFence(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{records: 5}.mirror(t)
	dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.OutOfOrderSequenceNumber, Count: refusals})
	src.produce(t, "orders", 0, 5, 5)
	awaitLagZero(t, m, src, "orders")
	stop()
	src.produce(t, "orders", 0, 10, 2)
	m, _ = newEngine(t, dst)
	awaitLagZero(t, m, src, "orders")
	got := dst.read(t, "orders", 0, 0, 12)
	if want := values(src.read(t, "orders", 0, 0, 12)); values(got) != want {
		t.Errorf("got %s\nwant %s", values(got), want)
	}
	if last := got[11].Offset; last != 12 {
		t.Errorf("the last record stands at %d, want 12: behind 11 records and the fence", last)
	}
	segs, err := m.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(segs.Partitions[0].Segments); n != 2 || segs.Partitions[0].Segments[1].ProducerEpoch != 1 {
		t.Errorf("segments %+v", segs.Partitions[0].Segments)
	}
}
