package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/wire"
)

// chunk is what one Fetch brought for one partition, as the broker sent it. Its
// batches lie in a buffer that other partitions share: who takes a chunk
// releases it when the last of its batches was acknowledged or given up.
type chunk struct {
	batches []batch.Batch
	// next is the source offset behind the chunk.
	next          int64
	aborted       []kmsg.FetchResponseTopicPartitionAbortedTransaction
	highWatermark int64
	logStart      int64
	err           error
	buffer        *wire.Buffer // nil if the chunk holds none
}

// retain is one more use of the chunk's batches, ended by release.
func (c chunk) retain() {
	if c.buffer != nil {
		c.buffer.Retain()
	}
}

// release ends the use of the chunk's batches by whoever took it.
func (c chunk) release() {
	if c.buffer != nil {
		c.buffer.Release()
	}
}

// subscription is a partition that the reader keeps fetching from next on, as
// long as its channel has room.
type subscription struct {
	tp     topicPartition
	id     [16]byte
	got    chan chunk
	next   int64
	hw     int64 // last one told
	asked  bool  // the broker has been asked for it; only the reader's goroutine uses it
	behind bool  // it lags so far that the catch-up bandwidth counts
}

func (s *subscription) partition() wire.Partition {
	return wire.Partition{Topic: s.tp.topic, Index: s.tp.partition}
}

func (s *subscription) room() bool { return len(s.got) < cap(s.got) }

// readAhead is the number of chunks that wait for a partition: one is being
// produced, one is ready.
const readAhead = 1

// crowdedWait bounds a Fetch that leaves partitions out because they are
// behind: they must not wait for the idle ones' long poll.
const crowdedWait = 10 * time.Millisecond

// reader fetches from one source broker for all partitions led by it, in one
// fetch session on a connection of its own. One Fetch is under way at a time: a
// broker mutes a connection while it waits (SocketServer), so a second one would
// not be served earlier.
type reader struct {
	broker int32
	src    *cluster
	limits FetchConfig
	flow   *flow

	session *wire.Session // only run's goroutine uses it

	mu      sync.Mutex // guards what follows, and what subscriptions hold but for got
	subs    map[*subscription]struct{}
	changed map[*subscription]struct{} // to be looked at before the next Fetch
	full    map[*subscription]struct{} // without room
	wake    chan struct{}
}

func newReader(broker int32, src *cluster, limits FetchConfig, f *flow) *reader {
	f.readers.Add(1)
	return &reader{
		broker: broker, src: src, limits: limits, flow: f, session: wire.NewSession(),
		subs: map[*subscription]struct{}{}, changed: map[*subscription]struct{}{}, full: map[*subscription]struct{}{},
		wake: make(chan struct{}, 1),
	}
}

// subscribe puts a partition into the coming fetches; the first chunk with an
// error is the last one.
func (r *reader) subscribe(tp topicPartition, id [16]byte, offset int64) *subscription {
	sub := &subscription{tp: tp, id: id, next: offset, hw: -1, got: make(chan chunk, readAhead)}
	r.mu.Lock()
	r.subs[sub] = struct{}{}
	r.changed[sub] = struct{}{}
	r.mu.Unlock()
	r.kick()
	return sub
}

// unsubscribe ends a subscription and drops what nobody has taken.
func (r *reader) unsubscribe(sub *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.subs, sub)
	r.changed[sub] = struct{}{}
	for !sub.room() {
		(<-sub.got).release()
	}
}

// kick tells the reader that a partition has room again.
func (r *reader) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reader) run(ctx context.Context) {
	line := wire.NewLine(ctx, r.src.wire)
	defer line.Close()
	for ctx.Err() == nil {
		poll := r.look()
		if r.session.Wanted() == 0 {
			r.pause(ctx, poll, r.wake)
			continue
		}
		if wait := r.flow.pace.Wait(time.Now()); wait > 0 {
			r.pause(ctx, wait, nil)
			continue
		}
		portion := r.flow.portion(r.limits.ResponseBytes)
		if r.flow.budget.Reserve(ctx, int64(portion)) != nil {
			return
		}
		poll = r.look() // partitions came and went meanwhile
		if r.session.Wanted() > 0 {
			r.fetch(ctx, line, portion, poll)
		} else {
			r.flow.budget.Release(int64(portion))
		}
	}
}

// pause waits for a wake, and at most for d.
func (r *reader) pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-over.C:
	}
}

// look brings the session in line with the subscriptions that changed. poll is
// how long the broker may then wait for news: less than its answer's time, and
// less where partitions are left out that will be asked for again soon.
func (r *reader) look() (poll time.Duration) {
	poll = min(r.limits.MaxWait, requestTimeout/2)
	r.mu.Lock()
	defer r.mu.Unlock()
	for sub := range r.full {
		if sub.room() {
			delete(r.full, sub)
			r.changed[sub] = struct{}{}
		}
	}
	slow := r.flow.catchUp.Wait(time.Now())
	for sub := range r.changed {
		_, live := r.subs[sub]
		switch {
		case live && sub.room() && sub.behind && slow > 0:
			r.session.Forget(sub.partition(), sub)
			sub.asked = false
			poll = min(poll, max(slow, crowdedWait))
			continue // it stays in changed
		case live && sub.room():
			r.session.Want(sub.partition(), sub.id, sub.next, r.flow.portion(r.limits.PartitionBytes), sub)
			sub.asked = true
		default:
			r.session.Forget(sub.partition(), sub)
			sub.asked = false
			delete(r.full, sub)
			if live {
				r.full[sub] = struct{}{}
			}
		}
		delete(r.changed, sub)
	}
	if len(r.full) > 0 {
		poll = min(poll, crowdedWait)
	}
	return poll
}

// fetch runs one Fetch and hands out what came. The whole request failing is
// told to each of its partitions.
func (r *reader) fetch(ctx context.Context, line *wire.Line, portion int32, wait time.Duration) {
	held := int64(portion) // of the budget
	defer func() { r.flow.budget.Release(held) }()
	res, a, err := r.ask(ctx, line, portion, wait)
	switch {
	case errors.Is(err, wire.ErrAgain):
		return
	case err != nil:
		r.session.Reset()
		r.failAll(fmt.Errorf("fetch from source broker %d: %w", r.broker, err))
		return
	}
	size := int64(a.Buffer.Size())
	r.flow.budget.Settle(held, size)
	held = 0
	a.Buffer.OnFree(func() { r.flow.budget.Release(size) })
	defer a.Release()
	now := time.Now()
	r.flow.pace.Paid(now, len(a.Body))
	for i := range res.Topics {
		t := &res.Topics[i]
		name := r.session.Name(t)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if sub, ok := r.session.Owner(wire.Partition{Topic: name, Index: p.Partition}).(*subscription); ok {
				c := readChunk(p, sub.next)
				if c.err != nil {
					c.batches = nil // nobody takes batches with an error
				}
				if len(c.batches) > 0 {
					a.Buffer.Retain()
					c.buffer = a.Buffer
				}
				if r.give(sub, c) {
					r.flow.catchUp.Paid(now, len(p.RecordBatches))
				}
			}
		}
	}
}

// ask sends one Fetch and reads its answer, whose record batches stay where they
// are.
func (r *reader) ask(ctx context.Context, line *wire.Line, portion int32, wait time.Duration) (*kmsg.FetchResponse, wire.Answer, error) {
	addr, err := r.src.address(ctx, r.broker)
	if err != nil {
		return nil, wire.Answer{}, err
	}
	conn, err := line.Conn(addr)
	if err != nil {
		return nil, wire.Answer{}, err
	}
	req := kmsg.NewPtrFetchRequest()
	if req.Version, err = r.session.Version(conn); err != nil {
		return nil, wire.Answer{}, err
	}
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(wait.Milliseconds())
	req.MinBytes = 1
	req.MaxBytes = portion
	req.IsolationLevel = 1 // read_committed: the committed view is the default
	r.session.Fill(req)
	a, err := conn.Ask(ctx, req)
	if err != nil {
		return nil, a, err
	}
	r.src.touch()
	res := kmsg.NewPtrFetchResponse()
	res.Version = req.Version
	if err = res.ReadFrom(a.Body); err == nil {
		conn.Excuse(time.Duration(res.ThrottleMillis) * time.Millisecond)
		err = r.session.Took(res)
	}
	if err != nil {
		a.Release()
	}
	return res, a, err
}

func readChunk(p *kmsg.FetchResponseTopicPartition, from int64) chunk {
	c := chunk{next: from, aborted: p.AbortedTransactions, highWatermark: p.HighWatermark, logStart: p.LogStartOffset}
	if c.err = kerr.ErrorForCode(p.ErrorCode); c.err != nil {
		return c
	}
	if c.batches, c.err = batch.Split(p.RecordBatches); c.err != nil {
		return c
	}
	if n := len(c.batches); n > 0 {
		c.next = max(from, c.batches[n-1].LastOffset()+1)
	}
	return c
}

// give delivers a chunk that brings news, and tells whether it counts as
// catching up. The reader is the only sender and fetched only for channels with
// room, so it never waits.
func (r *reader) give(sub *subscription, c chunk) (behind bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, live := r.subs[sub]
	if c.err != nil {
		delete(r.subs, sub)
	}
	news := c.err != nil || len(c.batches) > 0 || c.highWatermark != sub.hw
	behind = sub.behind
	sub.next, sub.hw = c.next, c.highWatermark
	sub.behind = sub.hw-sub.next > r.flow.lagBound
	r.changed[sub] = struct{}{}
	if live && news {
		sub.got <- c
	} else {
		c.release()
	}
	return behind
}

// failAll tells an error to each partition that the broker was asked for.
func (r *reader) failAll(err error) {
	r.mu.Lock()
	var asked []*subscription
	for sub := range r.subs {
		if sub.asked {
			asked = append(asked, sub)
		}
	}
	r.mu.Unlock()
	for _, sub := range asked {
		r.give(sub, chunk{err: err})
	}
}
