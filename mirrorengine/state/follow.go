package state

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// follow reads all shards from their start and goes on reading until the Store is
// closed.
func (s *Store) follow() error {
	assign := map[int32]kgo.Offset{}
	for n := range s.shards {
		assign[n] = kgo.NewOffset().AtStart()
	}
	client, err := s.opts.client(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(followWait),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.opts.Topic: assign}),
	)
	if err != nil {
		return err
	}
	s.wg.Go(func() {
		defer client.Close()
		for s.ctx.Err() == nil {
			s.take(client.PollFetches(s.ctx))
		}
	})
	return nil
}

// followWait bounds how long a broker holds a Fetch without news.
const followWait = time.Second

// take applies what came.
func (s *Store) take(fetches kgo.Fetches) {
	fetches.EachError(func(_ string, n int32, err error) {
		if s.ctx.Err() == nil {
			s.opts.Logger.Warn("the state topic cannot be read just now, trying again", "topic", s.opts.Topic, "partition", n, "error", err)
		}
	})
	var changed []string
	s.mu.Lock()
	for it := fetches.RecordIter(); !it.Done(); {
		key, err := s.apply(it.Next())
		if err != nil {
			s.mu.Unlock()
			s.fail(err)
			s.cancel()
			return
		}
		if key != nil {
			changed = append(changed, *key)
		}
	}
	close(s.moved)
	s.moved = make(chan struct{})
	s.mu.Unlock()
	for _, key := range changed {
		s.opts.Changed(key)
	}
}

// apply takes one record over and answers with the key that changed by it, ""
// for an owner. A record that Put has made readable already changes nothing.
// Called with mu.
func (s *Store) apply(r *kgo.Record) (*string, error) {
	key := string(r.Key)
	s.position[r.Partition] = r.Offset + 1
	old, known := s.values[key]
	if known && old.offset >= r.Offset && key != ownerKey {
		if r.Value == nil && old.offset == r.Offset {
			delete(s.values, key)
		}
		return nil, nil // a Put of ours has made it readable, or what came behind it
	}
	var env envelope
	if r.Value != nil {
		if err := json.Unmarshal(r.Value, &env); err != nil {
			return nil, fmt.Errorf("record %q at shard %d offset %d is torn: %w", key, r.Partition, r.Offset, err)
		}
		if env.V > Version {
			return nil, fmt.Errorf("record %q at shard %d offset %d has version %d, this engine reads up to %d: run the newer release", key, r.Partition, r.Offset, env.V, Version)
		}
	}
	if key == ownerKey {
		s.owners[r.Partition] = readOwner(env.Data, r.Offset)
		if r.Partition == 0 {
			s.term = max(s.term, r.Offset)
		}
		key = ""
		return &key, nil
	}
	if r.Value == nil {
		delete(s.values, key)
	} else {
		s.set(key, value{env.Data, r.Offset})
	}
	return &key, nil
}
