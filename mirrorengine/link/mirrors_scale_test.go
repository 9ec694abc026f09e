package link

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Everything that a round of the engine's tasks asks about many mirrors it asks in
// bulk, and a listing asks nobody.
func TestManyMirrorsAreListedAndSyncedByFewRequests(t *testing.T) {
	n := 300
	if os.Getenv("DRAWBRIDGE_LONG") != "" {
		n = 5000
	}
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	// The link's own rounds of the config sync would do a part of what is counted here.
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "3600000"})
	topics := manyMirrors(t, src, m, n)
	l, err := m.link("l")
	if err != nil {
		t.Fatal(err)
	}
	atSrc, atDst := src.countAll(), dst.countAll()
	asked := func(what string, of kmsg.Key, bound int, do func()) {
		t.Helper()
		atSrc.take()
		atDst.take()
		began := time.Now()
		do()
		from, to := atSrc.take(), atDst.take()
		t.Logf("%s: %s; source%s; destination%s", what, time.Since(began), named(from), named(to))
		if from[of] > bound || to[of] > bound {
			t.Errorf("%s: %d and %d requests %s", what, from[of], to[of], of.Name())
		}
		// The watcher's looks, one or two a second, come in between.
		if all, most := sum(from)+sum(to), 6*bound+80+int(time.Since(began).Seconds()*12); all > most {
			t.Errorf("%s: %d requests, at most %d were expected: source%s; destination%s", what, all, most, named(from), named(to))
		}
	}
	chunks := n/describedAtOnce + 1
	asked("a quiet round of the config sync", kmsg.DescribeConfigs, 2*chunks, func() {
		if faults, _ := l.syncConfigs(t.Context()); len(faults) > 0 {
			t.Error(faults)
		}
	})
	value := "123456789"
	if _, err := src.adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topics...); err != nil {
		t.Fatal(err)
	}
	asked("a round in which every topic has changed", kmsg.IncrementalAlterConfigs, n/alteredAtOnce+1, func() {
		if faults, _ := l.syncConfigs(t.Context()); len(faults) > 0 {
			t.Error(faults)
		}
	})
	configs, errs, err := l.mgr.local.topicConfigs(t.Context(), topics)
	if err != nil || len(errs) > 0 {
		t.Fatal(err, errs)
	}
	for _, topic := range topics {
		if got := configs[topic]["retention.ms"].value; got != value {
			t.Fatalf("%s has retention.ms %s", topic, got)
		}
	}
	asked("a look at retention", kmsg.ListOffsets, 10, func() { l.lookAtRetention(t.Context(), lagsSeen{}, time.Now()) })
	asked("a look at transactions", kmsg.ListOffsets, 10, func() { l.lookAtTransactions(t.Context(), openTransactions{}, time.Now()) })
	asked("listing, describing, progress and metrics", kmsg.DescribeConfigs, 1, func() {
		all, err := m.Mirrors(t.Context(), "l", "")
		if err != nil || len(all) != n {
			t.Errorf("%d mirrors listed: %v", len(all), err)
		}
		for _, topic := range topics {
			if _, err := m.Mirror(t.Context(), "l", topic, true); err != nil {
				t.Error(err)
			}
		}
		p, err := m.Progress(t.Context(), "l")
		if err != nil || len(p.Mirrors) != n {
			t.Errorf("progress of %d mirrors: %v", len(p.Mirrors), err)
		}
		text, _ := json.Marshal(p)
		if per := len(text) / n; per > 1000 {
			t.Errorf("progress has %d bytes per mirror", per)
		}
		l.mgr.metrics.observe(l)
	})
	if left, err := m.Mirrors(t.Context(), "l", "FAILED"); err != nil || len(left) > 0 {
		t.Errorf("failed: %v %v", left, err)
	}
	scrape := httptest.NewRecorder()
	promhttp.HandlerFor(m.opts.Registry.(prometheus.Gatherer), promhttp.HandlerOpts{}).ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	series := strings.Count(scrape.Body.String(), "drawbridge_mirror_lag_records{")
	if want := min(n, maxTopicSeries+1); series > want || series == 0 {
		t.Errorf("%d series of the lag, at most %d are wanted", series, want)
	}
	asked("a pause of all", kmsg.EndTxn, 6, func() { alterAll(t, m, api.VerbPause, topics) })
	asked("and their resumption", kmsg.EndTxn, 6, func() { alterAll(t, m, api.VerbResume, topics) })
	var more []*kgo.Record
	for _, topic := range topics {
		more = append(more, &kgo.Record{Topic: topic, Value: []byte("v")})
	}
	if err := src.client.ProduceSync(t.Context(), more...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all go on", func() error {
		for _, mt := range l.all() {
			if lag := mt.parts()[0].lagNow(); lag.LastSourceFetchOffset < 4 {
				return fmt.Errorf("%s stands at %d", mt.name(), lag.LastSourceFetchOffset)
			}
		}
		return nil
	})
	// Partitions that start together ask together: not each for itself.
	from, to := atSrc.take(), atDst.take()
	t.Logf("%d partitions have started by%s; source%s", n, named(to), named(from))
	if to[kmsg.ListOffsets]+to[kmsg.Fetch] > n/3 || from[kmsg.OffsetForLeaderEpoch] > n/3 {
		t.Error("that is not together")
	}
}

func alterAll(t *testing.T, m *Manager, verb api.MirrorVerb, topics []string) {
	t.Helper()
	res, err := m.AlterMirrors(t.Context(), "l", verb, api.AlterMirrors{MirrorTopicNames: topics}, false)
	if err != nil || len(res) != len(topics) {
		t.Fatalf("%d results: %v", len(res), err)
	}
	for _, r := range res {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
