package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// PlannedStep is a line of the dry run.
type PlannedStep struct {
	Name  string `json:"name"`
	What  string `json:"what"`
	Pivot bool   `json:"pivot,omitempty"` // there is no undo from here on
	// Millis is the median of Runs earlier runs; without any there is no number.
	Millis int64 `json:"expected_ms,omitempty"`
	Runs   int   `json:"expected_from_runs,omitempty"`
}

// Time says how long the step took in earlier runs, "" if nobody knows.
func (s PlannedStep) Time() string {
	if s.Runs == 0 {
		return ""
	}
	return fmt.Sprintf("about %s (%d runs)", seconds(s.Millis), s.Runs)
}

// FailoverSteps is what a failover from lost to survivor would do, in the names
// that its steps have; the waves are one line. Times are those of earlier runs.
func FailoverSteps(p Plan, link Link, topics []string, f Forecast, past []RunTimes) []PlannedStep {
	waves := len(Waves(topics, p.Limits.WaveTopics))
	ending := waveStep + " 1"
	if waves > 1 {
		ending = fmt.Sprintf("%ss 1 to %d", waveStep, waves)
	}
	to := link.Destination
	steps := []PlannedStep{
		{Name: "approve", What: approvals(p.Approvals[OpFailover])},
		{Name: "lock engine " + to, What: "take the operation lock in its state topic"},
		{Name: "lock record", What: fmt.Sprintf("take the operation lock in the record of truth at %s, phase moving", to)},
		{Name: "begin operation on " + link.Name, What: "only this run may change the link's mirrors from here on"},
		{Name: "fence " + link.Source, What: fmt.Sprintf("fence producers and groups on %s as far as it answers, and prove it", link.Source)},
		{Name: "grow mirrors", What: "bring mirrors to the source's last known partition count"},
		{Name: "nobody holds the pair?", What: "a last look at the hold in Consul before the point of no return"},
		{Name: ending, What: fmt.Sprintf("end %d mirrors of link %s in %d waves, giving up about %d records", len(topics), link.Name, waves, f.AtRisk), Pivot: true},
		{Name: "stop offsets", What: "keep where each mirror and group ended"},
		{Name: "prove writable " + to, What: "the canary is let through by every broker of " + to},
		{Name: "canary record " + to, What: "a record is written and read on " + CanaryTopic(p.Pair)},
		{Name: "flip", What: fmt.Sprintf("write the record of truth: %s is active; its own Consul first, %s's is owed if it is silent", to, link.Source)},
		{Name: "move clients", What: movesOf(p, to)},
		{Name: "end operation on " + link.Name, What: "give the link back"},
		{Name: "unlock record", What: "phase open"},
		{Name: "unlock engine " + to, What: "give its lock back, keep the report"},
	}
	if len(p.Pipelines) > 0 {
		i := slices.IndexFunc(steps, func(s PlannedStep) bool { return s.Name == "stop offsets" })
		steps = slices.Insert(steps, i+1, PlannedStep{Name: "place pipeline groups", What: fmt.Sprintf("put %d pipelines no later than their last mirrored output", len(p.Pipelines))})
	}
	steps = withWorkloads(p, steps, link, "move clients")
	for i := range steps {
		steps[i].Millis, steps[i].Runs = StepTime(past, steps[i].Name, waves)
	}
	return steps
}

// FailbackSteps is what a failback over reverse would do.
func FailbackSteps(p Plan, reverse Link, do AwayPlan, size CopySize) []PlannedStep {
	return append(protectSteps(p, OpFailback, reverse, do, size), moveSteps(p, reverse)...)
}

// RestoreSteps is what RestoreDR would do to make l the link of normal life.
func RestoreSteps(p Plan, l Link, do AwayPlan, size CopySize) []PlannedStep {
	return append(protectSteps(p, OpRestore, l, do, size),
		PlannedStep{Name: "readiness", What: "look at what would fail today"},
		PlannedStep{Name: "report", What: "keep the report, give the locks back"})
}

// protectSteps make l's destination a standby again.
func protectSteps(p Plan, op string, l Link, do AwayPlan, size CopySize) []PlannedStep {
	var steps []PlannedStep
	if len(do.Open) > 0 {
		steps = append(steps, PlannedStep{Name: "decide", What: "mirror, leave or delete what changed: " + named(do.Open)})
	}
	what := approvals(p.Approvals[op]) + "; " + do.Text(l.Source, l.Destination)
	if len(do.Copied()) > 0 {
		what += "; " + size.Text()
	}
	if len(do.Doomed()) > 0 {
		what += "; naming the override " + OverrideRebuild
	}
	steps = append(steps, PlannedStep{Name: "approve", What: what})
	if len(do.Doomed()) > 0 {
		steps = append(steps,
			PlannedStep{Name: "archive tail", What: "archive what only " + l.Destination + " has of lagged records"},
			PlannedStep{Name: "delete old topics", What: named(do.Doomed()) + " at " + l.Destination})
	}
	return append(steps,
		PlannedStep{Name: "mirrors", What: fmt.Sprintf("%d topics by link %s", len(do.Mirrors()), l.Name)},
		PlannedStep{Name: "guard", What: "what fences " + l.Destination + " becomes the mirrors' guards"},
		PlannedStep{Name: "catch up", What: fmt.Sprintf("wait until every partition lags at most %d records", p.Objectives.LagRecords)})
}

// SwitchoverSteps is what a switchover over link l would do.
func SwitchoverSteps(p Plan, l, reverse Link, f MoveForecast) []PlannedStep {
	steps := []PlannedStep{
		{Name: "approve", What: approvals(p.Approvals[OpSwitchover])},
		{Name: "lock", What: fmt.Sprintf("take the operation lock at %s and %s (engines, then record of truth)", l.Destination, l.Source)},
		{Name: "way back", What: fmt.Sprintf("make link %s from %s to %s ready", reverse.Name, reverse.Source, reverse.Destination)},
		{Name: "catch up", What: fmt.Sprintf("wait until every partition of %d mirrors lags at most %d records", f.Topics, p.Objectives.LagRecords)},
	}
	return append(steps, moveSteps(p, l)...)
}

// moveSteps are those of a planned move over link l.
func moveSteps(p Plan, l Link) []PlannedStep {
	steps := []PlannedStep{
		{Name: "freeze", What: fmt.Sprintf("phase frozen, at most %d s; on expiry everything is undone", p.Limits.FreezeSeconds)},
		{Name: "fence", What: "fence producers on " + l.Source + " and prove it"},
		{Name: "transactions", What: fmt.Sprintf("wait %d s for open transactions, then end them", p.Limits.TransactionsSeconds)},
		{Name: "groups", What: fmt.Sprintf("stop %d groups, sync their offsets and read them back", len(p.Groups))},
		{Name: "drain", What: "mirrors hold all that " + l.Source + " has"},
		{Name: "promote", What: "end the mirrors on " + l.Destination + " without loss", Pivot: true},
		{Name: "flip", What: "write the record of truth: " + l.Destination + " is active"},
		{Name: "move clients", What: movesOf(p, l.Destination)},
		{Name: "restore DR", What: "mirror again from " + l.Destination + " to " + l.Source + " over the existing topics, with guards"},
		{Name: "report", What: "keep the report, give the locks back"},
	}
	return withWorkloads(p, withStop(p, steps, l), l, "move clients")
}

// movesOf says how the clients move.
func movesOf(p Plan, to string) string {
	text := fmt.Sprintf("wait up to %d s for %d groups on %s", p.Limits.ClientsSeconds, len(p.Groups), to)
	if waves := ClientWaves(p.Groups); len(waves) > 1 {
		text += fmt.Sprintf(", in %d waves, each as long: %s and more wait for their turn", len(waves), waves[1][0].Name)
	}
	for _, still := range p.StandStill(to) {
		text += "; " + still
	}
	return text
}

// Render writes steps as a numbered list.
func Render(steps []PlannedStep) string {
	var b strings.Builder
	for i, s := range steps {
		mark := ""
		if s.Pivot {
			mark = " [point of no return]"
		}
		took := s.Time()
		if took != "" {
			took = ", " + took
		}
		fmt.Fprintf(&b, "%2d. %s: %s%s%s\n", i+1, s.Name, s.What, took, mark)
	}
	return b.String()
}

func approvals(a Approval) string {
	who := "anybody of the plan"
	if len(a.Roles) > 0 {
		who = strings.Join(a.Roles, " or ")
	}
	return fmt.Sprintf("%d approvals by %s within %d s", a.Count, who, a.DeadlineSeconds)
}
