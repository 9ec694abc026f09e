package runbook

import (
	"fmt"
	"time"
)

// A pipeline's group has committed what it has read, and its outputs may not all
// have been mirrored when the source was lost: going on at the commit would leave
// out for ever what was written and lost. So it is placed earlier, and repeats.
//
// What there is to go by at the survivor are record times. The youngest record of
// an output partition was written of an input that is at most the plan's margin
// older. Whatever came of inputs older than that, in the output partition that
// ends first, is mirrored; so the first input record that is not older is where
// the group must go on at the latest. It never goes on later than it would have.

// OutputEnd is the youngest mirrored record of an output's partition; Empty: it
// has none.
type OutputEnd struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Youngest  time.Time `json:"youngest,omitzero"`
	Empty     bool      `json:"empty,omitempty"`
}

// InputPlace is one partition of a pipeline's input.
type InputPlace struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Synced is where the group stands, -1 for nowhere.
	Synced int64 `json:"synced"`
	Start  int64 `json:"start"`
	End    int64 `json:"end"`
	// ByTime is the first record that is not older than the pipeline's time, -1 if
	// all are.
	ByTime int64 `json:"by_time"`
}

// Placement of a pipeline's group on one partition.
type Placement struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Synced    int64  `json:"synced"`
	At        int64  `json:"at"`
	// Repeats are the offsets between the two: records that the pipeline reads again.
	Repeats int64 `json:"repeats"`
	// Skipped says why the partition is left as it is.
	Skipped string `json:"skipped,omitempty"`
}

// PipelineTime is the record time from which on a pipeline's inputs are read
// again. Zero: no output tells, and notes say so. Empty partitions tell nothing.
func PipelineTime(p Pipeline, ends []OutputEnd) (from time.Time, notes []string) {
	empty := 0
	for _, e := range ends {
		if e.Empty {
			empty++
			continue
		}
		if from.IsZero() || e.Youngest.Before(from) {
			from = e.Youngest
		}
	}
	if from.IsZero() {
		return from, []string{fmt.Sprintf("pipeline %s: none of %d output partitions holds a mirrored record, so nothing tells which inputs were lost on the way: the group stays at its synced offsets; reset it by hand if it must repeat", p.Group, len(ends))}
	}
	if empty > 0 {
		notes = append(notes, fmt.Sprintf("pipeline %s: %d of %d output partitions hold no mirrored record and tell nothing", p.Group, empty, len(ends)))
	}
	return from.Add(-Seconds(p.MarginSeconds)), notes
}

// Place says where a pipeline's group goes on: never later than it stands, never
// later than the first record at or after the pipeline's time, and never outside
// of the log.
func Place(group string, inputs []InputPlace) []Placement {
	out := make([]Placement, 0, len(inputs))
	for _, in := range inputs {
		p := Placement{Group: group, Topic: in.Topic, Partition: in.Partition, Synced: in.Synced, At: in.Synced}
		switch {
		case in.Synced < 0:
			p.Skipped = "the group has no offset here: auto.offset.reset decides"
		case in.Synced <= in.Start:
			p.Skipped = "it begins at the start of the log"
		default:
			if in.ByTime >= 0 {
				p.At = min(p.At, in.ByTime)
			}
			p.At = max(in.Start, min(p.At, in.End))
			p.Repeats = max(0, min(in.Synced, in.End)-p.At)
		}
		out = append(out, p)
	}
	return out
}

// Repeats are the sum over placements.
func Repeats(places []Placement) int64 {
	n := int64(0)
	for _, p := range places {
		n += p.Repeats
	}
	return n
}

// Left are placements that are left as they are, one line each.
func Left(places []Placement) []string {
	var out []string
	for _, p := range places {
		if p.Skipped != "" {
			out = append(out, fmt.Sprintf("pipeline %s on %s/%d is left: %s", p.Group, p.Topic, p.Partition, p.Skipped))
		}
	}
	return out
}
