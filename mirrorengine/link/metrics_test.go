package link

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// series counts what a scrape would bring, and finds a sample by its labels'
// values.
func series(t *testing.T, reg *prometheus.Registry) (n int, sample func(name string, values ...string) float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n, func(name string, values ...string) float64 {
		for _, f := range families {
			for _, m := range f.GetMetric() {
				var got []string
				for _, l := range m.GetLabel() {
					got = append(got, l.GetValue())
				}
				if f.GetName() == name && slices.Equal(got, values) {
					return m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
		return -1
	}
}

func TestSeriesDoNotGrowWithPartitions(t *testing.T) {
	src, dst := newSite(t, "source"), newSite(t, "destination")
	m, _ := newEngine(t, dst)
	reg := m.opts.Registry.(*prometheus.Registry)
	newTestLink(t, m, src, nil)
	src.topic(t, "small", 1, nil)
	newTestMirror(t, m, "small")
	src.produce(t, "small", 0, 0, 10)
	awaitLagZero(t, m, src, "small")
	settled := func() (n int) {
		eventually(t, "all gauges are set", func() error {
			got, sample := series(t, reg)
			if n = got; sample("drawbridge_mirrors", "l", status.Active.String()) != float64(len(m.all()[0].all())) || sample("drawbridge_link_task_in_error", "l", taskGuards) < 0 || sample("drawbridge_link_task_in_error", "l", api.TaskConfigSync) < 0 {
				return fmt.Errorf("%d series", n)
			}
			return nil
		})
		return n
	}
	one := settled()
	src.topic(t, "large", 2000, nil)
	newTestMirror(t, m, "large")
	src.produce(t, "large", 1999, 0, 10)
	awaitLagZero(t, m, src, "large")
	if two := settled(); two-one > one {
		t.Errorf("%d series with a mirror of one partition, %d with one more of 2,000", one, two)
	}
	rows, err := m.DebugMirrors(t.Context())
	if err != nil || len(rows) != 2001 {
		t.Fatalf("%d partitions to look into, error %v", len(rows), err)
	}
	if last := rows[1999]; last.Topic != "large" || last.Partition != 1999 || !last.Located || last.SourcePosition != 10 || last.Segments != 1 || last.NextSequence != 10 || last.ProducerID < 0 || last.Moved.IsZero() || last.BytesUnderWay != 0 {
		t.Errorf("%+v", last)
	}
	if err := m.DeleteLink(t.Context(), "l", true, false); err != nil {
		t.Fatal(err)
	}
	if left, _ := series(t, reg); left > 1 { // the engine's shards
		t.Errorf("%d series of a link that is gone", left)
	}
}

func TestTopicsBeyondTheBoundShareASeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg, func() float64 { return 1 })
	const topics = 3 * maxTopicSeries
	for i := range topics {
		m.count("l", fmt.Sprintf("t%d", i), batch.Out{Records: 2, Bytes: make([]byte, 10)})
	}
	n, sample := series(t, reg)
	if want := 2*(maxTopicSeries+1) + 1; n != want {
		t.Errorf("%d series, want %d", n, want)
	}
	if got := sample("drawbridge_mirrored_records_total", "l", otherTopics); got != 2*(topics-maxTopicSeries) {
		t.Errorf("the others have %v records", got)
	}
	if got := sample("drawbridge_mirrored_bytes_total", "l", "t1"); got != 10 {
		t.Errorf("t1 has %v bytes", got)
	}
	m.forget("l", "t1")
	m.count("l", "t1499", batch.Out{Records: 1})
	if _, sample = series(t, reg); sample("drawbridge_mirrored_records_total", "l", "t1") != -1 || sample("drawbridge_mirrored_records_total", "l", "t1499") != 1 {
		t.Error("the place of a topic that is gone is not free")
	}
}
