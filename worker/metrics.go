package worker

import (
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.temporal.io/sdk/client"
)

// metrics gives the SDK's metrics to Prometheus. The SDK tags one metric
// differently in different places, which a CounterVec cannot hold; so it is a
// collector of its own, that describes nothing beforehand.
type metrics struct {
	tags     map[string]string
	shared   *series
	registry *prometheus.Registry
}

// series are all values, shared by the handlers that WithTags makes.
type series struct {
	mu   sync.Mutex // guards what follows
	all  map[string]*value
	kind map[string]prometheus.ValueType // of a name: a name keeps its first kind
}

// value is one series.
type value struct {
	name    string
	labels  []string
	values  []string
	kind    prometheus.ValueType // Untyped: a histogram
	number  float64              // count of a counter, value of a gauge, sum of a histogram
	count   uint64
	buckets []uint64 // cumulative, as buckets
}

// buckets of the SDK's latencies, in seconds: a task takes milliseconds, a long
// poll a minute.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}

func newMetrics(version string) *metrics {
	m := &metrics{
		shared:   &series{all: map[string]*value{}, kind: map[string]prometheus.ValueType{}},
		registry: prometheus.NewRegistry(),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "drawbridge_worker_build_info",
		Help: "Always 1; the label tells the worker's version.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(build, m.shared, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler(logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// WithTags is the handler with more tags; equal ones are replaced.
func (m *metrics) WithTags(tags map[string]string) client.MetricsHandler {
	all := maps.Clone(m.tags)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, tags)
	return &metrics{tags: all, shared: m.shared, registry: m.registry}
}

// Counter counts events.
func (m *metrics) Counter(name string) client.MetricsCounter {
	v := m.shared.get(name, "_total", prometheus.CounterValue, m.tags)
	return counter(func(n int64) {
		if n > 0 {
			m.shared.add(v, float64(n))
		}
	})
}

// Gauge is a value that goes up and down.
func (m *metrics) Gauge(name string) client.MetricsGauge {
	v := m.shared.get(name, "", prometheus.GaugeValue, m.tags)
	return gauge(func(n float64) { m.shared.set(v, n) })
}

// Timer measures durations, shown in seconds.
func (m *metrics) Timer(name string) client.MetricsTimer {
	v := m.shared.get(name, "_seconds", prometheus.UntypedValue, m.tags)
	return timer(func(d time.Duration) { m.shared.observe(v, d.Seconds()) })
}

type (
	counter func(int64)
	gauge   func(float64)
	timer   func(time.Duration)
)

func (c counter) Inc(n int64)          { c(n) }
func (g gauge) Update(n float64)       { g(n) }
func (t timer) Record(d time.Duration) { t(d) }

var noName = regexp.MustCompile(`[^a-zA-Z0-9_]`)

func (s *series) get(name, suffix string, kind prometheus.ValueType, tags map[string]string) *value {
	name = noName.ReplaceAllString(strings.TrimSuffix(name, suffix), "_") + suffix
	v := &value{name: name, kind: kind}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v.labels = append(v.labels, noName.ReplaceAllString(k, "_"))
		v.values = append(v.values, strings.ToValidUTF8(tags[k], "?"))
	}
	key := name + "\x00" + strings.Join(v.labels, "\x00") + "\x00" + strings.Join(v.values, "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.all[key]; have != nil {
		return have
	}
	if first, ok := s.kind[name]; ok && first != kind {
		return v // one name of two kinds would spoil the whole page: not shown
	}
	s.kind[name], s.all[key] = kind, v
	if kind == prometheus.UntypedValue {
		v.buckets = make([]uint64, len(buckets))
	}
	return v
}

func (s *series) add(v *value, n float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.number += n
}

func (s *series) set(v *value, n float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.number = n
}

func (s *series) observe(v *value, seconds float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.number += seconds
	v.count++
	for i := range v.buckets {
		if seconds <= buckets[i] {
			v.buckets[i]++
		}
	}
}

// Describe tells nothing: which series there will be is the SDK's to know.
func (s *series) Describe(chan<- *prometheus.Desc) {}

// Collect gives every series as it is now.
func (s *series) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.all {
		desc := prometheus.NewDesc(v.name, "Temporal SDK metric "+v.name+".", v.labels, nil)
		var m prometheus.Metric
		var err error
		if v.kind == prometheus.UntypedValue {
			cumulative := make(map[float64]uint64, len(buckets))
			for i, b := range buckets {
				cumulative[b] = v.buckets[i]
			}
			m, err = prometheus.NewConstHistogram(desc, v.count, v.number, cumulative, v.values...)
		} else {
			m, err = prometheus.NewConstMetric(desc, v.kind, v.number, v.values...)
		}
		if err != nil {
			m = prometheus.NewInvalidMetric(desc, err)
		}
		out <- m
	}
}
