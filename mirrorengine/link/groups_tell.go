package link

import (
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// tellGroups takes the round over into what Groups shows and collects the
// problems. What stands there of partitions that the round did not touch
// (mirrors that have ended) stays. Called with dest.
func (l *Link) tellGroups(work []groupWork, view sourceView, back *destView, faults *groupFaults, now time.Time) {
	states := map[groupAt]api.GroupState{}
	worked := map[string]bool{}
	for _, w := range work {
		worked[w.at.group] = true
		gone := w.decision.act == groupForget || w.decision.act == groupDrop && w.err == nil
		if gone && w.trouble == "" {
			continue
		}
		w.err = l.mgr.lacking(w.err, opRead, resourceGroup, w.at.group)
		states[w.at] = w.state(back, faults)
	}
	for _, name := range view.share {
		states[groupAt{name, "", -1}] = api.GroupState{
			Group: name, Partition: -1, SourceOffset: -1, DestOffset: -1, Wanted: -1,
			Problem: fmt.Sprintf("group %s is a share group: its position is not a committed offset and is not synced; after a failover it begins where its share.auto.offset.reset says", name),
		}
	}
	for group, text := range view.failed {
		if !worked[group] {
			states[groupAt{group, "", -1}] = api.GroupState{Group: group, Partition: -1, SourceOffset: -1, DestOffset: -1, Wanted: -1, Problem: text}
		}
	}
	touched := l.followed()
	l.groups.mu.Lock()
	defer l.groups.mu.Unlock()
	for at, s := range l.groups.states {
		if _, ok := states[at]; !ok && at.partition >= 0 && touched[topicPartition{at.topic, at.partition}] == nil {
			states[at] = s
		}
	}
	l.groups.states, l.groups.lastRun = states, now.UTC()
}

// state is one piece of work on the wire.
func (w *groupWork) state(back *destView, faults *groupFaults) api.GroupState {
	s := api.GroupState{
		Group: w.at.group, Topic: w.at.topic, Partition: w.at.partition,
		SourceOffset: w.decision.next.Source, DestOffset: w.facts.dest, Wanted: w.facts.wanted,
		Clamped: w.clamped, Owned: w.decision.owned,
	}
	if w.facts.source < 0 || !w.facts.located {
		s.Wanted = -1
	}
	if w.decision.act == groupWrite {
		s.Wanted = w.decision.next.Wrote
		if w.err == nil {
			s.DestOffset = w.decision.next.Wrote
		}
	}
	if back != nil {
		s.DestOffset = -1
		if c, ok := back.commits[w.at]; ok {
			s.DestOffset = c.At
		}
	}
	switch {
	case w.trouble != "":
		s.Problem = w.trouble
	case w.decision.problem != "":
		s.Problem = faults.add(w.at.group, codeGroupInUse, "%s", w.decision.problem)
	case groupInUse(w.err):
		s.Problem = faults.add(w.at.group, codeGroupInUse, "%s has members on this cluster: its offset is left alone until they stop", w.at)
	case w.err != nil:
		s.Problem = faults.add(w.at.group, taskErrorCode(w.err), "%s: write offset %d on this cluster: %v", w.at, w.decision.next.Wrote, w.err)
	case back != nil && back.failed[w.at.group] != nil:
		s.Problem = faults.add(w.at.group, taskErrorCode(back.failed[w.at.group]), "%s: read back from this cluster: %v", w.at, back.failed[w.at.group])
	case back != nil && s.Wanted >= 0 && s.DestOffset != s.Wanted:
		s.Problem = faults.add(w.at.group, codeGroupInUse, "%s: wrote %d, but %d stands on this cluster: somebody else writes it", w.at, s.Wanted, s.DestOffset)
	case !w.facts.located && w.facts.source >= 0:
		s.Problem = "the mirror does not know its position yet"
	}
	return s
}
