// Command example is an application that watches the record of truth itself, with franz-go: it prints what it consumes of one
// topic as a member of a group, at the site where the group belongs, and stops while the pair is frozen.
//
//	go run ./client/example -pair orders -group billing -topic orders -consul 127.0.0.1:8500 -state-dir /tmp/billing
//
// What to take from it: everything that talks to Kafka lives in work, between two lines that open and close one client. A
// flip closes it and opens another: no client is told of new brokers while it holds records, offsets or producer ids of the
// old ones. What was printed and not yet committed at an unplanned failover is printed again at the new site.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// app is what the flags say.
type app struct {
	pair, group, topic, consul, stateDir, instance string
	out                                            io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	a := app{out: out}
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	flags.StringVar(&a.pair, "pair", "", "the pair's name in its plan")
	flags.StringVar(&a.group, "group", "", "the consumer group, as in the plan")
	flags.StringVar(&a.topic, "topic", "", "the topic to print")
	flags.StringVar(&a.consul, "consul", "127.0.0.1:8500", "the Consul agent here")
	flags.StringVar(&a.stateDir, "state-dir", "", "folder of this process where the last record is kept")
	flags.StringVar(&a.instance, "instance", "example-"+strconv.Itoa(os.Getpid()), "name of this process in its group's acknowledgements")
	if err := flags.Parse(args); err != nil {
		return err
	}
	w, err := client.New(client.Config{Pair: a.pair, Consuls: []client.Consul{{Address: a.consul}}, StateDir: a.stateDir})
	if err != nil {
		return err
	}
	return w.Follow(ctx, a.group, a.instance, a.work)
}

// work consumes at one site until ctx ends. Its errors end the application; whoever starts it starts it again.
func (a app) work(ctx context.Context, place record.Place) error {
	kafka, err := kgo.NewClient(append(login(place.SecurityRef),
		kgo.SeedBrokers(place.Bootstrap...),
		kgo.ConsumerGroup(a.group),
		kgo.ConsumeTopics(a.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), // committed is what was dealt with, not what was fetched
		kgo.BlockRebalanceOnPoll(),
	)...)
	if err != nil {
		return err
	}
	defer kafka.CloseAllowingRebalance() // leaves the group, so that the site that is left shows nobody
	for {
		fetches := kafka.PollRecords(ctx, 500)
		if ctx.Err() != nil {
			return nil
		}
		// An error of a fetch is no reason to go: brokers come back, and if the site is lost the record says where to go.
		fetches.EachError(func(topic string, partition int32, err error) {
			fmt.Fprintf(os.Stderr, "example: %s[%d] at %s: %v\n", topic, partition, place.Site, err)
		})
		fetches.EachRecord(func(r *kgo.Record) { fmt.Fprintf(a.out, "%s %s\n", place.Site, r.Value) })
		if err := a.commit(ctx, kafka, fetches.Records()); err != nil {
			fmt.Fprintf(os.Stderr, "example: commit at %s: %v\n", place.Site, err)
		}
		kafka.AllowRebalance()
	}
}

// commit also finishes what was begun when the site is being left: what was printed here shall not be printed there again.
func (a app) commit(ctx context.Context, kafka *kgo.Client, records []*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := kafka.CommitRecords(ctx, records...)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in 10 s: what was printed since will be printed again")
	}
	return err
}

// login are the credentials for a site. The record names where they are (security_ref of the plan) and never holds them: take
// them from the vault or file that the name means to you. This one logs in nowhere.
func login(string) []kgo.Opt { return nil }
