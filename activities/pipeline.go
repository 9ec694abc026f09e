package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// maxTimestamp asks ListOffsets for the record with the greatest time (KIP-734,
// Kafka 3.0).
const maxTimestamp = -3

// InspectPipeline reads from the site's own cluster, without reading records.
func (a *Activities) InspectPipeline(ctx context.Context, in workflows.InspectPipelineInput) (workflows.InspectPipelineResult, error) {
	var out workflows.InspectPipelineResult
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	topics := in.Pipeline.Outputs
	if !in.Since.IsZero() {
		topics = in.Pipeline.Inputs
	}
	parts, err := k.topics(ctx, topics...)
	if err != nil {
		return out, settle(err)
	}
	for _, t := range topics {
		if len(parts[t]) == 0 {
			out.Missing = append(out.Missing, t)
			delete(parts, t)
		}
	}
	if len(parts) == 0 {
		return out, nil
	}
	if in.Since.IsZero() {
		out.Outputs, err = k.youngest(ctx, parts)
	} else {
		out.Inputs, err = k.places(ctx, in.Pipeline.Group, parts, in.Since)
	}
	return out, settle(err)
}

// youngest lists the greatest record time of each partition, in order.
func (k *kafka) youngest(ctx context.Context, parts map[string]map[int32]int32) ([]runbook.OutputEnd, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = asConsumer
	for _, t := range slices.Sorted(maps.Keys(parts)) {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = t
		for _, p := range slices.Sorted(maps.Keys(parts[t])) {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, maxTimestamp, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	var out []runbook.OutputEnd
	for _, shard := range k.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, fmt.Errorf("record times at site %s: %w", k.site, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("record times of %s partition %d at site %s: %w", t.Topic, p.Partition, k.site, err)
				}
				e := runbook.OutputEnd{Topic: t.Topic, Partition: p.Partition, Empty: p.Offset < 0 || p.Timestamp < 0}
				if !e.Empty {
					e.Youngest = time.UnixMilli(p.Timestamp).UTC()
				}
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b runbook.OutputEnd) int {
		if c := compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
	return out, nil
}

// places lists where a group stands on each partition, and the first record that
// is not older than since.
func (k *kafka) places(ctx context.Context, group string, parts map[string]map[int32]int32, since time.Time) ([]runbook.InputPlace, error) {
	const earliest, latest = -2, -1
	var got [3]map[string]map[int32]int64
	var err error
	for i, at := range []int64{earliest, latest, since.UnixMilli()} {
		if got[i], err = k.offsets(ctx, parts, at, asConsumer, 0); err != nil {
			return nil, err
		}
	}
	commits, err := k.commits(ctx, group)
	if err != nil {
		return nil, err
	}
	var out []runbook.InputPlace
	for _, t := range slices.Sorted(maps.Keys(parts)) {
		for _, p := range slices.Sorted(maps.Keys(parts[t])) {
			in := runbook.InputPlace{Topic: t, Partition: p, Synced: -1, Start: got[0][t][p], End: got[1][t][p], ByTime: got[2][t][p]}
			if o, ok := commits.Lookup(t, p); ok && o.Err == nil {
				in.Synced = o.At
			}
			out = append(out, in)
		}
	}
	return out, nil
}

// commits of a group; none of one that does not exist.
func (k *kafka) commits(ctx context.Context, group string) (kadm.OffsetResponses, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.FetchOffsets(ctx, group)
	if err == nil {
		err = got.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("offsets of group %s at site %s: %w", group, k.site, err)
	}
	return got, nil
}

// PlaceGroup commits what stands later than its place, and reads all of it back.
// What stands earlier is left: it repeats more and loses nothing.
func (a *Activities) PlaceGroup(ctx context.Context, in workflows.PlaceGroupInput) (workflows.PlaceGroupResult, error) {
	defer a.beat(ctx)()
	var out workflows.PlaceGroupResult
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	n, err := k.members(ctx, []string{in.Group})
	if err != nil {
		return out, settle(err)
	}
	if n[in.Group] > 0 {
		return out, refuse(workflows.ErrPrecondition, "group %s has %d members at %s already: it reads from where it stands, and outputs that were lost are not made again; stop it and retry, or skip", in.Group, n[in.Group], in.Site.Name)
	}
	late, err := k.late(ctx, in)
	if err != nil {
		return out, settle(err)
	}
	if len(late) > 0 {
		short, cancel := context.WithTimeout(ctx, callTimeout)
		err := k.adm.CommitAllOffsets(short, in.Group, late)
		cancel()
		if err != nil {
			return out, settle(fmt.Errorf("place group %s at site %s: %w", in.Group, in.Site.Name, err))
		}
		late.Each(func(kadm.Offset) { out.Written++ })
		if late, err = k.late(ctx, in); err != nil {
			return out, settle(err)
		}
		if len(late) > 0 {
			return out, settle(fmt.Errorf("group %s was placed at site %s and stands elsewhere when read back: somebody else commits for it; stop the group", in.Group, in.Site.Name))
		}
	}
	for _, p := range in.Places {
		if p.Skipped == "" {
			out.Standing++
		}
	}
	return out, nil
}

// late are the places that the group stands behind, to be committed.
func (k *kafka) late(ctx context.Context, in workflows.PlaceGroupInput) (kadm.Offsets, error) {
	have, err := k.commits(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	out := kadm.Offsets{}
	for _, p := range in.Places {
		if p.Skipped != "" {
			continue
		}
		if o, ok := have.Lookup(p.Topic, p.Partition); !ok || o.At < 0 || o.At > p.At {
			out.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: p.At, LeaderEpoch: -1, Metadata: "placed by " + in.Call.OperationID})
		}
	}
	return out, nil
}
