package runbooks

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
)

// app is the principal of every pair's applications.
const app = "app"

// shared are the servers that all pairs but those on Apache Kafka live on.
var shared *harness.System

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	// Parallel pairs wait for time-outs most of the time: not one a core.
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "runbookfaults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if code != 0 {
			fmt.Fprintln(os.Stderr, "logs are left in", dir)
			return
		}
		os.RemoveAll(dir)
	}()
	defer harness.Clean() //nolint:errcheck // best effort
	shared, err = harness.Start(ctx, harness.Config{
		Dir: filepath.Join(dir, "system"), Pair: "servers", Topics: []harness.Topic{{Name: "servers", Partitions: 1}},
		Principals: []harness.Principal{{Name: app}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.Stop() //nolint:errcheck // best effort
	return m.Run()
}
