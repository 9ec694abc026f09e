package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Statuses of mirrors beside runbook's, as the contract spells them.
const (
	statusPending = "PENDING_STOPPED"
	statusFailed  = "FAILED"
)

// mirrors lists a link's mirrors by name.
func (a *Activities) mirrors(ctx context.Context, s runbook.Site, l runbook.Link) (map[string]api.Mirror, error) {
	e, err := a.engine(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := e.Mirrors(ctx, l.Name, "")
	if err != nil {
		return nil, fmt.Errorf("mirrors of link %s at engine %s: %w", l.Name, s.Name, err)
	}
	out := make(map[string]api.Mirror, len(list))
	for _, m := range list {
		out[m.MirrorTopicName] = m
	}
	return out, nil
}

// progress is the live state of a link, its mirrors by topic.
func (a *Activities) progress(ctx context.Context, s runbook.Site, l runbook.Link) (api.Progress, map[string]api.MirrorProgress, error) {
	e, err := a.engine(s)
	if err != nil {
		return api.Progress{}, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := e.Progress(ctx, l.Name)
	if err != nil {
		return p, nil, fmt.Errorf("progress of link %s at engine %s: %w", l.Name, s.Name, err)
	}
	by := make(map[string]api.MirrorProgress, len(p.Mirrors))
	for _, m := range p.Mirrors {
		by[m.Topic] = m
	}
	return p, by, nil
}

// over tells whether a mirror has ended for good, so that only a new one can
// take its place (once its topic was deleted).
func over(status string) bool {
	return status == "" || status == runbook.StatusStopped || status == statusFailed
}

// EnsureMirrors starts what is missing, one call per topic. A mirror that runs
// is left as it is.
func (a *Activities) EnsureMirrors(ctx context.Context, in workflows.EnsureMirrorsInput) (workflows.MirrorsResult, error) {
	defer a.beat(ctx)()
	e, err := a.engineAs(in.Destination, in.Call)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	have, err := a.mirrors(ctx, in.Destination, in.Link)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	refused := map[string]error{}
	for _, t := range in.Topics {
		if !over(have[t].MirrorStatus) {
			continue
		}
		err := e.CreateMirror(ctx, in.Link.Name, api.CreateMirror{SourceTopicName: t})
		if err != nil && (retryable(err) || errors.Is(err, api.ErrConflict)) {
			return workflows.MirrorsResult{}, settle(fmt.Errorf("start mirror %s on link %s: %w", t, in.Link.Name, err))
		}
		if err != nil {
			refused[t] = err
		}
	}
	if have, err = a.mirrors(ctx, in.Destination, in.Link); err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	var out workflows.MirrorsResult
	for _, t := range in.Topics {
		m := have[t]
		r := runbook.TopicResult{Topic: t, Status: m.MirrorStatus}
		switch {
		case !over(m.MirrorStatus):
			r.OK = true
		case m.MirrorStatus == statusFailed:
			r.Error = "the mirror is FAILED: " + m.MirrorTopicError
			if refused[t] != nil {
				r.Error += "; " + refused[t].Error()
			}
		case refused[t] != nil:
			r.Error = refused[t].Error()
		default:
			r.Error = "the engine took the mirror and does not list it"
		}
		out.Topics = append(out.Topics, r)
	}
	return out, nil
}

// FailoverMirrors ends mirrors now. One that is ended, or being ended, already
// is not asked for again.
func (a *Activities) FailoverMirrors(ctx context.Context, in workflows.MirrorsInput) (workflows.MirrorsResult, error) {
	return a.end(ctx, in, api.VerbFailover)
}

// PromoteMirrors drains and ends mirrors.
func (a *Activities) PromoteMirrors(ctx context.Context, in workflows.MirrorsInput) (workflows.MirrorsResult, error) {
	return a.end(ctx, in, api.VerbPromote)
}

func (a *Activities) end(ctx context.Context, in workflows.MirrorsInput, verb api.MirrorVerb) (workflows.MirrorsResult, error) {
	defer a.beat(ctx)()
	e, err := a.engineAs(in.Site, in.Call)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	before, err := a.mirrors(ctx, in.Site, in.Link)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	var ask []string
	for _, t := range in.Topics {
		s := before[t].MirrorStatus
		// A promote that drains may still be failed over.
		if s != runbook.StatusStopped && (s != statusPending || verb == api.VerbFailover) {
			ask = append(ask, t)
		}
	}
	refused := map[string]error{}
	if len(ask) > 0 {
		results, err := e.AlterMirrors(ctx, in.Link.Name, verb, api.AlterMirrors{MirrorTopicNames: ask}, false)
		if err != nil {
			return workflows.MirrorsResult{}, settle(fmt.Errorf("%s on link %s: %w", verb, in.Link.Name, err))
		}
		for _, r := range results {
			if err := r.Err(); err != nil {
				refused[r.MirrorTopicName] = err
			}
		}
	}
	_, byTopic, err := a.progress(ctx, in.Site, in.Link)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	var out workflows.MirrorsResult
	for _, t := range in.Topics {
		m, ok := byTopic[t]
		r := runbook.TopicResult{Topic: t, Status: m.Status, WriterFence: m.WriterFence}
		switch {
		case m.Status == runbook.StatusStopped, m.Status == statusPending:
			r.OK = true
		case refused[t] != nil:
			r.Error = refused[t].Error()
		case !ok:
			r.Error = fmt.Sprintf("link %s has no such mirror", in.Link.Name)
		default:
			r.Error = fmt.Sprintf("%s was accepted, yet the mirror is %s %s", verb, m.Status, m.Reason)
		}
		out.Topics = append(out.Topics, r)
	}
	return out, nil
}

// AwaitStopped waits until no named mirror is PENDING_STOPPED. What is not
// STOPPED then did not end: it went back, or failed.
func (a *Activities) AwaitStopped(ctx context.Context, in workflows.AwaitStoppedInput) (workflows.MirrorsResult, error) {
	defer a.beat(ctx)()
	e, err := a.engine(in.Site)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	_, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		// Those alone: of a large link, the state of every partition at each look would take the engine's time from the work.
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		pending, err := e.Mirrors(ctx, in.Link.Name, statusPending)
		if err != nil {
			return false, fmt.Errorf("mirrors of link %s at engine %s: %w", in.Link.Name, in.Site.Name, err)
		}
		return !slices.ContainsFunc(pending, func(m api.Mirror) bool { return slices.Contains(in.Topics, m.MirrorTopicName) }), nil
	})
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	_, by, err := a.progress(ctx, in.Site, in.Link)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	var out workflows.MirrorsResult
	for _, t := range in.Topics {
		m, ok := by[t]
		r := runbook.TopicResult{Topic: t, Status: m.Status, WriterFence: m.WriterFence, OK: m.Status == runbook.StatusStopped}
		switch {
		case r.OK:
		case !ok:
			r.Error = fmt.Sprintf("link %s has no such mirror", in.Link.Name)
		case m.Status == statusPending:
			r.Error = fmt.Sprintf("still PENDING_STOPPED after %s %s", in.Within, stalls(m))
		default:
			r.Error = fmt.Sprintf("is %s, not STOPPED: %s", m.Status, m.Reason)
		}
		out.Topics = append(out.Topics, r)
	}
	return out, nil
}

func stalls(m api.MirrorProgress) string {
	for _, p := range m.Partitions {
		if p.Stalled != "" {
			return fmt.Sprintf("(partition %d: %s)", p.Partition, p.Stalled)
		}
	}
	return m.Reason
}

// AwaitMirrors waits until the mirrors are ACTIVE at the tip, give or take
// MaxLag.
func (a *Activities) AwaitMirrors(ctx context.Context, in workflows.AwaitMirrorsInput) (workflows.AwaitMirrorsResult, error) {
	defer a.beat(ctx)()
	var out workflows.AwaitMirrorsResult
	var err error
	out.CaughtUp, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		p, by, err := a.progress(ctx, in.Site, in.Link)
		if err != nil {
			return false, err
		}
		out.LagRecords, out.Behind = 0, nil
		if !p.SourceReachable {
			out.Behind = append(out.Behind, fmt.Sprintf("link %s: the source does not answer", in.Link.Name))
		}
		for _, t := range in.Topics {
			lag, why := behind(by[t], in.MaxLag)
			out.LagRecords += lag
			if why != "" {
				out.Behind = append(out.Behind, t+": "+why)
			}
		}
		return len(out.Behind) == 0, nil
	})
	return out, settle(err)
}

// behind says what a mirror lacks, "" for nothing, and its lag in all.
func behind(m api.MirrorProgress, maxLag int64) (lag int64, why string) {
	if m.Status == "" {
		return 0, "no such mirror"
	}
	for _, p := range m.Partitions {
		lag += p.LagRecords
		switch {
		case why != "":
		case p.SourceHighWatermark < 0:
			why = fmt.Sprintf("partition %d has not heard of its source yet", p.Partition)
		case p.LagRecords > maxLag:
			why = fmt.Sprintf("partition %d lags %d records", p.Partition, p.LagRecords)
		}
		if why != "" && p.Stalled != "" {
			why += " (" + p.Stalled + ")"
		}
	}
	if m.Status != runbook.StatusActive {
		why = fmt.Sprintf("is %s: %s", m.Status, m.Reason)
	} else if len(m.Partitions) == 0 {
		why = "is ACTIVE without partitions"
	}
	return lag, why
}

// GrowMirrors gives each mirror topic as many partitions as the engine knows of
// its source. The engine grows mirrors by itself while it can; this covers what
// it had heard of and not yet done when the source was lost.
func (a *Activities) GrowMirrors(ctx context.Context, in workflows.MirrorsInput) (workflows.MirrorsResult, error) {
	defer a.beat(ctx)()
	_, by, err := a.progress(ctx, in.Site, in.Link)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	k, err := a.kafka(in.Site)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	have, err := k.topics(ctx, in.Topics...)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	var out workflows.MirrorsResult
	for _, t := range in.Topics {
		m, ok := by[t]
		r := runbook.TopicResult{Topic: t, Status: m.Status, WriterFence: m.WriterFence, OK: true}
		want := 0
		for _, p := range m.Partitions {
			want = max(want, int(p.Partition)+1)
		}
		switch n := len(have[t]); {
		case !ok:
			r.OK, r.Error = false, fmt.Sprintf("link %s has no such mirror", in.Link.Name)
		case n == 0:
			r.OK, r.Error = false, fmt.Sprintf("the topic does not exist at %s", in.Site.Name)
		case n < want:
			if err := k.grow(ctx, t, want); err != nil {
				r.OK, r.Error = false, err.Error()
			}
		}
		out.Topics = append(out.Topics, r)
	}
	return out, nil
}

// reversed tells the engine that mirrored the other way that its ended mirrors'
// source follows it now: its ledger must not count what comes back.
func reversed(ctx context.Context, other *api.Client, link string, body api.Rejoin, refused map[string]error) error {
	if len(body.From) == 0 {
		return nil
	}
	results, err := other.ReverseMirrors(ctx, link, body)
	for _, r := range results {
		if err := r.Err(); err != nil {
			refused[r.MirrorTopicName] = err
		}
	}
	return err
}

// Rejoin hands the opposite link's segments to this one's engine, which checks
// them against its logs and starts what fits.
func (a *Activities) Rejoin(ctx context.Context, in workflows.RejoinInput) (workflows.MirrorsResult, error) {
	defer a.beat(ctx)()
	other, err := a.engine(in.Other)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	e, err := a.engineAs(in.Site, in.Call)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	refused := map[string]error{}
	var body api.Rejoin
	for _, t := range in.Topics {
		s, err := other.Segments(ctx, in.Opposite.Name, t)
		if err != nil && !gone(err) {
			return workflows.MirrorsResult{}, settle(fmt.Errorf("offset map of %s on link %s at engine %s: %w", t, in.Opposite.Name, in.Other.Name, err))
		}
		if err != nil {
			refused[t] = err
			continue
		}
		body.From = append(body.From, s)
	}
	if len(body.From) > 0 {
		results, err := e.Rejoin(ctx, in.Link.Name, body)
		if err != nil {
			return workflows.MirrorsResult{}, settle(fmt.Errorf("rejoin on link %s at engine %s: %w", in.Link.Name, in.Site.Name, err))
		}
		for _, r := range results {
			if err := r.Err(); err != nil {
				refused[r.MirrorTopicName] = err
			}
		}
	}
	have, err := a.mirrors(ctx, in.Site, in.Link)
	if err != nil {
		return workflows.MirrorsResult{}, settle(err)
	}
	body.From = slices.DeleteFunc(body.From, func(s api.Segments) bool { return refused[s.Topic] != nil || over(have[s.Topic].MirrorStatus) })
	if err := reversed(ctx, other, in.Opposite.Name, body, refused); err != nil {
		return workflows.MirrorsResult{}, settle(fmt.Errorf("close the mirrors of link %s at engine %s: %w", in.Opposite.Name, in.Other.Name, err))
	}
	var out workflows.MirrorsResult
	for _, t := range in.Topics {
		m := have[t]
		r := runbook.TopicResult{Topic: t, Status: m.MirrorStatus, OK: refused[t] == nil && !over(m.MirrorStatus)}
		if refused[t] != nil {
			r.Error = refused[t].Error()
		} else if !r.OK {
			r.Error = fmt.Sprintf("was accepted, yet the mirror is %q %s", m.MirrorStatus, m.MirrorTopicError)
		}
		out.Topics = append(out.Topics, r)
	}
	return out, nil
}
