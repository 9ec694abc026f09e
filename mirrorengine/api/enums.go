package api

// What the contract's enumerations may say. The engine says a part of it; the
// OpenAPI document and clients know all.

// LinkStates are the values of link_state.
func LinkStates() []string {
	return []string{LinkActive, LinkFailed, LinkUnavailable, LinkPaused, "UNKNOWN"}
}

// LinkErrors are the values of link_error.
func LinkErrors() []string {
	return []string{
		"UNKNOWN", LinkErrorNone, LinkErrorAuthentication, LinkErrorUnresolvable,
		"INVALID_BOOTSTRAP_INTERNAL_ENDPOINT_ERROR", LinkErrorTCP, LinkErrorTimeout,
	}
}

// States of a link's tasks.
const (
	TaskActive          = "ACTIVE"
	TaskInError         = "IN_ERROR"
	TaskNotConfigured   = "NOT_CONFIGURED"
	TaskLinkFailed      = "LINK_FAILED"
	TaskLinkUnavailable = "LINK_UNAVAILABLE"
	TaskLinkPaused      = "LINK_PAUSED"
)

// TaskStates are the values of a task's state.
func TaskStates() []string {
	return []string{"UNKNOWN", TaskActive, TaskInError, TaskNotConfigured, TaskLinkFailed, TaskLinkUnavailable, TaskLinkPaused}
}

// TaskErrorCodes are the values of error_code of a task's error.
func TaskErrorCodes() []string {
	return []string{
		"UNKNOWN", "NO_ERROR", "INTERNAL_ERROR", "AUTHENTICATION_ERROR", "BROKER_AUTHENTICATION_ERROR",
		"MISCONFIGURATION_ERROR", "REMOTE_LINK_NOT_FOUND_ERROR", "LINK_NOT_FOUND_ERROR", "CONSUMER_GROUP_IN_USE_ERROR",
		"AUTHORIZATION_ERROR", "BROKER_AUTHORIZATION_ERROR", "SECURITY_DISABLED_ERROR", "TOPIC_EXISTS_ERROR",
		"POLICY_VIOLATION_ERROR", "LINK_COORDINATOR_NOT_ENABLED_ERROR", "ACL_LIMIT_EXCEEDED", "REMOTE_MIRROR_NOT_FOUND_ERROR",
		"UNKNOWN_TOPIC_OR_PARTITION_ERROR", "INVALID_TOPIC", "SUPPRESSED_ERRORS", "INVALID_REQUEST_ERROR",
	}
}

// StateCategories are the values of state_category of a link's category counts.
func StateCategories() []string {
	return []string{"PAUSED", "IN_ERROR", "PENDING", "ACTIVE", "NOT_APPLICABLE"}
}

// MirrorErrors are the values of mirror_topic_error.
func MirrorErrors() []string {
	return []string{
		"UNKNOWN", "NOT_SET", MirrorErrorNone, MirrorErrorSourceDeleted, MirrorErrorSourceIDChanged,
		MirrorErrorPartitionsDecreased, "NON_MONOTONIC_LOG_APPEND_EPOCH", MirrorErrorTruncation, MirrorErrorFormat,
		"NON_MONOTONIC_SOURCE_EPOCH", MirrorErrorIllegalState, "UNSUPPORTED_MIRROR_STATE",
	}
}

// ConfigSources are the values of a config's source, and of its synonyms'.
func ConfigSources() []string {
	return []string{
		"DYNAMIC_CLUSTER_LINK_CONFIG", "DYNAMIC_TOPIC_CONFIG", "DYNAMIC_BROKER_LOGGER_CONFIG", "DYNAMIC_BROKER_CONFIG",
		"DYNAMIC_DEFAULT_BROKER_CONFIG", "STATIC_BROKER_CONFIG", "DEFAULT_CONFIG", Unknown,
	}
}

// ConfigOperations are the values of operation of configs:alter.
func ConfigOperations() []string { return []string{"SET", "DELETE"} }

// Unknown is the contract's word for a value that has none of its other words.
const Unknown = "UNKNOWN"

// GroupStates are the values of a consumer group's state.
func GroupStates() []string {
	return []string{Unknown, "PREPARING_REBALANCE", "COMPLETING_REBALANCE", "ASSIGNING", "RECONCILING", "STABLE", "DEAD", "EMPTY"}
}

// Types of consumer groups.
const (
	GroupClassic  = "CLASSIC"
	GroupConsumer = "CONSUMER"
	GroupShare    = "SHARE"
)

// GroupTypes are the values of a consumer group's type.
func GroupTypes() []string { return []string{Unknown, GroupClassic, GroupConsumer, GroupShare} }
