package link

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// HandOverFence makes the entries that an operation's fence has on this cluster
// the guards of a link's mirrors: the guards' records take them, naming the
// operation, and the register is closed in the same transaction. From then on
// promote and failover remove them. Entries on the other cluster stay in the
// register. Only DENY WRITE on a topic that is a mirror of the link can be taken;
// for anything else nothing is done and the answer names it. Handing over what
// was handed over already is success.
func (m *Manager) HandOverFence(ctx context.Context, pair, operationID, link string) error {
	l, err := m.link(link)
	if err != nil {
		return err
	}
	if err := m.admit(ctx, l); err != nil {
		return err
	}
	m.ops.Lock()
	defer m.ops.Unlock()
	l.guards.Lock()
	defer l.guards.Unlock()
	var fence api.Fence
	ok, err := m.store.Get(fencePrefix(pair)+operationID, &fence)
	switch {
	case err != nil:
		return err
	case !ok:
		return api.NotFound("Pair '%s' has no fence of operation %s in this engine's register; put it there first.", pair, operationID)
	case fence.HandedOver:
		return nil
	}
	guards, elsewhere, err := m.takeOver(l, fence)
	if err != nil {
		return err
	}
	var entries []state.Entry
	for topic, g := range guards {
		entries = append(entries, state.Entry{Key: guardKey(link, topic), Value: g})
	}
	// Closed means handed over; what stands on the other cluster stays open.
	if len(elsewhere) > 0 {
		fence.Entries = elsewhere
	} else {
		fence.HandedOver = true
	}
	entries = append(entries, state.Entry{Key: fencePrefix(pair) + operationID, Value: fence})
	if err := m.put(ctx, 0, entries...); err != nil {
		return fmt.Errorf("hand over the fence of operation %s: %w", operationID, err)
	}
	for topic := range guards {
		mt, err := l.mirror(topic)
		if err != nil {
			continue
		}
		if mt.record().Guard == api.GuardProven {
			continue
		}
		if err := mt.edit(ctx, func(r *mirrorRecord) { r.Guard = api.GuardSet }); err != nil {
			return err
		}
	}
	l.log.Info("fence handed over to guards", "run_id", operationID, "topics", len(guards), "entries_elsewhere", len(elsewhere))
	return nil
}

// takeOver sorts a fence's entries into guards and what stands elsewhere, or
// refuses, naming every entry that cannot be taken.
func (m *Manager) takeOver(l *Link, fence api.Fence) (map[string]guardRecord, []api.FenceEntry, error) {
	guards := map[string]guardRecord{}
	var elsewhere []api.FenceEntry
	var refused []string
	name := l.record().Name
	for _, e := range fence.Entries {
		if e.ClusterID != m.clusterID {
			elsewhere = append(elsewhere, e)
			continue
		}
		mt, err := l.mirror(e.ResourceName)
		switch {
		case e.Permission != deny || e.ResourceType != resourceTopic || e.PatternType != patternPlain || e.Operation != opWrite:
			refused = append(refused, describeACL(e.ACLEntry)+" (lift it first: only DENY WRITE on one topic can become a guard)")
			continue
		case err != nil:
			refused = append(refused, describeACL(e.ACLEntry)+" (the topic is no mirror of cluster link '"+name+"')")
			continue
		case !mt.record().guarded() && !mt.record().Gone: // a gone one's is lifted by the watch
			refused = append(refused, describeACL(e.ACLEntry)+" (the mirror is "+mt.record().Status+")")
			continue
		}
		g, ok := guards[e.ResourceName]
		if !ok {
			if _, err := m.store.Get(guardKey(name, e.ResourceName), &g); err != nil {
				return nil, nil, err
			}
			g.Link, g.Topic, g.Entries = name, e.ResourceName, slices.Clone(g.Entries)
			g.LetThrough = g.LetThrough || fence.LetThrough
		}
		taken := guardEntry{ACLEntry: e.ACLEntry, ExistedBefore: e.ExistedBefore, OperationID: fence.OperationID}
		if i := slices.IndexFunc(g.Entries, func(have guardEntry) bool { return have.ACLEntry == e.ACLEntry }); i >= 0 {
			// The guard found the fence's entry there and took it for a stranger's.
			g.Entries[i].ExistedBefore = g.Entries[i].ExistedBefore && e.ExistedBefore
			g.Entries[i].OperationID = fence.OperationID
		} else {
			g.Entries = append(g.Entries, taken)
		}
		guards[e.ResourceName] = g
	}
	if len(refused) > 0 {
		return nil, nil, api.BadRequest("the fence of operation %s cannot be handed over: %s", fence.OperationID, strings.Join(refused, "; "))
	}
	if len(guards) == 0 {
		return nil, nil, api.BadRequest("the fence of operation %s has no entry on this cluster (%s)", fence.OperationID, m.clusterID)
	}
	return guards, elsewhere, nil
}
