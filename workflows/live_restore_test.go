//go:build real

package workflows_test

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A pair that stays where it was failed over to, on a real Temporal server whose
// worker keeps no cache; -record keeps the history.
func TestARestoreOnARealServer(t *testing.T) {
	l := start(t, workflows.Decided())
	people := func(st workflows.Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != workflows.WaitDecide {
			return workflows.Agree(st)
		}
		c := workflows.SignedBy(st, "bob", runbook.Decide)
		c.Choices = map[string]string{"new": runbook.ChooseMirror}
		return []runbook.Command{c}
	}
	res := l.play("restore", workflows.NameRestoreDR, workflows.RestoreInput{Start: workflows.RequestBy("ann", runbook.OpRestore)}, people)
	if res.Outcome != runbook.Done || res.Active[0] != "west" || res.Report.Readiness == nil {
		t.Fatalf("restore: %s, active %v: %s", res.Outcome, res.Active, res.Report.Error)
	}
	if left := l.w.Left(); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
