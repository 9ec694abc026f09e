package runbook_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func someLedger(r *rand.Rand) []runbook.LedgerLine {
	var out []runbook.LedgerLine
	for t := range 1 + r.IntN(5) {
		for p := range 1 + r.IntN(6) {
			l := runbook.LedgerLine{Topic: fmt.Sprintf("topic-%d", t), Partition: int32(p), From: 5, To: 5 + r.Int64N(3), Decision: runbook.LedgerNothing}
			if r.IntN(3) > 0 {
				l.Decision = []string{runbook.LedgerUndecided, runbook.LedgerAppended, runbook.LedgerExported}[r.IntN(3)]
				l.Records, l.Bytes, l.Keyed, l.Superseded, l.SupersededKeys, l.Unrecoverable = r.Int64N(9), r.Int64N(99), r.Int64N(9), r.Int64N(5), r.Int64N(5), r.Int64N(3)
				if l.Records > 0 { // else there is nothing to have a time
					l.FirstTime = time.Unix(1000000, 0).UTC().AddDate(0, 0, r.IntN(9))
					l.LastTime = l.FirstTime.AddDate(0, 0, r.IntN(9))
				}
				l.Redelivered = map[string]int64{"a": r.Int64N(5), "b": r.Int64N(5)}
			}
			out = append(out, l)
		}
	}
	return out
}

// What people decide by, and the RPO, are the same of a condensed ledger.
func TestACondensedLedgerCountsAsTheWholeOne(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 500 {
		whole := someLedger(r)
		if d := cmp.Diff(whole, runbook.CondenseLedger(whole, len(whole))); d != "" {
			t.Fatalf("a small ledger was changed: %s", d)
		}
		small := runbook.CondenseLedger(whole, r.IntN(len(whole)))
		want, total := runbook.RPO(whole)
		maps.DeleteFunc(want, func(_ string, n int64) bool { return n == 0 }) // of those there is nothing to say
		got, sum := runbook.RPO(small)
		maps.DeleteFunc(got, func(_ string, n int64) bool { return n == 0 })
		if total != sum || !maps.Equal(want, got) {
			t.Fatalf("%d records, %v; condensed %d, %v", total, want, sum, got)
		}
		open := runbook.Undecided(whole)
		if !slices.Equal(open, runbook.Undecided(small)) {
			t.Fatalf("undecided %v, condensed %v", open, runbook.Undecided(small))
		}
		if d := cmp.Diff(runbook.RecoveryForecast(whole, open), runbook.RecoveryForecast(small, open)); d != "" {
			t.Fatalf("forecast: %s", d)
		}
		if d := cmp.Diff(runbook.ExactRPO(whole, 9), runbook.ExactRPO(small, 9)); d != "" {
			t.Fatalf("RPO: %s", d)
		}
	}
}

func TestARecountTakesTheNewerLinesOfItsTopics(t *testing.T) {
	line := func(topic, decision string) runbook.LedgerLine {
		return runbook.LedgerLine{Topic: topic, Decision: decision}
	}
	got := runbook.Recount([]runbook.LedgerLine{line("a", "1"), line("b", "2"), line("c", "3"), line("b", "4")}, []string{"b"}, []runbook.LedgerLine{line("b", "5"), line("x", "6")})
	if d := cmp.Diff([]runbook.LedgerLine{line("a", "1"), line("b", "5"), line("c", "3")}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
