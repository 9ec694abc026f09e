package runbook

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// exerciseAge is how old the last exercise may be: who has not tried for a
// quarter does not know.
const exerciseAge = 90 * 24 * time.Hour

// JudgeReadiness judges what was found.
func JudgeReadiness(f ReadyFacts, lives time.Duration) Readiness {
	r := Readiness{Pair: f.Plan.Pair, Drills: f.Drills, At: f.Now, Expires: f.Now.Add(lives)}
	j := &readyJudge{f: f, r: &r}
	j.record()
	j.held()
	j.rights()
	j.outage()
	j.mirrors()
	j.link()
	j.topics()
	j.transactions()
	j.people()
	j.drill()
	j.drills()
	j.objectives()
	r.Score, r.Ready = 100, true
	for _, c := range r.Checks {
		r.Score = max(0, r.Score-checkCosts[c.State])
		r.Ready = r.Ready && c.State != CheckBad && c.State != CheckUnknown
	}
	slices.SortStableFunc(r.Checks, func(a, b Check) int { return checkCosts[b.State] - checkCosts[a.State] })
	return r
}

type readyJudge struct {
	f ReadyFacts
	r *Readiness
}

func (j *readyJudge) say(name, state, cure, format string, args ...any) {
	j.r.Checks = append(j.r.Checks, Check{Name: name, State: state, Detail: fmt.Sprintf(format, args...), Cure: cure})
}

// blind notes a part that could not be looked at, and tells whether it is one.
func (j *readyJudge) blind(part string, missing bool) bool {
	why, ok := j.f.Problems[part]
	if !ok && !missing {
		return false
	}
	if why == "" {
		why = "it was not looked at"
	}
	cure := "see the worker's log; run drctl readiness " + j.f.Plan.Pair + " again"
	if (part == PartMirrors || part == PartLink) && j.failedOver() {
		cure = fmt.Sprintf("nothing mirrors %s until the pair is protected again: drctl restore %s stays there, drctl failback %s goes home; if that is done, see the worker's log",
			strings.Join(j.r.Active, ","), j.f.Plan.Pair, j.f.Plan.Pair)
	}
	j.say(part, CheckUnknown, cure, "%s", why)
	return true
}

// failedOver: the pair came to its active site by a failover, behind which there is no
// link back until somebody makes one.
func (j *readyJudge) failedOver() bool {
	t := j.f.Truth
	if t == nil || t.Record == nil || len(t.Record.Moves) == 0 {
		return false
	}
	return t.Record.Moves[len(t.Record.Moves)-1].Operation == OpFailover
}

func (j *readyJudge) record() {
	if j.blind(PartRecord, j.f.Truth == nil) {
		return
	}
	t := *j.f.Truth
	pair := j.f.Plan.Pair
	n := len(j.r.Checks)
	if t.Split != "" {
		j.say(PartRecord, CheckBad, "compare both Consuls with what the clusters hold, and remove the wrong record by hand", "the copies contradict each other: %s", t.Split)
	}
	if t.Record == nil {
		j.say(PartRecord, CheckBad, "drctl setup "+pair, "no Consul that answers has a record of truth: nothing tells which site is active")
		return
	}
	j.r.Active = t.Record.Active
	standby := ""
	if s, err := j.f.Plan.Other(t.Record.Active[0]); err == nil {
		standby = s.Name
	}
	for _, s := range t.Silent {
		state, cure := CheckWarning, "bring it up; a run would owe it the record"
		if strings.HasSuffix(s, " "+standby) {
			state, cure = CheckBad, "bring it up: a failover needs it"
		}
		j.say(PartRecord, state, cure, "%s does not answer", s)
	}
	for _, s := range t.Behind {
		j.say(PartRecord, CheckWarning, "the next run writes it", "the copy at %s is older", s)
	}
	for _, d := range t.Record.FenceDebt {
		j.say(PartRecord, CheckBad, "drctl recover "+pair+" --debts-only", "%s is owed to %s since %s: %s", d.Kind, d.Site, d.Since.UTC().Format(time.RFC3339), d.Reason)
	}
	if l := t.Lock; t.Held() {
		j.say(PartRecord, CheckWarning, "drctl status "+pair, "%s %s holds the pair since %s", l.Operation, l.OpID, l.Since.UTC().Format(time.RFC3339))
	}
	if len(j.r.Checks) == n {
		j.say(PartRecord, CheckOK, "", "%s active, epoch %d", strings.Join(t.Record.Active, ","), t.Record.Epoch)
	}
}

func (j *readyJudge) rights() {
	for _, text := range j.f.Plan.OneSided() {
		j.say(PartKubernetes, CheckWarning, "give groups[].kubernetes an entry for that site, or have people told: move page", "%s", text)
	}
	if j.blind(PartRights, false) {
		return
	}
	of := func(part string) bool {
		return slices.ContainsFunc(j.f.Rights, func(c Check) bool { return c.Name == part })
	}
	if !of(PartRights) {
		j.say(PartRights, CheckOK, "", "engines, worker and canaries may do what the runbooks need")
	}
	if !of(PartCredentials) {
		j.say(PartCredentials, CheckOK, "", "what the plan refers to can be read, and none tells that it ends within %d days", int(CredentialSoon.Hours()/24))
	}
	j.r.Checks = append(j.r.Checks, j.f.Rights...)
}

func (j *readyJudge) outage() {
	if j.blind(PartOutage, len(j.f.Vantages) == 0) {
		return
	}
	site := strings.Join(j.r.Active, ",")
	v := Outage(site, j.f.Vantages)
	away := slices.ContainsFunc(j.f.Vantages, func(p Vantage) bool { return p.Known && !p.Reachable })
	switch {
	case v.OK:
		j.r.Proposal = fmt.Sprintf("%s is lost as far as %d vantage points can tell: look at drctl failover %s --dry-run", site, len(j.f.Vantages), j.f.Plan.Pair)
		j.say(PartOutage, CheckBad, "drctl failover "+j.f.Plan.Pair+" --dry-run, then decide", "%s", v.Text())
	case away:
		j.say(PartOutage, CheckWarning, "find out who is cut off", "%s", v.Text())
	default:
		j.say(PartOutage, CheckOK, "", "%s answers everybody", site)
	}
}

func (j *readyJudge) mirrors() {
	if j.blind(PartMirrors, j.f.Risk == nil) {
		return
	}
	risk := *j.f.Risk
	v := Mirrors(risk)
	if v.OK {
		j.say(PartMirrors, CheckOK, "", "%d mirrors in %d partitions", len(risk.Topics()), len(risk.Partitions))
	} else {
		j.say(PartMirrors, CheckBad, "drctl mirror list "+risk.Link+"; drctl setup "+j.f.Plan.Pair, "%s", v.Text())
	}
	j.lag(risk)
	var wrong []string
	for _, g := range risk.Groups {
		if g.Problem != "" {
			wrong = append(wrong, fmt.Sprintf("%s on %s/%d: %s", g.Group, g.Topic, g.Partition, g.Problem))
		}
	}
	if len(wrong) > 0 {
		j.say(PartGroups, CheckWarning, "see the link's ConsumerOffsetSync task", "%s", some(wrong))
	} else {
		j.say(PartGroups, CheckOK, "", "%d offsets follow", len(risk.Groups))
	}
}

func (j *readyJudge) lag(risk Risk) {
	objective := float64(j.f.Plan.Objectives.RPOSeconds)
	var worst PartitionRisk
	var stalled []string
	for _, p := range risk.Partitions {
		if p.LagSeconds > worst.LagSeconds {
			worst = p
		}
		if p.Stalled != "" {
			stalled = append(stalled, fmt.Sprintf("%s/%d: %s", p.Topic, p.Partition, p.Stalled))
		}
	}
	if len(stalled) > 0 {
		j.say(PartLag, CheckBad, "do what the reason says", "nothing moves: %s", some(stalled))
	}
	at := fmt.Sprintf("%.1f s at most (%s/%d, %d records), the objective is %.0f s", worst.LagSeconds, worst.Topic, worst.Partition, worst.LagRecords, objective)
	switch {
	case worst.Topic == "":
		j.say(PartLag, CheckOK, "", "none")
	case objective > 0 && worst.LagSeconds > objective:
		j.say(PartLag, CheckBad, "give the engine more processor time or bandwidth, or lower the load", "%s", at)
	case objective > 0 && worst.LagSeconds > objective/2:
		j.say(PartLag, CheckWarning, "more than half of the objective: find out why before it is all of it", "%s", at)
	default:
		j.say(PartLag, CheckOK, "", "%s", at)
	}
}

func (j *readyJudge) link() {
	if j.blind(PartLink, j.f.Link == nil) {
		return
	}
	l := *j.f.Link
	n := len(j.r.Checks)
	if l.State != StatusActive {
		j.say(PartLink, CheckBad, "see drctl link describe at the engine", "it is %s %s", l.State, l.Error)
	}
	if len(l.Faults) > 0 {
		j.say(PartLink, CheckWarning, "do what the errors say; drctl link describe shows all", "tasks in error: %s", some(l.Faults))
	}
	if len(l.Drift) > 0 {
		j.say(PartLink, CheckWarning, "drctl link drift names the cure of each", "topic configs differ: %s", some(l.Drift))
	}
	for _, note := range l.Notes {
		j.say(PartLink, CheckWarning, "see drctl link describe at the engine", "%s", note)
	}
	if len(j.r.Checks) == n {
		j.say(PartLink, CheckOK, "", "no task in error, no harmful drift")
	}
	unproven := 0
	var levels []string
	for _, level := range []string{"proven", "set", "none", "released"} {
		if k := l.Guards[level]; k > 0 {
			levels = append(levels, fmt.Sprintf("%d %s", k, level))
			if level != "proven" {
				unproven += k
			}
		}
	}
	if unproven > 0 {
		j.say(PartGuards, CheckWarning, "an authorizer, the engine's ALTER on CLUSTER and a canary principal prove guards", "mirrors are not all proven read-only: %s", strings.Join(levels, ", "))
	} else if len(levels) > 0 {
		j.say(PartGuards, CheckOK, "", "%s", strings.Join(levels, ", "))
	}
}

func (j *readyJudge) topics() {
	if j.blind(PartTopics, j.f.Topics == nil) || j.f.Risk == nil {
		return
	}
	t := *j.f.Topics
	if un := Missing(t.Topics, j.f.Risk.Topics()); len(un) > 0 {
		j.say(PartTopics, CheckBad, "drctl setup "+j.f.Plan.Pair, "%d topics of the plan have no mirror: %s", len(un), some(un))
	} else {
		j.say(PartTopics, CheckOK, "", "%d topics have mirrors", len(t.Topics))
	}
	if len(t.Missing) > 0 {
		j.say(PartTopics, CheckWarning, "make them, or take them out of the plan", "the plan names topics that do not exist: %s", some(t.Missing))
	}
}

func (j *readyJudge) transactions() {
	if j.blind(PartTransactions, !j.f.OpenSeen) {
		return
	}
	limit := Seconds(j.f.Plan.Limits.TransactionsSeconds)
	var long []string
	for _, t := range j.f.Open {
		if age := j.f.Now.Sub(t.Since); !t.Since.IsZero() && age > limit {
			long = append(long, fmt.Sprintf("%s on %s/%d for %s", t.TransactionalID, t.Topic, t.Partition, age.Round(time.Second)))
		}
	}
	if len(long) > 0 {
		j.say(PartTransactions, CheckWarning, "end what hangs: readers of committed records and the mirrors wait for it", "open for long: %s", some(long))
		return
	}
	j.say(PartTransactions, CheckOK, "", "%d open, none for longer than %s", len(j.f.Open), limit)
}

func (j *readyJudge) people() {
	n := j.f.Plan.Notify
	switch {
	case n.Silent():
		j.say(PartPeople, CheckWarning, "name slack or pagerduty in the plan's notify", "nobody is told of anything")
	case n.PagerDuty == nil:
		j.say(PartPeople, CheckWarning, "name pagerduty in the plan's notify", "nobody is paged")
	default:
		j.say(PartPeople, CheckOK, "", "paged by PagerDuty, Slack %t", n.Slack != nil)
	}
}

func (j *readyJudge) drill() {
	if j.blind(PartDrill, j.f.Past == nil) {
		return
	}
	p := *j.f.Past
	age := j.f.Now.Sub(p.Exercised)
	switch {
	case p.Exercised.IsZero():
		j.say(PartDrill, CheckWarning, "drctl drill "+j.f.Plan.Pair+" --kind canary, or a planned move while nothing is at stake", "this pair never went through a failover, a planned move or a canary drill")
	case age > exerciseAge:
		j.say(PartDrill, CheckWarning, "try again while nothing is at stake", "the last one was %d days ago (%s)", int(age.Hours()/24), p.Operation)
	default:
		j.say(PartDrill, CheckOK, "", "%s on %s", p.Operation, p.Exercised.UTC().Format(time.DateOnly))
	}
}

// some are the first of many, for a line that people read.
func some(all []string) string {
	const few = 5
	if len(all) <= few {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:few], "; "), len(all)-few)
}
