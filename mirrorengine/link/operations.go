package link

import (
	"context"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// States of an operation's token.
const (
	operationOpen    = "open"
	operationEnded   = "ended"
	operationRevoked = "revoked"
)

// tokenRecord is what a link remembers of the runbook operations that changed
// it: the newest one, and which were revoked or ended at that epoch.
type tokenRecord struct {
	api.Operation
	Revoked []string `json:"revoked,omitempty"`
}

// shutOut refuses an operation from now on.
func (t *tokenRecord) shutOut(operationID string) {
	if !slices.Contains(t.Revoked, operationID) {
		t.Revoked = append(t.Revoked, operationID)
	}
	if n := len(t.Revoked); n > revokedKept {
		t.Revoked = t.Revoked[n-revokedKept:]
	}
}

func tokenKey(link string) string { return "operation/" + link }
func lockKey(pair string) string  { return "lock/" + pair }
func fencePrefix(pair string) string {
	return "fence/" + pair + "/"
}

// admit lets a changing call pass: a runbook's call only while its operation is
// open and of the highest epoch seen, a person's call only while no operation is
// open on the link. So a delayed call of an ended run does nothing.
func (m *Manager) admit(ctx context.Context, l *Link) error {
	name := l.record().Name
	var tok tokenRecord
	if _, err := m.store.Get(tokenKey(name), &tok); err != nil {
		return err
	}
	op, ok := api.OperationFrom(ctx)
	switch {
	case !ok && tok.State == operationOpen:
		return api.Conflict("operation %s (epoch %d) is at work on cluster link '%s'; wait for it, or revoke it", tok.OperationID, tok.Epoch, name)
	case !ok:
		return nil
	case op.Epoch < tok.Epoch:
		return api.Conflict("operation %s has epoch %d, cluster link '%s' has seen epoch %d (operation %s): this call is of an ended run and did nothing", op.OperationID, op.Epoch, name, tok.Epoch, tok.OperationID)
	case op.OperationID != tok.OperationID || tok.State != operationOpen:
		return api.Conflict("operation %s is not open on cluster link '%s' (%s is %s): this call did nothing", op.OperationID, name, tok.OperationID, tok.State)
	}
	return nil
}

// Operation tells the newest operation of a link.
func (m *Manager) Operation(_ context.Context, link string) (api.Operation, error) {
	tok, err := m.token(link)
	return tok.Operation, err
}

func (m *Manager) token(link string) (tokenRecord, error) {
	var tok tokenRecord
	if _, err := m.link(link); err != nil {
		return tok, err
	}
	_, err := m.store.Get(tokenKey(link), &tok)
	return tok, err
}

// PutOperation opens an operation on a link. A lower epoch, a revoked or ended
// operation and an open one of somebody else at the same epoch are refused.
func (m *Manager) PutOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	tok, err := m.token(link)
	if err != nil {
		return op, err
	}
	switch {
	case op.Epoch < tok.Epoch:
		return tok.Operation, api.Conflict("cluster link '%s' has seen epoch %d (operation %s); epoch %d comes too late", link, tok.Epoch, tok.OperationID, op.Epoch)
	case slices.Contains(tok.Revoked, op.OperationID):
		return tok.Operation, api.Conflict("operation %s was revoked or ended on cluster link '%s'; start a new one", op.OperationID, link)
	case tok.State == operationOpen && tok.OperationID != op.OperationID && op.Epoch == tok.Epoch:
		return tok.Operation, api.Conflict("operation %s (epoch %d) is at work on cluster link '%s'", tok.OperationID, tok.Epoch, link)
	}
	op.State = operationOpen
	return op, m.put(ctx, 0, state.Entry{Key: tokenKey(link), Value: tokenRecord{Operation: op, Revoked: tok.Revoked}})
}

// revokedKept bounds the list of operations that are shut out; older ones are shut out by
// their epoch.
const revokedKept = 50

// RevokeOperation shuts an operation out for good and turns the mirrors that it
// was draining back to ACTIVE. The state is "revoked"; the answer's error names
// mirrors that are past the point of no return.
func (m *Manager) RevokeOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	tok, err := m.token(link)
	if err != nil {
		return op, err
	}
	tok.shutOut(op.OperationID)
	if tok.OperationID == op.OperationID || tok.OperationID == "" {
		tok.OperationID, tok.Epoch, tok.State = op.OperationID, max(op.Epoch, tok.Epoch), operationRevoked
	}
	if err := m.put(ctx, 0, state.Entry{Key: tokenKey(link), Value: tok}); err != nil {
		return op, err
	}
	l, err := m.link(link)
	if err != nil {
		return op, err
	}
	past, err := l.revoke(ctx)
	if err != nil {
		return op, err
	}
	if len(past) > 0 {
		l.log.Warn("a revoked operation had already passed the point of no return", "topics", past)
	}
	op.State, op.Epoch = operationRevoked, max(op.Epoch, tok.Epoch)
	return op, nil
}

// EndOperation closes an operation that did its work.
func (m *Manager) EndOperation(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	tok, err := m.token(link)
	if err != nil {
		return op, err
	}
	if tok.OperationID != op.OperationID || tok.State != operationOpen {
		return tok.Operation, nil
	}
	tok.State = operationEnded
	// Shut out like a revoked one: a delayed call must not open it again.
	tok.shutOut(op.OperationID)
	return tok.Operation, m.put(ctx, 0, state.Entry{Key: tokenKey(link), Value: tok})
}

// Lock reads a pair's operation lock; an empty OperationID means that it is
// free.
func (m *Manager) Lock(_ context.Context, pair string) (api.Lock, error) {
	var lock api.Lock
	_, err := m.store.Get(lockKey(pair), &lock)
	return lock, err
}

// PutLock takes the lock for an operation; taking one's own again is success.
func (m *Manager) PutLock(ctx context.Context, pair string, lock api.Lock) (api.Lock, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	held, err := m.Lock(ctx, pair)
	if err != nil {
		return held, err
	}
	switch {
	case held.OperationID == lock.OperationID && held.OperationID != "":
		return held, nil
	case held.OperationID != "":
		return held, api.Conflict("pair '%s' is locked by operation %s (%s, since %s)", pair, held.OperationID, held.Operation, held.Since.Format(time.RFC3339))
	case lock.Epoch < held.HighestEpoch:
		return held, api.Conflict("pair '%s' has seen epoch %d; epoch %d comes too late", pair, held.HighestEpoch, lock.Epoch)
	}
	lock.HighestEpoch = max(held.HighestEpoch, lock.Epoch)
	if lock.Since.IsZero() {
		lock.Since = time.Now().UTC()
	}
	return lock, m.put(ctx, 0, state.Entry{Key: lockKey(pair), Value: lock})
}

// DeleteLock frees the lock of an operation; somebody else's is left alone. The
// highest epoch stays.
func (m *Manager) DeleteLock(ctx context.Context, pair, operationID string) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	held, err := m.Lock(ctx, pair)
	if err != nil {
		return err
	}
	if held.OperationID == "" {
		return nil
	}
	if held.OperationID != operationID {
		return api.Conflict("pair '%s' is locked by operation %s, not by %s", pair, held.OperationID, operationID)
	}
	return m.put(ctx, 0, state.Entry{Key: lockKey(pair), Value: api.Lock{HighestEpoch: held.HighestEpoch}})
}

// Fences lists the registers of a pair's fences that still stand.
func (m *Manager) Fences(_ context.Context, pair string) ([]api.Fence, error) {
	return state.All[api.Fence](m.store, fencePrefix(pair))
}

// PutFence records the entries of an operation's fence before they are made. A
// second call adds what is new; what was recorded stays as it was, since
// ExistedBefore is only true on the first look.
func (m *Manager) PutFence(ctx context.Context, pair string, fence api.Fence) (api.Fence, error) {
	m.ops.Lock()
	defer m.ops.Unlock()
	key := fencePrefix(pair) + fence.OperationID
	var old api.Fence
	if _, err := m.store.Get(key, &old); err != nil {
		return fence, err
	}
	known := map[api.ACLEntry]map[string]bool{}
	for _, e := range old.Entries {
		if known[e.ACLEntry] == nil {
			known[e.ACLEntry] = map[string]bool{}
		}
		known[e.ACLEntry][e.ClusterID] = true
	}
	merged := old.Entries
	for _, e := range fence.Entries {
		if !known[e.ACLEntry][e.ClusterID] {
			merged = append(merged, e)
		}
	}
	if len(old.Entries) > 0 { // what came later was not looked at, unless it says so
		fence.LetThrough = old.LetThrough && (fence.LetThrough || len(merged) == len(old.Entries))
	}
	fence.Entries = merged
	return fence, m.put(ctx, 0, state.Entry{Key: key, Value: fence})
}

// DeleteFence forgets an operation's fence once its entries are gone.
func (m *Manager) DeleteFence(ctx context.Context, pair, operationID string) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	return m.put(ctx, 0, state.Entry{Key: fencePrefix(pair) + operationID})
}
