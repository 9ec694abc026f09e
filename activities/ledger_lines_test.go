package activities

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Ten thousand partitions, each with all that an engine may tell, must fit into a
// history; the counts stay exact.
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
	for _, l := range lines(entries) {
		shown += len(l.SupersededAt)
		if l.SupersededKeys != 7 || l.GapCount != 950 || len(l.Gaps) != runbook.LedgerSample || l.Gaps[1] != (runbook.LedgerGap{From: 10, To: 11, Cause: "retention"}) {
			t.Fatalf("%+v", l)
		}
	}
	if shown != runbook.LedgerSample {
		t.Errorf("%d places are shown of one topic", shown)
	}
}
