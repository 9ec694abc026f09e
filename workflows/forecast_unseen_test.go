package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Whoever approves a failover, and whoever looks at a dry run, is told of the groups whose commits nobody has seen.
func TestTheForecastNamesGroupsThatWereNeverSeen(t *testing.T) {
	for name, dry := range map[string]bool{"failover": false, "dry run": true} {
		w := lost()
		w.plan.Groups = append(w.plan.Groups, runbook.Group{Name: "new", Move: runbook.MoveWatch})
		s := newStage(t, w)
		asked := ""
		s.react = func(st Status) []runbook.Command {
			if st.Waiting != nil {
				asked = st.Waiting.Text
			}
			return agree(st)
		}
		if dry {
			s.id(DryID("orders", "1"))
		}
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover), DryRun: dry})
		if s.err != nil || s.res.Report.Forecast == nil || !slices.Equal(s.res.Report.Forecast.Unseen, []string{"new"}) {
			t.Errorf("%s: %v, %+v", name, s.err, s.res.Report.Forecast)
		}
		const says = "what 1 others read again is not known"
		if !dry && !strings.Contains(asked, says) || !strings.Contains(s.res.Report.Markdown(), says) {
			t.Errorf("%s: asked %q", name, asked)
		}
	}
}
