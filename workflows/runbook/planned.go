package runbook

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// TopicShape is a topic as both clusters have it.
type TopicShape struct {
	Topic string `json:"topic"`
	// Source and Destination are numbers of partitions, 0 where the topic does
	// not exist.
	Source      int `json:"source"`
	Destination int `json:"destination"`
	// Leaderless counts partitions without a leader, on both sides.
	Leaderless int `json:"leaderless,omitempty"`
}

// MoveFacts are what a planned move is judged by before anything is changed.
type MoveFacts struct {
	Pair string
	Link Link // from the active site to the standby
	// Topics of the plan as they exist at the active site.
	Topics []string
	Risk   Risk // of Link
	Shapes []TopicShape
	// Undecided topics of the loss ledger that an earlier failover left.
	Undecided []string
}

// Planned judges whether a pair may be moved without loss. Nothing overrides a
// refusal: who cannot wait for a planned move has Failover. An OK verdict's
// reasons are worth a look.
func Planned(f MoveFacts) Verdict {
	v := Verdict{OK: true}
	if len(f.Undecided) > 0 {
		v.need("", "lagged records of %s are undecided: run drctl recover %s", strings.Join(f.Undecided, ", "), f.Pair)
	}
	if !f.Risk.SourceReachable {
		v.need("", "the engine of %s does not reach %s over link %s: nothing can be drained; see drctl link describe %s, and if %s is lost, drctl failover %s", f.Link.Destination, f.Link.Source, f.Link.Name, f.Link.Name, f.Link.Source, f.Pair)
	}
	status, guard := map[string]PartitionRisk{}, []string{}
	for _, p := range f.Risk.Partitions {
		if _, ok := status[p.Topic]; !ok {
			status[p.Topic] = p
			if p.Guard != guardProven {
				guard = append(guard, p.Topic+" ("+orText(p.Guard, "unknown")+")")
			}
			if !slices.Contains(f.Topics, p.Topic) {
				v.note("mirror %s of link %s is not of the plan: it stays a mirror, and whoever writes %s is not moved", p.Topic, f.Link.Name, p.Topic)
			}
		}
	}
	for _, t := range f.Topics {
		m, ok := status[t]
		switch {
		case !ok:
			v.need("", "topic %s has no mirror on link %s: drctl setup %s makes it while %s is home, else drctl mirror create %s %s", t, f.Link.Name, f.Pair, f.Link.Source, f.Link.Name, t)
		case m.Status != StatusActive:
			v.need("", "mirror %s on link %s is %s%s, not ACTIVE: see drctl mirror describe %s %s", t, f.Link.Name, m.Status, because(m.Stalled), f.Link.Name, t)
		}
	}
	for _, s := range f.Shapes {
		switch {
		case s.Source != s.Destination:
			v.need("", "topic %s has %d partitions at %s and %d at %s: the engine grows mirrors by itself, so wait, or see drctl link describe %s", s.Topic, s.Source, f.Link.Source, s.Destination, f.Link.Destination, f.Link.Name)
		case s.Leaderless > 0:
			v.need("", "topic %s has %d partitions without a leader: bring their brokers back", s.Topic, s.Leaderless)
		}
	}
	if len(guard) > 0 {
		v.note("%d mirrors are not proven read-only, first %s: whoever wrote there shows as a FAILED mirror", len(guard), guard[0])
	}
	return v
}

// guardProven is the engine's word for a guard that every broker was seen to keep.
const guardProven = "proven"

// MoveForecast is what a planned move at this moment would cost: no record, but
// time in which clients stand still.
type MoveForecast struct {
	From   string   `json:"from"`
	To     string   `json:"to"`
	Topics int      `json:"topics"`
	Groups []string `json:"groups"`
	// LagRecords and LagSeconds (worst partition) of the mirrors now.
	LagRecords int64   `json:"lag_records"`
	LagSeconds float64 `json:"lag_seconds"`
	// Transactions open now; those that stay open are ended.
	Transactions []OpenTransaction `json:"open_transactions,omitempty"`
	// Clients stand still for at least LeastSeconds and at most FreezeSeconds:
	// on expiry everything is undone.
	LeastSeconds  float64 `json:"clients_stop_seconds_at_least"`
	FreezeSeconds int64   `json:"clients_stop_seconds_at_most"`
}

// ForeseeMove counts what is known to take its time: log ends are watched for
// hold, the lag is drained, and open transactions have their grace.
func ForeseeMove(p Plan, l Link, topics []string, r Risk, open []OpenTransaction, hold time.Duration) MoveForecast {
	f := MoveForecast{From: l.Source, To: l.Destination, Topics: len(topics), Groups: p.GroupNames(), Transactions: open, FreezeSeconds: p.Limits.FreezeSeconds}
	for _, part := range r.Partitions {
		if slices.Contains(topics, part.Topic) {
			f.LagRecords += max(0, part.LagRecords)
			f.LagSeconds = max(f.LagSeconds, part.LagSeconds)
		}
	}
	f.LeastSeconds = hold.Seconds() + f.LagSeconds
	if len(open) > 0 {
		f.LeastSeconds += float64(p.Limits.TransactionsSeconds)
	}
	f.LeastSeconds = math.Round(f.LeastSeconds*10) / 10
	return f
}

// Text is what approvers read.
func (f MoveForecast) Text() string {
	text := fmt.Sprintf("move from %s to %s without loss: %d topics, %d groups; clients stop for at least %.1f s and at most %d s; the mirrors lag %d records", f.From, f.To, f.Topics, len(f.Groups), f.LeastSeconds, f.FreezeSeconds, f.LagRecords)
	for _, t := range f.Transactions {
		text += fmt.Sprintf("; transaction %s on %s/%d is ended if it stays open", t.TransactionalID, t.Topic, t.Partition)
	}
	return text
}

// Proof is the evidence that a planned move lost nothing.
type Proof struct {
	// Partitions of the old active site whose logs end where the new one stopped
	// mirroring them.
	Partitions int `json:"partitions_equal"`
	// Offsets are group offsets written and read back; OffsetsExact: each is the
	// exact translation of its group's last commit.
	Offsets      int  `json:"group_offsets"`
	OffsetsExact bool `json:"group_offsets_exact"`
}
