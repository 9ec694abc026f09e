// Package brokerfacts holds one test per fact about Apache Kafka that the mirror engine relies on, against real brokers.
//
// Most of these facts are not in Kafka's documentation but in its source; a new version may change them without a word.
// So each test names its fact, says what the engine would lose without it, and compares what a broker answers. FACTS.md
// lists what was seen on which version. It does not test the engine, and not kfake, which differs in several of them.
//
// Start with raw_test.go, which builds the batches by hand.
package brokerfacts

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// The principals: super is bound by no ACL entry, the others may do what a test allows them.
var (
	super   = local.User{Name: "admin", Password: "admin-secret"}
	engine  = local.User{Name: "engine", Password: "engine-secret"}
	alterer = local.User{Name: "alterer", Password: "alterer-secret"}
	clerk   = local.User{Name: "clerk", Password: "clerk-secret"}
	canary  = local.User{Name: "canary", Password: "canary-secret"}
)

// one is the cluster of one broker that most tests share; each uses topics of its own.
var one *local.Kafka

// three starts the cluster of three brokers at its first use.
var three = sync.OnceValues(func() (*local.Kafka, error) {
	return start(context.Background(), "three", local.KafkaConfig{Brokers: 3})
})

// leader is the only broker of the cluster one.
const leader = 1

var (
	folder  string
	started []*local.Kafka
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "brokerfacts-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() { // for the rest of the process
		<-interrupted
		os.RemoveAll(folder)
		os.Exit(130) // the brokers die with us
	}()
	defer func() {
		for _, k := range started {
			if err := k.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	one, err = start(context.Background(), "one", local.KafkaConfig{Properties: map[string]string{
		"broker.session.timeout.ms":                "60000", // it never dies; without time for a while it must not lose its partitions
		"producer.id.expiration.check.interval.ms": "1000",  // default 10 min
		"offsets.retention.minutes":                "1",     // the least; default 7 days
		"offsets.retention.check.interval.ms":      "1000",
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("Apache Kafka %s\n", one.Version())
	return m.Run()
}

func start(ctx context.Context, name string, cfg local.KafkaConfig) (*local.Kafka, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cfg.Kind, cfg.Name, cfg.Dir = local.Apache, name, filepath.Join(folder, name)
	cfg.SuperUser, cfg.Users = super, []local.User{engine, alterer, clerk, canary}
	k, err := local.StartKafka(ctx, cfg)
	if err == nil {
		started = append(started, k)
	}
	return k, err
}

// connect returns a client of the cluster that ends with the test.
func connect(t *testing.T, k *local.Kafka, user local.User, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(append(k.Options(user), kgo.ClientID(t.Name())), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
