package exactlyonce

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/drawbridge-dr/drawbridge/test/exact"
)

// Counts are what seeds went through and what came of it, summed.
type Counts struct {
	Records       int `json:"records"` // in the mirrors, compared with the source
	EngineKills   int `json:"engine_kills"`
	BrokerKills   int `json:"broker_kills"`
	LeaderChanges int `json:"leader_changes"`
	LostAcks      int `json:"lost_acks"`
	Rebalances    int `json:"rebalances"`
	Lost          int `json:"lost"`
	Duplicated    int `json:"duplicated"`
	Reordered     int `json:"reordered"`
	GroupsWrong   int `json:"groups_wrong"`

	// Strange are records in a mirror that were never committed at its source.
	Strange int `json:"strange"`
	// HiddenTails are engine kills at which the destination's high watermark was
	// below its log end; ForgottenProducers are lost acknowledgements after which the
	// broker had no sequence left to refuse a duplicate with. Both are parts of
	// the numbers above.
	HiddenTails        int `json:"hidden_tails"`
	ForgottenProducers int `json:"forgotten_producers"`
	// Gaps are offsets that compaction had taken from the sources when mirrors
	// of them began. GroupOffsets are committed offsets that were compared.
	Gaps         int `json:"gaps"`
	GroupOffsets int `json:"group_offsets"`
	// EngineExits are ends of engines that no fault asked for: an engine that
	// cannot write its state ends, and whoever runs it starts it again.
	EngineExits int `json:"engine_exits"`
}

func (c *Counts) add(o Counts) {
	c.Records += o.Records
	c.EngineKills += o.EngineKills
	c.BrokerKills += o.BrokerKills
	c.LeaderChanges += o.LeaderChanges
	c.LostAcks += o.LostAcks
	c.Rebalances += o.Rebalances
	c.Lost += o.Lost
	c.Duplicated += o.Duplicated
	c.Reordered += o.Reordered
	c.GroupsWrong += o.GroupsWrong
	c.Strange += o.Strange
	c.HiddenTails += o.HiddenTails
	c.ForgottenProducers += o.ForgottenProducers
	c.Gaps += o.Gaps
	c.GroupOffsets += o.GroupOffsets
	c.EngineExits += o.EngineExits
}

// Wrong reports whether anything is not as it must be in a mirror.
func (c Counts) Wrong() bool {
	return c.Lost+c.Duplicated+c.Reordered+c.Strange+c.GroupsWrong > 0
}

// Short says which faults did not reach the least, empty if all did.
func (c Counts) Short(least Counts) string {
	for _, n := range []struct {
		name      string
		got, want int
	}{
		{"records", c.Records, least.Records},
		{"engine kills", c.EngineKills, least.EngineKills},
		{"broker kills", c.BrokerKills, least.BrokerKills},
		{"leader changes", c.LeaderChanges, least.LeaderChanges},
		{"lost acknowledgements", c.LostAcks, least.LostAcks},
		{"rebalances", c.Rebalances, least.Rebalances},
	} {
		if n.got < n.want {
			return fmt.Sprintf("%d %s, want %d", n.got, n.name, n.want)
		}
	}
	return ""
}

// Result is one seed.
type Result struct {
	Seed uint64 `json:"seed"`
	Counts
	Engines int     `json:"engines"`
	EndedBy string  `json:"ended_by"` // promote or failover
	Seconds float64 `json:"seconds"`
	// Events say what happened when, with offsets.
	Events []string `json:"events"`
	// Findings say what is wrong.
	Findings []string `json:"findings,omitempty"`
}

func (r *Result) judge(where string, v exact.Verdict) {
	r.Lost += v.Lost
	r.Duplicated += v.Duplicated
	r.Reordered += v.Reordered
	r.Strange += v.Strange
	for _, e := range v.Examples {
		r.Findings = append(r.Findings, where+": "+e)
	}
}

// Report is many seeds.
type Report struct {
	Seeds int `json:"seeds"`
	Counts
	Notes  []string `json:"notes,omitempty"`
	BySeed []Result `json:"by_seed"`
}

// Add puts a seed to the report.
func (r *Report) Add(one Result) {
	r.Seeds++
	r.Counts.add(one.Counts)
	r.BySeed = append(r.BySeed, one)
}

// Write writes the report as JSON.
func (r *Report) Write(file string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644)
}
