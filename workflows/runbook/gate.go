package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// Overrides that an approval may name, one by one. Each says in plain words
// what the approver takes upon them.
const (
	// OverrideAlive: the site that is declared lost still answers somebody.
	OverrideAlive = "primary-alive"
	// OverrideVantage: fewer than two vantage points could be asked.
	OverrideVantage = "single-vantage"
	// OverrideFence: the old side could not be fenced with proof.
	OverrideFence = "unproven-fence"
	// OverrideLock: another operation's lock is broken.
	OverrideLock = "break-lock"
	// OverrideUnhealthy: mirrors that are not ACTIVE are failed over as they are.
	OverrideUnhealthy = "unhealthy-mirrors"
	// OverrideWriters: a fence is lifted though clients may then write at two
	// sites, or where nobody mirrors it.
	OverrideWriters = "two-writers"
	// OverrideFreeze: a planned operation within one of the plan's change freezes.
	OverrideFreeze = "change-freeze"
	// OverrideFlapping: the pair was moved by the same kind of operation a moment ago.
	OverrideFlapping = "flapping"
	// OverrideHold: somebody holds the pair, or all pairs.
	OverrideHold = "hold"
)

// meanings of the overrides, for those who take them.
var meanings = []struct{ name, meaning string }{
	{OverrideAlive, "the site that is declared lost still answers somebody"},
	{OverrideVantage, "fewer than two vantage points could be asked: it may be our own network that is cut"},
	{OverrideFence, "the old side is not fenced with proof: its clients may go on writing what will be lost"},
	{OverrideLock, "another operation's lock is broken: its run must be gone for good"},
	{OverrideUnhealthy, "mirrors that are not ACTIVE are failed over as they are"},
	{OverrideFreeze, "a planned operation within one of the plan's change freezes"},
	{OverrideFlapping, "the pair was moved by the same kind of operation a moment ago"},
	{OverrideHold, "somebody holds the pair, or all pairs"},
	{OverrideWriters, "clients may write at two sites, or where nobody mirrors it"},
}

// OverrideMeaning is what somebody takes upon them by an override, "" for a name
// that is none.
func OverrideMeaning(name string) string {
	for _, o := range meanings {
		if o.name == name {
			return o.meaning
		}
	}
	return ""
}

// OverrideNames are the overrides that stand in for a gate's fact. OverrideRebuild is none of them: it agrees to a list.
func OverrideNames() []string {
	var names []string
	for _, o := range meanings {
		names = append(names, o.name)
	}
	return names
}

// overrides are their names.
func overrides() string { return strings.Join(OverrideNames(), ", ") }

// Verdict of a gate: go on, or why not and which overrides would allow it.
type Verdict struct {
	OK bool `json:"ok"`
	// Reasons speak for or against, in the order they were looked at.
	Reasons []string `json:"reasons"`
	// Overrides that must be named for the run to go on; empty when OK, or
	// when nothing can allow it.
	Overrides []string `json:"overrides,omitempty"`
}

func (v *Verdict) need(override, format string, args ...any) {
	v.OK = false
	v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	if override != "" && !slices.Contains(v.Overrides, override) {
		v.Overrides = append(v.Overrides, override)
	}
}

func (v *Verdict) note(format string, args ...any) {
	v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
}

// Outage judges whether a site is lost: at least two vantage points must have
// an answer, and none may reach it.
func Outage(site string, seen []Vantage) Verdict {
	v := Verdict{OK: true}
	known := 0
	for _, p := range seen {
		switch {
		case !p.Known:
			v.note("%s could not be asked about %s%s", p.From, site, because(p.Detail))
		case p.Reachable:
			known++
			v.need(OverrideAlive, "%s still reaches %s%s: a planned move loses nothing", p.From, site, because(p.Detail))
		default:
			known++
			v.note("%s does not reach %s%s", p.From, site, because(p.Detail))
		}
	}
	if known < 2 {
		v.need(OverrideVantage, "only %d of %d vantage points could be asked about %s: it may be our own network that is cut", known, len(seen), site)
	}
	return v
}

func because(detail string) string {
	if detail == "" {
		return ""
	}
	return " (" + detail + ")"
}

// Mirror statuses that stories and gates look for, in the contract's words.
const (
	StatusActive  = "ACTIVE"
	StatusStopped = "STOPPED"
)

// unhealthy mirrors stopped following their source for a reason of their own;
// SOURCE_UNAVAILABLE and LINK_FAILED are what a lost source looks like.
var unhealthy = []string{
	"FAILED", "PAUSED", "LINK_PAUSED", "PENDING_MIRROR", "PENDING_SYNCHRONIZE", "PENDING_SETUP_FOR_RESTORE", "PENDING_RESTORE",
}

// Mirrors judges whether a link's mirrors may be failed over as they are: a
// mirror that the engine gave up is behind for reasons that no lag shows.
func Mirrors(r Risk) Verdict {
	v := Verdict{OK: true}
	if len(r.Partitions) == 0 {
		v.need("", "link %s has no mirror: there is nothing to fail over to; run drctl setup while the primary lives", r.Link)
		return v
	}
	seen := map[string]bool{}
	for _, p := range r.Partitions {
		if seen[p.Topic] {
			continue
		}
		seen[p.Topic] = true
		if slices.Contains(unhealthy, p.Status) {
			v.need(OverrideUnhealthy, "mirror %s is %s: what it holds may be older than its lag says", p.Topic, p.Status)
		}
	}
	return v
}

// Halt judges the results of a wave: more than percent failed means that a
// person looks before anything else is ended.
func Halt(results []TopicResult, percent int) Verdict {
	v := Verdict{OK: true}
	failed := Failed(results)
	for _, f := range failed {
		v.note("%s: %s", f.Topic, f.Error)
	}
	if len(results) > 0 && len(failed)*100 > percent*len(results) {
		v.need("", "%d of %d mirrors of this wave failed, more than %d %%", len(failed), len(results), percent)
	}
	return v
}

// Failed filters the results that are not OK.
func Failed(results []TopicResult) []TopicResult {
	var out []TopicResult
	for _, r := range results {
		if !r.OK {
			out = append(out, r)
		}
	}
	return out
}

// Loose says of which mirrors the engine's own late batches are not known to be
// fenced out: one line per level, however many they are.
func Loose(results []TopicResult) []string {
	first, n, levels := map[string]string{}, map[string]int{}, []string{}
	for _, r := range results {
		if !r.OK || r.WriterFence == "" || r.WriterFence == "enforced" {
			continue
		}
		if n[r.WriterFence]++; n[r.WriterFence] == 1 {
			first[r.WriterFence] = r.Topic
			levels = append(levels, r.WriterFence)
		}
	}
	var out []string
	for _, l := range levels {
		out = append(out, fmt.Sprintf("the fence on the engine's own writer is %s for %d mirrors of a wave, first %s", l, n[l], first[l]))
	}
	return out
}

// A wave grows by waveGrowth over the one before, until it is mostInWave: what a run says of a wave must fit into one event of
// its history.
const (
	waveGrowth = 4
	mostInWave = 1000
)

// Waves cuts topics into waves, in order. The first has size topics: a fault that all share is met by no more. Behind it they
// grow, so that a large link takes a few waves and not hundreds.
func Waves(topics []string, size int) [][]string {
	size = max(size, 1)
	most := max(size, mostInWave)
	var out [][]string
	for len(topics) > 0 {
		n := min(size, len(topics))
		out = append(out, topics[:n:n])
		topics, size = topics[n:], min(size*waveGrowth, most)
	}
	return out
}

// Missing lists those of need that given does not name.
func Missing(need, given []string) []string {
	var out []string
	for _, n := range need {
		if !slices.Contains(given, n) {
			out = append(out, n)
		}
	}
	return out
}

// Text joins a verdict's reasons for people.
func (v Verdict) Text() string { return strings.Join(v.Reasons, "; ") }
