package activities

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// reach finds out whether a cluster answers; no answer within reachTimeout is
// none.
func (k *kafka) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	// ApiVersions would be answered before the login; metadata is not.
	_, err := k.metadata(ctx)
	return k.unreached(err)
}

// unreached says of a site what kept from reaching it, if anything did.
func (k *kafka) unreached(err error) error {
	var closed *kgo.ErrFirstReadEOF
	switch {
	case errors.As(err, &closed):
		// kgo guesses at TLS, which here was right until the cluster went away.
		return fmt.Errorf("cluster of site %s: its addresses accept connections and close them at once", k.site)
	case err != nil:
		return fmt.Errorf("cluster of site %s: %w", k.site, err)
	}
	return nil
}

// knock is reach for a cluster that did not answer a moment ago: every address that is
// known is asked, all at the same time. The client's own way, from one to the next with
// longer and longer pauses, takes 2.4 s of a worker that knows brokers which refuse
// connections, and clients wait meanwhile.
func (k *kafka) knock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	doors := append(k.client.SeedBrokers(), k.client.DiscoveredBrokers()...)
	answers := make(chan error, len(doors))
	for _, b := range doors {
		go func() { answers <- ask(ctx, b) }()
	}
	var err error
	for range doors {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return k.unreached(err)
}

// ask asks a broker for metadata. A connection that was open may have been dead for
// long; that is found out by the first try.
func ask(ctx context.Context, b *kgo.Broker) (err error) {
	var dial *net.OpError
	for range 2 {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		if _, err = b.Request(ctx, req); err == nil || ctx.Err() != nil || errors.As(err, &dial) && dial.Op == "dial" {
			return err
		}
	}
	return err
}

// metadata asks now, never from a cache. No topics are no topics.
func (k *kafka) metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t)
		req.Topics = append(req.Topics, rt)
	}
	return req.RequestWith(ctx, k.client)
}

func (k *kafka) clusterID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := k.metadata(ctx)
	if err != nil {
		return "", fmt.Errorf("cluster of site %s: %w", k.site, err)
	}
	if m.ClusterID == nil {
		return "", fmt.Errorf("cluster of site %s tells no cluster id", k.site)
	}
	return *m.ClusterID, nil
}

// brokers are the ids of the brokers that are up, in order.
func (k *kafka) brokers(ctx context.Context) ([]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := k.metadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("brokers of site %s: %w", k.site, err)
	}
	var ids []int32
	for _, b := range m.Brokers {
		ids = append(ids, b.NodeID)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return nil, fmt.Errorf("the cluster of site %s names no broker", k.site)
	}
	return ids, nil
}

// topics gives the leaders of each topic by partition; one that does not exist
// is left out.
func (k *kafka) topics(ctx context.Context, names ...string) (map[string]map[int32]int32, error) {
	out := map[string]map[int32]int32{}
	if len(names) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := k.metadata(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("topics of site %s: %w", k.site, err)
	}
	for _, t := range m.Topics {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
		case err != nil && !errors.Is(err, kerr.LeaderNotAvailable):
			return nil, fmt.Errorf("topic %s of site %s: %w", *t.Topic, k.site, err)
		case t.Topic != nil:
			out[*t.Topic] = map[int32]int32{}
			for _, p := range t.Partitions {
				out[*t.Topic][p.Partition] = p.Leader
			}
		}
	}
	return out, nil
}

func (k *kafka) grow(ctx context.Context, topic string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.UpdatePartitions(ctx, partitions, topic)
	if err == nil {
		err = got.Error()
	}
	if err != nil && !errors.Is(err, kerr.InvalidPartitions) { // somebody was quicker
		return fmt.Errorf("grow topic %s of site %s to %d partitions: %w", topic, k.site, partitions, err)
	}
	return nil
}

// Isolations and replica ids of ListOffsets.
const (
	asConsumer = -1 // log end as consumers see it: the high watermark
	asDebugger = -2 // the true log end
	committed  = 1  // the last stable offset
)

// offsets lists one kind of offset of every partition of topics.
func (k *kafka) offsets(ctx context.Context, parts map[string]map[int32]int32, timestamp int64, replica int32, isolation int8) (map[string]map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = replica, isolation
	for t, ps := range parts {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = t
		for p := range ps {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, timestamp, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	out := map[string]map[int32]int64{}
	for _, shard := range k.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, fmt.Errorf("offsets at site %s: %w", k.site, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			if out[t.Topic] == nil {
				out[t.Topic] = map[int32]int64{}
			}
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("offsets of %s partition %d at site %s: %w", t.Topic, p.Partition, k.site, err)
				}
				out[t.Topic][p.Partition] = p.Offset
			}
		}
	}
	for t, ps := range parts {
		for p := range ps {
			if _, ok := out[t][p]; !ok {
				return nil, fmt.Errorf("the cluster of site %s left %s partition %d out of its answer", k.site, t, p)
			}
		}
	}
	return out, nil
}

// MeasureCopy counts records by offsets (control records and gaps of compacted
// topics count too: it is an upper bound) and bytes by the leaders' log sizes.
func (a *Activities) MeasureCopy(ctx context.Context, in workflows.MeasureCopyInput) (workflows.MeasureCopyResult, error) {
	k, err := a.kafka(in.Source)
	if err != nil {
		return workflows.MeasureCopyResult{}, settle(err)
	}
	ends, err := k.ends(ctx, in.Topics)
	if err != nil {
		return workflows.MeasureCopyResult{}, settle(err)
	}
	parts, err := k.topics(ctx, in.Topics...)
	if err != nil {
		return workflows.MeasureCopyResult{}, settle(err)
	}
	sizes, err := k.bytes(ctx, parts)
	if err != nil {
		a.logger(in.Call).Info("log sizes are not told", "site", in.Source.Name, "error", err)
	}
	out := workflows.MeasureCopyResult{CopySize: runbook.CopySize{Bytes: -1}}
	if sizes != nil {
		out.Bytes = 0
	}
	for _, t := range in.Topics {
		if len(parts[t]) == 0 {
			continue
		}
		line := runbook.CopyLine{Topic: t, Records: records(slices.DeleteFunc(slices.Clone(ends), func(e logEnd) bool { return e.topic != t })), Bytes: -1}
		if sizes != nil {
			line.Bytes = sizes[t]
			out.Bytes += line.Bytes
		}
		out.Records += line.Records
		out.Lines = append(out.Lines, line)
	}
	out.Topics = len(out.Lines)
	if out.BytesPerSecond, out.MeasuredBy, err = a.copyRate(in.Call, in.Folder); err != nil {
		a.logger(in.Call).Warn("the rate of earlier copies is not known", "error", err)
	}
	out.CopySize = out.Foresee()
	return out, nil
}

// copyRate is that of the newest kept report that copied something.
func (a *Activities) copyRate(call workflows.Call, folder string) (rate float64, from string, err error) {
	all, err := a.kept(call, folder)
	var newest time.Time
	for _, r := range all {
		if !r.DryRun && r.CopyBytes > 0 && r.CopySeconds > 0 && r.Ended.After(newest) {
			newest, from, rate = r.Ended, r.OpID, float64(r.CopyBytes)/r.CopySeconds
		}
	}
	return rate, from, err
}

// bytes are the sizes of topics by the logs of their leaders.
func (k *kafka) bytes(ctx context.Context, parts map[string]map[int32]int32) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	for t, ps := range parts {
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic = t
		for p := range ps {
			rt.Partitions = append(rt.Partitions, p)
		}
		req.Topics = append(req.Topics, rt)
	}
	sizes := map[string]map[int32]int64{}
	for _, shard := range k.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, d := range shard.Resp.(*kmsg.DescribeLogDirsResponse).Dirs {
			if err := kerr.ErrorForCode(d.ErrorCode); err != nil {
				return nil, err
			}
			for _, t := range d.Topics {
				for _, p := range t.Partitions {
					if leader, ok := parts[t.Topic][p.Partition]; ok && leader == shard.Meta.NodeID && !p.IsFuture {
						if sizes[t.Topic] == nil {
							sizes[t.Topic] = map[int32]int64{}
						}
						sizes[t.Topic][p.Partition] = p.Size
					}
				}
			}
		}
	}
	out := map[string]int64{}
	for t, ps := range parts {
		for p := range ps {
			n, ok := sizes[t][p]
			if !ok {
				return nil, fmt.Errorf("no size of %s partition %d", t, p)
			}
			out[t] += n
		}
	}
	return out, nil
}

// settleACLs bounds how long an ACL change may take to reach every broker.
const settleACLs = 15 * time.Second
