// Package state keeps what the engine must not forget in one compacted topic of
// the destination cluster: links, mirrors, segments, stop offsets, group
// offsets, ledger, operation tokens, locks and fences. Nothing is kept on a
// disk of ours.
//
// The topic's partitions are the shards. The owner of a shard writes it with
// the transactional id drawbridge-<destination cluster id>-<shard>: opening a
// shard fences its former owner's writes (KIP-98, InitProducerId), and only
// then is it read to its end. The package knows keys, values and versions, not
// what they mean. Start at Open.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Version of the records that this build writes. A newer record makes Open
// fail: an older build must not act on what it cannot read.
const Version = 1

// ErrFenced means that another engine has taken over a shard: this process must
// stop, because what it holds in memory is no longer the truth.
var ErrFenced = errors.New("another engine has taken over the state topic")

// Options of a Store.
type Options struct {
	// Local are the client options of the destination cluster.
	Local []kgo.Opt
	// ClusterID of the destination cluster, part of the transactional ids.
	ClusterID string
	Topic     string
	// Shards is the number of partitions when the topic is created; an existing
	// topic keeps its own.
	Shards int32
	// ReplicationFactor at creation; -1 takes the cluster's default.
	ReplicationFactor int16
	Logger            *slog.Logger
}

// Entry is one keyed value; a nil Value removes the key.
type Entry struct {
	Key   string
	Value any
}

// Store is the state in memory, written through to the topic.
type Store struct {
	opts   Options
	shards []*shard

	mu     sync.RWMutex // guards values
	values map[string]json.RawMessage

	lost   chan error // buffered 1
	cancel context.CancelFunc
	wg     sync.WaitGroup // writers
	watch  sync.WaitGroup // watchOwner, whose question may end with its client only
}

// envelope is a value on the topic.
type envelope struct {
	V    int             `json:"v"`
	Data json.RawMessage `json:"data"`
}

// Open creates the topic where it is missing, fences the former owner of every
// shard and reads all of it. One engine owns every shard for now; a later
// release shares them among replicas.
func Open(ctx context.Context, opts Options) (*Store, error) {
	n, err := ensureTopic(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("state topic %s: %w", opts.Topic, err)
	}
	opts.Shards = n
	var errs []error
	for wait := loadFirst; wait <= loadLast; wait *= 2 {
		s, err := take(ctx, opts, wait)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			break
		}
		opts.Logger.Warn("the state topic could not be read to its end, taking it over again", "error", err)
	}
	return nil, fmt.Errorf("state topic %s: %w", opts.Topic, errors.Join(errs...))
}

// loadFirst and loadLast bound a try to read the state, doubled each time. A
// transaction of a former owner that nobody ended hides what lies behind it;
// taking the shards over anew aborts it. (Now and then a franz-go client loses
// track of its first transaction at a kfake broker; the same cures that.)
const (
	loadFirst = 10 * time.Second
	loadLast  = 80 * time.Second
)

// take is one try: fence the former owner of every shard, read all of it.
func take(ctx context.Context, opts Options, wait time.Duration) (*Store, error) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{opts: opts, values: map[string]json.RawMessage{}, lost: make(chan error, 1), cancel: cancel}
	shards, err := openShards(ctx, opts)
	s.shards = shards
	for _, sh := range shards {
		s.wg.Go(func() { sh.run(run) })
	}
	if err == nil {
		load, done := context.WithTimeout(ctx, wait)
		defer done()
		err = s.load(load)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.watch.Go(func() { s.watchOwner(run) })
	return s, nil
}

// openShards takes all shards over at once; those that succeeded come back with
// an error of the others.
func openShards(ctx context.Context, opts Options) ([]*shard, error) {
	shards := make([]*shard, opts.Shards)
	var group errgroup.Group
	for i := range shards {
		group.Go(func() (err error) {
			shards[i], err = newShard(ctx, opts, int32(i))
			if err != nil {
				err = fmt.Errorf("shard %d: %w", i, err)
			}
			return err
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(shards, func(s *shard) bool { return s == nil }), err
}

// Shards is the number of shards, fixed when the topic was created.
func (s *Store) Shards() int32 { return int32(len(s.shards)) }

// ShardOf is the shard of a mirrored partition: a hash of the mirror topic's id
// and the partition.
func (s *Store) ShardOf(topicID string, partition int32) int32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s/%d", topicID, partition)
	return int32(h.Sum32() % uint32(len(s.shards)))
}

// Put writes entries to a shard in one transaction and then makes them
// readable. When it returns nil they are on all in-sync replicas. An error that
// is ErrFenced is final for the process.
func (s *Store) Put(ctx context.Context, shard int32, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	recs := make([]*kgo.Record, len(entries))
	raws := make([]json.RawMessage, len(entries))
	for i, e := range entries {
		recs[i] = &kgo.Record{Topic: s.opts.Topic, Partition: shard, Key: []byte(e.Key)}
		if e.Value == nil {
			continue
		}
		raw, err := json.Marshal(e.Value)
		if err != nil {
			return fmt.Errorf("state %s: %w", e.Key, err)
		}
		raws[i] = raw
		recs[i].Value, _ = json.Marshal(envelope{V: Version, Data: raw})
	}
	if err := s.shards[shard].put(ctx, recs); err != nil {
		return fmt.Errorf("state topic %s shard %d: %w", s.opts.Topic, shard, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range entries {
		if raws[i] == nil {
			delete(s.values, e.Key)
		} else {
			s.values[e.Key] = raws[i]
		}
	}
	return nil
}

// Get reads a key into v and tells whether it was there.
func (s *Store) Get(key string, v any) (bool, error) {
	s.mu.RLock()
	raw, ok := s.values[key]
	s.mu.RUnlock()
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("state %s: %w", key, err)
	}
	return true, nil
}

// Keys lists the keys with a prefix in order.
func (s *Store) Keys(prefix string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for k := range maps.Keys(s.values) {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// Close stops the writers. What Put has acknowledged is safe.
func (s *Store) Close() {
	s.cancel()
	s.wg.Wait()
	for _, sh := range s.shards {
		sh.client.Close()
	}
	s.watch.Wait()
}

// All reads every value with a prefix, in the order of the keys.
func All[T any](s *Store, prefix string) ([]T, error) {
	var out []T
	for _, k := range s.Keys(prefix) {
		var v T
		ok, err := s.Get(k, &v)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, nil
}
