package runbook

import (
	"fmt"
	"strings"
	"time"
)

// States of a check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning" // a runbook would work, and somebody would be sorry
	CheckBad     = "bad"     // a failover or a planned move would fail or lose more than allowed
	CheckUnknown = "unknown" // it could not be looked at
)

// What a check that is not ok takes from the score of 100.
var checkCosts = map[string]int{CheckOK: 0, CheckWarning: 5, CheckUnknown: 15, CheckBad: 30}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	Cure   string `json:"cure,omitempty"`
}

// Readiness says whether the pair could be failed over now.
type Readiness struct {
	Pair   string   `json:"pair"`
	Active []string `json:"active,omitempty"`
	// Ready: nothing is bad or unknown.
	Ready bool `json:"ready"`
	// Score is from 0 to 100.
	Score int `json:"score"`
	// Checks, the worst first.
	Checks []Check `json:"checks"`
	// Drills are the Schedules of the plan's drills.
	Drills []DrillWatch `json:"drills,omitempty"`
	// Unplayed are drills that people were told of, kept from look to look until one is played.
	Unplayed []Unplayed `json:"unplayed,omitempty"`
	// Proposal is what a person should think about now; empty for nothing.
	Proposal string    `json:"proposal,omitempty"`
	At       time.Time `json:"at"`
	// Expires is when this says nothing any more.
	Expires  time.Time `json:"expires"`
	PlanHash string    `json:"plan_hash,omitempty"`
	// Last is what the last real move took and lost, Objectives what the plan
	// promises; both absent where the pair never moved.
	Last       *Measured   `json:"last_move,omitempty"`
	Objectives *Objectives `json:"objectives,omitempty"`
}

// State is the worst of a readiness' checks.
func (r Readiness) State() string {
	if len(r.Checks) == 0 {
		return CheckUnknown
	}
	return r.Checks[0].State
}

// ReadyFacts are what was found. A part that could not be looked at is nil, and
// Problems says why by the part's name.
type ReadyFacts struct {
	Now      time.Time
	Plan     Plan
	Truth    *Truth
	Holds    []HoldCopy
	Rights   []Check // and credentials, of both sites, judged where they were looked at
	Vantages []Vantage
	Risk     *Risk
	Link     *LinkFacts
	Topics   *TopicFacts
	Open     []OpenTransaction
	OpenSeen bool
	Past     *PastRuns
	Drills   []DrillWatch // nil: not looked at
	Problems map[string]string
}

// Parts of ReadyFacts, by which Problems are named and checks too.
const (
	PartRecord       = "record of truth"
	PartHold         = "hold"
	PartRights       = "rights"
	PartOutage       = "active site"
	PartMirrors      = "mirrors"
	PartLag          = "lag"
	PartGroups       = "group offsets"
	PartLink         = "link"
	PartGuards       = "guards"
	PartTopics       = "topics"
	PartTransactions = "transactions"
	PartPeople       = "people"
	PartDrill        = "last exercise"
	PartDrills       = "drills"
	PartObjectives   = "objectives"
	PartCredentials  = "credentials"
	PartKubernetes   = "kubernetes"
)

// LinkFacts are the state of the link to the standby.
type LinkFacts struct {
	State string `json:"state"`
	Error string `json:"error,omitempty"`
	// Faults are tasks in error, Notes what tasks say beside.
	Faults []string `json:"faults,omitempty"`
	Notes  []string `json:"notes,omitempty"`
	// Drift are configs whose difference loses records, durability or batches.
	Drift []string `json:"drift,omitempty"`
	// Guards count mirrors by the level of their read-only guard.
	Guards map[string]int `json:"guards,omitempty"`
}

// TopicFacts are the plan's topics at the active site.
type TopicFacts struct {
	Topics  []string `json:"topics"`
	Missing []string `json:"missing,omitempty"` // named in the plan, and not there
}

// PastRuns are what the kept reports tell.
type PastRuns struct {
	// Exercised is when the pair last went through a failover, a planned move or a
	// drill to its end; zero: never.
	Exercised time.Time `json:"exercised,omitzero"`
	Operation string    `json:"operation,omitempty"`
	// Drills, by kind.
	Drills []PastDrill `json:"drills,omitempty"`
	// Runs are the newest ones, newest first, with how long they took; only where
	// that was asked for.
	Runs []RunTimes `json:"runs,omitempty"`
	// Last is the newest real move, with its numbers.
	Last *Measured `json:"last,omitempty"`
}

// Summary is one line for people: what is worst.
func (r Readiness) Summary() string {
	text := fmt.Sprintf("score %d of 100", r.Score)
	for _, c := range r.Checks {
		if c.State == CheckBad || c.State == CheckUnknown {
			text += "; " + c.Name + ": " + c.Detail
		}
	}
	return text
}

// Markdown is the table of the checks.
func (r Readiness) Markdown() string {
	var b strings.Builder
	verdict := "ready"
	if !r.Ready {
		verdict = "NOT ready"
	}
	b.WriteString(fmt.Sprintf("**%s** is %s: score %d of 100, until %s\n\n", cell(r.Pair), verdict, r.Score, r.Expires.UTC().Format(time.RFC3339)))
	if r.Proposal != "" {
		b.WriteString(fmt.Sprintf("**%s**\n\n", cell(r.Proposal)))
	}
	b.WriteString("| check | state | detail | what to do |\n|---|---|---|---|\n")
	for _, c := range r.Checks {
		b.WriteString("| " + strings.Join([]string{c.Name, c.State, cell(c.Detail), cell(c.Cure)}, " | ") + " |\n")
	}
	return b.String()
}
