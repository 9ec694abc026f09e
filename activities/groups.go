package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.temporal.io/sdk/activity"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// members counts each group's members, classic and new protocol (KIP-848). A
// group that does not exist has none.
func (k *kafka) members(ctx context.Context, groups []string) (map[string]int, error) {
	out := map[string]int{}
	if len(groups) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	classic, err := k.adm.DescribeGroups(ctx, groups...)
	if err != nil {
		return nil, fmt.Errorf("groups of site %s: %w", k.site, err)
	}
	var other []string
	for _, g := range groups {
		d, ok := classic[g]
		switch {
		case !ok || errors.Is(d.Err, kerr.GroupIDNotFound) || d.Err == nil && d.State == "Dead":
			other = append(other, g) // gone, or of the new protocol
		case d.Err != nil:
			return nil, fmt.Errorf("group %s of site %s: %w", g, k.site, d.Err)
		default:
			out[g] = len(d.Members)
		}
	}
	if len(other) == 0 {
		return out, nil
	}
	modern, err := k.adm.DescribeConsumerGroups(ctx, other...)
	if err != nil {
		return out, nil //nolint:nilerr // brokers before KIP-848 have no such groups
	}
	for _, g := range other {
		switch d := modern[g]; {
		case d.Err == nil:
			out[g] = len(d.Members)
		case errors.Is(d.Err, kerr.GroupIDNotFound), errors.Is(d.Err, kerr.UnsupportedVersion):
		default:
			return nil, fmt.Errorf("group %s of site %s: %w", g, k.site, d.Err)
		}
	}
	return out, nil
}

// AwaitGroupsEmpty waits until no group has a member.
func (a *Activities) AwaitGroupsEmpty(ctx context.Context, in workflows.AwaitGroupsEmptyInput) (workflows.AwaitGroupsEmptyResult, error) {
	defer a.beat(ctx)()
	var out workflows.AwaitGroupsEmptyResult
	k, err := a.kafka(in.Site)
	if err != nil {
		return out, settle(err)
	}
	out.Empty, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		n, err := k.members(ctx, in.Groups)
		if err != nil {
			return false, err
		}
		out.Busy = nil
		for _, g := range in.Groups {
			if n[g] > 0 {
				out.Busy = append(out.Busy, fmt.Sprintf("%s (%d members)", g, n[g]))
			}
		}
		return len(out.Busy) == 0, nil
	})
	return out, settle(err)
}

// goneWithin is how long the final sync waits for members that are left on its
// destination: those of clients that died with a cluster, which comes back with
// them, go by their session time-out (45 s by default).
const goneWithin = 75 * time.Second

// SyncGroups runs one round of the link's offset sync and reports what it read
// back. The engine leaves a group alone that has members on the destination, so
// these are waited for first; moving with an older position would make the group
// read again what it has read.
func (a *Activities) SyncGroups(ctx context.Context, in workflows.LinkGroupsInput) (workflows.SyncGroupsResult, error) {
	left, err := a.AwaitGroupsEmpty(ctx, workflows.AwaitGroupsEmptyInput{Call: in.Call, Site: in.Site, Groups: in.Groups, Within: goneWithin})
	if err != nil {
		return workflows.SyncGroupsResult{}, err
	}
	if !left.Empty {
		return workflows.SyncGroupsResult{}, settle(fmt.Errorf("final offset sync at %s: %s still have members there after %s: stop them, their positions cannot be written before",
			in.Site.Name, strings.Join(left.Busy, ", "), goneWithin))
	}
	return a.groupOffsets(ctx, in, func(e *api.Client) (api.GroupSync, error) { return e.SyncGroups(ctx, in.Link.Name) })
}

// OwnGroups has the engine take the offsets on its destination for its own.
func (a *Activities) OwnGroups(ctx context.Context, in workflows.LinkGroupsInput) (workflows.SyncGroupsResult, error) {
	return a.groupOffsets(ctx, in, func(e *api.Client) (api.GroupSync, error) {
		return e.OwnGroups(ctx, in.Link.Name, api.TakeOwnership{Groups: in.Groups})
	})
}

func (a *Activities) groupOffsets(ctx context.Context, in workflows.LinkGroupsInput, do func(*api.Client) (api.GroupSync, error)) (workflows.SyncGroupsResult, error) {
	defer a.beat(ctx)()
	e, err := a.engineAs(in.Site, in.Call)
	if err != nil {
		return workflows.SyncGroupsResult{}, settle(err)
	}
	got, err := do(e)
	if err != nil {
		return workflows.SyncGroupsResult{}, settle(fmt.Errorf("group offsets of link %s at engine %s: %w", in.Link.Name, in.Site.Name, err))
	}
	_, by, err := a.progress(ctx, in.Site, in.Link)
	if err != nil {
		return workflows.SyncGroupsResult{}, settle(err)
	}
	out := workflows.SyncGroupsResult{Exact: true, Groups: groupRisks(got.Groups, by, in.Groups)}
	for _, g := range out.Groups {
		if g.Clamped || !g.Owned || g.Problem != "" {
			out.Exact = false
		}
		if g.Problem != "" {
			out.Problems = append(out.Problems, fmt.Sprintf("%s on %s/%d: %s", g.Group, g.Topic, g.Partition, g.Problem))
		}
	}
	out.Offsets, out.Problems = len(out.Groups), first(out.Problems)
	out.Groups = runbook.Risk{Groups: out.Groups}.Condense(runbook.RowLimit).Groups
	return out, nil
}

// baseline is what the new site looked like when the wait for clients began. It
// goes with each heartbeat, so that a later attempt compares with the first.
type baseline struct {
	Ends    map[string]map[int32]int64            `json:"ends"`
	Commits map[string]map[string]map[int32]int64 `json:"commits"` // group → topic → partition
}

// AwaitClientsMoved waits for Kafka's own evidence: no member on the old side
// (as far as it answers), members or commits that move on the new one.
func (a *Activities) AwaitClientsMoved(ctx context.Context, in workflows.AwaitClientsMovedInput) (workflows.AwaitClientsMovedResult, error) {
	out := workflows.AwaitClientsMovedResult{Topics: len(in.Topics), Groups: []runbook.ClientMove{}}
	fresh, err := a.kafka(in.New)
	if err != nil {
		return out, settle(err)
	}
	old, err := a.kafka(in.Old)
	if err != nil {
		return out, settle(err)
	}
	past := oldSite{kafka: old}
	names := make([]string, 0, len(in.Groups))
	for _, g := range in.Groups {
		names = append(names, g.Name)
	}
	var base baseline
	if !activity.IsActivity(ctx) || !activity.HasHeartbeatDetails(ctx) || activity.GetHeartbeatDetails(ctx, &base) != nil {
		if base, err = fresh.look(ctx, names, in.Topics); err != nil {
			return out, settle(err)
		}
	}
	defer a.beat(ctx, base)()
	out.Complete, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		there, err := fresh.members(ctx, names)
		if err != nil {
			return false, err
		}
		now, err := fresh.look(ctx, names, in.Topics)
		if err != nil {
			return false, err
		}
		here := past.members(ctx, names)
		out.OldReachable = past.reachable
		out.Groups, out.Producing = []runbook.ClientMove{}, 0
		complete := true
		for _, g := range names {
			m := runbook.ClientMove{Group: g, MembersOld: here[g], MembersNew: there[g], Committed: rose(base.Commits[g], now.Commits[g])}
			m.Moved = m.MembersOld == 0 && (m.MembersNew > 0 || m.Committed)
			complete = complete && m.Moved
			out.Groups = append(out.Groups, m)
		}
		for _, t := range in.Topics {
			if rose(map[string]map[int32]int64{t: base.Ends[t]}, map[string]map[int32]int64{t: now.Ends[t]}) {
				out.Producing++
			}
		}
		return complete, nil
	})
	return out, settle(err)
}

// oldSite is the side that clients leave. It may be dead, and each look at a
// dead cluster takes its time: it is looked at again only now and then, so that
// clients that have moved are seen at once.
type oldSite struct {
	*kafka
	reachable bool
	next      time.Time
}

// lookAgain is the pause between looks at an old site that did not answer.
const lookAgain = 15 * time.Second

// members counts as its kafka does; nobody is on a site that does not answer.
func (o *oldSite) members(ctx context.Context, groups []string) map[string]int {
	if time.Now().Before(o.next) {
		return nil
	}
	err := o.reach(ctx)
	var out map[string]int
	if err == nil {
		out, err = o.kafka.members(ctx, groups)
	}
	if o.reachable = err == nil; !o.reachable {
		o.next = time.Now().Add(lookAgain)
	}
	return out
}

// rose tells whether any value differs from before (commits may be set back).
func rose(before, now map[string]map[int32]int64) bool {
	for t, ps := range now {
		for p, n := range ps {
			if was, ok := before[t][p]; !ok || was != n {
				return true
			}
		}
	}
	return false
}

func (k *kafka) look(ctx context.Context, groups, topics []string) (baseline, error) {
	out := baseline{Ends: map[string]map[int32]int64{}, Commits: map[string]map[string]map[int32]int64{}}
	parts, err := k.topics(ctx, topics...)
	if err != nil {
		return out, err
	}
	if len(parts) > 0 {
		const latest = -1
		if out.Ends, err = k.offsets(ctx, parts, latest, asConsumer, 0); err != nil {
			return out, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for g, r := range k.adm.FetchManyOffsets(ctx, groups...) {
		if r.Err != nil && !errors.Is(r.Err, kerr.GroupIDNotFound) {
			return out, fmt.Errorf("offsets of group %s at site %s: %w", g, k.site, r.Err)
		}
		out.Commits[g] = map[string]map[int32]int64{}
		for t, ps := range r.Fetched {
			if !slices.Contains(topics, t) {
				continue
			}
			out.Commits[g][t] = map[int32]int64{}
			for p, o := range ps {
				if o.Err == nil && o.At >= 0 {
					out.Commits[g][t][p] = o.At
				}
			}
		}
	}
	return out, nil
}
