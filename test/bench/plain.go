package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// plainMirror is a client as anybody would write it first: it polls records and produces them. It is a process of its own
// (bench plain), one for each topic.
type plainMirror struct {
	stage *stage
	proc  *local.Process
}

func (p *plainMirror) name() string            { return measure.Plain }
func (p *plainMirror) process() *local.Process { return p.proc }

func (s *stage) startPlain() (*plainMirror, error) {
	// Its topic is told by a file, since it must run before the topic is there to mirror.
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &plainMirror{stage: s}
	dir, err := os.MkdirTemp(s.dir, "plain-")
	if err != nil {
		return nil, err
	}
	p.proc, err = local.Start(local.Spec{
		Name: "plain client", Path: self, Args: []string{"plain"}, LogFile: filepath.Join(dir, "plain.log"),
		Env: []string{
			envTopic + "=" + filepath.Join(dir, "topic"),
			envSource + "=" + place(s.src, s.user), envDest + "=" + place(s.dst, s.dst.SuperUser()),
		},
	})
	if err != nil {
		return nil, err
	}
	s.mirrors = append(s.mirrors, p)
	return p, nil
}

// Environment of the plain client; the passwords in it keep it off the command line.
const (
	envTopic  = "DRAWBRIDGE_BENCH_TOPIC_FILE"
	envSource = "DRAWBRIDGE_BENCH_SOURCE" // user:password@host:port
	envDest   = "DRAWBRIDGE_BENCH_DESTINATION"
)

func place(k *local.Kafka, u local.User) string {
	return u.Name + ":" + u.Password + "@" + strings.Join(k.Bootstrap(), ",")
}

func (p *plainMirror) begin(ctx context.Context, topic string) error {
	if _, err := createTopic(ctx, p.stage.dst, topic); err != nil {
		return err
	}
	file := filepath.Join(filepath.Dir(p.proc.Spec().LogFile), "topic")
	return renameio.WriteFile(file, []byte(topic), 0o644)
}

func (p *plainMirror) end(context.Context, string) error { return nil }

// plainMain is the plain client's process; it ends with ctx.
func plainMain(ctx context.Context, getenv func(string) string) error {
	source, err := plainOptions(getenv(envSource))
	if err != nil {
		return fmt.Errorf("%s: %w", envSource, err)
	}
	dest, err := plainOptions(getenv(envDest))
	if err != nil {
		return fmt.Errorf("%s: %w", envDest, err)
	}
	var topic []byte
	err = local.WaitFor(ctx, "the topic to mirror", func(context.Context) (err error) {
		topic, err = os.ReadFile(getenv(envTopic))
		return err
	})
	if err != nil {
		return err
	}
	consumer, err := kgo.NewClient(append(source, kgo.ConsumePartitions(fromStart(string(topic))))...)
	if err != nil {
		return err
	}
	defer consumer.Close()
	producer, err := kgo.NewClient(append(dest, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100_000), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	if err != nil {
		return err
	}
	defer producer.Close()
	failed := make(chan error, 1)
	for ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			out := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
			producer.Produce(ctx, out, func(_ *kgo.Record, err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		})
		select {
		case err := <-failed:
			return err
		default:
		}
	}
	return nil
}

func plainOptions(at string) ([]kgo.Opt, error) {
	login, addresses, ok := strings.Cut(at, "@")
	user, password, ok2 := strings.Cut(login, ":")
	if !ok || !ok2 {
		return nil, errors.New("want user:password@host:port; bench sets it for its own process")
	}
	return []kgo.Opt{kgo.SeedBrokers(strings.Split(addresses, ",")...), kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}, nil
}
