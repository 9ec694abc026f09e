package runbook

import "slices"

// CondenseLedger returns lines with at most about limit rows, as far as topics allow:
// first without partitions of which there is nothing to say, then with a row for all
// of a topic's partitions that were decided alike. Sums and decisions are the same;
// the single partitions stay where they are, in the engine's state topic.
func CondenseLedger(lines []LedgerLine, limit int) []LedgerLine {
	if len(lines) <= limit {
		return lines
	}
	lines = slices.DeleteFunc(slices.Clone(lines), func(l LedgerLine) bool {
		return l.Decision == LedgerNothing && l.Records == 0 && l.Unrecoverable == 0 && l.Appended == 0 && l.GapCount == 0
	})
	if len(lines) <= limit {
		return lines
	}
	type key struct{ topic, decision, by, reason string }
	var out []LedgerLine
	at := map[key]int{}
	for _, l := range lines {
		k := key{l.Topic, l.Decision, l.DecidedBy, l.Reason}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, l)
			continue
		}
		out[i] = out[i].and(l)
	}
	return out
}

// LedgerPartitions is how many partitions lines stand for.
func LedgerPartitions(lines []LedgerLine) (n int) {
	for _, l := range lines {
		n += max(1, l.Of)
	}
	return n
}

// and is a row for both.
func (l LedgerLine) and(o LedgerLine) LedgerLine {
	l.Of = max(1, l.Of) + max(1, o.Of)
	l.From, l.To = 0, 0
	l.span(o)
	l.Records, l.Bytes = l.Records+o.Records, l.Bytes+o.Bytes
	l.Keyed, l.Superseded, l.SupersededKeys = l.Keyed+o.Keyed, l.Superseded+o.Superseded, l.SupersededKeys+o.SupersededKeys
	l.Compacted = l.Compacted || o.Compacted
	l.Unrecoverable, l.Appended = l.Unrecoverable+o.Unrecoverable, l.Appended+o.Appended
	l.GapCount += o.GapCount
	l.Gaps, l.SupersededAt = nil, nil // they name offsets of one partition
	redelivered := map[string]int64{}
	for _, from := range []map[string]int64{l.Redelivered, o.Redelivered} {
		for _, g := range sorted(from) {
			redelivered[g] += from[g]
		}
	}
	if l.Redelivered = nil; len(redelivered) > 0 {
		l.Redelivered = redelivered
	}
	return l
}

// Recount takes the newer lines of those topics, in the place of their first one.
func Recount(lines []LedgerLine, topics []string, newer []LedgerLine) []LedgerLine {
	concerned := func(l LedgerLine) bool { return slices.Contains(topics, l.Topic) }
	newer = slices.DeleteFunc(slices.Clone(newer), func(l LedgerLine) bool { return !concerned(l) })
	at := slices.IndexFunc(lines, concerned)
	if at < 0 {
		at = len(lines)
	}
	rest := slices.DeleteFunc(slices.Clone(lines[at:]), concerned)
	return slices.Concat(lines[:at], newer, rest)
}
