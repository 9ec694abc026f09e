package api

import "time"

// Ledger is the loss ledger of a link's stopped mirrors
// (GET …/links/{link}/ledger; POST …/ledger:compute).
type Ledger struct {
	Link            string        `json:"link"`
	SourceClusterID string        `json:"source_cluster_id"`
	ComputedAt      time.Time     `json:"computed_at"`
	Entries         []LedgerEntry `json:"entries"`
}

// Decisions of a ledger entry.
const (
	LedgerUndecided = "undecided"
	LedgerAppended  = "appended"
	LedgerExported  = "exported"
	LedgerDiscarded = "discarded"
	LedgerNothing   = "nothing" // no lagged record
)

// LedgerEntry is the lagged range of one stopped partition: the records that
// the old primary acknowledged and the mirror never got.
type LedgerEntry struct {
	Topic       string `json:"topic"`
	SourceTopic string `json:"source_topic"`
	Partition   int32  `json:"partition"`
	// From (inclusive) and To (exclusive) are source offsets: To is the
	// source's high watermark when computed.
	From       int64     `json:"from"`
	To         int64     `json:"to"`
	Records    int64     `json:"records"`
	Bytes      int64     `json:"bytes"`
	FirstTime  time.Time `json:"first_time,omitzero"`
	LastTime   time.Time `json:"last_time,omitzero"`
	Keyed      int64     `json:"keyed"`      // records with a key
	Superseded int64     `json:"superseded"` // of these, how many have a later record on the new primary
	// SupersededKeys is how many different keys those are, SupersededAt where to
	// look at a few of them: at most SupersededSample.
	SupersededKeys int64              `json:"superseded_keys"`
	SupersededAt   []SupersededRecord `json:"superseded_at,omitempty"`
	Compacted      bool               `json:"compacted"`
	Unrecoverable  int64              `json:"unrecoverable"` // offsets the source's retention took before they were read
	// Gaps are the ranges of source offsets that nobody can bring back. Those of
	// compaction are not part of Unrecoverable: the source itself keeps a later
	// record of each of their keys.
	// At most CompactionGaps of those are listed, GapsLeftOut is how many more there are.
	Gaps        []LedgerGap `json:"gaps,omitempty"`
	GapsLeftOut int64       `json:"gaps_left_out,omitempty"`
	Decision    string      `json:"decision"`
	DecidedBy   string      `json:"decided_by,omitempty"`
	Reason      string      `json:"reason,omitempty"`
	// Appended counts the records written to the new primary; AppendedFrom and
	// AppendedTo are its offsets.
	Appended     int64 `json:"appended"`
	AppendedFrom int64 `json:"appended_from"`
	AppendedTo   int64 `json:"appended_to"`
	// Redelivered counts appended records that a group had already read on the
	// old primary, summed over groups.
	Redelivered map[string]int64 `json:"redelivered,omitempty"`
}

// SupersededSample bounds LedgerEntry.SupersededAt, CompactionGaps its gaps of
// compaction: a busy compacted topic has one at every other offset, and an entry
// has to fit into a record of the state topic.
const (
	SupersededSample = 5
	CompactionGaps   = 100
)

// SupersededRecord is a lagged record that append would put behind a newer one of
// its key. It says where both stand and never the key, which may be a person's
// data: who may read the topics reads it there.
type SupersededRecord struct {
	Offset         int64 `json:"offset"`          // of the key's last lagged record, at the source
	LaterPartition int32 `json:"later_partition"` // of the newer record, on the new primary
	LaterOffset    int64 `json:"later_offset"`
}

// Causes of a ledger's gap.
const (
	GapRetention  = "retention"  // deleted by the source, by age, size or request
	GapCompaction = "compaction" // cleaned by the source: records, or transaction markers
	GapDeleted    = "deleted"    // the source topic is gone, or was made anew
)

// LedgerGap is source offsets From (inclusive) to To (exclusive).
type LedgerGap struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Cause string `json:"cause"`
}

// DecideLedger appends, exports or discards entries of topics
// (POST …/ledger:append, :export, :discard). Append is idempotent and goes on
// where it stopped.
type DecideLedger struct {
	Topics    []string `json:"topics,omitempty"` // empty: all
	DecidedBy string   `json:"decided_by"`
	Reason    string   `json:"reason"`
}

// Export is where lagged records were written (ledger:export): a topic of the
// local cluster, with provenance headers.
type Export struct {
	Topic   string        `json:"topic"`
	Records int64         `json:"records"`
	Entries []LedgerEntry `json:"entries"`
}

// Provenance headers of records that append or export wrote.
const (
	RecordHeaderLink      = "drawbridge-link"
	RecordHeaderTopic     = "drawbridge-source-topic"
	RecordHeaderPartition = "drawbridge-source-partition"
	RecordHeaderOffset    = "drawbridge-source-offset"
)
