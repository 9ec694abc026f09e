package runbook

import (
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// RecordCopy is what one site's Consul holds.
type RecordCopy struct {
	Site      string `json:"site"`
	Reachable bool   `json:"reachable"`
	// Problem says why it did not answer, or why its content is not a record.
	Problem string `json:"problem,omitempty"`
	// Record is nil when the key does not exist or is damaged (then Damaged).
	Record  *record.Record `json:"record,omitempty"`
	Damaged bool           `json:"damaged,omitempty"`
	// Retention is what stands written beside it of holds on retention.
	Retention []HeldRetention `json:"retention,omitempty"`
}

// HeldRetention says that a run stopped retention and compaction of topics at a site
// and has not put the old values back, which are written down where this was found.
type HeldRetention struct {
	Site   string    `json:"site"`
	OpID   string    `json:"op_id"`
	Since  time.Time `json:"since"`
	Topics int       `json:"topics"`
}

// EngineTruth is what one engine's state topic knows of the pair.
type EngineTruth struct {
	Site         string       `json:"site"`
	Reachable    bool         `json:"reachable"`
	Problem      string       `json:"problem,omitempty"`
	HighestEpoch int64        `json:"highest_epoch"`
	Lock         *record.Lock `json:"lock,omitempty"`
}

// Vantage is one point's view of whether a site is down.
type Vantage struct {
	From      string `json:"from"` // "worker", "engine west"
	Reachable bool   `json:"reachable"`
	// Known is false when the vantage point itself could not be asked.
	Known       bool      `json:"known"`
	LastContact time.Time `json:"last_contact,omitzero"`
	Detail      string    `json:"detail,omitempty"`
}

// PartitionRisk is one mirrored partition as the engine last saw it.
type PartitionRisk struct {
	Topic            string  `json:"topic"`
	Partition        int32   `json:"partition"`
	Status           string  `json:"status"`
	LagRecords       int64   `json:"lag_records"`
	LagSeconds       float64 `json:"lag_seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	SourceSeen       bool    `json:"source_seen"` // the source's high watermark was seen at least once
	SourcePosition   int64   `json:"source_position"`
	SourceStop       *int64  `json:"source_stop,omitempty"`
	DestStop         *int64  `json:"dest_stop,omitempty"`
	Stalled          string  `json:"stalled,omitempty"`
	// Guard is how far the mirror is known to be read-only for others: "none",
	// "set", "proven" or "released".
	Guard string `json:"guard,omitempty"`
	// Of counts the partitions that a condensed row stands for, 0 for its own
	// alone; Partition is then the one that lags longest, Unseen how many were
	// never seen at the source, and there are no offsets.
	Of     int `json:"of,omitempty"`
	Unseen int `json:"unseen,omitempty"`
}

// GroupRisk is one group and partition as the offset sync sees it.
type GroupRisk struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// SourceOffset is the raw commit at the source, -1 if none was seen.
	SourceOffset int64 `json:"source_offset"`
	// Wanted is that commit translated and clamped; Dest is what stands at the
	// destination, -1 if none.
	Wanted  int64 `json:"wanted"`
	Dest    int64 `json:"dest"`
	Clamped bool  `json:"clamped"`
	// DestEnd is the log end of the mirror's partition, DestStart its start.
	DestEnd int64  `json:"dest_end"`
	Owned   bool   `json:"owned"`
	Problem string `json:"problem,omitempty"`
	// Sum stands in the place of offsets in a condensed row (Partition -1).
	Sum *GroupSum `json:"sum,omitempty"`
}

// Risk is what MeasureRisk found on one link.
type Risk struct {
	Link            string          `json:"link"`
	Now             time.Time       `json:"now"` // the engine's clock when it was asked
	SourceReachable bool            `json:"source_reachable"`
	LastContact     time.Time       `json:"last_contact"`
	GroupsSyncedAt  time.Time       `json:"groups_synced_at"`
	Partitions      []PartitionRisk `json:"partitions"`
	Groups          []GroupRisk     `json:"groups"`
	// Condensed: rows stand for several partitions; the offsets are with the engine.
	Condensed bool `json:"condensed,omitempty"`
}

// Topics of the risk, each once, in order of appearance.
func (r Risk) Topics() []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range r.Partitions {
		if !seen[p.Topic] {
			seen[p.Topic] = true
			out = append(out, p.Topic)
		}
	}
	return out
}

// FenceEvidence is what ProveFence saw on one cluster.
type FenceEvidence struct {
	Site      string `json:"site"`
	Reachable bool   `json:"reachable"`
	// Entries is how many DENY entries stand for the operation.
	Entries int `json:"entries"`
	// CanaryBefore: before the DENY every broker answered CORRUPT_MESSAGE or
	// NOT_LEADER_OR_FOLLOWER, so that a later refusal means something.
	CanaryBefore bool `json:"canary_before"`
	// CanaryRefused: afterwards every broker answered TOPIC_AUTHORIZATION_FAILED.
	CanaryRefused bool `json:"canary_refused"`
	// LogsStill: log end = high watermark and unmoved on every partition.
	LogsStill bool `json:"logs_still"`
	// SuperUsers are super users seen writing; no ACL stops them.
	SuperUsers []string `json:"super_users,omitempty"`
	Problem    string   `json:"problem,omitempty"`
}

// TopicResult is the outcome of a change of one mirror.
type TopicResult struct {
	Topic  string `json:"topic"`
	OK     bool   `json:"ok"`
	Status string `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	// WriterFence is the engine's word for whether its own late batches are
	// fenced out.
	WriterFence string `json:"writer_fence,omitempty"`
}

// OpenTransaction is a transaction that holds a partition's last stable offset.
type OpenTransaction struct {
	Topic           string    `json:"topic"`
	Partition       int32     `json:"partition"`
	TransactionalID string    `json:"transactional_id"`
	ProducerID      int64     `json:"producer_id"`
	ProducerEpoch   int16     `json:"producer_epoch"`
	StartOffset     int64     `json:"start_offset"`
	Since           time.Time `json:"since,omitzero"`
}

// ClientMove is Kafka's evidence for one group.
type ClientMove struct {
	Group      string `json:"group"`
	MembersOld int    `json:"members_old"`
	MembersNew int    `json:"members_new"`
	// Committed: the group's commits on the new site moved since the flip.
	Committed bool `json:"committed"`
	Moved     bool `json:"moved"`
}

// LedgerLine is one partition of the loss ledger.
type LedgerLine struct {
	Topic      string    `json:"topic"`
	Partition  int32     `json:"partition"`
	From       int64     `json:"from"`
	To         int64     `json:"to"`
	Records    int64     `json:"records"`
	Bytes      int64     `json:"bytes"`
	FirstTime  time.Time `json:"first_time,omitzero"`
	LastTime   time.Time `json:"last_time,omitzero"`
	Keyed      int64     `json:"keyed"`
	Superseded int64     `json:"superseded"`
	// SupersededKeys are different keys; SupersededAt shows where a few of them
	// stand, never the keys.
	SupersededKeys int64          `json:"superseded_keys,omitempty"`
	SupersededAt   []SupersededAt `json:"superseded_at,omitempty"`
	Compacted      bool           `json:"compacted"`
	Unrecoverable  int64          `json:"unrecoverable"`
	// Of counts the partitions that a condensed row stands for, 0 for its own alone;
	// it has no offsets then.
	Of int `json:"of,omitempty"`
	// Gaps are the first few of GapCount.
	Gaps        []LedgerGap      `json:"gaps,omitempty"`
	GapCount    int              `json:"gap_count,omitempty"`
	Decision    string           `json:"decision"`
	DecidedBy   string           `json:"decided_by,omitempty"`
	Reason      string           `json:"reason,omitempty"`
	Appended    int64            `json:"appended"`
	Redelivered map[string]int64 `json:"redelivered,omitempty"`
}
