package activities

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The canary asks every broker whether its principal may write to a topic, by a
// batch with a wrong CRC that no broker stores. Who may write hears
// CORRUPT_MESSAGE from the leader and NOT_LEADER_OR_FOLLOWER from the others,
// who may not TOPIC_AUTHORIZATION_FAILED from all: the authorizer is asked
// first (KafkaApis.handleProduceRequest; test/brokerfacts).

// wrongCRC is one record in one batch, not idempotent, of 1970, whose checksum
// is wrong on purpose.
func wrongCRC() []byte {
	rec := kmsg.Record{Key: []byte("drawbridge"), Value: []byte("canary")}
	rec.Length = int32(len(rec.AppendTo(nil))) - 1 // its own length, 0, took one byte
	records := rec.AppendTo(nil)
	const header, untilLength, untilCRC, untilAttributes = 61, 12, 17, 21
	b := kmsg.RecordBatch{
		Length: int32(header - untilLength + len(records)), PartitionLeaderEpoch: -1, Magic: 2,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: records,
	}
	raw := b.AppendTo(nil)
	crc := crc32.Checksum(raw[untilAttributes:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(raw[untilCRC:], ^crc)
	return raw
}

// song is what the canary heard.
type song struct {
	brokers int
	through []string // "topic at broker n", let through
	refused []string
	other   []string // no answer, or none to the point
	stored  string   // where the batch was taken in spite of its checksum
}

func (s song) allThrough() bool { return len(s.through) > 0 && len(s.refused)+len(s.other) == 0 }
func (s song) allRefused() bool { return len(s.refused) > 0 && len(s.through)+len(s.other) == 0 }

// sing asks every broker about every partition of the topics, one request per
// broker. Topics that do not exist are told in other.
func (a *Activities) sing(ctx context.Context, s runbook.Site, topics []string) (song, error) {
	var out song
	c, err := a.canary(s)
	if err != nil {
		return out, err
	}
	if c == nil {
		return out, fmt.Errorf("site %s has no canary principal in the plan", s.Name)
	}
	k, err := a.kafka(s)
	if err != nil {
		return out, err
	}
	parts, err := k.topics(ctx, topics...)
	if err != nil {
		return out, err
	}
	brokers, err := k.brokers(ctx)
	if err != nil {
		return out, err
	}
	out.brokers = len(brokers)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, int32(callTimeout.Milliseconds())
	for _, t := range topics {
		if len(parts[t]) == 0 {
			out.other = append(out.other, fmt.Sprintf("topic %s does not exist at %s", t, s.Name))
			continue
		}
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic = t
		for p := range parts[t] {
			rp := kmsg.NewProduceRequestTopicPartition()
			rp.Partition, rp.Records = p, wrongCRC()
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	if len(req.Topics) == 0 {
		return out, nil
	}
	for _, b := range brokers {
		c.singAt(ctx, b, req, parts, &out)
		if out.stored != "" {
			// Not once more: nothing may be written into a user's topic.
			return out, refuse(workflows.ErrRefused, "broker %d of site %s stored a batch with a wrong checksum in %s: it is no Kafka as we know it, and no canary can be used; remove canary from the plan's site, and that record", b, s.Name, out.stored)
		}
	}
	return out, ctx.Err()
}

func (k *kafka) singAt(ctx context.Context, broker int32, req *kmsg.ProduceRequest, parts map[string]map[int32]int32, out *song) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := k.client.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		out.other = append(out.other, fmt.Sprintf("broker %d: %v", broker, err))
		return
	}
	told := map[string]int{}
	for _, t := range res.(*kmsg.ProduceResponse).Topics {
		through, refused := false, false
		for _, p := range t.Partitions {
			told[t.Topic]++
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case errors.Is(err, kerr.CorruptMessage), errors.Is(err, kerr.NotLeaderForPartition):
				through = true
			case errors.Is(err, kerr.TopicAuthorizationFailed):
				refused = true
			case err == nil:
				out.stored = fmt.Sprintf("%s/%d at offset %d", t.Topic, p.Partition, p.BaseOffset)
			default:
				out.other = append(out.other, fmt.Sprintf("%s/%d at broker %d: %v", t.Topic, p.Partition, broker, err))
			}
		}
		where := fmt.Sprintf("%s at broker %d", t.Topic, broker)
		if through {
			out.through = append(out.through, where)
		}
		if refused {
			out.refused = append(out.refused, where)
		}
	}
	for _, t := range req.Topics {
		if told[t.Topic] < len(parts[t.Topic]) {
			out.other = append(out.other, fmt.Sprintf("broker %d left %s out of its answer", broker, t.Topic))
		}
	}
}

// ProveWritable asks until every broker lets the canary through, for at most
// Within.
func (a *Activities) ProveWritable(ctx context.Context, in workflows.ProveWritableInput) (workflows.ProveWritableResult, error) {
	defer a.beat(ctx)()
	var out workflows.ProveWritableResult
	if in.Site.Canary == nil {
		out.Refused = []string{fmt.Sprintf("site %s has no canary principal in the plan", in.Site.Name)}
		return out, nil
	}
	var err error
	out.Writable, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		heard, err := a.sing(ctx, in.Site, in.Topics)
		if err != nil {
			return false, err
		}
		out.Brokers = heard.brokers
		out.Refused = append(heard.refused, heard.other...)
		return heard.allThrough(), nil
	})
	return out, settle(err)
}

// ProduceConsumeCanary writes one record into the pair's own canary topic and
// reads it back from where it landed. A second attempt writes a second record:
// nobody reads that topic but this step.
func (a *Activities) ProduceConsumeCanary(ctx context.Context, in workflows.ProduceConsumeCanaryInput) (workflows.ProduceConsumeCanaryResult, error) {
	defer a.beat(ctx)()
	out := workflows.ProduceConsumeCanaryResult{Topic: runbook.CanaryTopic(in.Call.Pair)}
	if in.Topic != "" {
		if in.Topic != runbook.DrillTopic(in.Call.Pair) {
			return out, refuse(workflows.ErrRefused, "topic %s is not the pair's own: nothing is written there", in.Topic)
		}
		out.Topic = in.Topic
	}
	began := time.Now()
	value := in.Call.OperationID + " " + in.Call.Step
	offset, err := a.roundTrip(ctx, in.Site, out.Topic, value)
	if err != nil {
		return out, settle(fmt.Errorf("write and read a record of topic %s at site %s: %w", out.Topic, in.Site.Name, err))
	}
	out.Offset, out.Millis = offset, time.Since(began).Milliseconds()
	return out, nil
}
