package runbook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

func TestOnlyMovesOfTheSameKindWithinTheTimeFlap(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	ago := func(op string, d time.Duration) record.Move {
		return record.Move{OpID: op + "-1", Operation: op, Active: "west", At: now.Add(-d)}
	}
	for name, c := range map[string]struct {
		seconds int64
		moves   []record.Move
		op      string
		want    bool
	}{
		"never moved":                {3600, nil, OpFailover, false},
		"just moved":                 {3600, []record.Move{ago(OpFailover, time.Minute)}, OpFailover, true},
		"at the end of the time":     {3600, []record.Move{ago(OpFailover, time.Hour)}, OpFailover, false},
		"a moment before":            {3600, []record.Move{ago(OpFailover, time.Hour-time.Second)}, OpFailover, true},
		"off":                        {0, []record.Move{ago(OpFailover, time.Minute)}, OpFailover, false},
		"another kind":               {3600, []record.Move{ago(OpSwitchover, time.Minute)}, OpFailover, false},
		"another kind in between":    {3600, []record.Move{ago(OpFailover, 5*time.Minute), ago(OpFailback, time.Minute)}, OpFailover, true},
		"by a clock that runs ahead": {3600, []record.Move{ago(OpFailover, -time.Minute)}, OpFailover, true},
	} {
		p := Plan{Pair: "orders", Limits: Limits{AntiFlapSeconds: c.seconds}}
		text, got := p.Flapping(c.moves, c.op, now)
		if got != c.want || got && !strings.Contains(text, "failover-1") {
			t.Errorf("%s: %t %q", name, got, text)
		}
	}
}

// A record that is flipped for ever remembers the last moves, and stays small.
func TestARecordKeepsItsLastMoves(t *testing.T) {
	p := Plan{Pair: "orders", Mode: "active-passive", Home: "east", Sites: []Site{{Name: "east", Kafka: Kafka{Bootstrap: []string{"e:1"}}}, {Name: "west", Kafka: Kafka{Bootstrap: []string{"w:1"}}}}}
	by := By{OpID: "setup-0", Operation: OpSetUp, Person: "ann", Now: time.Unix(0, 0)}
	r := Fresh(p, 0, by)
	if len(r.Moves) > 0 {
		t.Errorf("a set-up moved the pair: %v", r.Moves)
	}
	for i := range 20 {
		by = By{OpID: fmt.Sprintf("switchover-%d", i), Operation: OpSwitchover, Now: time.Unix(int64(i), 0)}
		r = Flip(r, p, r.Epoch, []string{"west", "east"}[i%2], by)
		r = Unlocked(Locked(r, record.Open, by), by)
	}
	if len(r.Moves) != 8 || r.Moves[7].OpID != "switchover-19" || r.Moves[7].Active != "east" {
		t.Errorf("%+v", r.Moves)
	}
	b, err := record.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := record.Unmarshal(b); err != nil || len(back.Moves) != 8 || !back.Moves[7].At.Equal(by.Now) {
		t.Errorf("%+v, %v", back.Moves, err)
	}
}
