package exactlyonce

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func count(script []Fault, kinds ...Kind) int {
	n := 0
	for _, f := range script {
		if slices.Contains(kinds, f.Kind) {
			n++
		}
	}
	return n
}

func TestEveryScriptHasTheFaultsThatASeedMustGoThrough(t *testing.T) {
	for seed := range uint64(500) {
		for _, engines := range []int{1, 2} {
			s := Script(seed, engines)
			rebalances := 0
			if engines > 1 {
				rebalances = 3
			}
			for _, c := range []struct {
				what      string
				got, want int
			}{
				{"engine kills", count(s, KillUnanswered, KillAtStall, KillWithBroker), Least.EngineKills},
				{"broker kills of the destination", count(s, KillWithBroker), Least.BrokerKills},
				{"broker kills of the source", count(s, KillSourceBroker), 1},
				{"leader changes at the destination", count(s, MoveLeader), Least.LeaderChanges},
				{"leader changes at the source", count(s, MoveSourceLeader), 1},
				{"lost acknowledgements", count(s, LoseAck, LoseOldAck), Least.LostAcks},
				{"of old records", count(s, LoseOldAck), 1},
				{"kills at a stall", count(s, KillAtStall), 1},
				{"rebalances", count(s, Rebalance), rebalances},
			} {
				if c.got < c.want || c.want == 0 && c.got > 0 {
					t.Errorf("seed %d, %d engines: %d %s, want %d", seed, engines, c.got, c.what, c.want)
				}
			}
		}
	}
}

func TestASeedGivesTheSameScriptAgainAndAnotherSeedAnotherOne(t *testing.T) {
	if diff := cmp.Diff(Script(7, 1), Script(7, 1)); diff != "" {
		t.Error(diff)
	}
	if cmp.Diff(Script(7, 1), Script(8, 1)) == "" {
		t.Error("seeds 7 and 8 have the same script")
	}
}

func TestTheReportSumsAndSaysWhatIsTooLittle(t *testing.T) {
	one := Result{Seed: 3, Counts: Counts{Records: 120_000, EngineKills: 5, BrokerKills: 3, LeaderChanges: 2, LostAcks: 20}}
	var r Report
	r.Add(one)
	r.Add(one)
	if r.Seeds != 2 || r.Records != 240_000 || r.LostAcks != 40 || r.Wrong() || r.Short(Least) != "" {
		t.Errorf("%+v", r.Counts)
	}
	one.LostAcks, one.Lost = 19, 1
	if got := one.Short(Least); got != "19 lost acknowledgements, want 20" {
		t.Errorf("got %q", got)
	}
	if r.Add(one); !r.Wrong() {
		t.Error("a lost record is not wrong")
	}
}
