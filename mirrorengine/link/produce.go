package link

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/wire"
)

// produceBytes bounds one Produce request. A broker takes one batch per
// partition per request (ProduceRequest.validateRecords), so requests are filled
// with batches of different partitions.
const produceBytes = 8 << 20

// A lane keeps up to laneDepth requests under way: a broker looks at the next
// request of a connection when it has answered the one before, so that one should
// be there already. It goes only when it is worth a request (laneFill bytes): what
// is little gathers until the answer.
const (
	laneDepth = 2
	laneFill  = 1 << 20
)

// lateProduce is how long after its sending a batch of an engine that is no more
// may still be appended: each request before it on its lane has its time.
const lateProduce = laneDepth * requestTimeout

// produceTimeout is how long a broker may wait for its followers: it must
// answer before the connection counts as lost.
const produceTimeout = requestTimeout - time.Second

// writers send batches to the destination's brokers, over several connections
// (lanes) to each, since a broker does not look at a connection while a produce
// of it waits for its followers. A partition keeps to one lane as long as a batch
// of it is open, so that its batches stay in order.
type writers struct {
	dst   *cluster
	ctx   context.Context // of the manager: a request serves many partitions
	lanes int             // connections to each broker
	seed  maphash.Seed

	mu     sync.Mutex // guards what follows, and all that lanes and routes hold
	m      map[laneKey]*lane
	routes map[topicPartition]*route
	wg     sync.WaitGroup
}

type laneKey struct {
	broker int32
	n      int
}

// lane is one connection to a broker, and what waits for it.
type lane struct {
	broker int32
	queue  []produce
	queued int // bytes in queue
	under  int // requests under way
	wake   chan struct{}
	ended  bool
}

// route is the way of a partition that has open batches.
type route struct {
	lane *lane
	open int // enqueued and without result
	sent int // of these taken into a request
	// failed is the first error: nothing that was not sent by then is sent behind it.
	failed error
}

// produce is one batch for one partition. Its bytes must not be touched until
// its result is there.
type produce struct {
	tp    topicPartition
	batch []byte
	// release is called when the bytes are not needed any more, before the result is
	// told; nil if nobody wants to know.
	release func()
	// out gets the result. It has room for the results of all batches that the
	// partition keeps open; they come in the order in which the batches went in.
	out chan<- produced

	id    [16]byte
	route *route
}

// errGivenUp is the cause when the partition has stopped before a batch was sent.
var errGivenUp = errors.New("the partition stops")

type produced struct {
	base int64
	err  error
}

func newWriters(ctx context.Context, dst *cluster, lanes int) *writers {
	return &writers{
		dst: dst, ctx: ctx, lanes: max(1, lanes), seed: maphash.MakeSeed(),
		m: map[laneKey]*lane{}, routes: map[topicPartition]*route{},
	}
}

// enqueue hands a batch over, behind those of its partition that were handed
// over before; it is sent at most once, and its result comes exactly once. After
// an error nothing was handed over: there is no leader, or an earlier batch
// failed and the results of those before are still to come.
func (w *writers) enqueue(ctx context.Context, p produce) error {
	broker, id, err := w.dst.leader(ctx, p.tp.topic, p.tp.partition)
	if err != nil {
		return err
	}
	p.id = id
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	rt := w.routes[p.tp]
	switch {
	case rt == nil:
		rt = &route{lane: w.lane(laneKey{broker, int(maphash.Comparable(w.seed, p.tp) % uint64(w.lanes))})}
	case rt.failed != nil:
		return fmt.Errorf("an earlier batch of the partition failed: %w", rt.failed)
	}
	if rt.lane.ended {
		return context.Canceled
	}
	rt.open++
	w.routes[p.tp] = rt
	p.route = rt
	rt.lane.queue = append(rt.lane.queue, p)
	rt.lane.queued += len(p.batch)
	rt.lane.kick()
	return nil
}

// giveUp fails what was not sent yet of a partition; what was sent is waited for.
func (w *writers) giveUp(tp topicPartition, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if rt := w.routes[tp]; rt != nil {
		if rt.failed == nil {
			rt.failed = cause
		}
		w.flush(tp, rt)
	}
}

// lane finds or starts a lane. Called with mu.
func (w *writers) lane(key laneKey) *lane {
	l := w.m[key]
	if l == nil {
		l = &lane{broker: key.broker, wake: make(chan struct{}, 1)}
		w.m[key] = l
		w.wg.Go(func() { w.run(l) })
	}
	return l
}

func (l *lane) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (w *writers) run(l *lane) {
	line := wire.NewLine(w.ctx, w.dst.wire)
	for w.ctx.Err() == nil {
		w.mu.Lock()
		batch := w.fill(l)
		w.mu.Unlock()
		if len(batch) > 0 {
			w.send(l, line, batch)
			continue
		}
		select {
		case <-w.ctx.Done():
		case <-l.wake:
		}
	}
	line.Close() // those whose batches were sent are told
	w.mu.Lock()
	defer w.mu.Unlock()
	l.ended = true
	for len(l.queue) > 0 {
		p := l.queue[0]
		p.route.failed = w.ctx.Err()
		w.flush(p.tp, p.route)
	}
}

// fill takes the batches of the next request from a lane's queue, in order and
// one of a partition at most; none if it is not time for one. Called with mu.
func (w *writers) fill(l *lane) []produce {
	if l.under >= laneDepth || l.under > 0 && l.queued < laneFill {
		return nil
	}
	var batch []produce
	size := 0
	taken := map[topicPartition]bool{}
	rest := l.queue[:0]
	for _, p := range l.queue {
		if size >= produceBytes || taken[p.tp] || p.route.failed != nil {
			rest = append(rest, p)
			continue
		}
		taken[p.tp] = true
		p.route.sent++
		size += len(p.batch)
		batch = append(batch, p)
	}
	clear(l.queue[len(rest):])
	l.queue = rest
	l.queued -= size
	if len(batch) > 0 {
		l.under++
	}
	return batch
}

// send writes one request. Results are told when its answer comes, or none can.
func (w *writers) send(l *lane, line *wire.Line, batch []produce) {
	waiting := make(map[topicPartition]produce, len(batch))
	batches := make([]wire.Batch, len(batch))
	for i, p := range batch {
		waiting[p.tp] = p
		batches[i] = wire.Batch{Topic: p.tp.topic, ID: p.id, Partition: p.tp.partition, Records: p.batch}
	}
	done := func(answers []wire.Produced, err error) {
		if err == nil {
			w.dst.touch()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, a := range answers {
			tp := topicPartition{a.Topic, a.Partition}
			if p, ok := waiting[tp]; ok {
				delete(waiting, tp)
				w.settle(p, produced{base: a.Base, err: produceError(a)})
			}
		}
		if err == nil {
			err = errors.New("it left the partition out of its answer")
		}
		for _, p := range waiting {
			w.settle(p, produced{err: fmt.Errorf("produce to destination broker %d: %w", l.broker, err)})
		}
		l.under--
		l.kick()
	}
	addr, err := w.dst.address(w.ctx, l.broker)
	if err != nil {
		done(nil, err)
		return
	}
	conn, err := line.Conn(addr)
	if err != nil {
		done(nil, err)
		return
	}
	conn.SendProduce(batches, produceTimeout, done)
}

// settle tells the result of a batch that was sent. Called with mu.
func (w *writers) settle(p produce, r produced) {
	p.route.sent--
	if r.err != nil && p.route.failed == nil {
		p.route.failed = r.err
	}
	w.tell(p, r)
	w.flush(p.tp, p.route)
}

// flush fails what waits behind an error, once the results before it are told.
// Called with mu.
func (w *writers) flush(tp topicPartition, rt *route) {
	if rt.failed == nil || rt.sent > 0 || rt.open == 0 {
		return
	}
	l := rt.lane
	var behind []produce
	rest := l.queue[:0]
	for _, p := range l.queue {
		if p.tp == tp {
			behind = append(behind, p)
			l.queued -= len(p.batch)
		} else {
			rest = append(rest, p)
		}
	}
	clear(l.queue[len(rest):])
	l.queue = rest
	for _, p := range behind {
		w.tell(p, produced{err: fmt.Errorf("not sent: %w", rt.failed)})
	}
}

// tell passes a result on; out has room. Called with mu.
func (w *writers) tell(p produce, r produced) {
	if p.route.open--; p.route.open == 0 {
		delete(w.routes, p.tp)
	}
	if p.release != nil {
		p.release()
	}
	p.out <- r
}

func produceError(p wire.Produced) error {
	err := kerr.ErrorForCode(p.Code)
	if err != nil && p.Message != "" {
		return fmt.Errorf("%w (%s)", err, p.Message)
	}
	return err
}
