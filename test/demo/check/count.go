package check

import (
	"fmt"
	"slices"
)

// pair is one attempt to send one record.
type pair struct {
	record  Name
	attempt int
}

func (p pair) String() string { return fmt.Sprintf("%s#%d", p.record, p.attempt) }

// counter counts one topic.
type counter struct {
	e Evidence
	t Topic

	seq     map[pair]int64 // everything that was ever sent
	outcome map[pair]string
	order   []pair // in the order of sending
	faults  []string
	// goesOnAtHome: the group read at home what was acknowledged there after
	// the failback, and the standby has it.
	goesOnAtHome bool
}

func newCounter(e Evidence, t Topic) *counter {
	c := &counter{e: e, t: t, seq: map[pair]int64{}, outcome: map[pair]string{}}
	for _, a := range t.Log {
		p := pair{a.Record, a.Attempt}
		if _, ok := c.seq[p]; !ok {
			c.seq[p] = a.Seq
			c.order = append(c.order, p)
		}
		if c.outcome[p] != Acked { // an acknowledgement counts whatever else is told
			c.outcome[p] = a.Outcome
		}
	}
	return c
}

func (c *counter) fault(bad bool, format string, args ...any) {
	if bad {
		c.faults = append(c.faults, c.t.Name+": "+fmt.Sprintf(format, args...))
	}
}

func (c *counter) count() TopicReport {
	r := TopicReport{
		Unknown:   []string{},
		InPrimary: int64(len(c.t.Primary)), InStandby: int64(len(c.t.Standby)), InHome: int64(len(c.t.Home)),
		LaggedFound: c.t.LaggedFound, RPOExact: c.t.RPOExact,
		Forecast: Forecast{Failover: c.t.FailoverForecast, Recovery: c.t.RecoveryForecast},
	}
	for _, p := range c.order {
		if c.outcome[p] == Acked {
			r.Acked++
			continue
		}
		r.Unknown = append(r.Unknown, p.String()) // a record without any outcome is one whose producer never learnt it
	}
	c.contents(&r)
	if c.e.Planned {
		c.fault(r.LaggedFound+r.RPOExact > 0, "a planned move reports %d lagged records", r.LaggedFound)
	} else {
		c.lagged(&r)
	}
	c.reads(&r)
	c.fault(r.Acked == 0, "nothing was acknowledged")
	c.unsettled()
	return r
}

// unsettled names records that were never acknowledged in any attempt: the
// producer owes them.
func (c *counter) unsettled() {
	acked := map[Name]bool{}
	for p, o := range c.outcome {
		acked[p.record] = acked[p.record] || o == Acked
	}
	var open []Name
	for _, p := range c.order {
		if !acked[p.record] && !slices.Contains(open, p.record) {
			open = append(open, p.record)
		}
	}
	c.fault(len(open) > 0, "%d records were sent and never acknowledged, first %s", len(open), first(open))
}

// contents looks at what stands in the clusters.
func (c *counter) contents(r *TopicReport) {
	home, standby := pairs(c.t.Home), pairs(c.t.Standby)
	var lost []pair
	for _, p := range c.order {
		if c.outcome[p] == Acked && (home[p] == 0 || standby[p] == 0) {
			lost = append(lost, p)
		}
	}
	r.Lost = int64(len(lost))
	c.fault(len(lost) > 0, "%d acknowledged records are not in both clusters at the end, first %s", len(lost), first(lost))
	for _, in := range []struct {
		where  string
		stored []Stored
	}{{"the returned primary", c.t.Primary}, {"the standby", c.t.Standby}, {"home", c.t.Home}} {
		var twice, foreign []pair
		for p, n := range pairs(in.stored) {
			if n > 1 {
				twice = append(twice, p)
			}
			if _, ok := c.seq[p]; !ok {
				foreign = append(foreign, p)
			}
		}
		reordered := c.reordered(in.stored)
		r.Duplicates += int64(len(twice))
		r.Foreign += int64(len(foreign))
		r.Reordered += int64(len(reordered))
		c.fault(len(twice) > 0, "%d records stand twice in %s, among them %s", len(twice), in.where, first(twice))
		c.fault(len(foreign) > 0, "%d records in %s were never sent, among them %s", len(foreign), in.where, first(foreign))
		c.fault(len(reordered) > 0, "%d records in %s stand behind later ones, first %s", len(reordered), in.where, first(reordered))
		c.fault(len(in.stored) == 0, "%s holds nothing", in.where)
	}
	same := slices.EqualFunc(inOrder(c.t.Home), inOrder(c.t.Standby), func(a, b Stored) bool {
		return a.Partition == b.Partition && a.Record == b.Record && a.Attempt == b.Attempt
	})
	c.fault(!same, "home and standby differ at the end: the mirror is no copy")
}

// reordered are records that stand behind one that was sent later. Appended
// records stand where the recovery put them and are compared among themselves.
func (c *counter) reordered(stored []Stored) []pair {
	type place struct {
		partition int32
		recovered bool
	}
	last := map[place]int64{}
	var out []pair
	for _, s := range inOrder(stored) {
		p, at := pair{s.Record, s.Attempt}, place{s.Partition, s.Recovered}
		seq, sent := c.seq[p]
		if !sent {
			continue
		}
		if before, ok := last[at]; ok && seq < before {
			out = append(out, p)
		}
		last[at] = max(last[at], seq)
	}
	return out
}

// lagged compares what the recovery found and appended with what the returned
// primary holds behind the stop offsets.
func (c *counter) lagged(r *TopicReport) {
	standby := pairs(c.t.Standby)
	appended := map[pair]bool{}
	for _, s := range c.t.Standby {
		if s.Recovered {
			appended[pair{s.Record, s.Attempt}] = true
		}
	}
	tail := map[pair]bool{}
	for _, s := range c.t.Primary {
		stop, ok := c.t.Stops[s.Partition]
		c.fault(!ok, "the failover reported no stop offset of partition %d", s.Partition)
		if !ok || s.Offset < stop {
			continue
		}
		p := pair{s.Record, s.Attempt}
		tail[p] = true
		r.LaggedInPrimary++
		if standby[p] > 0 && appended[p] {
			r.LaggedRecovered++
		}
	}
	extra := 0
	for p := range appended {
		if !tail[p] {
			extra++
		}
	}
	c.fault(extra > 0, "%d appended records do not stand behind the stop offsets of the returned primary", extra)
	c.fault(r.LaggedInPrimary == 0, "nothing lagged: the story shows no recovery")
	for _, f := range []struct {
		what string
		n    int64
	}{{"lagged_found", r.LaggedFound}, {"lagged_recovered", r.LaggedRecovered}, {"rpo_records_exact", r.RPOExact}} {
		c.fault(f.n != r.LaggedInPrimary, "%s is %d; the returned primary holds %d records behind the stop offsets", f.what, f.n, r.LaggedInPrimary)
	}
}

// reads looks at what the group got, and got again.
func (c *counter) reads(r *TopicReport) {
	seen := map[pair]bool{}
	away := false             // the group has read on the standby
	atHome := map[pair]bool{} // read at home after that
	old := map[pair]bool{}    // read at the old primary
	for _, read := range c.t.Reads {
		p := pair{read.Record, read.Attempt}
		switch again := seen[p]; {
		case read.Site == c.e.StandbySite:
			away = true
			if again && !read.Recovered {
				r.Redelivered.Failover++
			}
			if read.Recovered && old[p] {
				r.Redelivered.Recovery++
			}
		case away:
			atHome[p] = true
			if again {
				r.Redelivered.Home++
			}
		default:
			old[p] = true
			c.fault(again, "the group got %s twice before anything happened", p)
		}
		seen[p] = true
	}
	var unread []pair
	for _, p := range c.order {
		if c.outcome[p] == Acked && !seen[p] {
			unread = append(unread, p)
		}
	}
	r.Unread = int64(len(unread))
	c.fault(len(unread) > 0, "%d acknowledged records never reached the group, first %s", len(unread), first(unread))
	c.fault(r.Redelivered.Failover > r.Forecast.Failover, "%d records were delivered again after the failover, the dry run said at most %d", r.Redelivered.Failover, r.Forecast.Failover)
	c.fault(r.Redelivered.Recovery > r.Forecast.Recovery, "%d appended records were delivered again, the recovery said at most %d", r.Redelivered.Recovery, r.Forecast.Recovery)
	c.fault(r.Redelivered.Home > 0, "%d records were delivered again at home", r.Redelivered.Home)
	c.home(away, atHome)
}

// home: after the way back something was acknowledged at home, the group read
// it there, and the standby has it.
func (c *counter) home(away bool, atHome map[pair]bool) {
	standby := pairs(c.t.Standby)
	wentAway, ackedHome := false, map[pair]bool{}
	for _, a := range c.t.Log {
		if a.Outcome != Acked {
			continue
		}
		wentAway = wentAway || a.Site == c.e.StandbySite
		if wentAway && a.Site == c.e.HomeSite {
			ackedHome[pair{a.Record, a.Attempt}] = true
		}
	}
	read := 0
	mirrored := true
	for p := range ackedHome {
		mirrored = mirrored && standby[p] > 0
		if atHome[p] {
			read++
		}
	}
	c.fault(!away, "the group never read on the standby")
	c.fault(!wentAway, "nothing was acknowledged on the standby")
	c.fault(len(ackedHome) == 0, "nothing was acknowledged at home after the failback")
	c.fault(len(ackedHome) > 0 && read == 0, "the group read nothing at home after the failback")
	c.fault(!mirrored, "what was acknowledged at home after the failback is not mirrored")
	c.goesOnAtHome = away && wentAway && read > 0 && mirrored
}

func pairs(stored []Stored) map[pair]int {
	out := make(map[pair]int, len(stored))
	for _, s := range stored {
		out[pair{s.Record, s.Attempt}]++
	}
	return out
}

// inOrder sorts by partition and offset, without touching stored.
func inOrder(stored []Stored) []Stored {
	out := slices.Clone(stored)
	slices.SortStableFunc(out, func(a, b Stored) int {
		if a.Partition != b.Partition {
			return int(a.Partition) - int(b.Partition)
		}
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
	return out
}

// first of a list, for a fault's text.
func first[T any](list []T) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprint(list[0])
}
