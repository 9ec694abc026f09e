package runbook

import (
	"strings"
	"testing"
)

func TestWhatAnErrorLeftOfARunIsTold(t *testing.T) {
	act := StepLine{Name: "lock record", State: StateUndone}
	taken := StepLine{Name: "undo: lock record", State: StateDone}
	skipped := StepLine{Name: "undo: fence east", State: StateSkipped}
	for name, c := range map[string]struct {
		outcome string
		steps   []StepLine
		want    string
	}{
		"refused at its first look": {NoChange, []StepLine{{Name: "read record", State: StateFailed}}, ""},
		"all of it undone":          {NoChange, []StepLine{act, taken}, "everything was undone"},
		"an undo was skipped":       {Partly, []StepLine{act, skipped, taken}, "not undone: fence east;"},
		"something stays":           {Partly, []StepLine{act, taken}, "not all undone"},
		"a dry run":                 {Dry, []StepLine{act}, ""},
	} {
		got := Undone("orders", c.outcome, c.steps)
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") || c.outcome == Partly && !strings.Contains(got, "drctl status orders") {
			t.Errorf("%s: %q", name, got)
		}
		if why := (Report{Error: "denied", Undone: got}).Why(); !strings.HasPrefix(why, "denied") || !strings.HasSuffix(why, got) {
			t.Errorf("%s: %q", name, why)
		}
	}
}
