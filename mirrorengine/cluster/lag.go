package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Lags tells where a group stands in each partition in which it has committed an
// offset, by topic and partition. Partitions whose topic is gone are left out:
// there is no end that they could lag behind.
func (r *Reader) Lags(ctx context.Context, id string) ([]api.ConsumerLag, error) {
	g, err := r.group(ctx, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	committed, err := r.adm.FetchOffsets(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", id, err)
	}
	offsets := committed.Offsets()
	topics := make([]string, 0, len(offsets))
	for t := range offsets {
		topics = append(topics, t)
	}
	if len(topics) == 0 {
		return nil, nil
	}
	ends, err := r.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("ends of the partitions that group %s reads: %w", id, err)
	}
	var out []api.ConsumerLag
	var errs []error
	offsets.Each(func(o kadm.Offset) {
		end, ok := ends.Lookup(o.Topic, o.Partition)
		switch {
		case !ok, errors.Is(end.Err, kerr.UnknownTopicOrPartition), o.At < 0:
			return
		case end.Err != nil: // left out, it would look as if nothing lagged there
			errs = append(errs, fmt.Errorf("end of topic %s partition %d, which group %s reads: %w", o.Topic, o.Partition, id, end.Err))
			return
		}
		lag := api.ConsumerLag{
			ConsumerGroupID: id, TopicName: o.Topic, PartitionID: o.Partition,
			// An offset beyond the end (a truncated log, a group that was set ahead) is no negative lag.
			CurrentOffset: o.At, LogEndOffset: end.Offset, Lag: max(0, end.Offset-o.At),
		}
		if m, ok := g.reader(o.Topic, o.Partition); ok {
			lag.ConsumerID, lag.ClientID, lag.InstanceID = m.id, m.client, m.instance
		}
		out = append(out, lag)
	})
	slices.SortFunc(out, func(a, b api.ConsumerLag) int {
		return cmp.Or(cmp.Compare(a.TopicName, b.TopicName), cmp.Compare(a.PartitionID, b.PartitionID))
	})
	return out, errors.Join(errs...)
}

// reader is the member that reads a partition.
func (g group) reader(topic string, partition int32) (member, bool) {
	for _, m := range g.members {
		if m.reads.Lookup(topic, partition) {
			return m, true
		}
	}
	return member{}, false
}

// LagSummary is the largest of a group's lags, the first of equal ones, and the
// sum of all. A group that has committed nothing has none.
func (r *Reader) LagSummary(ctx context.Context, id string) (api.LagSummary, error) {
	lags, err := r.Lags(ctx, id)
	if err != nil {
		return api.LagSummary{}, err
	}
	if len(lags) == 0 {
		return api.LagSummary{}, api.NotFound("Consumer group '%s' has committed no offset; it lags nowhere.", id)
	}
	worst, total := lags[0], int64(0)
	for _, l := range lags {
		total += l.Lag
		if l.Lag > worst.Lag {
			worst = l
		}
	}
	return api.LagSummary{
		ConsumerGroupID:  id,
		MaxLagConsumerID: worst.ConsumerID, MaxLagInstanceID: worst.InstanceID, MaxLagClientID: worst.ClientID,
		MaxLagTopicName: worst.TopicName, MaxLagPartitionID: worst.PartitionID, MaxLag: worst.Lag, TotalLag: total,
	}, nil
}
