package runbook_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// some risk: integer rates, so that sums do not depend on their order.
func someRisk(r *rand.Rand, topics, partitions, groups int) runbook.Risk {
	at := time.Unix(1000, 0)
	risk := runbook.Risk{Link: "l", Now: at, LastContact: at.Add(-3 * time.Second), GroupsSyncedAt: at.Add(-4 * time.Second)}
	for t := range topics {
		for p := range 1 + r.IntN(partitions) {
			risk.Partitions = append(risk.Partitions, runbook.PartitionRisk{
				Topic: fmt.Sprintf("topic-%04d", t), Partition: int32(p), Status: "ACTIVE", SourceSeen: r.IntN(9) > 0, Guard: "proven",
				LagRecords: r.Int64N(50) - 5, LagSeconds: float64(r.IntN(8)), RecordsPerSecond: float64(r.IntN(40)), SourcePosition: r.Int64N(1 << 40),
			})
			for g := range groups {
				risk.Groups = append(risk.Groups, runbook.GroupRisk{
					Group: fmt.Sprintf("group-%d", g), Topic: fmt.Sprintf("topic-%04d", t), Partition: int32(p), SourceOffset: r.Int64N(90) - 9,
					Wanted: r.Int64N(100) - 3, Dest: r.Int64N(100) - 3, DestEnd: r.Int64N(120), Owned: r.IntN(4) > 0, Problem: []string{"", "", "foreign"}[r.IntN(3)],
				})
			}
		}
	}
	return risk
}

func TestACondensedRiskIsForeseenAsTheWholeOne(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for range 300 {
		whole := someRisk(r, 1+r.IntN(5), 1+r.IntN(6), r.IntN(3))
		kept := whole.Condense(1 << 20)
		if d := cmp.Diff(whole, kept); d != "" {
			t.Fatalf("a small risk was changed: %s", d)
		}
		want, limit := runbook.Foresee(whole), r.IntN(6)
		small := whole.Condense(limit)
		got := runbook.Foresee(small)
		if small.Counted() != len(whole.Partitions) || !slices.Equal(small.Topics(), whole.Topics()) {
			t.Fatalf("limit %d: %d partitions of %d", limit, small.Counted(), len(whole.Partitions))
		}
		if len(small.Groups) > 0 && small.Groups[0].Topic == "*" { // only the sums are left of groups
			got.Groups, want.Groups = nil, nil
			for i := range want.Topics {
				want.Topics[i].Redeliver = 0
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("limit %d, -whole +condensed:\n%s", limit, d)
		}
		if d := cmp.Diff(runbook.Mirrors(whole), runbook.Mirrors(small)); d != "" {
			t.Fatalf("the gate sees another thing: %s", d)
		}
	}
}

// Temporal takes at most 2 MiB in one piece.
func TestTwoThousandTopicsFitIntoAHistory(t *testing.T) {
	risk := someRisk(rand.New(rand.NewPCG(1, 1)), 2000, 1, 0)
	for i := range 2000 {
		for p := range 12 {
			row := risk.Partitions[i]
			row.Partition = int32(p + 1)
			risk.Partitions = append(risk.Partitions, row)
			for g := range 3 {
				risk.Groups = append(risk.Groups, runbook.GroupRisk{Group: fmt.Sprintf("group-%d", g), Topic: row.Topic, Partition: int32(p), SourceOffset: 1 << 40, Wanted: 1 << 40, Dest: 1 << 40, DestEnd: 1 << 41, Owned: true})
			}
		}
	}
	size := func(v any) int {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	const piece = 2 << 20
	whole, small, cast := size(risk), size(risk.Condense(runbook.RowLimit)), size(runbook.Foresee(risk.Condense(runbook.RowLimit)))
	t.Logf("26,000 partitions, 72,000 group offsets: %d bytes whole, %d condensed, forecast %d, its top %d", whole, small, cast, size(runbook.Foresee(risk).Top(50)))
	if whole < piece || small > piece/2 || cast > piece/2 {
		t.Errorf("whole %d, condensed %d, forecast %d bytes", whole, small, cast)
	}
	if n := len(runbook.Foresee(risk).Text()); n > 1000 {
		t.Errorf("the text has %d characters", n)
	}
}
