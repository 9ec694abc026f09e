package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// produceKey is Produce's api key.
const produceKey = 0

var admin = local.User{Name: "admin", Password: "admin-secret"}

// pair is a source and the destination beside which engines run.
type pair struct {
	source, dest *local.Kafka
	// secrets is the engines' folder: a link refers to a password there.
	secrets string
}

// apache and fake are shared by the tests, each of which has topics and a state
// topic of its own. Only one test's engines at a time may run beside a destination:
// all fence each other by the cluster's id.
var apache, fake pair

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "enginefaults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer harness.Clean() //nolint:errcheck // best effort
	var group errgroup.Group
	clusters := make([]*local.Kafka, 4)
	for i, c := range []struct {
		kind local.KafkaKind
		name string
	}{{local.Apache, "east"}, {local.Apache, "west"}, {local.KFake, "east-fake"}, {local.KFake, "west-fake"}} {
		group.Go(func() (err error) {
			clusters[i], err = local.StartKafka(ctx, local.KafkaConfig{
				Kind: c.kind, Name: c.name, Dir: filepath.Join(dir, c.name), SuperUser: admin, Proxied: true,
			})
			return err
		})
	}
	err = group.Wait()
	for _, k := range clusters {
		if k != nil {
			defer k.Stop() //nolint:errcheck // best effort
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	apache = pair{clusters[0], clusters[1], filepath.Join(dir, "engine")}
	fake = pair{clusters[2], clusters[3], filepath.Join(dir, "engine-fake")}
	return m.Run()
}
