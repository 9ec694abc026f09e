package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

type thing struct {
	N int `json:"n"`
}

// session of the replicas under test: long, since one whose process gets no time for as long loses its shards and its writes
// are refused. A replica that leaves says so; only one that falls silent is waited for.
const session = 30 * time.Second

func newCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// replica opens a Store under a name, which is its client id and its address.
func replica(t *testing.T, c *kfake.Cluster, name string, change ...func(*Options)) *Store {
	t.Helper()
	opts := options(c, name)
	for _, f := range change {
		f(&opts)
	}
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func options(c *kfake.Cluster, name string) Options {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("DRAWBRIDGE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("replica", name)
	}
	return Options{
		Local:     []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.ClientID(name)},
		ClusterID: "c", Topic: "_state", Shards: 4, ReplicationFactor: 1, Address: name, Session: session, Logger: log,
	}
}

func write(t *testing.T, s *Store, shard int32, key string, v any) {
	t.Helper()
	if err := s.Put(t.Context(), shard, Entry{key, v}); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within two minutes: %v", what, err)
		case <-tick.C:
		}
	}
}

func TestANewOwnerReadsWhatTheFormerOneWrote(t *testing.T) {
	c := newCluster(t)
	a := replica(t, c, "a")
	for i := range 40 {
		if err := a.Put(t.Context(), int32(i%4), Entry{fmt.Sprintf("k/%02d", i), thing{-1}}, Entry{fmt.Sprintf("k/%02d", i), thing{i}}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, a, 39%4, "k/39", nil)
	if keys := a.Keys("k/39"); len(keys) != 0 {
		t.Errorf("its writer still reads %v, which it removed", keys)
	}
	a.Close()
	b := replica(t, c, "b")
	got, err := All[thing](b, "k/")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]thing, 39)
	for i := range want {
		want[i].N = i
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPutsThatComeTogetherAreAllKept(t *testing.T) {
	c := newCluster(t)
	a := replica(t, c, "a")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := a.Put(t.Context(), 2, Entry{fmt.Sprintf("k/%03d", i), thing{i}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a.Close()
	b := replica(t, c, "b")
	all, err := All[thing](b, "k/")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]thing, 200)
	for i := range want {
		want[i].N = i
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

// What a Put has made readable must not go back to what it was when the reader
// comes to older records of the key.
func TestAnOwnerNeverReadsOlderThanItWrote(t *testing.T) {
	a := replica(t, newCluster(t), "a")
	for i := range 300 {
		write(t, a, 0, "k", thing{i})
		for range 3 {
			var got thing
			if ok, err := a.Get("k", &got); err != nil || !ok || got.N != i {
				t.Fatalf("wrote %d, read %d (%v, %v)", i, got.N, ok, err)
			}
		}
	}
}

func TestANewerRecordIsRefusedByName(t *testing.T) {
	c := newCluster(t)
	running := replica(t, c, "running")
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "_state", Partition: 2, Key: []byte("link/x"), Value: []byte(`{"v":9,"data":{}}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-running.Failed():
		t.Log(err)
	case <-time.After(2 * time.Minute):
		t.Error("a replica goes on that met a newer record")
	}
	running.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	late, err := Open(ctx, options(c, "late"))
	if err != nil {
		return
	}
	// Its first share may have been empty, while the other one was still leaving.
	defer late.Close()
	select {
	case err := <-late.Failed():
		t.Log(err)
	case <-ctx.Done():
		t.Error("an older build goes on that met a newer record")
	}
}

// An engine that lacks a right says so when it starts: somebody waits for it.
func TestARightThatIsMissingIsToldAtOnce(t *testing.T) {
	may := func(r kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: r, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	topic, group, transactions := may(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationAll), may(kmsg.ACLResourceTypeGroup, "*", kmsg.ACLOperationAll), may(kmsg.ACLResourceTypeTransactionalId, "*", kmsg.ACLOperationAll)
	read, create := may(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationRead), may(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationCreate)
	for name, tc := range map[string]struct {
		rights []kfake.ACL
		want   error
	}{
		"transactional ids":  {[]kfake.ACL{topic, group}, kerr.TransactionalIDAuthorizationFailed},
		"write to the topic": {[]kfake.ACL{read, create, group, transactions}, kerr.TopicAuthorizationFailed},
		"group":              {[]kfake.ACL{topic, transactions}, kerr.GroupAuthorizationFailed},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "engine", "engine", tc.rights...))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			opts := options(c, "a")
			opts.Local = append(opts.Local, kgo.SASL(plain.Auth{User: "engine", Pass: "engine"}.AsMechanism()))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s, err := Open(ctx, opts)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, tc.want) || ctx.Err() != nil {
				t.Errorf("got %v, within the time: %v", err, ctx.Err() == nil)
			}
		})
	}
}

func TestAWriteThatTheTopicDoesNotTakeIsTold(t *testing.T) {
	c := newCluster(t)
	s := replica(t, c, "a")
	write(t, s, 1, "k", thing{1})
	later := time.Now().Add(time.Hour)
	if err := s.stuckAt(later); err != nil {
		t.Fatalf("with no write under way: %v", err)
	}
	var held atomic.Bool
	held.Store(true)
	c.ControlKey(kmsg.Produce.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if !held.Load() {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition, p.ErrorCode = rp.Partition, kerr.NotEnoughReplicas.Code
				topic.Partitions = append(topic.Partitions, p)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), 1, Entry{"k", thing{2}}) }()
	eventually(t, "the write that is held is told", func() error {
		if err := s.stuckAt(later); err == nil || !strings.Contains(err.Error(), "topic _state, partition 1, takes no writes since") {
			return fmt.Errorf("it says %w", err)
		}
		return nil
	})
	if err := s.Stuck(); err != nil {
		t.Errorf("a write that has just begun: %v", err)
	}
	held.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.stuckAt(later); err != nil {
		t.Errorf("after the write: %v", err)
	}
}
