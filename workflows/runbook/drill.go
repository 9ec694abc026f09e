package runbook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Kinds of drills.
const (
	// DrillTabletop looks at all that a failover and a planned move would look at,
	// and acts nowhere.
	DrillTabletop = "tabletop"
	// DrillCanary takes a topic of the drill's own through a real failover; the
	// topics, groups and clients of the pair are not touched.
	DrillCanary = "canary"
	// DrillFull moves the pair to its standby and home again: clients do move.
	DrillFull = "full"
)

// DrillKinds are all of them.
var DrillKinds = []string{DrillTabletop, DrillCanary, DrillFull}

// DrillPlan is when a kind of drill is played by itself: by Cron or every
// EverySeconds.
type DrillPlan struct {
	Kind          string `json:"kind"`
	Cron          string `json:"cron,omitempty"`
	EverySeconds  int64  `json:"every_seconds,omitempty"`
	Zone          string `json:"zone,omitempty"`
	JitterSeconds int64  `json:"jitter_seconds,omitempty"`
}

// Text says when.
func (d DrillPlan) Text() string {
	text := fmt.Sprintf("every %s", Seconds(d.EverySeconds))
	if d.Cron != "" {
		text = fmt.Sprintf("cron %q", d.Cron)
	}
	if d.Zone != "" {
		text += " in " + d.Zone
	}
	if d.JitterSeconds > 0 {
		text += fmt.Sprintf(", up to %s later", Seconds(d.JitterSeconds))
	}
	return text
}

// DrillTopic is the topic of the pair's canary drills. It begins as what no link
// mirrors by itself and no plan can name, and it lives as long as a drill.
func DrillTopic(pair string) string { return "_drawbridge.drill." + pair }

// DrillGroup is the consumer group of the pair's canary drills.
func DrillGroup(pair string) string { return "_drawbridge.drill." + pair }

// DrillLink is the link of the pair's canary drills: as the pair's own says how its
// source is reached, and beside it, so that nothing that a drill does can meet the
// mirrors of the pair. It fills a map from a map: their order does not matter.
//
//workflowcheck:ignore
func DrillLink(pair string, l Link) Link {
	l.Name = "drawbridge-drill-" + pair
	configs := map[string]string{"consumer.offset.sync.ms": "1000"}
	for _, k := range sorted(l.Configs) {
		if !slices.ContainsFunc([]string{"auto.create.", "acl.", "consumer.", "topic."}, func(p string) bool { return strings.HasPrefix(k, p) }) {
			configs[k] = l.Configs[k]
		}
	}
	l.Configs = configs
	return l
}

// DrillCopy is what stands of a drill's topic and group at a site.
type DrillCopy struct {
	Site       string           `json:"site"`
	Partitions []DrillPartition `json:"partitions"`
}

// DrillPartition is one partition of it. Digest covers offset, time, key, headers
// and value of each record, in order; Committed is the group's offset, -1 for none.
type DrillPartition struct {
	Partition int32  `json:"partition"`
	Records   int64  `json:"records"`
	Digest    string `json:"digest"`
	Committed int64  `json:"committed"`
}

// Records in all partitions.
func (c DrillCopy) Records() (n int64) {
	for _, p := range c.Partitions {
		n += p.Records
	}
	return n
}

// DrillProof is what a canary drill has compared.
type DrillProof struct {
	Topic      string    `json:"topic"`
	Source     DrillCopy `json:"source"`
	FailedOver DrillCopy `json:"failed_over"`
	Rebuilt    DrillCopy `json:"rebuilt"`
}

// SameCopy judges whether two sites hold the same records in the same places;
// groups: and the same offsets of the group.
func SameCopy(want, got DrillCopy, groups bool) Verdict {
	v := Verdict{OK: true}
	if len(want.Partitions) == 0 || want.Records() == 0 {
		v.need("", "%s holds no record of the drill: there is nothing to compare", want.Site)
	}
	for _, w := range want.Partitions {
		i := slices.IndexFunc(got.Partitions, func(p DrillPartition) bool { return p.Partition == w.Partition })
		switch {
		case i < 0:
			v.need("", "partition %d is missing at %s", w.Partition, got.Site)
		case got.Partitions[i].Records != w.Records:
			v.need("", "partition %d has %d records at %s and %d at %s", w.Partition, w.Records, want.Site, got.Partitions[i].Records, got.Site)
		case got.Partitions[i].Digest != w.Digest:
			v.need("", "partition %d has %d records at both sites, and they differ (digest %.12s at %s, %.12s at %s)", w.Partition, w.Records, w.Digest, want.Site, got.Partitions[i].Digest, got.Site)
		case groups && got.Partitions[i].Committed != w.Committed:
			v.need("", "the group stands at %d of partition %d at %s, and at %d at %s", w.Committed, w.Partition, want.Site, got.Partitions[i].Committed, got.Site)
		}
	}
	if len(got.Partitions) > len(want.Partitions) {
		v.need("", "%s has %d partitions, %s has %d", want.Site, len(want.Partitions), got.Site, len(got.Partitions))
	}
	if v.OK {
		v.note("%d records in %d partitions alike at %s and %s", want.Records(), len(want.Partitions), want.Site, got.Site)
	}
	return v
}

// Codes of refused drills, which are application error types too.
const (
	RefuseBusy         = "PairBusy"
	RefusePrecondition = "PreconditionFailed"
	RefuseSplit        = "SplitBrain"
	RefuseHeld         = "Held"
)

// MayDrill judges whether a drill may be played now, by what a look at the pair's
// readiness found. Nil: it may.
func MayDrill(kind string, f ReadyFacts, ready Readiness) *Refusal {
	no := func(code, format string, args ...any) *Refusal { return &Refusal{code, fmt.Sprintf(format, args...)} }
	pair := f.Plan.Pair
	if f.Truth == nil {
		return no(RefusePrecondition, "the record of truth of pair %s could not be read: %s", pair, f.Problems[PartRecord])
	}
	t := *f.Truth
	switch {
	case t.Split != "":
		return no(RefuseSplit, "the copies of the record of truth contradict each other: %s", t.Split)
	case t.Record == nil:
		return no(RefusePrecondition, "pair %s has no record of truth: run drctl setup %s", pair, pair)
	case t.Held():
		return no(RefuseBusy, "pair %s is held by %s %s since %s: drctl status %s", pair, t.Lock.Operation, t.Lock.OpID, stamp(t.Lock.Since), pair)
	case t.Record.Phase != record.Open:
		return no(RefuseBusy, "pair %s is %s: drctl status %s", pair, t.Record.Phase, pair)
	case len(t.Record.FenceDebt) > 0:
		d := t.Record.FenceDebt[0]
		return no(RefusePrecondition, "%d debts are open, first %s owed to %s since %s (%s): pay them with drctl recover %s --debts-only", len(t.Record.FenceDebt), d.Kind, d.Site, stamp(d.Since), d.Reason, pair)
	}
	if held, _ := ReadHold(f.Holds); len(held) > 0 {
		return no(RefuseHeld, "%s", held[0].Text(pair))
	}
	if text, frozen := f.Plan.FreezeText(f.Now); frozen {
		return no(RefuseHeld, "%s", text)
	}
	if kind == DrillTabletop {
		return nil
	}
	if ready.Proposal != "" {
		return no(RefusePrecondition, "%s: this is no time for a drill", ready.Proposal)
	}
	if len(t.Silent) > 0 {
		return no(RefusePrecondition, "%s do not answer: a %s drill needs both sites", strings.Join(t.Silent, ", "), kind)
	}
	if kind != DrillFull {
		return nil
	}
	var red []string
	for _, c := range ready.Checks {
		// What a drill is to find out is no reason against it.
		if c.Name != PartDrill && c.Name != PartDrills && (c.State == CheckBad || c.State == CheckUnknown) {
			red = append(red, c.Name+": "+c.Detail)
		}
	}
	if len(red) > 0 {
		return no(RefusePrecondition, "pair %s is not ready, and clients would move: %s; see drctl readiness %s", pair, some(red), pair)
	}
	return nil
}

// PastDrill is the last drill of a kind that left a report.
type PastDrill struct {
	Kind string `json:"kind"`
	// Good is when one went well for the last time, zero for never; Last is when one
	// ended, and Error why it failed.
	Good  time.Time `json:"good,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	Error string    `json:"error,omitempty"`
}

// DrillWatch is the Schedule of a kind of drill.
type DrillWatch struct {
	Kind     string `json:"kind"`
	Schedule string `json:"schedule"`
	Exists   bool   `json:"exists"`
	Paused   bool   `json:"paused,omitempty"`
	Note     string `json:"note,omitempty"`
	// Missed count drills that came due while Temporal was away for longer than the
	// window in which they are made up for, Skipped those whose forerunner still ran.
	Missed  int64     `json:"missed,omitempty"`
	Skipped int64     `json:"skipped,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// PeriodSeconds is the longest time between two that come next, 0 for unknown.
	PeriodSeconds int64 `json:"period_seconds,omitempty"`
}

// Unplayed are drills of a kind of which people were told that they were not played.
type Unplayed struct {
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`
	What  string    `json:"what"`
}

// SkippedSince says which drills were not played since an earlier look.
func SkippedSince(last, now []DrillWatch, at time.Time) []Unplayed {
	var out []Unplayed
	for _, n := range now {
		i := slices.IndexFunc(last, func(l DrillWatch) bool { return l.Kind == n.Kind })
		if i < 0 || n.Created.After(last[i].Created) { // a new Schedule counts from 0
			continue
		}
		say := func(format string, args ...any) {
			out = append(out, Unplayed{Kind: n.Kind, Since: at, What: fmt.Sprintf(format, args...)})
		}
		if k := n.Missed - last[i].Missed; k > 0 {
			say("%d %s drills came due while Temporal was away, and were not made up for", k, n.Kind)
		}
		if k := n.Skipped - last[i].Skipped; k > 0 {
			say("%d %s drills were skipped, because the one before still ran", k, n.Kind)
		}
		if n.Paused && !last[i].Paused {
			say("%s drills are paused: %s", n.Kind, n.Note)
		}
	}
	return out
}

// StillUnplayed are those that people were told of and that nothing has made up for: no
// drill of the kind has left a report since, or its Schedule is paused, and the plan
// still wants it. What could not be looked at is nil.
func StillUnplayed(told []Unplayed, wanted []DrillPlan, now []DrillWatch, past *PastRuns) []Unplayed {
	return slices.DeleteFunc(slices.Clone(told), func(u Unplayed) bool {
		if !slices.ContainsFunc(wanted, func(d DrillPlan) bool { return d.Kind == u.Kind }) {
			return true
		}
		if now == nil || slices.ContainsFunc(now, func(w DrillWatch) bool { return w.Kind == u.Kind && w.Paused }) {
			return false
		}
		return past != nil && slices.ContainsFunc(past.Drills, func(p PastDrill) bool { return p.Kind == u.Kind && p.Last.After(u.Since) })
	})
}

// drillGrace is how much later than its turn a drill may come, beside its jitter.
const drillGrace = 30 * time.Minute

// drills judges the plan's drills: a failed or overdue one says that nobody knows
// whether a failover would work.
func (j *readyJudge) drills() {
	if len(j.f.Plan.Drills) == 0 || j.blind(PartDrills, j.f.Drills == nil) {
		return
	}
	pair := j.f.Plan.Pair
	n := len(j.r.Checks)
	for _, d := range j.f.Plan.Drills {
		var past PastDrill
		if j.f.Past != nil {
			for _, p := range j.f.Past.Drills {
				if p.Kind == d.Kind {
					past = p
				}
			}
		}
		i := slices.IndexFunc(j.f.Drills, func(w DrillWatch) bool { return w.Kind == d.Kind })
		if i < 0 || !j.f.Drills[i].Exists {
			j.say(PartDrills, CheckWarning, "drctl setup "+pair, "the plan wants %s drills (%s), and no Schedule plays them", d.Kind, d.Text())
			continue
		}
		w := j.f.Drills[i]
		last := w.Created
		if past.Good.After(last) {
			last = past.Good
		}
		limit := 2*Seconds(w.PeriodSeconds) + Seconds(d.JitterSeconds) + drillGrace
		switch {
		case past.Error != "":
			j.say(PartDrills, CheckBad, "find out why with drctl reports "+pair+", mend it, and show it: drctl drill "+pair+" --kind "+d.Kind, "the last %s drill, at %s, failed: %s", d.Kind, stamp(past.Last), past.Error)
		case w.PeriodSeconds > 0 && j.f.Now.Sub(last) > limit:
			j.say(PartDrills, CheckBad, "drctl drill "+pair+" --kind "+d.Kind, "no %s drill went well since %s (%d missed, %d skipped), and one is due every %s", d.Kind, stamp(last), w.Missed, w.Skipped, Seconds(w.PeriodSeconds))
		}
		if w.Paused {
			j.say(PartDrills, CheckWarning, "mend what stopped them, then: temporal schedule toggle --unpause --schedule-id "+w.Schedule+" --reason mended", "%s drills are paused: %s", d.Kind, w.Note)
		}
	}
	if len(j.r.Checks) == n {
		var well []string
		for _, p := range j.f.Past.drillsOr() {
			if !p.Good.IsZero() {
				well = append(well, p.Kind+" on "+p.Good.UTC().Format(time.DateOnly))
			}
		}
		if len(well) == 0 {
			well = []string{"none has come due yet"}
		}
		j.say(PartDrills, CheckOK, "", "%s", strings.Join(well, ", "))
	}
}

// Failed: the last drill of a kind that left a report did not go well.
func (p *PastRuns) Failed(kind string) bool {
	return slices.ContainsFunc(p.drillsOr(), func(d PastDrill) bool { return d.Kind == kind && d.Error != "" })
}

func (p *PastRuns) drillsOr() []PastDrill {
	if p == nil {
		return nil
	}
	return p.Drills
}

// DrillSteps is what a canary drill over link l would do.
func DrillSteps(l Link) []PlannedStep {
	return []PlannedStep{
		{Name: "write", What: "write known records into the drill's own topic at " + l.Source},
		{Name: "mirror", What: fmt.Sprintf("mirror it to %s by a link of its own", l.Destination)},
		{Name: "fail over", What: "end that one mirror"},
		{Name: "prove", What: fmt.Sprintf("every broker of %s lets the canary through; write and read a record; compare records and offsets", l.Destination)},
		{Name: "rebuild", What: "delete the topic there, mirror it again, compare again"},
		{Name: "clean up", What: "delete link, topics and group of the drill"},
	}
}
