package activities

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// SurveyTopics compares the plan's topics on both sites with what the engines
// know of the mirrors that ended and of those that run. A link that is not made
// yet has none.
func (a *Activities) SurveyTopics(ctx context.Context, in workflows.SurveyTopicsInput) (workflows.SurveyTopicsResult, error) {
	defer a.beat(ctx)()
	out := workflows.SurveyTopicsResult{Topics: []runbook.AwayTopic{}}
	v := &survey{}
	var err error
	if v.active, err = a.sideOf(ctx, in.Call, in.Active, in.Filters); err != nil {
		return out, settle(err)
	}
	if v.standby, err = a.sideOf(ctx, in.Call, in.Standby, in.Filters); err != nil {
		return out, settle(err)
	}
	if v.running, err = a.mirrorsIfLink(ctx, in.Standby, in.Link); err != nil {
		return out, settle(err)
	}
	if v.ended, err = a.mirrorsIfLink(ctx, in.Active, in.Ended); err != nil {
		return out, settle(err)
	}
	if v.silent, err = a.silent(ctx, in.Call, in.Standby, v.beyond()); err != nil {
		return out, settle(err)
	}
	names := slices.Concat(v.active.names, v.standby.names)
	slices.Sort(names)
	for _, t := range slices.Compact(names) {
		out.Topics = append(out.Topics, v.topic(t))
	}
	return out, nil
}

// survey is what a look at both sites found.
type survey struct {
	active, standby side
	running, ended  map[string]api.MirrorProgress
	silent          map[string]map[int32]bool // of what the standby holds behind stop offsets
}

// beyond are the stretches of the standby's logs behind the offsets at which their mirrors were stopped.
func (v *survey) beyond() map[string]map[int32]stretch {
	out := map[string]map[int32]stretch{}
	for t, m := range v.ended {
		out[t] = map[int32]stretch{}
		for _, e := range v.standby.ends[t] {
			stop, ok := sourceStop(m, e.partition)
			if rest, some := beyond(stop, e); ok && some && m.Status == runbook.StatusStopped {
				out[t][e.partition] = rest
			}
		}
	}
	return out
}

func sourceStop(m api.MirrorProgress, partition int32) (int64, bool) {
	i := slices.IndexFunc(m.Partitions, func(p api.PartitionProgress) bool { return p.Partition == partition })
	if i < 0 || m.Partitions[i].SourceStop == nil {
		return 0, false
	}
	return *m.Partitions[i].SourceStop, true
}

// side is the plan's topics at one site.
type side struct {
	names []string
	ids   map[string]string
	ends  map[string][]logEnd
}

func (a *Activities) sideOf(ctx context.Context, call workflows.Call, s runbook.Site, filters []string) (side, error) {
	listed, err := a.ListDRTopics(ctx, workflows.ListDRTopicsInput{Call: call, Site: s, Filters: filters})
	if err != nil {
		return side{}, err
	}
	out := side{names: listed.Topics, ends: map[string][]logEnd{}}
	k, err := a.kafka(s)
	if err != nil {
		return out, err
	}
	if out.ids, err = k.topicIDs(ctx, listed.Topics); err != nil {
		return out, err
	}
	ends, err := k.ends(ctx, listed.Topics)
	for _, e := range ends {
		out.ends[e.topic] = append(out.ends[e.topic], e)
	}
	return out, err
}

// topicIDs of topics as the engine writes them; brokers before 2.8 tell none.
func (k *kafka) topicIDs(ctx context.Context, topics []string) (map[string]string, error) {
	out := map[string]string{}
	if len(topics) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := k.metadata(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("topics of site %s: %w", k.site, err)
	}
	for _, t := range m.Topics {
		if t.Topic != nil && t.TopicID != (kmsg.MetadataResponseTopic{}).TopicID {
			out[*t.Topic] = base64.RawURLEncoding.EncodeToString(t.TopicID[:])
		}
	}
	return out, nil
}

func (a *Activities) mirrorsIfLink(ctx context.Context, s runbook.Site, l runbook.Link) (map[string]api.MirrorProgress, error) {
	_, by, err := a.progress(ctx, s, l)
	if gone(err) {
		return nil, nil
	}
	return by, err
}

func (v *survey) topic(t string) runbook.AwayTopic {
	out := runbook.AwayTopic{
		Topic: t, Active: len(v.active.ends[t]), Standby: len(v.standby.ends[t]),
		ActiveRecords: records(v.active.ends[t]), StandbyRecords: records(v.standby.ends[t]),
		Follows: !over(v.running[t].Status),
	}
	m, ok := v.ended[t]
	if !ok || m.Status != runbook.StatusStopped {
		return out
	}
	out.Ended = true
	id := v.active.ids[t]
	out.Remade = out.Active > 0 && id != "" && m.TopicID != "" && id != m.TopicID
	out.Same = !m.Reversed && len(m.Partitions) == out.Standby && out.Active == out.Standby
	for _, e := range v.standby.ends[t] {
		stop, ok := sourceStop(m, e.partition)
		out.Same = out.Same && ok && (stop == e.end || v.silent[t][e.partition])
	}
	return out
}

func records(ends []logEnd) int64 {
	var n int64
	for _, e := range ends {
		n += max(0, e.high-e.start)
	}
	return n
}
