package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// drop lets a call be a line of the table; only its error matters there.
func drop[T any](_ T, err error) error { return err }

func TestEveryEndpointReachesTheEngineWithItsArguments(t *testing.T) {
	fake := &fakeLinks{}
	c := &api.Client{BaseURL: start(t, Options{Links: fake, Access: tokenOf("s3cret")}), Token: "s3cret"}
	value := "true"
	steps := []struct {
		call func(context.Context) error
		want string
	}{
		{func(ctx context.Context) error { return drop(c.Engine(ctx)) }, "Engine"},
		{func(ctx context.Context) error {
			return c.CreateLink(ctx, "east-west", api.CreateLink{SourceClusterID: "e", Configs: []api.NameValue{{Name: "a"}}}, false, true)
		}, "CreateLink east-west source=e configs=1 validateOnly=false validateLink=true"},
		{func(ctx context.Context) error { return c.CreateLink(ctx, "l", api.CreateLink{}, true, false) }, "CreateLink l source= configs=0 validateOnly=true validateLink=false"},
		{func(ctx context.Context) error { return drop(c.Links(ctx)) }, "Links"},
		{func(ctx context.Context) error { return drop(c.Link(ctx, "east-west", true)) }, "Link east-west tasks=true"},
		{func(ctx context.Context) error { return drop(c.Link(ctx, "a/b %", false)) }, "Link a/b % tasks=false"},
		{func(ctx context.Context) error { return c.DeleteLink(ctx, "east-west", true, false) }, "DeleteLink east-west force=true validateOnly=false"},
		{func(ctx context.Context) error { return c.DeleteLink(ctx, "east-west", false, true) }, "DeleteLink east-west force=false validateOnly=true"},
		{func(ctx context.Context) error { return drop(c.LinkConfigs(ctx, "east-west")) }, "LinkConfigs east-west"},
		{func(ctx context.Context) error { return drop(c.LinkConfig(ctx, "east-west", "sasl.jaas.config")) }, "LinkConfigs east-west"},
		{func(ctx context.Context) error { return c.SetLinkConfig(ctx, "l", "acl.sync.ms", "9") }, "AlterLinkConfigs l validateOnly=false SET acl.sync.ms=9"},
		{func(ctx context.Context) error { return c.ResetLinkConfig(ctx, "l", "acl.sync.ms") }, "AlterLinkConfigs l validateOnly=false DELETE acl.sync.ms"},
		{func(ctx context.Context) error {
			return c.AlterLinkConfigs(ctx, "l", []api.AlterConfig{{Name: "cluster.link.paused", Value: &value}, {Name: "b", Operation: "DELETE"}}, true)
		}, "AlterLinkConfigs l validateOnly=true SET cluster.link.paused=true DELETE b"},
		{func(ctx context.Context) error {
			return c.CreateMirror(ctx, "l", api.CreateMirror{SourceTopicName: "dr-topic", ReplicationFactor: 3})
		}, "CreateMirror l dr-topic rf=3"},
		{func(ctx context.Context) error { return drop(c.Mirrors(ctx, "l", "STOPPED")) }, "Mirrors l status=STOPPED"},
		{func(ctx context.Context) error { return drop(c.Mirrors(ctx, api.AllLinks, "pending_stopped")) }, "Mirrors - status=PENDING_STOPPED"},
		{func(ctx context.Context) error { return drop(c.Mirror(ctx, "l", "dr-topic", true)) }, "Mirror l dr-topic errors=true"},
		{func(ctx context.Context) error {
			return drop(c.AlterMirrors(ctx, "l", api.VerbPromote, api.AlterMirrors{MirrorTopicNames: []string{"a", "b"}}, true))
		}, `AlterMirrors l promote [a b] "" validateOnly=true`},
		{func(ctx context.Context) error {
			return drop(c.As(api.Operation{OperationID: "op-7", Epoch: 7}).AlterMirrors(ctx, "l", api.VerbFailover, api.AlterMirrors{MirrorTopicNamePattern: ".*"}, false))
		}, `AlterMirrors l failover [] ".*" validateOnly=false as op-7/7`},
		{func(ctx context.Context) error {
			return drop(c.AlterMirrors(ctx, "l", api.VerbPause, api.AlterMirrors{MirrorTopicNames: []string{"a"}}, false))
		}, `AlterMirrors l pause [a] "" validateOnly=false`},
		{func(ctx context.Context) error {
			return drop(c.AlterMirrors(ctx, "l", api.VerbResume, api.AlterMirrors{MirrorTopicNames: []string{"a"}}, false))
		}, `AlterMirrors l resume [a] "" validateOnly=false`},
		{func(ctx context.Context) error { return drop(c.Progress(ctx, "l")) }, "Progress l"},
		{func(ctx context.Context) error { return drop(c.Drift(ctx, "l")) }, "Drift l"},
		{func(ctx context.Context) error { return drop(c.Operation(ctx, "l")) }, "Operation l"},
		{func(ctx context.Context) error {
			return drop(c.PutOperation(ctx, "l", api.Operation{OperationID: "op", Epoch: 3}))
		}, "PutOperation l op/3"},
		{func(ctx context.Context) error {
			return drop(c.RevokeOperation(ctx, "l", api.Operation{OperationID: "op", Epoch: 3}))
		}, "RevokeOperation l op/3"},
		{func(ctx context.Context) error {
			return drop(c.EndOperation(ctx, "l", api.Operation{OperationID: "op", Epoch: 3}))
		}, "EndOperation l op/3"},
		{func(ctx context.Context) error { return drop(c.Lock(ctx, "orders")) }, "Lock orders"},
		{func(ctx context.Context) error {
			return drop(c.PutLock(ctx, "orders", api.Lock{OperationID: "op", Epoch: 2}))
		}, "PutLock orders op/2"},
		{func(ctx context.Context) error { return c.DeleteLock(ctx, "orders", "op") }, "DeleteLock orders op"},
		{func(ctx context.Context) error { return drop(c.Fences(ctx, "orders")) }, "Fences orders"},
		{func(ctx context.Context) error {
			return drop(c.PutFence(ctx, "orders", api.Fence{OperationID: "op", Entries: make([]api.FenceEntry, 2)}))
		}, "PutFence orders op entries=2"},
		{func(ctx context.Context) error { return c.DeleteFence(ctx, "orders", "op") }, "DeleteFence orders op"},
		{func(ctx context.Context) error { return c.HandOverFence(ctx, "orders", "op", "l") }, "HandOverFence orders op l"},
		{func(ctx context.Context) error { return drop(c.ACLs(ctx, "l", "{}")) }, "ACLs l {}"},
		{func(ctx context.Context) error { return drop(c.Groups(ctx, "l")) }, "Groups l"},
		{func(ctx context.Context) error { return drop(c.SyncGroups(ctx, "l")) }, "SyncGroups l"},
		{func(ctx context.Context) error {
			return drop(c.OwnGroups(ctx, "l", api.TakeOwnership{Groups: []string{"g"}}))
		}, "OwnGroups l [g]"},
		{func(ctx context.Context) error { return drop(c.Segments(ctx, "l", "dr-topic")) }, "Segments l dr-topic"},
		{func(ctx context.Context) error {
			return drop(c.Rejoin(ctx, "l", api.Rejoin{From: []api.Segments{{Topic: "a"}}}))
		}, "Rejoin l from=1"},
		{func(ctx context.Context) error {
			return drop(c.ReverseMirrors(ctx, "l", api.Rejoin{From: []api.Segments{{Topic: "a"}}}))
		}, "ReverseMirrors l from=1"},
		{func(ctx context.Context) error { return drop(c.Ledger(ctx, "l")) }, "Ledger l"},
		{func(ctx context.Context) error { return drop(c.ComputeLedger(ctx, "l")) }, "ComputeLedger l"},
		{func(ctx context.Context) error {
			return drop(c.AppendLedger(ctx, "l", api.DecideLedger{Topics: []string{"a"}, DecidedBy: "ann"}))
		}, "AppendLedger l [a] by ann"},
		{func(ctx context.Context) error {
			return drop(c.DiscardLedger(ctx, "l", api.DecideLedger{DecidedBy: "ann"}))
		}, "DiscardLedger l [] by ann"},
		{func(ctx context.Context) error {
			return drop(c.ExportLedger(ctx, "l", api.DecideLedger{DecidedBy: "ann"}))
		}, "ExportLedger l [] by ann"},
	}
	for _, step := range steps {
		if err := step.call(t.Context()); err != nil {
			t.Errorf("%s: %v", step.want, err)
		}
		if diff := cmp.Diff([]string{step.want}, fake.take()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// The walk above is the api.Client's; the document has calls that it does not make.
func TestTheDocumentsOtherCallsAreAnsweredAsItSays(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/plain") })
	const cluster = "/kafka/v3/clusters/" + clusterID
	opts := Options{Links: &fakeLinks{}, Cluster: fakeCluster{}, Replica: &fakeReplica{}, Metrics: metrics}
	base := start(t, opts)
	for _, path := range []string{
		cluster, cluster + "/topics", cluster + "/topics/orders", cluster + "/topics/orders/partitions", cluster + "/topics/orders/partitions/1",
		cluster + "/topics/orders/configs", cluster + "/topics/-/configs", cluster + "/topics/orders/configs/retention.ms",
		cluster + "/consumer-groups", cluster + "/consumer-groups/billing", cluster + "/consumer-groups/billing/consumers", cluster + "/consumer-groups/billing/consumers/member-1",
		cluster + "/consumer-groups/billing/lag-summary", cluster + "/consumer-groups/billing/lags", cluster + "/consumer-groups/billing/lags/orders/partitions/0",
		"/drawbridge/v1/replica/partitions", "/healthz", "/readyz", "/metrics", "/openapi.json", "/debug/mirrors",
		"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=0.01",
	} {
		get(t, base+path)
	}
	c := &api.Client{BaseURL: base}
	if _, err := c.PutShard(t.Context(), 3, api.ShardPut{Entries: []api.ShardEntry{{Key: "k"}}}); err != nil {
		t.Error(err)
	}
	TestEveryEndpointReachesTheEngineWithItsArguments(t)
	for _, c := range slices.Concat(contractCalls, ourCalls) {
		if _, ok := succeeded.Load(c.id); !ok && c.status < http.StatusBadRequest {
			t.Errorf("no test saw %s (%s) succeed", c.id, c.pattern)
		}
	}
}

func get(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	status, body, _ := send(t, req)
	if status != http.StatusOK {
		t.Errorf("%s: got %d %s", address, status, body)
	}
	return body
}

func TestOnlyTheLocalClusterIsKnown(t *testing.T) {
	c := &api.Client{BaseURL: start(t, Options{Links: &fakeLinks{}})}
	clusters, err := c.Clusters(t.Context())
	if err != nil || len(clusters) != 1 || clusters[0].ClusterID != clusterID {
		t.Fatalf("got %v, %v", clusters, err)
	}
	if _, err := c.Cluster(t.Context(), clusterID); err != nil {
		t.Fatal(err)
	}
	_, err = c.Cluster(t.Context(), "cluster-north")
	if !errors.Is(err, api.ClusterNotFound("cluster-north")) {
		t.Fatalf("got %v", err)
	}
}

func TestARefusedTopicDoesNotHideTheOthers(t *testing.T) {
	c := &api.Client{BaseURL: start(t, Options{Links: &fakeLinks{}})}
	results, err := c.AlterMirrors(t.Context(), "east-west", api.VerbFailover, api.AlterMirrors{MirrorTopicNamePattern: ".*"}, false)
	if err != nil || len(results) != 2 {
		t.Fatalf("got %v, %v", results, err)
	}
	if err := results[0].Err(); err != nil {
		t.Error(err)
	}
	if err := results[1].Err(); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("got %v", err)
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	var missing atomic.Pointer[string]
	reason := "shard 3 of 16 is not read yet"
	missing.Store(&reason)
	base := start(t, Options{Links: &fakeLinks{}, Access: tokenOf("t"), Ready: func() error {
		if why := missing.Load(); why != nil {
			return errors.New(*why)
		}
		return nil
	}})
	c := &api.Client{BaseURL: base} // without a token: probes are open
	err := c.Ready(t.Context())
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || e.Message != "not ready: "+reason {
		t.Fatalf("got %v", err)
	}
	missing.Store(nil)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}
