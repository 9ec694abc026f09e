package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// held are the topic configs that stop retention and compaction.
var held = []struct{ name, value string }{
	{"retention.ms", "-1"}, {"retention.bytes", "-1"}, {"cleanup.policy", "delete"},
}

// HoldRetention stops retention and compaction. What it finds is what has to be
// put back, so that a caller looks (LookOnly) before it holds, and is written down
// before the first change. A topic that does not exist is left out.
func (a *Activities) HoldRetention(ctx context.Context, in workflows.HoldRetentionInput) (workflows.HoldRetentionResult, error) {
	defer a.beat(ctx)()
	out := workflows.HoldRetentionResult{Held: []workflows.HeldConfig{}}
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	have, err := k.topics(ctx, in.Topics...)
	if err != nil {
		return out, settle(err)
	}
	changes := map[string][]kadm.AlterConfig{}
	for _, t := range in.Topics {
		if len(have[t]) == 0 {
			continue
		}
		var found []workflows.HeldConfig
		if found, changes[t], err = k.holding(ctx, t); err != nil {
			return out, settle(err)
		}
		out.Held = append(out.Held, found...)
	}
	if in.RegisterAt.Name != "" {
		if out.Held, err = a.noteHeld(ctx, in, out.Held); err != nil {
			return out, settle(err)
		}
	}
	for _, t := range in.Topics {
		if in.LookOnly {
			break
		}
		if err := k.alter(ctx, t, changes[t]); err != nil {
			return out, settle(err)
		}
	}
	return out, nil
}

// holding compares a topic with what a hold wants.
func (k *kafka) holding(ctx context.Context, topic string) (found []workflows.HeldConfig, changes []kadm.AlterConfig, err error) {
	configs, err := k.configs(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range held {
		i := slices.IndexFunc(configs, func(c kadm.Config) bool { return c.Key == h.name })
		if i < 0 || configs[i].MaybeValue() == h.value {
			continue
		}
		c := configs[i]
		if h.name == "cleanup.policy" && !strings.Contains(c.MaybeValue(), "compact") {
			continue
		}
		f := workflows.HeldConfig{Topic: topic, Name: h.name}
		if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
			f.Old = c.Value
		}
		found = append(found, f)
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: h.name, Value: kmsg.StringPtr(h.value)})
	}
	return found, changes, nil
}

func (k *kafka) configs(ctx context.Context, topic string) ([]kadm.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := k.adm.DescribeTopicConfigs(ctx, topic)
	var got kadm.ResourceConfig
	if err == nil {
		got, err = list.On(topic, nil)
	}
	if err == nil {
		err = got.Err
	}
	if err != nil {
		return nil, fmt.Errorf("configs of topic %s at site %s: %w", topic, k.site, err)
	}
	return got.Configs, nil
}

func (k *kafka) alter(ctx context.Context, topic string, changes []kadm.AlterConfig) error {
	if len(changes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.AlterTopicConfigs(ctx, changes, topic)
	if err == nil {
		var one kadm.AlterConfigsResponse
		if one, err = got.On(topic, nil); err == nil {
			err = one.Err
		}
	}
	if err != nil {
		return fmt.Errorf("alter configs of topic %s at site %s: %w", topic, k.site, err)
	}
	return nil
}

// PutBackRetention restores what a hold found; a topic that is gone needs
// nothing, nor a value that is not the hold's any more.
func (a *Activities) PutBackRetention(ctx context.Context, in workflows.PutBackRetentionInput) (workflows.HoldRetentionResult, error) {
	defer a.beat(ctx)()
	out := workflows.HoldRetentionResult{Held: []workflows.HeldConfig{}}
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	if len(in.Held) == 0 && in.RegisterAt.Name != "" {
		n, err := a.noted(ctx, in.Call.Pair, in.Site.Name, in.RegisterAt)
		if err != nil {
			return out, settle(err)
		}
		in.Held = n.held()
	}
	var order []string
	wanted := map[string][]workflows.HeldConfig{}
	for _, h := range in.Held {
		if len(wanted[h.Topic]) == 0 {
			order = append(order, h.Topic)
		}
		wanted[h.Topic] = append(wanted[h.Topic], h)
	}
	have, err := k.topics(ctx, order...)
	if err != nil {
		return out, settle(err)
	}
	for _, t := range order {
		if len(have[t]) == 0 {
			continue
		}
		if err := k.putBack(ctx, t, wanted[t]); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return out, settle(err)
		}
	}
	if in.RegisterAt.Name != "" {
		if err := a.strikeHeld(ctx, in); err != nil {
			return out, settle(err)
		}
	}
	out.Held = append(out.Held, in.Held...)
	return out, nil
}

// putBack restores those configs of a topic that are still the hold's.
func (k *kafka) putBack(ctx context.Context, topic string, wanted []workflows.HeldConfig) error {
	configs, err := k.configs(ctx, topic)
	if err != nil {
		return err
	}
	var changes []kadm.AlterConfig
	for _, h := range wanted {
		ours := slices.ContainsFunc(held, func(w struct{ name, value string }) bool {
			return w.name == h.Name && slices.ContainsFunc(configs, func(c kadm.Config) bool { return c.Key == h.Name && c.MaybeValue() == w.value })
		})
		c := kadm.AlterConfig{Op: kadm.SetConfig, Name: h.Name, Value: h.Old}
		if h.Old == nil {
			c.Op = kadm.DeleteConfig
		}
		if ours {
			changes = append(changes, c)
		}
	}
	return k.alter(ctx, topic, changes)
}
