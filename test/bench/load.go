package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// loaded is what a topic holds.
type loaded struct {
	topic     string
	records   int64
	bytes     int64 // keys and values
	wireBytes int64
	digests   [partitions]digest
}

// loaders is how many connections load a topic; each has partitions of its own, and one request under way, so that every
// partition keeps its order. Few, so that a request carries batches of many partitions.
const loaders = 2

// load makes a topic at a cluster and fills it with about size bytes of keys and values. Batches go out as they were
// encoded: the source's batches are as the case says, whatever a client's producer would make of them.
func load(ctx context.Context, k *local.Kafka, topic string, pool *batchPool, size int64) (loaded, error) {
	id, err := createTopic(ctx, k, topic)
	if err != nil {
		return loaded{}, fmt.Errorf("load topic %s: %w", topic, err)
	}
	each := max(1, int(size/int64(pool.bytes*partitions))) // batches per partition
	l := loaded{topic: topic}
	var wire [partitions]int64
	group, ctx := errgroup.WithContext(ctx)
	for first := range loaders {
		group.Go(func() error {
			cl, err := kgo.NewClient(k.Options(k.SuperUser())...)
			if err != nil {
				return err
			}
			defer cl.Close()
			for i := range each {
				req := kmsg.NewPtrProduceRequest()
				req.Acks, req.TimeoutMillis = -1, 30_000
				t := kmsg.NewProduceRequestTopic()
				t.Topic, t.TopicID = topic, id
				for p := first; p < partitions; p += loaders {
					b := pool.batches[(i*partitions+p)%len(pool.batches)]
					rp := kmsg.NewProduceRequestTopicPartition()
					rp.Partition, rp.Records = int32(p), b.wire //nolint:gosec // 12 of them
					t.Partitions = append(t.Partitions, rp)
					l.digests[p].join(b.digest)
					wire[p] += int64(len(b.wire))
				}
				req.Topics = append(req.Topics, t)
				if err := produce(ctx, cl, req); err != nil {
					return fmt.Errorf("load topic %s: %w", topic, err)
				}
			}
			return nil
		})
	}
	err = group.Wait()
	l.records = int64(each * pool.records * partitions)
	l.bytes = int64(each * pool.bytes * partitions)
	for _, n := range wire {
		l.wireBytes += n
	}
	return l, err
}

// produce sends one request to the only broker.
func produce(ctx context.Context, cl *kgo.Client, req *kmsg.ProduceRequest) error {
	res, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range res.(*kmsg.ProduceResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

// createTopic makes a topic and waits until its partitions can be written, which is a moment later.
func createTopic(ctx context.Context, k *local.Kafka, topic string) (kadm.TopicID, error) {
	cl, err := kgo.NewClient(k.Options(k.SuperUser())...)
	if err != nil {
		return kadm.TopicID{}, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	created, err := adm.CreateTopic(ctx, partitions, 1, nil, topic)
	if err != nil {
		return kadm.TopicID{}, err
	}
	return created.ID, local.WaitFor(ctx, "leaders of topic "+topic, func(ctx context.Context) error {
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		return err
	})
}
