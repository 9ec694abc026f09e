package api

// Kinds of what the engine tells of its local cluster's consumer groups, as the
// contract spells them.
const (
	KindGroup        = "KafkaConsumerGroup"
	KindGroupList    = "KafkaConsumerGroupList"
	KindConsumer     = "KafkaConsumer"
	KindConsumerList = "KafkaConsumerList"
	KindLag          = "KafkaConsumerLag"
	KindLagList      = "KafkaConsumerLagList"
	KindLagSummary   = "KafkaConsumerGroupLagSummary"
)

// ConsumerGroup is a consumer group of the local cluster, of any of Kafka's
// protocols.
type ConsumerGroup struct {
	Kind            string   `json:"kind"`
	Metadata        Metadata `json:"metadata"`
	ClusterID       string   `json:"cluster_id"`
	ConsumerGroupID string   `json:"consumer_group_id"`
	// IsSimple: its offsets are committed without the group protocol.
	IsSimple bool `json:"is_simple"`
	// PartitionAssignor is empty while the group has no members.
	PartitionAssignor string `json:"partition_assignor"`
	State             string `json:"state"`
	Type              string `json:"type"`
	// IsMixedConsumerGroup: some of its members still speak the classic protocol.
	IsMixedConsumerGroup bool    `json:"is_mixed_consumer_group"`
	Coordinator          Related `json:"coordinator"`
	Consumers            Related `json:"consumers"`
	LagSummary           Related `json:"lag_summary"`
	// CoordinatorID is the broker that Coordinator points at.
	CoordinatorID int32 `json:"-"`
}

// Consumer is one member of a group.
type Consumer struct {
	Kind            string   `json:"kind"`
	Metadata        Metadata `json:"metadata"`
	ClusterID       string   `json:"cluster_id"`
	ConsumerGroupID string   `json:"consumer_group_id"`
	ConsumerID      string   `json:"consumer_id"`
	InstanceID      *string  `json:"instance_id"`
	ClientID        string   `json:"client_id"`
	Assignments     Related  `json:"assignments"`
}

// ConsumerLag is where a group stands in one partition. ConsumerID and ClientID
// are empty while no member reads it.
type ConsumerLag struct {
	Kind            string   `json:"kind"`
	Metadata        Metadata `json:"metadata"`
	ClusterID       string   `json:"cluster_id"`
	ConsumerGroupID string   `json:"consumer_group_id"`
	TopicName       string   `json:"topic_name"`
	PartitionID     int32    `json:"partition_id"`
	CurrentOffset   int64    `json:"current_offset"`
	// LogEndOffset is the partition's high watermark.
	LogEndOffset int64   `json:"log_end_offset"`
	Lag          int64   `json:"lag"`
	ConsumerID   string  `json:"consumer_id"`
	InstanceID   *string `json:"instance_id"`
	ClientID     string  `json:"client_id"`
}

// LagSummary is the largest lag of a group, and the sum of all.
type LagSummary struct {
	Kind              string   `json:"kind"`
	Metadata          Metadata `json:"metadata"`
	ClusterID         string   `json:"cluster_id"`
	ConsumerGroupID   string   `json:"consumer_group_id"`
	MaxLagConsumerID  string   `json:"max_lag_consumer_id"`
	MaxLagInstanceID  *string  `json:"max_lag_instance_id"`
	MaxLagClientID    string   `json:"max_lag_client_id"`
	MaxLagTopicName   string   `json:"max_lag_topic_name"`
	MaxLagPartitionID int32    `json:"max_lag_partition_id"`
	MaxLag            int64    `json:"max_lag"`
	TotalLag          int64    `json:"total_lag"`
	MaxLagConsumer    Related  `json:"max_lag_consumer"`
	MaxLagPartition   Related  `json:"max_lag_partition"`
}
