package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Topics lists all topics by name, internal ones too.
func (r *Reader) Topics(ctx context.Context) ([]api.Topic, error) {
	found, err := r.metadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	out := make([]api.Topic, 0, len(found))
	for _, t := range found {
		if t.Topic != nil {
			out = append(out, topic(t))
		}
	}
	slices.SortFunc(out, func(a, b api.Topic) int { return strings.Compare(a.TopicName, b.TopicName) })
	return out, nil
}

// Topic describes one topic.
func (r *Reader) Topic(ctx context.Context, name string) (api.Topic, error) {
	t, err := r.topic(ctx, name)
	if err != nil {
		return api.Topic{}, err
	}
	return topic(t), nil
}

// Partitions lists a topic's partitions in their order.
func (r *Reader) Partitions(ctx context.Context, name string) ([]api.Partition, error) {
	t, err := r.topic(ctx, name)
	if err != nil {
		return nil, err
	}
	out := make([]api.Partition, 0, len(t.Partitions))
	for _, p := range t.Partitions {
		out = append(out, api.Partition{TopicName: name, PartitionID: p.Partition, LeaderID: p.Leader})
	}
	slices.SortFunc(out, func(a, b api.Partition) int { return cmp.Compare(a.PartitionID, b.PartitionID) })
	return out, nil
}

func topic(t kmsg.MetadataResponseTopic) api.Topic {
	out := api.Topic{TopicName: *t.Topic, IsInternal: t.IsInternal, PartitionsCount: len(t.Partitions)}
	if len(t.Partitions) > 0 {
		out.ReplicationFactor = len(t.Partitions[0].Replicas)
	}
	return out
}

// topic asks for one topic, without creating it.
func (r *Reader) topic(ctx context.Context, name string) (kmsg.MetadataResponseTopic, error) {
	found, err := r.metadata(ctx, name)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	if len(found) != 1 || found[0].Topic == nil {
		return kmsg.MetadataResponseTopic{}, kerr.UnknownTopicOrPartition
	}
	return found[0], kerr.ErrorForCode(found[0].ErrorCode)
}

// metadata asks a broker for topics, all if none is named. kadm would answer from
// a cache in which a topic that was just made is not, and one that is not is.
func (r *Reader) metadata(ctx context.Context, names ...string) ([]kmsg.MetadataResponseTopic, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	res, err := req.RequestWith(ctx, r.client)
	if err != nil {
		return nil, err
	}
	return res.Topics, nil
}

// TopicConfigs lists the configs of a topic by name, or those of all topics for
// api.AllTopics.
func (r *Reader) TopicConfigs(ctx context.Context, name string) ([]api.TopicConfig, error) {
	names := []string{name}
	if name == api.AllTopics {
		topics, err := r.Topics(ctx)
		if err != nil {
			return nil, err
		}
		names = names[:0]
		for _, t := range topics {
			names = append(names, t.TopicName)
		}
	}
	out, errs := r.configs(ctx, names)
	if name == api.AllTopics {
		// One that was deleted since it was listed is no error.
		errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) })
	}
	slices.SortFunc(out, func(a, b api.TopicConfig) int {
		return strings.Compare(a.TopicName+"\x00"+a.Name, b.TopicName+"\x00"+b.Name)
	})
	return out, errors.Join(errs...)
}

// configs asks for the configs of topics with what kadm leaves out: whether one
// is read-only.
func (r *Reader) configs(ctx context.Context, topics []string) (out []api.TopicConfig, errs []error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	for _, t := range topics {
		res := kmsg.NewDescribeConfigsRequestResource()
		res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, t
		req.Resources = append(req.Resources, res)
	}
	if len(req.Resources) == 0 {
		return nil, nil
	}
	answer, err := req.RequestWith(ctx, r.client)
	if err != nil {
		return nil, []error{fmt.Errorf("describe the configs of %d topics: %w", len(topics), err)}
	}
	for _, res := range answer.Resources {
		if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
			errs = append(errs, fmt.Errorf("configs of topic %s: %w", res.ResourceName, err))
			continue
		}
		for _, c := range res.Configs {
			out = append(out, topicConfig(res.ResourceName, c))
		}
	}
	return out, errs
}

func topicConfig(topic string, c kmsg.DescribeConfigsResponseResourceConfig) api.TopicConfig {
	out := api.TopicConfig{
		TopicName: topic, Name: c.Name, Value: c.Value, Source: source(c.Source),
		IsDefault:  c.Source == kmsg.ConfigSourceDefaultConfig || c.Source == kmsg.ConfigSourceStaticBrokerConfig,
		IsReadOnly: c.ReadOnly, IsSensitive: c.IsSensitive,
	}
	for _, s := range c.ConfigSynonyms {
		out.Synonyms = append(out.Synonyms, api.ConfigSynonym{Name: s.Name, Value: s.Value, Source: source(s.Source)})
	}
	return out
}

// source is the contract's word for where a config comes from.
func source(s kmsg.ConfigSource) string {
	if word := s.String(); slices.Contains(api.ConfigSources(), word) {
		return word
	}
	return api.Unknown
}
