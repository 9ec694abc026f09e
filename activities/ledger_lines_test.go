package activities

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Two thousand topics of twelve partitions, each with all that an engine may tell, must
// fit into one piece of a history; the counts stay exact. A step for one topic gives
// that one back.
func TestALargeLedgerFitsIntoAHistory(t *testing.T) {
	var entries []api.LedgerEntry
	for n := range int32(24000) {
		e := api.LedgerEntry{
			Topic: fmt.Sprintf("a-topic-with-a-name-of-some-length-%04d", n/12), Partition: n % 12, From: 1 << 40, To: 1<<40 + 9, Records: 9, Bytes: 900, Keyed: 9,
			Superseded: 8, SupersededKeys: 7, Unrecoverable: 6, Decision: api.LedgerUndecided, Redelivered: map[string]int64{"billing": 3},
		}
		for i := range int64(api.SupersededSample) {
			e.SupersededAt = append(e.SupersededAt, api.SupersededRecord{Offset: i, LaterPartition: n, LaterOffset: 2 * i})
		}
		e.Gaps = []api.LedgerGap{{From: 1, To: 7, Cause: api.GapRetention}}
		entries = append(entries, e)
	}
	all := lines(entries, nil)
	raw, err := json.Marshal(all)
	if _, total := runbook.RPO(all); err != nil || total != 24000*15 || runbook.LedgerPartitions(all) != 24000 {
		t.Errorf("%d records in %d partitions, %v", total, runbook.LedgerPartitions(all), err)
	}
	if len(raw) > 1<<20 { // Temporal takes twice that
		t.Errorf("%d lines of %d bytes", len(all), len(raw))
	}
	if one := lines(entries, []string{entries[13].Topic}); len(one) != 12 || one[0].Topic != entries[13].Topic {
		t.Errorf("%d lines of one topic", len(one))
	}
}

// The counts stay exact where places are left out.
func TestALedgerLineShowsAFewPlacesAndCountsAll(t *testing.T) {
	var entries []api.LedgerEntry
	for n := range int32(100) {
		e := api.LedgerEntry{Topic: "orders", Partition: n, Records: 9, Superseded: 8, SupersededKeys: 7, Unrecoverable: 6, GapsLeftOut: 900}
		for i := range int64(api.SupersededSample) {
			e.SupersededAt = append(e.SupersededAt, api.SupersededRecord{Offset: i, LaterPartition: n, LaterOffset: 2 * i})
		}
		for i := range int64(50) {
			e.Gaps = append(e.Gaps, api.LedgerGap{From: 10 * i, To: 10*i + 1, Cause: api.GapRetention})
		}
		entries = append(entries, e)
	}
	shown := 0
	for _, l := range lines(entries, nil) {
		shown += len(l.SupersededAt)
		if l.SupersededKeys != 7 || l.GapCount != 950 || len(l.Gaps) != runbook.LedgerSample || l.Gaps[1] != (runbook.LedgerGap{From: 10, To: 11, Cause: "retention"}) {
			t.Fatalf("%+v", l)
		}
	}
	if shown != runbook.LedgerSample {
		t.Errorf("%d places are shown of one topic", shown)
	}
}
