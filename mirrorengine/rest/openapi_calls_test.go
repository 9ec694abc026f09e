package rest

import (
	"net/http"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// call is one call of the API, as the OpenAPI document describes it.
type call struct {
	pattern, id, summary string
	query                []query
	in, out              any      // bodies; nil: none
	status               int      // of success, 0 for 200
	media                []string // of a body that is no JSON
	fails                []int    // nil: as fails says
}

// query is a query parameter.
type query struct {
	name, says string
	of         any      // a value of its type; its default, unless required or text
	enum       []string // of a text
	required   bool
}

var (
	validateOnly = query{name: api.QueryValidateOnly, of: false, says: "Check the call and change nothing."}
	aclFilters   = query{name: api.QueryACLFilters, of: "", says: "Filters as in acl.filters, in place of the link's own."}
	seconds      = query{name: "seconds", of: "", says: "How long to look."}
	mirrorFilter = query{name: api.QueryMirrorStatus, of: "", enum: api.MirrorStatuses(), says: "Only mirrors of this status; lower case is taken too."}
)

// contractCalls are Kafka REST v3's, under both of its prefixes, behind
// /clusters/{cluster_id} unless they begin with a !.
var contractCalls = []call{
	{pattern: "GET !/clusters", id: "listClusters", summary: "List the local cluster, as the only one.", out: api.List[api.Cluster]{}},
	{pattern: "GET ", id: "getCluster", summary: "Describe the local cluster.", out: api.Cluster{}},

	{pattern: "GET /links", id: "listLinks", summary: "List the cluster links.", out: api.List[api.Link]{}},
	{pattern: "POST /links", id: "createLink", summary: "Make a cluster link whose destination is the local cluster.", query: []query{
		{name: api.QueryLinkName, of: "", required: true, says: "The link's name."},
		validateOnly,
		{name: api.QueryValidateLink, of: true, says: "Ask the source first, and refuse a link that cannot work."},
	}, in: api.CreateLink{}, status: http.StatusNoContent},
	{pattern: "GET /links/{link}", id: "getLink", summary: "Describe a cluster link.", query: []query{
		{name: api.QueryIncludeTasks, of: false, says: "Tell its background tasks too."},
	}, out: api.Link{}},
	{pattern: "DELETE /links/{link}", id: "deleteLink", summary: "Remove a cluster link.", query: []query{
		{name: api.QueryForce, of: false, says: "Also with mirrors, which end where they stand, and with undecided lagged data."}, validateOnly,
	}},
	{pattern: "GET /links/{link}/configs", id: "listLinkConfigs", summary: "List a link's configs; sensitive ones have no value.", out: api.List[api.LinkConfig]{}},
	{pattern: "GET /links/{link}/configs/{name}", id: "getLinkConfig", summary: "Tell one config of a link.", out: api.LinkConfig{}},
	{pattern: "PUT /links/{link}/configs/{name}", id: "setLinkConfig", summary: "Set one config of a link.", in: api.ConfigValue{}, status: http.StatusNoContent},
	{pattern: "DELETE /links/{link}/configs/{name}", id: "resetLinkConfig", summary: "Put one config of a link back to its default.", status: http.StatusNoContent},
	{pattern: "PUT /links/{link}/configs:alter", id: "alterLinkConfigs", summary: "Change several configs of a link, all or none.", query: []query{validateOnly}, in: api.AlterConfigs{}, status: http.StatusNoContent},

	{pattern: "GET /links/{link}/mirrors", id: "listMirrors", summary: "List the mirror topics of a link.", query: []query{mirrorFilter}, out: api.List[api.Mirror]{}},
	{pattern: "GET /links/-/mirrors", id: "listAllMirrors", summary: "List the mirror topics of all links.", query: []query{mirrorFilter}, out: api.List[api.Mirror]{}},
	{pattern: "POST /links/{link}/mirrors", id: "createMirror", summary: "Make a mirror topic.", in: api.CreateMirror{}, status: http.StatusNoContent},
	{pattern: "GET /links/{link}/mirrors/{topic}", id: "getMirror", summary: "Describe a mirror topic.", query: []query{
		{name: api.QueryTransitionErrors, of: false, says: "Tell why its status did not change as asked."},
	}, out: api.Mirror{}},
	alterMirrors("promote", "promoteMirrors", "End mirrors when they have drained; the source must answer."),
	alterMirrors("failover", "failOverMirrors", "End mirrors where they stand; the source is not needed."),
	alterMirrors("pause", "pauseMirrors", "Pause mirrors."),
	alterMirrors("resume", "resumeMirrors", "Resume paused mirrors."),
	refused("reverse-and-start-mirror", "reverseAndStartMirrors"),
	refused("reverse-and-pause-mirror", "reverseAndPauseMirrors"),
	refused("promote-local-and-start-remote-mirror", "promoteLocalAndStartRemoteMirrors"),
	refused("promote-local-and-pause-remote-mirror", "promoteLocalAndPauseRemoteMirrors"),
	refused("truncate-and-restore", "truncateAndRestoreMirrors", query{name: "include_partition_level_truncation_data", of: false, says: "Of no effect here."}),

	{pattern: "GET /topics", id: "listTopics", summary: "List the cluster's topics.", out: api.List[api.Topic]{}},
	{pattern: "GET /topics/{topic}", id: "getTopic", summary: "Describe a topic.", out: api.Topic{}},
	{pattern: "GET /topics/{topic}/partitions", id: "listPartitions", summary: "List a topic's partitions.", out: api.List[api.Partition]{}},
	{pattern: "GET /topics/{topic}/partitions/{partition_id}", id: "getPartition", summary: "Describe a partition.", out: api.Partition{}},
	{pattern: "GET /topics/{topic}/configs", id: "listTopicConfigs", summary: "List a topic's configs.", out: api.List[api.TopicConfig]{}},
	{pattern: "GET /topics/-/configs", id: "listAllTopicConfigs", summary: "List the configs of all topics.", out: api.List[api.TopicConfig]{}},
	{pattern: "GET /topics/{topic}/configs/{name}", id: "getTopicConfig", summary: "Tell one config of a topic.", out: api.TopicConfig{}},

	{pattern: "GET /consumer-groups", id: "listConsumerGroups", summary: "List the cluster's consumer groups.", out: api.List[api.ConsumerGroup]{}},
	{pattern: "GET /consumer-groups/{group}", id: "getConsumerGroup", summary: "Describe a consumer group.", out: api.ConsumerGroup{}},
	{pattern: "GET /consumer-groups/{group}/consumers", id: "listConsumers", summary: "List the members of a group.", out: api.List[api.Consumer]{}},
	{pattern: "GET /consumer-groups/{group}/consumers/{consumer_id}", id: "getConsumer", summary: "Describe a member of a group.", out: api.Consumer{}},
	{pattern: "GET /consumer-groups/{group}/lag-summary", id: "getLagSummary", summary: "Tell a group's largest lag and the sum of all.", out: api.LagSummary{}},
	{pattern: "GET /consumer-groups/{group}/lags", id: "listLags", summary: "Tell a group's lag by partition.", out: api.List[api.ConsumerLag]{}},
	{pattern: "GET /consumer-groups/{group}/lags/{topic}/partitions/{partition_id}", id: "getLag", summary: "Tell a group's lag in one partition.", out: api.ConsumerLag{}},
}

func alterMirrors(verb, id, says string) call {
	return call{
		pattern: "POST /links/{link}/mirrors:" + verb, id: id, summary: says + " Each mirror has its own result.",
		query: []query{validateOnly}, in: api.AlterMirrors{}, out: api.List[api.AlterMirrorResult]{},
	}
}

// refused is a call of the contract that this release answers with the reason why
// not: it has no answer of success.
func refused(verb, id string, more ...query) call {
	return call{
		pattern: "POST /links/{link}/mirrors:" + verb, id: id, status: http.StatusBadRequest,
		query: append([]query{validateOnly}, more...), in: api.AlterMirrors{},
		summary: "Refused with the reason: not supported by this release; the failback runbook moves mirrors home.",
	}
}

// ourCalls are Drawbridge's own. The path of a call that begins with a ! is not
// under /drawbridge/v1.
var ourCalls = []call{
	{pattern: "GET /engine", id: "getEngine", summary: "Describe the engine, and what it found out about its cluster.", out: api.Engine{}},
	{pattern: "GET /links/{link}/progress", id: "getProgress", summary: "Tell the live state of a link's mirrors.", out: api.Progress{}},
	{pattern: "GET /links/{link}/drift", id: "getDrift", summary: "Tell in what mirrors differ from their sources.", out: api.Drift{}},
	{pattern: "GET /links/{link}/operation", id: "getOperation", summary: "Tell the operation that a link knows last.", out: api.Operation{}},
	{pattern: "PUT /links/{link}/operation", id: "putOperation", summary: "Open an operation on a link.", in: api.Operation{}, out: api.Operation{}},
	{pattern: "POST /links/{link}/operation:revoke", id: "revokeOperation", summary: "Refuse an operation from now on.", in: api.Operation{}, out: api.Operation{}},
	{pattern: "POST /links/{link}/operation:end", id: "endOperation", summary: "End an operation.", in: api.Operation{}, out: api.Operation{}},
	{pattern: "GET /links/{link}/acls", id: "getACLSync", summary: "Tell what ACL sync would do now.", query: []query{aclFilters}, out: api.ACLSync{}},
	{pattern: "GET /links/{link}/groups", id: "getGroupSync", summary: "Tell the last round of offset sync.", out: api.GroupSync{}},
	{pattern: "POST /links/{link}/groups:sync", id: "syncGroups", summary: "Run one round of offset sync now.", out: api.GroupSync{}},
	{pattern: "POST /links/{link}/groups:own", id: "ownGroups", summary: "Take over the offsets found on the destination.", in: api.TakeOwnership{}, out: api.GroupSync{}},
	{pattern: "GET /links/{link}/mirrors/{topic}/segments", id: "getSegments", summary: "Tell the offset map of a mirror topic.", out: api.Segments{}},
	{pattern: "POST /links/{link}/mirrors:rejoin", id: "rejoinMirrors", summary: "Start mirrors over existing topics after a planned move.", in: api.Rejoin{}, out: []api.AlterMirrorResult{}},
	{pattern: "POST /links/{link}/mirrors:reversed", id: "reversedMirrors", summary: "Tell that mirrors of the opposite direction have rejoined.", in: api.Rejoin{}, out: []api.AlterMirrorResult{}},
	{pattern: "GET /links/{link}/ledger", id: "getLedger", summary: "Tell the loss ledger of a link.", out: api.Ledger{}},
	{pattern: "POST /links/{link}/ledger:compute", id: "computeLedger", summary: "Read the lagging ranges from the source.", out: api.Ledger{}},
	{pattern: "POST /links/{link}/ledger:append", id: "appendLedger", summary: "Write lagged records behind the new primary's log.", in: api.DecideLedger{}, out: api.Ledger{}},
	{pattern: "POST /links/{link}/ledger:discard", id: "discardLedger", summary: "Record that lagged records are given up.", in: api.DecideLedger{}, out: api.Ledger{}},
	{pattern: "POST /links/{link}/ledger:export", id: "exportLedger", summary: "Write lagged records into a topic beside the originals.", in: api.DecideLedger{}, out: api.Export{}},
	{pattern: "GET /pairs/{pair}/lock", id: "getLock", summary: "Tell a pair's operation lock.", out: api.Lock{}},
	{pattern: "PUT /pairs/{pair}/lock", id: "putLock", summary: "Take a pair's operation lock.", in: api.Lock{}, out: api.Lock{}},
	{pattern: "DELETE /pairs/{pair}/lock", id: "deleteLock", summary: "Let a pair's operation lock go.", query: []query{
		{name: api.QueryOperationID, of: "", required: true, says: "Whose lock."},
	}, status: http.StatusNoContent},
	{pattern: "GET /pairs/{pair}/fences", id: "listFences", summary: "List a pair's fence registers.", out: []api.Fence{}},
	{pattern: "PUT /pairs/{pair}/fences/{operation}", id: "putFence", summary: "Record an operation's entries before they are made.", in: api.Fence{}, out: api.Fence{}},
	{pattern: "DELETE /pairs/{pair}/fences/{operation}", id: "deleteFence", summary: "Forget an operation's entries.", status: http.StatusNoContent},
	{pattern: "POST /pairs/{pair}/fences/{operation}/handover", id: "handOverFence", summary: "Turn an operation's entries into guards of a link's mirrors.", in: api.HandOver{}, status: http.StatusNoContent},
	{pattern: "GET /replica/partitions", id: "listReplicaPartitions", summary: "Between replicas: where this one's partitions stand.", out: api.ReplicaPartitions{}},
	{pattern: "POST /replica/shards/{shard}", id: "putShard", summary: "Between replicas: write to a shard of the state.", in: api.ShardPut{}, out: api.ShardRead{}},

	{pattern: "GET !/healthz", id: "getHealth", summary: "Answers while the process does.", out: health{}, fails: []int{}},
	{pattern: "GET !/readyz", id: "getReadiness", summary: "Answers 200 when calls can be served; else 503 says why not.", out: readiness{}, fails: []int{http.StatusServiceUnavailable}},
	{pattern: "GET !/metrics", id: "getMetrics", summary: "Metrics in Prometheus' text format.", media: []string{"text/plain", "application/openmetrics-text"}, fails: asked},
	{pattern: "GET !/openapi.json", id: "getOpenAPI", summary: "This document.", out: map[string]any{}, fails: asked},
	{pattern: "GET !/debug/mirrors", id: "debugMirrors", summary: "A table for people: a row per mirrored partition.", query: []query{
		{name: "link", of: "", says: "Only of this link."}, {name: "topic", of: "", says: "Only of this topic."}, {name: "stalled", of: false, says: "Only those that do not move."},
	}, media: []string{"text/plain"}},
	{pattern: "GET !/debug/pprof/", id: "pprofIndex", summary: "Go's own profiles, and by their names below this path what it lists.", query: []query{
		{name: "debug", of: "", says: "1 or 2: as text."}, {name: "gc", of: "", says: "1: collect garbage first."}, seconds,
	}, media: []string{"text/html", "text/plain", "application/octet-stream"}, fails: asked},
	{pattern: "GET !/debug/pprof/cmdline", id: "pprofCmdline", summary: "The process's command line.", media: []string{"text/plain"}, fails: asked},
	{pattern: "GET !/debug/pprof/profile", id: "pprofProfile", summary: "A profile of the CPU.", query: []query{seconds}, media: []string{"application/octet-stream"}, fails: asked},
	{pattern: "GET !/debug/pprof/symbol", id: "pprofSymbol", summary: "Names of functions.", media: []string{"text/plain"}, fails: asked},
	{pattern: "GET !/debug/pprof/trace", id: "pprofTrace", summary: "A trace of the scheduler.", query: []query{seconds}, media: []string{"application/octet-stream"}, fails: asked},
}

// asked are the refusals of who only asks for a caller's role.
var asked = []int{http.StatusUnauthorized, http.StatusForbidden}

type health struct {
	Status string `json:"status"`
}

type readiness struct {
	Status  string  `json:"status"`
	Shards  []int32 `json:"shards,omitempty"`
	Leading bool    `json:"leading,omitempty"`
}

// codes are the error codes by HTTP status.
var codes = map[int][]int{
	http.StatusBadRequest:            {api.CodeMalformed, api.CodeBadRequest, api.CodeUnsupported},
	http.StatusUnauthorized:          {api.CodeUnauthorized},
	http.StatusForbidden:             {api.CodeForbidden},
	http.StatusNotFound:              {api.CodeNotFound, api.CodeTopicNotFound, api.CodePartitionMissing, api.CodeNotHosted},
	http.StatusMethodNotAllowed:      {api.CodeMethodNotAllowed},
	http.StatusRequestTimeout:        {api.CodeTimeout},
	http.StatusConflict:              {api.CodeConflict},
	http.StatusRequestEntityTooLarge: {api.CodeTooLarge},
	http.StatusTooManyRequests:       {api.CodeThrottled},
	http.StatusInternalServerError:   {api.CodeInternal, api.CodeKafka, api.CodeKafkaRetriable},
	http.StatusServiceUnavailable:    {api.CodeUnavailable},
}

// enums are the values of fields, by type and name in JSON.
var enums = map[string][]string{
	"Link.link_state": api.LinkStates(), "Link.link_error": api.LinkErrors(),
	"LinkTask.state": api.TaskStates(), "TaskError.error_code": api.TaskErrorCodes(), "CategoryCount.state_category": api.StateCategories(),
	"LinkConfig.source": {"DYNAMIC_CLUSTER_LINK_CONFIG", "DEFAULT_CONFIG"}, "AlterConfig.operation": api.ConfigOperations(),
	"Mirror.mirror_status": api.MirrorStatuses(), "Mirror.mirror_topic_error": api.MirrorErrors(),
	"TopicConfig.source": api.ConfigSources(), "ConfigSynonym.source": api.ConfigSources(),
	"ConsumerGroup.state": api.GroupStates(), "ConsumerGroup.type": api.GroupTypes(),
	"MirrorProgress.status": api.MirrorStatuses(), "MirrorProgress.guard": {api.GuardNone, api.GuardSet, api.GuardProven, api.GuardReleased},
	"MirrorProgress.writer_fence": writerFences, "Engine.writer_fence": writerFences,
	"Operation.state": {"open", "ended", "revoked"}, "ACLChange.at": {api.ACLAtSource, api.ACLAtDestination},
	"LedgerEntry.decision": {api.LedgerUndecided, api.LedgerAppended, api.LedgerExported, api.LedgerDiscarded, api.LedgerNothing},
	"LedgerGap.cause":      {api.GapRetention, api.GapCompaction, api.GapDeleted},

	"Cluster.kind": {api.KindCluster}, "ClusterList.kind": {api.KindClusterList},
	"Link.kind": {api.KindLink}, "LinkList.kind": {api.KindLinkList},
	"LinkConfig.kind": {api.KindLinkConfig}, "LinkConfigList.kind": {api.KindLinkConfigs},
	"Mirror.kind": {api.KindMirror}, "MirrorList.kind": {api.KindMirrorList},
	"AlterMirrorResult.kind": {api.KindAlterMirrors}, "AlterMirrorResultList.kind": {api.KindPromote, api.KindFailover, api.KindPause, api.KindResume},
	"Topic.kind": {api.KindTopic}, "TopicList.kind": {api.KindTopicList},
	"TopicConfig.kind": {api.KindTopicConfig}, "TopicConfigList.kind": {api.KindTopicConfigs},
	"Partition.kind": {api.KindPartition}, "PartitionList.kind": {api.KindPartitionList},
	"ConsumerGroup.kind": {api.KindGroup}, "ConsumerGroupList.kind": {api.KindGroupList},
	"Consumer.kind": {api.KindConsumer}, "ConsumerList.kind": {api.KindConsumerList},
	"ConsumerLag.kind": {api.KindLag}, "ConsumerLagList.kind": {api.KindLagList}, "LagSummary.kind": {api.KindLagSummary},
}

var writerFences = []string{api.WriterFenceEnforced, api.WriterFenceNotEnforced, api.WriterFenceNotPermitted}

// wanted are the fields that a request must have; all others may be left out.
var wanted = map[string][]string{
	"NameValue": {"name"}, "AlterConfigs": {"data"}, "AlterConfig": {"name"}, "ConfigValue": {"value"}, "CreateMirror": {"source_topic_name"},
	"Operation": {"operation_id"}, "Lock": {"operation_id"}, "Rejoin": {"from"}, "DecideLedger": {"decided_by"}, "HandOver": {"link"},
	"ShardEntry": {"key"}, "ShardPut": {"term"},
}
