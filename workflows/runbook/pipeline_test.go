package runbook_test

import (
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAPipelineIsReadAgainFromItsOldestLastOutput(t *testing.T) {
	p := runbook.Pipeline{Group: "etl", MarginSeconds: 60}
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for name, c := range map[string]struct {
		ends []runbook.OutputEnd
		want time.Time
		note string
	}{
		"the partition that ends first": {[]runbook.OutputEnd{{Topic: "o", Youngest: at(1000)}, {Topic: "o", Partition: 1, Youngest: at(700)}}, at(640), ""},
		"an empty one tells nothing":    {[]runbook.OutputEnd{{Topic: "o", Youngest: at(1000)}, {Topic: "o", Partition: 1, Empty: true}}, at(940), "1 of 2 output partitions hold no"},
		"nothing tells":                 {[]runbook.OutputEnd{{Topic: "o", Empty: true}}, time.Time{}, "stays at its synced offsets"},
		"no partitions":                 {nil, time.Time{}, "none of 0"},
	} {
		got, notes := runbook.PipelineTime(p, c.ends)
		if !got.Equal(c.want) || !strings.Contains(strings.Join(notes, " "), c.note) || (c.note == "") != (len(notes) == 0) {
			t.Errorf("%s: %v %v", name, got, notes)
		}
	}
}

func TestAPipelineIsPlacedWhereItLosesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		in      runbook.InputPlace
		at      int64
		repeats int64
		skipped bool
	}{
		"back to the time":                {runbook.InputPlace{Synced: 90, Start: 0, End: 100, ByTime: 40}, 40, 50, false},
		"never later than it stands":      {runbook.InputPlace{Synced: 30, Start: 0, End: 100, ByTime: 40}, 30, 0, false},
		"all inputs are older":            {runbook.InputPlace{Synced: 90, Start: 0, End: 100, ByTime: -1}, 90, 0, false},
		"what retention has taken":        {runbook.InputPlace{Synced: 90, Start: 50, End: 100, ByTime: 40}, 50, 40, false},
		"a commit beyond the mirrored":    {runbook.InputPlace{Synced: 120, Start: 0, End: 100, ByTime: 95}, 95, 5, false},
		"beyond, and all inputs older":    {runbook.InputPlace{Synced: 120, Start: 0, End: 100, ByTime: -1}, 100, 0, false},
		"no offset":                       {runbook.InputPlace{Synced: -1, End: 100, ByTime: 40}, -1, 0, true},
		"at the start of the log already": {runbook.InputPlace{Synced: 10, Start: 10, End: 100, ByTime: 10}, 10, 0, true},
	} {
		p := runbook.Place("etl", []runbook.InputPlace{c.in})[0]
		if p.At != c.at || p.Repeats != c.repeats || (p.Skipped != "") != c.skipped || len(runbook.Left([]runbook.Placement{p})) > 0 != c.skipped {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// Whatever the facts are: a placement is never later than the commit, never later
// than the record by time, and within the log.
func TestAPlacementIsNeverLate(t *testing.T) {
	check := func(synced, start, length, by uint16, none bool) bool {
		in := runbook.InputPlace{Synced: int64(synced), Start: int64(start), End: int64(start) + int64(length), ByTime: int64(by)}
		if none {
			in.ByTime = -1
		}
		p := runbook.Place("g", []runbook.InputPlace{in})[0]
		if p.Skipped != "" {
			return p.At == in.Synced && p.Repeats == 0 && in.Synced <= in.Start
		}
		late := p.At > in.Synced || !none && p.At > max(in.ByTime, in.Start)
		return !late && p.At >= in.Start && p.At <= in.End && p.Repeats >= 0 && p.Repeats <= in.Synced-p.At
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 20000}); err != nil {
		t.Error(err)
	}
}
