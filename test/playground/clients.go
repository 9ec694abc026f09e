package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// The tutorial's application knows nothing of Drawbridge: it goes where the environment says, which drctl exec sets, and
// ends in order when it is told to.

func place(getenv func(string) string, opts ...kgo.Opt) (*kgo.Client, error) {
	servers := getenv("DRAWBRIDGE_BOOTSTRAP")
	if servers == "" {
		return nil, errors.New("DRAWBRIDGE_BOOTSTRAP is not set: run this under drctl exec, with --credentials")
	}
	login := plain.Auth{User: getenv("KAFKA_USERNAME"), Pass: getenv("KAFKA_PASSWORD")}
	return kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(servers, ",")...), kgo.SASL(login.AsMechanism()), kgo.DialTimeout(2*time.Second))...)
}

// produce writes numbered records until it is told to end, and says how many were acknowledged.
func produce(ctx context.Context, getenv func(string) string, topic string, out io.Writer) error {
	client, err := place(getenv, kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		text := fmt.Sprintf("order %d from %s", n, getenv("DRAWBRIDGE_SITE"))
		if err := client.ProduceSync(ctx, kgo.StringRecord(text)).FirstErr(); err != nil {
			fmt.Fprintf(out, "produced %d records at %s\n", n-1, getenv("DRAWBRIDGE_SITE"))
			return err
		}
		if n == 1 {
			fmt.Fprintf(out, "first record acknowledged at %s\n", getenv("DRAWBRIDGE_SITE"))
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(out, "produced %d records at %s\n", n, getenv("DRAWBRIDGE_SITE"))
			return nil
		case <-tick.C:
		}
	}
}

// consume prints records until it is told to end, then commits and leaves its group.
func consume(ctx context.Context, getenv func(string) string, topic, group string, out io.Writer) error {
	client, err := place(getenv, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close() // commits nothing by itself, but leaves the group
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			return client.CommitUncommittedOffsets(last)
		}
		fetches.EachError(func(t string, p int32, err error) { fmt.Fprintf(out, "%s/%d: %v\n", t, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Fprintf(out, "read at %s: %s/%d offset %d: %s\n", getenv("DRAWBRIDGE_SITE"), r.Topic, r.Partition, r.Offset, r.Value)
		})
	}
}
