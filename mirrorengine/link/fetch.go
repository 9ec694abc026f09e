package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// chunk is what one Fetch brought for one partition, as the broker sent it.
type chunk struct {
	batches []batch.Batch
	// next is the source offset behind the chunk.
	next          int64
	aborted       []kmsg.FetchResponseTopicPartitionAbortedTransaction
	highWatermark int64
	logStart      int64
	err           error
}

// subscription is a partition that the reader keeps fetching from next on, as
// long as its channel has room.
type subscription struct {
	tp   topicPartition
	id   [16]byte
	got  chan chunk
	next int64
	hw   int64 // last one told
}

// readAhead is the number of chunks that wait for a partition: one is being
// produced, one is ready.
const readAhead = 1

// crowdedWait bounds a Fetch that leaves partitions out because they are
// behind: they must not wait for the idle ones' long poll.
const crowdedWait = 10 * time.Millisecond

// reader fetches from one source broker for all partitions led by it. One Fetch
// is under way at a time: a broker mutes a connection while it waits
// (SocketServer), so a second one would not be served earlier.
type reader struct {
	broker int32
	src    *cluster
	limits FetchConfig

	mu   sync.Mutex // guards subs and what they hold but for got
	subs map[*subscription]struct{}
	wake chan struct{}
}

// subscribe puts a partition into the coming fetches; the first chunk with an
// error is the last one.
func (r *reader) subscribe(tp topicPartition, id [16]byte, offset int64) *subscription {
	sub := &subscription{tp: tp, id: id, next: offset, hw: -1, got: make(chan chunk, readAhead)}
	r.mu.Lock()
	r.subs[sub] = struct{}{}
	r.mu.Unlock()
	r.kick()
	return sub
}

func (r *reader) unsubscribe(sub *subscription) {
	r.mu.Lock()
	delete(r.subs, sub)
	r.mu.Unlock()
}

// kick tells the reader that a partition has room again.
func (r *reader) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		var batch []*subscription
		crowded := false
		for sub := range r.subs {
			if len(sub.got) < cap(sub.got) {
				batch = append(batch, sub)
			} else {
				crowded = true
			}
		}
		r.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
			case <-r.wake:
			}
			continue
		}
		wait := r.limits.MaxWait
		if crowded {
			wait = min(wait, crowdedWait)
		}
		r.fetch(ctx, batch, wait)
	}
}

// fetch runs one Fetch and hands out what came. The whole request failing is
// told to each of its partitions.
func (r *reader) fetch(ctx context.Context, subs []*subscription, wait time.Duration) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(wait.Milliseconds())
	req.MinBytes = 1
	req.MaxBytes = r.limits.ResponseBytes
	req.IsolationLevel = 1 // read_committed: the committed view is the default
	topics := map[string]int{}
	names := map[[16]byte]string{}
	asked := make(map[topicPartition]*subscription, len(subs))
	for _, sub := range subs {
		i, ok := topics[sub.tp.topic]
		if !ok {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = sub.tp.topic, sub.id
			i = len(req.Topics)
			req.Topics = append(req.Topics, t)
			topics[sub.tp.topic], names[sub.id] = i, sub.tp.topic
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition = sub.tp.partition
		p.CurrentLeaderEpoch = -1
		p.FetchOffset = sub.next
		p.PartitionMaxBytes = r.limits.PartitionBytes
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
		asked[sub.tp] = sub
	}
	res, err := request[*kmsg.FetchResponse](ctx, r.src, r.broker, req)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil {
		for _, sub := range subs {
			r.give(sub, chunk{err: fmt.Errorf("fetch from source broker %d: %w", r.broker, err)})
		}
		return
	}
	for i := range res.Topics {
		t := &res.Topics[i]
		name := t.Topic
		if name == "" {
			name = names[t.TopicID] // Fetch v13 and later answer with the id only
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if sub := asked[topicPartition{name, p.Partition}]; sub != nil {
				r.give(sub, readChunk(p, sub.next))
			}
		}
	}
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

// give delivers a chunk that brings news. The reader is the only sender and
// fetched only for channels with room, so it never waits.
func (r *reader) give(sub *subscription, c chunk) {
	r.mu.Lock()
	_, live := r.subs[sub]
	if c.err != nil {
		delete(r.subs, sub)
	}
	news := c.err != nil || len(c.batches) > 0 || c.highWatermark != sub.hw
	sub.next, sub.hw = c.next, c.highWatermark
	r.mu.Unlock()
	if live && news {
		sub.got <- c
	}
}
