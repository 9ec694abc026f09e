package link

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// laterKeys finds out which of the lagged keys have a later record on the new
// primary: anything committed behind the stop offset that this link did not
// append itself. It holds the lagged keys' hashes and nothing of the rest.
type laterKeys struct {
	link *Link
	rec  mirrorRecord
	n    int32
	// keys counts the lagged records per key, later has those that are superseded.
	keys  map[keyHash]laggedKey
	later map[keyHash]bool
	found []api.SupersededRecord // the first few of later
	// at is how far the new primary was read, by partition.
	at map[topicPartition]int64
}

// laggedKey is how many lagged records a key has, and the source offset of the last.
type laggedKey struct {
	records, last int64
}

func (l *Link) newLater(rec mirrorRecord, n int32) *laterKeys {
	return &laterKeys{link: l, rec: rec, n: n, keys: map[keyHash]laggedKey{}, later: map[keyHash]bool{}}
}

func (k *laterKeys) watch(key []byte, offset int64) {
	h := hashKey(key)
	k.keys[h] = laggedKey{k.keys[h].records + 1, offset}
}

// supersede notes that a key has a later record, in a partition of the new primary.
func (k *laterKeys) supersede(h keyHash, partition int32, offset int64) {
	if !k.later[h] && len(k.found) < api.SupersededSample {
		k.found = append(k.found, api.SupersededRecord{Offset: k.keys[h].last, LaterPartition: partition, LaterOffset: offset})
	}
	k.later[h] = true
}

// sample is a few superseded keys, in the source's order.
func (k *laterKeys) sample() []api.SupersededRecord {
	slices.SortFunc(k.found, func(a, b api.SupersededRecord) int { return cmp.Compare(a.Offset, b.Offset) })
	return k.found
}

// superseded is the number of lagged records whose key has a later one.
func (k *laterKeys) superseded() int64 {
	var n int64
	for h := range k.later {
		n += k.keys[h].records
	}
	return n
}

// where lists what to read: the partition behind its stop offset, or all of
// the topic's if its partition count differs from the mirror's, since keys then
// go elsewhere.
func (k *laterKeys) where(ctx context.Context) error {
	local := k.link.mgr.local
	if err := local.refresh(ctx, k.rec.Topic); err != nil {
		return err
	}
	t, _ := local.topic(k.rec.Topic)
	k.at = map[topicPartition]int64{}
	switch {
	case errors.Is(t.err, kerr.UnknownTopicOrPartition):
		return nil // deleted on the new primary since: nothing there is later
	case t.err != nil:
		return t.err
	}
	for n := range int32(len(t.leaders)) {
		if n != k.n && int(k.rec.Partitions) == len(t.leaders) {
			continue
		}
		var stop stopRecord
		if _, err := k.link.mgr.store.Get(stopKey(k.rec.TopicID, n), &stop); err != nil {
			return err
		}
		tp := topicPartition{k.rec.Topic, n}
		start, err := local.offset(ctx, replicaConsumer, offsetEarliest, tp.topic, tp.partition)
		if err != nil {
			return err
		}
		k.at[tp] = max(stop.DestStop, start)
	}
	return nil
}

// follow reads on to the new primary's end. wait: also what open transactions
// hold now, once they have ended.
func (k *laterKeys) follow(ctx context.Context, wait bool) error {
	if k.at == nil {
		if err := k.where(ctx); err != nil {
			return err
		}
	}
	local := k.link.mgr.local
	for tp, at := range k.at {
		var end int64
		var err error
		if wait {
			end, err = local.settledStable(ctx, tp)
		} else {
			end, err = local.stableOffset(ctx, tp.topic, tp.partition)
		}
		if err != nil {
			return err
		}
		err = local.scan(ctx, tp, at, end, true, func(r *batch.Record) error {
			if r.Key == nil {
				return nil
			}
			if p, ok := provenanceOf(r); ok && p.link == k.rec.Link && p.topic == k.rec.SourceTopic {
				return nil
			}
			if h := hashKey(r.Key); k.keys[h].records > 0 {
				k.supersede(h, tp.partition, r.Offset)
			}
			return nil
		})
		if err != nil {
			return err
		}
		k.at[tp] = max(at, end)
	}
	return nil
}
