package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// flock is a world whose clients follow the record of truth: a group is seen at the new site once the record there lets it
// start. It notes who waited, by the record, at each look.
type flock struct {
	*world
	ill   map[string]int // group → looks that do not find it moved
	looks [][2][]string  // groups looked for, groups that wait
}

func (f *flock) AwaitClientsMoved(_ context.Context, in AwaitClientsMovedInput) (AwaitClientsMovedResult, error) {
	if err := f.enter("AwaitClientsMoved", in.Call); err != nil {
		return AwaitClientsMovedResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.consul[in.New.Name]
	out := AwaitClientsMovedResult{Complete: true}
	var names []string
	for _, g := range in.Groups {
		moved := r.MayStart(g) && f.ill[g] == 0
		f.ill[g] = max(f.ill[g]-1, 0)
		out.Complete = out.Complete && moved
		out.Groups = append(out.Groups, runbook.ClientMove{Group: g, Moved: moved, MembersOld: map[bool]int{false: 1}[moved]})
		names = append(names, g)
	}
	f.looks = append(f.looks, [2][]string{names, r.Waits})
	return out, nil
}

func inWaves(w *world) *flock {
	w.plan.Groups = []runbook.Group{
		{Name: "audit", Move: runbook.MoveWatch, Wave: 7},
		{Name: "billing", Move: runbook.MoveWatch},
		{Name: "orders", Move: runbook.MovePage, Wave: 3},
		{Name: "reports", Move: runbook.MoveWatch, Wave: 3},
	}
	return &flock{world: w, ill: map[string]int{}}
}

func same(a, b [][2][]string) bool {
	return slices.EqualFunc(a, b, func(a, b [2][]string) bool { return slices.Equal(a[0], b[0]) && slices.Equal(a[1], b[1]) })
}

var threeWaves = [][2][]string{
	{{"billing"}, {"audit", "orders", "reports"}},
	{{"orders", "reports"}, {"audit"}},
	{{"audit"}, nil},
}

func TestClientsMoveInWavesEachProvenBeforeTheNext(t *testing.T) {
	for name, c := range map[string]struct {
		world    func() *world
		workflow any
		input    any
		want     string
	}{
		"failover":   {lost, Failover, FailoverInput{Start: request(runbook.OpFailover)}, runbook.Partly},
		"switchover": {calm, Switchover, SwitchoverInput{Start: request(runbook.OpSwitchover), Target: away}, runbook.Done},
	} {
		f := inWaves(c.world())
		s := newStageOf(t, f.world, f)
		s.react = agree
		s.run(c.workflow, c.input)
		s.outcome(c.want)
		s.clean()
		if !same(f.looks, threeWaves) {
			t.Errorf("%s: looks %v", name, f.looks)
		}
		epochs := map[int64]bool{}
		for _, in := range f.writes {
			if in.Kind == WriteFlip || in.Kind == WriteWave {
				epochs[in.Record.Epoch] = true
			}
		}
		if len(epochs) != 1 || f.consul[away].Waits != nil || len(s.res.Report.Clients) != 4 {
			t.Errorf("%s: epochs %v, %v wait at the end, clients %+v", name, epochs, f.consul[away].Waits, s.res.Report.Clients)
		}
		paged := slices.IndexFunc(f.notes, func(n NotifyInput) bool { return n.Kind == NotifyMove })
		if paged < 0 || !strings.Contains(f.notes[paged].Title, "orders") {
			t.Errorf("%s: nobody was told to move the group that moves by hand", name)
		}
	}
}

// Too many that have not moved hold the waves behind them until a person says otherwise; too few are a finding, and so are any of the last wave.
func TestAWaveOfClientsThatDoesNotMoveHoldsTheNext(t *testing.T) {
	for name, c := range map[string]struct {
		ill      map[string]int
		percent  int
		decision string
		asked    int
		looks    [][2][]string
		finding  string
	}{
		"comes late":           {ill: map[string]int{"reports": 1}, percent: 20, decision: runbook.Retry, asked: 1, looks: slices.Insert(slices.Clone(threeWaves), 1, threeWaves[1])},
		"is let be":            {ill: map[string]int{"reports": 9}, percent: 20, decision: runbook.Skip, asked: 1, looks: threeWaves},
		"under the threshold":  {ill: map[string]int{"reports": 9}, percent: 50, looks: threeWaves, finding: "group reports has not moved"},
		"the last one, nobody": {ill: map[string]int{"audit": 9}, percent: 20, looks: threeWaves, finding: "group audit has not moved"},
		"the first one":        {ill: map[string]int{"billing": 1}, percent: 20, decision: runbook.Retry, asked: 1, looks: slices.Insert(slices.Clone(threeWaves), 0, threeWaves[0])},
	} {
		f := inWaves(lost())
		f.ill, f.plan.Limits.HaltPercent = c.ill, c.percent
		s := newStageOf(t, f.world, f)
		asked := map[string]bool{}
		s.react = func(st Status) []runbook.Command {
			if st.Waiting == nil || st.Waiting.For != WaitPerson {
				return agree(st)
			}
			asked[st.Waiting.Question] = true
			if !strings.Contains(st.Waiting.Text, "of this wave have not moved") {
				t.Errorf("%s: %q", name, st.Waiting.Text)
			}
			cmd := signed(st, "bob", c.decision)
			cmd.Step = st.Waiting.Step
			return []runbook.Command{cmd}
		}
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
		s.outcome(runbook.Partly)
		if !same(f.looks, c.looks) || len(asked) != c.asked || len(s.res.Report.Clients) != 4 {
			t.Errorf("%s: looks %v, asked %d times, %d clients", name, f.looks, len(asked), len(s.res.Report.Clients))
		}
		if c.finding != "" && !slices.ContainsFunc(s.res.Report.Findings, func(text string) bool { return strings.Contains(text, c.finding) }) {
			t.Errorf("%s: findings %q", name, s.res.Report.Findings)
		}
		if f.consul[away].Waits != nil {
			t.Errorf("%s: %v still wait", name, f.consul[away].Waits)
		}
	}
}

// A wave is given its turn whatever becomes of the answer, and never skipped: who waits stands still.
func TestAWaveIsReleasedThoughTheAnswerIsLost(t *testing.T) {
	f := inWaves(calm())
	f.hook = func(method string, c Call) {
		if method == "AwaitClientsMoved" && c.Step == "move clients" { // what comes next is the release of wave 2
			f.mu.Lock()
			f.fail["WriteRecord"] = []error{no(ErrRefused, "the token was revoked")}
			f.mu.Unlock()
		}
	}
	asked := ""
	f.after["WriteRecord release client wave 3"] = 1
	f.fail["AwaitClientsMoved"] = []error{temporal.NewApplicationError("connection refused", ErrUnreachable)}
	s := newStageOf(t, f.world, f)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitPerson {
			return agree(st)
		}
		asked = st.Waiting.Step
		if slices.Contains(st.Waiting.Commands, runbook.Skip) {
			t.Errorf("step %q may be skipped", st.Waiting.Step)
		}
		cmd := signed(st, "bob", runbook.Retry)
		cmd.Step = st.Waiting.Step
		return []runbook.Command{cmd}
	}
	s.run(Switchover, SwitchoverInput{Start: request(runbook.OpSwitchover), Target: away})
	s.outcome(runbook.Done)
	s.clean()
	if !same(f.looks, threeWaves) || asked != "release client wave 2" || f.after["WriteRecord release client wave 3"] != 0 {
		t.Errorf("looks %v, a person was asked at %q, %d answers were not lost", f.looks, asked, f.after["WriteRecord release client wave 3"])
	}
}
