package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// A guard keeps everybody but the engine from writing into a mirror topic:
// DENY WRITE entries, since no client can make a topic read-only. Entries carry
// no tag, so each is written down before it is made, and only what is written
// down as ours is ever removed.

// guardRecord is the guard of one mirror topic, in shard 0.
type guardRecord struct {
	Link    string       `json:"link"`
	Topic   string       `json:"topic"`
	Entries []guardEntry `json:"entries"`
	// LetThrough: before the first entry of ours was made, every broker let the
	// canary through; without that its later refusal proves nothing.
	LetThrough bool      `json:"let_through"`
	MadeAt     time.Time `json:"made_at"` // when entries were last made
}

// guardEntry is one DENY entry of a guard.
type guardEntry struct {
	api.ACLEntry
	// ExistedBefore: somebody else made it; it outlives the guard.
	ExistedBefore bool `json:"existed_before"`
	// OperationID is the runbook's operation that made it, empty by hand.
	OperationID string `json:"operation_id,omitempty"`
}

func guardKey(link, topic string) string { return "guard/" + link + "/" + topic }

// unguarded is the reason why a topic gets no guard; mirroring goes on.
type unguarded struct{ why string }

func (u *unguarded) Error() string { return u.why }

// setGuard makes the guard of a mirror topic and answers with its level. A
// cluster or a topic that cannot be guarded gives api.GuardNone and no error: the
// reason is logged and stands in the task's error. An error is worth another try.
func (m *Manager) setGuard(ctx context.Context, l *Link, topic string) (string, error) {
	l.guards.Lock()
	defer l.guards.Unlock()
	facts, err := m.standing(ctx)
	if err != nil {
		return api.GuardNone, err
	}
	var acls []api.ACLEntry
	if facts.why == "" {
		if acls, err = m.anyTopicACLs(ctx); err != nil {
			return api.GuardNone, err
		}
	}
	err = m.guard(ctx, l, topic, facts, acls)
	var none *unguarded
	switch {
	case errors.As(err, &none):
		l.log.Warn("mirror topic is not read-only for others", "topic", topic, "reason", none.why)
		return api.GuardNone, nil
	case err != nil:
		return api.GuardNone, err
	}
	return api.GuardSet, nil
}

func (m *Manager) anyTopicACLs(ctx context.Context) ([]api.ACLEntry, error) {
	brokers, err := m.brokerIDs(ctx)
	if err != nil {
		return nil, err
	}
	return m.topicACLs(ctx, brokers[0])
}

// guard writes down and makes what is missing of a topic's guard. Called with
// l.guards.
func (m *Manager) guard(ctx context.Context, l *Link, topic string, facts accessFacts, acls []api.ACLEntry) error {
	if facts.why != "" {
		return &unguarded{facts.why}
	}
	name := l.record().Name
	var rec guardRecord
	known, err := m.store.Get(guardKey(name, topic), &rec)
	if err != nil {
		return err
	}
	want, err := m.wantedGuard(topic, facts, acls, rec)
	if err != nil {
		return err
	}
	fresh := m.missing(&rec, want, acls, operationOf(ctx))
	var absent []api.ACLEntry
	for _, e := range rec.Entries {
		if !slices.Contains(acls, e.ACLEntry) && !e.ExistedBefore {
			absent = append(absent, e.ACLEntry)
		}
	}
	age := time.Since(rec.MadeAt) // negative: by another replica's clock, which tells nothing
	if known && fresh == 0 && (len(absent) == 0 || age >= 0 && age < accessWait) {
		return nil // an entry just made may not have come to the broker that was asked
	}
	if known && fresh == 0 {
		l.log.Warn("somebody removed entries of a mirror topic's guard, making them again", "topic", topic, "entries", len(absent))
	}
	if !known {
		rec.Link, rec.Topic = name, topic
		rec.LetThrough = m.letThrough(ctx, l, topic, facts)
	}
	rec.MadeAt = time.Now().UTC()
	if err := m.put(ctx, 0, state.Entry{Key: guardKey(name, topic), Value: rec}); err != nil {
		return fmt.Errorf("write down the guard of %s: %w", topic, err)
	}
	err = m.createACLs(ctx, absent)
	if errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.SecurityDisabled) {
		why := fmt.Sprintf("the cluster refuses the guard's entries: %v", err)
		if !known {
			err = m.put(ctx, 0, state.Entry{Key: guardKey(name, topic)})
		} else {
			err = nil
		}
		if err != nil {
			return err
		}
		return &unguarded{why}
	}
	return err
}

// wantedGuard are the entries that keep everybody but the engine out.
func (m *Manager) wantedGuard(topic string, facts accessFacts, acls []api.ACLEntry, rec guardRecord) ([]api.ACLEntry, error) {
	ours := func(e api.ACLEntry) bool {
		return slices.ContainsFunc(rec.Entries, func(g guardEntry) bool { return g.ACLEntry == e && !g.ExistedBefore })
	}
	spoken := false
	var writers []string
	for _, e := range acls {
		if !concerns(e, topic) || ours(e) {
			continue
		}
		spoken = spoken || e.Permission == allow
		if grantsWrite(e) && e.Principal != m.opts.Principal && !slices.Contains(writers, e.Principal) {
			writers = append(writers, e.Principal)
		}
	}
	if facts.allowEveryone && !spoken {
		return nil, &unguarded{"allow.everyone.if.no.acl.found is true and the topic has no ALLOW entry: a DENY would shut out its readers as well; make ALLOW entries for those who read it"}
	}
	if facts.superUser {
		return []api.ACLEntry{denial(everybody, topic, opWrite)}, nil
	}
	if slices.Contains(writers, everybody) {
		return nil, &unguarded{"an ALLOW lets everybody (User:*) write, and the engine is no super user: a DENY for everybody would shut out the engine too; make it a super user, or allow writers one by one"}
	}
	if c := m.opts.CanaryPrincipal; c != "" && !slices.Contains(writers, c) {
		writers = append(writers, c)
	}
	slices.Sort(writers)
	var out []api.ACLEntry
	for _, w := range writers {
		out = append(out, denial(w, topic, opWrite))
	}
	return out, nil
}

// missing adds to the record what it lacks of the wanted entries and tells how
// many those are. An entry that somebody else had made and has taken back since
// (a fence that was lifted) becomes ours.
func (m *Manager) missing(rec *guardRecord, want, acls []api.ACLEntry, operation string) int {
	fresh := 0
	rec.Entries = slices.Clone(rec.Entries)
	for _, e := range want {
		i := slices.IndexFunc(rec.Entries, func(g guardEntry) bool { return g.ACLEntry == e })
		if i >= 0 && rec.Entries[i].ExistedBefore && !slices.Contains(acls, e) {
			rec.Entries[i].ExistedBefore = false
			fresh++
		}
		if i >= 0 {
			continue
		}
		rec.Entries = append(rec.Entries, guardEntry{
			ACLEntry: e, OperationID: operation,
			ExistedBefore: slices.Contains(acls, e) && !m.ourGuard(e, rec.Link),
		})
		fresh++
	}
	return fresh
}

// ourGuard tells whether another link's guard of this engine made an entry.
func (m *Manager) ourGuard(e api.ACLEntry, except string) bool {
	all, err := state.All[guardRecord](m.store, "guard/")
	if err != nil {
		return false
	}
	for _, rec := range all {
		if rec.Link == except {
			continue
		}
		for _, g := range rec.Entries {
			if g.ACLEntry == e && !g.ExistedBefore {
				return true
			}
		}
	}
	return false
}

// letThrough is the canary's look before the first entry.
func (m *Manager) letThrough(ctx context.Context, l *Link, topic string, facts accessFacts) bool {
	if !facts.canary {
		return false
	}
	partitions := int32(1)
	if t, ok := m.local.topic(topic); ok && t.err == nil {
		partitions = int32(len(t.leaders))
	}
	got, err := m.sing(ctx, map[string]int32{topic: partitions})
	v := got[topic]
	if err == nil && v.allLetThrough() {
		return true
	}
	l.log.Warn("the canary was not let through before the guard, so that its refusal will not prove it: allow it WRITE on the topic",
		"topic", topic, "refused_by", v.refused, "error", errors.Join(err, v.open))
	return false
}

func operationOf(ctx context.Context) string {
	op, _ := api.OperationFrom(ctx)
	return op.OperationID
}

// releaseGuards removes the guards of mirrors that ended, all by one request,
// and answers with those that stay, keyed by mirror. They are tried again by
// keepGuards.
func (m *Manager) releaseGuards(ctx context.Context, l *Link, mirrors []*MirrorTopic) map[*MirrorTopic]error {
	if len(mirrors) == 0 {
		return nil
	}
	l.guards.Lock()
	defer l.guards.Unlock()
	name := l.record().Name
	out := map[*MirrorTopic]error{}
	recs := map[*MirrorTopic]guardRecord{}
	var list []guardRecord
	for _, mt := range mirrors {
		if now, _ := l.mirror(mt.name()); now != mt {
			continue // the guard is that of the mirror in its place
		}
		var rec guardRecord
		ok, err := m.store.Get(guardKey(name, mt.name()), &rec)
		switch {
		case err != nil:
			out[mt] = err
		case ok:
			recs[mt] = rec
			list = append(list, rec)
		}
	}
	kept := m.lift(ctx, list)
	released := map[*MirrorTopic]error{}
	opened := map[string]int32{}
	var entries []state.Entry
	for mt, rec := range recs {
		if err := kept[rec.Topic]; err != nil {
			out[mt] = err
			continue
		}
		released[mt] = nil
		opened[rec.Topic] = mt.record().Partitions
		entries = append(entries, state.Entry{Key: guardKey(name, rec.Topic)})
	}
	l.recordAll(ctx, released, func(mt *MirrorTopic) (mirrorRecord, error) {
		r := mt.record()
		r.Guard = api.GuardReleased
		return r, mt.replaced()
	})
	// The mirror's record first: what a crash leaves then is a guard without
	// entries, which keepGuards clears away.
	if err := m.put(ctx, 0, entries...); err != nil {
		l.log.Error("the guards are gone, their records are not", "error", err)
	}
	for mt, err := range released {
		if err != nil {
			out[mt] = fmt.Errorf("the guard is gone, the mirror's record does not say so: %w", err)
		}
	}
	if len(opened) > 0 && m.hasCanary() {
		l.background(func(ctx context.Context) { l.awaitLetThrough(ctx, opened) })
	}
	return out
}

// lift removes the entries of guards that are ours alone, by one request. It
// answers with the topics whose entries could not all be removed.
func (m *Manager) lift(ctx context.Context, recs []guardRecord) map[string]error {
	bad := map[string]error{}
	listed, err := m.listed()
	if err != nil {
		for _, rec := range recs {
			bad[rec.Topic] = err
		}
		return bad
	}
	var entries []api.ACLEntry
	for _, rec := range recs {
		for _, e := range rec.Entries {
			if !e.ExistedBefore && !listed.elsewhere(rec.Link, e.ACLEntry) {
				entries = append(entries, e.ACLEntry)
			}
		}
	}
	failed, err := m.deleteACLs(ctx, entries)
	for _, rec := range recs {
		if err != nil {
			bad[rec.Topic] = err
			continue
		}
		for _, e := range rec.Entries {
			if ferr := failed[e.ACLEntry]; ferr != nil {
				bad[rec.Topic] = errors.Join(bad[rec.Topic], ferr)
			}
		}
	}
	return bad
}

// listing is who has an entry of this cluster written down: the links whose guards
// made it, and "" for a fence that was not handed over.
type listing map[api.ACLEntry][]string

// listed reads the guards and the fence registers.
func (m *Manager) listed() (listing, error) {
	out := listing{}
	guards, err := state.All[guardRecord](m.store, "guard/")
	if err != nil {
		return nil, err
	}
	for _, rec := range guards {
		for _, e := range rec.Entries {
			if !e.ExistedBefore {
				out[e.ACLEntry] = append(out[e.ACLEntry], rec.Link)
			}
		}
	}
	fences, err := state.All[api.Fence](m.store, "fence/")
	if err != nil {
		return nil, err
	}
	for _, f := range fences {
		for _, e := range f.Entries {
			if !f.HandedOver && e.ClusterID == m.clusterID {
				out[e.ACLEntry] = append(out[e.ACLEntry], "")
			}
		}
	}
	return out, nil
}

// elsewhere tells whether an entry is also some operation's fence, or the guard of
// another link's mirror.
func (l listing) elsewhere(link string, e api.ACLEntry) bool {
	return slices.ContainsFunc(l[e], func(by string) bool { return by != link })
}

// hasCanary tells whether the canary may be believed.
func (m *Manager) hasCanary() bool {
	facts, _, known := m.lastAccess()
	return known && facts.canary
}

// guarded tells whether the mirror has to have a guard: one whose topic is gone keeps
// nobody out of what others make there.
func (r mirrorRecord) guarded() bool {
	return !r.over() && r.Status != status.PendingStopped.String()
}

// topicOfGuard reads a topic's name from a guard's key.
func topicOfGuard(key string) (link, topic string) {
	parts := strings.SplitN(strings.TrimPrefix(key, "guard/"), "/", 2)
	if len(parts) != 2 {
		return "", ""
	}
	return parts[0], parts[1]
}
