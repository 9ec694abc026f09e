package link

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func (s *site) set(t *testing.T, topic string, configs map[string]string) {
	t.Helper()
	var changes []kadm.AlterConfig
	for k, v := range configs {
		c := kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v}
		if v == "" {
			c = kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k}
		}
		changes = append(changes, c)
	}
	res, err := s.adm.AlterTopicConfigs(t.Context(), changes, topic)
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// own are the configs that a topic sets itself.
func (s *site) own(t *testing.T, topic string) map[string]string {
	t.Helper()
	configs, errs, err := newCluster(s.client).topicConfigs(t.Context(), []string{topic})
	if err = errors.Join(err, errs[topic]); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for k, c := range configs[topic] {
		if _, needed := mirrorConfigs[k]; c.from == kmsg.ConfigSourceDynamicTopicConfig && !needed {
			out[k] = c.value
		}
	}
	return out
}

func (s *site) awaitOwn(t *testing.T, topic string, want map[string]string) {
	t.Helper()
	eventually(t, "configs of "+topic, func() error {
		if diff := cmp.Diff(want, s.own(t, topic)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func TestMirrorsFollowTheirSourcesConfigs(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src", kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "2"})), newSite(t, "dst")
	src.topic(t, "orders", 1, nil)
	src.set(t, "orders", map[string]string{"retention.bytes": "5000", "max.message.bytes": "2000000", "compression.type": "zstd"})
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "100", "topic.config.sync.include": "min.insync.replicas"})
	independent := "7000000"
	req := api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1, Configs: []api.NameValue{{Name: "delete.retention.ms", Value: &independent}}}
	if err := m.CreateMirror(t.Context(), "l", req); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"retention.bytes": "5000", "max.message.bytes": "2000000", "delete.retention.ms": independent, "min.insync.replicas": "2"}
	dst.awaitOwn(t, "orders", want)

	// Changed, set, dropped at the source; set here by somebody.
	src.set(t, "orders", map[string]string{"retention.bytes": "6000", "max.message.bytes": "", "cleanup.policy": "compact", "delete.retention.ms": "1"})
	dst.set(t, "orders", map[string]string{"min.insync.replicas": "1", "segment.ms": "60000"})
	want["retention.bytes"], want["cleanup.policy"] = "6000", "compact"
	delete(want, "max.message.bytes")
	dst.awaitOwn(t, "orders", want)
	if got := task(t, m, api.TaskConfigSync); got.State != "ACTIVE" {
		t.Errorf("%+v", got)
	}
}

func TestWhatAMirrorSetsItself(t *testing.T) {
	dynamic, static := kmsg.ConfigSourceDynamicTopicConfig, kmsg.ConfigSourceStaticBrokerConfig
	source := map[string]topicConfig{
		"retention.ms": {"1", dynamic}, "segment.ms": {"2", dynamic}, "min.insync.replicas": {"2", static}, "compression.type": {"zstd", dynamic},
		"remote.storage.enable": {"true", dynamic}, "local.retention.ms": {"5", dynamic}, "leader.replication.throttled.replicas": {"*", dynamic},
		"cleanup.policy": {"delete", static},
	}
	for name, tc := range map[string]struct {
		own     map[string]string
		include []string
		want    map[string]string
	}{
		"by default":  {nil, nil, map[string]string{"retention.ms": "1", "segment.ms": "2"}},
		"independent": {map[string]string{"retention.ms": "9", "compression.type": "lz4"}, nil, map[string]string{"retention.ms": "9", "segment.ms": "2"}},
		"included": {
			map[string]string{"segment.ms": "9"},
			[]string{"min.insync.replicas", "segment.ms", "remote.storage.enable", "not.known.there"},
			map[string]string{"retention.ms": "1", "segment.ms": "9", "min.insync.replicas": "2", "remote.storage.enable": "true"},
		},
	} {
		for k, v := range mirrorConfigs {
			if v != "" {
				tc.want[k] = v
			}
		}
		if diff := cmp.Diff(tc.want, wantedOf(mirrorRecord{Configs: tc.own}, source, tc.include)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestATopicWhoseConfigsCannotBeSetIsNamedAndTheOthersFollow(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "100"})
	for _, topic := range []string{"a", "b"} {
		src.topic(t, topic, 1, nil)
		newTestMirror(t, m, topic)
	}
	dst.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Resource: "a", Count: -1})
	for _, topic := range []string{"a", "b"} {
		src.set(t, topic, map[string]string{"retention.ms": "5000"})
	}
	dst.awaitOwn(t, "b", map[string]string{"retention.ms": "5000"})
	awaitTask(t, m, api.TaskConfigSync, "IN_ERROR", "configs of mirror topic a:", "UNKNOWN_SERVER_ERROR")
}

func TestConfigsOfManyTopicsAreAskedForTogether(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "86400000"})
	for n := range 40 {
		src.topic(t, fmt.Sprintf("t%d", n), 1, nil)
		newTestMirror(t, m, fmt.Sprintf("t%d", n))
	}
	var asked atomic.Int64
	for _, s := range []*site{src, dst} {
		s.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
			s.KeepControl()
			asked.Add(1)
			return nil, nil, false
		})
	}
	l := linkOf(t, m)
	if faults, _ := l.syncConfigs(t.Context()); len(faults) > 0 {
		t.Fatal(faults)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("%d requests for the configs of 40 topics on both sides, want 2", n)
	}
}

// The topic is made anew when its mirror was already looked at: what is then asked by
// name is another topic's.
func TestAMirrorDoesNotTakeTheConfigsOfASourceTopicMadeAnew(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	forever := "-1"
	src.topic(t, "orders", 1, map[string]*string{"retention.ms": &forever})
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "86400000"})
	newTestMirror(t, m, "orders")
	dst.awaitOwn(t, "orders", map[string]string{"retention.ms": forever})
	remade := make(chan error, 1)
	src.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
		src.SleepControl(func() {
			_, err := src.adm.DeleteTopic(t.Context(), "orders")
			if err == nil {
				_, err = src.adm.CreateTopic(t.Context(), 1, 1, nil, "orders")
			}
			remade <- err
		})
		return nil, nil, false
	})
	linkOf(t, m).syncConfigs(t.Context())
	if err := <-remade; err != nil {
		t.Fatal(err)
	}
	if got := dst.own(t, "orders")["retention.ms"]; got != forever {
		t.Errorf("the copy that is left keeps its records for %q ms, want %s", got, forever)
	}
}

func TestOnlyTopicsWhoseConfigsChangeAreAskedForTheirIDs(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "86400000"})
	for _, topic := range []string{"a", "b"} {
		src.topic(t, topic, 1, nil)
		newTestMirror(t, m, topic)
		awaitLagZero(t, m, src, topic)
	}
	var asked atomic.Int64
	src.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		src.KeepControl()
		if len(req.(*kmsg.MetadataRequest).Topics) == 1 { // the watcher asks for both
			asked.Add(1)
		}
		return nil, nil, false
	})
	l := linkOf(t, m)
	for round, want := range []int64{0, 1} {
		if faults, _ := l.syncConfigs(t.Context()); len(faults) > 0 {
			t.Fatal(faults)
		}
		if n := asked.Load(); n != want {
			t.Errorf("round %d: %d requests for ids, want %d", round, n, want)
		}
		src.set(t, "a", map[string]string{"retention.ms": "5000"})
	}
	dst.awaitOwn(t, "a", map[string]string{"retention.ms": "5000"})
}

func TestIncludedConfigsThatCannotFollowAreRefused(t *testing.T) {
	for value, says := range map[string]string{
		"retention.ms,":    "an empty name",
		"compression.type": "a mirror topic needs its own value",
		"retention.ms, leader.replication.throttled.replicas": "it names brokers",
	} {
		if err := checkInclude(value); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", value, err)
		}
	}
	if err := checkInclude("retention.ms, min.insync.replicas"); err != nil {
		t.Error(err)
	}
}

// kfake tells a topic's retention.ms without its brokers'; TestSourceFaultsOnApacheKafka looks at that.
func TestDriftOfTheClustersDefaultsIsTold(t *testing.T) {
	t.Parallel()
	src := newSite(t, "src", kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "2"}))
	dst := newSite(t, "dst", kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "1"}))
	for _, topic := range []string{"a", "b"} {
		src.topic(t, topic, 1, nil)
	}
	src.topic(t, "own", 1, nil)
	src.set(t, "own", map[string]string{"min.insync.replicas": "3", "compression.type": "zstd"})
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, map[string]string{"topic.config.sync.ms": "100"})
	for _, topic := range []string{"a", "b", "own"} {
		newTestMirror(t, m, topic)
	}
	byConfig := func() map[string]api.DriftEntry {
		d, err := m.Drift(t.Context(), "l")
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]api.DriftEntry{}
		for _, e := range d.Entries {
			out[e.Config] = e
		}
		return out
	}
	eventually(t, "all three are compared", func() error {
		got := byConfig()
		if len(got["min.insync.replicas"].Topics) != 2 || len(got["compression.type"].Topics) != 1 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	got := byConfig()
	if e := got["min.insync.replicas"]; !e.Harmful || e.Source.Value != "2" || e.Destination.Value != "1" || cmp.Diff(e.Topics, []string{"a", "b"}) != "" || !strings.Contains(e.Cure, "topic.config.sync.include") {
		t.Errorf("%+v", e)
	}
	if e := got["compression.type"]; e.Harmful || !e.ByDesign || !strings.Contains(e.Cure, "after a failover set compression.type=zstd") {
		t.Errorf("%+v", e)
	}
	note := awaitTask(t, m, api.TaskConfigSync, "ACTIVE", "min.insync.replicas is 2 at the source", "1 here", "for a, b")
	if text := fmt.Sprint(note.Errors); strings.Contains(text, "compression.type") {
		t.Errorf("what every mirror has is no task's note: %s", text)
	}

	// The cure cures.
	include := "min.insync.replicas"
	if err := m.AlterLinkConfigs(t.Context(), "l", []api.AlterConfig{{Name: "topic.config.sync.include", Value: &include}}, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drift is gone", func() error {
		got := byConfig()
		if len(got["min.insync.replicas"].Topics) > 0 || len(got["compression.type"].Topics) == 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

func TestWhichDriftDoesHarm(t *testing.T) {
	for _, tc := range []struct {
		config, source, dest string
		harm                 bool
	}{
		{"retention.ms", "100", "50", true},
		{"retention.ms", "50", "100", false},
		{"retention.ms", "-1", "100", true},
		{"retention.ms", "100", "-1", false},
		{"retention.bytes", "-1", "1", true},
		{"min.insync.replicas", "2", "1", true},
		{"min.insync.replicas", "1", "2", false},
		{"max.message.bytes", "2000000", "1000000", true},
		{"cleanup.policy", "compact", "delete", true},
		{"message.timestamp.type", "LogAppendTime", "CreateTime", false},
	} {
		var d drifts
		from := kmsg.ConfigSourceDefaultConfig
		d.compare(mirrorRecord{Topic: "t"}, map[string]topicConfig{tc.config: {tc.source, from}}, map[string]topicConfig{tc.config: {tc.dest, from}}, nil)
		if got := d.report("l", time.Unix(0, 0)).Entries; len(got) != 1 || got[0].Harmful != tc.harm {
			t.Errorf("%s %s → %s: %+v", tc.config, tc.source, tc.dest, got)
		}
	}
}
