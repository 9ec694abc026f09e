package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ensureTopic creates the state topic where it is missing and answers with its
// number of partitions. It looks first: creating goes to one broker only, and
// that one may hang.
func ensureTopic(ctx context.Context, opts Options) (int32, error) {
	client, err := opts.client()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	adm := kadm.NewClient(client)
	for {
		n, err := lookOrCreate(ctx, adm, opts)
		if err == nil || !retriable(err) {
			return n, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(lookEvery):
		}
	}
}

const lookEvery = 200 * time.Millisecond

func lookOrCreate(ctx context.Context, adm *kadm.Client, opts Options) (int32, error) {
	topics, err := adm.ListTopics(ctx, opts.Topic)
	if err != nil {
		return 0, fmt.Errorf("describe: %w", err)
	}
	t := topics[opts.Topic]
	switch {
	case t.Err == nil && len(t.Partitions) > 0:
		return int32(len(t.Partitions)), nil
	case t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return 0, fmt.Errorf("describe: %w", t.Err)
	}
	policy := "compact"
	res, err := adm.CreateTopic(ctx, opts.Shards, opts.ReplicationFactor,
		map[string]*string{"cleanup.policy": &policy}, opts.Topic)
	if err == nil {
		err = res.Err
	}
	if err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	return opts.Shards, nil
}

// retriable: the cluster did not answer, or says itself that it may later. That
// the topic was made meanwhile shows at the next look.
func retriable(err error) bool {
	var ke *kerr.Error
	return !errors.As(err, &ke) || ke.Retriable || errors.Is(err, kerr.TopicAlreadyExists)
}

// client is one of the local cluster. A broker that hangs must not use up the
// time that the others need.
func (o Options) client(more ...kgo.Opt) (*kgo.Client, error) {
	opts := append(append([]kgo.Opt{}, o.Local...), kgo.RequestTimeoutOverhead(answerTimeout), kgo.DialTimeout(answerTimeout))
	return kgo.NewClient(append(opts, more...)...)
}
