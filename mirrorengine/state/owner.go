package state

import (
	"context"
	"encoding/json"
	"fmt"
)

// ownerKey is written by each owner as its first record; reading up to the own
// one is how a new owner knows that it has read everything.
const ownerKey = "owner"

// Owner is who took a shard over last. It may have died since.
type Owner struct {
	// Mark is the producer id and epoch by which it writes.
	Mark string `json:"mark"`
	// Address is where other replicas reach it, empty if it gave none.
	Address string `json:"address,omitempty"`
	// Offset of its record; a later owner's is higher.
	Offset int64 `json:"-"`
}

// readOwner reads an owner record. Releases before replicas wrote the mark alone.
func readOwner(data json.RawMessage, offset int64) Owner {
	o := Owner{Offset: offset}
	if json.Unmarshal(data, &o) != nil {
		_ = json.Unmarshal(data, &o.Mark)
	}
	return o
}

// Owner is the last owner of a shard that was read of.
func (s *Store) Owner(shard int32) Owner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.owners[shard]
}

func (s *Store) own(n int32) *shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n < 0 || n >= s.shards {
		return nil
	}
	return s.owned[n]
}

// Owned tells whether this replica owns a shard.
func (s *Store) Owned(shard int32) bool { return s.own(shard) != nil }

// Term numbers the times that somebody took shard 0 over: it rises with each, by
// whomever. It is the replica's own if it owns shard 0, and then ok.
func (s *Store) Term() (term int64, ok bool) {
	sh := s.own(0)
	if sh == nil {
		return -1, false
	}
	return sh.first, true
}

// RawEntry is an Entry on its way from one replica to another.
type RawEntry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value,omitempty"`
}

// PutFor is Put on behalf of the owner of shard 0, by which it writes to shards
// of others. One of an older term is refused: it was taken over since and does
// not know, and what it wants may be long outdated. The answer is the offset up to
// which the shard must be read to see this write and all before it; without entries
// nothing is written.
func (s *Store) PutFor(ctx context.Context, term int64, shard int32, entries []RawEntry) (int64, error) {
	s.mu.Lock()
	newest := max(s.term, term)
	s.term = newest
	s.mu.Unlock()
	if term < newest {
		return 0, fmt.Errorf("a write of term %d for shard %d came too late, term %d has begun: %w", term, shard, newest, ErrFenced)
	}
	return s.write(ctx, shard, entries)
}

// Await waits until a shard was read up to an offset.
func (s *Store) Await(ctx context.Context, shard int32, offset int64) error {
	for {
		s.mu.RLock()
		at, moved := s.position[shard], s.moved
		s.mu.RUnlock()
		if at > offset {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("read shard %d up to offset %d, came to %d: %w", shard, offset, at, ctx.Err())
		}
	}
}

func transactionalID(cluster string, shard int32) string {
	return fmt.Sprintf("drawbridge-%s-%d", cluster, shard)
}
