package state

import (
	"maps"
	"slices"
	"strings"
)

// index has the keys in order, so that those with a prefix are found without
// looking at all: a link has thousands of partitions, each with keys of its own.
// It may hold keys that are gone; values decide.
type index struct {
	sorted []string
	fresh  []string // to be sorted in by the next look
}

// set makes a value readable. Called with mu.
func (s *Store) set(key string, v value) {
	if _, known := s.values[key]; !known {
		s.index.fresh = append(s.index.fresh, key)
	}
	s.values[key] = v
}

// Keys lists the keys with a prefix in order.
func (s *Store) Keys(prefix string) []string {
	s.mu.RLock()
	stale := len(s.index.fresh) > 0
	if !stale {
		defer s.mu.RUnlock()
		return s.keys(prefix)
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sortIn()
	return s.keys(prefix)
}

// sortIn puts what is new into its place; when that is much, or much is gone, it
// makes the order anew. Called with mu held for writing.
func (s *Store) sortIn() {
	if n := len(s.index.sorted); len(s.index.fresh)*16 < n && n < 2*len(s.values)+1000 {
		for _, key := range s.index.fresh {
			if at, there := slices.BinarySearch(s.index.sorted, key); !there {
				s.index.sorted = slices.Insert(s.index.sorted, at, key)
			}
		}
		s.index.fresh = s.index.fresh[:0]
		return
	}
	s.index = index{sorted: slices.Sorted(maps.Keys(s.values))}
}

// keys is Keys of a sorted index. Called with mu.
func (s *Store) keys(prefix string) []string {
	from, _ := slices.BinarySearch(s.index.sorted, prefix)
	var keys []string
	for _, k := range s.index.sorted[from:] {
		if !strings.HasPrefix(k, prefix) {
			break
		}
		if s.values[k].raw != nil {
			keys = append(keys, k)
		}
	}
	return keys
}
