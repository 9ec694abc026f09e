package runbook

import (
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

func TestWhatIsOwedAndWhetherItMayBePaidNow(t *testing.T) {
	fence := record.FenceDebt{Kind: record.DebtFence, Site: "east", OpID: "failover-1", Since: time.Unix(5, 0)}
	copied := record.FenceDebt{Kind: record.DebtRecord, Site: "east", OpID: "failover-1", Since: time.Unix(5, 0)}
	failover := []record.Move{{OpID: "failover-1", Operation: OpFailover, Active: "west"}}
	undecided := []LedgerLine{{Topic: "a", Records: 2, Decision: LedgerUndecided}}
	held := []HoldCopy{{Site: "west", Scope: HoldPair, Reachable: true, Hold: &Hold{Held: true, By: "zoe"}}}
	kept := []HeldRetention{{Site: "east", OpID: "recover-7", Since: time.Unix(9, 0), Topics: 3}}
	other := &record.Lock{OpID: "failback-9", Operation: OpFailback}
	leftover := &record.Lock{OpID: "maker", Operation: OpSwitchover} // of a switchover that was turned, with the engine that was lost
	for name, c := range map[string]struct {
		debts  []record.FenceDebt
		moves  []record.Move
		facts  DebtFacts
		kinds  string
		pay    bool
		waits  string
		behind bool
	}{
		"nothing":                        {kinds: ""},
		"a planned move leaves nothing":  {moves: []record.Move{{Operation: OpFailover}, {Operation: OpSwitchover}}},
		"fence, the site is away":        {debts: []record.FenceDebt{fence}, kinds: "fence", waits: "Kafka of east"},
		"fence, the site is back":        {debts: []record.FenceDebt{fence}, facts: DebtFacts{Answers: []string{"east"}}, kinds: "fence", pay: true},
		"back, but another run":          {debts: []record.FenceDebt{fence}, facts: DebtFacts{Answers: []string{"east"}, Truth: Truth{Lock: other}}, kinds: "fence", waits: "failback-9"},
		"back, but a leftover lock":      {debts: []record.FenceDebt{fence}, facts: DebtFacts{Answers: []string{"east"}, Truth: Truth{Lock: leftover}}, kinds: "fence", pay: true},
		"back, but held":                 {debts: []record.FenceDebt{fence}, facts: DebtFacts{Answers: []string{"east"}, Holds: held}, kinds: "fence", waits: "zoe"},
		"back, but split":                {debts: []record.FenceDebt{fence}, facts: DebtFacts{Answers: []string{"east"}, Truth: Truth{Split: "made twice"}}, kinds: "fence", waits: "made twice"},
		"record, Consul is away":         {debts: []record.FenceDebt{copied}, facts: DebtFacts{Truth: Truth{Silent: []string{"consul east"}}}, kinds: "record", waits: "Consul of east"},
		"record, Consul is back":         {debts: []record.FenceDebt{copied}, kinds: "record", pay: true},
		"one of two can be paid":         {debts: []record.FenceDebt{fence, copied}, kinds: "fence record", pay: true},
		"a copy behind, not noted":       {behind: true, kinds: "record", pay: true},
		"a copy behind, noted":           {behind: true, debts: []record.FenceDebt{copied}, kinds: "record", pay: true},
		"a copy behind, leftover lock":   {behind: true, facts: DebtFacts{Truth: Truth{Lock: leftover}}, kinds: "record", pay: true},
		"a copy behind, under operation": {behind: true, facts: DebtFacts{Truth: Truth{Lock: other}}, kinds: ""},
		"lagged, not counted":            {moves: failover, kinds: DebtLagged, waits: "Kafka of east"},
		"lagged, undecided":              {moves: failover, facts: DebtFacts{Answers: []string{"east"}, Ledger: undecided}, kinds: DebtLagged, waits: "decision"},
		"held, by a run that goes on":    {facts: DebtFacts{Retention: kept, Answers: []string{"east"}, Truth: Truth{Lock: &record.Lock{OpID: "recover-7", Operation: OpRecover}}}, kinds: DebtRetention, waits: "recover-7, which holds it"},
		"held, the site is away":         {facts: DebtFacts{Retention: kept}, kinds: DebtRetention, waits: "Kafka of east"},
		"held, nobody decides any more":  {facts: DebtFacts{Retention: kept, Answers: []string{"east"}}, kinds: DebtRetention, pay: true},
		"held, for another run":          {facts: DebtFacts{Retention: kept, Answers: []string{"east"}, Truth: Truth{Lock: other}}, kinds: DebtRetention, waits: "failback-9"},
		"held, records undecided":        {moves: failover, facts: DebtFacts{Retention: kept, Answers: []string{"east"}, Ledger: undecided}, kinds: DebtLagged + " " + DebtRetention, waits: "decision"},
		"held, records decided":          {moves: failover, facts: DebtFacts{Retention: kept, Answers: []string{"east"}, Ledger: []LedgerLine{}}, kinds: DebtRetention, pay: true},
		"lagged, none":                   {moves: failover, facts: DebtFacts{Answers: []string{"east"}, Ledger: []LedgerLine{}}},
	} {
		f := c.facts
		f.Pair = "orders"
		f.Truth.Record = &record.Record{Epoch: 2, OpID: "maker", Active: []string{"west"}, Standby: []string{"east"}, FenceDebt: c.debts, Moves: c.moves}
		if c.behind {
			f.Truth.Behind = []string{"east"}
		}
		v := JudgeDebts(f)
		var got []string
		for _, o := range v.Owed {
			got = append(got, o.Kind)
			if o.Pays == "" {
				t.Errorf("%s: nothing says what pays %+v", name, o)
			}
		}
		if kinds := strings.Join(got, " "); kinds != c.kinds || v.Pay != c.pay || v.Over != (c.kinds == "") || !strings.Contains(v.Waits, c.waits) || (v.Waits == "") != (c.waits == "") {
			t.Errorf("%s: owed %q, pay %t, over %t, waits for %q", name, kinds, v.Pay, v.Over, v.Waits)
		}
	}
	if v := JudgeDebts(DebtFacts{Pair: "orders", Truth: Truth{Silent: []string{"consul east", "consul west"}}}); v.Over || v.Pay || !strings.Contains(v.Waits, "consul east") {
		t.Errorf("without a record: %+v", v)
	}
}

// A switchover that was turned into a failover leaves its lock with the engine that it lost: nobody writes there by it.
func TestLaggedRecordsAreCountedBesideALeftoverLock(t *testing.T) {
	for name, c := range map[string]struct {
		engine, record *record.Lock
		want           bool
	}{
		"no lock":                        {nil, nil, true},
		"left by the record's maker":     {&record.Lock{OpID: "maker"}, nil, true},
		"of another run":                 {&record.Lock{OpID: "failback-9"}, nil, false},
		"of the maker, which still runs": {&record.Lock{OpID: "maker"}, &record.Lock{OpID: "maker"}, false},
	} {
		f := DebtFacts{Answers: []string{"east"}, Truth: Truth{Lock: c.engine, Record: &record.Record{OpID: "maker", Lock: c.record}}}
		if got := LedgerReadable(f, "east"); got != c.want {
			t.Errorf("%s: readable %t", name, got)
		}
	}
}
