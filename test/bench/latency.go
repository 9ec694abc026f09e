package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Values of the latency: records of 1 KiB that begin with their number.
const (
	latencyValue = 1024
	// producerLinger is what producers that care for both throughput and latency wait for company.
	producerLinger = 5 * time.Millisecond
)

// steady is one run at a fixed rate. Records are sent when they are due whether or not the former ones were acknowledged
// (open loop), and times count from when they were due, so that a stall shows in all records that it holds up.
type steady struct {
	rate    float64 // records per second
	records int     // in all
	warmup  int     // of them, not measured
	began   time.Time
	// By record, in nanoseconds since began; 0: not seen. Each is written by one goroutine and read after its end.
	atSource, atMirror []time.Duration
	failed             atomic.Pointer[error] // of a produce
}

// due is when a record is to be sent, since began.
func (l *steady) due(i int) time.Duration { return time.Duration(float64(i) / l.rate * 1e9) }

// latency measures one mirror at a rate of records per second.
func (s *stage) latency(ctx context.Context, m mirror, rate float64, repeat int) (_ measure.Latency, err error) {
	s.topics++
	topic := fmt.Sprintf("%s.%s.%d", m.name(), partLatency, s.topics)
	defer func() {
		if err != nil {
			err = fmt.Errorf("case %s, %s, repeat %d: %w", partLatency, m.name(), repeat, err)
		}
	}()
	if _, err := createTopic(ctx, s.src, topic); err != nil {
		return measure.Latency{}, err
	}
	if err := s.show(ctx, topic); err != nil {
		return measure.Latency{}, err
	}
	if err := m.begin(ctx, topic); err != nil {
		return measure.Latency{}, err
	}
	producer, err := kgo.NewClient(append(s.src.Options(s.src.SuperUser()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(producerLinger), kgo.MaxBufferedRecords(10_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		return measure.Latency{}, err
	}
	defer producer.Close()
	// One record in each partition tells when the mirror has found them all.
	for p := range int32(partitions) {
		if err := producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: p}).FirstErr(); err != nil {
			return measure.Latency{}, err
		}
	}
	if _, _, err := s.mirrored(ctx, m, topic, partitions); err != nil {
		return measure.Latency{}, err
	}
	if err := measure.ResetPeakRSS(m.process().Pid()); err != nil {
		return measure.Latency{}, err
	}
	l := &steady{rate: rate, warmup: int(rate * s.opts.sizes.latencyWarmup.Seconds())}
	l.records = l.warmup + int(rate*s.opts.sizes.latency.Seconds())
	l.atSource, l.atMirror = make([]time.Duration, l.records), make([]time.Duration, l.records)
	return s.steady(ctx, m, l, topic, producer, repeat)
}

// steady runs producer and consumers and sums up.
func (s *stage) steady(ctx context.Context, m mirror, l *steady, topic string, producer *kgo.Client, repeat int) (measure.Latency, error) {
	r := measure.Latency{Mirror: m.name(), Repeat: repeat, RecordsPerSec: l.rate, MBPerSecond: l.rate * latencyValue / 1e6}
	var consumers []*kgo.Client
	for _, k := range []*local.Kafka{s.src, s.dst} {
		cl, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.ConsumePartitions(fromStart(topic)))...)
		if err != nil {
			return r, err
		}
		defer cl.Close()
		consumers = append(consumers, cl)
	}
	l.began = time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.send(groupCtx, producer, topic) })
	for i, seen := range [][]time.Duration{l.atSource, l.atMirror} {
		group.Go(func() error { return l.receive(groupCtx, consumers[i], m, seen) })
	}
	// The use of CPU is of the measured part, as the latency is.
	var from reading
	group.Go(func() (err error) {
		select {
		case <-time.After(l.due(l.warmup)):
		case <-groupCtx.Done():
			return context.Cause(groupCtx)
		}
		from, err = s.read(m)
		return err
	})
	if err := group.Wait(); err != nil {
		return r, err
	}
	to, err := s.read(m)
	if err != nil {
		return r, err
	}
	r.Seconds, r.CPUSeconds, r.Load = to.since(from)
	if r.PeakRSS, err = measure.PeakRSS(m.process().Pid()); err != nil {
		return r, err
	}
	r.Source, r.Mirrored, r.Added = l.quantiles()
	if err := m.end(ctx, topic); err != nil {
		return r, err
	}
	return r, s.remove(ctx, topic)
}

// send produces each record when it is due.
func (l *steady) send(ctx context.Context, cl *kgo.Client, topic string) error {
	rng := rand.New(rand.NewPCG(1, 2))
	var values [64][]byte
	for i := range values {
		values[i] = document(rng, latencyValue)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < l.records; {
		for now := time.Since(l.began); i < l.records && l.due(i) <= now; i++ {
			value := append(make([]byte, 0, latencyValue), values[i%len(values)]...)
			binary.BigEndian.PutUint64(value, uint64(i)+1) //nolint:gosec // never negative; 0 is the first records', which only find the partitions
			cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					l.failed.CompareAndSwap(nil, &err)
				}
			})
		}
		if err := l.failed.Load(); err != nil {
			return fmt.Errorf("produce to the source: %w", *err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return cl.Flush(ctx)
}

// receive notes when each record is seen first, until all were.
func (l *steady) receive(ctx context.Context, cl *kgo.Client, m mirror, seen []time.Duration) error {
	for left := l.records; left > 0; {
		pollCtx, cancel := context.WithTimeout(ctx, patience)
		fetches := cl.PollFetches(pollCtx)
		now := time.Since(l.began)
		cancel()
		if err := fetches.Err(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return errors.Join(fmt.Errorf("%d records were not seen: %w", left, err), alive(m))
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if len(r.Value) != latencyValue {
				continue // those that only find the partitions
			}
			i := int(binary.BigEndian.Uint64(r.Value)) - 1 //nolint:gosec // we wrote it
			if i < 0 || i >= len(seen) {
				return fmt.Errorf("partition %d offset %d holds no record of this run", r.Partition, r.Offset)
			}
			if seen[i] == 0 {
				seen[i] = now
				left--
			}
		}
	}
	return nil
}

// quantiles are over the records behind the warm-up.
func (l *steady) quantiles() (source, mirrored, added measure.Quantiles) {
	var a, b, c []time.Duration
	for i := l.warmup; i < l.records; i++ {
		a = append(a, l.atSource[i]-l.due(i))
		b = append(b, l.atMirror[i]-l.due(i))
		c = append(c, l.atMirror[i]-l.atSource[i])
	}
	return measure.QuantilesOf(a), measure.QuantilesOf(b), measure.QuantilesOf(c)
}
