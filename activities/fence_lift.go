package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// LiftFence removes what an operation's fence made, topics and groups. Without a
// register there is nothing to lift, and the site is not even asked.
func (a *Activities) LiftFence(ctx context.Context, in workflows.LiftFenceInput) (workflows.FenceResult, error) {
	defer a.beat(ctx)()
	return a.lift(ctx, in, func(api.FenceEntry) bool { return true })
}

// LiftGroupFence removes only the DENY READ entries on groups.
func (a *Activities) LiftGroupFence(ctx context.Context, in workflows.LiftFenceInput) (workflows.FenceResult, error) {
	defer a.beat(ctx)()
	return a.lift(ctx, in, func(e api.FenceEntry) bool { return e.ResourceType == onGroup })
}

// registers are the open registers of a site, of one operation or (operation
// "") of all.
func (a *Activities) registers(ctx context.Context, pair string, site, at runbook.Site, operation string) (mine, all []api.Fence, err error) {
	e, err := a.engine(at)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := e.Fences(ctx, pair)
	if err != nil {
		return nil, nil, fmt.Errorf("fence register of pair %s at engine %s: %w", pair, at.Name, err)
	}
	slices.SortFunc(list, func(a, b api.Fence) int { return strings.Compare(a.OperationID, b.OperationID) }) // whatever the engine's order
	for _, r := range list {
		if r.HandedOver || r.Site != site.Name {
			continue
		}
		all = append(all, r)
		if operation == "" || r.OperationID == operation || mainOperation(r.OperationID) == operation {
			mine = append(mine, r)
		}
	}
	return mine, all, nil
}

func (a *Activities) lift(ctx context.Context, in workflows.LiftFenceInput, concerned func(api.FenceEntry) bool) (workflows.FenceResult, error) {
	out := workflows.FenceResult{Reachable: true}
	mine, all, err := a.registers(ctx, in.Call.Pair, in.Site, in.RegisterAt, in.FencingOperation)
	if err != nil {
		return out, settle(err)
	}
	mine = slices.DeleteFunc(mine, func(r api.Fence) bool { return !slices.ContainsFunc(r.Entries, concerned) && len(r.Entries) > 0 })
	if len(mine) == 0 {
		out.Again = activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt > 1
		return out, nil
	}
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	cluster, err := k.clusterID(ctx)
	if err != nil {
		return out, settle(fmt.Errorf("lift the fence: %w", err))
	}
	var remove []api.ACLEntry
	for _, r := range mine {
		for _, e := range r.Entries {
			if concerned(e) && !e.ExistedBefore && e.ClusterID == cluster && !listed(all, mine, e) && !slices.Contains(remove, e.ACLEntry) {
				remove = append(remove, e.ACLEntry)
			}
		}
	}
	if err := k.deleteACLs(ctx, remove); err != nil {
		return out, settle(err)
	}
	if len(remove) > 0 {
		if err := k.awaitACLs(ctx, remove, false); err != nil {
			return out, settle(err)
		}
	}
	registrar, err := a.engine(in.RegisterAt)
	if err != nil {
		return out, settle(err)
	}
	for _, r := range mine {
		if err := a.shrink(ctx, registrar, r, concerned); err != nil {
			return out, settle(err)
		}
		if op := mainOperation(r.OperationID); !slices.Contains(out.Operations, op) {
			out.Operations = append(out.Operations, op)
		}
	}
	out.Entries = len(remove)
	a.logger(in.Call).Info("fence lifted", "site", in.Site.Name, "entries", len(remove), "operations", out.Operations)
	return out, nil
}

// listed tells whether a register that is not being lifted has the entry too.
func listed(all, mine []api.Fence, e api.FenceEntry) bool {
	for _, r := range all {
		if slices.ContainsFunc(mine, func(m api.Fence) bool { return m.OperationID == r.OperationID }) {
			continue
		}
		for _, x := range r.Entries {
			if x.ACLEntry == e.ACLEntry && x.ClusterID == e.ClusterID {
				return true
			}
		}
	}
	return false
}

// shrink takes entries that are gone out of a register. A register cannot be
// cut, only added to or deleted: what stays moves to the operation's other
// register first, so that no crash forgets an entry.
func (a *Activities) shrink(ctx context.Context, e *api.Client, r api.Fence, gone func(api.FenceEntry) bool) error {
	var topics, groups []api.FenceEntry
	for _, x := range r.Entries {
		switch {
		case gone(x):
		case x.ResourceType == onGroup:
			groups = append(groups, x)
		default:
			topics = append(topics, x)
		}
	}
	op := mainOperation(r.OperationID)
	for _, keep := range []struct {
		register string
		entries  []api.FenceEntry
	}{{op, topics}, {groupFence(op), groups}} {
		if len(keep.entries) == 0 {
			continue
		}
		if keep.register == r.OperationID {
			// The entries stay where they are, beside what is gone: a second lift
			// finds those missing, which is no error.
			return nil
		}
		if _, err := e.PutFence(ctx, r.Pair, api.Fence{Pair: r.Pair, OperationID: keep.register, Site: r.Site, Entries: keep.entries}); err != nil {
			return fmt.Errorf("move entries of the fence of operation %s to register %s: %w", op, keep.register, err)
		}
	}
	if err := e.DeleteFence(ctx, r.Pair, r.OperationID); err != nil {
		return fmt.Errorf("close the fence register of operation %s: %w", r.OperationID, err)
	}
	return nil
}

// HandOverFence makes the DENY WRITE entries on a site the guards of the
// mirrors there. The site's own engine must have the register for that: it is
// copied there, taken over, and only then closed where it was kept. Entries on
// topics that are no mirrors can be no guards: they are taken off the cluster.
func (a *Activities) HandOverFence(ctx context.Context, in workflows.HandOverFenceInput) (workflows.FenceResult, error) {
	defer a.beat(ctx)()
	out := workflows.FenceResult{Reachable: true}
	mine, _, err := a.registers(ctx, in.Call.Pair, in.Site, in.RegisterAt, in.FencingOperation)
	if err != nil {
		return out, settle(err)
	}
	taker, err := a.engineAs(in.Site, in.Call)
	if err != nil {
		return out, settle(err)
	}
	keeper, err := a.engine(in.RegisterAt)
	if err != nil {
		return out, settle(err)
	}
	write := func(e api.FenceEntry) bool {
		return e.ResourceType == onTopic && e.Operation == opWrite && e.PatternType == literal
	}
	running, err := a.mirrors(ctx, in.Site, in.Link)
	if err != nil {
		return out, settle(err)
	}
	for _, r := range mine {
		var give, lift []api.FenceEntry
		for _, e := range r.Entries {
			switch s := running[e.ResourceName].MirrorStatus; {
			case !write(e):
			case s == "" || s == runbook.StatusStopped:
				lift = append(lift, e)
			default:
				give = append(give, e)
			}
		}
		if len(give)+len(lift) == 0 {
			continue
		}
		if len(give) > 0 {
			if err := a.takeOver(ctx, taker, in, r, give); err != nil {
				return out, settle(err)
			}
		}
		lifted, err := a.liftStrays(ctx, in.Site, lift)
		if err != nil {
			return out, settle(err)
		}
		out.Lifted = append(out.Lifted, lifted...)
		if err := a.shrink(ctx, keeper, r, write); err != nil {
			return out, settle(err)
		}
		out.Entries += len(give)
		out.Operations = append(out.Operations, mainOperation(r.OperationID))
	}
	return out, nil
}

// liftStrays removes entries that we made and names their topics.
func (a *Activities) liftStrays(ctx context.Context, site runbook.Site, entries []api.FenceEntry) ([]string, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	k, err := a.kafka(site)
	if err != nil {
		return nil, err
	}
	var remove []api.ACLEntry
	var topics []string
	for _, e := range entries {
		if !e.ExistedBefore {
			remove = append(remove, e.ACLEntry)
		}
		if !slices.Contains(topics, e.ResourceName) {
			topics = append(topics, e.ResourceName)
		}
	}
	if err := k.deleteACLs(ctx, remove); err != nil || len(remove) == 0 {
		return topics, err
	}
	return topics, k.awaitACLs(ctx, remove, false)
}

func (a *Activities) takeOver(ctx context.Context, e *api.Client, in workflows.HandOverFenceInput, r api.Fence, give []api.FenceEntry) error {
	have, err := e.Fences(ctx, in.Call.Pair)
	if err != nil {
		return fmt.Errorf("fence register at engine %s: %w", in.Site.Name, err)
	}
	for _, h := range have {
		if h.OperationID == r.OperationID && h.HandedOver {
			return nil // an attempt before this one came that far
		}
	}
	if _, err := e.PutFence(ctx, in.Call.Pair, api.Fence{Pair: in.Call.Pair, OperationID: r.OperationID, Site: in.Site.Name, Entries: give, LetThrough: r.LetThrough}); err != nil {
		return fmt.Errorf("copy the fence of operation %s to engine %s: %w", r.OperationID, in.Site.Name, err)
	}
	if err := e.HandOverFence(ctx, in.Call.Pair, r.OperationID, in.Link.Name); err != nil {
		return fmt.Errorf("hand the fence of operation %s over to the guards of link %s: %w", r.OperationID, in.Link.Name, err)
	}
	return nil
}
