package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Topic config sync. A mirror topic has, in this order: what a mirror needs,
// what its creation asked for (independent of the source), the effective values
// of the configs in topic.config.sync.include, and what the source topic sets
// itself. What a source topic only takes from its cluster's defaults is not
// copied: where the defaults of the two clusters differ, drift.go tells it.

// mirrorConfigs are what a mirror topic needs so that batches pass as they are:
// the codec stays, the records keep their times.
var mirrorConfigs = map[string]string{
	"compression.type":                    "producer",
	"message.timestamp.type":              "CreateTime",
	"message.timestamp.before.max.ms":     "9223372036854775807",
	"message.timestamp.after.max.ms":      "9223372036854775807",
	"message.timestamp.difference.max.ms": "",
}

// notSynced are topic configs that stay the destination's own affair unless
// topic.config.sync.include names them.
func notSynced(name string) bool {
	return placement(name) || strings.HasPrefix(name, "remote.") || strings.HasPrefix(name, "local.retention.") || strings.HasPrefix(name, "confluent.")
}

// placement are configs that name brokers of their own cluster.
func placement(name string) bool {
	switch name {
	case "follower.replication.throttled.replicas", "leader.replication.throttled.replicas":
		return true
	}
	return false
}

// checkInclude refuses names that no mirror can follow.
func checkInclude(v string) error {
	var errs []error
	for _, name := range strings.Split(v, ",") {
		name = strings.TrimSpace(name)
		_, needed := mirrorConfigs[name]
		switch {
		case name == "":
			errs = append(errs, errors.New("an empty name; write retention.ms,min.insync.replicas"))
		case needed:
			errs = append(errs, fmt.Errorf("%s cannot follow the source: a mirror topic needs its own value to take batches as they are", name))
		case placement(name):
			errs = append(errs, fmt.Errorf("%s cannot follow the source: it names brokers", name))
		}
	}
	return errors.Join(errs...)
}

// topicConfig is one effective config of a topic and where it comes from.
type topicConfig struct {
	value string
	from  kmsg.ConfigSource
}

// describedAtOnce is the number of topics in one DescribeConfigs.
const describedAtOnce = 500

// topicConfigs asks for the effective configs of topics; what a topic's own
// answer was stands in errs.
func (c *cluster) topicConfigs(ctx context.Context, topics []string) (configs map[string]map[string]topicConfig, errs map[string]error, err error) {
	configs, errs = map[string]map[string]topicConfig{}, map[string]error{}
	chunks := slices.Collect(slices.Chunk(topics, describedAtOnce))
	for len(chunks) > 0 {
		some := chunks[0]
		chunks = chunks[1:]
		res, err := await(ctx, func() (kadm.ResourceConfigs, error) { return c.adm.DescribeTopicConfigs(ctx, some...) })
		var refused *kadm.AuthError
		switch {
		case errors.As(err, &refused) && len(some) == 1:
			errs[some[0]] = err
			continue
		case errors.As(err, &refused): // kadm answers nothing if one topic is refused
			half := len(some) / 2
			chunks = append(chunks, some[:half], some[half:])
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("topic configs: %w", err)
		}
		for _, rc := range res {
			if rc.Err != nil {
				errs[rc.Name] = rc.Err
				continue
			}
			configs[rc.Name] = map[string]topicConfig{}
			for _, cfg := range rc.Configs {
				if cfg.Value != nil {
					configs[rc.Name][cfg.Key] = topicConfig{*cfg.Value, cfg.Source}
				}
			}
		}
	}
	return configs, errs, nil
}

// wantedConfigs are the configs that a mirror topic is created with.
func (l *Link) wantedConfigs(ctx context.Context, rec mirrorRecord) (map[string]*string, error) {
	configs, errs, err := l.src.topicConfigs(ctx, []string{rec.SourceTopic})
	if err == nil {
		err = errs[rec.SourceTopic]
	}
	if err != nil {
		return nil, fmt.Errorf("configs of source topic %s: %w", rec.SourceTopic, l.lacking(err, opDescribeConfigs, resourceTopic, rec.SourceTopic))
	}
	want := map[string]*string{}
	for k, v := range wantedOf(rec, configs[rec.SourceTopic], l.config().ConfigSyncInclude) {
		want[k] = &v
	}
	return want, nil
}

// wantedOf decides what a mirror topic sets itself. It is pure.
func wantedOf(rec mirrorRecord, source map[string]topicConfig, include []string) map[string]string {
	want := map[string]string{}
	for k, c := range source {
		if c.from == kmsg.ConfigSourceDynamicTopicConfig && !notSynced(k) {
			want[k] = c.value
		}
	}
	for _, k := range include {
		if c, ok := source[k]; ok {
			want[k] = c.value
		}
	}
	maps.Copy(want, rec.Configs)
	for k, v := range mirrorConfigs {
		delete(want, k)
		if v != "" {
			want[k] = v
		}
	}
	return want
}

// syncConfigs brings the mirrors' configs to what the source has now, and notes
// where the clusters differ all the same. Names that the source has dropped are
// reset.
func (l *Link) syncConfigs(ctx context.Context) (faults, notes []api.TaskError) {
	mirrors, sources, topics := []*MirrorTopic{}, []string{}, []string{}
	for _, m := range l.all() {
		if rec := m.record(); runs(rec.Status) {
			mirrors, sources, topics = append(mirrors, m), append(sources, rec.SourceTopic), append(topics, rec.Topic)
		}
	}
	cannot := func(err error, where string) []api.TaskError {
		return []api.TaskError{{ErrorCode: taskErrorCode(err), ErrorMessage: fmt.Sprintf("%s: %v", where, err)}}
	}
	source, sourceErrs, err := l.src.topicConfigs(ctx, sources)
	if err != nil {
		return cannot(err, "the source"), nil
	}
	dest, destErrs, err := l.mgr.local.topicConfigs(ctx, topics)
	if err != nil {
		return cannot(err, "this cluster"), nil
	}
	var (
		told  groupFaults
		found drifts
	)
	include := l.config().ConfigSyncInclude
	changes, wants := map[string][]configChange{}, map[string]map[string]string{}
	for _, m := range mirrors {
		rec := m.record()
		if err := sourceErrs[rec.SourceTopic]; err != nil {
			told.add("", taskErrorCode(err), "configs of source topic %s: %v", rec.SourceTopic, l.lacking(err, opDescribeConfigs, resourceTopic, rec.SourceTopic))
			continue
		}
		m.learn(factsOf(source[rec.SourceTopic]))
		if err := destErrs[rec.Topic]; err != nil {
			told.add("", taskErrorCode(err), "configs of mirror topic %s: %v", rec.Topic, l.mgr.lacking(err, opAlterConfigs, resourceTopic, rec.Topic))
			continue
		}
		wants[rec.Topic] = wantedOf(rec, source[rec.SourceTopic], include)
		if c := changesOf(dest[rec.Topic], wants[rec.Topic]); len(c) > 0 {
			changes[rec.Topic] = c
		}
	}
	if err := l.dropForeign(ctx, mirrors, changes, wants); err != nil {
		return cannot(err, "the source"), nil
	}
	refused := l.mgr.alterTopics(ctx, changes)
	for _, m := range mirrors {
		rec := m.record()
		want, ok := wants[rec.Topic]
		if err := refused[rec.Topic]; err != nil {
			told.add("", taskErrorCode(err), "configs of mirror topic %s: %v", rec.Topic, err)
		} else if ok {
			found.compare(rec, source[rec.SourceTopic], dest[rec.Topic], want)
		}
	}
	report := found.report(l.record().Name, time.Now().UTC())
	l.mu.Lock()
	l.drift = report
	l.mu.Unlock()
	return told.tasks(), driftNotes(report)
}

// dropForeign takes out what would bring a mirror to the configs of another topic:
// configs are asked for by name, and a source topic that was deleted and made anew has
// others than the copy that is left is to keep. Its id is read behind them: they were
// its own if, to the broker's knowledge, it is still the one that is mirrored.
func (l *Link) dropForeign(ctx context.Context, mirrors []*MirrorTopic, changes map[string][]configChange, wants map[string]map[string]string) error {
	var changed []mirrorRecord
	var sources []string
	for _, m := range mirrors {
		if rec := m.record(); len(changes[rec.Topic]) > 0 {
			changed, sources = append(changed, rec), append(sources, rec.SourceTopic)
		}
	}
	if len(sources) == 0 {
		return nil
	}
	if err := l.src.refresh(ctx, sources...); err != nil {
		return err
	}
	for _, rec := range changed {
		// The watcher tells what is wrong with it.
		if t, ok := l.src.topic(rec.SourceTopic); !ok || t.err != nil || sourceChanged(rec, t) != nil {
			delete(changes, rec.Topic)
			delete(wants, rec.Topic)
		}
	}
	return nil
}

// setTopic brings a topic of this cluster to the configs wanted.
func (m *Manager) setTopic(ctx context.Context, topic string, want map[string]*string) error {
	configs, errs, err := m.local.topicConfigs(ctx, []string{topic})
	if err == nil {
		err = errs[topic]
	}
	values := map[string]string{}
	for k, v := range want {
		values[k] = *v
	}
	if err == nil {
		if c := changesOf(configs[topic], values); len(c) > 0 {
			err = m.alterTopics(ctx, map[string][]configChange{topic: c})[topic]
		}
	}
	if err != nil {
		return fmt.Errorf("configs of %s: %w", topic, err)
	}
	return nil
}

// configChange sets a config of a topic, or resets it where value is nil.
type configChange struct {
	name  string
	value *string
}

// changesOf sets what differs from have and resets what should not be set. It is
// pure.
func changesOf(have map[string]topicConfig, want map[string]string) []configChange {
	var changes []configChange
	for k, v := range want {
		if c, ok := have[k]; !ok || c.from != kmsg.ConfigSourceDynamicTopicConfig || c.value != v {
			changes = append(changes, configChange{k, &v})
		}
	}
	for k, c := range have {
		if _, ok := want[k]; !ok && c.from == kmsg.ConfigSourceDynamicTopicConfig && !notSynced(k) {
			changes = append(changes, configChange{name: k})
		}
	}
	return changes
}

// alteredAtOnce is the number of topics in one IncrementalAlterConfigs.
const alteredAtOnce = 500

// alterTopics changes configs of topics, many by one request, and answers with
// those that were not changed.
func (m *Manager) alterTopics(ctx context.Context, changes map[string][]configChange) map[string]error {
	bad := map[string]error{}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(changes)), alteredAtOnce) {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for _, topic := range some {
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
			for _, c := range changes[topic] {
				rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
				rc.Name, rc.Value, rc.Op = c.name, c.value, kmsg.IncrementalAlterConfigOpSet
				if c.value == nil {
					rc.Op = kmsg.IncrementalAlterConfigOpDelete
				}
				r.Configs = append(r.Configs, rc)
			}
			req.Resources = append(req.Resources, r)
			bad[topic] = errors.New("the cluster left the topic out of its answer")
		}
		asked, cancel := context.WithTimeout(ctx, requestTimeout)
		res, err := await(asked, func() (*kmsg.IncrementalAlterConfigsResponse, error) { return req.RequestWith(asked, m.local.client) })
		cancel()
		if err != nil {
			for _, topic := range some {
				bad[topic] = m.lacking(err, opAlterConfigs, resourceTopic, topic)
			}
			continue
		}
		for _, r := range res.Resources {
			if err := kafkaError(r.ErrorCode, r.ErrorMessage); err != nil {
				bad[r.ResourceName] = m.lacking(err, opAlterConfigs, resourceTopic, r.ResourceName)
				continue
			}
			delete(bad, r.ResourceName)
			m.log.Info("topic configs synced", "topic", r.ResourceName, "changes", len(changes[r.ResourceName]))
		}
	}
	return bad
}
