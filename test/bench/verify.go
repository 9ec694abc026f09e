package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// verify reads a mirror topic whole and compares it, partition by partition, with what was loaded. It may hold nothing
// more: the ends of its log, as ends has them, are where it stops.
func verify(ctx context.Context, k *local.Kafka, want loaded, ends [partitions]int64) error {
	var errs []error
	for p, end := range ends {
		if end != want.digests[p].count {
			errs = append(errs, fmt.Errorf("partition %d ends at %d, the source has %d records", p, end, want.digests[p].count))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("the mirror %s is not exact: %w", want.topic, errors.Join(errs...))
	}
	cl, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.ConsumePartitions(fromStart(want.topic)), kgo.FetchMaxPartitionBytes(4*mib))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var got [partitions]digest
	for read := int64(0); read < want.records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the mirror %s: %w", want.topic, err)
		}
		for it := fetches.RecordIter(); !it.Done(); read++ {
			r := it.Next()
			got[r.Partition].add(r.Timestamp.UnixMilli(), r.Key, r.Value)
		}
	}
	for p := range got {
		if got[p] != want.digests[p] {
			errs = append(errs, fmt.Errorf("partition %d: %s; the source has %s", p, got[p], want.digests[p]))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("the mirror %s is not exact: %w", want.topic, errors.Join(errs...))
	}
	return nil
}

// fromStart are all partitions of a topic, from their first record.
func fromStart(topic string) map[string]map[int32]kgo.Offset {
	all := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		all[p] = kgo.NewOffset().AtStart()
	}
	return map[string]map[int32]kgo.Offset{topic: all}
}
