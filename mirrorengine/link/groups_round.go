package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// groupCommits is the number of groups that are written at a time.
const groupCommits = 16

// groupWork is one group and partition on its way through a round.
type groupWork struct {
	at       groupAt
	facts    groupFacts
	decision groupDecision
	clamped  bool
	// trouble: a look failed, nothing can be decided this time.
	trouble string
	// err is what the destination said to the write or the delete.
	err error
}

// syncGroups is one round over the mirrors that still follow their source:
// look at the source, look at the destination, decide, record, write. exact
// asks for stable source offsets and reads the destination back.
func (l *Link) syncGroups(ctx context.Context, exact bool) (groupFaults, error) {
	l.groups.round.Lock()
	defer l.groups.round.Unlock()
	known, err := l.knownGroups()
	if err != nil {
		return groupFaults{}, err
	}
	view, err := l.sourceGroups(ctx, known, exact)
	if err != nil {
		return groupFaults{}, err
	}
	l.doubtGone(ctx, &view)
	now := time.Now()
	refresh := l.refreshEvery(ctx, now)

	l.groups.dest.Lock()
	defer l.groups.dest.Unlock()
	parts := l.followed()
	work := l.groupWork(view, parts)
	dest := l.destGroups(ctx, groupsOf(work))
	faults := view.faults
	work = l.decideAll(work, view, dest, parts, &faults, now, refresh)
	if err := l.carryOut(ctx, work); err != nil {
		return faults, err
	}
	var back *destView
	if exact {
		v := l.destGroups(ctx, groupsOf(work))
		back = &v
	}
	l.tellGroups(work, view, back, &faults, now)
	return faults, nil
}

// knownGroups are the groups that there are records of.
func (l *Link) knownGroups() ([]string, error) {
	l.groups.dest.Lock()
	defer l.groups.dest.Unlock()
	if err := l.loadGroups(); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for at := range l.groups.records {
		names[at.group] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// followed are the partitions whose groups are synced: of mirrors that are
// made and have not ended. From its stop offset on, a partition's groups are
// the applications'.
func (l *Link) followed() map[topicPartition]*partition { return l.mirrored(false) }

// mirrored are the partitions of mirrors that are made; of ended ones if asked.
func (l *Link) mirrored(evenEnded bool) map[topicPartition]*partition {
	out := map[topicPartition]*partition{}
	for _, m := range l.all() {
		if s := m.record().Status; s == status.PendingMirror.String() || s == status.Stopped.String() && !evenEnded {
			continue
		}
		for _, p := range m.parts() {
			p.mu.Lock()
			ended := p.stop != nil
			p.mu.Unlock()
			if !ended || evenEnded {
				out[p.dst] = p
			}
		}
	}
	return out
}

// groupWork lists what the source has and what there are records of. Called
// with dest.
func (l *Link) groupWork(view sourceView, parts map[topicPartition]*partition) []groupWork {
	filter := l.config().Groups
	ats := map[groupAt]bool{}
	for at := range view.commits {
		ats[at] = true
	}
	for at := range view.unknown {
		ats[at] = true
	}
	for at := range l.groups.records {
		if filter.Match(at.group) {
			ats[at] = true
		}
	}
	var work []groupWork
	for at := range ats {
		if parts[topicPartition{at.topic, at.partition}] != nil {
			work = append(work, groupWork{at: at})
		}
	}
	sortWork(work)
	return work
}

func sortWork(work []groupWork) {
	slices.SortFunc(work, func(a, b groupWork) int { return compareGroupAt(a.at, b.at) })
}

// compact sorts names and drops those that come twice.
func compact(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func groupsOf(work []groupWork) []string {
	var names []string
	for _, w := range work {
		if n := len(names); n == 0 || names[n-1] != w.at.group {
			names = append(names, w.at.group)
		}
	}
	return slices.Compact(names)
}

// decideAll gathers the facts of each piece of work and decides. Called with
// dest.
func (l *Link) decideAll(work []groupWork, view sourceView, dest destView, parts map[topicPartition]*partition, faults *groupFaults, now time.Time, refresh time.Duration) []groupWork {
	out := work[:0:0]
	for _, w := range work {
		p := parts[topicPartition{w.at.topic, w.at.partition}]
		f := groupFacts{
			at: w.at, source: -1, dest: -1, explicit: -1, answered: view.answered[w.at.group], inUse: dest.inUse[w.at.group],
			mayDrop: view.stands[w.at.topic] && p.mirror.record().Status == status.Active.String(), now: now, refresh: refresh,
		}
		if rec, ok := l.groups.records[w.at]; ok {
			f.rec = &rec
			if !f.answered {
				f.source, f.metadata = rec.Source, rec.Metadata
			}
		}
		if c, ok := view.commits[w.at]; ok {
			f.source, f.metadata = c.At, c.Metadata
		}
		if c, ok := dest.commits[w.at]; ok {
			f.dest = c.At
		}
		if f.source >= 0 {
			f.wanted, w.clamped, f.located = p.translate(f.source)
		}
		w.facts = f
		w.decision = decideGroup(f)
		w.trouble = view.trouble(w.at)
		if err := dest.failed[w.at.group]; err != nil && w.trouble == "" {
			w.trouble = faults.add(w.at.group, taskErrorCode(err), "group %s: its offsets on this cluster: %v", w.at.group, l.mgr.lacking(err, opRead, resourceGroup, w.at.group))
		}
		w.giveUpIfTroubled()
		out = append(out, w)
	}
	return out
}

// giveUpIfTroubled leaves everything as it is where a look has failed.
func (w *groupWork) giveUpIfTroubled() {
	if w.trouble == "" {
		return
	}
	w.decision.problem = ""
	if w.facts.rec == nil {
		w.decision.act = groupForget
		return
	}
	w.decision.act, w.decision.next = groupKeep, *w.facts.rec
}

// translate is where a group stands in the mirror that has committed src at
// the source; false while the partition does not know its own position. A
// group at the tip stands at the log's end, behind markers too: there the next
// record will be.
func (p *partition) translate(src int64) (dest int64, clamped, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pos.known || p.omap == nil {
		return -1, false, false
	}
	sourceEnd, destEnd := p.pos.source, p.pos.dest
	if p.stop != nil {
		sourceEnd, destEnd = p.stop.SourceStop, p.stop.DestStop
	}
	dest, clamped = p.omap.ToDest(src, sourceEnd, destEnd)
	return dest, clamped, true
}

// carryOut stores the records in one transaction, then writes group by group.
// The record goes first: after a crash between the two the destination's value
// is still known as ours, old or new. Its error is the state topic's; what the
// destination refuses stands in the work. Called with dest.
func (l *Link) carryOut(ctx context.Context, work []groupWork) error {
	link := l.record().Name
	var entries []state.Entry
	for _, w := range work {
		switch w.decision.act {
		case groupForget:
			if w.facts.rec != nil {
				entries = append(entries, state.Entry{Key: w.at.key(link)})
			}
		case groupKeep, groupWrite:
			if w.facts.rec == nil || *w.facts.rec != w.decision.next {
				entries = append(entries, state.Entry{Key: w.at.key(link), Value: w.decision.next})
			}
		case groupDrop:
		}
	}
	if err := l.mgr.put(ctx, 0, entries...); err != nil {
		return fmt.Errorf("record group offsets of link %s: %w", link, err)
	}
	for _, w := range work {
		switch w.decision.act {
		case groupForget:
			delete(l.groups.records, w.at)
		case groupKeep, groupWrite:
			l.groups.records[w.at] = w.decision.next
		case groupDrop:
		}
	}
	l.writeAll(ctx, work)
	var gone []state.Entry
	for i := range work {
		w := &work[i]
		switch {
		case w.err != nil:
		case w.decision.act == groupWrite:
			// Confirmed: only the new value is ours from here on.
			rec := l.groups.records[w.at]
			rec.Before = rec.Wrote
			l.groups.records[w.at] = rec
		case w.decision.act == groupDrop:
			delete(l.groups.records, w.at)
			gone = append(gone, state.Entry{Key: w.at.key(link)})
		}
	}
	return l.mgr.put(ctx, 0, gone...)
}

// writeAll commits and deletes, some groups at a time.
func (l *Link) writeAll(ctx context.Context, work []groupWork) {
	byGroup := map[string][]*groupWork{}
	for i := range work {
		if act := work[i].decision.act; act == groupWrite || act == groupDrop {
			byGroup[work[i].at.group] = append(byGroup[work[i].at.group], &work[i])
		}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, groupCommits)
	for group, list := range byGroup {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			l.writeGroup(ctx, group, list)
		})
	}
	wg.Wait()
}

func (l *Link) writeGroup(ctx context.Context, group string, list []*groupWork) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	commits, drops := kadm.Offsets{}, kadm.TopicsSet{}
	for _, w := range list {
		if w.decision.act == groupDrop {
			drops.Add(w.at.topic, w.at.partition)
			continue
		}
		commits.Add(kadm.Offset{Topic: w.at.topic, Partition: w.at.partition, At: w.decision.next.Wrote, LeaderEpoch: -1, Metadata: w.decision.next.Metadata})
	}
	var committed kadm.OffsetResponses
	var deleted kadm.DeleteOffsetsResponses
	var commitErr, dropErr error
	if len(commits) > 0 {
		_ = patiently(ctx, func() error { // told per partition below
			if committed, commitErr = l.mgr.local.adm.CommitOffsets(ctx, group, commits); commitErr != nil {
				return commitErr
			}
			return committed.Error()
		})
	}
	if len(drops) > 0 {
		_ = patiently(ctx, func() error {
			if deleted, dropErr = l.mgr.local.adm.DeleteOffsets(ctx, group, drops); dropErr != nil {
				return dropErr
			}
			return deleted.Error()
		})
	}
	for _, w := range list {
		if w.decision.act == groupDrop {
			err, _ := deleted.Lookup(w.at.topic, w.at.partition)
			w.err = errors.Join(dropErr, err)
			continue
		}
		res, _ := committed.Lookup(w.at.topic, w.at.partition)
		w.err = errors.Join(commitErr, res.Err)
	}
}
