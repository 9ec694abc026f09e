package link

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// metrics of the record path, in base units. Labels are link and topic, not
// partition: the per-partition figures are in the progress endpoint.
type metrics struct {
	records       *prometheus.CounterVec
	bytes         *prometheus.CounterVec
	reencoded     *prometheus.CounterVec
	lagRecords    *prometheus.GaugeVec
	lagSeconds    *prometheus.GaugeVec
	mirrors       *prometheus.GaugeVec
	sourceUp      *prometheus.GaugeVec
	stallsGauge   *prometheus.GaugeVec
	drift         *prometheus.GaugeVec
	openTxn       *prometheus.GaugeVec
	retentionLeft *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	topic := []string{"link", "topic"}
	m := &metrics{
		records:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drawbridge_mirrored_records_total", Help: "Records acknowledged by the destination."}, topic),
		bytes:         prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drawbridge_mirrored_bytes_total", Help: "Bytes of record batches acknowledged by the destination, as sent."}, topic),
		reencoded:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drawbridge_reencoded_batches_total", Help: "Batches that could not pass as they were, by reason."}, []string{"link", "topic", "reason"}),
		lagRecords:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_mirror_lag_records", Help: "Records between the source's high watermark and the mirror, summed over partitions."}, topic),
		lagSeconds:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_mirror_lag_seconds", Help: "Age of what is not mirrored yet, on the engine's clock; the worst partition."}, topic),
		mirrors:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_mirrors", Help: "Mirror topics by status."}, []string{"link", "status"}),
		sourceUp:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_source_up", Help: "1 while the source answers."}, []string{"link"}),
		stallsGauge:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_stalled_partitions", Help: "Partitions that do not move; the progress endpoint says why."}, topic),
		drift:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_config_drift", Help: "Topic configs in which mirrors differ from their sources, counted by config and pair of values; harmful: the mirror's value loses records, durability or batches."}, []string{"link", "harmful"}),
		openTxn:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_open_transaction_seconds", Help: "How long the oldest transaction that holds the mirror back at the source has been seen open; absent without one."}, topic),
		retentionLeft: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_retention_left_seconds", Help: "Estimated time until the source's retention, or the loss of its tombstones, reaches the first record that is not mirrored; the worst partition, absent without a lag."}, topic),
	}
	if reg != nil {
		reg.MustRegister(m.openTxn, m.retentionLeft, m.drift, m.records, m.bytes, m.reencoded, m.lagRecords, m.lagSeconds, m.mirrors, m.sourceUp, m.stallsGauge)
	}
	return m
}

func (m *metrics) mirrored(p *partition, o batch.Out) {
	link, topic := p.mirror.link.rec.Name, p.dst.topic
	m.records.WithLabelValues(link, topic).Add(float64(o.Records))
	m.bytes.WithLabelValues(link, topic).Add(float64(len(o.Bytes)))
	if o.Reencoded != 0 {
		m.reencoded.WithLabelValues(link, topic, o.Reencoded.String()).Inc()
	}
}

// observe sets the gauges of a link.
func (m *metrics) observe(l *Link) {
	name := l.record().Name
	m.mirrors.DeletePartialMatch(prometheus.Labels{"link": name})
	up := 0.0
	if l.reachable() {
		up = 1
	}
	m.sourceUp.WithLabelValues(name).Set(up)
	harm := map[bool]int{}
	l.mu.Lock()
	for _, e := range l.drift.Entries {
		if !e.ByDesign {
			harm[e.Harmful]++
		}
	}
	l.mu.Unlock()
	for _, h := range []bool{true, false} {
		m.drift.WithLabelValues(name, strconv.FormatBool(h)).Set(float64(harm[h]))
	}
	now := time.Now()
	for _, mt := range l.all() {
		rec := mt.record()
		m.mirrors.WithLabelValues(name, rec.Status).Inc()
		var records int64
		var seconds float64
		stalled := 0
		for _, p := range mt.parts() {
			pr := p.progress(now)
			records += pr.LagRecords
			seconds = max(seconds, pr.LagSeconds)
			if pr.Stalled != "" {
				stalled++
			}
		}
		m.lagRecords.WithLabelValues(name, rec.Topic).Set(float64(records))
		m.lagSeconds.WithLabelValues(name, rec.Topic).Set(seconds)
		m.stallsGauge.WithLabelValues(name, rec.Topic).Set(float64(stalled))
	}
}

// forget drops a topic's series.
func (m *metrics) forget(link, topic string) {
	for _, v := range []*prometheus.GaugeVec{m.lagRecords, m.lagSeconds, m.stallsGauge, m.openTxn, m.retentionLeft} {
		v.DeleteLabelValues(link, topic)
	}
	m.records.DeleteLabelValues(link, topic)
	m.bytes.DeleteLabelValues(link, topic)
	m.reencoded.DeletePartialMatch(prometheus.Labels{"link": link, "topic": topic})
}
