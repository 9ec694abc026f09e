package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// shard is an owned shard: its transactional client and the only writer.
type shard struct {
	n      int32
	client *kgo.Client
	puts   chan put
	stop   chan struct{} // closed: write no more
	done   chan struct{} // closed when run has ended
	err    error         // why run ended by itself; read it behind done
	first  int64         // offset of the owner record
	last   atomic.Int64  // offset of the newest record
	began  atomic.Int64  // Unix nanoseconds, when the transaction under way began; 0: none is
}

type put struct {
	recs []*kgo.Record
	err  chan error
}

// groupCommit bounds the puts of one transaction.
const groupCommit = 256

const (
	// initTimeout bounds the first contact: a coordinator that takes a request and
	// never answers (kfake does, now and then) is asked on a new connection.
	initTimeout = 45 * time.Second
	// answerTimeout bounds a single request, so that one broker that hangs does
	// not use up the time that the others need.
	answerTimeout = 4 * time.Second
	// readFirst and readLast bound reading a shard behind its takeover, doubled each
	// time. A transaction of a former owner that nobody ended hides what lies behind
	// it; taking the shard over anew aborts it. (Now and then a franz-go client loses
	// track of its first transaction at a kfake broker; the same cures that.)
	readFirst = 3 * time.Second
	readLast  = 80 * time.Second
	// keepMin and keepMax bound the pause before a shard is taken over again.
	keepMin = 100 * time.Millisecond
	keepMax = 5 * time.Second
	// stuckAfter is how long a transaction may take before Stuck tells of it: longer
	// than a coordinator's or a leader's move.
	stuckAfter = 15 * time.Second
)

// Stuck tells of the shard whose write the topic has not taken for more than 15 s,
// nil if there is none. A Put waits for its outcome without a bound, since memory
// and topic must not part; whoever can still choose should not begin one.
func (s *Store) Stuck() error { return s.stuckAt(time.Now()) }

func (s *Store) stuckAt(now time.Time) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for n, sh := range s.owned {
		if sh == nil {
			continue
		}
		if began := sh.began.Load(); began > 0 && now.Sub(time.Unix(0, began)) > stuckAfter {
			return fmt.Errorf("topic %s, partition %d, takes no writes since %s", s.opts.Topic, n, time.Unix(0, began).UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// keep owns a shard until ctx ends: takes it over, gives it up where a write
// failed, takes it over again. tell is told why it is not owned.
func (s *Store) keep(ctx context.Context, n int32, tell func(error)) {
	pause, wait := keepMin, readFirst
	for ctx.Err() == nil {
		sh, err := s.takeOver(ctx, n, wait)
		if err == nil {
			tell(nil)
			pause, wait = keepMin, readFirst
			s.setOwned(n, sh)
			s.opts.Logger.Info("shard of the state taken over", "shard", n)
			select {
			case <-ctx.Done():
			case <-sh.done:
				err = sh.err
			}
			s.setOwned(n, nil)
			s.opts.Release(n)
			sh.close()
		}
		if ctx.Err() != nil {
			return
		}
		tell(err)
		s.opts.Logger.Warn("a shard of the state is not owned, taking it over again", "shard", n, "error", err)
		if errors.Is(err, context.DeadlineExceeded) {
			wait = min(wait*2, readLast)
		}
		if errors.Is(err, ErrFenced) {
			// The group gave it to somebody else; it will tell this replica soon. If it
			// does not, the other one is no member and is wrong.
			pause = s.opts.Session
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(pause*2, keepMax)
	}
}

func (s *Store) setOwned(n int32, sh *shard) {
	s.mu.Lock()
	s.owned[n] = sh
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	s.opts.Changed("")
}

// takeOver fences the former owner, writes the owner record and waits until the
// shard was read up to it.
func (s *Store) takeOver(ctx context.Context, n int32, wait time.Duration) (*shard, error) {
	client, err := s.opts.client(
		kgo.TransactionalID(transactionalID(s.opts.ClusterID, n)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	)
	if err != nil {
		return nil, err
	}
	init, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	// InitProducerId now: from here on the former owner's writes are refused.
	id, epoch, err := client.ProducerID(init)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("init producer id: %w", err)
	}
	sh := &shard{n: n, client: client, puts: make(chan put), stop: make(chan struct{}), done: make(chan struct{})}
	go sh.run(context.WithoutCancel(ctx))
	raw, _ := json.Marshal(Owner{Mark: fmt.Sprintf("%d/%d", id, epoch), Address: s.opts.Address})
	value, _ := json.Marshal(envelope{V: Version, Data: raw})
	rec := &kgo.Record{Topic: s.opts.Topic, Partition: n, Key: []byte(ownerKey), Value: value}
	if err = sh.put(init, []*kgo.Record{rec}); err == nil {
		sh.first = rec.Offset
		read, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if mutant != "takeover-unread" {
			err = s.Await(read, n, sh.first)
		}
	}
	if err != nil {
		sh.close()
		return nil, fmt.Errorf("take over: %w", err)
	}
	return sh, nil
}

// close ends the writer and releases its client. A transaction that hangs, since
// its brokers are away, is left behind; the next owner aborts it.
func (s *shard) close() {
	close(s.stop)
	select {
	case <-s.done:
	case <-time.After(answerTimeout):
	}
	s.client.Close()
	<-s.done
}

// put hands records to the shard's writer and waits for their transaction.
func (s *shard) put(ctx context.Context, recs []*kgo.Record) error {
	p := put{recs: recs, err: make(chan error, 1)}
	select {
	case s.puts <- p:
	case <-s.done:
		return ErrNotOwner
	case <-ctx.Done():
		return ctx.Err()
	}
	// Once taken, the outcome is awaited whatever the caller's context says:
	// memory and topic must not part.
	return <-p.err
}

// run is the only writer of the shard. Puts that come while a transaction is
// under way share the next one. A transaction that failed leaves it open what the
// topic holds; only a new owner, which reads it again, can tell: run ends.
func (s *shard) run(ctx context.Context) {
	defer close(s.done)
	for s.err == nil {
		var batch []put
		select {
		case <-s.stop:
			return
		case p := <-s.puts:
			batch = append(batch, p)
		}
	more:
		for len(batch) < groupCommit {
			select {
			case p := <-s.puts:
				batch = append(batch, p)
			default:
				break more
			}
		}
		s.began.Store(time.Now().UnixNano())
		s.err = s.commit(ctx, batch)
		s.began.Store(0)
		for _, p := range batch {
			p.err <- s.err
		}
	}
}

func (s *shard) commit(ctx context.Context, batch []put) error {
	if err := s.client.BeginTransaction(); err != nil {
		return fenced(err)
	}
	var recs []*kgo.Record
	for _, p := range batch {
		recs = append(recs, p.recs...)
	}
	err := s.client.ProduceSync(ctx, recs...).FirstErr()
	end := kgo.TransactionEndTry(err == nil)
	if err = errors.Join(err, s.client.EndTransaction(ctx, end)); err == nil {
		s.last.Store(recs[len(recs)-1].Offset)
	}
	return fenced(err)
}

func fenced(err error) error {
	for _, f := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping} {
		if errors.Is(err, f) {
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
	}
	return err
}
