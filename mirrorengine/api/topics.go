package api

// Kinds of what the engine tells of its local cluster's topics, as the contract
// spells them.
const (
	KindTopic         = "KafkaTopic"
	KindTopicList     = "KafkaTopicList"
	KindTopicConfig   = "KafkaTopicConfig"
	KindTopicConfigs  = "KafkaTopicConfigList"
	KindPartition     = "KafkaPartition"
	KindPartitionList = "KafkaPartitionList"
)

// AllTopics in place of a topic's name lists the configs of all topics.
const AllTopics = "-"

// Topic is a topic of the local cluster.
type Topic struct {
	Kind                   string   `json:"kind"`
	Metadata               Metadata `json:"metadata"`
	ClusterID              string   `json:"cluster_id"`
	TopicName              string   `json:"topic_name"`
	IsInternal             bool     `json:"is_internal"`
	ReplicationFactor      int      `json:"replication_factor"`
	PartitionsCount        int      `json:"partitions_count"`
	Partitions             Related  `json:"partitions"`
	Configs                Related  `json:"configs"`
	PartitionReassignments Related  `json:"partition_reassignments"`
}

// Partition is one partition of a topic. Leader is left out while it has none.
type Partition struct {
	Kind         string   `json:"kind"`
	Metadata     Metadata `json:"metadata"`
	ClusterID    string   `json:"cluster_id"`
	TopicName    string   `json:"topic_name"`
	PartitionID  int32    `json:"partition_id"`
	Leader       *Related `json:"leader,omitempty"`
	Replicas     Related  `json:"replicas"`
	Reassignment Related  `json:"reassignment"`
	// LeaderID is the broker that Leader points at, -1 for none.
	LeaderID int32 `json:"-"`
}

// TopicConfig is one config of a topic. Value is null for a sensitive one.
type TopicConfig struct {
	Kind        string          `json:"kind"`
	Metadata    Metadata        `json:"metadata"`
	ClusterID   string          `json:"cluster_id"`
	TopicName   string          `json:"topic_name"`
	Name        string          `json:"name"`
	Value       *string         `json:"value"`
	IsDefault   bool            `json:"is_default"`
	IsReadOnly  bool            `json:"is_read_only"`
	IsSensitive bool            `json:"is_sensitive"`
	Source      string          `json:"source"`
	Synonyms    []ConfigSynonym `json:"synonyms"`
}

// ConfigSynonym is a place that a config's value may come from, the one that
// holds first.
type ConfigSynonym struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}
