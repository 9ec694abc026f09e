package activities

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// WriteDrill makes the drill's topic and fills it. Each partition's records are known
// by their place, so that an attempt goes on where the one before ended.
func (a *Activities) WriteDrill(ctx context.Context, in workflows.WriteDrillInput) (workflows.DrillCopyResult, error) {
	defer a.beat(ctx)()
	topic := runbook.DrillTopic(in.Call.Pair)
	k, err := a.kafka(in.Site)
	if err == nil {
		err = k.make(ctx, topic, in.Partitions)
	}
	var have runbook.DrillCopy
	if err == nil {
		have, err = a.drillCopy(ctx, in.Site, in.Call.Pair)
	}
	if err == nil {
		err = a.fill(ctx, in, have)
	}
	if err == nil {
		offsets := kadm.Offsets{}
		for p := range in.Partitions {
			offsets.AddOffset(topic, p, share(in, p)/2, -1)
		}
		short, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err = k.adm.CommitAllOffsets(short, runbook.DrillGroup(in.Call.Pair), offsets)
	}
	if err == nil {
		have, err = a.drillCopy(ctx, in.Site, in.Call.Pair)
	}
	if err != nil {
		return workflows.DrillCopyResult{}, settle(fmt.Errorf("drill topic %s at site %s: %w", topic, in.Site.Name, err))
	}
	return workflows.DrillCopyResult{Copy: have}, nil
}

// share is how many of the records go into a partition.
func share(in workflows.WriteDrillInput, partition int32) int64 {
	n := int64(in.Records) / int64(in.Partitions)
	if int64(partition) < int64(in.Records)%int64(in.Partitions) {
		n++
	}
	return n
}

// make creates a topic with the cluster's default replication, unless it is there.
func (k *kafka) make(ctx context.Context, topic string, partitions int32) error {
	short, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.CreateTopic(short, partitions, -1, nil, topic)
	if err == nil {
		err = got.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create: %w", err)
	}
	done, err := poll(ctx, callTimeout, func(ctx context.Context) (bool, error) {
		have, err := k.topics(ctx, topic)
		ready := len(have[topic]) == int(partitions)
		for _, leader := range have[topic] {
			ready = ready && leader >= 0
		}
		return ready, err
	})
	if err == nil && !done {
		err = notYet("topic %s does not show %d partitions with leaders yet", topic, partitions)
	}
	return err
}

func (a *Activities) fill(ctx context.Context, in workflows.WriteDrillInput, have runbook.DrillCopy) error {
	opts, err := kafkaOptions(in.Site.Kafka.Bootstrap, in.Site.Kafka.Security, a.resolve)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.ClientID("drawbridge-worker-drill"), kgo.RecordDeliveryTimeout(6*callTimeout),
		kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for p := range in.Partitions {
		from := int64(0)
		for _, h := range have.Partitions {
			if h.Partition == p {
				from = h.Records
			}
		}
		for i := from; i < share(in, p); i++ {
			records = append(records, &kgo.Record{
				Topic: runbook.DrillTopic(in.Call.Pair), Partition: p, Key: fmt.Appendf(nil, "%d/%d", p, i), Value: fmt.Appendf(nil, "%s %d/%d", in.Call.OperationID, p, i),
				Headers: []kgo.RecordHeader{{Key: "drill", Value: []byte(in.Call.OperationID)}},
			})
		}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// ReadDrill reads what stands of the drill at a site.
func (a *Activities) ReadDrill(ctx context.Context, in workflows.ReadDrillInput) (workflows.DrillCopyResult, error) {
	defer a.beat(ctx)()
	var have runbook.DrillCopy
	// A topic that was made a moment ago is unknown to the client, and to some brokers, until they have heard of it.
	_, err := poll(ctx, callTimeout, func(ctx context.Context) (bool, error) {
		var err error
		have, err = a.drillCopy(ctx, in.Site, in.Call.Pair)
		return err == nil, err
	})
	if err != nil {
		return workflows.DrillCopyResult{}, settle(fmt.Errorf("drill topic %s at site %s: %w", runbook.DrillTopic(in.Call.Pair), in.Site.Name, err))
	}
	return workflows.DrillCopyResult{Copy: have}, nil
}

// drillCopy reads every record between the log's ends, as they are when it begins.
func (a *Activities) drillCopy(ctx context.Context, s runbook.Site, pair string) (runbook.DrillCopy, error) {
	out := runbook.DrillCopy{Site: s.Name, Partitions: []runbook.DrillPartition{}}
	topic := runbook.DrillTopic(pair)
	k, err := a.kafka(s)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, 6*callTimeout)
	defer cancel()
	starts, err := k.adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return out, err
	}
	ends, err := k.adm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return out, err
	}
	group, err := k.adm.FetchOffsets(ctx, runbook.DrillGroup(pair))
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return out, fmt.Errorf("group %s: %w", runbook.DrillGroup(pair), err)
	}
	sums := map[int32]hash.Hash{}
	at := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	for p := range int32(len(ends[topic])) { //nolint:gosec // partitions
		end := ends[topic][p].Offset
		row := runbook.DrillPartition{Partition: p, Committed: -1}
		if c, ok := group.Lookup(topic, p); ok {
			row.Committed = c.At
		}
		out.Partitions = append(out.Partitions, row)
		sums[p] = sha256.New()
		if start := starts[topic][p].Offset; start < end {
			at[p], left[p] = kgo.NewOffset().At(start), end
		}
	}
	if err := a.readThrough(ctx, s, topic, at, left, func(r *kgo.Record) {
		out.Partitions[r.Partition].Records++
		digest(sums[r.Partition], r)
	}); err != nil {
		return out, err
	}
	for i := range out.Partitions {
		out.Partitions[i].Digest = hex.EncodeToString(sums[out.Partitions[i].Partition].Sum(nil))
	}
	return out, nil
}

// readThrough gives each record below the ends, which are in left by partition.
func (a *Activities) readThrough(ctx context.Context, s runbook.Site, topic string, at map[int32]kgo.Offset, left map[int32]int64, each func(*kgo.Record)) error {
	if len(left) == 0 {
		return nil
	}
	opts, err := kafkaOptions(s.Kafka.Bootstrap, s.Kafka.Security, a.resolve)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.ClientID("drawbridge-worker-drill"), kgo.DisableClientMetrics(),
		kgo.KeepControlRecords(), // the end of a mirror writes markers, which may be a log's last
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))...)
	if err != nil {
		return err
	}
	defer client.Close()
	for len(left) > 0 {
		got := client.PollFetches(ctx)
		if err := got.Err(); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		got.EachRecord(func(r *kgo.Record) {
			if r.Offset >= left[r.Partition] {
				return
			}
			if !r.Attrs.IsControl() {
				each(r)
			}
			if r.Offset == left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// digest adds what a mirror must keep of a record.
func digest(h hash.Hash, r *kgo.Record) {
	write := func(b []byte) {
		_ = binary.Write(h, binary.BigEndian, int64(len(b))) // a hash takes everything
		h.Write(b)
	}
	_ = binary.Write(h, binary.BigEndian, []int64{r.Offset, r.Timestamp.UnixMilli(), int64(len(r.Headers))})
	write(r.Key)
	write(r.Value)
	for _, header := range r.Headers {
		write([]byte(header.Key))
		write(header.Value)
	}
}

// ClearDrill removes the drill's link first, so that nothing mirrors into what goes
// next. A token that a dead drill left open is revoked: nothing else uses the link.
func (a *Activities) ClearDrill(ctx context.Context, in workflows.ClearDrillInput) (workflows.ClearDrillResult, error) {
	defer a.beat(ctx)()
	var out workflows.ClearDrillResult
	pair := in.Call.Pair
	if own := runbook.DrillLink(pair, runbook.Link{}).Name; in.Link.Name != own {
		return out, refuse(workflows.ErrRefused, "link %s is not the drill's own, %s: it is not deleted", in.Link.Name, own)
	}
	was, err := a.dropLink(ctx, in)
	if err != nil {
		return out, settle(fmt.Errorf("delete link %s at engine %s: %w", in.Link.Name, in.Standby.Name, err))
	}
	if was {
		out.Removed = append(out.Removed, "link "+in.Link.Name)
	}
	for _, s := range []runbook.Site{in.Standby, in.Active} {
		removed, err := a.dropDrill(ctx, s, pair)
		out.Removed = append(out.Removed, removed...)
		if err != nil {
			return out, settle(fmt.Errorf("clear the drill at site %s: %w", s.Name, err))
		}
	}
	return out, nil
}

func (a *Activities) dropLink(ctx context.Context, in workflows.ClearDrillInput) (was bool, err error) {
	e, err := a.engine(in.Standby)
	if err != nil {
		return false, err
	}
	op, err := e.Operation(ctx, in.Link.Name)
	switch {
	case gone(err):
		return false, nil
	case err != nil:
		return false, err
	case op.State == "open":
		if _, err := e.RevokeOperation(ctx, in.Link.Name, api.Operation{OperationID: op.OperationID, Epoch: op.Epoch}); err != nil && !gone(err) {
			return true, err
		}
	}
	if err := e.DeleteLink(ctx, in.Link.Name, true, false); err != nil && !gone(err) {
		return true, err
	}
	_, err = e.Link(ctx, in.Link.Name, false)
	if err == nil {
		err = notYet("the engine still lists it")
	}
	if gone(err) {
		err = nil
	}
	return true, err
}

func (a *Activities) dropDrill(ctx context.Context, s runbook.Site, pair string) (removed []string, err error) {
	k, err := a.kafka(s)
	if err != nil {
		return nil, err
	}
	topic, group := runbook.DrillTopic(pair), runbook.DrillGroup(pair)
	have, err := k.topics(ctx, topic)
	if err != nil {
		return nil, err
	}
	if len(have[topic]) > 0 {
		if err := k.delete(ctx, []string{topic}); err != nil {
			return nil, err
		}
		removed = append(removed, fmt.Sprintf("topic %s at %s", topic, s.Name))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := k.adm.DeleteGroup(ctx, group)
	if err == nil {
		err = got.Err
	}
	switch {
	case err == nil:
		removed = append(removed, fmt.Sprintf("group %s at %s", group, s.Name))
	case errors.Is(err, kerr.GroupIDNotFound):
		err = nil
	default:
		err = fmt.Errorf("delete group %s: %w", group, err)
	}
	return removed, err
}
