package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// LinkClients begins the client id of every connection that an engine makes to
// a source.
const LinkClients = "drawbridge-link-"

// HoldLink lets nothing pass between the standby's engine and the home cluster:
// what is acknowledged at home from now on lags.
func (s *System) HoldLink() { s.Home.Kafka.Proxies().Hold(LinkClients) }

// ReleaseLink ends HoldLink.
func (s *System) ReleaseLink() { s.Home.Kafka.Proxies().Release(LinkClients) }

// Mirrored waits until the mirrors of topics on the link from source to
// destination are ACTIVE and have what stands at the source now: not what the
// engine says, but what the source's own log ends are.
func (s *System) Mirrored(ctx context.Context, source, destination *Site, topics ...string) error {
	admin, err := source.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("log ends at %s: %w", source.Name, err)
	}
	link := Link(source, destination)
	return local.WaitFor(ctx, fmt.Sprintf("%v mirrored by %s", topics, link), func(ctx context.Context) error {
		progress, err := destination.Engine.Client().Progress(ctx, link)
		if err != nil {
			return err
		}
		return Behind(progress, ends, topics...)
	})
}

// Behind names the first partition that lacks something, nil if the mirrors of
// topics are ACTIVE and have all that stands before the source's ends.
func Behind(progress api.Progress, ends kadm.ListedOffsets, topics ...string) error {
	for _, topic := range topics {
		found := false
		for _, m := range progress.Mirrors {
			if m.SourceTopic != topic {
				continue
			}
			found = true
			if m.Status != "ACTIVE" {
				return fmt.Errorf("mirror %s is %s %s", topic, m.Status, m.Reason)
			}
			if len(m.Partitions) != len(ends[topic]) {
				return fmt.Errorf("mirror %s has %d of %d partitions", topic, len(m.Partitions), len(ends[topic]))
			}
			for _, p := range m.Partitions {
				if end, _ := ends.Lookup(topic, p.Partition); p.SourcePosition < end.Offset {
					return fmt.Errorf("%s/%d is at %d of %d %s", topic, p.Partition, p.SourcePosition, end.Offset, p.Stalled)
				}
			}
		}
		if !found {
			return fmt.Errorf("%s is not mirrored", topic)
		}
	}
	return nil
}

// LagZero waits until the engine at destination reports lag 0 on every partition
// of a mirror, by the contract's own call.
func (s *System) LagZero(ctx context.Context, source, destination *Site, topic string) error {
	link := Link(source, destination)
	return local.WaitFor(ctx, fmt.Sprintf("lag 0 of %s on %s", topic, link), func(ctx context.Context) error {
		m, err := destination.Engine.Client().Mirror(ctx, link, topic, true)
		if err != nil {
			return err
		}
		if m.MirrorStatus != "ACTIVE" {
			return fmt.Errorf("mirror is %s (%s)", m.MirrorStatus, m.MirrorTopicError)
		}
		if len(m.MirrorLags) == 0 {
			return errors.New("no partition is reported yet")
		}
		for _, lag := range m.MirrorLags {
			if lag.Lag != 0 {
				return fmt.Errorf("partition %d lags %d", lag.Partition, lag.Lag)
			}
		}
		return nil
	})
}

// GroupFollowed waits until the engine at destination has seen at least offset
// as the group's commit at the source, and has written its like.
func (s *System) GroupFollowed(ctx context.Context, source, destination *Site, group, topic string, partition int32, offset int64) error {
	link := Link(source, destination)
	return local.WaitFor(ctx, fmt.Sprintf("group %s at %d of %s/%d on %s", group, offset, topic, partition, destination.Name), func(ctx context.Context) error {
		sync, err := destination.Engine.Client().Groups(ctx, link)
		if err != nil {
			return err
		}
		for _, g := range sync.Groups {
			if g.Group == group && g.Topic == topic && g.Partition == partition {
				if g.SourceOffset >= offset && g.DestOffset >= g.Wanted && g.Owned {
					return nil
				}
				return fmt.Errorf("source %d, destination %d, owned %t %s", g.SourceOffset, g.DestOffset, g.Owned, g.Problem)
			}
		}
		return fmt.Errorf("link %s has not seen the group yet", link)
	})
}

// Record reads the record of truth from a site's Consul.
func (s *System) Record(ctx context.Context, site *Site) (record.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Read(ctx, client.Consul{Site: site.Name, Address: site.Consul.Address()}, s.Pair())
}

// Read returns every record of a topic as a reader of committed data sees it,
// by partition, up to the log's end at the time of the call.
func (s *Site) Read(ctx context.Context, topic string) (map[int32][]*kgo.Record, error) {
	admin, err := s.Admin()
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("log ends of %s at %s: %w", topic, s.Name, err)
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("log starts of %s at %s: %w", topic, s.Name, err)
	}
	from := map[int32]kgo.Offset{}
	left := map[int32]int64{} // partition → its end, until it is reached
	out := map[int32][]*kgo.Record{}
	for p, end := range ends[topic] {
		out[p] = nil
		start, _ := starts.Lookup(topic, p)
		if start.Offset < end.Offset {
			from[p], left[p] = kgo.NewOffset().At(start.Offset), end.Offset
		}
	}
	if len(left) == 0 {
		return out, nil
	}
	cl, err := s.Client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.ClientID("drawbridge-checker"))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s at %s, %d partitions to go: %w", topic, s.Name, len(left), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, open := left[r.Partition]
			if !open || r.Offset >= end {
				return
			}
			if !r.Attrs.IsControl() {
				out[r.Partition] = append(out[r.Partition], r)
			}
			if r.Offset == end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return out, nil
}

// Settled waits until no task of the link from source to destination reports a fault: groups, configs and guards are in step.
func (s *System) Settled(ctx context.Context, source, destination *Site) error {
	link := Link(source, destination)
	return local.WaitFor(ctx, "the tasks of "+link+" without a fault", func(ctx context.Context) error {
		got, err := destination.Engine.Client().Link(ctx, link, true)
		if err != nil {
			return err
		}
		for _, t := range got.Tasks {
			if t.State == "IN_ERROR" { // an ACTIVE task may have notes
				return fmt.Errorf("%s is in error: %v", t.TaskName, t.Errors)
			}
		}
		return nil
	})
}
