//go:build real

package link

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/wire"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// slowConn writes at a pace that it shares with others.
type slowConn struct {
	net.Conn
	pace *wire.Pace
}

func (c slowConn) Write(p []byte) (int, error) {
	c.pace.Paid(time.Now(), len(p))
	if wait := c.pace.Wait(time.Now()); wait > 10*time.Millisecond {
		<-time.After(wait) // the slowness itself
	}
	return c.Conn.Write(p)
}

// kfakeSite is a site in a process of its own, so that its memory does not count.
func kfakeSite(t *testing.T, name string) (*site, *local.Kafka) {
	t.Helper()
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.KFake, Name: name, SuperUser: local.User{Name: "admin", Password: "admin-secret"}})
	cl, err := kgo.NewClient(append(k.Options(k.SuperUser()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(8))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &site{client: cl, adm: kadm.NewClient(cl)}, k
}

// held is what the runtime has from the system and has not given back.
func held() int64 {
	s := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// live is what was in use when the collector last looked.
func live() int64 {
	s := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(s)
	return int64(s[0].Value.Uint64())
}

// A hundred partitions of batches of 1 MiB, and a destination that is slower
// than the source: the engine holds as much as it may, not as much as it could.
func TestMemoryIsBoundedWhenTheDestinationIsSlow(t *testing.T) {
	const (
		partitions = 100
		each       = 2
		size       = 1_000_000
		limit      = 16 << 20
		answer     = 10 << 20 // replica.fetch.response.max.bytes: what one reader may overdraw by
		speed      = 24 << 20
	)
	src, srcKafka := kfakeSite(t, "east")
	_, dstKafka := kfakeSite(t, "west")
	src.topic(t, "big", partitions, nil)
	want := map[int32][each][32]byte{}
	value := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	for p := range int32(partitions) {
		var sums [each][32]byte
		for n := range each {
			_, _ = rng.Read(value)
			sums[n] = sha256.Sum256(value)
			if err := src.client.ProduceSync(t.Context(), &kgo.Record{Topic: "big", Partition: p, Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		want[p] = sums
	}
	pace := wire.NewPace(speed)
	m, _ := newEngineWith(t, nil, Options{Local: append(dstKafka.Options(dstKafka.SuperUser()),
		kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return slowConn{nc, pace}, err
		}))})
	runtime.GC()
	before, liveBefore := held(), live()
	var peak, livePeak atomic.Int64
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				peak.Store(max(peak.Load(), held()))
				livePeak.Store(max(livePeak.Load(), live()))
			}
		}
	}()
	link := func(name string, configs map[string]string) {
		t.Helper()
		req := api.CreateLink{SourceClusterID: srcKafka.ClusterID()}
		configs["bootstrap.servers"] = strings.Join(srcKafka.Bootstrap(), ",")
		configs[keyProtocol], configs[keyMechanism] = "SASL_PLAINTEXT", "SCRAM-SHA-256"
		configs[keyJAAS] = fmt.Sprintf(`org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="${file:%s}";`, secretFile(t, "admin-secret"))
		for k, v := range configs {
			req.Configs = append(req.Configs, api.NameValue{Name: k, Value: &v})
		}
		if err := m.CreateLink(t.Context(), name, req, false, true); err != nil {
			t.Fatal(err)
		}
	}
	link("l", map[string]string{"drawbridge.inflight.max.bytes": fmt.Sprint(limit)})
	newTestMirror(t, m, "big")
	l := linkOf(t, m)
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for missing := 1; missing > 0; {
		select {
		case <-deadline:
			t.Fatalf("%d partitions are not mirrored", missing)
		case <-tick.C:
		}
		mirror, err := l.mirror("big")
		if err != nil {
			t.Fatal(err)
		}
		missing = partitions
		for _, p := range mirror.parts() {
			if p.progress(time.Now()).SourcePosition == each {
				missing--
			}
		}
	}
	used, most := l.flow.budget.Used()
	t.Logf("limit %d MiB: at most %d MiB in flight; the process held %d MiB before and %d MiB at most, of which %d and %d MiB were in use; %d MiB mirrored",
		limit>>20, most>>20, before>>20, peak.Load()>>20, liveBefore>>20, livePeak.Load()>>20, partitions*each*size>>20)
	if most > limit+answer {
		t.Errorf("%d bytes were in flight, the limit is %d", most, limit)
	}
	if most < limit/2 {
		t.Errorf("%d bytes were in flight at most: the destination was not slow, and the test shows nothing", most)
	}
	// What is in use is what the collector found so, the pool's buffers among it. It
	// lets the heap double before it cleans up, and falls behind on a busy machine.
	if grown := livePeak.Load() - liveBefore; grown > 5*limit {
		t.Errorf("%d MiB more were in use with a limit of %d MiB", grown>>20, limit>>20)
	}
	if grown := peak.Load() - before; grown > 8*limit {
		t.Errorf("the process grew by %d MiB with a limit of %d MiB", grown>>20, limit>>20)
	}
	eventually(t, "all is given back but what waits for news", func() error {
		if used, _ = l.flow.budget.Used(); used > answer {
			return fmt.Errorf("%d bytes are in flight", used)
		}
		return nil
	})
	cl, err := kgo.NewClient(append(dstKafka.Options(dstKafka.SuperUser()), kgo.ConsumeTopics("big"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := 0; got < partitions*each; {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records in the mirror", got, partitions*each)
		}
		f.EachRecord(func(r *kgo.Record) {
			got++
			if sha256.Sum256(r.Value) != want[r.Partition][r.Offset] {
				t.Errorf("partition %d offset %d is another record", r.Partition, r.Offset)
			}
		})
	}
}
