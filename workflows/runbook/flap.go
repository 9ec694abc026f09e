package runbook

import (
	"fmt"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Flapping tells whether the pair was moved by the same kind of operation so
// shortly before now that one more needs somebody who says that it is meant. Kinds
// are apart, so that a planned move never stands in the way of a failover. Off where
// the plan's anti_flap_seconds is 0.
func (p Plan) Flapping(moves []record.Move, operation string, now time.Time) (text string, flaps bool) {
	within := Seconds(p.Limits.AntiFlapSeconds)
	var last record.Move
	n := 0
	for _, m := range moves {
		if m.Operation == operation && now.Sub(m.At) < within {
			n++
			if m.At.After(last.At) {
				last = m
			}
		}
	}
	if within <= 0 || n == 0 {
		return "", false
	}
	times := ""
	if n > 1 {
		times = fmt.Sprintf(", the last of %d", n)
	}
	return fmt.Sprintf("pair %s flaps: %s moved it to %s at %s%s; until %s (the plan's anti_flap_seconds, %d) one more %s needs somebody who says that it is meant",
		p.Pair, last.OpID, last.Active, stamp(last.At), times, stamp(last.At.Add(within)), p.Limits.AntiFlapSeconds, operation), true
}

// moved is the record's list of moves with one more; only so many are kept that a
// record stays small.
func moved(old []record.Move, active string, by By) []record.Move {
	const most = 8
	out := append(slices.Clone(old), record.Move{OpID: by.OpID, Operation: by.Operation, Active: active, At: by.Now})
	return out[max(0, len(out)-most):]
}
