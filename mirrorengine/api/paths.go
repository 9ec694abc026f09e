package api

import "net/url"

// Path prefixes. The contract is served under both of its own: Confluent Cloud
// and Confluent Server use the first, the stand-alone REST Proxy the second.
const (
	PrefixKafka      = "/kafka/v3"
	PrefixStandalone = "/v3"
	PrefixDrawbridge = "/drawbridge/v1"
)

// Paths of the process itself.
const (
	PathMetrics = "/metrics"
	PathHealth  = "/healthz"
	PathReady   = "/readyz"
	PathDebug   = "/debug/"       // of admins: mirrors, and Go's own pprof
	PathOpenAPI = "/openapi.json" // describes all of these calls
)

// Query parameters.
const (
	QueryLinkName         = "link_name"
	QueryValidateOnly     = "validate_only"
	QueryValidateLink     = "validate_link"
	QueryForce            = "force"
	QueryIncludeTasks     = "include_tasks"
	QueryMirrorStatus     = "mirror_status"
	QueryTransitionErrors = "include_state_transition_errors"
	QueryOperationID      = "operation_id"
	QueryACLFilters       = "acl_filters"
)

// ClustersPath lists the local cluster.
func ClustersPath() string { return PrefixKafka + "/clusters" }

// ClusterPath is one cluster.
func ClusterPath(cluster string) string { return ClustersPath() + "/" + url.PathEscape(cluster) }

// LinksPath is the links of a cluster.
func LinksPath(cluster string) string { return ClusterPath(cluster) + "/links" }

// LinkPath is one link.
func LinkPath(cluster, link string) string { return LinksPath(cluster) + "/" + url.PathEscape(link) }

// LinkConfigsPath is a link's configs.
func LinkConfigsPath(cluster, link string) string { return LinkPath(cluster, link) + "/configs" }

// LinkConfigPath is one config of a link.
func LinkConfigPath(cluster, link, name string) string {
	return LinkConfigsPath(cluster, link) + "/" + url.PathEscape(name)
}

// AlterLinkConfigsPath changes several configs of a link at once (PUT).
func AlterLinkConfigsPath(cluster, link string) string {
	return LinkPath(cluster, link) + "/configs:alter"
}

// MirrorsPath is the mirrors of a link, or of all links with AllLinks.
func MirrorsPath(cluster, link string) string { return LinkPath(cluster, link) + "/mirrors" }

// MirrorPath is one mirror topic.
func MirrorPath(cluster, link, topic string) string {
	return MirrorsPath(cluster, link) + "/" + url.PathEscape(topic)
}

// AlterMirrorsPath changes the state of mirrors.
func AlterMirrorsPath(cluster, link string, verb MirrorVerb) string {
	return MirrorsPath(cluster, link) + ":" + string(verb)
}

// EnginePath describes the engine.
func EnginePath() string { return PrefixDrawbridge + "/engine" }

// ProgressPath is the live state of a link's mirrors.
func ProgressPath(link string) string { return extension(link) + "/progress" }

// DriftPath is in what a link's mirrors differ from their sources.
func DriftPath(link string) string { return extension(link) + "/drift" }

// OperationPath is the operation token of a link; RevokeOperationPath and
// EndOperationPath close it.
func OperationPath(link string) string { return extension(link) + "/operation" }

// RevokeOperationPath makes the engine refuse an operation from now on.
func RevokeOperationPath(link string) string { return OperationPath(link) + ":revoke" }

// EndOperationPath is the ordinary end of an operation.
func EndOperationPath(link string) string { return OperationPath(link) + ":end" }

// ACLsPath is what ACL sync of a link would do.
func ACLsPath(link string) string { return extension(link) + "/acls" }

// GroupsPath is a link's offset sync.
func GroupsPath(link string) string { return extension(link) + "/groups" }

// SyncGroupsPath runs one round of offset sync.
func SyncGroupsPath(link string) string { return GroupsPath(link) + ":sync" }

// OwnGroupsPath takes over the offsets found on the destination.
func OwnGroupsPath(link string) string { return GroupsPath(link) + ":own" }

// SegmentsPath is the offset map of a mirror.
func SegmentsPath(link, topic string) string {
	return extension(link) + "/mirrors/" + url.PathEscape(topic) + "/segments"
}

// RejoinPath starts mirrors over existing topics.
func RejoinPath(link string) string { return extension(link) + "/mirrors:rejoin" }

// ReversedPath tells that mirrors of the opposite direction have rejoined.
func ReversedPath(link string) string { return extension(link) + "/mirrors:reversed" }

// LedgerPath is the loss ledger of a link.
func LedgerPath(link string) string { return extension(link) + "/ledger" }

// LedgerVerbPath is one of compute, append, export, discard.
func LedgerVerbPath(link, verb string) string { return LedgerPath(link) + ":" + verb }

// LockPath is the operation lock of a pair.
func LockPath(pair string) string { return pairPath(pair) + "/lock" }

// FencesPath is the fence register of a pair.
func FencesPath(pair string) string { return pairPath(pair) + "/fences" }

// FencePath is the fence register of one operation.
func FencePath(pair, operation string) string {
	return FencesPath(pair) + "/" + url.PathEscape(operation)
}

// HandOverFencePath turns an operation's entries into guards of a link.
func HandOverFencePath(pair, operation string) string {
	return FencePath(pair, operation) + "/handover"
}

// HandOver is the body of POST …/fences/{operation}/handover.
type HandOver struct {
	Link string `json:"link"`
}

func extension(link string) string { return PrefixDrawbridge + "/links/" + url.PathEscape(link) }
func pairPath(pair string) string  { return PrefixDrawbridge + "/pairs/" + url.PathEscape(pair) }
