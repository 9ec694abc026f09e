package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// ComputeLedger reads, for every mirror of the link that is STOPPED, what its
// source has behind the stop offsets. Decisions that were taken stay, unless the
// source got further records since: then the entry is undecided again, since
// those were not decided on. A source that does not answer is a 503.
func (m *Manager) ComputeLedger(ctx context.Context, link string) (api.Ledger, error) {
	l, err := m.link(link)
	if err != nil {
		return api.Ledger{}, err
	}
	if err := m.admit(ctx, l); err != nil {
		return api.Ledger{}, err
	}
	l.ledgerRun.Lock()
	defer l.ledgerRun.Unlock()
	var ended []mirrorRecord
	var topics []string
	for _, mt := range l.all() {
		if rec := mt.record(); rec.Status == status.Stopped.String() && !rec.Reversed {
			ended = append(ended, rec)
			topics = append(topics, rec.SourceTopic)
		}
	}
	if len(ended) > 0 {
		if err := l.src.refresh(ctx, topics...); err != nil {
			return api.Ledger{}, api.Unavailable("the source of cluster link '%s' (cluster %s) does not answer: %v", link, l.record().SourceClusterID, err)
		}
		c := &computation{link: l, now: time.Now().UTC()}
		if c.commits, err = l.sourceCommits(ctx); err != nil {
			return api.Ledger{}, err
		}
		for _, rec := range ended {
			if err := c.mirror(ctx, rec); err != nil {
				return api.Ledger{}, fmt.Errorf("ledger of %s: %w", rec.Topic, err)
			}
		}
	}
	return l.ledger()
}

// computation is one pass over the ended mirrors.
type computation struct {
	link    *Link
	now     time.Time
	commits map[topicPartition]map[string]int64 // by source partition and group
}

// sourceCommits are all groups' committed offsets at the old primary, those of
// the synced groups as last seen where it does not tell them.
func (l *Link) sourceCommits(ctx context.Context) (map[topicPartition]map[string]int64, error) {
	out := map[topicPartition]map[string]int64{}
	set := func(tp topicPartition, group string, offset int64) {
		if out[tp] == nil {
			out[tp] = map[string]int64{}
		}
		out[tp][group] = offset
	}
	if _, err := l.knownGroups(); err != nil {
		return nil, err
	}
	l.groups.dest.Lock()
	for at, rec := range l.groups.records {
		if m, err := l.mirror(at.topic); err == nil && rec.Source >= 0 {
			set(topicPartition{m.record().SourceTopic, at.partition}, at.group, rec.Source)
		}
	}
	l.groups.dest.Unlock()
	listed, err := listGroups(ctx, l.src)
	if err != nil {
		l.log.Warn("the old primary does not tell all its groups: what they would read again is counted from what was last seen", "error", err)
	}
	var names []string
	for name, g := range listed {
		if !g.share() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for group, res := range l.src.committed(ctx, names) {
		if res.Err != nil && !errors.Is(res.Err, kerr.GroupIDNotFound) {
			l.log.Warn("a group's offsets at the old primary are unknown", "group", group, "error", res.Err)
			continue
		}
		res.Fetched.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil && o.At >= 0 {
				set(topicPartition{o.Topic, o.Partition}, group, o.At)
			}
		})
	}
	return out, nil
}

func (c *computation) mirror(ctx context.Context, rec mirrorRecord) error {
	l := c.link
	mt, err := l.mirror(rec.Topic)
	if err != nil {
		return err
	}
	src, _ := l.src.topic(rec.SourceTopic)
	gone := ""
	switch {
	case errors.Is(src.err, kerr.UnknownTopicOrPartition):
		gone = fmt.Sprintf("source topic %s does not exist any more", rec.SourceTopic)
	case src.err != nil:
		return fmt.Errorf("source topic %s: %w", rec.SourceTopic, src.err)
	case src.id != [16]byte{} && idString(src.id) != rec.SourceTopicID:
		gone = fmt.Sprintf("source topic %s was deleted and made anew", rec.SourceTopic)
	}
	stops := map[int32]stopRecord{}
	last := map[int32]int64{}
	for _, p := range mt.parts() {
		p.mu.Lock()
		if p.stop != nil {
			stops[p.n], last[p.n] = *p.stop, p.lag.highWatermark()
		}
		p.mu.Unlock()
	}
	if gone != "" {
		return c.gone(ctx, rec, stops, last, gone)
	}
	tps := make([]topicPartition, len(src.leaders))
	for n := range tps {
		tps[n] = topicPartition{rec.SourceTopic, int32(n)}
	}
	var starts, ends map[topicPartition]int64
	err = patiently(ctx, func() (err error) {
		if ends, err = l.src.offsets(ctx, replicaConsumer, offsetLatest, tps...); err == nil {
			starts, err = l.src.offsets(ctx, replicaConsumer, offsetEarliest, tps...)
		}
		return err
	})
	if err != nil {
		return api.Unavailable("the source does not tell where %s starts and ends: %v", rec.SourceTopic, err)
	}
	compacted, err := l.compacted(ctx, rec.Topic)
	if err != nil {
		return err
	}
	for n := range tps {
		stop, mirrored := stops[int32(n)]
		if !mirrored { // the source grew and the mirror never followed
			stop = stopRecord{Partition: int32(n)}
		}
		r := rangeOf{src: tps[n], mirror: rec, stop: stop, start: starts[tps[n]], end: ends[tps[n]], compacted: compacted}
		if err := c.partition(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// gone closes the entries of a topic whose source has lost it: nothing is left
// to decide on, and what was there is unrecoverable.
func (c *computation) gone(ctx context.Context, rec mirrorRecord, stops map[int32]stopRecord, last map[int32]int64, why string) error {
	var recs []ledgerRecord
	for n, stop := range stops {
		r, err := c.stored(rec, n)
		if err != nil {
			return err
		}
		switch r.Entry.Decision {
		case api.LedgerAppended, api.LedgerExported, api.LedgerDiscarded:
			continue
		}
		seen := max(last[n], r.Entry.To, stop.SourceStop)
		r.Entry.From, r.Entry.To, r.Entry.Records = stop.SourceStop, seen, 0
		r.Entry.Unrecoverable, r.Entry.Gaps = r.lost()+seen-stop.SourceStop, r.gaps()
		if seen > stop.SourceStop {
			r.Entry.Gaps = append(r.Entry.Gaps, api.LedgerGap{From: stop.SourceStop, To: seen, Cause: api.GapDeleted})
		}
		r.Entry.Decision, r.Entry.Reason = api.LedgerNothing, why
		r.ComputedAt = c.now
		recs = append(recs, r)
	}
	return c.link.putLedger(ctx, recs...)
}

func (c *computation) stored(rec mirrorRecord, n int32) (ledgerRecord, error) {
	r := ledgerRecord{Entry: api.LedgerEntry{
		Topic: rec.Topic, SourceTopic: rec.SourceTopic, Partition: n, Decision: api.LedgerUndecided, AppendedFrom: -1, AppendedTo: -1,
	}}
	_, err := c.link.mgr.store.Get(ledgerKey(rec.Link, rec.Topic, n), &r)
	return r, err
}

// rangeOf is what the old primary has behind one partition's stop offset.
type rangeOf struct {
	src        topicPartition
	mirror     mirrorRecord
	stop       stopRecord
	start, end int64
	compacted  bool
}

func (c *computation) partition(ctx context.Context, g rangeOf) error {
	r, err := c.stored(g.mirror, g.src.partition)
	if err != nil {
		return err
	}
	from, to := g.stop.SourceStop, max(g.end, g.stop.SourceStop)
	decided := false
	switch r.Entry.Decision {
	case api.LedgerAppended, api.LedgerExported, api.LedgerDiscarded:
		decided = !r.ComputedAt.IsZero()
	}
	if to > from {
		lso, err := c.link.src.stableOffset(ctx, g.src.topic, g.src.partition)
		if err != nil {
			return err
		}
		if lso < to {
			return api.Unavailable("a transaction is open at the old primary on %s partition %d from offset %d (its log ends at %d): its records may still be aborted; try again when it has ended, or end it (kafka-transactions.sh find-hanging)", g.src.topic, g.src.partition, lso, to)
		}
	}
	if decided {
		more, err := c.more(ctx, g, r, to)
		if err != nil || !more {
			return err
		}
		if r.Entry.Decision == api.LedgerAppended {
			r.Intent = api.LedgerAppended // it can only be finished
		}
		r.Entry.Reason = fmt.Sprintf("%s by %s up to source offset %d, then the old primary got more", r.Entry.Decision, r.Entry.DecidedBy, r.Entry.To)
	}
	begun := r.Entry.Appended
	r.Entry = api.LedgerEntry{
		Topic: r.Entry.Topic, SourceTopic: r.Entry.SourceTopic, Partition: r.Entry.Partition, From: from, To: to,
		Compacted: g.compacted, Unrecoverable: r.lost() + max(0, min(g.start, to)-from), Gaps: r.gaps(), Decision: api.LedgerUndecided,
		DecidedBy: r.Entry.DecidedBy, Reason: r.Entry.Reason, Appended: begun, AppendedFrom: r.Entry.AppendedFrom, AppendedTo: r.Entry.AppendedTo,
	}
	if err := c.count(ctx, g, &r.Entry); err != nil {
		return err
	}
	if r.Entry.Records == 0 {
		r.Entry.Decision = api.LedgerNothing
	}
	r.ComputedAt = c.now
	return c.link.putLedger(ctx, r)
}

// more tells whether records came behind what was decided on.
func (c *computation) more(ctx context.Context, g rangeOf, r ledgerRecord, to int64) (bool, error) {
	errFound := errors.New("found")
	err := c.link.src.scan(ctx, g.src, max(r.Entry.To, g.start), to, true, func(*batch.Record) error { return errFound })
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// count reads the range and the new primary behind the stop offset.
func (c *computation) count(ctx context.Context, g rangeOf, e *api.LedgerEntry) error {
	later := c.link.newLater(g.mirror, e.Partition)
	reread := newRereaders(c.commits[g.src], e.From)
	if deleted := min(g.start, e.To); deleted > e.From {
		e.Gaps = append(e.Gaps, api.LedgerGap{From: e.From, To: deleted, Cause: api.GapRetention})
	}
	holes := &holes{at: max(e.From, g.start)}
	err := c.link.src.walk(ctx, g.src, max(e.From, g.start), e.To, true, holes.held, func(r *batch.Record) error {
		reread.at(r.Offset)
		e.Records++
		e.Bytes += int64(len(r.Key) + len(r.Value))
		for _, h := range r.Headers {
			e.Bytes += int64(len(h.Key) + len(h.Value))
		}
		if t := time.UnixMilli(r.Timestamp).UTC(); r.Timestamp >= 0 {
			if e.FirstTime.IsZero() || t.Before(e.FirstTime) {
				e.FirstTime = t
			}
			if t.After(e.LastTime) {
				e.LastTime = t
			}
		}
		if r.Key != nil {
			e.Keyed++
			later.watch(r.Key, r.Offset)
		}
		return nil
	})
	if err != nil {
		return err
	}
	found, more := holes.until(e.To)
	e.GapsLeftOut = more
	for _, h := range found {
		e.Gaps = append(e.Gaps, api.LedgerGap{From: h.From, To: h.To, Cause: api.GapCompaction})
	}
	e.Redelivered = reread.counts()
	if e.Keyed > 0 {
		if err := later.follow(ctx, false); err != nil {
			return err
		}
		e.Superseded, e.SupersededKeys, e.SupersededAt = later.superseded(), int64(len(later.later)), later.sample()
	}
	return nil
}

// compacted tells whether the new primary's topic is; one that was deleted there
// since is not.
func (l *Link) compacted(ctx context.Context, topic string) (bool, error) {
	policy, err := configOf(ctx, l.mgr.local, topic, "cleanup.policy")
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return false, nil
	}
	return slices.Contains(strings.Split(policy, ","), "compact"), err
}

func configOf(ctx context.Context, c *cluster, topic, key string) (string, error) {
	res, err := c.adm.DescribeTopicConfigs(ctx, topic)
	if err == nil {
		var rc kadm.ResourceConfig
		if rc, err = res.On(topic, nil); err == nil {
			err = rc.Err
		}
		for _, c := range rc.Configs {
			if c.Key == key && c.Value != nil {
				return *c.Value, nil
			}
		}
	}
	if err != nil {
		return "", fmt.Errorf("configs of %s: %w", topic, err)
	}
	return "", nil
}

// rereaders counts, per group, the records before its committed offset: it has
// read them on the old primary and will be given them again. Offsets come in
// ascending order.
type rereaders struct {
	groups []rereader // ascending by commit
	done   int        // groups before it are counted
	seen   int64
	out    map[string]int64
}

type rereader struct {
	group  string
	commit int64
}

func newRereaders(commits map[string]int64, from int64) *rereaders {
	r := &rereaders{out: map[string]int64{}}
	for g, c := range commits {
		if c > from {
			r.groups = append(r.groups, rereader{g, c})
		}
	}
	slices.SortFunc(r.groups, func(a, b rereader) int {
		if a.commit != b.commit {
			if a.commit < b.commit {
				return -1
			}
			return 1
		}
		return strings.Compare(a.group, b.group)
	})
	return r
}

func (r *rereaders) at(offset int64) {
	for r.done < len(r.groups) && r.groups[r.done].commit <= offset {
		r.count()
	}
	r.seen++
}

func (r *rereaders) count() {
	if r.seen > 0 {
		r.out[r.groups[r.done].group] = r.seen
	}
	r.done++
}

func (r *rereaders) counts() map[string]int64 {
	for r.done < len(r.groups) {
		r.count()
	}
	if len(r.out) == 0 {
		return nil
	}
	return r.out
}
