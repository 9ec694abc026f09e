package rest

import (
	"context"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Links is what the server needs of the engine; link.Manager has it. Errors
// that are (or wrap) an *api.Error are answered as they are, anything else is
// a 500. The calling operation is in ctx (api.OperationFrom).
//
// Kind, Metadata and nil lists in results are filled in by the server.
type Links interface {
	// ClusterID is the local cluster's.
	ClusterID() string
	Engine(ctx context.Context) (api.Engine, error)

	CreateLink(ctx context.Context, name string, req api.CreateLink, validateOnly, validateLink bool) error
	Links(ctx context.Context) ([]api.Link, error)
	Link(ctx context.Context, name string, tasks bool) (api.Link, error)
	DeleteLink(ctx context.Context, name string, force, validateOnly bool) error
	LinkConfigs(ctx context.Context, name string) ([]api.LinkConfig, error)
	// AlterLinkConfigs gets Operation as SET (with a value) or DELETE only.
	AlterLinkConfigs(ctx context.Context, name string, changes []api.AlterConfig, validateOnly bool) error

	CreateMirror(ctx context.Context, link string, req api.CreateMirror) error
	// Mirrors of one link, or of all for api.AllLinks; status is empty or one
	// of the contract's twelve.
	Mirrors(ctx context.Context, link, status string) ([]api.Mirror, error)
	Mirror(ctx context.Context, link, topic string, transitionErrors bool) (api.Mirror, error)
	// AlterMirrors gets exactly one of names and pattern.
	AlterMirrors(ctx context.Context, link string, verb api.MirrorVerb, req api.AlterMirrors, validateOnly bool) ([]api.AlterMirrorResult, error)

	Progress(ctx context.Context, link string) (api.Progress, error)
	Drift(ctx context.Context, link string) (api.Drift, error)

	// DebugMirrors lists the partitions of all mirrors.
	DebugMirrors(ctx context.Context) ([]api.PartitionDebug, error)

	Operation(ctx context.Context, link string) (api.Operation, error)
	PutOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error)
	RevokeOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error)
	EndOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error)

	Lock(ctx context.Context, pair string) (api.Lock, error)
	PutLock(ctx context.Context, pair string, lock api.Lock) (api.Lock, error)
	DeleteLock(ctx context.Context, pair, operationID string) error

	Fences(ctx context.Context, pair string) ([]api.Fence, error)
	// PutFence gets Pair and OperationID as in the path.
	PutFence(ctx context.Context, pair string, fence api.Fence) (api.Fence, error)
	DeleteFence(ctx context.Context, pair, operationID string) error
	HandOverFence(ctx context.Context, pair, operationID, link string) error

	// ACLs reads both clusters; filters (acl.filters) may be empty: the link's own.
	ACLs(ctx context.Context, link, filters string) (api.ACLSync, error)

	Groups(ctx context.Context, link string) (api.GroupSync, error)
	SyncGroups(ctx context.Context, link string) (api.GroupSync, error)
	OwnGroups(ctx context.Context, link string, take api.TakeOwnership) (api.GroupSync, error)

	Segments(ctx context.Context, link, topic string) (api.Segments, error)
	Rejoin(ctx context.Context, link string, rejoin api.Rejoin) ([]api.AlterMirrorResult, error)
	ReverseMirrors(ctx context.Context, link string, rejoined api.Rejoin) ([]api.AlterMirrorResult, error)

	Ledger(ctx context.Context, link string) (api.Ledger, error)
	ComputeLedger(ctx context.Context, link string) (api.Ledger, error)
	AppendLedger(ctx context.Context, link string, decide api.DecideLedger) (api.Ledger, error)
	DiscardLedger(ctx context.Context, link string, decide api.DecideLedger) (api.Ledger, error)
	ExportLedger(ctx context.Context, link string, decide api.DecideLedger) (api.Export, error)
}
