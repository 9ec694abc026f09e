package link

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// BenchmarkTinyBacklog mirrors a backlog of one-record batches of about 100
// bytes from kfake to kfake, as they are and merged. The processor time is the
// whole process's: engine, both embedded clusters and the polling for the end.
func BenchmarkTinyBacklog(b *testing.B) {
	const records = 10_000
	for name, l := range map[string]batch.Limits{"as-they-are": {}, "merged": mergeUpTo} {
		b.Run(name, func(b *testing.B) {
			src, dst := newSite(b, "src"), newSite(b, "dst")
			src.topic(b, "orders", 1, nil)
			src.oneByOne(b, "orders", records)
			requests := dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Count: -1, Observe: true})
			m, _ := newEngineWith(b, dst, mergeTo(l))
			newTestLink(b, m, src, nil)
			var cpu time.Duration
			for b.Loop() {
				before := processorTime(b)
				newTestMirror(b, m, "orders")
				awaitLagZero(b, m, src, "orders")
				cpu += processorTime(b) - before
				b.StopTimer()
				alter(b, m, api.VerbFailover, "orders")
				awaitStatus(b, m, "orders", status.Stopped)
				if _, err := dst.adm.DeleteTopic(b.Context(), "orders"); err != nil {
					b.Fatal(err)
				}
				eventually(b, "the topic is gone", func() error {
					topics, err := dst.adm.ListTopics(b.Context(), "orders")
					if err == nil && topics["orders"].Err == nil {
						err = fmt.Errorf("%v", topics["orders"])
					}
					return err
				})
				b.StartTimer()
			}
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(float64(requests.Hits())/float64(b.N), "requests/op")
			b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
