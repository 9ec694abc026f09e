//go:build real

package harness

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Each part is killed and started again, one after the other, and the pair goes
// on mirroring and answering: tests of faults build on that.
func TestAPairOutlivesTheDeathOfEachOfItsParts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s, err := Start(ctx, Config{
		Dir: filepath.Join(t.TempDir(), "system"), Topics: []Topic{{Name: "orders", Partitions: 2}}, Progress: t.Logf, ProxyStandby: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Worker.Log(20))
		}
		if err := errors.Join(s.Stop(), s.Stop(), Clean()); err != nil {
			t.Error(err)
		}
	})
	got, err := s.Operate(ctx, Operation{Verb: "setup"})
	if err != nil || got.Outcome != runbook.Done {
		t.Fatalf("setup: %v, %+v", err, got)
	}
	n := 0
	for _, part := range []struct {
		name    string
		kill    func() error
		restart func(context.Context) error
	}{
		{"worker", s.Worker.Kill, s.Worker.Restart},
		{"engine of the standby", s.Standby.Engine.Kill, s.Standby.Engine.Restart},
		{"engine at home", s.Home.Engine.Kill, s.Home.Engine.Restart},
		{"consul of the standby", s.Standby.Consul.Kill, s.Standby.Consul.Restart},
		{"consul at home", s.Home.Consul.Kill, s.Home.Consul.Restart},
		{"temporal", s.Temporal.Kill, s.Temporal.Restart},
		{"cluster of the standby", s.Standby.Kafka.Kill, s.Standby.Kafka.Restart},
		{"cluster at home", s.Home.Kafka.Kill, s.Home.Kafka.Restart},
	} {
		t.Run(part.name, func(t *testing.T) {
			if err := part.kill(); err != nil {
				t.Fatal(err)
			}
			if err := part.restart(ctx); err != nil {
				t.Fatal(err)
			}
			n++
			produce(ctx, t, s.Home, "orders", strconv.Itoa(n))
			within, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			if err := s.Mirrored(within, s.Home, s.Standby, "orders"); err != nil {
				t.Fatal(err)
			}
			if err := s.LagZero(within, s.Home, s.Standby, "orders"); err != nil {
				t.Fatal(err)
			}
			// A run needs the worker, Temporal, both Consuls and both engines.
			var again error
			err := local.WaitFor(within, "drctl setup to find all in order", func(ctx context.Context) error {
				r, err := s.Operate(ctx, Operation{Verb: "setup"})
				if err == nil && r.Outcome != runbook.Done {
					err = errors.New(r.Outcome + ": " + r.Report.Error)
				}
				again = err
				return err
			})
			if err != nil {
				t.Fatal(err, again)
			}
		})
	}
	stored, err := s.Standby.Read(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, records := range stored {
		for _, r := range records {
			seen[string(r.Value)]++
		}
	}
	if len(seen) != n {
		t.Errorf("the standby has %d of %d records: %v", len(seen), n, seen)
	}
	for v, times := range seen {
		if times != 1 {
			t.Errorf("record %s stands %d times", v, times)
		}
	}
	if r, err := s.Record(ctx, s.Home); err != nil || r.Active[0] != s.Home.Name || r.Epoch != 1 || r.Lock != nil {
		t.Errorf("record of truth: %+v, %v", r, err)
	}
}

func produce(ctx context.Context, t *testing.T, site *Site, topic, value string) {
	t.Helper()
	cl, err := site.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatalf("produce at %s: %v", site.Name, err)
	}
}
