package killloop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// writer fills the source: plain idempotent batches in all codecs and
// transactions, a third of which are aborted. It knows what was committed.
type writer struct {
	topic  string
	total  int
	gate   chan struct{} // one token per share of the work, so that it lasts as long as the kills
	shares int
	rng    *rand.Rand
	plain  []*kgo.Client
	txn    *kgo.Client

	mu        sync.Mutex // guards what follows
	next      int
	committed map[string]bool
}

func newWriter(t *testing.T, l loop, rng *rand.Rand) *writer {
	t.Helper()
	w := &writer{topic: l.topic, total: l.records, shares: l.kills + 1, gate: make(chan struct{}, l.kills+1), rng: rng, committed: map[string]bool{}}
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(append(source.DirectOptions(admin), kgo.RecordPartitioner(kgo.ManualPartitioner())), opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	for _, c := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		w.plain = append(w.plain, client(kgo.ProducerBatchCompression(c)))
	}
	w.txn = client(kgo.TransactionalID("killloop-"+l.topic), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	w.gate <- struct{}{}
	return w
}

// allow lets the next share be written.
func (w *writer) allow() { w.gate <- struct{}{} }

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

func (w *writer) run(ctx context.Context) error {
	for s := range w.shares {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.gate:
		}
		for until := w.total * (s + 1) / w.shares; w.count() < until; {
			if err := w.write(ctx, min(1+w.rng.IntN(200), until-w.count())); err != nil {
				return err
			}
		}
	}
	return nil
}

// write sends n numbered records to one partition, as one transaction or not.
func (w *writer) write(ctx context.Context, n int) error {
	part := w.rng.Int32N(partitions)
	w.mu.Lock()
	first := w.next
	w.next += n
	w.mu.Unlock()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{
			Topic: w.topic, Partition: part, Key: fmt.Appendf(nil, "k%d", (first+i)%1000),
			Value: fmt.Appendf(nil, "%d %0*d", first+i, w.rng.IntN(120), 0),
		}
	}
	cl, commit := w.plain[w.rng.IntN(len(w.plain))], true
	transactional := w.rng.IntN(8) == 0
	if transactional {
		cl, commit = w.txn, w.rng.IntN(3) > 0
		if err := cl.BeginTransaction(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if transactional {
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			return fmt.Errorf("end transaction: %w", err)
		}
	}
	if commit {
		w.mu.Lock()
		for i := range n {
			w.committed[fmt.Sprint(first+i)] = true
		}
		w.mu.Unlock()
	}
	return nil
}
