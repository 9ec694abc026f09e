package runbook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Truth is what a run may believe of the pair, out of two Consuls and two state
// topics.
type Truth struct {
	// Record rules; nil when no site has one.
	Record *record.Record `json:"record,omitempty"`
	// RuledBy is the site whose copy it is.
	RuledBy string `json:"ruled_by,omitempty"`
	// Highest epoch seen anywhere; a new epoch is one above it, since a
	// restored snapshot brings old values back.
	Highest int64 `json:"highest"`
	// Behind are reachable sites whose copy must be written again.
	Behind []string `json:"behind,omitempty"`
	// Silent are sites of which Consul or engine did not answer.
	Silent []string `json:"silent,omitempty"`
	// Split says which copies contradict each other; nothing may be written.
	Split string `json:"split,omitempty"`
	// Lock of whoever holds the pair, by record or state topic.
	Lock *record.Lock `json:"lock,omitempty"`
	// LockAt is where it was found.
	LockAt string `json:"lock_at,omitempty"`
}

// ReadTruth judges the copies. Among copies of the highest epoch the active
// site's rules; ruling names another site whose copy rules instead (the
// surviving one, during a failover), "" for none.
func ReadTruth(copies []RecordCopy, engines []EngineTruth, ruling string) Truth {
	var t Truth
	for _, e := range engines {
		if !e.Reachable {
			t.Silent = append(t.Silent, "engine "+e.Site)
			continue
		}
		t.Highest = max(t.Highest, e.HighestEpoch)
		if e.Lock != nil && t.Lock == nil {
			t.Lock, t.LockAt = e.Lock, "state topic of "+e.Site
		}
	}
	var best *RecordCopy
	for i := range copies {
		c := &copies[i]
		switch {
		case !c.Reachable:
			t.Silent = append(t.Silent, "consul "+c.Site)
			continue
		case c.Record == nil:
			continue
		}
		t.Highest = max(t.Highest, c.Record.Epoch)
		if best == nil || rules(c, best, ruling) {
			best = c
		}
	}
	if best == nil {
		return t
	}
	t.Record, t.RuledBy = best.Record, best.Site
	for _, c := range copies {
		if !c.Reachable || c.Site == best.Site {
			continue
		}
		switch {
		case c.Record == nil:
			t.Behind = append(t.Behind, c.Site)
		default:
			switch record.Compare(*best.Record, *c.Record) {
			case record.SplitBrain:
				t.Split = fmt.Sprintf("epoch %d was made twice: %s says active %s by %s, %s says active %s by %s",
					best.Record.Epoch, best.Site, strings.Join(best.Record.Active, ","), best.Record.OpID,
					c.Site, strings.Join(c.Record.Active, ","), c.Record.OpID)
			case record.Newer, record.StaleCopy:
				t.Behind = append(t.Behind, c.Site)
			case record.Same, record.Older:
			}
		}
	}
	if t.Record.Lock != nil {
		t.Lock, t.LockAt = t.Record.Lock, "record of truth at "+t.RuledBy
	}
	return t
}

// rules tells whether a's copy comes before b's.
func rules(a, b *RecordCopy, ruling string) bool {
	if a.Record.Epoch != b.Record.Epoch {
		return a.Record.Epoch > b.Record.Epoch
	}
	if ruling == "" && len(a.Record.Active) > 0 {
		ruling = a.Record.Active[0]
	}
	return a.Site == ruling
}

// CopyOf finds a site's copy.
func CopyOf(copies []RecordCopy, site string) RecordCopy {
	i := slices.IndexFunc(copies, func(c RecordCopy) bool { return c.Site == site })
	if i < 0 {
		return RecordCopy{Site: site, Problem: "was not asked"}
	}
	return copies[i]
}

// Merge keeps what a second judgement of the same copies could not know:
// the highest epoch, silent parts and locks of state topics.
func (t Truth) Merge(first Truth) Truth {
	t.Highest = max(t.Highest, first.Highest)
	t.Silent = first.Silent
	if t.Lock == nil {
		t.Lock, t.LockAt = first.Lock, first.LockAt
	}
	return t
}

// Leftover tells whether a lock in a state topic is of the run that made the record's epoch and has given the record's
// lock back: a switchover that was turned into a failover leaves one with the engine that it lost. It keeps nobody out.
func Leftover(l *record.Lock, r record.Record) bool {
	return l != nil && r.Lock == nil && r.OpID == l.OpID
}

// Held tells whether an operation holds the pair.
func (t Truth) Held() bool {
	return t.Lock != nil && (t.Record == nil || !Leftover(t.Lock, *t.Record))
}
