//go:build real

package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// values reads what a partition holds between two offsets.
func apacheValues(t *testing.T, k *local.Kafka, topic string, p int32, from, to int64) string {
	t.Helper()
	cl, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(from)}}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out []*kgo.Record
	for at := from; at < to; {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s partition %d: stuck at %d of %d", topic, p, at, to)
		}
		f.EachRecord(func(r *kgo.Record) {
			at = r.Offset + 1
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
		})
	}
	return values(out)
}

func TestGroupsAndLedgerOnApacheKafka(t *testing.T) {
	t.Parallel()
	src, srcKafka := apacheSite(t, "west")
	dst, dstKafka := apacheSite(t, "east")
	m := apacheEngine(t, dstKafka)
	apacheLink(t, m, srcKafka, syncing)
	src.topic(t, "orders", 2, nil)
	src.produce(t, "orders", 0, 0, 20)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")

	for _, g := range []string{"app", "gone", "used"} {
		src.commit(t, g, "orders", 0, 12)
	}
	syncNow(t, m)
	src.commit(t, "app", "orders", 0, 4)
	if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; s.DestOffset != 4 || s.Problem != "" {
		t.Errorf("rewind: %+v", s)
	}
	if _, err := src.adm.DeleteGroup(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	syncNow(t, m)
	dst.expectCommit(t, "gone", "orders", 0, -1)

	for name, protocol := range map[string][]kgo.Opt{"classic": nil, "KIP-848": {kgo.ServerSideBalancer()}} {
		opts := append(dstKafka.Options(dstKafka.SuperUser()), append(protocol, kgo.ConsumerGroup("used"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())...)
		member, err := kgo.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		poll, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		if f := member.PollFetches(poll); f.Err() != nil {
			t.Fatalf("%s: %v", name, f.Err())
		}
		stop()
		src.commit(t, "used", "orders", 0, 15)
		if s := syncNow(t, m)[groupAt{"used", "orders", 0}]; !strings.Contains(s.Problem, "members") {
			t.Errorf("%s: %+v", name, s)
		}
		// The broker itself refuses, for the moment between the look and the write.
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "orders", At: 1, LeaderEpoch: -1})
		if err := dst.adm.CommitAllOffsets(t.Context(), "used", offsets); !groupInUse(err) {
			t.Errorf("%s: a commit from outside to a group with members: %v", name, err)
		}
		member.Close()
		src.commit(t, "used", "orders", 0, 12)
		eventually(t, name+": the group is synced again", func() error {
			if s := syncNow(t, m)[groupAt{"used", "orders", 0}]; s.Problem != "" || s.DestOffset != 12 {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}

	// A KIP-848 group that works at the source, and commits by itself.
	worker, err := kgo.NewClient(append(srcKafka.Options(srcKafka.SuperUser()), kgo.ServerSideBalancer(), kgo.ConsumerGroup("worker"),
		kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	poll, stopPoll := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stopPoll()
	if f := worker.PollFetches(poll); f.Err() != nil {
		t.Fatal(f.Err())
	}
	if err := worker.CommitUncommittedOffsets(poll); err != nil {
		t.Fatal(err)
	}
	if at := src.committedAt(t, "worker", "orders", 0).At; at <= 0 {
		t.Errorf("the worker has committed %d", at)
	} else if s := syncNow(t, m)[groupAt{"worker", "orders", 0}]; s.DestOffset != at || s.Problem != "" {
		t.Errorf("at %d of the source: %+v", at, s)
	}
	worker.Close()

	src.commit(t, "tip", "orders", 0, 20)
	syncNow(t, m)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	mt := mirrorOf(t, m, "orders")
	stop := mt.parts()[0].stop
	if m.writerFence != api.WriterFenceEnforced || stop.DestStop != 21 {
		t.Errorf("writer fence %s, stop %+v: want a marker behind 20 records", m.writerFence, stop)
	}
	dst.expectCommit(t, "tip", "orders", 0, stop.DestStop)
	dst.expectCommit(t, "app", "orders", 0, 4)
	dst.expectCommit(t, "app", "orders", 1, 0)

	const n = 2*chunkRecords + 5
	src.produce(t, "orders", 0, 20, n)
	dst.produce(t, "orders", 0, 9000, 1)
	if e := computed(t, m)[0]; e.Records != n {
		t.Fatalf("%+v", e)
	}
	// Interrupted as soon as the first copies stand: the next try fences this
	// one's producer by a marker, then finds them.
	for try := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		from := dst.end(t, "orders", 0)
		var watching atomic.Bool
		watching.Store(true)
		seen := make(chan struct{})
		go func() {
			defer close(seen)
			for watching.Load() {
				if ends, err := dst.adm.ListEndOffsets(ctx, "orders"); err == nil {
					if o, _ := ends.Lookup("orders", 0); o.Offset > from+1 {
						cancel()
						return
					}
				}
			}
		}()
		_, err := m.AppendLedger(ctx, "l", decision)
		watching.Store(false)
		<-seen
		cancel()
		t.Logf("try %d: %v", try, err)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	e := appended(t, m)[0]
	if e.Appended != n || e.Decision != api.LedgerAppended {
		t.Errorf("%+v", e)
	}
	got := apacheValues(t, dstKafka, "orders", 0, stop.DestStop, dst.end(t, "orders", 0))
	want := "v9000 " + apacheValues(t, srcKafka, "orders", 0, 20, src.end(t, "orders", 0))
	if got != want {
		t.Errorf("%d records, want %d in order", len(strings.Fields(got)), n+1)
	}
	ex, err := m.ExportLedger(t.Context(), "l", decision)
	if err != nil || ex.Records != n {
		t.Errorf("export: %+v %v", ex, err)
	}

	// Retention has taken all of a mirror, on both sides, when it ends.
	src.topic(t, "canary", 1, nil)
	src.produce(t, "canary", 0, 0, 10)
	newTestMirror(t, m, "canary")
	awaitLagZero(t, m, src, "canary")
	src.expire(t, "canary", 10)
	dst.expire(t, "canary", 10)
	alter(t, m, api.VerbFailover, "canary")
	expectStop(t, m, "canary", 10, 11)
	if got, err := m.ComputeLedger(t.Context(), "l"); err != nil || got.Entries[0].Topic != "canary" || got.Entries[0].Records != 0 || got.Entries[0].Unrecoverable != 0 {
		t.Errorf("%+v %v", got, err)
	}
}
