package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ownerKey is written by each owner as its first record; reading up to the own
// one is how a new owner knows that it has read everything.
const ownerKey = "owner"

type shard struct {
	n      int32
	client *kgo.Client
	puts   chan put
	done   chan struct{}
	stamp  atomic.Pointer[stamp] // see watchOwner
}

type put struct {
	recs []*kgo.Record
	err  chan error
}

// groupCommit bounds the puts of one transaction.
const groupCommit = 256

// initTimeout and initTries bound taking a shard over: a coordinator that takes
// a request and never answers (kfake does, now and then) is asked on a new
// connection.
const (
	initTimeout = 45 * time.Second
	initTries   = 3
	// answerTimeout bounds a single request, so that one broker that hangs does
	// not use up the time that the others need.
	answerTimeout = 4 * time.Second
)

func newShard(ctx context.Context, opts Options, n int32) (*shard, error) {
	var errs []error
	for range initTries {
		s, err := tryShard(ctx, opts, n)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func tryShard(ctx context.Context, opts Options, n int32) (*shard, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts.Local...),
		kgo.TransactionalID(transactionalID(opts.ClusterID, n)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.RequestTimeoutOverhead(answerTimeout),
		kgo.DialTimeout(answerTimeout),
	)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	// InitProducerId now: from here on the former owner's writes are refused.
	if _, _, err := client.ProducerID(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("init producer id: %w", err)
	}
	return &shard{n: n, client: client, puts: make(chan put), done: make(chan struct{})}, nil
}

// put hands records to the shard's writer and waits for their transaction.
func (s *shard) put(ctx context.Context, recs []*kgo.Record) error {
	p := put{recs: recs, err: make(chan error, 1)}
	select {
	case s.puts <- p:
	case <-s.done:
		return errors.New("the state store is closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	// Once taken, the outcome is awaited whatever the caller's context says:
	// memory and topic must not part.
	return <-p.err
}

// run is the only writer of the shard. Puts that come while a transaction is
// under way share the next one.
func (s *shard) run(ctx context.Context) {
	defer close(s.done)
	var broken error
	for {
		var batch []put
		select {
		case <-ctx.Done():
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
		if broken == nil {
			s.stamp.Store(nil)
			broken = s.commit(context.WithoutCancel(ctx), batch)
			if broken == nil {
				s.note(ctx)
			}
		}
		for _, p := range batch {
			p.err <- broken
		}
		// A transaction that failed leaves it open what the topic holds; only a
		// new owner, which reads it again, can tell.
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
	return fenced(errors.Join(err, s.client.EndTransaction(ctx, end)))
}

func fenced(err error) error {
	for _, f := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping} {
		if errors.Is(err, f) {
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
	}
	return err
}

// ensureTopic creates the state topic where it is missing and answers with its
// number of partitions. It looks first: creating goes to one broker only, and
// that one may hang.
func ensureTopic(ctx context.Context, opts Options) (int32, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts.Local...), kgo.RequestTimeoutOverhead(answerTimeout), kgo.DialTimeout(answerTimeout))...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	adm := kadm.NewClient(client)
	for {
		n, err := lookOrCreate(ctx, adm, opts)
		if err == nil || !retriable(err) {
			return n, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(lookEvery):
		}
	}
}

const lookEvery = 200 * time.Millisecond

func lookOrCreate(ctx context.Context, adm *kadm.Client, opts Options) (int32, error) {
	topics, err := adm.ListTopics(ctx, opts.Topic)
	if err != nil {
		return 0, fmt.Errorf("describe: %w", err)
	}
	t := topics[opts.Topic]
	switch {
	case t.Err == nil && len(t.Partitions) > 0:
		return int32(len(t.Partitions)), nil
	case t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return 0, fmt.Errorf("describe: %w", t.Err)
	}
	policy := "compact"
	res, err := adm.CreateTopic(ctx, opts.Shards, opts.ReplicationFactor,
		map[string]*string{"cleanup.policy": &policy}, opts.Topic)
	if err == nil {
		err = res.Err
	}
	if err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	return opts.Shards, nil
}

// retriable: the cluster did not answer, or says itself that it may later. That
// the topic was made meanwhile shows at the next look.
func retriable(err error) bool {
	var ke *kerr.Error
	return !errors.As(err, &ke) || ke.Retriable || errors.Is(err, kerr.TopicAlreadyExists)
}

// load writes an owner record to each shard and reads each shard up to it.
func (s *Store) load(ctx context.Context) error {
	nonces, err := s.own(ctx)
	if err != nil {
		return err
	}
	assign := map[int32]kgo.Offset{}
	for i := range s.shards {
		assign[int32(i)] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, s.opts.Local...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequestTimeoutOverhead(answerTimeout),
		kgo.DialTimeout(answerTimeout),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.opts.Topic: assign}),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	done := map[int32]bool{}
	for len(done) < len(s.shards) {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("read: %d of %d shards were read to their end: %w", len(done), len(s.shards), ctx.Err())
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			own, err := s.apply(r, nonces[r.Partition])
			if err != nil {
				return err
			}
			if own {
				done[r.Partition] = true
			}
		}
	}
	return nil
}

// own writes an owner record to each shard and answers with their marks.
func (s *Store) own(ctx context.Context) ([]string, error) {
	nonces := make([]string, len(s.shards))
	for i, sh := range s.shards {
		id, epoch, err := sh.client.ProducerID(ctx)
		if err != nil {
			return nil, err
		}
		nonces[i] = fmt.Sprintf("%d/%d", id, epoch)
		raw, _ := json.Marshal(nonces[i])
		value, _ := json.Marshal(envelope{V: Version, Data: raw})
		rec := &kgo.Record{Topic: s.opts.Topic, Partition: int32(i), Key: []byte(ownerKey), Value: value}
		if err := sh.put(ctx, []*kgo.Record{rec}); err != nil {
			return nil, fmt.Errorf("shard %d: take over: %w", i, err)
		}
	}
	return nonces, nil
}

// Decode reads a record's value as this package writes it, for those who read
// the state topic of another engine.
func Decode(value []byte, v any) error {
	var env envelope
	if err := json.Unmarshal(value, &env); err != nil {
		return fmt.Errorf("state record is torn: %w", err)
	}
	if env.V > Version {
		return fmt.Errorf("state record has version %d, this engine reads up to %d", env.V, Version)
	}
	return json.Unmarshal(env.Data, v)
}

// apply takes one record over and tells whether it is this owner's first.
func (s *Store) apply(r *kgo.Record, nonce string) (bool, error) {
	key := string(r.Key)
	if r.Value == nil {
		delete(s.values, key)
		return false, nil
	}
	var env envelope
	if err := json.Unmarshal(r.Value, &env); err != nil {
		return false, fmt.Errorf("record %q at shard %d offset %d is torn: %w", key, r.Partition, r.Offset, err)
	}
	if env.V > Version {
		return false, fmt.Errorf("record %q at shard %d offset %d has version %d, this engine reads up to %d: run the newer release", key, r.Partition, r.Offset, env.V, Version)
	}
	if key == ownerKey {
		return string(env.Data) == strconv.Quote(nonce), nil
	}
	s.values[key] = env.Data
	return false, nil
}
