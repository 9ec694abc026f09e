package exactlyonce

import (
	"fmt"
	"math/rand/v2"
)

// Kind is what happens in one step of a script.
type Kind string

// The kinds of faults. Those of the destination are where the record path can
// break; those of the source show that it bears with them.
const (
	// LoseAck: a produce lands, and the connection is lost in place of its answer.
	LoseAck Kind = "lose an acknowledgement"
	// LoseOldAck: the same for records that are a week old, and the broker forgets
	// the producer's sequence before the engine comes back.
	LoseOldAck Kind = "lose an acknowledgement of old records until their producer is forgotten"
	// KillUnanswered: a produce lands, and the engine is killed before its answer.
	KillUnanswered Kind = "kill the engine with a produce landed and unanswered"
	// KillAtStall: a follower stalls, the engine is killed with a batch beyond
	// the high watermark, and the next one meets that batch.
	KillAtStall Kind = "kill the engine while a follower stalls"
	// KillWithBroker: a broker of the destination is killed, then the engine with
	// a batch that the dead broker does not have.
	KillWithBroker Kind = "kill a broker of the destination, and the engine"
	// KillSourceBroker: a broker of the source is killed.
	KillSourceBroker Kind = "kill a broker of the source"
	// MoveLeader: a mirrored partition gets another leader at the destination,
	// MoveSourceLeader at the source.
	MoveLeader       Kind = "move a leader at the destination"
	MoveSourceLeader Kind = "move a leader at the source"
	// Rebalance: the last engine stops in order, or starts again: the others take
	// its shards over, or hand it some. Only where there is more than one.
	Rebalance Kind = "stop or start an engine"
)

// Fault is one step. Pick is a number of the seed's that chooses the broker, the
// partition or the engine among those that there are.
type Fault struct {
	Kind Kind
	Pick uint32
}

func (f Fault) String() string { return fmt.Sprintf("%s (pick %d)", f.Kind, f.Pick) }

// Least is what every seed must have gone through, each with its effect seen.
var Least = Counts{Records: 100_000, EngineKills: 5, BrokerKills: 2, LeaderChanges: 1, LostAcks: 20}

// Rebalances is how many rebalances of engines a seed has where there are several.
const Rebalances = 4

// Script draws a seed's faults, in order: the great ones shuffled, the lost
// acknowledgements strewn between them.
func Script(seed uint64, engines int) []Fault {
	rng := rand.New(rand.NewPCG(seed, 3))
	great := []Kind{
		KillUnanswered, KillUnanswered, KillAtStall, KillWithBroker, KillWithBroker,
		KillSourceBroker, MoveLeader, MoveSourceLeader,
	}
	if engines > 1 {
		for range Rebalances {
			great = append(great, Rebalance)
		}
	}
	rng.Shuffle(len(great), func(i, j int) { great[i], great[j] = great[j], great[i] })
	small := make([][]Kind, len(great)+1)
	for i := range Least.LostAcks {
		kind, at := LoseAck, rng.IntN(len(small))
		if i < 4 {
			kind = LoseOldAck
		}
		small[at] = append(small[at], kind)
	}
	var out []Fault
	add := func(k Kind) { out = append(out, Fault{k, rng.Uint32()}) }
	for i, kinds := range small {
		rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, k := range kinds {
			add(k)
		}
		if i < len(great) {
			add(great[i])
		}
	}
	return out
}
