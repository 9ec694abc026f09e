package api

import (
	"context"
	"net/http"
	"net/url"
)

// call is one extension call: in as the body, T as the answer.
func call[T any](ctx context.Context, c *Client, method, path string, in any) (T, error) {
	var out T
	err := c.do(ctx, method, path, nil, in, &out)
	return out, err
}

// Ready is nil when the engine serves; else an *Error (503) says what is
// missing.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, PathReady, nil, nil, nil)
}

// Engine describes the engine and its local cluster.
func (c *Client) Engine(ctx context.Context) (Engine, error) {
	return call[Engine](ctx, c, http.MethodGet, EnginePath(), nil)
}

// Progress is the live state of a link's mirrors.
func (c *Client) Progress(ctx context.Context, link string) (Progress, error) {
	return call[Progress](ctx, c, http.MethodGet, ProgressPath(link), nil)
}

// Drift is in what a link's mirrors differ from their source topics.
func (c *Client) Drift(ctx context.Context, link string) (Drift, error) {
	return call[Drift](ctx, c, http.MethodGet, DriftPath(link), nil)
}

// Operation is the operation that a link knows last.
func (c *Client) Operation(ctx context.Context, link string) (Operation, error) {
	return call[Operation](ctx, c, http.MethodGet, OperationPath(link), nil)
}

// PutOperation opens an operation on a link; a lower epoch is a 409.
func (c *Client) PutOperation(ctx context.Context, link string, op Operation) (Operation, error) {
	return call[Operation](ctx, c, http.MethodPut, OperationPath(link), op)
}

// RevokeOperation makes the engine refuse the operation from now on.
func (c *Client) RevokeOperation(ctx context.Context, link string, op Operation) (Operation, error) {
	return call[Operation](ctx, c, http.MethodPost, RevokeOperationPath(link), op)
}

// EndOperation is the ordinary end of an operation.
func (c *Client) EndOperation(ctx context.Context, link string, op Operation) (Operation, error) {
	return call[Operation](ctx, c, http.MethodPost, EndOperationPath(link), op)
}

// Lock is a pair's operation lock as this engine's state topic has it.
func (c *Client) Lock(ctx context.Context, pair string) (Lock, error) {
	return call[Lock](ctx, c, http.MethodGet, LockPath(pair), nil)
}

// PutLock takes the lock; a 409 names the operation that holds it.
func (c *Client) PutLock(ctx context.Context, pair string, lock Lock) (Lock, error) {
	return call[Lock](ctx, c, http.MethodPut, LockPath(pair), lock)
}

// DeleteLock lets the lock go; only its holder may.
func (c *Client) DeleteLock(ctx context.Context, pair, operationID string) error {
	q := url.Values{QueryOperationID: {operationID}}
	return c.do(ctx, http.MethodDelete, LockPath(pair), q, nil, nil)
}

// Fences lists a pair's fence register.
func (c *Client) Fences(ctx context.Context, pair string) ([]Fence, error) {
	return call[[]Fence](ctx, c, http.MethodGet, FencesPath(pair), nil)
}

// PutFence records an operation's entries before they are made.
func (c *Client) PutFence(ctx context.Context, pair string, fence Fence) (Fence, error) {
	return call[Fence](ctx, c, http.MethodPut, FencePath(pair, fence.OperationID), fence)
}

// DeleteFence forgets an operation's entries after they were removed.
func (c *Client) DeleteFence(ctx context.Context, pair, operationID string) error {
	return c.do(ctx, http.MethodDelete, FencePath(pair, operationID), nil, nil, nil)
}

// HandOverFence turns an operation's entries into guards of a link's mirrors.
func (c *Client) HandOverFence(ctx context.Context, pair, operationID, link string) error {
	return c.do(ctx, http.MethodPost, HandOverFencePath(pair, operationID), nil, HandOver{Link: link}, nil)
}

// ACLs is what ACL sync of a link would do now; filters (JSON as in acl.filters)
// stand in for the link's own, empty: the link's.
func (c *Client) ACLs(ctx context.Context, link, filters string) (ACLSync, error) {
	q := url.Values{}
	if filters != "" {
		q.Set(QueryACLFilters, filters)
	}
	var out ACLSync
	err := c.do(ctx, http.MethodGet, ACLsPath(link), q, nil, &out)
	return out, err
}

// Groups is the offset sync of a link as of its last round.
func (c *Client) Groups(ctx context.Context, link string) (GroupSync, error) {
	return call[GroupSync](ctx, c, http.MethodGet, GroupsPath(link), nil)
}

// SyncGroups runs one round now and answers with what it read back.
func (c *Client) SyncGroups(ctx context.Context, link string) (GroupSync, error) {
	return call[GroupSync](ctx, c, http.MethodPost, SyncGroupsPath(link), nil)
}

// OwnGroups takes over the offsets found on the destination.
func (c *Client) OwnGroups(ctx context.Context, link string, take TakeOwnership) (GroupSync, error) {
	return call[GroupSync](ctx, c, http.MethodPost, OwnGroupsPath(link), take)
}

// Segments is the offset map of a mirror topic.
func (c *Client) Segments(ctx context.Context, link, topic string) (Segments, error) {
	return call[Segments](ctx, c, http.MethodGet, SegmentsPath(link, topic), nil)
}

// Rejoin starts mirrors over existing topics after a planned move. As with
// AlterMirrors each result has its own error.
func (c *Client) Rejoin(ctx context.Context, link string, rejoin Rejoin) ([]AlterMirrorResult, error) {
	return call[[]AlterMirrorResult](ctx, c, http.MethodPost, RejoinPath(link), rejoin)
}

// ReverseMirrors tells the engine of ended mirrors, described by the segments
// that were read from it, that their source mirrors from here now.
func (c *Client) ReverseMirrors(ctx context.Context, link string, rejoined Rejoin) ([]AlterMirrorResult, error) {
	return call[[]AlterMirrorResult](ctx, c, http.MethodPost, ReversedPath(link), rejoined)
}

// Ledger is the loss ledger of a link as last computed.
func (c *Client) Ledger(ctx context.Context, link string) (Ledger, error) {
	return call[Ledger](ctx, c, http.MethodGet, LedgerPath(link), nil)
}

// ComputeLedger reads the lagging ranges from the source.
func (c *Client) ComputeLedger(ctx context.Context, link string) (Ledger, error) {
	return call[Ledger](ctx, c, http.MethodPost, LedgerVerbPath(link, "compute"), nil)
}

// AppendLedger writes lagged records behind the new primary's log.
func (c *Client) AppendLedger(ctx context.Context, link string, decide DecideLedger) (Ledger, error) {
	return call[Ledger](ctx, c, http.MethodPost, LedgerVerbPath(link, "append"), decide)
}

// DiscardLedger records that lagged records are given up.
func (c *Client) DiscardLedger(ctx context.Context, link string, decide DecideLedger) (Ledger, error) {
	return call[Ledger](ctx, c, http.MethodPost, LedgerVerbPath(link, "discard"), decide)
}

// ExportLedger writes lagged records into a topic beside the originals.
func (c *Client) ExportLedger(ctx context.Context, link string, decide DecideLedger) (Export, error) {
	return call[Export](ctx, c, http.MethodPost, LedgerVerbPath(link, "export"), decide)
}
