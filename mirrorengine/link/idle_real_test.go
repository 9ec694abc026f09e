//go:build real

package link

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// footprint is what this process holds: Go's live heap and stacks, and what the
// machine gives it.
type footprint struct{ goBytes, rss int64 }

func footprintNow(t *testing.T) footprint {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory() // and what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return footprint{int64(m.HeapAlloc + m.StackInuse), pages * int64(os.Getpagesize())}
}

// idlePartitions measures what an engine holds for each of n mirrored partitions
// that have nothing to do, in bytes. Both clusters are processes of their own.
func idlePartitions(t *testing.T, n int) footprint {
	t.Helper()
	const perTopic = 100
	site := func(name string) *local.Kafka {
		return local.KafkaForTest(t, local.KafkaConfig{Name: name, Kind: local.KFake, SuperUser: local.User{Name: "admin", Password: "admin-secret"}})
	}
	src, dst := site(fmt.Sprintf("src%d", n)), site(fmt.Sprintf("dst%d", n))
	cl, err := kgo.NewClient(src.Options(src.SuperUser())...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var topics []string
	for i := range n / perTopic {
		topics = append(topics, fmt.Sprintf("t%03d", i))
	}
	if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), perTopic, 1, nil, topics...); err != nil {
		t.Fatal(err)
	}
	m := apacheEngine(t, dst)
	apacheLink(t, m, src, nil)
	before := footprintNow(t)
	for _, topic := range topics {
		if err := m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: topic, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all partitions know where they stand", func() error {
		p, err := m.Progress(t.Context(), "l")
		for _, mt := range p.Mirrors {
			for _, part := range mt.Partitions {
				if part.DestEnd < 0 || part.SourceHighWatermark < 0 {
					err = fmt.Errorf("%s partition %d: %+v", mt.Topic, part.Partition, part)
				}
			}
		}
		return err
	})
	after := footprintNow(t)
	return footprint{(after.goBytes - before.goBytes) / int64(n), (after.rss - before.rss) / int64(n)}
}

// idleEnv asks the test below for one measurement of so many partitions.
const idleEnv = "DRAWBRIDGE_IDLE_PARTITIONS"

// idleFootprint measures in a process of its own: what other tests of this one have
// left would be counted too.
func idleFootprint(t *testing.T, n int) (f footprint) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMemoryOfAnIdlePartition$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", idleEnv, n))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, told, _ := strings.Cut(string(out), "footprint: ")
	if _, err := fmt.Sscan(told, &f.goBytes, &f.rss); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return f
}

// The price of a partition that does nothing is bounded, and it does not rise with
// their number.
func TestMemoryOfAnIdlePartition(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(idleEnv)); err == nil { // the process that idleFootprint starts
		f := idlePartitions(t, n)
		t.Logf("footprint: %d %d", f.goBytes, f.rss)
		return
	}
	sizes := []int{200, 1000}
	if os.Getenv("DRAWBRIDGE_LONG") != "" {
		sizes = []int{1000, 10000}
	}
	few, many := idleFootprint(t, sizes[0]), idleFootprint(t, sizes[1])
	measured(t, "idle-partitions", map[string]any{
		"partitions": sizes, "go_bytes_per_partition": []int64{few.goBytes, many.goBytes}, "rss_bytes_per_partition": []int64{few.rss, many.rss},
	})
	if many.goBytes > 48<<10 || many.goBytes > 2*few.goBytes {
		t.Errorf("%d bytes for each of %d idle partitions, %d for each of %d", few.goBytes, sizes[0], many.goBytes, sizes[1])
	}
}
