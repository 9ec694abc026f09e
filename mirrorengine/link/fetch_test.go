package link

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetches counts what a link's Fetch requests name; kfake's are those of the
// source alone, since the engine stands beside another cluster.
type fetches struct {
	mu     sync.Mutex
	full   int // requests that name all
	named  int // partitions in the others
	others int // requests that are not full
	ids    map[int32]bool
	spoil  *kerr.Error // answer to the next request of a session
}

func (f *fetches) watch(s *site) {
	f.ids = map[int32]bool{}
	s.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		s.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		f.mu.Lock()
		defer f.mu.Unlock()
		if req.SessionEpoch <= 0 {
			f.full++
			return nil, nil, false
		}
		f.ids[req.SessionID] = true
		f.others++
		for _, t := range req.Topics {
			f.named += len(t.Partitions)
		}
		for _, t := range req.ForgottenTopics {
			f.named += len(t.Partitions)
		}
		if f.spoil == nil {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.FetchResponse)
		res.ErrorCode = f.spoil.Code
		f.spoil = nil
		return res, nil, true
	})
}

// awaitRest waits for a request that names nothing, and counts from there on.
func (f *fetches) awaitRest(t *testing.T) {
	t.Helper()
	before := -1
	eventually(t, "a fetch that names no partition", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.others == 0 || f.named != before {
			before, f.others = f.named, 0
			return fmt.Errorf("%d partitions named", f.named)
		}
		f.full, f.named, f.others = 0, 0, 0
		return nil
	})
}

func (f *fetches) count() (full, named, others int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full, f.named, f.others
}

// What is idle stands in no request: with 60 partitions of which one moves,
// requests name that one, again and again.
func TestIdlePartitionsStandInNoFetch(t *testing.T) {
	t.Parallel()
	const partitions = 60
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", partitions, nil)
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"replica.fetch.wait.max.ms": "20"})
	newTestMirror(t, m, "orders")
	for p := range int32(partitions) {
		src.produce(t, "orders", p, 0, 1)
	}
	awaitLagZero(t, m, src, "orders")
	var f fetches
	f.watch(src)
	f.awaitRest(t) // the positions behind the first records are told after the lag is 0
	const rounds = 20
	for n := range rounds {
		src.produce(t, "orders", 7, 1+n, 1)
		awaitLagZero(t, m, src, "orders")
	}
	eventually(t, "twenty idle fetches more", func() error {
		if _, _, others := f.count(); others < rounds+20 {
			return fmt.Errorf("%d fetches", others)
		}
		return nil
	})
	full, named, others := f.count()
	// Each record moves partition 7 on, and it may have been without room once.
	if full != 0 || named > 3*rounds {
		t.Errorf("%d full requests, %d partitions named in %d others for %d records of one partition", full, named, others, rounds)
	}
	if got := values(dst.read(t, "orders", 7, 0, rounds+1)); got != values(src.read(t, "orders", 7, 0, rounds+1)) {
		t.Errorf("mirror has %s", got)
	}
}

// A broker may lose a session at any time: the next request begins another one,
// and no partition hears of it.
func TestALostFetchSessionIsBegunAnew(t *testing.T) {
	t.Parallel()
	src, _, m, _ := orders{partitions: 5, link: map[string]string{"replica.fetch.wait.max.ms": "20"}}.mirror(t)
	src.produce(t, "orders", 0, 0, 1)
	awaitLagZero(t, m, src, "orders")
	var f fetches
	f.watch(src)
	for n, spoil := range []*kerr.Error{kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch, kerr.FetchSessionTopicIDError} {
		f.mu.Lock()
		f.spoil = spoil
		f.mu.Unlock()
		eventually(t, "another session after "+spoil.Message, func() error {
			if full, _, _ := f.count(); full != n+1 {
				return fmt.Errorf("%d full requests, want %d", full, n+1)
			}
			return nil
		})
		for p := range int32(5) {
			src.produce(t, "orders", p, n, 1)
		}
		awaitLagZero(t, m, src, "orders")
	}
	progress, err := m.Progress(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range progress.Mirrors[0].Partitions {
		if p.Stalled != "" {
			t.Errorf("partition %d: %s", p.Partition, p.Stalled)
		}
	}
	if full, _, _ := f.count(); full != 3 {
		t.Errorf("%d full requests for 3 lost sessions", full)
	}
}

// A topic that is deleted under a session must not take the others with it.
func TestADeletedTopicLeavesTheOthersInTheSession(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"replica.fetch.wait.max.ms": "20", "cluster.link.retry.timeout.ms": "0"})
	for _, topic := range []string{"gone", "stays"} {
		src.topic(t, topic, 2, nil)
		newTestMirror(t, m, topic)
		src.produce(t, topic, 1, 0, 3)
		awaitLagZero(t, m, src, topic)
	}
	if _, err := src.adm.DeleteTopics(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mirror of the deleted topic failed", func() error {
		got, err := m.Mirror(t.Context(), "l", "gone", false)
		if err == nil && got.MirrorStatus != "FAILED" {
			err = errors.New(got.MirrorStatus)
		}
		return err
	})
	src.produce(t, "stays", 1, 3, 3)
	awaitLagZero(t, m, src, "stays")
}

// Records that do not read as batches are an error of their partition, and the
// buffer that they came in goes back.
func TestRecordsThatAreNoBatchesLeaveNoBufferBehind(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", 2, nil)
	src.produce(t, "orders", 0, 0, 3)
	whole := src.rawBatches(t, "orders")
	hurt := append([]byte(nil), whole...)
	hurt = append(hurt, whole...) // the same offsets again: they must ascend
	spoilt := 0
	src.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.FetchRequest)
		src.KeepControl()
		if req.IsolationLevel != 1 || spoilt == 3 || len(req.Topics) == 0 {
			return nil, nil, false
		}
		spoilt++
		res := req.ResponseKind().(*kmsg.FetchResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewFetchResponseTopicPartition()
				rp.Partition, rp.HighWatermark, rp.RecordBatches = p.Partition, 3, hurt
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"replica.fetch.wait.max.ms": "20"})
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	l := linkOf(t, m)
	alter(t, m, "pause", "orders")
	eventually(t, "nothing is held", func() error {
		if used, _ := l.flow.budget.Used(); used > 0 {
			return fmt.Errorf("%d bytes are", used)
		}
		return nil
	})
	if spoilt != 3 {
		t.Errorf("%d answers were spoilt", spoilt)
	}
}

// rawBatches are the bytes of partition 0, from its start.
func (s *site) rawBatches(t *testing.T, topic string) []byte {
	t.Helper()
	c := newCluster(s.client)
	got, err := c.scanChunk(t.Context(), topicPartition{topic, 0}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, b := range got.batches {
		out = append(out, b.Bytes()...)
	}
	return out
}
