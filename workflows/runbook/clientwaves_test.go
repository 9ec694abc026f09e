package runbook

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Whatever the waves of a plan: every group is in one of them, in order; the flip holds back all but the first; a group that
// was let go is never held back again, and with the last wave, or the end of the run, nobody waits.
func TestEveryGroupHasItsTurnOnceAndNoneIsForgotten(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	sites := []Site{{Name: "east", Kafka: Kafka{Bootstrap: []string{"e:1"}}}, {Name: "west", Kafka: Kafka{Bootstrap: []string{"w:1"}}}}
	by := By{OpID: "failover-1", Operation: OpFailover, Person: "ann", Now: time.Unix(1000, 0)}
	for range 500 {
		p := Plan{Pair: "orders", Mode: "active-passive", Home: "east", Sites: sites}
		for i := range rng.IntN(8) {
			p.Groups = append(p.Groups, Group{Name: string(rune('a' + i)), Move: MoveWatch, Wave: rng.IntN(4)})
		}
		waves := ClientWaves(p.Groups)
		seen, last := map[string]bool{}, 0
		for _, w := range waves {
			for _, g := range w {
				if seen[g.Name] || max(g.Wave, 1) != max(w[0].Wave, 1) {
					t.Fatalf("%v: %+v", p.Groups, waves)
				}
				seen[g.Name] = true
			}
			if max(w[0].Wave, 1) <= last {
				t.Fatalf("%v: out of order %+v", p.Groups, waves)
			}
			last = max(w[0].Wave, 1)
		}
		if len(seen) != len(p.Groups) {
			t.Fatalf("%v: %+v", p.Groups, waves)
		}
		r := Flip(Fresh(p, 0, by), p, 1, "west", by)
		if Unlocked(r, by).Waits != nil {
			t.Fatalf("behind the run %v wait", Unlocked(r, by).Waits)
		}
		for i, w := range waves {
			for j, other := range waves {
				for _, g := range other {
					if may := r.MayStart(g.Name); may != (j <= i) {
						t.Fatalf("%v: group %s of wave %d may start %t in wave %d: waits %v", p.Groups, g.Name, j, may, i, r.Waits)
					}
				}
			}
			if i+1 < len(waves) {
				next := Released(r, waves[i+1], by)
				if next.Epoch != r.Epoch || record.RaisesEpoch(r, next) || record.Compare(next, r) != record.StaleCopy {
					t.Fatalf("wave %d of %v: %s", i, w, record.Compare(next, r))
				}
				r = next
			}
		}
	}
}

func TestAWaveOfClientsHaltsAboveItsThreshold(t *testing.T) {
	moves := make([]ClientMove, 10)
	for i := range moves {
		moves[i] = ClientMove{Group: string(rune('a' + i)), Moved: i > 1}
	}
	moves[0].MembersOld = 3
	if v := HaltClients(Moves{Rows: moves}, 20); !v.OK {
		t.Errorf("20 of 20 %% halt: %v", v.Reasons)
	}
	v := HaltClients(Moves{Rows: moves}, 19)
	if v.OK || !slices.ContainsFunc(v.Reasons, func(s string) bool {
		return strings.Contains(s, "2 of 10 groups") && strings.Contains(s, "a (3 members at the old site, 0 at the new one), b (0")
	}) {
		t.Errorf("%+v", v)
	}
	if !HaltClients(Moves{}, 1).OK {
		t.Error("a wave of nobody halts")
	}
}
