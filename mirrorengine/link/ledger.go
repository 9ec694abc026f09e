package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// The loss ledger: per ended partition the records that the old primary has
// acknowledged and the mirror never got. ledger_compute.go finds them,
// ledger_append.go and ledger_export.go bring them over, ledger_scan.go reads
// the logs. A decision is taken once; nothing is appended by default.

// ledgerRecord is what the state topic holds of one partition.
type ledgerRecord struct {
	Entry api.LedgerEntry `json:"entry"`
	// ComputedAt is zero until the source has answered.
	ComputedAt time.Time `json:"computed_at,omitzero"`
	// Gaps are source offsets that the source's retention took while the mirror
	// ran.
	Gaps []offsetRange `json:"gaps,omitempty"`
	// Intent is a decision that is being carried out; it rules out others.
	Intent string `json:"intent,omitempty"`
	// Writer is who may have a batch under way, recorded before its first.
	Writer *ledgerWriter `json:"writer,omitempty"`
}

// offsetRange is [From, To).
type offsetRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// ledgerWriter is an idempotent producer of append or export.
type ledgerWriter struct {
	Topic         string `json:"topic"`
	ProducerID    int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
}

func ledgerPrefix(link string) string { return "ledger/" + link + "/" }

func ledgerKey(link, topic string, partition int32) string {
	return fmt.Sprintf("%s%s/%d", ledgerPrefix(link), topic, partition)
}

func (r ledgerRecord) key(link string) string {
	return ledgerKey(link, r.Entry.Topic, r.Entry.Partition)
}

func (r ledgerRecord) String() string {
	return fmt.Sprintf("%s partition %d", r.Entry.Topic, r.Entry.Partition)
}

// gaps names the ranges that retention took while the mirror ran, as api tells them.
func (r ledgerRecord) gaps() []api.LedgerGap {
	var out []api.LedgerGap
	for _, g := range r.Gaps {
		out = append(out, api.LedgerGap{From: g.From, To: g.To, Cause: api.GapRetention})
	}
	return out
}

// lost is the number of offsets in the gaps.
func (r ledgerRecord) lost() int64 {
	var n int64
	for _, g := range r.Gaps {
		n += g.To - g.From
	}
	return n
}

func (l *Link) ledgerRecords() ([]ledgerRecord, error) {
	recs, err := state.All[ledgerRecord](l.mgr.store, ledgerPrefix(l.record().Name))
	if err == nil {
		recs, err = l.withGaps(recs)
	}
	slices.SortFunc(recs, func(a, b ledgerRecord) int {
		if c := strings.Compare(a.Entry.Topic, b.Entry.Topic); c != 0 {
			return c
		}
		return int(a.Entry.Partition - b.Entry.Partition)
	})
	return recs, err
}

func (l *Link) putLedger(ctx context.Context, recs ...ledgerRecord) error {
	name := l.record().Name
	entries := make([]state.Entry, len(recs))
	for i, r := range recs {
		entries[i] = state.Entry{Key: r.key(name), Value: r}
	}
	if err := l.mgr.put(ctx, 0, entries...); err != nil {
		return fmt.Errorf("record the loss ledger of link %s: %w", name, err)
	}
	return nil
}

// Ledger is the loss ledger as last computed. An entry of a failover that the
// source has not spoken of yet is undecided, with the high watermark that was
// last seen for its end; ComputedAt is zero while there is one.
func (m *Manager) Ledger(_ context.Context, link string) (api.Ledger, error) {
	l, err := m.link(link)
	if err != nil {
		return api.Ledger{}, err
	}
	return l.ledger()
}

func (l *Link) ledger() (api.Ledger, error) {
	rec := l.record()
	out := api.Ledger{Link: rec.Name, SourceClusterID: rec.SourceClusterID, Entries: []api.LedgerEntry{}}
	recs, err := l.ledgerRecords()
	if err != nil {
		return out, err
	}
	waiting := false
	for _, r := range recs {
		out.Entries = append(out.Entries, r.Entry)
		switch {
		case r.ComputedAt.IsZero():
			waiting = waiting || r.Entry.Decision == api.LedgerUndecided
		case out.ComputedAt.IsZero(), r.ComputedAt.Before(out.ComputedAt):
			out.ComputedAt = r.ComputedAt
		}
	}
	if waiting {
		out.ComputedAt = time.Time{}
	}
	return out, nil
}

// undecided names what of a link's lagged data waits for a decision; empty if
// nothing does.
func (m *Manager) undecided(link string) string {
	l, err := m.link(link)
	if err != nil {
		return ""
	}
	recs, err := l.ledgerRecords()
	if err != nil {
		return fmt.Sprintf("the loss ledger cannot be read (%v)", err)
	}
	var open []string
	for _, r := range recs {
		switch {
		case r.Entry.Decision != api.LedgerUndecided:
		case r.ComputedAt.IsZero():
			open = append(open, fmt.Sprintf("%s (not computed: its source has not answered since the failover)", r))
		default:
			open = append(open, fmt.Sprintf("%s (%d records)", r, r.Entry.Records))
		}
	}
	return strings.Join(open, ", ")
}

// openLedgers notes of each mirror that is still without error, before it is
// STOPPED, that a failover ends it: what the source has beyond is unknown, and
// undecided, until the ledger is computed. What retention took while the mirror ran
// is noted of a promoted one too.
func (l *Link) openLedgers(ctx context.Context, mirrors map[*MirrorTopic]error) {
	var all []state.Entry
	for _, m := range without(mirrors) {
		entries, err := l.openLedger(m)
		all, mirrors[m] = append(all, entries...), err
	}
	if err := l.mgr.put(ctx, 0, all...); err != nil {
		err = fmt.Errorf("open the loss ledger of link %s: %w", l.record().Name, err)
		for _, m := range without(mirrors) {
			mirrors[m] = err
		}
	}
}

// openLedger begins each partition's record anew: nothing is computed or decided of an
// end before it is STOPPED, so that what stands there is of an earlier one, or of a try of
// this one that a crash broke off, which may have seen more of the source.
func (l *Link) openLedger(m *MirrorTopic) ([]state.Entry, error) {
	rec := m.record()
	failover := rec.Intent == string(api.VerbFailover)
	entries := map[string]state.Entry{}
	for _, e := range l.withoutLedger(rec) {
		entries[e.Key] = e
	}
	for _, p := range m.parts() {
		p.mu.Lock()
		stop, hw := p.stop, p.lag.highWatermark()
		p.mu.Unlock()
		if stop == nil {
			continue
		}
		r := newLedgerRecord(rec, p.n)
		gaps, err := l.gapsOf(rec, p.n)
		if err != nil {
			return nil, err
		}
		if len(gaps) > 0 {
			r.addGaps(gaps)
		}
		if failover {
			var was ledgerRecord
			if _, err := l.mgr.store.Get(r.key(rec.Link), &was); err != nil {
				return nil, err
			}
			if was.opened(*stop) {
				hw = max(hw, was.Entry.To)
			}
			r.Entry = api.LedgerEntry{
				Topic: rec.Topic, SourceTopic: rec.SourceTopic, Partition: p.n, From: stop.SourceStop, To: max(hw, stop.SourceStop),
				Unrecoverable: r.lost(), Gaps: r.gaps(), Decision: api.LedgerUndecided, AppendedFrom: -1, AppendedTo: -1,
			}
		}
		if failover || len(gaps) > 0 {
			k := r.key(rec.Link)
			entries[k] = state.Entry{Key: k, Value: r}
		}
	}
	return slices.Collect(maps.Values(entries)), nil
}

// opened: it is of the end at that stop, and nothing was computed or decided.
func (r ledgerRecord) opened(at stopRecord) bool {
	return r.ComputedAt.IsZero() && r.Entry.Decision == api.LedgerUndecided && r.Entry.From == at.SourceStop
}

// withoutLedger are the writes that take a mirror's records out of the ledger.
func (l *Link) withoutLedger(rec mirrorRecord) []state.Entry {
	var out []state.Entry
	for _, k := range l.mgr.store.Keys(ledgerPrefix(rec.Link) + rec.Topic + "/") {
		out = append(out, state.Entry{Key: k})
	}
	return out
}

// forgetLedger is for a mirror that begins a new life: what its earlier one lagged by
// is mirrored again, or was settled before both sides came to hold the same.
func (l *Link) forgetLedger(ctx context.Context, rec mirrorRecord) error {
	if err := l.mgr.put(ctx, 0, l.withoutLedger(rec)...); err != nil {
		return fmt.Errorf("take %s out of the loss ledger of link %s: %w", rec.Topic, rec.Link, err)
	}
	return nil
}

// joinRanges sorts ranges and joins those that touch.
func joinRanges(ranges []offsetRange) []offsetRange {
	slices.SortFunc(ranges, func(a, b offsetRange) int {
		switch {
		case a.From < b.From:
			return -1
		case a.From > b.From:
			return 1
		}
		return 0
	})
	var out []offsetRange
	for _, r := range ranges {
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
		} else if r.To > r.From {
			out = append(out, r)
		}
	}
	return out
}

// DiscardLedger records that lagged records are given up. It needs no source:
// an old primary that never comes back is discarded unseen.
func (m *Manager) DiscardLedger(ctx context.Context, link string, decide api.DecideLedger) (api.Ledger, error) {
	l, recs, err := m.deciding(ctx, link, decide, api.LedgerDiscarded)
	if err != nil {
		return api.Ledger{}, err
	}
	defer l.ledgerRun.Unlock()
	var changed []ledgerRecord
	for _, r := range recs {
		if r.Entry.Decision == api.LedgerUndecided {
			r.decide(api.LedgerDiscarded, decide)
			changed = append(changed, r)
		}
	}
	if err := l.putLedger(ctx, changed...); err != nil {
		return api.Ledger{}, err
	}
	l.log.Info("lagged records discarded", "entries", len(changed), "decided_by", decide.DecidedBy, "reason", decide.Reason)
	return l.ledger()
}

func (r *ledgerRecord) decide(decision string, by api.DecideLedger) {
	r.Entry.Decision, r.Entry.DecidedBy, r.Entry.Reason = decision, by.DecidedBy, by.Reason
	r.Intent, r.Writer = "", nil
}

// deciding starts a task on the ledger: it takes the lock, which the caller
// gives back if there is no error, and refuses the whole if one entry does.
func (m *Manager) deciding(ctx context.Context, link string, decide api.DecideLedger, decision string) (*Link, []ledgerRecord, error) {
	l, err := m.link(link)
	if err != nil {
		return nil, nil, err
	}
	if err := m.admit(ctx, l); err != nil {
		return nil, nil, err
	}
	if decide.DecidedBy == "" {
		return nil, nil, api.BadRequest("decided_by is missing: a decision on lost records bears a name")
	}
	l.ledgerRun.Lock()
	recs, err := l.chosen(decide.Topics)
	if err == nil {
		var errs []error
		for _, r := range recs {
			errs = append(errs, r.admits(decision))
		}
		err = errors.Join(errs...)
	}
	if err != nil {
		l.ledgerRun.Unlock()
		return nil, nil, err
	}
	return l, recs, nil
}

// chosen are the ledger's records of some topics, or of all.
func (l *Link) chosen(topics []string) ([]ledgerRecord, error) {
	recs, err := l.ledgerRecords()
	if err != nil || len(topics) == 0 {
		return recs, err
	}
	have := map[string]bool{}
	for _, r := range recs {
		have[r.Entry.Topic] = true
	}
	for _, t := range topics {
		m, err := l.mirror(t)
		switch {
		case err != nil && !have[t]:
			return nil, err
		case err == nil && !have[t] && m.record().Status != status.Stopped.String():
			return nil, api.BadRequest("topic '%s' is %s: only a mirror that has ended has lagged records to decide on", t, m.record().Status)
		case !have[t]:
			return nil, api.Conflict("the ledger of topic '%s' has not been computed yet: compute it first", t)
		}
	}
	return slices.DeleteFunc(recs, func(r ledgerRecord) bool { return !slices.Contains(topics, r.Entry.Topic) }), nil
}

// admits refuses a decision that contradicts one that was taken or begun. An
// export is always possible: of a decided entry it is an archive.
func (r ledgerRecord) admits(decision string) error {
	e := r.Entry
	switch {
	case e.Decision == api.LedgerNothing || e.Decision == decision:
		return nil
	case r.ComputedAt.IsZero() && decision != api.LedgerDiscarded:
		return api.Conflict("the lagged records of %s are not known yet: compute the ledger when the source answers", r)
	case decision == api.LedgerExported:
		return nil
	case e.Decision != api.LedgerUndecided:
		return api.Conflict("the lagged records of %s are %s already (by %s: %s); a decision is taken once", r, e.Decision, e.DecidedBy, e.Reason)
	case r.Intent != "" && r.Intent != decision:
		return api.Conflict("the lagged records of %s are being %s: that was begun and is finished first", r, r.Intent)
	}
	return nil
}
