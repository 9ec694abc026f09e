package runbook

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// How long a run will take is told from how long earlier ones took, and from
// nothing else: where no kept report has a part, there is no number for it.

// failoverSegments are the parts of a failover's RTO, in order.
var failoverSegments = []string{"attest", "approve", "fence", "mirrors", "flip", "clients"}

const (
	waveStep    = "fail over wave"
	segmentEnds = "mirrors" // the segment that the waves are in
)

// RunTimes are how long one earlier run took, from its report.
type RunTimes struct {
	OpID string `json:"op_id"`
	// Operation whose rules the run ended under; "drill" for a drill.
	Operation string    `json:"operation"`
	Ended     time.Time `json:"ended"`
	// Waves in which it ended its mirrors; their time grows with them.
	Waves int `json:"waves,omitempty"`
	// Steps that were done, by StepKey, and segments of the RTO.
	Steps []Segment `json:"steps"`
	RTO   []Segment `json:"rto,omitempty"`
}

// StepKey is what a step is compared by: waves are one.
func StepKey(name string) string {
	if strings.HasPrefix(name, waveStep) {
		return waveStep
	}
	return name
}

// Times takes from a report how long its steps and segments took.
func Times(r Report) RunTimes {
	t := RunTimes{OpID: r.OpID, Operation: r.Operation, Ended: r.Ended, RTO: r.RTO}
	if r.Turned != nil {
		t.Operation = OpFailover
	}
	for _, s := range r.Steps {
		if s.State != StateDone {
			continue
		}
		key := StepKey(s.Name)
		if key == waveStep {
			t.Waves++
		}
		if i := slices.IndexFunc(t.Steps, func(o Segment) bool { return o.Name == key }); i >= 0 {
			t.Steps[i].Millis += s.Millis
		} else {
			t.Steps = append(t.Steps, Segment{key, s.Millis})
		}
	}
	return t
}

// ETA is when a run will have moved the clients. Expected durations are medians
// of earlier runs.
type ETA struct {
	ObjectiveSeconds int64 `json:"objective_seconds,omitempty"`
	// Runs is how many earlier runs at most a number comes from; 0: none, and there
	// are no numbers.
	Runs     int          `json:"runs"`
	Segments []SegmentETA `json:"segments"`
	// Missing are the segments that no earlier run had: then Done and TotalMillis
	// are absent.
	Missing []string `json:"missing,omitempty"`
	// Running is the segment under way, "" when all are over.
	Running string `json:"running,omitempty"`
	// TotalMillis is the RTO that is to be expected: spent and left.
	TotalMillis int64     `json:"total_ms,omitempty"`
	SpentMillis int64     `json:"spent_ms"`
	Done        time.Time `json:"done,omitzero"`
}

// SegmentETA is one part of the RTO; Runs is how many runs Expected is the median
// of, Spent is set when it is over or runs.
type SegmentETA struct {
	Name     string `json:"name"`
	Expected int64  `json:"expected_ms,omitempty"`
	Runs     int    `json:"runs"`
	Spent    int64  `json:"spent_ms,omitempty"`
	Over     bool   `json:"over,omitempty"`
}

// Estimate tells from earlier runs what a failover in so many waves will take.
// Only failovers and drills have its segments.
func Estimate(past []RunTimes, waves int, objective int64) ETA {
	e := ETA{ObjectiveSeconds: objective, Segments: []SegmentETA{}}
	for _, name := range failoverSegments {
		var seen []int64
		for _, r := range past {
			if r.Operation != OpFailover && r.Operation != drillOperation {
				continue
			}
			for _, s := range r.RTO {
				if s.Name == name {
					seen = append(seen, r.scaled(s, segmentEnds, waves))
				}
			}
		}
		s := SegmentETA{Name: name, Runs: len(seen), Expected: median(seen)}
		if s.Runs == 0 {
			e.Missing = append(e.Missing, name)
		}
		e.Runs = max(e.Runs, s.Runs)
		e.Segments = append(e.Segments, s)
	}
	return e
}

const drillOperation = "drill"

// scaled is a duration of a run as it would be with another number of waves: they
// come one after the other. what is the name of the duration that holds them.
func (r RunTimes) scaled(s Segment, what string, waves int) int64 {
	if s.Name != what || r.Waves == 0 || waves == 0 {
		return s.Millis
	}
	for _, w := range r.Steps {
		if w.Name == waveStep {
			rest := max(0, s.Millis-w.Millis)
			return rest + int64(math.Round(float64(w.Millis)*float64(waves)/float64(r.Waves)))
		}
	}
	return s.Millis
}

// StepTime is the median of a step over the earlier runs of any operation that
// had it, and of how many.
func StepTime(past []RunTimes, name string, waves int) (ms int64, runs int) {
	var seen []int64
	for _, r := range past {
		for _, s := range r.Steps {
			if s.Name == StepKey(name) {
				seen = append(seen, r.scaled(s, waveStep, waves))
			}
		}
	}
	return median(seen), len(seen)
}

func median(of []int64) int64 {
	n := len(of)
	if n == 0 {
		return 0
	}
	of = slices.Sorted(slices.Values(of))
	if n%2 == 1 {
		return of[n/2]
	}
	return (of[n/2-1] + of[n/2]) / 2
}

// At is the estimate now: over are the segments that have ended, the one under
// way began at begun, spent is the RTO up to then. A segment that takes longer
// than expected is taken to end at once.
func (e ETA) At(now time.Time, over []Segment, begun time.Time, spent int64) ETA {
	e.Segments = slices.Clone(e.Segments)
	e.Running, e.Done, e.TotalMillis, e.Missing = "", time.Time{}, 0, nil
	left := int64(0)
	e.SpentMillis = spent
	for i := range e.Segments {
		s := &e.Segments[i]
		if j := slices.IndexFunc(over, func(o Segment) bool { return o.Name == s.Name }); j >= 0 {
			s.Spent, s.Over = over[j].Millis, true
			continue
		}
		if e.Running == "" {
			e.Running, s.Spent = s.Name, max(0, now.Sub(begun).Milliseconds())
			e.SpentMillis += s.Spent
		}
		if s.Runs == 0 {
			e.Missing = append(e.Missing, s.Name)
		}
		left += max(0, s.Expected-s.Spent)
	}
	switch {
	case e.Running == "":
		e.TotalMillis, e.Done = spent, begun
	case len(e.Missing) == 0:
		e.TotalMillis = e.SpentMillis + left
		e.Done = now.Add(time.Duration(left) * time.Millisecond)
	}
	return e
}

// Text is one line for people.
func (e ETA) Text() string {
	if e.Running == "" {
		return fmt.Sprintf("RTO %s", e.against(e.TotalMillis))
	}
	text := e.Running + " runs, "
	for _, s := range e.Segments {
		if s.Name != e.Running {
			continue
		}
		text += seconds(s.Spent)
		if s.Runs > 0 {
			text += " of about " + seconds(s.Expected)
		}
	}
	switch {
	case e.Runs == 0:
		return text + "; " + seconds(e.SpentMillis) + " are spent" + e.objective() + "; no kept report of an earlier failover of the pair, so no estimate"
	case len(e.Missing) > 0:
		return text + "; " + seconds(e.SpentMillis) + " are spent" + e.objective() + "; no earlier run tells how long these take: " + strings.Join(e.Missing, ", ")
	}
	return text + fmt.Sprintf("; clients moved about %s, RTO about %s; median of %d earlier runs", e.Done.UTC().Format("15:04:05Z"), e.against(e.TotalMillis), e.Runs)
}

// expected of a segment, for the report's table.
func (e *ETA) expected(name string) string {
	if e != nil {
		for _, s := range e.Segments {
			if s.Name == name && s.Runs > 0 {
				return fmt.Sprintf("%.1f of %d runs", float64(s.Expected)/1000, s.Runs)
			}
		}
	}
	return "-"
}

// Expect says what a failover that nobody has begun would take.
func (e ETA) Expect() string {
	if e.Runs == 0 {
		return "no kept report of an earlier failover of the pair, so no estimate"
	}
	total, least := int64(0), ""
	for _, s := range e.Segments {
		total += s.Expected
	}
	if len(e.Missing) > 0 {
		least = "without " + strings.Join(e.Missing, ", ") + ", which no earlier run tells: "
	}
	return fmt.Sprintf("%sRTO about %s; %s; median of %d earlier runs", least, e.against(total), e.Parts(), e.Runs)
}

// Parts lists what is expected of each segment that is still to come.
func (e ETA) Parts() string {
	var parts []string
	for _, s := range e.Segments {
		if s.Runs > 0 && !s.Over {
			parts = append(parts, fmt.Sprintf("%s %s", s.Name, seconds(s.Expected)))
		}
	}
	return strings.Join(parts, ", ")
}

func (e ETA) objective() string {
	if e.ObjectiveSeconds <= 0 {
		return ""
	}
	return fmt.Sprintf(" of %d s", e.ObjectiveSeconds)
}

func (e ETA) against(ms int64) string { return seconds(ms) + Against(ms, e.ObjectiveSeconds) }

// Against says whether an RTO meets an objective, and by how much not.
func Against(ms, objective int64) string {
	switch left := objective*1000 - ms; {
	case objective <= 0:
		return ""
	case left >= 0:
		return fmt.Sprintf(", objective %d s: met with %s to spare", objective, seconds(left))
	default:
		return fmt.Sprintf(", objective %d s: missed by %s", objective, seconds(-left))
	}
}

func seconds(ms int64) string { return fmt.Sprintf("%.1f s", float64(ms)/1000) }
