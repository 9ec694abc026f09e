package runbook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Decisions of ledger lines, in the engine's words.
const (
	LedgerUndecided = "undecided"
	LedgerAppended  = "appended"
	LedgerExported  = "exported"
	LedgerDiscarded = "discarded"
	LedgerNothing   = "nothing"
)

// Choices that a person has per topic.
const (
	ChooseAppend  = "append"
	ChooseExport  = "export"
	ChooseDiscard = "discard"
)

// EveryTopic stands for every topic that a choice does not name.
const EveryTopic = "*"

// Undecided lists the topics with a line that nobody decided, each once.
func Undecided(lines []LedgerLine) []string {
	var out []string
	for _, l := range lines {
		if (l.Decision == LedgerUndecided || l.Decision == "") && !slices.Contains(out, l.Topic) {
			out = append(out, l.Topic)
		}
	}
	return out
}

// Choices sorts undecided topics by what was chosen for them. A choice for a
// topic that has nothing to decide is refused (it is likely a typing error), as
// is an unknown word. Open are the topics without a choice: there is no default.
func Choices(lines []LedgerLine, chosen map[string]string) (appendTo, export, discard, open []string, err error) {
	waiting := Undecided(lines)
	known := map[string]bool{}
	for _, l := range lines {
		known[l.Topic] = true
	}
	var faults []string
	for _, t := range sorted(chosen) {
		if t != EveryTopic && !known[t] {
			faults = append(faults, fmt.Sprintf("the ledger has no topic %s", t))
		}
		if c := chosen[t]; c != ChooseAppend && c != ChooseExport && c != ChooseDiscard {
			faults = append(faults, fmt.Sprintf("%q for %s is none of append, export, discard", c, t))
		}
	}
	if len(faults) > 0 {
		return nil, nil, nil, waiting, fmt.Errorf("decisions: %s", strings.Join(faults, "; "))
	}
	for _, t := range waiting {
		c, ok := chosen[t]
		if !ok {
			c = chosen[EveryTopic]
		}
		switch c {
		case ChooseAppend:
			appendTo = append(appendTo, t)
		case ChooseExport:
			export = append(export, t)
		case ChooseDiscard:
			discard = append(discard, t)
		default:
			open = append(open, t)
		}
	}
	return appendTo, export, discard, open, nil
}

// SameChoices tells whether two say the same.
//
//workflowcheck:ignore
func SameChoices(a, b map[string]string) bool { return maps.Equal(a, b) }

// Twice refuses choices that contradict those that were taken; the same once more
// is no harm.
func Twice(chosen, by, choices map[string]string) error {
	for _, t := range sorted(choices) {
		if had := chosen[t]; had != "" && had != choices[t] {
			return fmt.Errorf("%s is decided already: %s, by %s; a decision is taken once", t, had, by[t])
		}
	}
	return nil
}

// RPO is the exact count of records that the new primary missed, by topic and
// in total: what was found behind the stop offsets plus what the old primary's
// retention took before it could be read.
func RPO(lines []LedgerLine) (byTopic map[string]int64, total int64) {
	byTopic = map[string]int64{}
	for _, l := range lines {
		byTopic[l.Topic] += l.Records + l.Unrecoverable
		total += l.Records + l.Unrecoverable
	}
	return byTopic, total
}

// RecoveryForecast is how many appended records each group will read again, by
// group, at most.
func RecoveryForecast(lines []LedgerLine, appending []string) []GroupForecast {
	var out []GroupForecast
	for _, l := range lines {
		if !slices.Contains(appending, l.Topic) {
			continue
		}
		for _, g := range sorted(l.Redelivered) {
			i := slices.IndexFunc(out, func(o GroupForecast) bool { return o.Group == g && o.Topic == l.Topic })
			if i < 0 {
				i = len(out)
				out = append(out, GroupForecast{Group: g, Topic: l.Topic})
			}
			out[i].Redelivered += l.Redelivered[g]
		}
	}
	return out
}

// LedgerTopics says of each of those topics what people need who decide about all of its partitions at once.
func LedgerTopics(p Plan, lines []LedgerLine, topics []string) []string {
	var out []string
	for _, t := range topics {
		var sum LedgerLine
		var gaps []string
		partitions := 0
		for _, l := range lines {
			if l.Topic != t {
				continue
			}
			partitions += max(1, l.Of)
			sum.span(l)
			sum.Records, sum.Bytes = sum.Records+l.Records, sum.Bytes+l.Bytes
			sum.Keyed, sum.Superseded = sum.Keyed+l.Keyed, sum.Superseded+l.Superseded
			sum.Unrecoverable, sum.Compacted = sum.Unrecoverable+l.Unrecoverable, sum.Compacted || l.Compacted
			sum.SupersededKeys += l.SupersededKeys
			gaps = append(gaps, gapTexts(l)...)
			if sum.SupersededAt == nil && len(l.SupersededAt) > 0 {
				sum.Partition, sum.SupersededAt = l.Partition, l.SupersededAt[:1]
			}
		}
		out = append(out, fmt.Sprintf("%s: %d records (%d bytes) in %d partitions%s%s%s%s", t, sum.Records, sum.Bytes, partitions, sum.when(), traits(sum), gapText(gaps), owned(p.OwnersOf(t))))
	}
	return out
}

// LedgerText is a line for people who look at each partition.
func LedgerText(l LedgerLine) string {
	if l.Of > 0 {
		return fmt.Sprintf("%s: %d records (%d bytes) in %d partitions%s%s%s", l.Topic, l.Records, l.Bytes, l.Of, l.when(), traits(l), gapText(gapTexts(l)))
	}
	return fmt.Sprintf("%s/%d: %d records (%d bytes) at offsets %d to %d%s%s%s", l.Topic, l.Partition, l.Records, l.Bytes, l.From, l.To, l.when(), traits(l), gapText(gapTexts(l)))
}

// span widens the time range to another line's.
func (l *LedgerLine) span(o LedgerLine) {
	if !o.FirstTime.IsZero() && (l.FirstTime.IsZero() || o.FirstTime.Before(l.FirstTime)) {
		l.FirstTime = o.FirstTime
	}
	if o.LastTime.After(l.LastTime) {
		l.LastTime = o.LastTime
	}
}

func (l LedgerLine) when() string {
	if l.FirstTime.IsZero() {
		return ""
	}
	return ", from " + stamp(l.FirstTime) + " to " + stamp(l.LastTime)
}

func owned(by []string) string {
	if len(by) == 0 {
		return ""
	}
	return ", decided by " + strings.Join(by, " or ")
}

// traits are what makes a decision about lagged records harder.
func traits(l LedgerLine) (s string) {
	if l.Keyed > 0 {
		s += fmt.Sprintf(", %d with keys of which %d have later records on the new primary", l.Keyed, l.Superseded)
		s += superseded(l)
	}
	if l.Compacted {
		s += ", compacted topic"
	}
	if l.Unrecoverable > 0 {
		s += fmt.Sprintf(", %d gone with the old primary's retention", l.Unrecoverable)
	}
	return s
}

// sorted lists a map's keys in order.
//
//workflowcheck:ignore
func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
