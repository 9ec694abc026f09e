package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mirrorConfigs are what a mirror topic needs so that batches pass as they are:
// the codec stays, the records keep their times.
var mirrorConfigs = map[string]string{
	"compression.type":                    "producer",
	"message.timestamp.type":              "CreateTime",
	"message.timestamp.before.max.ms":     "9223372036854775807",
	"message.timestamp.after.max.ms":      "9223372036854775807",
	"message.timestamp.difference.max.ms": "",
}

// notSynced are topic configs that stay the destination's own affair.
func notSynced(name string) bool {
	switch name {
	case "follower.replication.throttled.replicas", "leader.replication.throttled.replicas":
		return true
	}
	return strings.HasPrefix(name, "remote.") || strings.HasPrefix(name, "local.retention.") || strings.HasPrefix(name, "confluent.")
}

// wantedConfigs are the mirror topic's configs: the source's own settings, what
// the request set, and what a mirror needs.
func (l *Link) wantedConfigs(ctx context.Context, rec mirrorRecord) (map[string]*string, error) {
	src, err := l.src.adm.DescribeTopicConfigs(ctx, rec.SourceTopic)
	if err == nil {
		_, err = src.On(rec.SourceTopic, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("configs of source topic %s: %w", rec.SourceTopic, err)
	}
	want := map[string]*string{}
	for _, rc := range src {
		if rc.Err != nil {
			return nil, fmt.Errorf("configs of source topic %s: %w", rec.SourceTopic, rc.Err)
		}
		for _, c := range rc.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig && c.Value != nil && !notSynced(c.Key) {
				want[c.Key] = c.Value
			}
		}
	}
	for k, v := range rec.Configs {
		want[k] = &v
	}
	for k, v := range mirrorConfigs {
		delete(want, k)
		if v != "" {
			want[k] = &v
		}
	}
	return want, nil
}

// syncConfigs brings the mirrors' configs to what the source has now. Names
// that the source has dropped are reset.
func (l *Link) syncConfigs(ctx context.Context) error {
	var errs []error
	for _, m := range l.all() {
		rec := m.record()
		if !runs(rec.Status) {
			continue
		}
		want, err := l.wantedConfigs(ctx, rec)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, l.mgr.alterTopic(ctx, rec.Topic, want))
	}
	return errors.Join(errs...)
}

// alterTopic sets what differs and resets what should not be set.
func (m *Manager) alterTopic(ctx context.Context, topic string, want map[string]*string) error {
	now, err := m.local.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return fmt.Errorf("configs of %s: %w", topic, err)
	}
	have := map[string]string{}
	for _, rc := range now {
		if rc.Err != nil {
			return fmt.Errorf("configs of %s: %w", topic, rc.Err)
		}
		for _, c := range rc.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig && c.Value != nil {
				have[c.Key] = *c.Value
			}
		}
	}
	var changes []kadm.AlterConfig
	for k, v := range want {
		if old, ok := have[k]; !ok || old != *v {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: v})
		}
	}
	for k := range maps.Keys(have) {
		if want[k] == nil && !notSynced(k) {
			changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: k})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	res, err := m.local.adm.AlterTopicConfigs(ctx, changes, topic)
	if err != nil {
		return fmt.Errorf("configs of %s: %w", topic, err)
	}
	for _, r := range res {
		if r.Err != nil {
			return fmt.Errorf("configs of %s: %w %s", topic, r.Err, r.ErrMessage)
		}
	}
	m.log.Info("topic configs synced", "topic", topic, "changes", len(changes))
	return nil
}
