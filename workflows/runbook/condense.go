package runbook

// A run's history holds what its steps found, and Temporal takes at most 2 MiB
// in one piece. A row per partition of 2,000 topics would be three times that,
// so what comes back from a large link is condensed: a row per topic, and per
// group and topic. The single offsets stay where they are, in the engine's state
// topic, and go into the report's file when it is written.

// Rows of a Risk that a history takes as they are, partitions and group offsets
// each: about half a megabyte.
const RowLimit = 2000

// ClientRows are how many groups have a row each of what was seen of their clients: of
// ten thousand that do not move their names alone are a third of a megabyte.
const ClientRows = 500

// GroupSum is what a condensed row of a group says in the place of offsets.
type GroupSum struct {
	Partitions int   `json:"partitions"`
	Again      int64 `json:"again"`
	AtMost     int64 `json:"at_most"`
	Skipped    int64 `json:"skipped"`
}

// Condense returns r with at most about limit rows of each kind, as far as topics
// and groups allow: where partitions are more, each topic has one row with their
// sums and the worst of them; where group offsets are more, each group and topic
// has one, or each group, under the topic "*". Foresee says the same of both.
func (r Risk) Condense(limit int) Risk {
	if len(r.Partitions) > limit {
		r.Partitions, r.Condensed = condenseTopics(r.Partitions), true
	}
	if len(r.Groups) > limit {
		r.Condensed = true
		rows := condenseGroups(r.Groups, false)
		if len(rows) > limit {
			rows = condenseGroups(r.Groups, true)
		}
		r.Groups = rows
	}
	return r
}

func condenseTopics(parts []PartitionRisk) []PartitionRisk {
	var out []PartitionRisk
	at := map[string]int{}
	for _, p := range parts {
		unseen, lag := 0, max(0, p.LagRecords)
		if !p.SourceSeen {
			unseen, lag = 1, 0
		}
		p.SourcePosition, p.SourceStop, p.DestStop = 0, nil, nil
		i, ok := at[p.Topic]
		if !ok {
			at[p.Topic] = len(out)
			p.Of, p.Unseen, p.LagRecords, p.SourceSeen = 1, unseen, lag, true
			p.RecordsPerSecond = max(0, p.RecordsPerSecond)
			out = append(out, p)
			continue
		}
		row := &out[i]
		row.Of++
		row.Unseen += unseen
		row.LagRecords += lag
		row.RecordsPerSecond += max(0, p.RecordsPerSecond)
		if p.LagSeconds > row.LagSeconds {
			row.LagSeconds, row.Partition = p.LagSeconds, p.Partition
		}
		if row.Stalled == "" && p.Stalled != "" {
			row.Stalled = p.Stalled
		}
	}
	return out
}

func condenseGroups(groups []GroupRisk, whole bool) []GroupRisk {
	type key struct{ group, topic string }
	var out []GroupRisk
	at := map[key]int{}
	for _, g := range groups {
		k := key{g.Group, g.Topic}
		if whole {
			k.topic = "*"
		}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, GroupRisk{Group: k.group, Topic: k.topic, Partition: -1, Owned: true, Sum: &GroupSum{}})
		}
		row, sum := &out[i], g.sum()
		row.Sum.Partitions += sum.Partitions
		row.Sum.Again += sum.Again
		row.Sum.AtMost += sum.AtMost
		row.Sum.Skipped += sum.Skipped
		row.Owned, row.Clamped = row.Owned && g.Owned, row.Clamped || g.Clamped
		if row.Problem == "" {
			row.Problem = g.Problem
		}
	}
	return out
}

// Counted is how many partitions the rows stand for.
func (r Risk) Counted() int {
	n := 0
	for _, p := range r.Partitions {
		n += max(1, p.Of)
	}
	return n
}

// sum is what a row costs its group.
//
// The group goes on at the translation of its last seen commit, clamped to the
// mirror; or where it stands, if that is not the engine's to write. What lies
// between that and the translated commit it reads again for certain, or skips. It
// may have read everything up to the mirror's end since the commit was seen, so
// the distance to the end is the most that it reads again.
func (g GroupRisk) sum() GroupSum {
	if g.Sum != nil {
		return *g.Sum
	}
	resume, had := g.Wanted, g.Wanted
	if !g.Owned || g.Problem != "" {
		resume = g.Dest
	}
	resume = max(0, resume)
	s := GroupSum{Partitions: 1, AtMost: max(0, g.DestEnd-resume)}
	if g.SourceOffset >= 0 && had >= 0 {
		s.Again = min(max(0, had-resume), s.AtMost)
		s.Skipped = max(0, resume-had)
	}
	return s
}
