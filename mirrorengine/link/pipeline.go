package link

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// windowBatches and windowBytes bound what one partition has under way. Eight
// batches hide the way to the broker and back (it stands beside the engine, and
// takes the batches of a partition one by one whatever we do); 2 MiB at an answer
// within 5 ms are 400 MB/s of one partition. A larger batch goes alone.
const (
	windowBatches = 8
	windowBytes   = 2 << 20
)

// remembered is how old the records of a batch may be for others to follow it
// before it is acknowledged: half of Kafka's default producer.id.expiration.ms
// (one day), for clocks that differ.
const remembered = 12 * time.Hour

// pipeline is what a partition has handed over and has no answer for yet, in
// order. It belongs to the partition's goroutine.
//
// Several batches under way are exactly once because the broker takes none
// behind one that it refused: the sequence is not the next one. That holds
// while the broker knows our last sequence; of a producer that it does not know
// it takes any first batch (ProducerAppendInfo.checkSequence; brokerfacts,
// TestUnknownProducerMayStartAtAnySequence), which would leave a hole. So a batch
// goes alone
//   - until one is acknowledged: the partition may be empty, or restored;
//   - where the records of the last one are so old that the broker forgets the
//     producer at its next sweep (producer.id.expiration.ms counts from the
//     records' time), or has forgotten it: old when it was sent, or grown old in
//     a partition that had nothing to do since.
//
// The first error ends it: nothing more is handed over, all answers are awaited,
// and the partition reads from the destination's tail what landed.
type pipeline struct {
	p    *partition
	sent position // behind what was handed over; the next chunk is prepared from it
	way  []underway
	size int // bytes of way

	acked int       // batches acknowledged
	last  time.Time // of the newest record of the last of them
	err   error     // the first one
}

// underway is a batch that was handed over.
type underway struct {
	out    batch.Out
	at     position // before it
	after  position
	answer chan produced
	newest time.Time // of its newest record
}

// room tells whether a batch may follow those under way.
func (l *pipeline) room(o batch.Out) bool {
	if len(l.way) == 0 {
		return true
	}
	if l.acked == 0 || time.Since(l.last) > remembered || time.Since(l.way[len(l.way)-1].newest) > remembered {
		return false
	}
	return len(l.way) < windowBatches && l.size+len(o.Bytes) <= windowBytes
}

// send hands a batch of a chunk over as soon as there is room, and holds its
// memory until nobody sends it any more. An error means that it was not handed over.
func (l *pipeline) send(ctx context.Context, c chunk, o batch.Out) error {
	for !l.room(o) {
		if err := l.await(ctx); err != nil {
			return err
		}
	}
	u := underway{
		out: o, at: l.sent, after: l.sent.behind(o), answer: make(chan produced, 1), newest: time.UnixMilli(o.MaxTimestamp()),
	}
	c.retain()
	release := func() { c.release(); o.Release() }
	err := l.p.mirror.link.mgr.writers.enqueue(ctx, produce{tp: l.p.dst, batch: o.Bytes, release: release, out: u.answer})
	if err != nil {
		release()
		return l.p.produceError(err, u)
	}
	l.way = append(l.way, u)
	l.size += len(o.Bytes)
	l.p.underWay.Add(int64(len(o.Bytes)))
	l.sent = u.after
	return nil
}

// answer is the oldest batch's; nothing comes while none is under way.
func (l *pipeline) answer() <-chan produced {
	if len(l.way) == 0 {
		return nil
	}
	return l.way[0].answer
}

// answered takes the answer to the oldest batch: acknowledged where it was due,
// it moves the partition's position. Behind an error nothing counts any more.
func (l *pipeline) answered(r produced) error {
	u := l.way[0]
	l.way = l.way[1:]
	l.size -= len(u.out.Bytes)
	l.p.underWay.Add(-int64(len(u.out.Bytes)))
	if said := new(kerr.Error); r.err != nil && !errors.Is(r.err, errGivenUp) && !errors.As(r.err, &said) {
		l.p.unsure = max(l.p.unsure, u.after.dest) // it may land still
	}
	switch {
	case l.err != nil:
	case errors.Is(r.err, errGivenUp): // by drain; nothing was wrong with it
	case r.err != nil:
		l.err = l.p.produceError(r.err, u)
	case r.base != u.at.dest:
		l.err = l.p.foreign(u.at.dest, r.base)
	default:
		l.p.advance(u.after)
		l.p.mirror.link.mgr.metrics.mirrored(l.p, u.out)
		l.p.refused = 0
		l.acked++
		l.last = u.newest
	}
	return l.err
}

// skip moves the position over what is not mirrored behind the last batch.
func (l *pipeline) skip(to position) {
	l.sent = to
	if n := len(l.way); n > 0 {
		l.way[n-1].after = to
		return
	}
	l.p.advance(l.sent)
}

// settle awaits the answers to all that was handed over, and gives nothing up.
func (l *pipeline) settle(ctx context.Context) error {
	for len(l.way) > 0 {
		if err := l.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// await takes the answer to the oldest batch once it is there.
func (l *pipeline) await(ctx context.Context) error {
	select {
	case r := <-l.answer():
		return l.answered(r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain gives up what was not sent yet and awaits the answers that are out, so
// that it is known what landed.
func (l *pipeline) drain() {
	if len(l.way) > 0 {
		l.p.mirror.link.mgr.writers.giveUp(l.p.dst, errGivenUp)
	}
	for len(l.way) > 0 {
		_ = l.answered(<-l.way[0].answer) // kept in l.err
	}
}
