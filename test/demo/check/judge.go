package check

import (
	"fmt"
	"slices"
)

// Proven is the fence level that needs no override, in the runbooks' word.
const Proven = "proven"

// Judge counts the evidence. OK is true only if there is not one fault, which
// the report then names.
func Judge(e Evidence) Report {
	r := Report{
		Planned: e.Planned, Kafka: e.Kafka, Versions: e.Versions, Topics: map[string]TopicReport{}, Active: e.Active, Epoch: e.Epoch,
		Fence: e.Fence, RTOMillis: e.RTO.Milliseconds(), Steps: append([]Step{}, e.Steps...), Faults: append([]string{}, e.Faults...),
		ConsumedAfterFailover: []Name{}, ConsumedAfterRecovery: []Name{},
	}
	atHome := true // every group goes on at home, every topic is mirrored again
	for _, t := range e.Topics {
		c := newCounter(e, t)
		got := c.count()
		r.Topics[t.Name] = got
		r.Lost += got.Lost
		r.Duplicates += got.Duplicates
		r.Redelivered += got.Redelivered.Failover + got.Redelivered.Recovery + got.Redelivered.Home
		r.Faults = append(r.Faults, c.faults...)
		atHome = atHome && c.goesOnAtHome
		if t.Name == e.Tutorial {
			r.tutorial(e, t, got)
		}
	}
	r.fault(len(e.Topics) == 0, "no topic was looked at")
	_, told := r.Topics[e.Tutorial]
	r.fault(!told, "the tutorial's topic %q was not looked at", e.Tutorial)
	r.FailbackOK = e.FailbackDone && e.Active == e.HomeSite && atHome
	r.fault(!e.FailbackDone, "the failback did not end as done")
	r.fault(e.Active != e.HomeSite, "the active site is %q, not home (%s)", e.Active, e.HomeSite)
	if e.Planned {
		r.fault(e.Fence.Failover != Proven, "the fence on home at the move away is %q, not %s", e.Fence.Failover, Proven)
	}
	r.fault(!e.Planned && e.Fence.Returned != Proven, "the fence on the returned primary is %q, not %s", e.Fence.Returned, Proven)
	r.fault(e.Fence.Home != Proven, "the fence on the standby at the move home is %q, not %s", e.Fence.Home, Proven)
	r.fault(e.Fence.Failover == "", "the failover reports no fence")
	r.fault(e.RTO <= 0, "the failover reports no RTO")
	r.ApprovedBy, r.AcknowledgedBy, r.Chat = append([]string{}, e.ApprovedBy...), append([]string{}, e.AcknowledgedBy...), e.Chat
	r.chat(e)
	r.OK = len(r.Faults) == 0
	return r
}

func (r *Report) fault(bad bool, format string, args ...any) {
	if bad {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// tutorial fills the top figures and compares them with what the tutorial says.
func (r *Report) tutorial(e Evidence, t Topic, got TopicReport) {
	for _, read := range t.Reads {
		switch {
		case read.Site != e.StandbySite:
		case read.Recovered:
			r.ConsumedAfterRecovery = append(r.ConsumedAfterRecovery, read.Record)
		default:
			r.ConsumedAfterFailover = append(r.ConsumedAfterFailover, read.Record)
		}
	}
	if len(r.ConsumedAfterFailover) > 0 {
		r.ResumedAt = r.ConsumedAfterFailover[0]
	}
	r.LaggedFound, r.LaggedRecovered, r.RPOExact, r.RPOEstimate = got.LaggedFound, got.LaggedRecovered, got.RPOExact, t.RPOEstimate
	if e.Planned { // the reads are as many as records: they are counted, not listed
		r.ConsumedAfterFailover = []Name{}
		return
	}
	w := e.Want
	r.fault(r.ResumedAt != w.ResumedAt, "%s: the group went on at %q, not at %q", t.Name, r.ResumedAt, w.ResumedAt)
	r.fault(!slices.Equal(r.ConsumedAfterFailover, w.AfterFailover), "%s: read after the failover: %v, not %v", t.Name, r.ConsumedAfterFailover, w.AfterFailover)
	r.fault(!slices.Equal(r.ConsumedAfterRecovery, w.AfterRecovery), "%s: read after the recovery: %v, not %v", t.Name, r.ConsumedAfterRecovery, w.AfterRecovery)
	r.fault(got.LaggedFound != w.Lagged, "%s: %d lagged records were found, not %d", t.Name, got.LaggedFound, w.Lagged)
}
