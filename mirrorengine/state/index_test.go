package state

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The index against a walk over all keys, with keys that come, go and come back.
func TestKeysAreThoseOfAWalkOverAll(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := &Store{values: map[string]value{}}
		for step := range 400 {
			key := fmt.Sprintf("%s/%d/%d", []string{"link", "mirror", "segment"}[rng.IntN(3)], rng.IntN(4), rng.IntN(20))
			switch rng.IntN(4) {
			case 0, 1:
				s.set(key, value{raw: json.RawMessage("1")})
			case 2:
				delete(s.values, key)
			case 3:
				s.set(key, value{}) // removed by a Put that was not read yet
			}
			if rng.IntN(3) > 0 {
				continue
			}
			prefix := []string{"", "link/", "mirror/2/", "segment/1/1", "segment", "zebra"}[rng.IntN(6)]
			var want []string
			for k, v := range s.values {
				if strings.HasPrefix(k, prefix) && v.raw != nil {
					want = append(want, k)
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, s.Keys(prefix)); diff != "" {
				t.Fatalf("seed %d step %d, keys with %q: %s", seed, step, prefix, diff)
			}
		}
	}
}

// A hundred times the keys must not make a look at one partition's keys slower: one that went through all of them would be by as much.
func TestALookAtOnePartitionDoesNotGrowWithTheOthers(t *testing.T) {
	look := func(n int) time.Duration {
		s := &Store{values: map[string]value{}}
		for i := range n {
			s.set(fmt.Sprintf("segment/%06d/000000/0", i), value{raw: json.RawMessage("1")})
		}
		s.Keys("")
		best := time.Hour
		for range 20 {
			began := time.Now()
			for i := range 1000 {
				if got := s.Keys(fmt.Sprintf("segment/%06d/", i)); len(got) != 1 {
					t.Fatalf("%d keys of partition %d", len(got), i)
				}
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	if few, many := look(1_000), look(100_000); many > 25*few {
		t.Errorf("1,000 looks take %s among 1,000 keys and %s among 100,000", few, many)
	}
}
