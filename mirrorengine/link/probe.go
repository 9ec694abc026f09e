package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// probeWriterFence finds out on a scratch topic whether this cluster lets a
// marker fence our own writer: write a batch, put the marker of the next epoch
// behind it, write under the old epoch again. Apache Kafka refuses that; other
// brokers may not, and some do not let us write markers at all.
func (m *Manager) probeWriterFence(ctx context.Context) (string, error) {
	topic := m.opts.StateTopic + "_probe"
	var level string
	err := m.retry(ctx, "probe the writer fence", func(ctx context.Context) error {
		err := m.scratchTopic(ctx, topic)
		if err == nil {
			level, err = m.tryWriterFence(ctx, topicPartition{topic, 0})
		}
		return err
	})
	if err == nil {
		m.log.Info("writer fence probed", "writer_fence", level)
	}
	return level, err
}

// scratchTopic makes the probe's topic where it is missing.
func (m *Manager) scratchTopic(ctx context.Context, topic string) error {
	if err := m.local.refresh(ctx, topic); err != nil {
		return err
	}
	if t, ok := m.local.topic(topic); ok && t.err == nil {
		return nil
	}
	retention := "60000"
	res, err := m.local.adm.CreateTopic(ctx, 1, m.opts.ReplicationFactor, map[string]*string{"retention.ms": &retention}, topic)
	if err == nil {
		err = res.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("scratch topic %s for the writer fence: %w", topic, err)
	}
	m.local.forget(topic)
	return nil
}

func (m *Manager) tryWriterFence(ctx context.Context, tp topicPartition) (string, error) {
	id, err := m.newProducerID(ctx)
	if err != nil {
		return "", err
	}
	stamp := batch.Stamp{ProducerID: id}
	if err := m.scratch(ctx, tp, stamp); err != nil {
		return "", err
	}
	err = m.fence(ctx, []fenceTarget{{tp, stamp}})[tp]
	switch {
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return api.WriterFenceNotPermitted, nil
	case err != nil:
		return "", err
	}
	stamp.BaseSequence = 1
	err = m.scratch(ctx, tp, stamp)
	switch {
	case errors.Is(err, kerr.InvalidProducerEpoch):
		return api.WriterFenceEnforced, nil
	case err == nil:
		return api.WriterFenceNotEnforced, nil
	}
	return "", err
}

func (m *Manager) scratch(ctx context.Context, tp topicPartition, stamp batch.Stamp) error {
	raw, err := batch.Encode([]batch.Record{{Value: []byte("probe")}}, batch.None, stamp)
	if err != nil {
		return err
	}
	broker, id, err := m.local.leader(ctx, tp.topic, tp.partition)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(requestTimeout.Milliseconds())
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = tp.topic, id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = tp.partition, raw
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := request[*kmsg.ProduceResponse](ctx, m.local, broker, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
}
