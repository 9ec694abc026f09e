package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// EngineLock takes the operation lock in a site's state topic.
func (a *Activities) EngineLock(ctx context.Context, in workflows.EngineLockInput) (workflows.EngineLockResult, error) {
	e, err := a.engine(in.Site)
	if err != nil {
		return workflows.EngineLockResult{}, settle(err)
	}
	want := api.Lock{OperationID: in.Call.OperationID, Operation: in.Call.Operation, Epoch: in.Call.Epoch}
	got, err := e.PutLock(ctx, in.Call.Pair, want)
	if errors.Is(err, api.ErrConflict) && in.Break != "" {
		// Only the lock that people decided to break; the engine leaves every
		// other one alone.
		if derr := e.DeleteLock(ctx, in.Call.Pair, in.Break); derr == nil {
			a.logger(in.Call).Warn("lock of another operation broken by override", "site", in.Site.Name, "broken", in.Break)
			got, err = e.PutLock(ctx, in.Call.Pair, want)
		} else if !errors.Is(derr, api.ErrConflict) {
			return workflows.EngineLockResult{}, settle(derr)
		}
	}
	if errors.Is(err, api.ErrConflict) {
		held, lerr := e.Lock(ctx, in.Call.Pair)
		if lerr == nil && held.OperationID == "" {
			return workflows.EngineLockResult{}, refuse(workflows.ErrEpochConflict, "lock pair %s at engine %s: %v", in.Call.Pair, in.Site.Name, err)
		}
		return workflows.EngineLockResult{}, refuse(workflows.ErrPairBusy, "lock pair %s at engine %s: %v: wait for that run, or end it", in.Call.Pair, in.Site.Name, err)
	}
	if err != nil {
		return workflows.EngineLockResult{}, settle(fmt.Errorf("lock pair %s at engine %s: %w", in.Call.Pair, in.Site.Name, err))
	}
	return lockResult(in, got), nil
}

func lockResult(in workflows.EngineLockInput, l api.Lock) workflows.EngineLockResult {
	return workflows.EngineLockResult{Held: l.OperationID == in.Call.OperationID, Lock: lockOf(l), HighestEpoch: l.HighestEpoch}
}

// EngineUnlock gives the lock back; Held tells whether it is still ours.
func (a *Activities) EngineUnlock(ctx context.Context, in workflows.EngineLockInput) (workflows.EngineLockResult, error) {
	defer a.beat(ctx)()
	e, err := a.engine(in.Site)
	if err != nil {
		return workflows.EngineLockResult{}, settle(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = e.DeleteLock(ctx, in.Call.Pair, in.Call.OperationID)
	if err != nil && !errors.Is(err, api.ErrConflict) && !gone(err) {
		return workflows.EngineLockResult{}, settle(fmt.Errorf("unlock pair %s at engine %s: %w", in.Call.Pair, in.Site.Name, err))
	}
	now, err := e.Lock(ctx, in.Call.Pair)
	if err != nil {
		return workflows.EngineLockResult{}, settle(err)
	}
	out := lockResult(in, now)
	if out.Held {
		return out, notYet("engine %s still shows the lock of %s", in.Site.Name, in.Call.OperationID)
	}
	return out, nil
}

// noLink is the state of an operation on a link that the engine does not know.
const noLink = "none"

func token(c workflows.Call) api.Operation {
	return api.Operation{OperationID: c.OperationID, Epoch: c.Epoch}
}

// BeginOperation opens the operation's token on a link.
func (a *Activities) BeginOperation(ctx context.Context, in workflows.OperationTokenInput) (workflows.OperationTokenResult, error) {
	return a.token(ctx, in, func(e *api.Client) (api.Operation, error) {
		return e.PutOperation(ctx, in.Link.Name, token(in.Call))
	})
}

// EndOperation ends it in good order.
func (a *Activities) EndOperation(ctx context.Context, in workflows.OperationTokenInput) (workflows.OperationTokenResult, error) {
	return a.token(ctx, in, func(e *api.Client) (api.Operation, error) {
		return e.EndOperation(ctx, in.Link.Name, token(in.Call))
	})
}

func (a *Activities) token(_ context.Context, in workflows.OperationTokenInput, do func(*api.Client) (api.Operation, error)) (workflows.OperationTokenResult, error) {
	e, err := a.engine(in.Site)
	if err != nil {
		return workflows.OperationTokenResult{}, settle(err)
	}
	op, err := do(e)
	if gone(err) {
		return workflows.OperationTokenResult{State: noLink}, nil
	}
	if err != nil {
		return workflows.OperationTokenResult{}, settle(fmt.Errorf("operation %s on link %s of engine %s: %w", in.Call.OperationID, in.Link.Name, in.Site.Name, err))
	}
	return workflows.OperationTokenResult{State: op.State}, nil
}

// RevokeOperation revokes the token, under each name that the operation may have, and
// waits, as long as its step may take, until no mirror of the link is PENDING_STOPPED.
// Turning many mirrors back takes its time, so it looks first whether anybody is there: a
// site that went dark would keep each try until the step's end.
func (a *Activities) RevokeOperation(ctx context.Context, in workflows.OperationTokenInput) (workflows.RevokeOperationResult, error) {
	defer a.beat(ctx)()
	got, err := a.token(ctx, in, func(e *api.Client) (api.Operation, error) {
		there, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if op, err := e.Operation(there, in.Link.Name); err != nil {
			return op, err
		}
		op, err := e.RevokeOperation(ctx, in.Link.Name, token(in.Call))
		for _, name := range in.Also {
			if err == nil {
				_, err = e.RevokeOperation(ctx, in.Link.Name, api.Operation{OperationID: name, Epoch: in.Call.Epoch})
			}
		}
		return op, err
	})
	out := workflows.RevokeOperationResult{State: got.State}
	if err != nil || got.State == noLink {
		return out, err
	}
	var pending []string
	settled, err := poll(ctx, 4*time.Minute, func(ctx context.Context) (bool, error) {
		mirrors, err := a.mirrors(ctx, in.Site, in.Link)
		if err != nil {
			return false, err
		}
		out.Stopped, pending = nil, nil
		for name, m := range mirrors {
			switch m.MirrorStatus {
			case runbook.StatusStopped:
				out.Stopped = append(out.Stopped, name)
			case statusPending:
				pending = append(pending, name)
			}
		}
		slices.Sort(out.Stopped)
		return len(pending) == 0, nil
	})
	if err == nil && !settled {
		slices.Sort(pending)
		err = notYet("mirrors %v of link %s are still PENDING_STOPPED: whether there is a way back is not known yet", pending, in.Link.Name)
	}
	return out, settle(err)
}
