package link

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceBytes bounds one Produce request. A broker takes one batch per
// partition per request (ProduceRequest.validateRecords), so requests are filled
// with batches of different partitions.
const produceBytes = 8 << 20

// writers send batches to the destination's brokers, one request under way per
// broker: what comes meanwhile shares the next one, and the order of a
// partition's batches is kept because each waits for its answer.
type writers struct {
	dst *cluster
	ctx context.Context // of the manager: a request serves many partitions

	mu sync.Mutex // guards m
	m  map[int32]*writer
	wg sync.WaitGroup
}

type writer struct {
	broker int32
	in     chan produce
}

type produce struct {
	tp    topicPartition
	id    [16]byte
	batch []byte
	out   chan produced // buffered 1
}

type produced struct {
	base int64
	err  error
}

// produce sends one batch to the partition's leader and answers with the base
// offset that it got. A batch that was handed over is waited for even when ctx
// ends, at most requestTimeout: whoever ends a mirror then knows what landed. An
// error leaves it open; whoever goes on must read the log end first.
func (w *writers) produce(ctx context.Context, tp topicPartition, batch []byte) (int64, error) {
	broker, id, err := w.dst.leader(ctx, tp.topic, tp.partition)
	if err != nil {
		return 0, err
	}
	p := produce{tp: tp, id: id, batch: batch, out: make(chan produced, 1)}
	select {
	case w.to(broker).in <- p:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-w.ctx.Done():
		return 0, w.ctx.Err()
	}
	r := <-p.out
	return r.base, r.err
}

func (w *writers) to(broker int32) *writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	wr := w.m[broker]
	if wr == nil {
		wr = &writer{broker: broker, in: make(chan produce)}
		w.m[broker] = wr
		w.wg.Go(func() { w.run(wr) })
	}
	return wr
}

func (w *writers) run(wr *writer) {
	for {
		var batch []produce
		size := 0
		select {
		case <-w.ctx.Done():
			return
		case p := <-wr.in:
			batch, size = append(batch, p), len(p.batch)
		}
	more:
		for size < produceBytes {
			select {
			case p := <-wr.in:
				batch, size = append(batch, p), size+len(p.batch)
			default:
				break more
			}
		}
		w.send(wr.broker, batch)
	}
}

// send writes one request; each partition stands in it once, since each waits
// for its answer before it sends again.
func (w *writers) send(broker int32, batch []produce) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	req.TimeoutMillis = int32(requestTimeout.Milliseconds()) - 1000
	byTopic := map[string]int{}
	names := map[[16]byte]string{}
	waiting := make(map[topicPartition]produce, len(batch))
	for _, p := range batch {
		i, ok := byTopic[p.tp.topic]
		if !ok {
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = p.tp.topic, p.id
			i = len(req.Topics)
			req.Topics = append(req.Topics, t)
			byTopic[p.tp.topic], names[p.id] = i, p.tp.topic
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition = p.tp.partition
		rp.Records = p.batch
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
		waiting[p.tp] = p
	}
	res, err := request[*kmsg.ProduceResponse](w.ctx, w.dst, broker, req)
	if err == nil {
		for _, t := range res.Topics {
			name := t.Topic
			if name == "" {
				name = names[t.TopicID]
			}
			for _, rp := range t.Partitions {
				tp := topicPartition{name, rp.Partition}
				if p, ok := waiting[tp]; ok {
					delete(waiting, tp)
					p.out <- produced{base: rp.BaseOffset, err: produceError(rp)}
				}
			}
		}
		err = fmt.Errorf("destination broker %d left the partition out of its answer", broker)
	} else {
		err = fmt.Errorf("produce to destination broker %d: %w", broker, err)
	}
	for _, p := range waiting {
		p.out <- produced{err: err}
	}
}

func produceError(p kmsg.ProduceResponseTopicPartition) error {
	err := kerr.ErrorForCode(p.ErrorCode)
	if err != nil && p.ErrorMessage != nil && *p.ErrorMessage != "" {
		return fmt.Errorf("%w (%s)", err, *p.ErrorMessage)
	}
	return err
}
