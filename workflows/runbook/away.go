package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// AwayTopic is a topic of the plan as both sites have it once the lost one is
// back: Active is where clients work, Standby the site that shall mirror.
type AwayTopic struct {
	Topic string `json:"topic"`
	// Active and Standby are numbers of partitions, 0 where it does not exist.
	Active  int `json:"active_partitions"`
	Standby int `json:"standby_partitions"`
	// Follows: the standby mirrors it already.
	Follows bool `json:"follows,omitempty"`
	// Ended: it was the mirror that the failover ended. Remade: the active site's
	// topic is not that one, it was deleted and made again.
	Ended  bool `json:"ended,omitempty"`
	Remade bool `json:"remade,omitempty"`
	// Same: every log at the standby ends where that mirror stopped.
	Same bool `json:"same,omitempty"`
	// ActiveRecords and StandbyRecords are counted by offsets.
	ActiveRecords  int64 `json:"active_records"`
	StandbyRecords int64 `json:"standby_records"`
}

// Kinds of an AwayTopic.
const (
	AwayFollows  = "follows"     // nothing is to be done
	AwaySame     = "unchanged"   // the standby's copy rejoins
	AwayDiverged = "diverged"    // the standby's copy holds more, or less: it is rebuilt
	AwayMissing  = "copy gone"   // the standby's copy is gone: it is mirrored anew
	AwayCreated  = "created"     // on the active site only
	AwayGrown    = "grown"       // more partitions on the active site
	AwayRemade   = "re-created"  // deleted and made again on the active site
	AwayApart    = "unrelated"   // on both sites, and neither was a mirror of the other
	AwayDeleted  = "deleted"     // on the active site
	AwayOnlyCopy = "never there" // on the standby only, and it was never mirrored
	AwayNowhere  = "nowhere"
)

// Choices for topics that changed while a site was away.
const (
	ChooseMirror = "mirror" // as the active site has it; what the standby has of it is deleted
	ChooseLeave  = "leave"  // as it is on both sites: neither mirrored nor moved
	ChooseDelete = "delete" // the standby's old copy
)

// OverrideRebuild consents to deleting copies at the returning site; the text
// beside it names them.
const OverrideRebuild = "delete-old-copies"

// Kind says what became of the topic.
func (a AwayTopic) Kind() string {
	switch {
	case a.Active == 0 && a.Standby == 0:
		return AwayNowhere
	case a.Follows:
		return AwayFollows
	case a.Active == 0 && a.Ended:
		return AwayDeleted
	case a.Active == 0:
		return AwayOnlyCopy
	case a.Standby == 0 && a.Ended && !a.Remade:
		return AwayMissing
	case a.Standby == 0:
		return AwayCreated
	case !a.Ended:
		return AwayApart
	case a.Remade:
		return AwayRemade
	case a.Active > a.Standby:
		return AwayGrown
	case a.Same:
		return AwaySame
	}
	return AwayDiverged
}

// Choices that a person has for the topic; none where nothing is to be decided.
func (a AwayTopic) Choices() []string {
	switch a.Kind() {
	case AwayCreated, AwayGrown, AwayRemade, AwayApart:
		return []string{ChooseMirror, ChooseLeave}
	case AwayDeleted:
		return []string{ChooseLeave, ChooseDelete}
	}
	return nil
}

// AwayText says what became of a topic and what may be decided, for people.
func AwayText(a AwayTopic, active, standby string) string {
	var what string
	switch a.Kind() {
	case AwayCreated:
		what = fmt.Sprintf("made at %s while %s was away (%d partitions, %d records)", active, standby, a.Active, a.ActiveRecords)
	case AwayGrown:
		what = fmt.Sprintf("grown at %s from %d to %d partitions; mirroring it deletes the copy at %s (%d records)", active, a.Standby, a.Active, standby, a.StandbyRecords)
	case AwayRemade:
		what = fmt.Sprintf("deleted and made again at %s (%d partitions, %d records); mirroring it deletes the old one at %s (%d records)", active, a.Active, a.ActiveRecords, standby, a.StandbyRecords)
	case AwayApart:
		what = fmt.Sprintf("at both sites, though %s never mirrored it; mirroring it from %s deletes the only copy of %d records at %s", active, active, a.StandbyRecords, standby)
	case AwayDeleted:
		what = fmt.Sprintf("deleted at %s; %s still has %d records of it", active, standby, a.StandbyRecords)
	case AwayOnlyCopy:
		what = fmt.Sprintf("never mirrored: %s has the only copy (%d records), which is left as it is", standby, a.StandbyRecords)
	default:
		what = a.Kind()
	}
	if c := a.Choices(); len(c) > 0 {
		what += ": " + strings.Join(c, " or ")
	}
	return a.Topic + ": " + what
}

// AwaySummary counts topics by their kinds.
func AwaySummary(topics []AwayTopic) string {
	kinds := map[string]int{}
	for _, a := range topics {
		kinds[a.Kind()]++
	}
	var out []string
	for _, kind := range sorted(kinds) {
		out = append(out, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	return strings.Join(out, ", ")
}

// AwayPlan says what is done with each topic, each list in the topics' order.
type AwayPlan struct {
	Follow  []string `json:"follow,omitempty"`  // mirrored already
	Rejoin  []string `json:"rejoin,omitempty"`  // over the standby's copy as it is
	Create  []string `json:"create,omitempty"`  // the standby has no copy
	Rebuild []string `json:"rebuild,omitempty"` // the standby's copy is deleted first
	Delete  []string `json:"delete,omitempty"`  // the standby's copy, for good
	Leave   []string `json:"leave,omitempty"`   // neither mirrored nor moved
	Open    []string `json:"open,omitempty"`    // without a decision
}

// PlanAway sorts topics by what is to be done. A decision for a topic that has
// none to take is refused (it is likely a typing error), as is a word that does
// not fit; EveryTopic stands for those that it fits. There is no default.
func PlanAway(topics []AwayTopic, chosen map[string]string) (AwayPlan, error) {
	var p AwayPlan
	var faults []string
	for _, t := range sorted(chosen) {
		i := slices.IndexFunc(topics, func(a AwayTopic) bool { return a.Topic == t })
		switch c := chosen[t]; {
		case t == EveryTopic && !slices.Contains([]string{ChooseMirror, ChooseLeave, ChooseDelete}, c):
			faults = append(faults, fmt.Sprintf("%q is none of mirror, leave, delete", c))
		case t == EveryTopic:
		case i < 0:
			faults = append(faults, fmt.Sprintf("the plan has no topic %s at either site", t))
		case len(topics[i].Choices()) == 0:
			faults = append(faults, fmt.Sprintf("nothing is to be decided about %s (%s)", t, topics[i].Kind()))
		case !slices.Contains(topics[i].Choices(), c):
			faults = append(faults, fmt.Sprintf("%q for %s, which was %s: %s", c, t, topics[i].Kind(), strings.Join(topics[i].Choices(), " or ")))
		}
	}
	for _, a := range topics {
		p.add(a, chosen)
	}
	if len(faults) > 0 {
		return p, fmt.Errorf("decisions: %s", strings.Join(faults, "; "))
	}
	return p, nil
}

func (p *AwayPlan) add(a AwayTopic, chosen map[string]string) {
	put := func(list *[]string) { *list = append(*list, a.Topic) }
	switch a.Kind() {
	case AwayFollows:
		put(&p.Follow)
		return
	case AwaySame:
		put(&p.Rejoin)
		return
	case AwayDiverged:
		put(&p.Rebuild)
		return
	case AwayMissing:
		put(&p.Create)
		return
	case AwayOnlyCopy:
		put(&p.Leave)
		return
	case AwayNowhere:
		return
	}
	c, ok := chosen[a.Topic]
	if every := chosen[EveryTopic]; !ok && slices.Contains(a.Choices(), every) {
		c = every
	}
	switch {
	case c == ChooseLeave:
		put(&p.Leave)
	case c == ChooseDelete:
		put(&p.Delete)
	case c == ChooseMirror && a.Standby == 0:
		put(&p.Create)
	case c == ChooseMirror:
		put(&p.Rebuild)
	default:
		put(&p.Open)
	}
}

// Mirrors are the topics that the standby mirrors afterwards, sorted.
func (p AwayPlan) Mirrors() []string {
	out := slices.Concat(p.Follow, p.Rejoin, p.Create, p.Rebuild)
	slices.Sort(out)
	return out
}

// Copied are the topics that are copied from their start.
func (p AwayPlan) Copied() []string {
	out := slices.Concat(p.Create, p.Rebuild)
	slices.Sort(out)
	return out
}

// Doomed are the topics whose copy at the standby is deleted.
func (p AwayPlan) Doomed() []string {
	out := slices.Concat(p.Rebuild, p.Delete)
	slices.Sort(out)
	return out
}

// Text is what approvers read of a plan.
func (p AwayPlan) Text(active, standby string) string {
	var parts []string
	say := func(list []string, format string, args ...any) {
		if len(list) > 0 {
			parts = append(parts, fmt.Sprintf(format, args...)+": "+named(list))
		}
	}
	say(p.Follow, "%d topics are mirrored at %s already", len(p.Follow), standby)
	say(p.Rejoin, "%d topics at %s are as they were and go on where they stopped", len(p.Rejoin), standby)
	say(p.Create, "mirror %d topics from %s that %s has not got", len(p.Create), active, standby)
	say(p.Rebuild, "delete %d topics at %s and mirror them from %s", len(p.Rebuild), standby, active)
	say(p.Delete, "delete %d topics at %s for good", len(p.Delete), standby)
	say(p.Leave, "leave out %d topics", len(p.Leave))
	if len(parts) == 0 {
		return "no topic is to be mirrored"
	}
	return strings.Join(parts, "; ")
}

// named lists topics, not more than a person reads.
func named(list []string) string {
	const most = 20
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more (the status lists all)", strings.Join(list[:most], ", "), len(list)-most)
}
