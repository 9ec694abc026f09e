package activities

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// roundTrip produces value and consumes it again, with connections of its own:
// a client that consumes keeps a position.
func (a *Activities) roundTrip(ctx context.Context, s runbook.Site, topic, value string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	opts, err := kafkaOptions(s.Kafka.Bootstrap, s.Kafka.Security, a.resolve)
	if err != nil {
		return 0, err
	}
	client, err := kgo.NewClient(append(opts, kgo.ClientID("drawbridge-worker-record"), kgo.DisableIdempotentWrite(),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(callTimeout), kgo.DisableClientMetrics(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	sent, err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: 0, Key: []byte("drawbridge"), Value: []byte(value)}).First()
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(sent.Offset)}})
	for {
		got := client.PollFetches(ctx)
		if err := got.Err(); err != nil {
			return 0, fmt.Errorf("read offset %d: %w", sent.Offset, err)
		}
		for _, r := range got.Records() {
			if r.Offset != sent.Offset {
				continue
			}
			if string(r.Value) != value {
				return 0, fmt.Errorf("read offset %d: another record stands there than the one that was acknowledged", sent.Offset)
			}
			return sent.Offset, nil
		}
	}
}
