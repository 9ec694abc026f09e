// Package status is the life of a mirror topic as a pure table: a status and an
// event give the next status, or a refusal that an operator can read.
//
// It holds no state, knows no topic, link or clock, and does nothing: the mirror's
// owner asks Next, records the answer, and acts. Start at Next. The statuses are
// those of the Confluent Kafka REST v3 contract, word for word.
//
//	                 created, rejoined
//	                        │
//	                        ▼      activated-paused
//	                 PENDING_MIRROR ────────────────┐
//	                        │ activated             │
//	     source-lost        ▼         pause         ▼
//	   ┌──────────────▶  ACTIVE  ──────────────▶ PAUSED
//	   │ source-found  ▲ │  ▲ │ ◀──────────────
//	   ▼               │ │  │ │     resume
//	SOURCE_UNAVAILABLE │ │  │ └── link-paused ──▶ LINK_PAUSED
//	                   │ │  │ ◀── link-resumed ──
//	                   │ │  └──── link-recovered ─ LINK_FAILED
//	                   │ └─────── link-failed ───▶
//	                   │
//	  stop-given-up-…  │      promote (only from ACTIVE), failover (from any above,
//	  (back to what    │      from FAILED, and over a promote that does not end)
//	   it was)         │                │
//	                   └──────── PENDING_STOPPED ◀┐ drained
//	                                    │   └─────┘
//	                                    │ stopped (fenced, stop offsets recorded)
//	                                    ▼
//	                                 STOPPED ── rejoined ──▶ PENDING_MIRROR
//
//	failed: from all but PENDING_STOPPED and STOPPED to FAILED, out of which only
//	failover and deleted lead.  deleted: from all to no status.
//
// Some facts hold at the same time as others, and one word cannot say both. What
// a person asked for outranks what was observed: a PAUSED mirror stays PAUSED
// when its link is paused or its source is lost. So whoever brings a mirror to
// ACTIVE applies the link's present facts (LinkState, by Facts) as events again.
//
// PENDING_SYNCHRONIZE, PENDING_SETUP_FOR_RESTORE and PENDING_RESTORE belong to
// the contract's reverse and truncate-and-restore. Nothing leads into them here,
// and only deletion leads out.
package status

import "fmt"

// Status is where a mirror topic stands. The zero value, None, is no status: the
// mirror does not exist. It never goes on the wire.
type Status uint8

// The statuses of the contract.
const (
	None                   Status = iota
	Active                        // mirroring, read-only
	Failed                        // cannot go on; the mirror's mirror_topic_error says why
	LinkFailed                    // its link failed (credentials, configuration)
	LinkPaused                    // its whole link is paused
	Paused                        // paused by itself
	PendingStopped                // promote or failover accepted, not finished
	SourceUnavailable             // source not reachable; goes back by itself
	Stopped                       // an ordinary, writable topic
	PendingMirror                 // about to become a mirror
	PendingSynchronize            // reverse: last catch-up before the roles swap
	PendingSetupForRestore        // truncate-and-restore: asking for the offsets
	PendingRestore                // truncate-and-restore: cutting back
)

var words = [...]string{
	None:                   "(none)",
	Active:                 "ACTIVE",
	Failed:                 "FAILED",
	LinkFailed:             "LINK_FAILED",
	LinkPaused:             "LINK_PAUSED",
	Paused:                 "PAUSED",
	PendingStopped:         "PENDING_STOPPED",
	SourceUnavailable:      "SOURCE_UNAVAILABLE",
	Stopped:                "STOPPED",
	PendingMirror:          "PENDING_MIRROR",
	PendingSynchronize:     "PENDING_SYNCHRONIZE",
	PendingSetupForRestore: "PENDING_SETUP_FOR_RESTORE",
	PendingRestore:         "PENDING_RESTORE",
}

// All lists the twelve statuses in the contract's order.
func All() []Status {
	return []Status{
		Active, Failed, LinkFailed, LinkPaused, Paused, PendingStopped, SourceUnavailable, Stopped,
		PendingMirror, PendingSynchronize, PendingSetupForRestore, PendingRestore,
	}
}

// Valid says whether s is one of the twelve.
func (s Status) Valid() bool { return s > None && int(s) < len(words) }

// String is the word on the wire.
func (s Status) String() string {
	if int(s) < len(words) {
		return words[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Parse reads a word of the wire.
func Parse(word string) (Status, error) {
	for _, s := range All() {
		if words[s] == word {
			return s, nil
		}
	}
	return None, fmt.Errorf("%q is not a mirror status", word)
}

// MarshalText writes the word of the wire. None has none: a client of the
// contract refuses a whole list for one word that it does not know.
func (s Status) MarshalText() ([]byte, error) {
	if !s.Valid() {
		return nil, fmt.Errorf("%v is not a mirror status and cannot be sent or stored", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads a word of the wire.
func (s *Status) UnmarshalText(text []byte) error {
	got, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = got
	return nil
}

// Category is the contract's coarse state, which a link counts its mirrors by.
type Category string

// The contract's categories.
const (
	CategoryActive        Category = "ACTIVE"
	CategoryPaused        Category = "PAUSED"
	CategoryInError       Category = "IN_ERROR"
	CategoryPending       Category = "PENDING"
	CategoryNotApplicable Category = "NOT_APPLICABLE"
)

// Category of a status. The contract names the categories and not their members;
// this is how Drawbridge counts.
func (s Status) Category() Category {
	switch s {
	case Active:
		return CategoryActive
	case Paused, LinkPaused:
		return CategoryPaused
	case Failed, LinkFailed, SourceUnavailable:
		return CategoryInError
	case PendingStopped, PendingMirror, PendingSynchronize, PendingSetupForRestore, PendingRestore:
		return CategoryPending
	case None, Stopped:
		return CategoryNotApplicable
	}
	return CategoryNotApplicable
}
