package link

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// What the source deletes while the mirror is behind. A partition's tip is the
// last time at which the mirror is known to have held everything that the source
// had, on the engine's clock; what is not mirrored was written after it. So:
//   - the source's retention.ms reaches it no sooner than tip + retention.ms, and
//     a warning comes ahead of that;
//   - on a compacted topic a tombstone that was written since may be gone once the
//     tip is older than delete.retention.ms. A key that was deleted would live on
//     in the mirror: where the log has holes then, the mirror is FAILED.

// taskRetention is the engine's own task that looks at it, every retentionEvery.
const (
	taskRetention  = "SourceRetention"
	retentionEvery = 30 * time.Second
	// tipKept is the part of a retention that a tip on record may be older.
	tipKept = 10
)

// sourceFacts are the source topic's configs that decide when records go; -1 is
// no limit.
type sourceFacts struct {
	known           bool
	compacted       bool
	deleteRetention time.Duration
	retention       time.Duration
	retentionBytes  int64
}

func factsOf(configs map[string]topicConfig) sourceFacts {
	millis := func(name string) time.Duration {
		if n := number(configs[name].value); n > 0 && n < maxMillis {
			return time.Duration(n) * time.Millisecond
		}
		return -1
	}
	policy := configs["cleanup.policy"].value
	f := sourceFacts{
		known: true, compacted: strings.Contains(policy, "compact"), retention: -1, retentionBytes: -1, deleteRetention: millis("delete.retention.ms"),
	}
	if strings.Contains(policy, "delete") {
		f.retention = millis("retention.ms")
		if n := number(configs["retention.bytes"].value); n > 0 {
			f.retentionBytes = n
		}
	}
	return f
}

// horizon is the sooner of the two times by which a mirror must have caught up.
func (f sourceFacts) horizon() time.Duration {
	switch {
	case !f.compacted || f.deleteRetention < 0:
		return f.retention
	case f.retention < 0:
		return f.deleteRetention
	}
	return min(f.retention, f.deleteRetention)
}

// tombstonesGone: one that was written that long ago may be.
func (f sourceFacts) tombstonesGone(ago time.Duration) bool {
	return f.compacted && f.deleteRetention >= 0 && ago > f.deleteRetention
}

func (m *MirrorTopic) learn(f sourceFacts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.facts = f
}

func (m *MirrorTopic) sourceFacts() sourceFacts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.facts
}

// heldAt is the newest time at which the source is known to have had no more
// than what lies below position.
func (l *lagClock) heldAt(position int64) (time.Time, bool) {
	for _, s := range slices.Backward(l.samples) {
		if s.hw <= position {
			return s.at, true
		}
	}
	return time.Time{}, false
}

// tipNow is the partition's tip. Called with mu.
func (p *partition) tipNow() time.Time {
	if !p.pos.known {
		return p.tip
	}
	if at, ok := p.lag.heldAt(p.pos.source); ok && at.After(p.tip) {
		p.tip = at
	}
	for len(p.marks) > 0 && p.marks[0].hw <= p.pos.source {
		if p.marks[0].at.After(p.tip) {
			p.tip = p.marks[0].at
		}
		p.marks = p.marks[1:]
	}
	return p.tip
}

// mark keeps a high watermark of now, so that a mirror that is steadily behind
// by more than the lag clock's samples reach has a tip too. The marks are a
// twentieth of the horizon apart, and as many suffice. Called with mu.
func (p *partition) mark(now time.Time, end int64, horizon time.Duration) {
	n := len(p.marks)
	if horizon < 0 || n > tipKept*2 || n > 0 && now.Sub(p.marks[n-1].at) < horizon/(tipKept*2) {
		return
	}
	p.marks = append(p.marks, lagSample{now, end})
}

// hole tells whether the source's log misses offsets from position on: its
// cleaner has been there. Control batches and aborted records are no holes.
func (c chunk) hole(position int64) bool {
	next := position
	for _, b := range c.batches {
		if b.LastOffset() < position {
			continue
		}
		if b.BaseOffset() > next || int64(b.NumRecords()) < b.LastOffset()-b.BaseOffset()+1 {
			return true
		}
		next = b.LastOffset() + 1
	}
	return false
}

// tombstonesKept fails a compacted mirror that meets a hole when its tip is
// older than the source keeps tombstones. Only the leader looks at partitions that are
// idle and at the configs (keepRetention, keepConfigs): what it has recorded counts too,
// and the source is asked before the mirror fails.
func (p *partition) tombstonesKept(ctx context.Context, c chunk, position int64) error {
	recorded := earlier(p.mirror.record().TipAt, time.Now())
	p.mu.Lock()
	tip := p.tipNow()
	p.mu.Unlock()
	if recorded.After(tip) {
		tip = recorded
	}
	if tip.IsZero() || !c.hole(position) {
		return nil
	}
	f := p.mirror.sourceFacts()
	if !f.known || f.tombstonesGone(time.Since(tip)) {
		configs, errs, err := p.mirror.link.src.topicConfigs(ctx, []string{p.src.topic})
		if err == nil {
			err = errs[p.src.topic]
		}
		if err != nil {
			return fmt.Errorf("configs of source topic %s: %w", p.src.topic, err)
		}
		f = factsOf(configs[p.src.topic])
		p.mirror.learn(f)
	}
	if behind := time.Since(tip); f.tombstonesGone(behind) {
		return &failure{api.MirrorErrorIllegalState, fmt.Sprintf(
			"source %s partition %d is compacted and keeps tombstones for %s (delete.retention.ms), the mirror has not held all of it for %s: deletions may be gone unseen, and keys that were deleted would live on in the mirror; raise delete.retention.ms at the source, then delete the topic and create the mirror again, or fail it over as it is",
			p.src.topic, p.n, f.deleteRetention, behind.Round(time.Second))}
	}
	return nil
}

func (l *Link) keepRetention(ctx context.Context) {
	before := lagsSeen{}
	l.everyNoted(ctx, taskRetention, retentionEvery, func(ctx context.Context) (faults, notes []api.TaskError) {
		return l.lookAtRetention(ctx, before, time.Now()), nil
	})
}

// lagsSeen are the lags at the look before, by partition; it has one owner.
type lagsSeen map[topicPartition]struct {
	at  time.Time
	lag int64
}

// lookAtRetention asks the source for its logs' ends, and for the starts of those
// that the mirrors are behind, keeps the tips and tells who runs out of time.
func (l *Link) lookAtRetention(ctx context.Context, before lagsSeen, now time.Time) []api.TaskError {
	byTP := map[topicPartition]*partition{}
	var tps []topicPartition
	for _, m := range l.all() {
		if !runs(m.record().Status) {
			continue
		}
		for _, p := range m.parts() {
			byTP[p.src], tps = p, append(tps, p.src)
		}
	}
	ends, _ := l.src.offsets(ctx, replicaConsumer, offsetLatest, tps...) // who does not answer keeps his tip
	var behind []topicPartition
	lagging := map[topicPartition]bool{}
	for tp, end := range ends {
		p := byTP[tp]
		horizon := p.mirror.sourceFacts().horizon()
		p.mu.Lock()
		p.lag.sample(now, end)
		p.mark(now, end, horizon)
		if p.tipNow().IsZero() {
			p.tip = now // of an engine that did not keep it
		}
		if p.pos.known && p.pos.source < end {
			behind = append(behind, tp)
			lagging[tp] = true
		}
		p.mu.Unlock()
	}
	for tp := range before {
		if !lagging[tp] {
			delete(before, tp)
		}
	}
	l.keepTips(ctx, now)
	starts, _ := l.src.offsets(ctx, replicaConsumer, offsetEarliest, behind...)
	l.mgr.metrics.retentionLeft.DeletePartialMatch(prometheus.Labels{"link": l.record().Name})
	worst := map[string]time.Duration{}
	var texts []string
	for _, tp := range behind {
		start, ok := starts[tp]
		if !ok {
			continue
		}
		p := byTP[tp]
		left, risk := p.retentionLeft(now, start, ends[tp], before)
		if left < 0 {
			continue // nothing is deleted there
		}
		label := l.mgr.metrics.topic(l.record().Name, p.dst.topic)
		if w, ok := worst[label]; !ok || left < w {
			worst[label] = left
		}
		if risk != "" {
			texts = append(texts, fmt.Sprintf("%s partition %d: %s", tp.topic, tp.partition, risk))
		}
	}
	for label, left := range worst {
		l.mgr.metrics.retentionLeft.WithLabelValues(l.record().Name, label).Set(left.Seconds())
	}
	if len(texts) == 0 {
		return nil
	}
	slices.Sort(texts)
	return []api.TaskError{{ErrorCode: codeInvalidRequest, ErrorMessage: "the source may delete records before they are mirrored: " + few(texts) + "; raise the retention at the source, or find what holds the mirror back (progress)"}}
}

// retentionLeft estimates when the source's retention reaches the first record
// that is not mirrored, -1 for never, and says so if the mirror will hardly be
// there sooner: by half of what is left at the rate at which it catches up, or,
// where it does not, when half of the retention is over.
func (p *partition) retentionLeft(now time.Time, start, end int64, before lagsSeen) (left time.Duration, risk string) {
	f := p.mirror.sourceFacts()
	contact := p.mirror.link.src.lastContact()
	p.mu.Lock()
	at, tip, rate := p.pos.source, p.tipNow(), p.lag.rate(contact)
	p.mu.Unlock()
	lag := end - at
	was, known := before[p.src]
	before[p.src] = struct {
		at  time.Time
		lag int64
	}{now, lag}
	left = -1
	late := false
	if h := f.horizon(); f.known && h >= 0 {
		left = max(0, h-now.Sub(tip))
		late = left < h/2
	}
	// By size the log's start moves as fast as records come, once the limit is met.
	if f.known && f.retentionBytes >= 0 && start > 0 && rate > 0 {
		if bySize := max(0, time.Duration(float64(at-start)/rate*float64(time.Second))); left < 0 || bySize < left {
			left = bySize
			late = 2*(at-start) < end-start
		}
	}
	if left < 0 {
		return left, ""
	}
	gained := 0.0
	if d := now.Sub(was.at).Seconds(); known && d > 0 {
		gained = float64(was.lag-lag) / d
	}
	if gained <= 0 {
		if late && known {
			risk = fmt.Sprintf("%d records behind and not catching up, %s left", lag, left.Round(time.Second))
		}
		return left, risk
	}
	if need := time.Duration(float64(lag) / gained * float64(time.Second)); 2*need > left {
		risk = fmt.Sprintf("%d records behind, %s to catch up at this rate, %s left", lag, need.Round(time.Second), left.Round(time.Second))
	}
	return left, risk
}

// keepTips records the tips of mirrors whose recorded one is too old for what
// they need it for.
func (l *Link) keepTips(ctx context.Context, now time.Time) {
	tips, due := map[*MirrorTopic]time.Time{}, map[*MirrorTopic]error{}
	for _, m := range l.all() {
		h, rec := m.sourceFacts().horizon(), m.record()
		if h < 0 || !runs(rec.Status) || now.Sub(rec.TipAt) < max(h/tipKept, time.Minute) {
			continue
		}
		tip := now
		for _, p := range m.parts() {
			p.mu.Lock()
			if p.tip.Before(tip) {
				tip = p.tip
			}
			p.mu.Unlock()
		}
		if tip.IsZero() || tip.Sub(rec.TipAt) < max(h/tipKept, time.Minute) {
			continue
		}
		tips[m], due[m] = tip.UTC(), nil
	}
	// An error is the state topic's; put has told it.
	l.recordAll(ctx, due, func(m *MirrorTopic) (mirrorRecord, error) {
		rec := m.record()
		rec.TipAt = tips[m]
		return rec, m.replaced()
	})
}
