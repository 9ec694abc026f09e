package local

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func consulClient(t *testing.T, c *Consul) *api.Client {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func put(t *testing.T, client *api.Client, key, value string) {
	t.Helper()
	if _, err := client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestConsulKeepsAValueAndItsIndexOverAKillAndARestart(t *testing.T) {
	c := ConsulForTest(t, ConsulConfig{Name: "east", Persistent: true})
	client := consulClient(t, c)
	put(t, client, "drawbridge/orders/active", "east")
	before, _, err := client.KV().Get("drawbridge/orders/active", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.KV().Get("drawbridge/orders/active", nil); err == nil {
		t.Error("a killed agent answers")
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, _, err := client.KV().Get("drawbridge/orders/active", nil)
	if err != nil {
		t.Fatal(err)
	}
	if after == nil || string(after.Value) != "east" || after.ModifyIndex != before.ModifyIndex {
		t.Errorf("after the restart the key holds %+v, before %+v", after, before)
	}
	// The index is what the record's compare-and-set stands on.
	after.Value = []byte("west")
	if ok, _, err := client.KV().CAS(after, nil); err != nil || !ok {
		t.Errorf("compare-and-set with the old index: %v, %v", ok, err)
	}
}

func TestConsulAgentsOfTwoSitesShareNothing(t *testing.T) {
	east, west := ConsulForTest(t, ConsulConfig{Name: "east"}), ConsulForTest(t, ConsulConfig{Name: "west"})
	if east.Address() == west.Address() {
		t.Fatalf("both on %s", east.Address())
	}
	put(t, consulClient(t, east), "only-east", "1")
	pair, _, err := consulClient(t, west).KV().Get("only-east", nil)
	if err != nil {
		t.Fatal(err)
	}
	if pair != nil {
		t.Errorf("west sees %s = %s of east", pair.Key, pair.Value)
	}
	dcs, err := consulClient(t, west).Catalog().Datacenters()
	if err != nil {
		t.Fatal(err)
	}
	if len(dcs) != 1 || dcs[0] != "west" {
		t.Errorf("west's datacenters are %v", dcs)
	}
	version, err := west.Version(t.Context())
	if err != nil || version == "" {
		t.Errorf("version %q, %v", version, err)
	}
}

func TestConsulPausedAnswersNothingUntilItIsResumed(t *testing.T) {
	c := ConsulForTest(t, ConsulConfig{})
	client := consulClient(t, c)
	put(t, client, "k", "v")
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	// A thread of the agent may be stopped a moment later than the next one.
	err := WaitFor(t.Context(), "a paused agent answers no more", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if _, _, err := client.KV().Get("k", (&api.QueryOptions{}).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("want no answer within the deadline, got %w", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	pair, _, err := client.KV().Get("k", nil)
	if err != nil || pair == nil || string(pair.Value) != "v" {
		t.Errorf("after Resume: %+v, %v", pair, err)
	}
}

func TestConsulRefusesToRestartWhileItRuns(t *testing.T) {
	c := ConsulForTest(t, ConsulConfig{})
	if err := c.Restart(t.Context()); err == nil {
		t.Error("a second agent was started on the same ports")
	}
}
