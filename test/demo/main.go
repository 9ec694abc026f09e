// Command demo plays the Active/Passive Tutorial on a whole system: two Kafka
// clusters, Consuls, Temporal, engines, worker and sample clients, all on
// loopback. `make demo` runs it; what happened is printed as it goes, and judged
// in out/demo.json. It exits with 0 only if every record is accounted for.
//
// STORY=switchover plays a planned move there and back instead, with every
// client at full speed; STORY=drill the three kinds of drills; STORY=chatops the
// tutorial with a failover that is asked for and approved in Slack.
//
// KAFKA=real plays it on Apache Kafka, DEMO_SEED=n varies the traffic on topic
// clicks, KEEP=1 leaves everything up until Ctrl-C, and DRAWBRIDGE_MUTANT=… runs
// engines that are wrong on purpose.
//
// The stories are in story.go, in their order, each step in acts.go or
// switchover.go and drill.go; package check
// judges; package clients are the applications, which this program is too
// (demo client …).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	"github.com/drawbridge-dr/drawbridge/test/demo/clients"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1 // the story went wrong, or could not be played
	exitUsage = 2
	exitEnded = 130 // by Ctrl-C
)

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 && args[0] == "client" {
		if err := client(ctx, args[1:], getenv, stderr); err != nil {
			fmt.Fprintln(stderr, "demo client:", err)
			return exitFault
		}
		return exitOK
	}
	opts, err := options(args, getenv)
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	ok, err := play(ctx, opts, stdout)
	switch {
	case ctx.Err() != nil && !ok:
		fmt.Fprintln(stderr, "demo: ended by a signal")
		return exitEnded
	case err != nil:
		fmt.Fprintln(stderr, "demo:", err)
		return exitFault
	case !ok:
		return exitFault
	}
	return exitOK
}

// Options of the demo, all from the environment.
type Options struct {
	Kind   local.KafkaKind
	Seed   uint64
	Keep   bool
	Mutant string // of the engines
	Report string // file for the verdict
	// Replicas of the engine at each site.
	Replicas int
	Story    string // one of stories; "" is the first
}

// stories are what STORY may name.
var stories = []string{"tutorial", switchoverStory, drillStory, chatStory}

const (
	switchoverStory = "switchover"
	drillStory      = "drill"
	chatStory       = "chatops"
)

func options(args []string, getenv func(string) string) (Options, error) {
	o := Options{Kind: local.KFake, Seed: 1, Mutant: getenv("DRAWBRIDGE_MUTANT"), Report: reportFile, Replicas: 2}
	var faults []error
	if len(args) > 0 {
		faults = append(faults, fmt.Errorf("unknown argument %q: KAFKA, DEMO_SEED and KEEP are environment variables", args[0]))
	}
	switch kafka := getenv("KAFKA"); kafka {
	case "", "kfake":
	case "real", "apache":
		o.Kind = local.Apache
	default:
		faults = append(faults, fmt.Errorf("KAFKA=%s: use real for Apache Kafka, or leave it out for the embedded one", kafka))
	}
	if story := getenv("STORY"); slices.Contains(stories, story) {
		o.Story = story
	} else if story != "" {
		faults = append(faults, fmt.Errorf("STORY=%s: there is no such story; there is: %s (active/passive: set up, fail over, recover, fail back), %s (planned, there and back), %s (each kind of drill), %s (the first, its failover driven through Slack)", story, stories[0], stories[1], stories[2], stories[3]))
	}
	if seed := getenv("DEMO_SEED"); seed != "" {
		n, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			faults = append(faults, fmt.Errorf("DEMO_SEED=%s: use a whole number", seed))
		}
		o.Seed = n
	}
	if replicas := getenv("REPLICAS"); replicas != "" {
		n, err := strconv.Atoi(replicas)
		if err != nil || n < 1 || n > 4 {
			faults = append(faults, fmt.Errorf("REPLICAS=%s: use 1 to 4, the engine's replicas at each site", replicas))
		}
		o.Replicas = n
	}
	if keep := getenv("KEEP"); keep != "" && keep != "0" {
		o.Keep = true
	}
	return o, errors.Join(faults...)
}

// client is a sample application, as drctl exec runs it.
func client(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("say produce or consume")
	}
	place, err := clients.PlaceFrom(getenv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	flags := flag.NewFlagSet("client "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	topic := flags.String("topic", "", "topic")
	journal := flags.String("journal", "", "`file` where what happened is written down")
	switch args[0] {
	case "produce":
		input := flags.String("input", "", "`file` with a record's number per line")
		keys := flags.Uint("keys", 0, "how many keys the records have; 0: none")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return clients.Produce(ctx, clients.ProducerConfig{
			Place: place, Topic: *topic, Input: *input, Journal: *journal, Keys: uint32(*keys), Log: log, //nolint:gosec // a handful
		})
	case "consume":
		group := flags.String("group", "", "consumer group")
		limits := flags.String("limits", "", "`file` that says how much may be read at a site")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return clients.Consume(ctx, clients.ConsumerConfig{Place: place, Topic: *topic, Group: *group, Journal: *journal, Limits: *limits, Log: log})
	}
	return fmt.Errorf("no client is called %q: say produce or consume", args[0])
}
