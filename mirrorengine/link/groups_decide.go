package link

import (
	"fmt"
	"time"
)

// groupFacts is all that is known of one group and partition in one round.
type groupFacts struct {
	at  groupAt
	rec *groupRecord // nil: never seen
	// source is the raw committed offset, -1 if there is none; answered tells
	// that the source's coordinator spoke, so that none means none.
	source   int64
	metadata string
	answered bool
	// dest is the destination's committed offset, -1 if there is none.
	dest int64
	// wanted is source translated; located: the mirror knows where it stands.
	wanted  int64
	located bool
	// inUse: the group has members on the destination.
	inUse bool
	// mayDrop: a commit that is gone at the source may go here too.
	mayDrop bool
	// explicit is the offset that a partition without a commit gets, -1 for
	// none: only when the mirror ends.
	explicit int64
	now      time.Time
	refresh  time.Duration // unchanged values are written again after that
}

type groupAct uint8

const (
	groupKeep   groupAct = iota + 1
	groupWrite           // commit decision.next.Wrote on the destination
	groupDrop            // delete on the destination, then forget
	groupForget          // nothing of ours is there, drop the record alone
)

// groupDecision is what to do. next is the record to keep; it is stored ahead
// of the act.
type groupDecision struct {
	act     groupAct
	next    groupRecord
	owned   bool
	problem string // somebody else holds the value
}

// owns tells whether a value on the destination is one that we wrote.
func (r groupRecord) owns(dest int64) bool {
	return dest >= 0 && (dest == r.Wrote || dest == r.Before)
}

// decideGroup is the ownership rule. It is pure.
//
// A value that stands on the destination before this link ever wrote one is
// somebody else's even if it happens to be the wanted one: it may be the commit
// of an application that will go on from there.
func decideGroup(f groupFacts) groupDecision {
	d := groupDecision{act: groupKeep, next: groupRecord{
		Group: f.at.group, Topic: f.at.topic, Partition: f.at.partition, Source: -1, Wrote: -1, Before: -1,
	}}
	if f.rec != nil {
		d.next = *f.rec
	}
	d.owned = f.dest < 0 || d.next.owns(f.dest)
	if f.source < 0 {
		return f.withoutCommit(d)
	}
	d.next.Source, d.next.Metadata = f.source, f.metadata
	switch {
	case f.inUse:
		d.problem = fmt.Sprintf("%s has members on this cluster: its offset is left alone until they stop", f.at)
	case !d.owned:
		d.problem = f.foreign(d.next.Wrote)
	case !f.located:
		// The mirror has not read its tail yet; the next round comes.
	case f.dest != f.wanted, f.now.Sub(d.next.WroteAt) >= f.refresh, d.next.WroteAt.After(f.now): // by another replica's clock
		d.write(f, f.wanted)
	}
	return d
}

func (d *groupDecision) write(f groupFacts, value int64) {
	d.act = groupWrite
	d.next.Before, d.next.Wrote, d.next.WroteAt = f.dest, value, f.now
}

// withoutCommit decides where the source has no committed offset.
func (f groupFacts) withoutCommit(d groupDecision) groupDecision {
	switch {
	case f.explicit >= 0 && f.dest < 0 && f.inUse:
		d.problem = fmt.Sprintf("%s has members on this cluster and no commit: auto.offset.reset decides where they begin", f.at)
	case f.explicit >= 0 && f.dest < 0:
		d.write(f, f.explicit)
	case f.rec == nil:
		d.act = groupForget
	case !f.answered || !f.mayDrop || f.rec.Source < 0:
		// A value that was taken over was never seen at the source: that it is not
		// there says nothing.
	case f.inUse:
		d.problem = fmt.Sprintf("%s was deleted at the source, but has members on this cluster: it is left alone", f.at)
	case f.dest < 0, !d.owned:
		d.act = groupForget
	default:
		d.act = groupDrop
	}
	return d
}

func (f groupFacts) foreign(wrote int64) string {
	ours := "this link wrote none"
	if wrote >= 0 {
		ours = fmt.Sprintf("this link wrote %d", wrote)
	}
	return fmt.Sprintf("%s: offset %d on this cluster is somebody else's (%s) and is left alone; stop using the group here, then take its offsets over (groups:own)", f.at, f.dest, ours)
}
