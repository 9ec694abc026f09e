package link

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// Producers of a walkedLog.
const (
	ourID    = int64(7)
	othersID = int64(8)
)

// walkedLog is a mirror's log as its batches stand there.
type walkedLog struct {
	batches []batch.Batch
	end     int64
}

func (l *walkedLog) add(t testing.TB, pid int64, epoch int16, records int32, control bool) {
	t.Helper()
	attrs := int16(0)
	if control {
		attrs = 0x20
	}
	bs, err := batch.Split(sealed((&kmsg.RecordBatch{
		FirstOffset: l.end, Magic: 2, Attributes: attrs, LastOffsetDelta: records - 1, ProducerID: pid, ProducerEpoch: epoch, NumRecords: records, Records: make([]byte, 40),
	}).AppendTo(nil)))
	if err != nil {
		t.Fatal(err)
	}
	l.batches = append(l.batches, bs...)
	l.end += int64(records)
}

// fetch is what a broker answers.
func (l *walkedLog) fetch(from int64, limit int32) back {
	i, _ := slices.BinarySearchFunc(l.batches, from, func(b batch.Batch, at int64) int { return int(b.LastOffset() - at) })
	n, size := i, 0
	for n < len(l.batches) && (n == i || size+l.batches[n].Len() <= int(limit)) {
		size += l.batches[n].Len()
		n++
	}
	return back{batches: l.batches[i:n]}
}

// begin is a reader of the log, as readTails has it.
func (l *walkedLog) begin(p *partition, tolerant bool) *tailReader {
	r := &tailReader{p: p, tolerant: tolerant, own: map[int64]bool{ourID: true}, limit: tailBytesFirst, tailWalk: tailWalk{step: 1}}
	r.at, r.t = l.end, tail{end: l.end, epoch: -1, markerID: -1}
	r.goOn()
	return r
}

// want is the tail, read one by one.
func (l *walkedLog) want() tail {
	t := tail{end: l.end, epoch: -1, markerID: -1}
	for _, b := range slices.Backward(l.batches) {
		switch {
		case b.ProducerID() != ourID:
		case !b.IsControl():
			t.last, t.ours = b.Header(), true
			return t
		case b.ProducerEpoch() >= t.epoch:
			t.epoch, t.markerID = b.ProducerEpoch(), b.ProducerID()
		}
	}
	return t
}

// The same batch comes again where the cleaner took what stood before it.
func TestAReaderOfATailStepsOverAHole(t *testing.T) {
	l := &walkedLog{}
	l.add(t, ourID, 0, 5, false)
	l.end = 20
	l.add(t, othersID, 0, 1, false)
	r := l.begin(&partition{}, true)
	for n := 0; ; n++ {
		done, err := r.take(l.fetch(r.from(), r.limit))
		if err != nil || n > 10 {
			t.Fatalf("%v, at %d behind %d fetches", err, r.at, n)
		}
		if done {
			break
		}
	}
	if !r.t.ours || r.t.last.LastOffset() != 4 {
		t.Errorf("%+v", r.t)
	}
	if r.t.last.Bytes() != nil {
		t.Error("the tail keeps the answer that its last batch came in")
	}
}

// Where the mirror is to go on, data of others behind ours fail it, also where both come in one block.
func TestForeignDataInTheBlockOfOurLastBatchIsSeen(t *testing.T) {
	l := &walkedLog{}
	l.add(t, ourID, 0, 5, false)
	l.add(t, othersID, 0, 1, false)
	l.end = 40 // what stood there is gone: blocks are read
	l.add(t, ourID, 1, 1, true)
	r := l.begin(&partition{mirror: &MirrorTopic{}}, false)
	for n := 0; ; n++ {
		done, err := r.take(l.fetch(r.from(), r.limit))
		switch {
		case done, n > 20:
			t.Fatalf("read as if nobody else had written: %+v", r.t)
		case err != nil:
			return
		}
	}
}

// Whatever stands behind our last batch, and however often its reading is broken off,
// it is found, with the epoch of our markers behind it.
func TestATailIsReadAlikeInBlocksAndOneByOne(t *testing.T) {
	rng := seededRand(t)
	for range 300 {
		l, p := &walkedLog{end: rng.Int64N(5)}, &partition{}
		grow := func(n int, pids ...int64) {
			for range n {
				if rng.IntN(4) == 0 {
					l.end += rng.Int64N(1 << rng.IntN(12))
				}
				l.add(t, pids[rng.IntN(len(pids))], int16(rng.IntN(4)), 1+rng.Int32N(4), rng.IntN(4) == 0)
			}
		}
		grow(rng.IntN(40), ourID, othersID)
		if rng.IntN(4) > 0 {
			l.add(t, ourID, 0, 2, false)
		}
		grow(rng.IntN(300), othersID)
		for r := l.begin(p, true); !r.done(); {
			done, err := r.take(l.fetch(r.from(), 100+rng.Int32N(r.limit/16)))
			if err != nil {
				t.Fatal(err)
			}
			if done {
				want := l.want()
				if want.end = r.t.end; r.t.ours != want.ours || r.t.epoch != want.epoch || r.t.markerID != want.markerID || want.ours && r.t.last.LastOffset() != want.last.LastOffset() {
					t.Fatalf("%+v, want %+v", r.t, want)
				}
				break
			}
			if rng.IntN(10) == 0 { // to be continued, while others write on
				grow(rng.IntN(3), othersID)
				if rng.IntN(3) == 0 {
					l.add(t, ourID, 5, 1, true)
				}
				r = l.begin(p, true)
			}
		}
	}
}

func TestManyBatchesOfOthersAreReadBackByFewRequests(t *testing.T) {
	l, p := &walkedLog{}, &partition{}
	l.add(t, ourID, 0, 5, false)
	for range 200_000 { // 20 MB
		l.add(t, othersID, 0, 1, false)
	}
	n := 0
	for r := l.begin(p, true); ; n++ {
		done, err := r.take(l.fetch(r.from(), r.limit))
		if err != nil || n > 100 {
			t.Fatalf("at %d behind %d requests: %v", r.at, n, err)
		}
		if done {
			break
		}
	}
	again := l.begin(p, true) // behind the fence
	if done, err := again.take(l.fetch(again.from(), again.limit)); !done || err != nil || again.t.last.LastOffset() != 4 {
		t.Errorf("what was read is read again: %+v %v", again.t, err)
	}
	t.Logf("%d requests", n)
	if _, err := l.begin(p, false).take(l.fetch(l.end-1, tailBytesFirst)); err == nil {
		t.Error("a mirror that goes on takes what others wrote")
	}
}

// A mirror that failed, into which others write, ends with those that are sound: over
// what the cleaner left of its log, and while the others write on.
func TestAFailedMirrorThatOthersWriteIntoHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		t.Run(map[bool]string{false: "holes", true: "others go on"}[busy], func(t *testing.T) {
			src := newSite(t, "src")
			dst := newSite(t, "dst", kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "86400000"}))
			compact, small := "compact", "1"
			src.topic(t, "keyed", 1, map[string]*string{"cleanup.policy": &compact, "segment.bytes": &small})
			src.topic(t, "orders", 1, nil)
			src.keyedAs(t, "keyed", "k=1", "l=1", "m=1", "n=1", "o=1")
			src.produce(t, "orders", 0, 0, 5)
			m, _ := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			for _, topic := range []string{"keyed", "orders"} {
				newTestMirror(t, m, topic)
				awaitLagZero(t, m, src, topic)
			}
			dst.keyedAs(t, "keyed", "a=1", "a=2", "b=1")
			awaitStatus(t, m, "keyed", status.Failed)
			var stop atomic.Bool
			ended := make(chan struct{})
			pause := func() {
				stop.Store(true)
				<-ended
			}
			t.Cleanup(pause)
			if busy {
				go func() {
					defer close(ended)
					for !stop.Load() {
						r := &kgo.Record{Topic: "keyed", Key: []byte("a"), Value: []byte("on and on")}
						if err := dst.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
							t.Error(err)
							return
						}
					}
				}()
			} else {
				close(ended)
				dst.Compact()
			}
			alter(t, m, api.VerbFailover, "keyed", "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			awaitStatus(t, m, "keyed", status.Stopped)
			pause()
			for _, topic := range []string{"keyed", "orders"} {
				segs, err := m.Segments(t.Context(), "l", topic)
				if err != nil {
					t.Fatal(err)
				}
				if p := segs.Partitions[0]; p.SourceStop != 5 || p.DestStop < 6 {
					t.Errorf("%s stopped at %d and %d", topic, p.SourceStop, p.DestStop)
				}
			}
		})
	}
}

// What is not read in time says how far it came.
func TestATailThatIsNotReadInTimeIsLeftToALaterTry(t *testing.T) {
	l, p := &walkedLog{}, &partition{}
	l.add(t, ourID, 0, 5, false)
	for range 50 {
		l.add(t, othersID, 0, 1, false)
	}
	r := l.begin(p, true)
	if _, err := r.take(l.fetch(r.from(), r.limit)); err != nil || r.late() {
		t.Fatalf("%v, late %v", err, r.late())
	}
	r.until = r.until.Add(1)
	if err := r.unread(); !r.late() || !strings.Contains(err.Error(), "from offset 55 to 54 so far") {
		t.Errorf("late %v: %v", r.late(), err)
	}
	if on := l.begin(p, true); on.at != 54 {
		t.Errorf("the next one begins at %d", on.at)
	}
}
