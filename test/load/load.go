package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/exact"
)

// Config says what a topic is filled with.
type Config struct {
	Topic      string
	Partitions int32
	// Seed gives keys, sizes, codecs and outcomes; the moment gives timestamps.
	Seed uint64
	// Keys is how many different keys there are; 0: records have none.
	Keys int
	// ByKey: a key has its partition; else each batch goes to any.
	ByKey bool
	// Tombstones: every tenth record of a key deletes it.
	Tombstones bool
	// Age is how old the records say they are.
	Age time.Duration
	// Batch is the largest number of records that are sent at once; 0: 200.
	Batch int
	// Enough is how many committed records Run makes at its rate; then it goes on
	// at a twentieth, in batches as much smaller: each partition still gets one as
	// often. 0: no limit.
	Enough int
}

// Writer fills one topic. Its records are all different.
type Writer struct {
	cfg  Config
	from *Producers
	// Used by one goroutine each.
	plain, txn *source
	client     *kgo.Client // the transactional one; txn's goroutine may replace it

	mu        sync.Mutex // guards what follows
	count     int
	committed int
	written   []entry
}

// source makes the records of one goroutine.
type source struct {
	name string
	rng  *rand.Rand
	next int
}

type outcome uint8

const (
	committed outcome = iota + 1
	unknown           // the transaction's end was not learnt
)

type entry struct {
	partition int32
	outcome   outcome
	record    exact.Record
}

// New makes a writer; end it with Close. from outlives it.
func New(from *Producers, cfg Config) (*Writer, error) {
	if cfg.Batch == 0 {
		cfg.Batch = 200
	}
	w := &Writer{
		cfg: cfg, from: from,
		plain: &source{name: "p", rng: rand.New(rand.NewPCG(cfg.Seed, 1))},
		txn:   &source{name: "t", rng: rand.New(rand.NewPCG(cfg.Seed, 2))},
	}
	return w, w.renew()
}

// renew takes a new transactional client. Once it has its producer id, what the
// former one left open is ended.
func (w *Writer) renew() error {
	if w.client != nil {
		w.client.Close()
	}
	all := codecs()
	codec := all[w.txn.rng.IntN(len(all))]
	var err error
	w.client, err = w.from.client(kgo.TransactionalID("load-"+w.cfg.Topic), kgo.ProducerBatchCompression(codec))
	return err
}

// Close ends the writer's own client.
func (w *Writer) Close() { w.client.Close() }

// transactional is the share of the batches that are sent in transactions.
const transactional = 8

// Run writes about rate records a second until stop is closed. Transactions are
// open while plain batches go to the same partitions; none is left open.
func (w *Writer) Run(ctx context.Context, rate int, stop <-chan struct{}) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.paced(ctx, rate-rate/transactional, stop, w.plain, w.idempotent) })
	group.Go(func() error { return w.paced(ctx, rate/transactional, stop, w.txn, w.transaction) })
	return group.Wait()
}

func (w *Writer) paced(ctx context.Context, rate int, stop <-chan struct{}, s *source, write func(context.Context, int) error) error {
	next := time.Now()
	for {
		wait := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-stop:
			wait.Stop()
			return nil
		case <-wait.C:
		}
		batch, slower := w.cfg.Batch, 1
		if w.cfg.Enough > 0 && w.Committed() >= w.cfg.Enough {
			batch, slower = max(batch/20, 1), 20
		}
		n := 1 + s.rng.IntN(batch)
		if err := write(ctx, n); err != nil {
			return err
		}
		next = next.Add(time.Duration(n*slower) * time.Second / time.Duration(max(rate, 1)))
		if late := time.Now().Add(-time.Second); next.Before(late) {
			next = late // what a broker's death has held up is not all made up for at once
		}
	}
}

// Write adds records as fast as it goes until n more are committed. It must not run beside Run.
func (w *Writer) Write(ctx context.Context, n int) error {
	for until := w.Committed() + n; w.Committed() < until; {
		batch := min(1+w.plain.rng.IntN(w.cfg.Batch), until-w.Committed())
		write := w.idempotent
		if w.plain.rng.IntN(transactional) == 0 {
			write = w.transaction
		}
		if err := write(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// Count is how many records were sent, the aborted included.
func (w *Writer) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// Committed is how many records are known to be committed.
func (w *Writer) Committed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.committed
}

func (w *Writer) idempotent(ctx context.Context, n int) error {
	recs := w.records(w.plain, n)
	if err := w.from.plain[w.plain.rng.IntN(len(w.from.plain))].ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("produce to %s: %w", w.cfg.Topic, err)
	}
	w.remember(recs, committed)
	return nil
}

// transaction sends n records and commits them, or aborts a third of the time. A
// transaction that a broker's death has spoilt is ended at once by the next client:
// until then nobody who reads committed records gets past it.
func (w *Writer) transaction(ctx context.Context, n int) error {
	commit := w.txn.rng.IntN(3) > 0
	if err := w.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction on %s: %w", w.cfg.Topic, err)
	}
	recs := w.records(w.txn, n)
	produceErr := w.client.ProduceSync(ctx, recs...).FirstErr()
	commit = commit && produceErr == nil
	endErr := w.client.EndTransaction(ctx, kgo.TransactionEndTry(commit))
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), produceErr, endErr)
	}
	switch {
	case commit && endErr == nil:
		w.remember(recs, committed)
	case commit:
		w.remember(recs, unknown)
	}
	if errors.Join(produceErr, endErr) == nil {
		return nil
	}
	if err := w.renew(); err != nil {
		return err
	}
	if _, _, err := w.client.ProducerID(ctx); err != nil {
		return fmt.Errorf("end the spoilt transaction on %s: %w", w.cfg.Topic, err)
	}
	return nil
}

// records are n new ones.
func (w *Writer) records(s *source, n int) []*kgo.Record {
	w.mu.Lock()
	w.count += n
	w.mu.Unlock()
	recs := make([]*kgo.Record, n)
	at := time.Now().Add(-w.cfg.Age)
	partition := s.rng.Int32N(w.cfg.Partitions)
	headers := s.rng.IntN(4) == 0
	for i := range recs {
		s.next++
		id := fmt.Sprint(s.name, s.next)
		r := &kgo.Record{
			Topic: w.cfg.Topic, Partition: partition,
			Value:     fmt.Appendf(nil, "%s %0*x", id, s.rng.IntN(150), s.rng.Uint64()),
			Timestamp: time.UnixMilli(at.UnixMilli() - s.rng.Int64N(500)), // not in order, as with several hosts
		}
		if w.cfg.Keys > 0 {
			r.Key = fmt.Appendf(nil, "k%d", s.rng.IntN(w.cfg.Keys))
		}
		if w.cfg.ByKey {
			h := fnv.New32a()
			h.Write(r.Key)
			r.Partition = int32(h.Sum32() % uint32(w.cfg.Partitions))
		}
		if w.cfg.Tombstones && s.rng.IntN(10) == 0 {
			r.Value, r.Headers = nil, []kgo.RecordHeader{{Key: "n", Value: []byte(id)}}
		}
		if headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "trace", Value: fmt.Appendf(nil, "%x", s.rng.Uint32())}, kgo.RecordHeader{Key: "empty"})
		}
		recs[i] = r
	}
	return recs
}

func (w *Writer) remember(recs []*kgo.Record, o outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o == committed {
		w.committed += len(recs)
	}
	for _, r := range recs {
		w.written = append(w.written, entry{r.Partition, o, exact.Digest(r)})
	}
}

// Written is what is known of a partition: all that was committed, and what
// may have been.
func (w *Writer) Written(partition int32) exact.Written {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := exact.Written{Unknown: map[int64]bool{}}
	for _, e := range w.written {
		if e.partition != partition {
			continue
		}
		out.Records = append(out.Records, e.record)
		if e.outcome == unknown {
			out.Unknown[e.record.Offset] = true
		}
	}
	slices.SortFunc(out.Records, func(a, b exact.Record) int { return cmp.Compare(a.Offset, b.Offset) })
	return out
}

// Check holds what committed readers see of the source against what was
// acknowledged. A difference is the source's fault, or ours: whatever the mirror
// holds, nothing can be said of it then. compacted: records may have gone.
func (w *Writer) Check(partition int32, source exact.Log, compacted bool) error {
	written := w.Written(partition)
	has := make(map[int64]bool, len(source.Records))
	for _, r := range source.Records {
		has[r.Offset] = true
	}
	known := make(map[int64]bool, len(written.Records))
	for _, r := range written.Records {
		known[r.Offset] = true
		if !compacted && !has[r.Offset] && !written.Unknown[r.Offset] {
			return fmt.Errorf("source %s partition %d has lost record %s at %d, which it had acknowledged", w.cfg.Topic, partition, r.Text, r.Offset)
		}
	}
	for _, r := range source.Records {
		if !known[r.Offset] {
			return fmt.Errorf("source %s partition %d shows record %s at %d, which nobody committed", w.cfg.Topic, partition, r.Text, r.Offset)
		}
	}
	return nil
}
