// Package state keeps what the engine must not forget in one compacted topic of
// the destination cluster: links, mirrors, segments, stop offsets, group
// offsets, ledger, operation tokens, locks and fences. Nothing is kept on a
// disk of ours.
//
// The topic's partitions are the shards. Replicas of the engine share them out
// by Kafka's group protocol: they are members of one consumer group on the topic.
// The owner of a shard alone writes it, with the transactional id
// drawbridge-<destination cluster id>-<shard>: taking a shard over fences the
// former owner's writes (KIP-98, InitProducerId), and only then is it read to its
// end. Every replica follows all shards, so that each can read everything, if
// perhaps a moment late. The package knows keys, values and versions, not what
// they mean. Start at Open; group.go shares the shards out, shard.go owns one,
// follow.go reads.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Version of the records that this build writes. A newer record makes Open
// fail, and ends a Store that meets it: an older build must not act on what it
// cannot read.
const Version = 1

// ErrNotOwner means that the shard belongs to another replica, or to none at the
// moment: nothing was written.
var ErrNotOwner = errors.New("this replica does not own the shard")

// ErrFenced means that another replica has taken the shard over before this one
// knew: nothing was written.
var ErrFenced = errors.New("another replica has taken the shard over")

// Options of a Store.
type Options struct {
	// Local are the client options of the destination cluster.
	Local []kgo.Opt
	// ClusterID of the destination cluster, part of the transactional ids.
	ClusterID string
	// Topic is also the name of the group by which shards are shared out.
	Topic string
	// Shards is the number of partitions when the topic is created; an existing
	// topic keeps its own.
	Shards int32
	// ReplicationFactor at creation; -1 takes the cluster's default.
	ReplicationFactor int16
	Logger            *slog.Logger

	// Address is where other replicas reach this one; it stands in the owner
	// records (Owner).
	Address string
	// Instance names this replica for as long as it lives and when it comes back
	// (KIP-345): one that is started again gets its shards back at once, without
	// waiting for its former life's session to end. Two replicas must not share
	// one. Empty: every start is a new member.
	Instance string
	// Session is after what silence a replica counts as dead and its shards go to
	// others. Default 10 s; brokers bound it (group.min.session.timeout.ms).
	Session time.Duration

	// Release is called when a shard is lost, before its writer is closed: it stops
	// what rests on owning the shard, and waits for it. Owned tells false already.
	Release func(shard int32)
	// Changed is told the keys that other replicas, or a takeover, changed; and ""
	// when a shard's owner changed. It must not block.
	Changed func(key string)
}

// Entry is one keyed value; a nil Value removes the key.
type Entry struct {
	Key   string
	Value any
}

// Store is the state in memory. What it holds of owned shards is written through
// to the topic; the rest is followed.
type Store struct {
	opts   Options
	shards int32
	group  *membership

	mu       sync.RWMutex // guards what follows
	values   map[string]value
	index    index
	owners   []Owner  // by shard, as last read
	owned    []*shard // by shard, nil: not ours
	term     int64    // highest seen, see Term
	position []int64  // by shard: the first offset not read yet
	moved    chan struct{}

	failed chan error // buffered 1
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// value is what a key holds, and the offset of its record. raw is nil for a key
// that was removed by a Put which the follower has not reached yet.
type value struct {
	raw    json.RawMessage
	offset int64
}

// envelope is a value on the topic.
type envelope struct {
	V    int             `json:"v"`
	Data json.RawMessage `json:"data"`
}

// Open creates the topic where it is missing, follows it, joins the group and
// returns when the first share of the shards is owned: for each of them the former
// owner is fenced and all that was written has been read. A share may be empty
// while other replicas have the shards.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Session == 0 {
		opts.Session = defaultSession
	}
	if opts.Release == nil {
		opts.Release = func(int32) {}
	}
	if opts.Changed == nil {
		opts.Changed = func(string) {}
	}
	n, err := ensureTopic(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("state topic %s: %w", opts.Topic, err)
	}
	s := &Store{
		opts: opts, shards: n, values: map[string]value{}, owners: make([]Owner, n), owned: make([]*shard, n),
		position: make([]int64, n), moved: make(chan struct{}), failed: make(chan error, 1), term: -1,
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	err = s.follow()
	if err == nil {
		err = s.join()
	}
	if err == nil {
		err = s.awaitShare(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("state topic %s: %w", opts.Topic, err)
	}
	return s, nil
}

// Failed tells, once, why the Store cannot go on: it met a record that this build
// cannot read.
func (s *Store) Failed() <-chan error { return s.failed }

func (s *Store) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Shards is the number of shards, fixed when the topic was created.
func (s *Store) Shards() int32 { return s.shards }

// ShardOf is the shard of a mirrored partition: a hash of the mirror topic's id
// and the partition.
func (s *Store) ShardOf(topicID string, partition int32) int32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s/%d", topicID, partition)
	return int32(h.Sum32() % uint32(s.shards))
}

// Put writes entries to an owned shard in one transaction and then makes them
// readable. When it returns nil they are on all in-sync replicas. After an error
// that is neither ErrNotOwner nor ErrFenced they may be written or not; the shard
// is then given up and taken over again, so that memory tells what the topic does.
func (s *Store) Put(ctx context.Context, shard int32, entries ...Entry) error {
	raws := make([]RawEntry, len(entries))
	for i, e := range entries {
		raws[i].Key = e.Key
		if e.Value == nil {
			continue
		}
		raw, err := json.Marshal(e.Value)
		if err != nil {
			return fmt.Errorf("state %s: %w", e.Key, err)
		}
		raws[i].Value = raw
	}
	_, err := s.write(ctx, shard, raws)
	return err
}

func (s *Store) write(ctx context.Context, shard int32, entries []RawEntry) (int64, error) {
	sh := s.own(shard)
	if sh == nil {
		return 0, fmt.Errorf("state topic %s shard %d: %w", s.opts.Topic, shard, ErrNotOwner)
	}
	if len(entries) == 0 {
		return sh.last.Load(), nil
	}
	recs := make([]*kgo.Record, len(entries))
	for i, e := range entries {
		recs[i] = &kgo.Record{Topic: s.opts.Topic, Partition: shard, Key: []byte(e.Key)}
		if e.Value != nil {
			recs[i].Value = fmt.Appendf(nil, `{"v":%d,"data":%s}`, Version, e.Value) // an envelope
		}
	}
	if err := sh.put(ctx, recs); err != nil {
		return 0, fmt.Errorf("state topic %s shard %d: %w", s.opts.Topic, shard, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range entries {
		if at := recs[i].Offset; s.values[e.Key].offset <= at {
			s.set(e.Key, value{e.Value, at})
		}
	}
	return recs[len(recs)-1].Offset, nil
}

// Get reads a key into v and tells whether it was there.
func (s *Store) Get(key string, v any) (bool, error) {
	s.mu.RLock()
	raw := s.values[key].raw
	s.mu.RUnlock()
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("state %s: %w", key, err)
	}
	return true, nil
}

// Leave gives the shards back and leaves the group, so that other replicas take
// over at once; the Store can still be read.
func (s *Store) Leave() {
	if s.group != nil {
		s.group.left.Do(s.group.leave)
	}
}

// Close leaves, and reads no more. What Put has acknowledged is safe.
func (s *Store) Close() {
	s.Leave()
	s.cancel()
	s.wg.Wait()
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
