package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

func produceKeyed(t *testing.T, s *site) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := newWriters(ctx, newCluster(newClient(t, s.ListenAddrs())), 3)
	t.Cleanup(func() { stop(); w.wg.Wait() })
	return w
}

// produce sends one batch and waits for its answer.
func (w *writers) produce(ctx context.Context, tp topicPartition, batch []byte) (int64, error) {
	out := make(chan produced, 1)
	if err := w.enqueue(ctx, produce{tp: tp, batch: batch, out: out}); err != nil {
		return 0, err
	}
	r := <-out
	return r.base, r.err
}

// numbered is the n-th batch of a partition under the stamp of its own producer.
func numbered(t *testing.T, partition int32, n int, size int) []byte {
	t.Helper()
	value := append(fmt.Appendf(nil, "%d/", n), make([]byte, size)...)
	raw, err := batch.Encode([]batch.Record{{Value: value}}, batch.None, batch.Stamp{ProducerID: 7000 + int64(partition), BaseSequence: int32(n)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Many partitions keep many batches under way each. The broker's sequence check
// refuses whatever overtakes; a request with a partition twice would lose one.
func TestABatchNeverOvertakesAnotherOfItsPartition(t *testing.T) {
	t.Parallel()
	const partitions, each = 16, 120
	s := newSite(t, "order", kfake.NumBrokers(3))
	s.topic(t, "orders", partitions, nil)
	var mu sync.Mutex
	requests := 0
	s.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		requests++
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			var seen []int32
			for _, p := range topic.Partitions {
				if slices.Contains(seen, p.Partition) {
					t.Errorf("partition %d stands twice in a request", p.Partition)
				}
				seen = append(seen, p.Partition)
			}
		}
		return nil, nil, false
	})
	w := produceKeyed(t, s)
	var wg sync.WaitGroup
	for p := range int32(partitions) {
		wg.Go(func() {
			tp := topicPartition{"orders", p}
			out := make(chan produced, each)
			released := 0
			for n := range each {
				raw := numbered(t, p, n, rand.IntN(40_000))
				if err := w.enqueue(t.Context(), produce{tp: tp, batch: raw, release: func() { released++; clear(raw) }, out: out}); err != nil {
					t.Error(err)
					return
				}
			}
			for n := range int64(each) {
				if r := <-out; r.err != nil || r.base != n {
					t.Errorf("partition %d batch %d: %+v", p, n, r)
					return
				}
			}
			if released != each {
				t.Errorf("%d of %d batches released", released, each)
			}
		})
	}
	wg.Wait()
	if requests >= partitions*each {
		t.Errorf("%d requests for %d batches: none was shared", requests, partitions*each)
	}
	for p := range int32(partitions) {
		for n, r := range s.read(t, "orders", p, 0, each) {
			if r.Offset != int64(n) || !strings.HasPrefix(string(r.Value), fmt.Sprintf("%d/", n)) {
				t.Fatalf("partition %d offset %d: %.10q", p, r.Offset, r.Value)
			}
		}
	}
}

// Behind a refused batch nothing is sent that was not sent yet; all results come,
// in order, and the partition can go on afterwards. Others are not concerned.
func TestWhatWaitsBehindARefusedBatchFailsInOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, "refused")
	s.topic(t, "orders", 2, nil)
	w := produceKeyed(t, s)
	// Held until all are enqueued, so that most are not sent when the first fails.
	hold := make(chan struct{})
	s.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.SleepControl(func() { <-hold })
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.MessageTooLarge.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	const each = 30
	tp := topicPartition{"orders", 0}
	out := make(chan produced, each)
	for n := range each {
		if err := w.enqueue(t.Context(), produce{tp: tp, batch: numbered(t, 0, n, 10), out: out}); err != nil {
			t.Fatal(err)
		}
	}
	close(hold)
	unsent := 0
	for n := range each {
		r := <-out
		if r.err == nil {
			t.Fatalf("batch %d was taken behind a refused one", n)
		}
		if !errors.Is(r.err, kerr.MessageTooLarge) && !errors.Is(r.err, kerr.OutOfOrderSequenceNumber) {
			t.Errorf("batch %d: %v", n, r.err)
		}
		if strings.HasPrefix(r.err.Error(), "not sent: ") {
			unsent++
		} else if unsent > 0 {
			t.Errorf("batch %d was sent, one before it was not", n)
		}
	}
	if unsent < each-2*laneDepth {
		t.Errorf("%d of %d batches were sent behind a refused one", each-1-unsent, each)
	}
	for p := range int32(2) {
		if base, err := w.produce(t.Context(), topicPartition{"orders", p}, numbered(t, p, 0, 10)); err != nil || base != 0 {
			t.Errorf("partition %d afterwards: %d, %v", p, base, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.routes) != 0 {
		t.Errorf("%d routes are kept without open batches", len(w.routes))
	}
}

// A lost connection fails what was sent on it, and what waited behind that; the
// next batch goes over a new one.
func TestALostConnectionFailsWhatWasOnItAndNoMore(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lost")
	s.topic(t, "orders", 1, nil)
	w := produceKeyed(t, s)
	tp := topicPartition{"orders", 0}
	if base, err := w.produce(t.Context(), tp, numbered(t, 0, 0, 10)); err != nil || base != 0 {
		t.Fatal(base, err)
	}
	s.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("dropped"), true
	})
	_, err := w.produce(t.Context(), tp, numbered(t, 0, 1, 10))
	if err == nil || !strings.Contains(err.Error(), "produce to destination broker 0: connection to "+s.ListenAddrs()[0]+" lost") {
		t.Errorf("got %v", err)
	}
	if base, err := w.produce(t.Context(), tp, numbered(t, 0, 1, 10)); err != nil || base != 1 {
		t.Errorf("over a new connection: %d, %v", base, err)
	}
}

// Whoever ends a mirror does not wait for batches that were not sent, and does
// for one that was.
func TestAGivenUpBatchIsNotSent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "given-up")
	s.topic(t, "orders", 1, nil)
	w := produceKeyed(t, s)
	arrived, hold := make(chan struct{}), make(chan struct{})
	s.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(arrived)
		s.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	tp := topicPartition{"orders", 0}
	out := make(chan produced, 2)
	if err := w.enqueue(t.Context(), produce{tp: tp, batch: numbered(t, 0, 0, 10), out: out}); err != nil {
		t.Fatal(err)
	}
	<-arrived
	if err := w.enqueue(t.Context(), produce{tp: tp, batch: numbered(t, 0, 1, 10), out: out}); err != nil {
		t.Fatal(err)
	}
	w.giveUp(tp, context.Canceled)
	if err := w.enqueue(t.Context(), produce{tp: tp, batch: numbered(t, 0, 2, 10), out: out}); !errors.Is(err, context.Canceled) {
		t.Errorf("enqueued behind a batch that was given up: %v", err)
	}
	close(hold)
	if r := <-out; r.err != nil || r.base != 0 {
		t.Errorf("the batch that was sent: %+v", r)
	}
	if r := <-out; !errors.Is(r.err, context.Canceled) {
		t.Errorf("the batch that was given up: %+v", r)
	}
	if end := s.read(t, "orders", 0, 0, 1); len(end) != 1 {
		t.Errorf("%d records", len(end))
	}
}

// The end of the engine tells everybody.
func TestTheEndOfTheWritersAnswersEveryBatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, "ending")
	s.topic(t, "orders", 4, nil)
	ctx, stop := context.WithCancel(t.Context())
	w := newWriters(ctx, newCluster(newClient(t, s.ListenAddrs(), kgo.ClientID("ending"))), 2)
	hold := make(chan struct{})
	defer close(hold)
	s.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	const each = 10
	out := make(chan produced, 4*each)
	for n := range each {
		for p := range int32(4) {
			if err := w.enqueue(t.Context(), produce{tp: topicPartition{"orders", p}, batch: numbered(t, p, n, 10), out: out}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	w.wg.Wait()
	for range 4 * each {
		if r := <-out; r.err == nil {
			t.Error("a batch was acknowledged by nobody")
		}
	}
	if err := w.enqueue(t.Context(), produce{tp: topicPartition{"orders", 0}, out: out}); err == nil {
		t.Error("enqueued after the end")
	}
}
