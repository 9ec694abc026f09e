package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// A transaction that stays open at the source holds its partition back: readers
// of committed data, and so the mirror, come no further than the last stable
// offset, while the lag is counted to the high watermark. One that is open for
// longer than the link's bound is told by name, and one that no coordinator
// knows, which hangs for ever, with the command that ends it.

// taskTransactions is the engine's own task that looks for them.
const taskTransactions = "OpenTransactions"

// transactionsEvery is how often it looks.
const transactionsEvery = 10 * time.Second

// openTransaction is a partition whose last stable offset stands still.
type openTransaction struct {
	topic  string // the mirror's
	offset int64  // where the oldest open transaction begins
	since  time.Time
}

// openTransactions is what the looks have found so far; it has one owner.
type openTransactions map[topicPartition]openTransaction

func (l *Link) keepTransactions(ctx context.Context) {
	seen := openTransactions{}
	l.everyNoted(ctx, taskTransactions, transactionsEvery, func(ctx context.Context) (faults, notes []api.TaskError) {
		return l.lookAtTransactions(ctx, seen, time.Now()), nil
	})
}

// lookAtTransactions asks for the stable offsets of the topics that lag, and for
// the producers of those that have stood for too long.
func (l *Link) lookAtTransactions(ctx context.Context, seen openTransactions, now time.Time) []api.TaskError {
	behind := map[topicPartition]*partition{}
	topics := map[string]bool{}
	for _, m := range l.all() {
		if !runs(m.record().Status) {
			continue
		}
		for _, p := range m.parts() {
			if lag := p.lagNow(); lag.Lag > 0 {
				behind[p.src] = p
				topics[p.src.topic] = true
			}
		}
	}
	held, err := l.heldBack(ctx, behind, slices.Sorted(maps.Keys(topics)))
	if err != nil {
		return []api.TaskError{{ErrorCode: taskErrorCode(err), ErrorMessage: fmt.Sprintf("stable offsets of the source: %v", err)}}
	}
	for tp := range seen {
		if at, ok := held[tp]; !ok || at != seen[tp].offset {
			delete(seen, tp)
		}
	}
	for tp, at := range held {
		if _, ok := seen[tp]; !ok {
			seen[tp] = openTransaction{behind[tp].dst.topic, at, now}
		}
	}
	l.mgr.metrics.transactions(l.record().Name, seen, now)
	var long []topicPartition
	for tp, t := range seen {
		if now.Sub(t.since) >= l.config().OpenTransaction {
			long = append(long, tp)
		}
	}
	if len(long) == 0 {
		return nil
	}
	slices.SortFunc(long, func(a, b topicPartition) int {
		return compareGroupAt(groupAt{topic: a.topic, partition: a.partition}, groupAt{topic: b.topic, partition: b.partition})
	})
	var texts []string
	for tp, who := range l.transactionsAt(ctx, long, seen) {
		t := seen[tp]
		texts = append(texts, fmt.Sprintf("%s partition %d is held back at offset %d for %s: %s", tp.topic, tp.partition, t.offset, now.Sub(t.since).Round(time.Second), who))
	}
	slices.Sort(texts)
	return []api.TaskError{{ErrorCode: codeInvalidRequest, ErrorMessage: "a transaction at the source is open for longer than " + keyOpenTransaction + ", behind it nothing is mirrored: " + few(texts)}}
}

// heldBack gives the stable offsets that lie before the high watermark.
func (l *Link) heldBack(ctx context.Context, behind map[topicPartition]*partition, topics []string) (map[topicPartition]int64, error) {
	out := map[topicPartition]int64{}
	if len(topics) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	listed, err := await(ctx, func() (kadm.ListedOffsets, error) { return l.src.adm.ListCommittedOffsets(ctx, topics...) })
	if err != nil {
		return nil, err
	}
	l.src.touch()
	listed.Each(func(o kadm.ListedOffset) {
		p := behind[topicPartition{o.Topic, o.Partition}]
		if p == nil || o.Err != nil {
			return
		}
		p.mu.Lock()
		at, hw := p.pos.source, p.lag.highWatermark()
		p.mu.Unlock()
		// At the stable offset already: what lags is the transaction's, not ours.
		if o.Offset < hw && at >= o.Offset {
			out[p.src] = o.Offset
		}
	})
	return out, nil
}

// transactionsAt names the producers whose transactions begin at the stable
// offsets.
func (l *Link) transactionsAt(ctx context.Context, long []topicPartition, seen openTransactions) map[topicPartition]string {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out := map[topicPartition]string{}
	set := kadm.TopicsSet{}
	for _, tp := range long {
		set.Add(tp.topic, tp.partition)
		out[tp] = "its producer is not known"
	}
	described, err := await(ctx, func() (kadm.DescribedProducersTopics, error) { return l.src.adm.DescribeProducers(ctx, set) })
	if err != nil {
		for tp := range out {
			out[tp] = fmt.Sprintf("its producer is not known (%v); the link's principal needs READ on the topic to ask", err)
		}
		return out
	}
	owners := map[topicPartition]kadm.DescribedProducer{}
	var ids []int64
	described.EachProducer(func(d kadm.DescribedProducer) {
		tp := topicPartition{d.Topic, d.Partition}
		if t, ok := seen[tp]; ok && d.CurrentTxnStartOffset == t.offset {
			owners[tp] = d
			ids = append(ids, d.ProducerID)
		}
	})
	if len(ids) == 0 {
		return out
	}
	slices.Sort(ids)
	listed, err := await(ctx, func() (kadm.ListedTransactions, error) {
		return l.src.adm.ListTransactions(ctx, slices.Compact(ids), nil)
	})
	for tp, d := range owners {
		out[tp] = fmt.Sprintf("producer id %d epoch %d, %s", d.ProducerID, d.ProducerEpoch, transactionOf(listed, err, d, seen[tp].offset))
	}
	return out
}

// transactionOf says what the coordinators know of a producer's transaction.
func transactionOf(listed kadm.ListedTransactions, err error, d kadm.DescribedProducer, offset int64) string {
	for _, t := range listed {
		switch {
		case t.ProducerID != d.ProducerID:
		case t.State == "Ongoing" || strings.HasPrefix(t.State, "Prepare"):
			return fmt.Sprintf("transactional id %s (%s): let its application end it, or end it by kafka-transactions.sh forceTerminateTransaction --transactionalId %s", t.TxnID, t.State, t.TxnID)
		}
	}
	var shards *kadm.ShardErrors
	if err != nil && (len(listed) == 0 || errors.As(err, &shards)) {
		return fmt.Sprintf("its coordinator did not tell its transaction (%v)", err)
	}
	return fmt.Sprintf("known to no coordinator that tells this link (DESCRIBE on the transactional id): if it hangs, end it by kafka-transactions.sh abort --topic %s --partition %d --start-offset %d", d.Topic, d.Partition, offset)
}

// transactions sets how long the oldest open transaction of each topic has been
// seen.
func (m *metrics) transactions(link string, seen openTransactions, now time.Time) {
	m.openTxn.DeletePartialMatch(prometheus.Labels{"link": link})
	oldest := map[string]float64{}
	for _, t := range seen {
		label := m.topic(link, t.topic)
		oldest[label] = max(oldest[label], now.Sub(t.since).Seconds())
	}
	for label, seconds := range oldest {
		m.openTxn.WithLabelValues(link, label).Set(seconds)
	}
}
