package rest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

const clusterID = "cluster-west"

// unimplemented is Links by another name: embedded as Links it would hide the
// method Links.
type unimplemented Links

// fakeLinks notes each call with its arguments and answers something that is
// recognisable. A method that it lacks panics (the embedded interface is nil).
type fakeLinks struct {
	unimplemented       //nolint:unused // its methods are what the tests do not call
	err           error // answered by every method

	mu    sync.Mutex // guards calls
	calls []string
}

func (f *fakeLinks) note(ctx context.Context, format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	if op, ok := api.OperationFrom(ctx); ok {
		line += fmt.Sprintf(" as %s/%d", op.OperationID, op.Epoch)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, line)
	return f.err
}

func (f *fakeLinks) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fakeLinks) ClusterID() string { return clusterID }

func (f *fakeLinks) Engine(ctx context.Context) (api.Engine, error) {
	return api.Engine{ClusterID: clusterID, WriterFence: api.WriterFenceEnforced}, f.note(ctx, "Engine")
}

func (f *fakeLinks) CreateLink(ctx context.Context, name string, req api.CreateLink, validateOnly, validateLink bool) error {
	return f.note(ctx, "CreateLink %s source=%s configs=%d validateOnly=%t validateLink=%t",
		name, req.SourceClusterID, len(req.Configs), validateOnly, validateLink)
}

func (f *fakeLinks) Links(ctx context.Context) ([]api.Link, error) {
	return []api.Link{goldenLink()}, f.note(ctx, "Links")
}

func (f *fakeLinks) Link(ctx context.Context, name string, tasks bool) (api.Link, error) {
	link := goldenLink()
	if tasks {
		link.Tasks = []api.LinkTask{{TaskName: api.TaskOffsetSync, State: "ACTIVE"}}
	}
	return link, f.note(ctx, "Link %s tasks=%t", name, tasks)
}

func goldenLink() api.Link {
	source := "cluster-east"
	return api.Link{
		LinkName: "east-west", SourceClusterID: &source, LinkState: api.LinkActive, LinkError: api.LinkErrorNone,
		LinkID: "7840644d-f7d8-4844-a577-a10ef0efb1df", ClusterLinkID: "eEBkTffYSESld6EO8O-x3w",
	}
}

func (f *fakeLinks) DeleteLink(ctx context.Context, name string, force, validateOnly bool) error {
	return f.note(ctx, "DeleteLink %s force=%t validateOnly=%t", name, force, validateOnly)
}

func (f *fakeLinks) LinkConfigs(ctx context.Context, name string) ([]api.LinkConfig, error) {
	value := "30000"
	return []api.LinkConfig{
		{Name: "consumer.offset.sync.ms", Value: &value, Source: "DEFAULT_CONFIG", IsDefault: true, Default: true},
		{Name: "sasl.jaas.config", Source: "DYNAMIC_CLUSTER_LINK_CONFIG", IsSensitive: true, Sensitive: true},
	}, f.note(ctx, "LinkConfigs %s", name)
}

func (f *fakeLinks) AlterLinkConfigs(ctx context.Context, name string, changes []api.AlterConfig, validateOnly bool) error {
	line := fmt.Sprintf("AlterLinkConfigs %s validateOnly=%t", name, validateOnly)
	for _, c := range changes {
		line += " " + c.Operation + " " + c.Name
		if c.Value != nil {
			line += "=" + *c.Value
		}
	}
	return f.note(ctx, "%s", line)
}

func (f *fakeLinks) CreateMirror(ctx context.Context, link string, req api.CreateMirror) error {
	return f.note(ctx, "CreateMirror %s %s rf=%d", link, req.SourceTopicName, req.ReplicationFactor)
}

func goldenMirror() api.Mirror {
	return api.Mirror{
		LinkName: "east-west", MirrorTopicName: "dr-topic", SourceTopicName: "dr-topic", NumPartitions: 1,
		MirrorStatus: "ACTIVE", MirrorTopicError: api.MirrorErrorNone, StateTimeMs: 1790000000000,
	}
}

func (f *fakeLinks) Mirrors(ctx context.Context, link, status string) ([]api.Mirror, error) {
	return []api.Mirror{goldenMirror()}, f.note(ctx, "Mirrors %s status=%s", link, status)
}

func (f *fakeLinks) Mirror(ctx context.Context, link, topic string, transitionErrors bool) (api.Mirror, error) {
	m := goldenMirror()
	m.MirrorLags = []api.MirrorLag{{Partition: 0, Lag: 3, LastSourceFetchOffset: 10}}
	return m, f.note(ctx, "Mirror %s %s errors=%t", link, topic, transitionErrors)
}

func (f *fakeLinks) AlterMirrors(ctx context.Context, link string, verb api.MirrorVerb, req api.AlterMirrors, validateOnly bool) ([]api.AlterMirrorResult, error) {
	refused := api.AlterMirrorResult{MirrorTopicName: "stopped-topic"}
	refused.Refuse(api.Malformed("Topic 'stopped-topic' has already stopped its mirror from 'east-west'"))
	done := api.AlterMirrorResult{
		MirrorTopicName: "dr-topic", MirrorLags: []api.MirrorLag{{Partition: 0, Lag: 0, LastSourceFetchOffset: 10}},
	}
	return []api.AlterMirrorResult{done, refused}, f.note(ctx, "AlterMirrors %s %s %v %q validateOnly=%t",
		link, verb, req.MirrorTopicNames, req.MirrorTopicNamePattern, validateOnly)
}

func (f *fakeLinks) Progress(ctx context.Context, link string) (api.Progress, error) {
	return api.Progress{Link: link}, f.note(ctx, "Progress %s", link)
}

func (f *fakeLinks) DebugMirrors(ctx context.Context) ([]api.PartitionDebug, error) {
	var rows []api.PartitionDebug
	for n := range int32(2100) {
		rows = append(rows, api.PartitionDebug{
			Link: "east-west", Topic: "orders", Status: "ACTIVE", Located: true, Segments: 3, ProducerEpoch: 7, BytesUnderWay: 4096,
			PartitionProgress: api.PartitionProgress{Partition: n, SourcePosition: 42, SourceHighWatermark: 50, LagRecords: 8},
		})
	}
	rows[5].Topic, rows[5].Stalled, rows[5].Located = "payments", "no\nleader", false
	return rows, f.note(ctx, "DebugMirrors")
}

func (f *fakeLinks) Operation(ctx context.Context, link string) (api.Operation, error) {
	return api.Operation{OperationID: "op"}, f.note(ctx, "Operation %s", link)
}

func (f *fakeLinks) PutOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
	return op, f.note(ctx, "PutOperation %s %s/%d", link, op.OperationID, op.Epoch)
}

func (f *fakeLinks) RevokeOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
	return op, f.note(ctx, "RevokeOperation %s %s/%d", link, op.OperationID, op.Epoch)
}

func (f *fakeLinks) EndOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
	return op, f.note(ctx, "EndOperation %s %s/%d", link, op.OperationID, op.Epoch)
}

func (f *fakeLinks) Lock(ctx context.Context, pair string) (api.Lock, error) {
	return api.Lock{OperationID: "op"}, f.note(ctx, "Lock %s", pair)
}

func (f *fakeLinks) PutLock(ctx context.Context, pair string, lock api.Lock) (api.Lock, error) {
	return lock, f.note(ctx, "PutLock %s %s/%d", pair, lock.OperationID, lock.Epoch)
}

func (f *fakeLinks) DeleteLock(ctx context.Context, pair, operationID string) error {
	return f.note(ctx, "DeleteLock %s %s", pair, operationID)
}

func (f *fakeLinks) Fences(ctx context.Context, pair string) ([]api.Fence, error) {
	return []api.Fence{{Pair: pair}}, f.note(ctx, "Fences %s", pair)
}

func (f *fakeLinks) PutFence(ctx context.Context, pair string, fence api.Fence) (api.Fence, error) {
	return fence, f.note(ctx, "PutFence %s %s entries=%d", fence.Pair, fence.OperationID, len(fence.Entries))
}

func (f *fakeLinks) DeleteFence(ctx context.Context, pair, operationID string) error {
	return f.note(ctx, "DeleteFence %s %s", pair, operationID)
}

func (f *fakeLinks) HandOverFence(ctx context.Context, pair, operationID, link string) error {
	return f.note(ctx, "HandOverFence %s %s %s", pair, operationID, link)
}

func (f *fakeLinks) ACLs(ctx context.Context, link, filters string) (api.ACLSync, error) {
	return api.ACLSync{Link: link}, f.note(ctx, "ACLs %s %s", link, filters)
}

func (f *fakeLinks) Groups(ctx context.Context, link string) (api.GroupSync, error) {
	return api.GroupSync{Link: link}, f.note(ctx, "Groups %s", link)
}

func (f *fakeLinks) SyncGroups(ctx context.Context, link string) (api.GroupSync, error) {
	return api.GroupSync{Link: link}, f.note(ctx, "SyncGroups %s", link)
}

func (f *fakeLinks) OwnGroups(ctx context.Context, link string, take api.TakeOwnership) (api.GroupSync, error) {
	return api.GroupSync{Link: link}, f.note(ctx, "OwnGroups %s %v", link, take.Groups)
}

func (f *fakeLinks) Drift(ctx context.Context, link string) (api.Drift, error) {
	return api.Drift{Link: link, ComputedAt: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), Entries: []api.DriftEntry{{
		Config: "retention.ms", Source: api.DriftValue{Value: "604800000", From: "STATIC_BROKER_CONFIG"},
		Destination: api.DriftValue{Value: "86400000", From: "DEFAULT_CONFIG"}, Harmful: true,
		Meaning: "records are kept for another time", Cure: "add retention.ms to topic.config.sync.include", Topics: []string{"dr-topic"},
	}}}, f.note(ctx, "Drift %s", link)
}

func (f *fakeLinks) Segments(ctx context.Context, link, topic string) (api.Segments, error) {
	return api.Segments{Topic: topic}, f.note(ctx, "Segments %s %s", link, topic)
}

func (f *fakeLinks) ReverseMirrors(ctx context.Context, link string, rejoined api.Rejoin) ([]api.AlterMirrorResult, error) {
	return []api.AlterMirrorResult{{MirrorTopicName: rejoined.From[0].Topic}}, f.note(ctx, "ReverseMirrors %s from=%d", link, len(rejoined.From))
}

func (f *fakeLinks) Rejoin(ctx context.Context, link string, rejoin api.Rejoin) ([]api.AlterMirrorResult, error) {
	return []api.AlterMirrorResult{{MirrorTopicName: rejoin.From[0].Topic}}, f.note(ctx, "Rejoin %s from=%d", link, len(rejoin.From))
}

func (f *fakeLinks) Ledger(ctx context.Context, link string) (api.Ledger, error) {
	return api.Ledger{Link: link}, f.note(ctx, "Ledger %s", link)
}

func (f *fakeLinks) ComputeLedger(ctx context.Context, link string) (api.Ledger, error) {
	return api.Ledger{Link: link}, f.note(ctx, "ComputeLedger %s", link)
}

func (f *fakeLinks) AppendLedger(ctx context.Context, link string, d api.DecideLedger) (api.Ledger, error) {
	return api.Ledger{Link: link}, f.note(ctx, "AppendLedger %s %v by %s", link, d.Topics, d.DecidedBy)
}

func (f *fakeLinks) DiscardLedger(ctx context.Context, link string, d api.DecideLedger) (api.Ledger, error) {
	return api.Ledger{Link: link}, f.note(ctx, "DiscardLedger %s %v by %s", link, d.Topics, d.DecidedBy)
}

func (f *fakeLinks) ExportLedger(ctx context.Context, link string, d api.DecideLedger) (api.Export, error) {
	return api.Export{Topic: "export"}, f.note(ctx, "ExportLedger %s %v by %s", link, d.Topics, d.DecidedBy)
}

// tokenOf gives an admin a token.
func tokenOf(secret string) Access {
	return Access{Tokens: []Token{{Name: "tester", Role: RoleAdmin, Secret: secret}}}
}

// start serves opts and gives the base URL; each call is held against the OpenAPI
// document.
func start(t *testing.T, opts Options) string {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	server := httptest.NewServer(documented(t, New(opts)))
	t.Cleanup(server.Close)
	return server.URL
}

// send makes a raw call and gives status and body.
func send(t *testing.T, req *http.Request) (int, string, http.Header) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}
