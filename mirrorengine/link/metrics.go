package link

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// metrics of the record path, in base units. Labels are link and topic, never
// partition: those figures are in the progress endpoint and in /debug/mirrors.
// Topics with series of their own are bounded, so that no number of mirrors makes
// a scrape too large; the rest of a link is added up in one.
type metrics struct {
	records       *prometheus.CounterVec
	bytes         *prometheus.CounterVec
	reencoded     *prometheus.CounterVec
	lagRecords    *prometheus.GaugeVec
	lagSeconds    *prometheus.GaugeVec
	mirrors       *prometheus.GaugeVec
	sourceUp      *prometheus.GaugeVec
	stalls        *prometheus.GaugeVec
	tasks         *prometheus.GaugeVec
	inFlight      *prometheus.GaugeVec
	drift         *prometheus.GaugeVec
	openTxn       *prometheus.GaugeVec
	retentionLeft *prometheus.GaugeVec

	mu  sync.Mutex // guards own
	own map[[2]string]bool
}

// maxTopicSeries is how many topics of an engine have series of their own: the
// first ones seen. Others share the topic label otherTopics of their link.
const (
	maxTopicSeries = 500
	otherTopics    = "(other)" // no topic can be called so
)

// newMetrics makes the metrics; shards tells how many shards of the state this
// replica owns.
func newMetrics(reg prometheus.Registerer, shards func() float64) *metrics {
	topic := []string{"link", "topic"}
	m := &metrics{
		records:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drawbridge_mirrored_records_total", Help: "Records acknowledged by the destination."}, topic),
		bytes:         prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drawbridge_mirrored_bytes_total", Help: "Bytes of record batches acknowledged by the destination, as sent."}, topic),
		reencoded:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drawbridge_reencoded_batches_total", Help: "Batches that could not pass as they were, by reason."}, []string{"link", "reason"}),
		lagRecords:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_mirror_lag_records", Help: "Records between the source's high watermark and the mirror, summed over partitions."}, topic),
		lagSeconds:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_mirror_lag_seconds", Help: "Age of what is not mirrored yet, on the engine's clock; the worst partition."}, topic),
		mirrors:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_mirrors", Help: "Mirror topics by status."}, []string{"link", "status"}),
		sourceUp:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_source_up", Help: "1 while the source answers."}, []string{"link"}),
		stalls:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_stalled_partitions", Help: "Partitions that do not move; /debug/mirrors says why."}, topic),
		tasks:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_link_task_in_error", Help: "1 while a task of the link is in error; the link's description says why."}, []string{"link", "task"}),
		drift:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_config_drift", Help: "Topic configs in which mirrors differ from their sources, counted by config and pair of values; harmful: the mirror's value loses records, durability or batches."}, []string{"link", "harmful"}),
		openTxn:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_open_transaction_seconds", Help: "How long the oldest transaction that holds the mirror back at the source has been seen open; absent without one."}, topic),
		retentionLeft: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_retention_left_seconds", Help: "Estimated time until the source's retention, or the loss of its tombstones, reaches the first record that is not mirrored; the worst partition, absent without a lag."}, topic),
		inFlight:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drawbridge_inflight_bytes", Help: "Memory of what was fetched and is not acknowledged, and of Fetches under way; bounded by drawbridge.inflight.max.bytes."}, []string{"link"}),
		own:           map[[2]string]bool{},
	}
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "drawbridge_shards_owned", Help: "Shards of the state that this replica owns; it mirrors the partitions that belong to them.",
		}, shards))
		reg.MustRegister(m.records, m.bytes, m.reencoded, m.lagRecords, m.lagSeconds, m.mirrors, m.sourceUp, m.stalls, m.tasks, m.inFlight, m.drift, m.openTxn, m.retentionLeft)
	}
	return m
}

// topic is the label that a topic's figures go to.
func (m *metrics) topic(link, topic string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := [2]string{link, topic}
	if !m.own[at] && len(m.own) >= maxTopicSeries {
		return otherTopics
	}
	m.own[at] = true
	return topic
}

func (m *metrics) mirrored(p *partition, o batch.Out) {
	m.count(p.mirror.link.rec.Name, p.dst.topic, o)
}

func (m *metrics) count(link, topic string, o batch.Out) {
	label := m.topic(link, topic)
	m.records.WithLabelValues(link, label).Add(float64(o.Records))
	m.bytes.WithLabelValues(link, label).Add(float64(len(o.Bytes)))
	if o.Reencoded != 0 {
		m.reencoded.WithLabelValues(link, o.Reencoded.String()).Inc()
	}
}

// topicLag is what the gauges tell of a topic, or of several.
type topicLag struct {
	records int64
	seconds float64
	stalled int
}

// observe sets the gauges of a link; those of mirrors only the leader shows, or
// replicas would count them twice.
func (m *metrics) observe(l *Link) {
	name := l.record().Name
	of := prometheus.Labels{"link": name}
	m.mirrors.DeletePartialMatch(of)
	up := 0.0
	if l.reachable() {
		up = 1
	}
	m.sourceUp.WithLabelValues(name).Set(up)
	used, _ := l.flow.budget.Used()
	m.inFlight.WithLabelValues(name).Set(float64(used))
	if !l.leading {
		for _, v := range []*prometheus.GaugeVec{m.lagRecords, m.lagSeconds, m.stalls, m.tasks, m.drift, m.openTxn, m.retentionLeft} {
			v.DeletePartialMatch(of)
		}
		return
	}
	now := time.Now()
	mirrors, lags := map[string]int{}, map[string]topicLag{}
	for _, mt := range l.all() {
		rec := mt.record()
		mirrors[rec.Status]++
		label := m.topic(name, rec.Topic)
		lag := lags[label]
		for _, p := range mt.parts() {
			pr := p.progress(now)
			lag.records += pr.LagRecords
			lag.seconds = max(lag.seconds, pr.LagSeconds)
			if pr.Stalled != "" {
				lag.stalled++
			}
		}
		lags[label] = lag
	}
	for status, n := range mirrors {
		m.mirrors.WithLabelValues(name, status).Set(float64(n))
	}
	for label, lag := range lags {
		m.lagRecords.WithLabelValues(name, label).Set(float64(lag.records))
		m.lagSeconds.WithLabelValues(name, label).Set(lag.seconds)
		m.stalls.WithLabelValues(name, label).Set(float64(lag.stalled))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	harm := map[bool]int{}
	for _, e := range l.drift.Entries {
		if !e.ByDesign {
			harm[e.Harmful]++
		}
	}
	for _, h := range []bool{true, false} {
		m.drift.WithLabelValues(name, strconv.FormatBool(h)).Set(float64(harm[h]))
	}
	for _, t := range l.tasks {
		bad := 0.0
		if t.State == "IN_ERROR" {
			bad = 1
		}
		m.tasks.WithLabelValues(name, t.TaskName).Set(bad)
	}
}

// forget drops a topic's series; its place is free for another one.
func (m *metrics) forget(link, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := [2]string{link, topic}
	if !m.own[at] {
		return
	}
	delete(m.own, at)
	for _, v := range []*prometheus.GaugeVec{m.lagRecords, m.lagSeconds, m.stalls, m.openTxn, m.retentionLeft} {
		v.DeleteLabelValues(link, topic)
	}
	m.records.DeleteLabelValues(link, topic)
	m.bytes.DeleteLabelValues(link, topic)
}

// forgetLink drops what a link that is gone still has, of all its topics.
func (m *metrics) forgetLink(link string) {
	at := prometheus.Labels{"link": link}
	for _, v := range []*prometheus.GaugeVec{m.lagRecords, m.lagSeconds, m.stalls, m.mirrors, m.sourceUp, m.tasks, m.inFlight, m.drift, m.openTxn, m.retentionLeft} {
		v.DeletePartialMatch(at)
	}
	for _, v := range []*prometheus.CounterVec{m.records, m.bytes, m.reencoded} {
		v.DeletePartialMatch(at)
	}
}
