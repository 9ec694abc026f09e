package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The fence on our own writer: an engine is frozen with a produce on its way, a
// second one, which takes over when the first one's session has ended, fails the
// mirror over without the source, an application writes, and only then does the frozen engine's produce reach the broker.
func TestALateBatchOfAFrozenEngineDoesNotLandBehindTheStopOffset(t *testing.T) {
	l := &late{stage: newStage(t, apache, "late"), topic: "late", partitions: 2}
	l.play()
	if err := l.exact(l.topic, l.stops, l.app); err != nil {
		t.Fatal(err)
	}
	if err := l.first.Process().Resume(); err != nil {
		t.Fatal(err)
	}
	l.shares(l.first, l.second) // so it has learned that it was taken over, and is a replica now
	// Awake it had time to write; nothing of it may be there, and the stop offsets
	// must be those that the second engine has committed.
	now := l.stage.stops(l.second, link, l.topic)
	for p, was := range l.stops {
		if now[p].SourceStop != was.SourceStop || now[p].DestStop != was.DestStop {
			t.Errorf("partition %d: stop offsets were %d and %d, now %d and %d", p, was.SourceStop, was.DestStop, now[p].SourceStop, now[p].DestStop)
		}
	}
	if err := l.exact(l.topic, now, l.app); err != nil {
		t.Error(err)
	}
}

// The same without the fence: the batch lands. If it did not, the test above
// would prove nothing.
func TestWithoutTheWriterFenceALateBatchLandsBehindTheStopOffset(t *testing.T) {
	l := &late{stage: newStage(t, apache, "unfenced"), topic: "unfenced", partitions: 2}
	l.mutant = "no-writer-fence"
	l.play()
	err := l.exact(l.topic, l.stops, l.app)
	if err == nil || !strings.Contains(err.Error(), "behind the stop offset") {
		t.Fatalf("the checker found nothing wrong with an engine that does not fence its writer: %v", err)
	}
	t.Logf("caught: %v", err)
}

const link = "east-west"

// late is the story up to the moment when the late batch has had its answer.
type late struct {
	*stage
	topic         string
	partitions    int32
	first, second *harness.Engine
	stops         map[int32]api.PartitionSegments
	app           int // records that the application wrote to each partition
}

func (l *late) play() {
	l.Helper()
	one, two := "first-"+l.topic, "second-"+l.topic
	l.stage.topic(l.topic, l.partitions)
	l.first = l.engine(one)
	l.link(l.first, link)
	l.mirror(l.first, link, l.topic)
	stop := l.busy(l.topic, l.partitions)
	l.await(time.Minute, "both partitions are mirrored", func(ctx context.Context) error {
		at, err := l.progress(ctx, l.first, link, l.topic)
		for p := range l.partitions {
			if at[p].SourcePosition < 200 {
				err = errors.Join(err, fmt.Errorf("partition %d is at %d", p, at[p].SourcePosition))
			}
		}
		return err
	})
	stop()
	l.awaitMirrored(l.first, link, l.topic)
	l.hold(one)
	if err := l.first.Process().Pause(); err != nil {
		l.Fatal(err)
	}
	// The source is gone for the second engine. It would else mirror the very batch
	// that is late, and the sequence alone would keep that out.
	l.source.Proxies().Hold(remoteClients(two, link))
	l.Cleanup(func() { l.source.Proxies().Release(remoteClients(two, link)) })
	l.second = l.engine(two)
	if err := l.alter(l.second.Client(), link, api.VerbFailover, l.topic); err != nil {
		l.Fatal(err)
	}
	l.awaitStatus(l.second, link, l.topic, "STOPPED")
	l.stops = l.stage.stops(l.second, link, l.topic)
	l.app = 25
	for p := range l.partitions {
		l.produce(l.dst, l.topic, p, "app", 0, l.app)
	}
	answered := l.dest.Proxies()[0].DropResponse(produceKey, localClients(one), 1)
	l.dest.Proxies().Release(localClients(one))
	select {
	case <-answered: // so the broker had the late request, and has decided
	case <-time.After(2 * time.Minute):
		l.Fatal("the late produce never reached the broker")
	}
}

// hold freezes a produce of the engine on its way: with nothing to do it is cut
// off from the destination, then the source gets more. The proxy has read the
// engine's request and the broker has not; play checks that in the end it came.
func (l *late) hold(engine string) {
	l.Helper()
	client := localClients(engine)
	l.dest.Proxies().Hold(client)
	l.Cleanup(func() { l.dest.Proxies().Release(client) })
	for p := range l.partitions {
		l.produce(l.src, l.topic, p, "late", 0, 30)
	}
	began := time.Now()
	l.await(2*time.Minute, "the engine waits for the answer", func(ctx context.Context) error {
		at, err := l.progress(ctx, l.first, link, l.topic)
		if err != nil {
			return err
		}
		ends, err := l.srcAdm.ListEndOffsets(ctx, l.topic)
		if err != nil {
			return err
		}
		for p, a := range at {
			if end, _ := ends.Lookup(l.topic, p); a.SourcePosition != end.Offset-30 {
				return fmt.Errorf("partition %d is at %d of %d", p, a.SourcePosition, end.Offset)
			}
		}
		// A Fetch under way ends within half a second.
		if since, held := time.Since(began), l.dest.Proxies().Held(kmsg.Produce.Int16(), client); since < 2*time.Second || held == 0 {
			return fmt.Errorf("held for %s, produces on %d connections", since, held)
		}
		return nil
	})
}
