package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func TestAnEngineKilledWhileAPromoteDrainsEndsItAfterwards(t *testing.T) {
	s := newStage(t, apache, "promote")
	e := s.engine("promote")
	s.topic("promote", 2)
	s.link(e, link)
	s.mirror(e, link, "promote")
	for p := range int32(2) {
		s.produce(s.src, "promote", p, "v", 0, 250)
	}
	commit := s.open("promote", "held", 10)
	s.produce(s.src, "promote", 0, "behind", 0, 40)
	if err := s.alter(e.Client(), link, api.VerbPromote, "promote"); err != nil {
		t.Fatal(err)
	}
	s.awaitStatus(e, link, "promote", "PENDING_STOPPED")
	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	commit()
	s.produce(s.src, "promote", 1, "more", 0, 30)
	if err := e.Restart(s.within(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.awaitStatus(e, link, "promote", "STOPPED")
	s.drained(s.stops(e, link, "promote"), "promote")
	if err := s.exact("promote", s.stops(e, link, "promote"), 0); err != nil {
		t.Error(err)
	}
}

// drained checks that a mirror stopped at the source's very end, and that its
// destination stop is where its own log ended.
func (s *stage) drained(stops map[int32]api.PartitionSegments, topic string) {
	s.Helper()
	src, err := s.srcAdm.ListEndOffsets(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	dst, err := s.dstAdm.ListEndOffsets(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	for p, stop := range stops {
		from, _ := src.Lookup(topic, p)
		to, _ := dst.Lookup(topic, p)
		if stop.SourceStop != from.Offset || stop.DestStop != to.Offset {
			s.Errorf("partition %d: stop offsets %d and %d, the logs end at %d and %d", p, stop.SourceStop, stop.DestStop, from.Offset, to.Offset)
		}
	}
}

// Killed when the markers stand in the log and nothing of the stop is committed;
// and the source is away when the next engine comes.
func TestAnEngineKilledBehindTheFenceEndsTheFailoverWithoutTheSource(t *testing.T) {
	s := newStage(t, apache, "fenced")
	e := s.engine("fenced")
	s.topic("fenced", 2)
	s.link(e, link)
	s.mirror(e, link, "fenced")
	for p := range int32(2) {
		s.produce(s.src, "fenced", p, "v", 0, 250)
	}
	s.awaitMirrored(e, link, "fenced")
	before, err := s.dstAdm.ListEndOffsets(s.Context(), "fenced")
	if err != nil {
		t.Fatal(err)
	}
	// The engine does not learn that its markers were written.
	learn := s.dest.Proxies().Judge(kmsg.WriteTxnMarkers.Int16(), localClients("fenced"), func(local.Answer) local.Verdict { return local.Keep })
	t.Cleanup(learn)
	if err := s.alter(e.Client(), link, api.VerbFailover, "fenced"); err != nil {
		t.Fatal(err)
	}
	s.await(2*time.Minute, "the markers are in the log", func(ctx context.Context) error {
		now, err := s.dstAdm.ListEndOffsets(ctx, "fenced")
		if err != nil {
			return err
		}
		for p := range int32(2) {
			was, _ := before.Lookup("fenced", p)
			if is, _ := now.Lookup("fenced", p); is.Offset == was.Offset {
				return fmt.Errorf("partition %d ends at %d", p, is.Offset)
			}
		}
		return nil
	})
	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	learn()
	if r := s.recorded("fenced"); r.Status != "PENDING_STOPPED" || !r.Fenced {
		t.Fatalf("the engine was not killed between fence and STOPPED: %+v", r)
	}
	s.source.Proxies().Hold(remoteClients("fenced", link))
	defer s.source.Proxies().Release(remoteClients("fenced", link))
	if err := e.Restart(s.within(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	s.awaitStatus(e, link, "fenced", "STOPPED")
	stops := s.stops(e, link, "fenced")
	s.drained(stops, "fenced")
	for p := range int32(2) {
		s.produce(s.dst, "fenced", p, "app", 0, 10)
	}
	if err := s.exact("fenced", stops, 10); err != nil {
		t.Error(err)
	}
}

// mirrorRecord is what the state topic says of a mirror, as far as asked.
type mirrorRecord struct {
	Status string `json:"status"`
	Fenced bool   `json:"fenced"`
}

func (s *stage) recorded(topic string) mirrorRecord {
	s.Helper()
	var out mirrorRecord
	for _, r := range s.all(s.dest, s.state, 0) {
		if string(r.Key) != "mirror/"+link+"/"+topic || r.Value == nil {
			continue
		}
		value := struct {
			Data *mirrorRecord `json:"data"`
		}{Data: &out}
		out = mirrorRecord{}
		if err := json.Unmarshal(r.Value, &value); err != nil {
			s.Fatal(err)
		}
	}
	return out
}

// Every few hundred records the answer to a produce is lost: the batch is in the
// log, and the engine has to find that out.
func TestLostAcknowledgementsNeitherLoseNorDoubleARecord(t *testing.T) {
	const (
		records    = 50_000
		partitions = 3
		losses     = 20
	)
	s := newStage(t, apache, "acks")
	e := s.engine("acks")
	s.topic("acks", partitions)
	s.link(e, link)
	s.mirror(e, link, "acks")
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { written <- s.mixed(ctx, "acks", partitions, records) }()
	t.Cleanup(cancel)
	last := int64(0)
	for i := range losses {
		s.lost(s.loseAnswer("acks"), i)
		s.await(2*time.Minute, "the mirror goes on", func(ctx context.Context) error {
			at, err := s.progress(ctx, e, link, "acks")
			sum := int64(0)
			for _, p := range at {
				sum += p.SourcePosition
			}
			if err == nil && sum < last+100 {
				err = fmt.Errorf("it is at %d, was at %d", sum, last)
			}
			if err == nil {
				last = sum
			}
			return err
		})
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	s.awaitMirrored(e, link, "acks")
	s.promoted(e, "acks")
	t.Logf("%d answers were lost", losses)
}

// loseAnswer loses the answer to an engine's next produce; the channel tells when.
func (s *stage) loseAnswer(engine string) <-chan struct{} {
	return s.dest.Proxies()[0].DropResponse(produceKey, localClients(engine), 1)
}

// lost waits for that.
func (s *stage) lost(answer <-chan struct{}, before int) {
	s.Helper()
	select {
	case <-answer:
	case <-time.After(2 * time.Minute):
		s.Fatalf("no produce to lose the answer of; %d were lost", before)
	}
}

// promoted promotes a mirror and compares all of it with its source.
func (s *stage) promoted(e *harness.Engine, topic string) map[int32]api.PartitionSegments {
	s.Helper()
	if err := s.alter(e.Client(), link, api.VerbPromote, topic); err != nil {
		s.Fatal(err)
	}
	s.awaitStatus(e, link, topic, "STOPPED")
	stops := s.stops(e, link, topic)
	s.drained(stops, topic)
	if err := s.exact(topic, stops, 0); err != nil {
		s.Fatal(err)
	}
	return stops
}

// A backlog of one-record batches is merged and several batches are under way
// when the answer to one of them is lost.
func TestABacklogOfOneRecordBatchesSurvivesLostAcknowledgements(t *testing.T) {
	const (
		rounds     = 4
		perRound   = 900
		partitions = 3
	)
	s := newStage(t, apache, "tiny")
	e := s.engine("tiny")
	s.topic("tiny", partitions)
	s.link(e, link)
	s.mirror(e, link, "tiny")
	var clients []*kgo.Client
	for _, c := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		clients = append(clients, s.client(s.source, kgo.ProducerBatchCompression(c), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner())))
	}
	source := remoteClients("tiny", link)
	t.Cleanup(func() { s.source.Proxies().Release(source) })
	for round := range rounds {
		s.source.Proxies().Hold(source)
		for i := range perRound {
			n := round*perRound + i
			r := &kgo.Record{Topic: "tiny", Partition: int32(i % partitions), Value: fmt.Appendf(nil, "%d %060d", n, n)}
			if err := clients[i/100%len(clients)].ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		lost := s.loseAnswer("tiny")
		s.source.Proxies().Release(source)
		s.lost(lost, round)
		s.awaitMirrored(e, link, "tiny")
	}
	stops := s.promoted(e, "tiny")
	// Of equal offsets nothing was given up: no record of the source lies elsewhere.
	for p, stop := range stops {
		if stop.SourceStop != stop.DestStop-1 { // the writer fence at the end
			t.Errorf("partition %d: stop offsets %d and %d", p, stop.SourceStop, stop.DestStop)
		}
	}
}

// mixed writes numbered records in all codecs, every eighth time as a transaction
// and a third of those aborted.
func (s *stage) mixed(ctx context.Context, topic string, partitions int32, total int) error {
	seed := rand.Uint64()
	s.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var plain []*kgo.Client
	for _, c := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		plain = append(plain, s.client(s.source, kgo.ProducerBatchCompression(c), kgo.RecordPartitioner(kgo.ManualPartitioner())))
	}
	txn := s.client(s.source, kgo.TransactionalID("mixed-"+topic), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for next := 0; next < total; {
		n := min(1+rng.IntN(200), total-next)
		recs := make([]*kgo.Record, n)
		p := rng.Int32N(partitions)
		for i := range recs {
			recs[i] = &kgo.Record{Topic: topic, Partition: p, Key: fmt.Appendf(nil, "k%d", (next+i)%1000), Value: fmt.Appendf(nil, "%d %0*d", next+i, rng.IntN(120), 0)}
		}
		next += n
		if rng.IntN(8) > 0 {
			if err := plain[rng.IntN(len(plain))].ProduceSync(ctx, recs...).FirstErr(); err != nil {
				return err
			}
			continue
		}
		if err := txn.BeginTransaction(); err != nil {
			return err
		}
		if err := errors.Join(txn.ProduceSync(ctx, recs...).FirstErr(), txn.EndTransaction(ctx, kgo.TransactionEndTry(rng.IntN(3) > 0))); err != nil {
			return err
		}
	}
	return nil
}
