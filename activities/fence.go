package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The fence: DENY entries, each recorded in the other site's engine before it is
// made (with what stood there before), so that lifting removes only what was
// ours. DENY WRITE on topics is registered under the operation's id, DENY READ
// on groups under groupFence of it: the first becomes the guards' when the
// cluster becomes a standby, the second is lifted on its own.
//
// No ACL binds a super user, and brokers do not say who is one: whoever writes
// in spite of a fence shows in ProveFence by logs that move.

// groupFence is the register of an operation's DENY READ entries.
func groupFence(operation string) string { return operation + ".groups" }

// mainOperation is the operation that a register belongs to.
func mainOperation(register string) string { return strings.TrimSuffix(register, ".groups") }

// fencing is one fence on its way.
type fencing struct {
	a          *Activities
	call       workflows.Call
	site       runbook.Site
	registerAt runbook.Site
	register   string
	resource   string
	op         string
	names      []string
	dark       bool
}

// FenceSite denies WRITE on topics.
func (a *Activities) FenceSite(ctx context.Context, in workflows.FenceSiteInput) (workflows.FenceResult, error) {
	defer a.beat(ctx)()
	f := fencing{a, in.Call, in.Site, in.RegisterAt, in.Call.OperationID, onTopic, opWrite, in.Topics, in.Dark}
	return f.raise(ctx)
}

// FenceGroups denies READ on groups, which refuses their commits too.
func (a *Activities) FenceGroups(ctx context.Context, in workflows.FenceGroupsInput) (workflows.FenceResult, error) {
	defer a.beat(ctx)()
	f := fencing{a, in.Call, in.Site, in.RegisterAt, groupFence(in.Call.OperationID), onGroup, opRead, in.Groups, false}
	return f.raise(ctx)
}

func (f fencing) raise(ctx context.Context) (workflows.FenceResult, error) {
	var out workflows.FenceResult
	k, err := f.a.kafka(f.site)
	if err != nil {
		return out, settle(err)
	}
	reach := k.reach
	if f.dark {
		reach = k.knock
	}
	if err := reach(ctx); err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		out.Problem = err.Error()
		return out, nil
	}
	out.Reachable = true
	out, err = f.entries(ctx, k, out)
	if err != nil && f.unenforceable(err) {
		// No authorizer, or no right to set entries: nothing stands, and the
		// proof will say that nothing is proven.
		out.Problem = err.Error()
		f.a.logger(f.call).Warn("the fence cannot be made", "site", f.site.Name, "error", err)
		return out, nil
	}
	if err != nil && retryable(err) && k.reach(ctx) != nil && ctx.Err() == nil {
		// It went away meanwhile. What was registered is lifted on its return.
		out.Reachable, out.Problem = false, err.Error()
		return out, nil
	}
	return out, settle(err)
}

func (fencing) unenforceable(err error) bool {
	return errors.Is(err, kerr.SecurityDisabled) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// entries makes what is missing: look, write down, make, look again.
func (f fencing) entries(ctx context.Context, k *kafka, out workflows.FenceResult) (workflows.FenceResult, error) {
	cluster, err := k.clusterID(ctx)
	if err != nil {
		return out, err
	}
	brokers, err := k.brokers(ctx)
	if err != nil {
		return out, err
	}
	have, err := k.acls(ctx, brokers[0], f.resource)
	if err != nil {
		return out, err
	}
	registrar, err := f.a.engine(f.registerAt)
	if err != nil {
		return out, err
	}
	registers, err := registrar.Fences(ctx, f.call.Pair)
	if err != nil {
		return out, fmt.Errorf("fence register of pair %s at engine %s: %w", f.call.Pair, f.registerAt.Name, err)
	}
	principals := f.principals(ctx, have)
	want := f.wanted(principals)
	if len(want) == 0 {
		return out, nil
	}
	fresh := !slices.ContainsFunc(registers, func(r api.Fence) bool { return r.OperationID == f.register })
	if f.resource == onTopic && f.site.Canary != nil && fresh {
		// Where another operation's fence stands the canary is refused because of that one, which wrote down what the canary
		// was told before it: else what a run fenced that then failed could never be proven by the next.
		open := slices.DeleteFunc(slices.Clone(f.names), func(name string) bool { return letThrough(registers, want, name, cluster) })
		heard, err := song{}, error(nil)
		if len(open) > 0 {
			heard, err = f.a.sing(ctx, f.site, open)
		}
		out.CanaryBefore = err == nil && (len(open) == 0 || heard.allThrough())
	}
	fence := api.Fence{Pair: f.call.Pair, OperationID: f.register, Site: f.site.Name, LetThrough: out.CanaryBefore}
	for _, e := range want {
		fence.Entries = append(fence.Entries, api.FenceEntry{
			ACLEntry: e, ClusterID: cluster, ExistedBefore: slices.Contains(have, e) && !made(registers, e, cluster),
		})
	}
	stored, err := registrar.PutFence(ctx, f.call.Pair, fence)
	if err != nil {
		return out, fmt.Errorf("write down the fence of %s at engine %s: %w", f.site.Name, f.registerAt.Name, err)
	}
	var absent, all []api.ACLEntry
	for _, e := range stored.Entries {
		if e.ClusterID != cluster || e.ResourceType != f.resource {
			continue
		}
		all = append(all, e.ACLEntry)
		if !slices.Contains(have, e.ACLEntry) {
			absent = append(absent, e.ACLEntry)
		}
		if !slices.Contains(out.Principals, e.Principal) {
			out.Principals = append(out.Principals, e.Principal)
		}
	}
	slices.Sort(out.Principals)
	if err := k.createACLs(ctx, absent); err != nil {
		return out, err
	}
	if err := k.awaitACLs(ctx, all, true); err != nil {
		return out, err
	}
	out.Entries = len(all)
	f.a.logger(f.call).Info("fence raised", "site", f.site.Name, "resource", f.resource, "entries", len(all), "made", len(absent), "principals", out.Principals)
	return out, nil
}

// made tells whether an open register has an entry as made by its operation:
// then it is shared, and whoever lifts last removes it.
func made(registers []api.Fence, e api.ACLEntry, cluster string) bool {
	for _, r := range registers {
		for _, x := range r.Entries {
			if !r.HandedOver && x.ACLEntry == e && x.ClusterID == cluster && !x.ExistedBefore {
				return true
			}
		}
	}
	return false
}

// letThrough tells whether the canary was let through to a topic before another operation made the entries that are wanted there.
func letThrough(registers []api.Fence, want []api.ACLEntry, name, cluster string) bool {
	return slices.ContainsFunc(registers, func(r api.Fence) bool {
		return r.LetThrough && !r.HandedOver && !slices.ContainsFunc(want, func(e api.ACLEntry) bool {
			return e.ResourceName == name && !slices.ContainsFunc(r.Entries, func(x api.FenceEntry) bool {
				return x.ACLEntry == e && x.ClusterID == cluster && !x.ExistedBefore
			})
		})
	})
}

// principals are who must be denied, for each name. User:* where the site's
// engine is a super user: it must write behind the fence once the site is a
// standby, and DENY beats ALLOW. Else those whom ALLOW entries let in now, and
// the canary, but neither the engine nor this worker.
//
// An ALLOW for User:* leaves no choice but to deny User:*, the engine included;
// its mirrors then wait at hand-over until its own rights are mended.
func (f fencing) principals(ctx context.Context, have []api.ACLEntry) func(name string) []string {
	spared := []string{principal(f.site.Kafka.Security)}
	super := false
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if e, err := f.a.engine(f.site); err == nil {
		if facts, err := e.Engine(reach); err == nil {
			super = facts.SuperUser
			spared = append(spared, facts.Principal)
		} else {
			f.a.logger(f.call).Warn("the engine of the site to fence does not say who it is: its ALLOW entries decide", "site", f.site.Name, "error", err)
		}
	}
	return func(name string) []string {
		if super {
			return []string{everybody}
		}
		var out []string
		for _, e := range have {
			if grants(e, f.resource, name, f.op) && !slices.Contains(spared, e.Principal) && !slices.Contains(out, e.Principal) {
				out = append(out, e.Principal)
			}
		}
		if f.resource == onTopic && f.site.Canary != nil {
			if c := principal(*f.site.Canary); c != "" && !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
		slices.Sort(out)
		return out
	}
}

func (f fencing) wanted(principals func(string) []string) []api.ACLEntry {
	var out []api.ACLEntry
	for _, n := range f.names {
		for _, p := range principals(n) {
			out = append(out, denial(p, f.resource, n, f.op))
		}
	}
	return out
}
