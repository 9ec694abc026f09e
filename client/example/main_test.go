package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func until(t *testing.T, what string, cond func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := local.WaitFor(ctx, what, cond); err != nil {
		t.Fatal(err)
	}
}

// site is a cluster of one broker with the topic.
func site(t *testing.T) (*kgo.Client, []string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, cluster.ListenAddrs()
}

func TestTheExampleConsumesAtTheSiteOfTheRecordAndLeavesTheOther(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	east, eastAt := site(t)
	west, westAt := site(t)
	store, err := consul.Client()
	if err != nil {
		t.Fatal(err)
	}
	put := func(epoch int64, active, standby string, phase record.Phase) {
		t.Helper()
		raw, err := record.Marshal(record.Record{
			Pair: "orders", Mode: record.ActivePassive, Phase: phase, Epoch: epoch, PrevEpoch: epoch - 1, Active: []string{active}, Standby: []string{standby},
			Bootstrap: map[string][]string{"east": eastAt, "west": westAt}, OpID: "op-" + active, ChangedAt: time.Now(), ChangedBy: "test",
		})
		if err == nil {
			_, err = store.KV().Put(&api.KVPair{Key: record.KeysOf("orders").Active, Value: raw}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	produce := func(c *kgo.Client, values ...string) {
		t.Helper()
		for _, v := range values {
			if err := c.ProduceSync(t.Context(), kgo.StringRecord(v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out local.Output
	printed := func(want ...string) {
		t.Helper()
		until(t, fmt.Sprintf("%q to be printed", want), func(context.Context) error {
			if got := out.String(); got != strings.Join(want, "\n")+"\n" {
				return fmt.Errorf("printed %q", got)
			}
			return nil
		})
	}
	gone := func(c *kgo.Client, committed int64) {
		t.Helper()
		admin := kadm.NewClient(c)
		until(t, "the group to be empty", func(ctx context.Context) error {
			groups, err := admin.DescribeGroups(ctx, "billing")
			if err != nil {
				return err
			}
			if g := groups["billing"]; len(g.Members) > 0 {
				return fmt.Errorf("%d members, state %s", len(g.Members), g.State)
			}
			offsets, err := admin.FetchOffsets(ctx, "billing")
			if err != nil {
				return err
			}
			if at, ok := offsets.Lookup("orders", 0); !ok || at.At != committed {
				return fmt.Errorf("committed %d, want %d", at.At, committed)
			}
			return nil
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{
			"-pair", "orders", "-group", "billing", "-topic", "orders", "-consul", consul.Address(), "-instance", "i1", "-state-dir", filepath.Join(t.TempDir(), "state"),
		}, &out)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	put(1, "east", "west", record.Open)
	produce(east, "one", "two")
	printed("east one", "east two")

	put(1, "east", "west", record.Frozen)
	gone(east, 2)
	until(t, "the stop to be acknowledged", func(context.Context) error {
		kv, _, err := store.KV().Get(client.AckKey("orders", "billing", "i1"), nil)
		if err != nil {
			return err
		}
		if kv == nil || !strings.Contains(string(kv.Value), `"state":"stopped"`) {
			return errors.New("not yet")
		}
		return nil
	})
	produce(east, "too late")
	produce(west, "three")
	put(2, "west", "east", record.Open)
	printed("east one", "east two", "west three")
	put(3, "east", "west", record.Open)
	printed("east one", "east two", "west three", "east too late")
	gone(west, 1)
}

func TestTheExampleRefusesFlagsThatItCannotUse(t *testing.T) {
	err := run(t.Context(), []string{"-topic", "orders"}, nil)
	for _, want := range []string{"Pair", "StateDir"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
}
