package runbook

import (
	"fmt"
	"slices"
	"time"
)

// Freeze is a window in which nobody changes the pair by plan: either fixed, with
// From and To in RFC 3339, or weekly, with Days (mon … sun), From and To as hh:mm in
// Zone. A weekly window whose To is not behind its From ends on the next day.
type Freeze struct {
	Name string   `json:"name"`
	From string   `json:"from"`
	To   string   `json:"to"`
	Days []string `json:"days,omitempty"`
	Zone string   `json:"zone,omitempty"`
	// Offsets of Zone from UTC, oldest first, as LoadPlan found them: a run must get
	// the same answer when it is replayed, on another machine, with other time zone
	// data. Beyond the last one that one stays.
	Offsets []ZoneOffset `json:"offsets,omitempty"`
}

// ZoneOffset is how far a zone is ahead of UTC from an instant on.
type ZoneOffset struct {
	From    time.Time `json:"from"`
	Seconds int64     `json:"seconds"`
}

// weekdays as a plan names them, in Go's order.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Frozen tells whether a window of the plan holds at now, which one, and when
// nothing holds any more: windows that follow one another without a gap count as one.
// It needs no clock and no time zone data.
func (p Plan) Frozen(now time.Time) (name string, until time.Time, frozen bool) {
	name, until, frozen = p.window(now)
	if !frozen {
		return "", time.Time{}, false
	}
	const week = 8 // windows of a whole week, which never end
	for last := now.AddDate(0, 0, week); until.Before(last); {
		_, later, more := p.window(until)
		if !more {
			break
		}
		until = later
	}
	return name, until, true
}

// window is the one that holds at now, and holds longest.
func (p Plan) window(now time.Time) (name string, until time.Time, ok bool) {
	for _, f := range p.Freezes {
		if end, in := f.holds(now); in && end.After(until) {
			name, until, ok = f.Name, end, true
		}
	}
	return name, until, ok
}

// holds tells whether now is in the window, and when the window ends.
func (f Freeze) holds(now time.Time) (end time.Time, ok bool) {
	if len(f.Days) == 0 {
		from, err := time.Parse(time.RFC3339, f.From)
		to, terr := time.Parse(time.RFC3339, f.To)
		return to.UTC(), err == nil && terr == nil && !now.Before(from) && now.Before(to)
	}
	from, err := minutes(f.From)
	to, terr := minutes(f.To)
	if err != nil || terr != nil {
		return time.Time{}, false // a plan that was loaded has none such
	}
	if to <= from {
		to += 24 * time.Hour
	}
	wall := f.wall(now)
	midnight := wall.Truncate(24 * time.Hour)
	for _, day := range []time.Time{midnight, midnight.AddDate(0, 0, -1)} {
		in := !wall.Before(day.Add(from)) && wall.Before(day.Add(to))
		if in && slices.Contains(f.Days, weekdays[day.Weekday()]) {
			return f.instant(now, day.Add(to)), true
		}
	}
	return time.Time{}, false
}

// offset that holds at t.
func (f Freeze) offset(t time.Time) ZoneOffset {
	var out ZoneOffset
	for i, o := range f.Offsets {
		if i == 0 || !t.Before(o.From) {
			out = o
		}
	}
	return out
}

// wall is what a clock on the zone's wall shows at t, written as if it were UTC.
func (f Freeze) wall(t time.Time) time.Time {
	return t.UTC().Add(Seconds(f.offset(t).Seconds))
}

// instant at which the wall, seen from now on, shows at least end. The clock may be
// put back or forward in between.
func (f Freeze) instant(now, end time.Time) time.Time {
	before := f.offset(now)
	at := end.Add(-Seconds(before.Seconds))
	after := f.offset(at)
	if after == before {
		return at
	}
	if at = end.Add(-Seconds(after.Seconds)); at.Before(after.From) {
		return after.From // the wall skips the end
	}
	return at
}

// minutes reads hh:mm.
func minutes(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", text)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

// heldByFreeze are the operations that somebody plans: they wait for the window's
// end. What follows a loss (failover, recovery, protecting the pair anew, lifting a
// fence) never waits for a calendar.
var heldByFreeze = []string{OpSwitchover, OpFailback, OpSetUp, OpDrill}

// FreezeText says of a window that holds what it means for an operation.
func (p Plan) FreezeText(now time.Time) (text string, frozen bool) {
	name, until, frozen := p.Frozen(now)
	if !frozen {
		return "", false
	}
	return fmt.Sprintf("the change freeze %q of pair %s holds until %s", name, p.Pair, stamp(until)), true
}

// HeldByFreeze tells whether a change freeze holds an operation up.
func HeldByFreeze(operation string) bool { return slices.Contains(heldByFreeze, operation) }
