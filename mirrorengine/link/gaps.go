package link

import (
	"context"
	"fmt"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// gapRecord holds the ranges of a partition that the source's retention took
// before they were mirrored. It stands in the partition's own shard, whose owner
// meets the gap; the ledger, in shard 0, takes it over when the mirror ends.
type gapRecord struct {
	Gaps []offsetRange `json:"gaps"`
}

func gapKey(topicID string, p int32) string { return fmt.Sprintf("gap/%s/%06d", topicID, p) }

// recordGap notes that the source's retention took [from, to) before it was
// mirrored. The same gap told twice counts once.
func (l *Link) recordGap(ctx context.Context, p *partition, from, to int64) error {
	key := gapKey(p.mirror.topicID(), p.n)
	var r gapRecord
	if _, err := l.mgr.store.Get(key, &r); err != nil {
		return err
	}
	r.Gaps = joinRanges(append(r.Gaps, offsetRange{from, to}))
	if err := l.mgr.put(ctx, p.shard, state.Entry{Key: key, Value: r}); err != nil {
		return fmt.Errorf("record what the source's retention took of %s partition %d: %w", p.src.topic, p.n, err)
	}
	return nil
}

// withGaps adds what partitions have met to the ledger's records.
func (l *Link) withGaps(recs []ledgerRecord) ([]ledgerRecord, error) {
	type at struct {
		topic string
		n     int32
	}
	index := map[at]int{}
	for i, r := range recs {
		index[at{r.Entry.Topic, r.Entry.Partition}] = i
	}
	for _, m := range l.all() {
		rec := m.record()
		if final(rec.Status) {
			continue
		}
		for n := range rec.Partitions {
			gaps, err := l.gapsOf(rec, n)
			if err != nil {
				return nil, err
			}
			if len(gaps) == 0 {
				continue
			}
			i, ok := index[at{rec.Topic, n}]
			if !ok {
				i = len(recs)
				recs = append(recs, newLedgerRecord(rec, n))
			}
			recs[i].addGaps(gaps)
		}
	}
	return recs, nil
}

func (l *Link) gapsOf(rec mirrorRecord, n int32) ([]offsetRange, error) {
	var r gapRecord
	_, err := l.mgr.store.Get(gapKey(rec.TopicID, n), &r)
	return r.Gaps, err
}

// newLedgerRecord is of a partition that has lost nothing yet.
func newLedgerRecord(rec mirrorRecord, n int32) ledgerRecord {
	return ledgerRecord{Entry: api.LedgerEntry{
		Topic: rec.Topic, SourceTopic: rec.SourceTopic, Partition: n,
		Decision: api.LedgerNothing, AppendedFrom: -1, AppendedTo: -1,
	}}
}

func (r *ledgerRecord) addGaps(gaps []offsetRange) {
	r.Gaps = joinRanges(append(r.Gaps[:len(r.Gaps):len(r.Gaps)], gaps...))
	r.Entry.Unrecoverable, r.Entry.Gaps = r.lost(), r.gaps()
	if to := gaps[len(gaps)-1].To; r.Entry.Decision == api.LedgerNothing {
		r.Entry.From, r.Entry.To = to, to
	}
}
