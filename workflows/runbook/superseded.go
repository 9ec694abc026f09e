package runbook

import (
	"fmt"
	"strings"
)

// What makes a decision about lagged records harder: keys that the new primary has
// newer records of, and offsets that nobody can bring back. People are told how many
// and where, never a key: a key may be a person's data, and histories and reports
// are read by more people than the topics.

// LedgerSample bounds what a ledger line shows of superseded keys (per topic) and
// of gaps (per partition).
const LedgerSample = 5

// SupersededAt is a lagged record, by its offset at the old primary, whose key has a
// newer one at LaterOffset on the new primary.
type SupersededAt struct {
	Offset         int64 `json:"offset"`
	LaterPartition int32 `json:"later_partition"`
	LaterOffset    int64 `json:"later_offset"`
}

// LedgerGap is source offsets From to To, To not among them; the cause in the
// engine's word: retention, compaction or deleted.
type LedgerGap struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Cause string `json:"cause"`
}

// superseded says how many keys, what an append would do with them, and where one is.
func superseded(l LedgerLine) (s string) {
	if l.SupersededKeys == 0 {
		return ""
	}
	s = fmt.Sprintf(" (%d keys; an append puts old values behind newer ones", l.SupersededKeys)
	if l.Compacted {
		s = fmt.Sprintf(" (%d keys; an append leaves these records out", l.SupersededKeys)
	}
	if len(l.SupersededAt) > 0 {
		s += ", as " + l.SupersededAt[0].text(l.Partition)
	}
	return s + ")"
}

func (s SupersededAt) text(partition int32) string {
	return fmt.Sprintf("offset %d of the old partition %d is older than offset %d of the new partition %d", s.Offset, partition, s.LaterOffset, s.LaterPartition)
}

// gapTexts names a line's gaps.
func gapTexts(l LedgerLine) []string {
	var out []string
	for _, g := range l.Gaps {
		out = append(out, fmt.Sprintf("partition %d offsets %d-%d (%s)", l.Partition, g.From, g.To-1, g.Cause))
	}
	if more := l.GapCount - len(l.Gaps); more > 0 && l.Of > 0 {
		out = append(out, fmt.Sprintf("%d gaps in %d partitions", more, l.Of))
	} else if more > 0 {
		out = append(out, fmt.Sprintf("%d more gaps of partition %d", more, l.Partition))
	}
	return out
}

// gapText lists gaps, the first of them where they are many.
func gapText(gaps []string) string {
	if len(gaps) == 0 {
		return ""
	}
	more := ""
	if n := len(gaps) - 2*LedgerSample; n > 0 {
		gaps, more = gaps[:2*LedgerSample], fmt.Sprintf(" and %d more", n)
	}
	return ", not to be had any more: " + strings.Join(gaps, ", ") + more
}

// LedgerNotes are the lines that people who decide see under the table: each shown
// place of a superseded key, each gap.
func LedgerNotes(lines []LedgerLine) []string {
	var out []string
	for _, l := range lines {
		for _, s := range l.SupersededAt {
			out = append(out, fmt.Sprintf("%s: %s, of the same key", l.Topic, s.text(l.Partition)))
		}
		for _, g := range gapTexts(l) {
			out = append(out, fmt.Sprintf("%s: not to be had any more: %s", l.Topic, g))
		}
	}
	return out
}
