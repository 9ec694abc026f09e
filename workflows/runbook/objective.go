package runbook

import (
	"fmt"
	"time"
)

// RPOTime is a recovery point in seconds: for how long what the old primary
// acknowledged was not mirrored. At a failover it has bounds; a recovery counts it.
type RPOTime struct {
	// AtLeast was behind at the last contact. AtMost is as if the source had gone on
	// writing until it was asked, which nobody knows of a source that is silent.
	AtLeast float64 `json:"at_least_seconds"`
	AtMost  float64 `json:"at_most_seconds"`
	// Exact is from the oldest to the newest record that was not mirrored, by their
	// own times; nil until a recovery has read them. Gone are those among them that
	// nobody can read any more, so that their time is not known.
	Exact *float64 `json:"exact_seconds,omitempty"`
	Gone  int64    `json:"gone_records,omitempty"`
	// Objective of the plan, 0: none.
	Objective int64 `json:"objective_seconds,omitempty"`
}

// What an RPO is against its objective.
const (
	ObjectiveMet    = "met"
	ObjectiveMissed = "missed"
	ObjectiveOpen   = "open" // not known yet
)

// EstimateRPO is what a forecast lets say.
func EstimateRPO(f Forecast, objective int64) RPOTime {
	r := RPOTime{Objective: objective}
	for _, t := range f.Topics {
		r.AtMost = max(r.AtMost, t.LagSeconds, f.BlindSeconds)
		if t.Known > 0 {
			r.AtLeast = max(r.AtLeast, t.LagSeconds-f.BlindSeconds)
		}
	}
	return r
}

// ExactRPO is what a ledger lets say. Who moved without loss has an empty one.
func ExactRPO(lines []LedgerLine, objective int64) RPOTime {
	r := RPOTime{Objective: objective}
	var all LedgerLine
	for _, l := range lines {
		if l.Records > 0 {
			all.span(l)
		}
		r.Gone += l.Unrecoverable
	}
	s := max(0, all.LastTime.Sub(all.FirstTime).Seconds())
	r.AtLeast, r.AtMost, r.Exact = s, s, &s
	return r
}

// Counted is the estimate with what a recovery found out.
func (r RPOTime) Counted(exact RPOTime) RPOTime {
	r.Exact, r.Gone = exact.Exact, exact.Gone
	if r.Objective == 0 {
		r.Objective = exact.Objective
	}
	return r
}

// Verdict is met, missed, or open while the bounds leave both; "" without an objective.
func (r RPOTime) Verdict() string {
	low, high := r.bounds()
	switch limit := float64(r.Objective); {
	case r.Objective <= 0:
		return ""
	case low > limit:
		return ObjectiveMissed
	case high <= limit:
		return ObjectiveMet
	}
	return ObjectiveOpen
}

func (r RPOTime) bounds() (low, high float64) {
	if r.Exact == nil {
		return r.AtLeast, r.AtMost
	}
	return *r.Exact, *r.Exact
}

// Text says it for people.
func (r RPOTime) Text() string {
	text := fmt.Sprintf("between %.1f s and %.1f s", r.AtLeast, r.AtMost)
	if r.Exact != nil {
		text = fmt.Sprintf("%.1f s", *r.Exact)
	}
	switch low, high := r.bounds(); r.Verdict() {
	case ObjectiveMet:
		text += fmt.Sprintf(", objective %d s: met with %.1f s to spare", r.Objective, float64(r.Objective)-high)
	case ObjectiveMissed:
		text += fmt.Sprintf(", objective %d s: missed by %.1f s", r.Objective, low-float64(r.Objective))
	case ObjectiveOpen:
		text += fmt.Sprintf(", objective %d s: met or not is known when a recovery has counted", r.Objective)
	}
	if r.Gone > 0 {
		text += fmt.Sprintf("; of %d more records nobody knows the time, they are gone", r.Gone)
	}
	return text
}

// Measured is what the last real move took and lost, for what comes next.
type Measured struct {
	OpID      string    `json:"op_id"`
	Operation string    `json:"operation"`
	Ended     time.Time `json:"ended"`
	RTOMillis int64     `json:"rto_ms,omitempty"`
	RPO       *RPOTime  `json:"rpo,omitempty"`
}

// objectives holds the last real move against what the plan promises now.
func (j *readyJudge) objectives() {
	if j.f.Past == nil || j.f.Past.Last == nil {
		return
	}
	last, want := *j.f.Past.Last, j.f.Plan.Objectives
	j.r.Last, j.r.Objectives = &last, &want
	what := fmt.Sprintf("of the %s that ended %s", last.Operation, stamp(last.Ended))
	cure := fmt.Sprintf("drctl reports %s %s shows where it went; shorten that, or promise less", j.f.Plan.Pair, last.OpID)
	n := len(j.r.Checks)
	if want.RTOSeconds > 0 && last.RTOMillis > want.RTOSeconds*1000 {
		j.say(PartObjectives, CheckWarning, cure, "the RTO %s: %s%s", what, seconds(last.RTOMillis), Against(last.RTOMillis, want.RTOSeconds))
	}
	if last.RPO != nil {
		last.RPO.Objective = want.RPOSeconds
		switch last.RPO.Verdict() {
		case ObjectiveMissed:
			j.say(PartObjectives, CheckWarning, cure, "the RPO %s: %s", what, last.RPO.Text())
		case ObjectiveOpen:
			j.say(PartObjectives, CheckWarning, "drctl recover "+j.f.Plan.Pair+" counts it", "the RPO %s: %s", what, last.RPO.Text())
		}
	}
	if len(j.r.Checks) == n {
		j.say(PartObjectives, CheckOK, "", "RTO and RPO %s were within the objectives", what)
	}
}
