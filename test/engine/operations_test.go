package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
)

// What an engine process does with operations, and with sources that go wrong.
// The tests share one engine on kfake; each has a link and topics of its own.
func TestOneEngine(t *testing.T) {
	s := newStage(t, fake, "shared")
	e := s.engine("shared")
	for _, test := range []struct {
		name string
		run  func(*stage, *harness.Engine)
	}{
		{"ARevokedPromoteThatIsDrainingGoesBackToActiveAndGoesOn", revokedWhileDraining},
		{"ADelayedCallOfAnEndedRunDoesNothing", delayedCall},
		{"PromoteWithTheSourceAwayIsRefusedAndTheMirrorStaysActive", promoteWithoutSource},
		{"FailoverOfAStoppedTopicIsItsOwnErrorAndStopsTheOthers", oneStoppedAlready},
		{"FailoverAskedAgainAndAgainStopsOnce", failoverTwice},
		{"FailoverDoesNotWaitForASourceThatHangs", failoverFromAHangingSource},
		{"PartitionsThatTheSourceGetsWhileMirroringAreMirrored", grownPartitions},
		{"ASourceTopicMadeAnewFailsTheMirrorBeforeARecordOfItIsTaken", madeAnew},
		{"AFaultWhileAPromoteDrainsShowsAsFailed", faultWhileDraining},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newStage(t, fake, "shared"), e)
		})
	}
}

func revokedWhileDraining(s *stage, e *harness.Engine) {
	s.topic("revoked", 2)
	s.link(e, "revoked")
	s.mirror(e, "revoked", "revoked")
	s.produce(s.src, "revoked", 1, "v", 0, 50)
	commit := s.open("revoked", "held", 10)
	s.produce(s.src, "revoked", 0, "behind", 0, 5)
	op := api.Operation{OperationID: "op-revoked", Epoch: 7}
	if _, err := e.Client().PutOperation(s.Context(), "revoked", op); err != nil {
		s.Fatal(err)
	}
	if err := s.alter(e.Client().As(op), "revoked", api.VerbPromote, "revoked"); err != nil {
		s.Fatal(err)
	}
	s.awaitStatus(e, "revoked", "revoked", "PENDING_STOPPED")
	if got, err := e.Client().RevokeOperation(s.Context(), "revoked", op); err != nil || got.State != "revoked" {
		s.Fatalf("revoke: %+v, %v", got, err)
	}
	s.awaitStatus(e, "revoked", "revoked", "ACTIVE")
	commit()
	s.produce(s.src, "revoked", 1, "v", 50, 50)
	s.awaitMirrored(e, "revoked", "revoked")
	s.awaitStatus(e, "revoked", "revoked", "ACTIVE")
	for p := range int32(2) {
		if err := same(p, s.all(s.source, "revoked", p), s.all(s.dest, "revoked", p)); err != nil {
			s.Error(err)
		}
	}
	if err := s.alter(e.Client().As(op), "revoked", api.VerbFailover, "revoked"); !errors.Is(err, api.ErrConflict) {
		s.Errorf("a call of the revoked operation: %v, want a 409", err)
	}
}

func delayedCall(s *stage, e *harness.Engine) {
	s.topic("delayed", 1)
	s.link(e, "delayed")
	s.mirror(e, "delayed", "delayed")
	put := func(id string, epoch int64) api.Operation {
		op := api.Operation{OperationID: id, Epoch: epoch}
		if _, err := e.Client().PutOperation(s.Context(), "delayed", op); err != nil {
			s.Fatal(err)
		}
		return op
	}
	end := func(op api.Operation) {
		if _, err := e.Client().EndOperation(s.Context(), "delayed", op); err != nil {
			s.Fatal(err)
		}
	}
	old := put("old", 3)
	end(old)
	revoked := put("revoked", 4)
	if _, err := e.Client().RevokeOperation(s.Context(), "delayed", revoked); err != nil {
		s.Fatal(err)
	}
	now := put("now", 5)
	foreign := api.Operation{OperationID: "other", Epoch: 5}
	for _, op := range []api.Operation{old, revoked, foreign, {OperationID: "now", Epoch: 4}} {
		for _, verb := range []api.MirrorVerb{api.VerbPromote, api.VerbFailover, api.VerbPause} {
			if err := s.alter(e.Client().As(op), "delayed", verb, "delayed"); !errors.Is(err, api.ErrConflict) {
				s.Errorf("%s by operation %s of epoch %d: %v, want a 409", verb, op.OperationID, op.Epoch, err)
			}
		}
	}
	if err := s.alter(e.Client(), "delayed", api.VerbFailover, "delayed"); !errors.Is(err, api.ErrConflict) {
		s.Errorf("a call by hand beside an open operation: %v, want a 409", err)
	}
	for _, op := range []api.Operation{old, revoked} {
		if _, err := e.Client().PutOperation(s.Context(), "delayed", op); !errors.Is(err, api.ErrConflict) {
			s.Errorf("operation %s opened again: %v, want a 409", op.OperationID, err)
		}
	}
	s.awaitStatus(e, "delayed", "delayed", "ACTIVE")
	if err := s.alter(e.Client().As(now), "delayed", api.VerbFailover, "delayed"); err != nil {
		s.Error(err)
	}
	s.awaitStatus(e, "delayed", "delayed", "STOPPED")
}

func promoteWithoutSource(s *stage, e *harness.Engine) {
	s.topic("away", 1)
	s.link(e, "away")
	s.mirror(e, "away", "away")
	s.produce(s.src, "away", 0, "v", 0, 10)
	s.awaitMirrored(e, "away", "away")
	s.source.Proxies().Hold(remoteClients("shared", "away"))
	defer s.source.Proxies().Release(remoteClients("shared", "away"))
	err := s.alter(e.Client(), "away", api.VerbPromote, "away")
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != 400 || !strings.Contains(refused.Message, "source does not answer") {
		s.Errorf("promote without the source: %v, want a 400 that says so", err)
	}
	s.awaitStatus(e, "away", "away", "ACTIVE")
	s.source.Proxies().Release(remoteClients("shared", "away"))
	s.produce(s.src, "away", 0, "v", 10, 10)
	s.awaitMirrored(e, "away", "away")
}

func oneStoppedAlready(s *stage, e *harness.Engine) {
	topics := []string{"three-a", "three-b", "three-c"}
	s.link(e, "three")
	for _, topic := range topics {
		s.topic(topic, 1)
		s.produce(s.src, topic, 0, "v", 0, 20)
	}
	s.mirror(e, "three", topics...)
	for _, topic := range topics {
		s.awaitMirrored(e, "three", topic)
	}
	if err := s.alter(e.Client(), "three", api.VerbFailover, "three-b"); err != nil {
		s.Fatal(err)
	}
	s.awaitStatus(e, "three", "three-b", "STOPPED")
	res, err := e.Client().AlterMirrors(s.Context(), "three", api.VerbFailover, api.AlterMirrors{MirrorTopicNames: topics}, false)
	if err != nil || len(res) != 3 {
		s.Fatalf("failover of three: %+v, %v", res, err)
	}
	for _, r := range res {
		if stopped := r.MirrorTopicName == "three-b"; (r.Err() != nil) != stopped {
			s.Errorf("%s: %v", r.MirrorTopicName, r.Err())
		}
	}
	for _, topic := range topics {
		s.awaitStatus(e, "three", topic, "STOPPED")
		if err := s.exact(topic, s.stops(e, "three", topic), 0); err != nil {
			s.Error(err)
		}
	}
}

// A runbook's retry asks again while the first call is at work.
func failoverTwice(s *stage, e *harness.Engine) {
	s.topic("twice", 4)
	s.link(e, "twice")
	for p := range int32(4) {
		s.produce(s.src, "twice", p, "v", 0, 20)
	}
	s.mirror(e, "twice", "twice")
	s.awaitMirrored(e, "twice", "twice")
	for range 5 {
		if err := s.alter(e.Client(), "twice", api.VerbFailover, "twice"); err != nil && !strings.Contains(err.Error(), "STOPPED") {
			s.Logf("asked again: %v", err)
		}
	}
	s.awaitStatus(e, "twice", "twice", "STOPPED")
	stops := s.stops(e, "twice", "twice")
	for p := range int32(4) {
		s.produce(s.dst, "twice", p, "app", 0, 10)
	}
	ends, err := s.dstAdm.ListEndOffsets(s.Context(), "twice")
	if err != nil {
		s.Fatal(err)
	}
	// Longer than an end that failed takes to be tried again.
	deadline := time.Now().Add(3 * time.Second)
	s.await(time.Minute, "a second end would have shown", func(ctx context.Context) error {
		now, err := s.dstAdm.ListEndOffsets(ctx, "twice")
		if err != nil {
			return err
		}
		for p, stop := range s.stops(e, "twice", "twice") {
			was, _ := ends.Lookup("twice", p)
			is, _ := now.Lookup("twice", p)
			if is.Offset != was.Offset || stop.DestStop != stops[p].DestStop || stop.SourceStop != stops[p].SourceStop {
				s.Fatalf("partition %d: log end %d → %d, stop offsets %d/%d → %d/%d", p, was.Offset, is.Offset,
					stops[p].SourceStop, stops[p].DestStop, stop.SourceStop, stop.DestStop)
			}
		}
		if time.Now().Before(deadline) {
			return errors.New("watching")
		}
		return nil
	})
	if err := s.exact("twice", stops, 10); err != nil {
		s.Error(err)
	}
}

// A source that answers nothing and closes nothing is what a lost site looks
// like; it must not cost the failover its clients' time-outs.
func failoverFromAHangingSource(s *stage, e *harness.Engine) {
	s.topic("hanging", 2)
	s.link(e, "hanging", [2]string{"consumer.offset.sync.enable", "true"}, [2]string{"consumer.offset.group.filters", `{"groupFilters":[{"name":"*","patternType":"LITERAL","filterType":"INCLUDE"}]}`})
	s.produce(s.src, "hanging", 0, "v", 0, 20)
	s.mirror(e, "hanging", "hanging")
	s.awaitMirrored(e, "hanging", "hanging")
	s.source.Proxies().Hold(remoteClients("shared", "hanging"))
	defer s.source.Proxies().Release(remoteClients("shared", "hanging"))
	s.source.Proxies().Cut(remoteClients("shared", "hanging")) // connections have to be made anew, and hang there
	s.await(2*time.Minute, "the partition has noticed", func(ctx context.Context) error {
		at, err := s.progress(ctx, e, "hanging", "hanging")
		if err == nil && at[0].Stalled == "" {
			err = errors.New("not stalled")
		}
		return err
	})
	began := time.Now()
	if err := s.alter(e.Client(), "hanging", api.VerbFailover, "hanging"); err != nil {
		s.Fatal(err)
	}
	s.awaitStatus(e, "hanging", "hanging", "STOPPED")
	if took := time.Since(began); took > 8*time.Second {
		s.Errorf("the failover took %s", took)
	}
	if err := s.exact("hanging", s.stops(e, "hanging", "hanging"), 0); err != nil {
		s.Error(err)
	}
}

func grownPartitions(s *stage, e *harness.Engine) {
	s.topic("grown", 1)
	s.link(e, "grown")
	s.mirror(e, "grown", "grown")
	stop := s.busy("grown", 1)
	if _, err := s.srcAdm.UpdatePartitions(s.Context(), 3, "grown"); err != nil {
		s.Fatal(err)
	}
	more := s.client(s.source, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for n := range 20 {
		for p := int32(1); p < 3; p++ {
			s.produce(more, "grown", p, "g", n*10, 10)
		}
	}
	stop()
	s.awaitMirrored(e, "grown", "grown")
	if err := s.alter(e.Client(), "grown", api.VerbPromote, "grown"); err != nil {
		s.Fatal(err)
	}
	s.awaitStatus(e, "grown", "grown", "STOPPED")
	stops := s.stops(e, "grown", "grown")
	if len(stops) != 3 {
		s.Errorf("%d partitions have stop offsets", len(stops))
	}
	if err := s.exact("grown", stops, 0); err != nil {
		s.Error(err)
	}
}

// The new topic has records at the offsets where the mirror stands: taken for
// the old one's they would follow as if nothing had happened.
func madeAnew(s *stage, e *harness.Engine) {
	s.topic("anew", 1)
	s.link(e, "anew")
	s.mirror(e, "anew", "anew")
	s.produce(s.src, "anew", 0, "old", 0, 50)
	s.awaitMirrored(e, "anew", "anew")
	client := remoteClients("shared", "anew")
	s.source.Proxies().Hold(client)
	defer s.source.Proxies().Release(client)
	if _, err := s.srcAdm.DeleteTopic(s.Context(), "anew"); err != nil {
		s.Fatal(err)
	}
	s.topic("anew", 1)
	// A client that knew the old topic would write to it for a while.
	s.produce(s.client(s.source, kgo.RecordPartitioner(kgo.ManualPartitioner())), "anew", 0, "new", 0, 200)
	s.source.Proxies().Release(client)
	s.awaitStatus(e, "anew", "anew", "FAILED")
	m, err := e.Client().Mirror(s.Context(), "anew", "anew", true)
	if err != nil {
		s.Fatal(err)
	}
	if m.MirrorTopicError != api.MirrorErrorSourceIDChanged {
		s.Errorf("the mirror failed with %s %v, want %s", m.MirrorTopicError, m.StateTransitionErrors, api.MirrorErrorSourceIDChanged)
	}
	for _, r := range s.all(s.dest, "anew", 0) {
		if !strings.HasPrefix(string(r.Value), "old") {
			s.Fatalf("the mirror holds %q of the new topic", r.Value)
		}
	}
}

func faultWhileDraining(s *stage, e *harness.Engine) {
	s.topic("fault", 1)
	s.link(e, "fault", [2]string{"drawbridge.promote.timeout.ms", "2000"})
	s.mirror(e, "fault", "fault")
	s.produce(s.src, "fault", 0, "v", 0, 20)
	s.awaitMirrored(e, "fault", "fault")
	commit := s.open("fault", "held", 5)
	if err := s.alter(e.Client(), "fault", api.VerbPromote, "fault"); err != nil {
		s.Fatal(err)
	}
	s.awaitStatus(e, "fault", "fault", "PENDING_STOPPED")
	s.produce(s.dst, "fault", 0, "foreign", 0, 1)
	s.awaitStatus(e, "fault", "fault", "FAILED")
	commit()
	m, err := e.Client().Mirror(s.Context(), "fault", "fault", true)
	if err != nil || m.MirrorTopicError != api.MirrorErrorIllegalState {
		s.Errorf("%s %v", m.MirrorTopicError, errors.Join(err, fmt.Errorf("%v", m.StateTransitionErrors)))
	}
}
