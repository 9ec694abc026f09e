package activities

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
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

// ownWithin is how long what is amiss with groups that are owned may take to go by itself.
const ownWithin = 5 * time.Second

// OwnGroups has the engine take the offsets on its destination for its own. A mirror that
// has rejoined a moment ago does not know its position, and the engine says so of each of
// its groups: it is asked again, since only what stays is for people.
func (a *Activities) OwnGroups(ctx context.Context, in workflows.LinkGroupsInput) (out workflows.SyncGroupsResult, err error) {
	_, err = poll(ctx, ownWithin, func(ctx context.Context) (bool, error) {
		var err error
		out, err = a.groupOffsets(ctx, in, func(e *api.Client) (api.GroupSync, error) {
			return e.OwnGroups(ctx, in.Link.Name, api.TakeOwnership{Groups: in.Groups})
		})
		return len(out.Problems) == 0, err
	})
	return out, err
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
// goes with each heartbeat, so that a later attempt compares with the first; that of
// ten thousand groups must fit into one, so it has a sum for each, not the offsets.
type baseline struct {
	Topics []uint32 `json:"topics"` // of log ends, in the input's order
	Groups []uint32 `json:"groups"` // of commits, likewise
}

// unknown is the sum of what could not be read whole.
const unknown = 0

// learn takes over what was unknown.
func (b *baseline) learn(now baseline) {
	for i, s := range now.Groups {
		if b.Groups[i] == unknown {
			b.Groups[i] = s
		}
	}
	for i, s := range now.Topics {
		if b.Topics[i] == unknown {
			b.Topics[i] = s
		}
	}
}

// changed tells whether offsets differ (commits may be set back), as far as is known.
func changed(before, now uint32) bool { return before != unknown && now != unknown && before != now }

// sum of offsets by topic and partition.
func sum(offsets map[string]map[int32]int64) uint32 {
	h := crc32.NewIEEE()
	for _, t := range slices.Sorted(maps.Keys(offsets)) {
		for _, p := range slices.Sorted(maps.Keys(offsets[t])) {
			fmt.Fprintf(h, "%s %d %d\n", t, p, offsets[t][p]) // a hash takes everything
		}
	}
	return max(h.Sum32(), unknown+1)
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
	names := in.Groups
	var base baseline
	if !activity.IsActivity(ctx) || !activity.HasHeartbeatDetails(ctx) || activity.GetHeartbeatDetails(ctx, &base) != nil || len(base.Groups) != len(names) || len(base.Topics) != len(in.Topics) {
		stop := a.beat(ctx) // of many groups the first look alone may be long
		base, err = fresh.look(ctx, names, in.Topics)
		if stop(); err != nil {
			return out, settle(err)
		}
	}
	defer a.beat(ctx, base)()
	base.Groups, base.Topics = slices.Clone(base.Groups), slices.Clone(base.Topics) // heartbeats have the first
	var moves []runbook.ClientMove
	out.Complete, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		there, err := fresh.members(ctx, names)
		if err != nil {
			return false, err
		}
		now, err := fresh.look(ctx, names, in.Topics)
		if err != nil {
			return false, err
		}
		base.learn(now)
		here := past.members(ctx, names)
		out.OldReachable = past.reachable
		moves, out.Producing = make([]runbook.ClientMove, 0, len(names)), 0
		complete := true
		for i, g := range names {
			m := runbook.ClientMove{Group: g, MembersOld: here[g], MembersNew: there[g], Committed: changed(base.Groups[i], now.Groups[i])}
			m.Moved = m.MembersOld == 0 && (m.MembersNew > 0 || m.Committed)
			complete = complete && m.Moved
			moves = append(moves, m)
		}
		for i := range in.Topics {
			if changed(base.Topics[i], now.Topics[i]) {
				out.Producing++
			}
		}
		return complete, nil
	})
	kept := runbook.CondenseMoves(moves, runbook.ClientRows)
	out.Groups, out.Moved, out.Left = append(out.Groups, kept.Rows...), kept.Moved, kept.Left
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

// look reads log ends of topics and commits of groups on them. A partition that did not
// answer leaves its topic or group unknown: a missing number is no movement.
func (k *kafka) look(ctx context.Context, groups, topics []string) (baseline, error) {
	out := baseline{Topics: make([]uint32, len(topics)), Groups: make([]uint32, len(groups))}
	parts, err := k.topics(ctx, topics...)
	if err != nil {
		return out, err
	}
	if len(parts) > 0 {
		const latest = -1
		ends, err := k.offsets(ctx, parts, latest, asConsumer, 0)
		if err != nil {
			return out, err
		}
		for i, t := range topics {
			if len(ends[t]) == len(parts[t]) {
				out.Topics[i] = sum(map[string]map[int32]int64{t: ends[t]})
			}
		}
	}
	ours := make(map[string]bool, len(topics))
	for _, t := range topics {
		ours[t] = true
	}
	at := make(map[string]int, len(groups))
	for i, g := range groups {
		at[g] = i
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for g, r := range k.adm.FetchManyOffsets(ctx, groups...) {
		if r.Err != nil && !errors.Is(r.Err, kerr.GroupIDNotFound) {
			return out, fmt.Errorf("offsets of group %s at site %s: %w", g, k.site, r.Err)
		}
		whole, commits := true, map[string]map[int32]int64{}
		for t, ps := range r.Fetched {
			if !ours[t] {
				continue
			}
			commits[t] = map[int32]int64{}
			for p, o := range ps {
				if whole = whole && o.Err == nil; o.At >= 0 {
					commits[t][p] = o.At
				}
			}
		}
		if whole {
			out.Groups[at[g]] = sum(commits)
		}
	}
	return out, nil
}
