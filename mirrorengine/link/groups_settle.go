package link

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// settleLook bounds the last look at a source that seems to be alive, when a
// mirror ends. A promote has just drained it; a failover waits for as little as
// can be, since what is known without the look is enough to go on.
const (
	settleLookPromote  = 5 * time.Second
	settleLookFailover = time.Second
)

func settleLook(mirrors []*MirrorTopic) time.Duration {
	for _, m := range mirrors {
		if m.record().Intent != string(api.VerbPromote) {
			return settleLookFailover
		}
	}
	return settleLookPromote
}

// settleGroups is the last word on the groups of mirrors that end: it runs when
// their stop offsets stand and before they are STOPPED. Every synced group is
// translated once more against the stop offsets, from the raw offset that the
// source last told (now, if it still answers): an earlier translation may have
// been clamped. A partition of a synced group without a commit gets an explicit
// one at the mirror's first record, or auto.offset.reset could skip it.
//
// Its error is for the log: it names the groups that could not be settled, and
// no group keeps a mirror from ending.
func (l *Link) settleGroups(ctx context.Context, mirrors []*MirrorTopic) error {
	if !l.config().OffsetSync || len(mirrors) == 0 {
		return nil
	}
	view := sourceView{}
	if l.reachable() {
		known, err := l.knownGroups()
		if err != nil {
			return err
		}
		within := settleLook(mirrors)
		look, cancel := context.WithTimeout(ctx, within)
		got, err := await(look, func() (sourceView, error) {
			// Asked for less than that, so that what some coordinators told comes back where others do not answer. A
			// broker that does not list its groups uses the time up for all: then the last round counts.
			ctx, cancel := context.WithTimeout(look, within*3/4)
			defer cancel()
			return l.sourceGroups(ctx, known, false)
		})
		cancel()
		if err == nil {
			view, err = got, got.faults.err()
		}
		if err != nil {
			l.log.Warn("the source did not tell all of its groups for the last time, taking what is known", "error", err)
		}
	}
	l.groups.dest.Lock()
	defer l.groups.dest.Unlock()
	if err := l.loadGroups(); err != nil {
		return err
	}
	parts := map[topicPartition]*partition{}
	for _, m := range mirrors {
		for _, p := range m.parts() {
			p.mu.Lock()
			ended := p.stop != nil
			p.mu.Unlock()
			if ended {
				parts[p.dst] = p
			}
		}
	}
	starts := l.logStarts(ctx, parts)
	work := withPartitions(l.groupWork(view, parts), parts)
	now := time.Now()
	faults := groupFaults{}
	dest := l.destGroups(ctx, groupsOf(work))
	// Nobody repairs a group once its mirror is STOPPED. So what the source did not tell now, or tells no more,
	// is as it told it last, and only trouble with this cluster leaves a group as it is.
	last := view
	last.answered, last.failed, last.unknown = nil, nil, nil
	work = l.decideAll(work, last, dest, parts, &faults, now, offsetRetention)
	for i := range work {
		settle(&work[i], starts)
	}
	if err := l.carryOut(ctx, work); err != nil {
		return err
	}
	l.tellGroups(work, view, nil, &faults, now)
	if err := faults.err(); err != nil {
		return fmt.Errorf("some group offsets could not be settled: %w", err)
	}
	return nil
}

// without are the mirrors that have no error.
func without(mirrors map[*MirrorTopic]error) []*MirrorTopic {
	var out []*MirrorTopic
	for m, err := range mirrors {
		if err == nil {
			out = append(out, m)
		}
	}
	return out
}

// settle decides once more with what holds at the end: below the log's start
// there is nothing to read, nothing is deleted any more, and where there is no
// commit it is made explicit.
func settle(w *groupWork, starts map[topicPartition]int64) {
	start := starts[topicPartition{w.at.topic, w.at.partition}]
	f := w.facts
	f.mayDrop = false
	f.explicit = start
	f.wanted = max(f.wanted, start)
	w.facts = f
	w.decision = decideGroup(f)
	w.giveUpIfTroubled()
}

// withPartitions adds, per group and topic that the work speaks of, the
// partitions that it does not.
func withPartitions(work []groupWork, parts map[topicPartition]*partition) []groupWork {
	type groupTopic struct{ group, topic string }
	have := map[groupAt]bool{}
	synced := map[groupTopic]bool{}
	for _, w := range work {
		have[w.at] = true
		synced[groupTopic{w.at.group, w.at.topic}] = true
	}
	of := map[string][]int32{}
	for tp := range parts {
		of[tp.topic] = append(of[tp.topic], tp.partition)
	}
	for gt := range synced {
		for _, n := range of[gt.topic] {
			if at := (groupAt{gt.group, gt.topic, n}); !have[at] {
				work = append(work, groupWork{at: at})
			}
		}
	}
	sortWork(work)
	return work
}

// logStarts are the destination's log starts; a partition that does not tell
// counts from 0.
func (l *Link) logStarts(ctx context.Context, parts map[topicPartition]*partition) map[topicPartition]int64 {
	tps := make([]topicPartition, 0, len(parts))
	for tp := range parts {
		tps = append(tps, tp)
	}
	starts, err := l.mgr.local.offsets(ctx, replicaConsumer, offsetEarliest, tps...)
	if err != nil {
		l.log.Warn("log starts of ended mirrors are unknown, groups without a commit begin at 0", "error", err)
	}
	return starts
}

// OwnGroups makes the values that stand on the destination this link's own: the
// direction of a pair has changed, with the groups stopped. What was taken over
// is kept at the translation of the source's offset from then on.
func (m *Manager) OwnGroups(ctx context.Context, link string, take api.TakeOwnership) (api.GroupSync, error) {
	l, err := m.link(link)
	if err != nil {
		return api.GroupSync{}, err
	}
	if err := m.admit(ctx, l); err != nil {
		return api.GroupSync{}, err
	}
	cfg := l.config()
	wanted := map[string]bool{}
	var unmatched []string
	for _, g := range take.Groups {
		wanted[g] = true
		if !cfg.OffsetSync || !cfg.Groups.Match(g) {
			unmatched = append(unmatched, g)
		}
	}
	if len(unmatched) > 0 {
		return api.GroupSync{}, api.BadRequest("cluster link '%s' does not sync %s: widen %s (and set %s=true), or leave them out", link, strings.Join(unmatched, ", "), keyGroupFilters, keyOffsetSync)
	}
	if cfg.OffsetSync {
		if err := l.ownGroups(ctx, take.Groups, func(g string) bool { return len(wanted) == 0 || wanted[g] }); err != nil {
			return api.GroupSync{}, err
		}
	}
	return l.groupStates()
}

// ownGroups takes over what stands on the destination. Groups with members
// there are named and left.
func (l *Link) ownGroups(ctx context.Context, named []string, take func(string) bool) error {
	l.groups.round.Lock()
	defer l.groups.round.Unlock()
	known, err := l.knownGroups()
	if err != nil {
		return err
	}
	listed, err := listGroups(ctx, l.mgr.local)
	if err != nil {
		return fmt.Errorf("groups of this cluster: %w", err)
	}
	filter := l.config().Groups
	known = append(known, named...)
	for g, of := range listed {
		if filter.Match(g) && !of.share() {
			known = append(known, g)
		}
	}
	view, err := l.sourceGroups(ctx, compact(known), true)
	if err != nil {
		return err
	}
	now := time.Now()
	l.groups.dest.Lock()
	defer l.groups.dest.Unlock()
	// Of ended mirrors too: when the direction of a pair changes they are STOPPED
	// still, and rejoin when the groups are in use on the other side.
	parts := l.mirrored(true)
	dest := l.destGroups(ctx, compact(known))
	faults := view.faults
	work := l.groupWork(view, parts)
	have := map[groupAt]bool{}
	for _, w := range work {
		have[w.at] = true
	}
	for at := range dest.commits {
		if parts[topicPartition{at.topic, at.partition}] != nil && filter.Match(at.group) && !have[at] {
			work = append(work, groupWork{at: at})
		}
	}
	sortWork(work)
	work = l.decideAll(work, view, dest, parts, &faults, now, offsetRetention)
	for i := range work {
		takeOver(&work[i], take, now)
	}
	if err := l.carryOut(ctx, work); err != nil {
		return err
	}
	l.tellGroups(work, view, nil, &faults, now)
	return nil
}

// takeOver turns a decision into one that only takes over or only keeps:
// nothing is written on the destination here.
func takeOver(w *groupWork, take func(string) bool, now time.Time) {
	d := &w.decision
	if w.trouble != "" {
		return
	}
	if w.facts.rec != nil {
		d.next.Wrote, d.next.Before, d.next.WroteAt = w.facts.rec.Wrote, w.facts.rec.Before, w.facts.rec.WroteAt
	} else {
		d.next.Wrote, d.next.Before, d.next.WroteAt = -1, -1, time.Time{}
	}
	d.act = groupKeep
	if w.facts.dest < 0 || w.facts.inUse || !take(w.at.group) {
		if w.facts.rec == nil && w.facts.source < 0 {
			d.act = groupForget
		}
		return
	}
	d.next.Wrote, d.next.Before, d.next.WroteAt = w.facts.dest, w.facts.dest, now
	d.owned, d.problem = true, ""
}
