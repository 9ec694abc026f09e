package rest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/rest"
)

// TestAWholeEnginesOwnCallsAreAsTheDocumentSays: what a fake answers is documented
// by other tests; here it is what the engine does.
func TestAWholeEnginesOwnCallsAreAsTheDocumentSays(t *testing.T) {
	source, west := sourceSite(t, "orders", "audit"), newSite(t, "cluster-west", nil)
	base := engine(t, west)
	s := newStrictClient(t, base+"/v3")
	s.cluster, s.link = "cluster-west", "l"
	s.do("POST "+links, ask{query: map[string]string{"link_name": "l"}, body: createLink(source)})
	for _, topic := range []string{"orders", "audit"} {
		s.do("POST "+mirrors, ask{body: object{"source_topic_name": topic, "replication_factor": 1}})
		s.caughtUp(topic) // so that the ledger has nothing to decide
	}
	client := &api.Client{BaseURL: base, Token: adminToken, HTTP: &http.Client{Transport: rest.Documented(t)}}
	op := api.Operation{OperationID: "failover-1", Epoch: 3}
	as := client.As(op)
	decide := api.DecideLedger{DecidedBy: "ann", Reason: "test"}
	const filters = `{"aclFilters":[{"resourceFilter":{"resourceType":"any","patternType":"any"},"accessFilter":{"operation":"any","permissionType":"any"}}]}`
	for _, step := range []struct {
		name string
		call func(context.Context) error
	}{
		{"engine", func(ctx context.Context) error { return fault(client.Engine(ctx)) }},
		{"progress", func(ctx context.Context) error { return fault(client.Progress(ctx, "l")) }},
		{"drift", func(ctx context.Context) error { return fault(client.Drift(ctx, "l")) }},
		{"lock", func(ctx context.Context) error {
			return fault(client.PutLock(ctx, "pair", api.Lock{OperationID: op.OperationID, Operation: "failover", Epoch: 3}))
		}},
		{"locked", func(ctx context.Context) error { return fault(client.Lock(ctx, "pair")) }},
		{"operation", func(ctx context.Context) error { return fault(client.PutOperation(ctx, "l", op)) }},
		{"operation read", func(ctx context.Context) error { return fault(client.Operation(ctx, "l")) }},
		{"fence", func(ctx context.Context) error {
			return fault(as.PutFence(ctx, "pair", api.Fence{OperationID: op.OperationID, Site: "east", Entries: []api.FenceEntry{{ClusterID: "cluster-east", ACLEntry: api.ACLEntry{
				Principal: "User:app", Host: "*", ResourceType: "TOPIC", ResourceName: "orders", PatternType: "LITERAL", Operation: "WRITE", Permission: "DENY",
			}}}}))
		}},
		{"fences", func(ctx context.Context) error { return fault(client.Fences(ctx, "pair")) }},
		{"groups synced", func(ctx context.Context) error { return fault(as.SyncGroups(ctx, "l")) }},
		{"groups owned", func(ctx context.Context) error { return fault(as.OwnGroups(ctx, "l", api.TakeOwnership{})) }},
		{"groups", func(ctx context.Context) error { return fault(client.Groups(ctx, "l")) }},
		{"failover", func(ctx context.Context) error {
			return fault(as.AlterMirrors(ctx, "l", api.VerbFailover, api.AlterMirrors{MirrorTopicNames: []string{"orders"}}, false))
		}},
		{"stopped", func(context.Context) error { s.statusIs("orders", "STOPPED"); return nil }},
		{"stopped progress", func(ctx context.Context) error { return fault(client.Progress(ctx, "l")) }},
		{"segments", func(ctx context.Context) error { return fault(client.Segments(ctx, "l", "orders")) }},
		{"ledger", func(ctx context.Context) error { return fault(client.Ledger(ctx, "l")) }},
		{"ledger computed", func(ctx context.Context) error { return fault(as.ComputeLedger(ctx, "l")) }},
		{"ledger exported", func(ctx context.Context) error { return fault(as.ExportLedger(ctx, "l", decide)) }},
		{"ledger appended", func(ctx context.Context) error { return fault(as.AppendLedger(ctx, "l", decide)) }},
		{"ledger discarded", func(ctx context.Context) error { return fault(as.DiscardLedger(ctx, "l", decide)) }},
		{"reversed", func(ctx context.Context) error {
			return fault(as.ReverseMirrors(ctx, "l", api.Rejoin{From: []api.Segments{{Topic: "orders"}}}))
		}},
		{"rejoin", func(ctx context.Context) error {
			return fault(as.Rejoin(ctx, "l", api.Rejoin{From: []api.Segments{{Topic: "orders"}}}))
		}},
		{"operation ended", func(ctx context.Context) error { return fault(client.EndOperation(ctx, "l", op)) }},
		{"fence forgotten", func(ctx context.Context) error { return client.DeleteFence(ctx, "pair", op.OperationID) }},
		{"unlocked", func(ctx context.Context) error { return client.DeleteLock(ctx, "pair", op.OperationID) }},
		{"shares", func(ctx context.Context) error { return fault(client.ReplicaPartitions(ctx)) }},
		{"ready", client.Ready},
		{"healthy", client.Healthy},
	} {
		if err := step.call(t.Context()); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	// Neither Kafka has an authorizer.
	if err := fault(client.ACLs(t.Context(), "l", filters)); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("acls: %v", err)
	}
}

func fault[T any](_ T, err error) error { return err }
