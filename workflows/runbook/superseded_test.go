package runbook_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestALedgerTellsWhichRecordsAreOlderAndWhatCannotBeBroughtBack(t *testing.T) {
	lines := []runbook.LedgerLine{
		{
			Topic: "a", Partition: 2, From: 10, To: 16, Records: 4, Bytes: 40, Keyed: 4, Superseded: 3, SupersededKeys: 2, Unrecoverable: 2,
			SupersededAt: []runbook.SupersededAt{{Offset: 12, LaterPartition: 2, LaterOffset: 40}, {Offset: 14, LaterPartition: 2, LaterOffset: 31}},
			Gaps:         []runbook.LedgerGap{{From: 10, To: 12, Cause: "retention"}}, GapCount: 3,
		},
		{Topic: "a", Partition: 3, Records: 1, Bytes: 10, Keyed: 1, Superseded: 1, SupersededKeys: 1},
		{Topic: "b", Partition: 0, Records: 1, Bytes: 1, Keyed: 1, Superseded: 1, SupersededKeys: 1, Compacted: true},
	}
	topics := []string{
		"a: 5 records (50 bytes) in 2 partitions, 5 with keys of which 4 have later records on the new primary (3 keys; an append puts old values behind newer ones, as offset 12 of the old partition 2 is older than offset 40 of the new partition 2), 2 gone with the old primary's retention, not to be had any more: partition 2 offsets 10-11 (retention), 2 more gaps of partition 2",
		"b: 1 records (1 bytes) in 1 partitions, 1 with keys of which 1 have later records on the new primary (1 keys; an append leaves these records out), compacted topic",
	}
	if d := cmp.Diff(topics, runbook.LedgerTopics(runbook.Plan{}, lines, []string{"a", "b"})); d != "" {
		t.Errorf("per topic: -want +got:\n%s", d)
	}
	notes := []string{
		"a: offset 12 of the old partition 2 is older than offset 40 of the new partition 2, of the same key",
		"a: offset 14 of the old partition 2 is older than offset 31 of the new partition 2, of the same key",
		"a: not to be had any more: partition 2 offsets 10-11 (retention)",
		"a: not to be had any more: 2 more gaps of partition 2",
	}
	if d := cmp.Diff(notes, runbook.LedgerNotes(lines)); d != "" {
		t.Errorf("notes: -want +got:\n%s", d)
	}
}
