package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// Mirrors lists the mirrors of a link, or of all for api.AllLinks.
func (m *Manager) Mirrors(_ context.Context, link, wanted string) ([]api.Mirror, error) {
	links := m.all()
	if link != api.AllLinks {
		l, err := m.link(link)
		if err != nil {
			return nil, err
		}
		links = []*Link{l}
	}
	var out []api.Mirror
	for _, l := range links {
		for _, mt := range l.all() {
			if wanted == "" || mt.record().Status == wanted { // the lag of what nobody asked for costs a large link dear
				out = append(out, mt.describe(false))
			}
		}
	}
	return out, nil
}

// Mirror describes one mirror.
func (m *Manager) Mirror(_ context.Context, link, topic string, transitionErrors bool) (api.Mirror, error) {
	l, err := m.link(link)
	if err != nil {
		return api.Mirror{}, err
	}
	mt, err := l.mirror(topic)
	if err != nil {
		return api.Mirror{}, err
	}
	return mt.describe(transitionErrors), nil
}

// AlterMirrors promotes, fails over, pauses or resumes mirrors, each with its
// own result. It answers when the wish stands in the state topic; ending goes on
// in the background and shows as PENDING_STOPPED, then STOPPED.
func (m *Manager) AlterMirrors(ctx context.Context, link string, verb api.MirrorVerb, req api.AlterMirrors, validateOnly bool) ([]api.AlterMirrorResult, error) {
	l, err := m.link(link)
	if err != nil {
		return nil, err
	}
	if err := m.admit(ctx, l); err != nil {
		return nil, err
	}
	names, err := l.named(req)
	if err != nil {
		return nil, err
	}
	mirrors, refused := map[string]*MirrorTopic{}, map[string]error{}
	for _, name := range names {
		if mirrors[name], refused[name] = l.mirror(name); refused[name] != nil {
			delete(mirrors, name)
		}
	}
	for mt, err := range l.alter(ctx, slices.Collect(maps.Values(mirrors)), verb, validateOnly) {
		refused[mt.name()] = err
	}
	out := make([]api.AlterMirrorResult, len(names))
	for i, name := range names {
		out[i].MirrorTopicName = name
		out[i].MirrorLags = []api.MirrorLag{}
		if err := refused[name]; err != nil {
			out[i].Refuse(err)
		}
		if mt := mirrors[name]; mt != nil {
			out[i].MirrorLags = mt.lags()
		}
	}
	return out, nil
}

// named resolves names or a pattern; a pattern that matches nothing is told.
func (l *Link) named(req api.AlterMirrors) ([]string, error) {
	if req.MirrorTopicNamePattern == "" {
		names := slices.Clone(req.MirrorTopicNames)
		slices.Sort(names)
		return slices.Compact(names), nil
	}
	re, err := regexp.Compile("^(?:" + req.MirrorTopicNamePattern + ")$")
	if err != nil {
		return nil, api.BadRequest("mirror_topic_name_pattern %q is no regular expression: %v", req.MirrorTopicNamePattern, err)
	}
	var names []string
	for _, m := range l.all() {
		if re.MatchString(m.name()) {
			names = append(names, m.name())
		}
	}
	if len(names) == 0 {
		return nil, api.BadRequest("no mirror topic of cluster link '%s' matches the pattern %q", l.record().Name, req.MirrorTopicNamePattern)
	}
	return names, nil
}

// alter applies one verb to mirrors, each with its own result: their records change
// in one transaction.
func (l *Link) alter(ctx context.Context, mirrors []*MirrorTopic, verb api.MirrorVerb, validateOnly bool) map[*MirrorTopic]error {
	event := map[api.MirrorVerb]status.Event{
		api.VerbPromote: status.PromoteRequested, api.VerbFailover: status.FailoverRequested,
		api.VerbPause: status.Pause, api.VerbResume: status.Resume,
	}[verb]
	out := map[*MirrorTopic]error{}
	for _, m := range mirrors {
		_, out[m] = m.next(event, nil)
		if rec := m.record(); out[m] == nil && rec.Gone {
			out[m] = api.Malformed("Topic '%s' cannot be failed over: %s", rec.Topic, rec.Reason)
		}
	}
	if verb == api.VerbPromote {
		for m, err := range l.unpromotable(ctx, without(out)) {
			out[m] = err
		}
	}
	if validateOnly {
		return out
	}
	done := l.recordAll(ctx, out, func(m *MirrorTopic) (mirrorRecord, error) {
		return m.next(event, func(r *mirrorRecord) {
			if verb == api.VerbPromote || verb == api.VerbFailover {
				if r.Intent == "" {
					r.Before = m.record().Status
				}
				r.Intent = string(verb)
				r.StateTime = time.Now().UTC()
			}
		})
	})
	switch verb {
	case api.VerbPause:
		haltAll(done)
	case api.VerbResume, api.VerbPromote:
		for _, m := range done {
			m.startIn(l)
		}
	case api.VerbFailover:
		if len(done) > 0 {
			l.end(done)
		}
	}
	return out
}

// startIn starts the mirror under the link's context.
func (m *MirrorTopic) startIn(l *Link) {
	l.mu.Lock()
	ctx := l.run
	l.mu.Unlock()
	if ctx != nil && ctx.Err() == nil {
		m.start(ctx)
	}
}

// unpromotable refuses promotes that could never drain.
func (l *Link) unpromotable(ctx context.Context, mirrors []*MirrorTopic) map[*MirrorTopic]error {
	ctx, cancel := context.WithTimeout(ctx, sourceGrace)
	defer cancel()
	_, bad := l.sourceEnds(ctx, mirrors)
	for m, err := range bad {
		bad[m] = api.Malformed("Topic '%s' cannot be promoted: its source does not answer (%v). Failover does not need the source and accepts the loss of what was not mirrored.", m.name(), err)
	}
	return bad
}

// sourceEnds asks the source now for the high watermarks of mirrors. A mirror has
// those of all its partitions, or an error.
func (l *Link) sourceEnds(ctx context.Context, mirrors []*MirrorTopic) (map[*partition]int64, map[*MirrorTopic]error) {
	var tps []topicPartition
	for _, m := range mirrors {
		for _, p := range m.parts() {
			tps = append(tps, p.src)
		}
	}
	ends, errs := l.src.offsetsEach(ctx, replicaConsumer, offsetLatest, tps)
	out, bad := map[*partition]int64{}, map[*MirrorTopic]error{}
	now := time.Now()
	for _, m := range mirrors {
		for _, p := range m.parts() {
			end, ok := ends[p.src]
			if !ok {
				bad[m] = errs[p.src]
				if bad[m] == nil {
					bad[m] = fmt.Errorf("partition %d was not asked for yet", p.n)
				}
				continue
			}
			out[p] = end
			p.mu.Lock()
			p.lag.sample(now, end)
			p.mu.Unlock()
		}
	}
	return out, bad
}

// drainPromotes ends the promoted mirrors that have nothing left to mirror and
// gives up those that made no progress in time.
func (l *Link) drainPromotes(ctx context.Context, mirrors []*MirrorTopic) {
	var draining, drained []*MirrorTopic
	for _, m := range mirrors {
		rec := m.record()
		if rec.Status == status.PendingStopped.String() && rec.Intent == string(api.VerbPromote) && !rec.Fenced && !m.ending() {
			draining = append(draining, m)
		}
	}
	if len(draining) == 0 {
		return
	}
	ask, cancel := context.WithTimeout(ctx, sourceGrace)
	ends, bad := l.sourceEnds(ask, draining)
	cancel()
	for _, m := range draining {
		late := time.Since(m.lastProgress()) > l.config().PromoteTimeout
		p, end := m.undrained(ends)
		switch {
		case bad[m] == nil && p == nil:
			if m.claimEnd() {
				drained = append(drained, m)
			}
		case late && bad[m] != nil:
			l.giveUp(ctx, m, fmt.Sprintf("the source does not answer: %v", bad[m]))
		case late:
			l.giveUp(ctx, m, p.heldAt(ctx, end))
		}
	}
	if len(drained) > 0 {
		l.background(func(ctx context.Context) { l.finish(ctx, drained, func() {}) })
	}
}

// undrained is a partition that has not mirrored all up to the source's ends, and
// its end; nil if there is none.
func (m *MirrorTopic) undrained(ends map[*partition]int64) (*partition, int64) {
	for _, p := range m.parts() {
		end, asked := ends[p]
		p.mu.Lock()
		at, known := p.pos.source, p.pos.known
		p.mu.Unlock()
		if !asked || !known || at < end {
			return p, end
		}
	}
	return nil, 0
}

// heldAt says what keeps a partition from mirroring all up to end.
func (p *partition) heldAt(ctx context.Context, end int64) string {
	ctx, cancel := context.WithTimeout(ctx, sourceGrace)
	defer cancel()
	p.mu.Lock()
	at, stalled := p.pos.source, p.stalled
	p.mu.Unlock()
	why := fmt.Sprintf("partition %d stands at %d of %d", p.n, at, end)
	if stalled != "" {
		why += ": " + stalled
	}
	if lso, err := p.mirror.link.src.stableOffset(ctx, p.src.topic, p.n); err == nil && lso < end {
		why += fmt.Sprintf(": a transaction is open at the source from offset %d on; end it (kafka-transactions.sh find-hanging), or fail over without it", lso)
	}
	return why
}

// giveUp turns a promote that cannot drain back and remembers why.
func (l *Link) giveUp(ctx context.Context, m *MirrorTopic, why string) {
	reason := fmt.Sprintf("promote given up after %s without progress: %s", l.config().PromoteTimeout, why)
	if err := m.takeBack(ctx, "TIMEOUT", reason); err != nil {
		l.log.Error("a promote could not be given up", "topic", m.name(), "error", err)
		return
	}
	l.log.Warn("promote given up, the mirror goes on", "topic", m.name(), "reason", why)
}

// takeBack turns a stop back into what the mirror was before.
func (m *MirrorTopic) takeBack(ctx context.Context, code, reason string) error {
	before, err := status.Parse(m.record().Before)
	if err != nil {
		return err
	}
	event, err := status.GiveUp(before)
	if err != nil {
		return err
	}
	err = m.apply(ctx, event, func(r *mirrorRecord) {
		r.Intent, r.Before = "", ""
		r.remember(code, reason)
	})
	switch {
	case err != nil:
		return err
	case runs(before.String()):
		// A fault meanwhile has halted its partitions: they meet it again, and now
		// it shows as FAILED.
		m.startIn(m.link)
	default:
		m.halt()
	}
	return nil
}

// revoke turns the mirrors that an operation was draining back to ACTIVE, but
// for those whose writer is already fenced. It answers with the names that are
// past the point of no return.
func (l *Link) revoke(ctx context.Context) ([]string, error) {
	var past []string
	var errs []error
	for _, m := range l.all() {
		rec := m.record()
		switch {
		case rec.Status == status.Stopped.String():
		case rec.Status != status.PendingStopped.String():
		case rec.Fenced || rec.Intent == string(api.VerbFailover) || !m.claimEnd():
			past = append(past, rec.Topic)
		default: // claimed, so that it cannot drain and end meanwhile
			errs = append(errs, m.takeBack(ctx, "REVOKED", "the operation that promoted it was revoked"))
			m.unclaimEnd()
		}
	}
	return past, errors.Join(errs...)
}

// Segments gives the exact map of a mirror's offsets.
func (m *Manager) Segments(_ context.Context, link, topic string) (api.Segments, error) {
	var rec mirrorRecord
	ok, err := m.store.Get(mirrorKey(link, topic), &rec)
	if err == nil && !ok {
		ok, err = m.store.Get(formerKey(link, topic), &rec)
	}
	if err != nil {
		return api.Segments{}, err
	}
	if !ok {
		if _, err := m.link(link); err != nil {
			return api.Segments{}, err
		}
		return api.Segments{}, api.MirrorNotFound(link, topic)
	}
	out := api.Segments{Topic: rec.Topic, SourceTopic: rec.SourceTopic, SourceClusterID: rec.SourceClusterID, DestClusterID: rec.DestClusterID}
	for n := range rec.Partitions {
		segs, err := loadSegments(m.store, rec.TopicID, n)
		if err != nil {
			return out, err
		}
		ps := api.PartitionSegments{Partition: n, SourceStop: -1, DestStop: -1}
		var stop stopRecord
		if ok, err := m.store.Get(stopKey(rec.TopicID, n), &stop); err != nil {
			return out, err
		} else if ok {
			ps.SourceStop, ps.DestStop = stop.SourceStop, stop.DestStop
		}
		for _, s := range segs {
			ps.Segments = append(ps.Segments, api.Segment(s))
		}
		out.Partitions = append(out.Partitions, ps)
	}
	return out, nil
}

// deleteMirrorRecords forgets a mirror but for segments and stop offsets.
func (m *Manager) deleteMirrorRecords(ctx context.Context, recs ...mirrorRecord) error {
	var entries []state.Entry
	for _, r := range recs {
		entries = append(entries, state.Entry{Key: mirrorKey(r.Link, r.Topic)})
	}
	return m.put(ctx, 0, entries...)
}
