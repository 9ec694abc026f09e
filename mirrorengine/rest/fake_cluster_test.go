package rest

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// fakeCluster has topic orders of two partitions, the second without a leader, and
// group billing, which has read the first one.
type fakeCluster struct{ err error }

func (f fakeCluster) Topics(context.Context) ([]api.Topic, error) {
	return []api.Topic{{TopicName: "orders", ReplicationFactor: 3, PartitionsCount: 2}}, f.err
}

func (f fakeCluster) Topic(ctx context.Context, name string) (api.Topic, error) {
	topics, err := f.Topics(ctx)
	if name != "orders" {
		return api.Topic{}, kerr.UnknownTopicOrPartition
	}
	return topics[0], err
}

func (f fakeCluster) Partitions(_ context.Context, topic string) ([]api.Partition, error) {
	if topic != "orders" {
		return nil, kerr.UnknownTopicOrPartition
	}
	return []api.Partition{{TopicName: topic, LeaderID: 2}, {TopicName: topic, PartitionID: 1, LeaderID: -1}}, f.err
}

func (f fakeCluster) TopicConfigs(_ context.Context, topic string) ([]api.TopicConfig, error) {
	if topic != "orders" && topic != api.AllTopics {
		return nil, kerr.UnknownTopicOrPartition
	}
	value := "604800000"
	return []api.TopicConfig{{
		TopicName: "orders", Name: "retention.ms", Value: &value, Source: "DYNAMIC_TOPIC_CONFIG",
		Synonyms: []api.ConfigSynonym{{Name: "retention.ms", Value: &value, Source: "DYNAMIC_TOPIC_CONFIG"}},
	}, {TopicName: "orders", Name: "secret", IsSensitive: true, Source: "DEFAULT_CONFIG"}}, f.err
}

func (f fakeCluster) Groups(context.Context) ([]api.ConsumerGroup, error) {
	return []api.ConsumerGroup{{ConsumerGroupID: "billing", PartitionAssignor: "range", State: "STABLE", Type: api.GroupClassic, CoordinatorID: 1}}, f.err
}

func (f fakeCluster) Group(ctx context.Context, id string) (api.ConsumerGroup, error) {
	groups, err := f.Groups(ctx)
	if id != "billing" {
		return api.ConsumerGroup{}, api.NotFound("Consumer group '%s' cannot be found.", id)
	}
	return groups[0], err
}

func (f fakeCluster) Consumers(_ context.Context, group string) ([]api.Consumer, error) {
	instance := "billing-0"
	return []api.Consumer{{ConsumerGroupID: group, ConsumerID: "member-1", InstanceID: &instance, ClientID: "client-1"}}, f.err
}

func (f fakeCluster) Lags(_ context.Context, group string) ([]api.ConsumerLag, error) {
	return []api.ConsumerLag{{ConsumerGroupID: group, TopicName: "orders", CurrentOffset: 40, LogEndOffset: 42, Lag: 2, ConsumerID: "member-1", ClientID: "client-1"}}, f.err
}

func (f fakeCluster) LagSummary(_ context.Context, group string) (api.LagSummary, error) {
	return api.LagSummary{ConsumerGroupID: group, MaxLagConsumerID: "member-1", MaxLagClientID: "client-1", MaxLagTopicName: "orders", MaxLag: 2, TotalLag: 2}, f.err
}
