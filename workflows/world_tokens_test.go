package workflows

import (
	"context"
	"slices"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// token is an engine's: an open one of another operation is overtaken by a higher epoch only, and what was revoked
// never opens again. What has ended does here: in the test environment all runs have one name.
func (w *world) token(method string, in OperationTokenInput, state string) (OperationTokenResult, error) {
	err := w.enter(method, in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.down[in.Site.Name+" engine"] {
		err = temporal.NewApplicationError("connection refused", ErrUnreachable)
	}
	l, c := in.Link.Name, in.Call
	newest := w.holders[l]
	mine := newest.OperationID == c.OperationID
	switch {
	case err != nil:
	case state == "open" && w.revoked[l+" "+c.OperationID]:
		err = refuse(ErrRefused, "operation %s was revoked on %s", c.OperationID, l) // as the engine does, for good
	case state == "open" && c.Epoch < newest.Epoch:
		err = no(ErrStaleOperation, "link %s has seen epoch %d (operation %s); epoch %d comes too late", l, newest.Epoch, newest.OperationID, c.Epoch)
	case state == "open" && w.tokens[l] == "open" && !mine && c.Epoch == newest.Epoch:
		err = no(ErrStaleOperation, "operation %s (epoch %d) is at work on link %s", newest.OperationID, newest.Epoch, l)
	case state == "open":
		w.tokens[l], w.holders[l] = state, c
	case state == "ended" && mine && w.tokens[l] == "open":
		w.tokens[l] = state
	case state == "revoked":
		for _, op := range append([]string{c.OperationID}, in.Also...) {
			w.revoked[l+" "+op] = true
			if newest.OperationID == op || newest.OperationID == "" {
				w.tokens[l] = state
			}
		}
	}
	return OperationTokenResult{State: state}, err
}

// shut refuses a call about a link on which the token of another operation is open, but for those of them that pass.
func (w *world) shut(link string, c Call, pass ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if newest := w.holders[link]; w.tokens[link] == "open" && newest.OperationID != c.OperationID && !slices.Contains(pass, newest.OperationID) {
		return no(ErrStaleOperation, "operation %s (epoch %d) is at work on link %s; wait for it, or revoke it", newest.OperationID, newest.Epoch, link)
	}
	return nil
}

func (w *world) BeginOperation(_ context.Context, in OperationTokenInput) (OperationTokenResult, error) {
	return w.token("BeginOperation", in, "open")
}

func (w *world) EndOperation(_ context.Context, in OperationTokenInput) (OperationTokenResult, error) {
	return w.token("EndOperation", in, "ended")
}

func (w *world) RevokeOperation(_ context.Context, in OperationTokenInput) (RevokeOperationResult, error) {
	if w.isDown(in.Site.Name + " engine") {
		_ = w.enter("RevokeOperation", in.Call)
		return RevokeOperationResult{}, temporal.NewApplicationError("connection refused", ErrUnreachable)
	}
	_, err := w.token("RevokeOperation", in, "revoked")
	w.mu.Lock()
	defer w.mu.Unlock()
	out := RevokeOperationResult{State: "revoked"}
	for _, t := range w.plan.Topics {
		if w.mirrors[in.Link.Name][t] == "STOPPED" {
			out.Stopped = append(out.Stopped, t)
		}
		if w.mirrors[in.Link.Name][t] == "PENDING_STOPPED" {
			w.mirrors[in.Link.Name][t] = "ACTIVE"
		}
	}
	return out, err
}

// leftToken is what a lost run leaves at the engine of a link: its token, and the lock that it had to take before.
func (w *world) leftToken(link, op string, epoch int64) {
	l := w.plan.Links[slices.IndexFunc(w.plan.Links, func(l runbook.Link) bool { return l.Name == link })]
	w.tokens[link], w.holders[link] = "open", Call{OperationID: op, Epoch: epoch}
	w.locks[l.Destination], w.highest[l.Destination] = op, epoch
}
