package link

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// aborted tracks the aborted transactions of one Fetch answer, as Kafka's
// consumer does (CompletedFetch.consumeAbortedTransactionsUpTo): a producer's
// batches from FirstOffset on are dropped until its abort marker.
type aborted struct {
	ahead []kmsg.FetchResponseTopicPartitionAbortedTransaction
	open  map[int64]bool
}

func abortedIn(list []kmsg.FetchResponseTopicPartitionAbortedTransaction) *aborted {
	return &aborted{ahead: list, open: map[int64]bool{}}
}

func (a *aborted) upTo(offset int64) {
	rest := a.ahead[:0:0]
	for _, t := range a.ahead {
		if t.FirstOffset <= offset {
			a.open[t.ProducerID] = true
		} else {
			rest = append(rest, t)
		}
	}
	a.ahead = rest
}

func (a *aborted) drops(b batch.Batch) bool {
	a.upTo(b.LastOffset())
	return b.IsTransactional() && a.open[b.ProducerID()]
}

func (a *aborted) marker(b batch.Batch) error {
	a.upTo(b.LastOffset())
	abort, err := b.IsAbort()
	if err != nil {
		return err
	}
	if abort {
		delete(a.open, b.ProducerID())
	}
	return nil
}
