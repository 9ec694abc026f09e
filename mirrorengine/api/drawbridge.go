package api

import "time"

// Headers that tie an engine call to a runbook's operation. The engine keeps
// the highest epoch per link and refuses calls of lower epochs and of revoked
// operations, so that a delayed call of an ended run does nothing.
const (
	HeaderOperation = "Drawbridge-Operation"
	HeaderEpoch     = "Drawbridge-Epoch"
)

// Engine tells what this engine is and what it found out about its local
// cluster (GET /drawbridge/v1/engine).
type Engine struct {
	Version    string `json:"version"`
	ClusterID  string `json:"cluster_id"`
	Principal  string `json:"principal"`
	StateTopic string `json:"state_topic"`
	Shards     int32  `json:"shards"`
	// Authorizer is false when the cluster enforces no ACLs: mirrors are then
	// not read-only, foreign writes are only detected.
	Authorizer bool `json:"authorizer"`
	// SuperUser: the engine's principal is a super user, so guards and fences
	// may DENY User:*.
	SuperUser bool `json:"super_user"`
	// AllowEveryone is allow.everyone.if.no.acl.found.
	AllowEveryone bool `json:"allow_everyone_if_no_acl_found"`
	// WriterFence is "enforced", "not_enforced" or "not_permitted": whether a
	// marker fences our own late batches when a mirror ends, probed at start.
	WriterFence string   `json:"writer_fence"`
	Brokers     []string `json:"brokers"`
	// Replicas share the engine's work; each took its shards over last.
	Replicas []Replica `json:"replicas"`
}

// Writer fence levels.
const (
	WriterFenceEnforced     = "enforced"
	WriterFenceNotEnforced  = "not_enforced"
	WriterFenceNotPermitted = "not_permitted"
)

// Guard levels of a mirror topic: is it read-only for others?
const (
	GuardNone     = "none"     // no authorizer, or the engine may not set ACLs
	GuardSet      = "set"      // DENY WRITE is set, not proven
	GuardProven   = "proven"   // every broker refused the canary
	GuardReleased = "released" // removed by promote or failover, or since the topic is gone
)

// Progress is the live state of a link's mirrors
// (GET /drawbridge/v1/links/{link}/progress).
type Progress struct {
	Link string `json:"link"`
	// SourceReachable tells whether the source answered within the last
	// connection timeout; LastContact is when it last did.
	SourceReachable bool             `json:"source_reachable"`
	LastContact     time.Time        `json:"last_contact"`
	SourceClusterID string           `json:"source_cluster_id"`
	Mirrors         []MirrorProgress `json:"mirrors"`
}

// MirrorProgress is one mirror topic.
type MirrorProgress struct {
	Topic       string `json:"topic"`
	SourceTopic string `json:"source_topic"`
	// TopicID is the mirror's own topic as it was made; a topic of this name with
	// another id is not the mirror any more. Empty until the topic is made.
	TopicID string `json:"topic_id,omitempty"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	// Reversed: the mirror ended in a planned move and its source mirrors from
	// here now. What stands behind its stop offsets is not lagged data.
	Reversed    bool                `json:"reversed,omitempty"`
	Guard       string              `json:"guard"`
	WriterFence string              `json:"writer_fence"`
	Partitions  []PartitionProgress `json:"partitions"`
}

// PartitionProgress is one mirrored partition. Source offsets are in the
// source's numbering, Dest offsets in the mirror's.
type PartitionProgress struct {
	Partition int32 `json:"partition"`
	// SourceHighWatermark as last seen; -1 if never.
	SourceHighWatermark int64 `json:"source_high_watermark"`
	// SourcePosition is the first source offset that is not in the mirror.
	SourcePosition int64 `json:"source_position"`
	DestEnd        int64 `json:"dest_end"`
	LagRecords     int64 `json:"lag_records"`
	// LagSeconds is measured on the engine's clock: now - newest sample of the
	// source's high watermark at or below the mirrored position; 0 at the tip
	// while the source answers.
	LagSeconds float64 `json:"lag_seconds"`
	// RecordsPerSecond is the source's production rate over the last samples.
	RecordsPerSecond float64 `json:"records_per_second"`
	// Stalled says why nothing moves, empty if it does.
	Stalled string `json:"stalled,omitempty"`
	// SourceStop and DestStop are set once the mirror was ended: records at or
	// above SourceStop were not mirrored, the application's own start at DestStop.
	SourceStop *int64 `json:"source_stop,omitempty"`
	DestStop   *int64 `json:"dest_stop,omitempty"`
}

// Drift is in what the mirrors of a link differ from their source topics
// although their configs are synced (GET /drawbridge/v1/links/{link}/drift): as
// a rule because the defaults of the two clusters differ.
type Drift struct {
	Link string `json:"link"`
	// ComputedAt is the last round of topic config sync.
	ComputedAt time.Time `json:"computed_at"`
	// Entries, the harmful ones first.
	Entries []DriftEntry `json:"entries"`
}

// DriftEntry is one config that has one value at the source and another in the
// mirrors, for all topics of which both are the same.
type DriftEntry struct {
	Config      string     `json:"config"`
	Source      DriftValue `json:"source"`
	Destination DriftValue `json:"destination"`
	// Harmful: the mirror's value loses records, durability or batches.
	Harmful bool `json:"harmful"`
	// ByDesign: every mirror has that value, so that batches pass as they are.
	ByDesign bool     `json:"by_design"`
	Meaning  string   `json:"meaning"`
	Cure     string   `json:"cure"`
	Topics   []string `json:"topics"`
}

// DriftValue is an effective value and where it comes from, in the contract's
// words (DYNAMIC_TOPIC_CONFIG, STATIC_BROKER_CONFIG, DEFAULT_CONFIG, …).
type DriftValue struct {
	Value string `json:"value"`
	From  string `json:"from"`
}

// Operation is the token of the runbook that may change a link
// (PUT /drawbridge/v1/links/{link}/operation; POST …/operation:revoke, :end).
type Operation struct {
	OperationID string `json:"operation_id"`
	Epoch       int64  `json:"epoch"`
	// State is "open", "ended" or "revoked" in answers.
	State string `json:"state,omitempty"`
}

// Lock is the operation lock of a pair, kept in the destination's state topic
// beside the one in the record of truth (PUT, GET, DELETE
// /drawbridge/v1/pairs/{pair}/lock). PUT of a lock that another operation holds
// is refused with 409 and the holder's name.
type Lock struct {
	OperationID string    `json:"operation_id"`
	Operation   string    `json:"operation"`
	Epoch       int64     `json:"epoch"`
	Since       time.Time `json:"since"`
	// HighestEpoch is the highest epoch that this state topic has seen.
	HighestEpoch int64 `json:"highest_epoch"`
}

// ACLEntry is one ACL binding, in the contract's words.
type ACLEntry struct {
	Principal    string `json:"principal"`
	Host         string `json:"host"`
	ResourceType string `json:"resource_type"` // TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID
	ResourceName string `json:"resource_name"`
	PatternType  string `json:"pattern_type"` // LITERAL, PREFIXED
	Operation    string `json:"operation"`    // WRITE, READ, …
	Permission   string `json:"permission"`   // DENY, ALLOW
}

// FenceEntry is an ACL entry that an operation made or is about to make on a
// cluster, recorded in the other cluster's state topic before it is made.
type FenceEntry struct {
	ACLEntry
	// ClusterID is where the entry stands.
	ClusterID string `json:"cluster_id"`
	// ExistedBefore: it was there already; un-fencing leaves it alone.
	ExistedBefore bool `json:"existed_before"`
}

// Fence is the register of one operation's entries
// (/drawbridge/v1/pairs/{pair}/fences/{operation}).
type Fence struct {
	Pair        string       `json:"pair"`
	OperationID string       `json:"operation_id"`
	Site        string       `json:"site"` // the fenced site's name
	Entries     []FenceEntry `json:"entries"`
	// HandedOver: the entries became guards of this engine's mirrors.
	HandedOver bool `json:"handed_over,omitempty"`
	// LetThrough: before the first entry was made every broker let the canary write
	// to each of the topics, so that its refusal afterwards proves the entries.
	LetThrough bool `json:"let_through,omitempty"`
}

// ACLSync is what ACL sync would do now, read from both clusters
// (GET …/links/{link}/acls; query acl_filters: as if these were the link's).
type ACLSync struct {
	Link    string `json:"link"`
	Enabled bool   `json:"enabled"` // acl.sync.enable
	// AllowEveryone is allow.everyone.if.no.acl.found of the destination: the first
	// entry of a resource then shuts out whoever has none.
	AllowEveryone bool `json:"allow_everyone_if_no_acl_found"`
	// InStep counts chosen entries that stand on both sides already, Made those
	// that stand here because the sync made them.
	InStep int `json:"in_step"`
	Made   int `json:"made"`
	// ToAdd and ToDelete are what the next round does; a Reason there is a warning.
	ToAdd    []ACLChange `json:"to_add"`
	ToDelete []ACLChange `json:"to_delete"`
	// Protected entries are never touched, Skipped ones not now; Reason says why.
	Protected []ACLChange `json:"protected"`
	Skipped   []ACLChange `json:"skipped"`
}

// ACLChange is one entry of an ACLSync.
type ACLChange struct {
	ACLEntry
	At     string `json:"at"` // where it was found: ACLAtSource or ACLAtDestination
	Reason string `json:"reason,omitempty"`
}

// Sides of an ACLChange.
const (
	ACLAtSource      = "source"
	ACLAtDestination = "destination"
)

// GroupSync is the offset sync of a link (GET …/links/{link}/groups, POST
// …/groups:sync runs one round now and answers with what it read back).
type GroupSync struct {
	Link    string       `json:"link"`
	LastRun time.Time    `json:"last_run"`
	Groups  []GroupState `json:"groups"`
}

// GroupState is one group and partition as the sync sees it.
type GroupState struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// SourceOffset is the source's raw committed offset, -1 if none was seen.
	SourceOffset int64 `json:"source_offset"`
	// DestOffset is what stands on the destination, -1 if none.
	DestOffset int64 `json:"dest_offset"`
	// Wanted is SourceOffset translated, clamped to what is mirrored.
	Wanted int64 `json:"wanted"`
	// Clamped: SourceOffset lies beyond the mirrored position; the group will
	// read Redelivered records again after a failover now.
	Clamped bool `json:"clamped"`
	// Owned is false when somebody else wrote the destination's value; then it
	// is left alone and Problem says so.
	Owned   bool   `json:"owned"`
	Problem string `json:"problem,omitempty"`
}

// TakeOwnership makes the engine take the group offsets that it finds on its
// destination as its own (POST …/links/{link}/groups:own); the direction of a
// pair changed with groups stopped.
type TakeOwnership struct {
	Groups []string `json:"groups,omitempty"` // empty: all of the link's filters
}

// Segments of one mirror topic, by partition (GET
// …/links/{link}/mirrors/{topic}/segments): the exact map of its offsets, kept
// after stop and after the link is gone.
type Segments struct {
	Topic           string              `json:"topic"`
	SourceTopic     string              `json:"source_topic"`
	SourceClusterID string              `json:"source_cluster_id"`
	DestClusterID   string              `json:"dest_cluster_id"`
	Partitions      []PartitionSegments `json:"partitions"`
}

// PartitionSegments is the map of one partition with its stop offsets (both -1
// while it is not stopped).
type PartitionSegments struct {
	Partition  int32     `json:"partition"`
	SourceStop int64     `json:"source_stop"`
	DestStop   int64     `json:"dest_stop"`
	Segments   []Segment `json:"segments"`
}

// Segment is offsetmap.Segment on the wire.
type Segment struct {
	SourceStart       int64 `json:"source_start"`
	DestStart         int64 `json:"dest_start"`
	Skip              int64 `json:"skip"`
	ProducerID        int64 `json:"producer_id"`
	ProducerEpoch     int16 `json:"producer_epoch"`
	FirstSequence     int32 `json:"first_sequence"`
	SourceLeaderEpoch int32 `json:"source_leader_epoch"`
}

// Rejoin starts mirrors over existing topics after a planned move without
// divergence (POST …/links/{link}/mirrors:rejoin): From are the stopped
// mirrors of the opposite direction, as read from the other engine. The engine
// compares its log end with From's SourceStop and refuses a topic whose log
// moved; nothing is deleted. When they have started, the engine that From was
// read from is told the same (POST …/links/{link}/mirrors:reversed).
type Rejoin struct {
	From []Segments `json:"from"`
}
