package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
)

// follower is the pair's client: it follows the record as `drctl exec` does, and works where that sends it.
type follower struct {
	stop  context.CancelFunc
	ended chan struct{}
	when  time.Time // it had written and read at the standby
	err   error
}

// follow starts the client. Only its move is measured: at home, which is dead, it does nothing.
func (s *stage) follow(ctx context.Context) (*follower, error) {
	w, err := client.New(client.Config{
		Pair: s.Pair(), StateDir: filepath.Join(s.dir, "client"), Log: slog.New(slog.DiscardHandler),
		Consuls: []client.Consul{{Site: s.Home.Name, Address: s.Home.Consul.Address()}, {Site: s.Standby.Name, Address: s.Standby.Consul.Address()}},
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	f := &follower{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		var cl *kgo.Client
		for u := range w.Watch(ctx) {
			if u.Record.Active[0] != s.Standby.Name || u.Record.Phase == record.Frozen || cl != nil {
				continue
			}
			if cl, err = s.member(); err != nil {
				f.err = err
				return
			}
			defer cl.Close()
			if f.err = work(ctx, cl, s.topics[0]); f.err != nil {
				return
			}
			f.when = time.Now()
			go func() {
				for ctx.Err() == nil { // stays a member
					cl.PollFetches(ctx)
				}
			}()
		}
	}()
	return f, nil
}

// member is a client in the group, on all topics.
func (s *stage) member() (*kgo.Client, error) {
	return kgo.NewClient(append(s.Standby.Kafka.DirectOptions(s.Login(app)), kgo.ConsumerGroup(group), kgo.ConsumeTopics(s.topics...),
		kgo.DisableAutoCommit(), kgo.FetchMaxWait(200*time.Millisecond))...)
}

// work writes a record and reads anything.
func work(ctx context.Context, cl *kgo.Client, topic string) error {
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("moved")}).FirstErr(); err != nil {
		return fmt.Errorf("the client writes to %s: %w", topic, err)
	}
	for {
		got := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := got.Err(); err != nil {
			return fmt.Errorf("the client reads: %w", err)
		}
		if !got.Empty() {
			return nil
		}
	}
}

// moved waits until the client has.
func (f *follower) moved(ctx context.Context) (time.Time, error) {
	f.close()
	if f.err != nil || f.when.IsZero() {
		return f.when, fmt.Errorf("the client has not moved: %w", f.err)
	}
	return f.when, nil
}

func (f *follower) close() {
	f.stop()
	<-f.ended
}
