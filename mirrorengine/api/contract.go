package api

// Kinds of the objects on the wire, as the contract spells them.
const (
	KindCluster      = "KafkaCluster"
	KindClusterList  = "KafkaClusterList"
	KindLink         = "KafkaLinkData"
	KindLinkList     = "KafkaLinkDataList"
	KindLinkConfig   = "KafkaLinkConfigData"
	KindLinkConfigs  = "KafkaLinkConfigDataList"
	KindMirror       = "KafkaMirrorData"
	KindMirrorList   = "KafkaMirrorDataList"
	KindAlterMirrors = "AlterMirrorsData"
	KindPromote      = "KafkaPromoteMirror"
	KindFailover     = "KafkaFailoverMirror"
	KindPause        = "KafkaPauseMirror"
	KindResume       = "KafkaResumeMirror"
)

// Metadata goes with every object and list; Next is always null, since the
// contract has no pagination.
type Metadata struct {
	Self         string  `json:"self"`
	Next         *string `json:"next,omitempty"`
	ResourceName *string `json:"resource_name,omitempty"`
}

// List is any list of the contract.
type List[T any] struct {
	Kind     string   `json:"kind"`
	Metadata Metadata `json:"metadata"`
	Data     []T      `json:"data"`
}

// Related points at another resource.
type Related struct {
	Related string `json:"related"`
}

// Cluster is the engine's local (destination) cluster.
type Cluster struct {
	Kind                   string   `json:"kind"`
	Metadata               Metadata `json:"metadata"`
	ClusterID              string   `json:"cluster_id"`
	Controller             *Related `json:"controller,omitempty"`
	ACLs                   Related  `json:"acls"`
	Brokers                Related  `json:"brokers"`
	BrokerConfigs          Related  `json:"broker_configs"`
	ConsumerGroups         Related  `json:"consumer_groups"`
	Topics                 Related  `json:"topics"`
	PartitionReassignments Related  `json:"partition_reassignments"`
}

// NameValue is one config of a request; a null Value resets it to its default
// where the call allows that.
type NameValue struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// CreateLink is the body of POST …/links (the name is the query's link_name).
// Mode DESTINATION wants source_cluster_id.
type CreateLink struct {
	SourceClusterID      string      `json:"source_cluster_id,omitempty"`
	DestinationClusterID string      `json:"destination_cluster_id,omitempty"`
	RemoteClusterID      string      `json:"remote_cluster_id,omitempty"`
	ClusterLinkID        string      `json:"cluster_link_id,omitempty"`
	Configs              []NameValue `json:"configs,omitempty"`
}

// Link states of the contract.
const (
	LinkActive      = "ACTIVE"
	LinkFailed      = "FAILED"
	LinkUnavailable = "UNAVAILABLE"
	LinkPaused      = "PAUSED"
)

// Link errors of the contract that the engine reports.
const (
	LinkErrorNone           = "NO_ERROR"
	LinkErrorAuthentication = "AUTHENTICATION_ERROR"
	LinkErrorUnresolvable   = "UNRESOLVABLE_BOOTSTRAP_ERROR"
	LinkErrorTCP            = "BOOTSTRAP_TCP_CONNECTION_FAILED_ERROR"
	LinkErrorTimeout        = "TIMEOUT_ERROR"
)

// Link describes a cluster link.
type Link struct {
	Kind                 string          `json:"kind"`
	Metadata             Metadata        `json:"metadata"`
	SourceClusterID      *string         `json:"source_cluster_id"`
	DestinationClusterID *string         `json:"destination_cluster_id"`
	RemoteClusterID      *string         `json:"remote_cluster_id"`
	LinkName             string          `json:"link_name"`
	LinkID               string          `json:"link_id"`
	ClusterLinkID        string          `json:"cluster_link_id"`
	TopicNames           []string        `json:"topic_names"`
	LinkState            string          `json:"link_state"`
	LinkError            string          `json:"link_error"`
	LinkErrorMessage     *string         `json:"link_error_message"`
	Tasks                []LinkTask      `json:"tasks,omitempty"`
	CategoryCounts       []CategoryCount `json:"category_counts"`
}

// Task names of the contract.
const (
	TaskOffsetSync = "ConsumerOffsetSync"
	TaskConfigSync = "TopicConfigsSync"
	TaskACLSync    = "AclSync"
	TaskAutoCreate = "AutoCreateMirror"
)

// LinkTask is the state of one background task of a link.
type LinkTask struct {
	TaskName string      `json:"task_name"`
	State    string      `json:"state"`
	Errors   []TaskError `json:"errors"`
}

// TaskError says why a task is IN_ERROR and what to do.
type TaskError struct {
	ErrorCode    string `json:"error_code"`
	ErrorMessage string `json:"error_message"`
}

// CategoryCount counts mirrors by state category
// {PAUSED, IN_ERROR, PENDING, ACTIVE, NOT_APPLICABLE}.
type CategoryCount struct {
	StateCategory string `json:"state_category"`
	Count         int32  `json:"count"`
}

// LinkConfig is one config of a link. Both spellings of the flags are sent:
// Confluent Cloud reads is_*, Confluent Platform reads the bare ones.
type LinkConfig struct {
	Kind        string   `json:"kind"`
	Metadata    Metadata `json:"metadata"`
	ClusterID   string   `json:"cluster_id"`
	LinkName    string   `json:"link_name"`
	Name        string   `json:"name"`
	Value       *string  `json:"value"`
	Source      string   `json:"source"`
	Synonyms    []string `json:"synonyms"`
	IsDefault   bool     `json:"is_default"`
	IsReadOnly  bool     `json:"is_read_only"`
	IsSensitive bool     `json:"is_sensitive"`
	Default     bool     `json:"default"`
	ReadOnly    bool     `json:"read_only"`
	Sensitive   bool     `json:"sensitive"`
}

// ConfigValue is the body of PUT …/configs/{name}.
type ConfigValue struct {
	Value *string `json:"value"`
}

// AlterConfigs is the body of PUT …/configs:alter.
type AlterConfigs struct {
	Data         []AlterConfig `json:"data"`
	ValidateOnly bool          `json:"validate_only,omitempty"`
}

// AlterConfig is one change; Operation is SET (default) or DELETE.
type AlterConfig struct {
	Name      string  `json:"name"`
	Value     *string `json:"value"`
	Operation string  `json:"operation,omitempty"`
}

// CreateMirror is the body of POST …/mirrors.
type CreateMirror struct {
	SourceTopicName   string      `json:"source_topic_name"`
	MirrorTopicName   string      `json:"mirror_topic_name,omitempty"`
	ReplicationFactor int16       `json:"replication_factor,omitempty"`
	Configs           []NameValue `json:"configs,omitempty"`
}

// MirrorLag is one partition of a mirror. Lag is in records to the source's
// high watermark as last seen; LastSourceFetchOffset is the first source offset
// that is not in the mirror (where consumers of the old primary go on), or -1
// for a partition never fetched.
type MirrorLag struct {
	Partition             int32 `json:"partition"`
	Lag                   int64 `json:"lag"`
	LastSourceFetchOffset int64 `json:"last_source_fetch_offset"`
}

// Mirror describes a mirror topic.
type Mirror struct {
	Kind                  string            `json:"kind"`
	Metadata              Metadata          `json:"metadata"`
	LinkName              string            `json:"link_name"`
	MirrorTopicName       string            `json:"mirror_topic_name"`
	SourceTopicName       string            `json:"source_topic_name"`
	NumPartitions         int32             `json:"num_partitions"`
	MirrorLags            []MirrorLag       `json:"mirror_lags"`
	MirrorStatus          string            `json:"mirror_status"`
	MirrorTopicError      string            `json:"mirror_topic_error"`
	StateTimeMs           int64             `json:"state_time_ms"`
	StateTransitionErrors []TransitionError `json:"mirror_state_transition_errors,omitzero"` // with include_state_transition_errors
}

// TransitionError is why a mirror did not change its state as asked, or FAILED.
type TransitionError struct {
	ErrorCode    string `json:"error_code"`
	ErrorMessage string `json:"error_message"`
}

// Reasons of a FAILED mirror (mirror_topic_error).
const (
	MirrorErrorNone                = "NO_ERROR"
	MirrorErrorIllegalState        = "ILLEGAL_STATE"
	MirrorErrorSourceDeleted       = "SOURCE_TOPIC_MAY_BE_DELETED"
	MirrorErrorSourceIDChanged     = "SOURCE_TOPIC_ID_CHANGED"
	MirrorErrorPartitionsDecreased = "SOURCE_PARTITIONS_DECREASED"
	MirrorErrorTruncation          = "UNEXPECTED_TRUNCATION"
	MirrorErrorFormat              = "UNSUPPORTED_MESSAGE_FORMAT"
)

// AlterMirrors names mirrors by name or by an RE2 pattern over the whole name;
// exactly one of the two.
type AlterMirrors struct {
	MirrorTopicNames       []string `json:"mirror_topic_names,omitempty"`
	MirrorTopicNamePattern string   `json:"mirror_topic_name_pattern,omitempty"`
}

// AlterMirrorResult is the outcome for one mirror; ErrorCode is null when it
// was accepted. HTTP stays 200 when single mirrors fail.
type AlterMirrorResult struct {
	Kind                         string                `json:"kind"`
	Metadata                     Metadata              `json:"metadata"`
	MirrorTopicName              string                `json:"mirror_topic_name"`
	ErrorCode                    *int                  `json:"error_code"`
	ErrorMessage                 *string               `json:"error_message"`
	MirrorLags                   []MirrorLag           `json:"mirror_lags"`
	MessagesTruncated            *int64                `json:"messages_truncated"`
	PartitionLevelTruncationData []PartitionTruncation `json:"partition_level_truncation_data"`
}

// PartitionTruncation belongs to truncate-and-restore; empty elsewhere.
type PartitionTruncation struct {
	PartitionID       int32 `json:"partition_id"`
	OffsetTruncatedTo int64 `json:"offset_truncated_to"`
	MessagesTruncated int64 `json:"messages_truncated"`
}
