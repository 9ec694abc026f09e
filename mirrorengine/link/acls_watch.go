package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// guardEvery is how often a link looks after its guards, in proveAgain a proven
// one is proven anew.
const (
	guardEvery = 2 * time.Second
	proveAgain = time.Minute
)

// taskGuards is the name of the watch in logs.
const taskGuards = "ReadOnlyGuard"

// keepGuards looks after the link's guards until ctx ends: it makes what is
// missing (new writers, entries that somebody removed), proves them by the
// canary, and removes those whose mirrors have ended.
func (l *Link) keepGuards(ctx context.Context) {
	proven := map[string]time.Time{}
	l.every(ctx, taskGuards, guardEvery, func(ctx context.Context) []api.TaskError {
		errs := l.watchGuards(ctx)
		errs = append(errs, l.proveGuards(ctx, proven)...)
		errs = append(errs, l.mgr.clearGuards(ctx, l, true)...)
		var out []api.TaskError
		for _, err := range errs {
			out = append(out, api.TaskError{ErrorCode: taskErrorCode(err), ErrorMessage: err.Error()})
		}
		return out
	})
}

// watchGuards compares the mirrors' guards with the entries that stand.
func (l *Link) watchGuards(ctx context.Context) []error {
	var mirrors []*MirrorTopic
	for _, m := range l.all() {
		if rec := m.record(); rec.guarded() && rec.TopicID != "" {
			mirrors = append(mirrors, m)
		}
	}
	if len(mirrors) == 0 {
		return nil
	}
	facts, err := l.mgr.standing(ctx)
	if err != nil {
		return []error{err}
	}
	if facts.why != "" {
		return []error{fmt.Errorf("mirror topics are not read-only: %s", facts.why)}
	}
	acls, err := l.mgr.anyTopicACLs(ctx)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, m := range mirrors {
		if err := l.watchGuard(ctx, m, facts, acls); err != nil {
			errs = append(errs, fmt.Errorf("mirror topic %s is not read-only: %w", m.name(), err))
		}
	}
	return errs
}

func (l *Link) watchGuard(ctx context.Context, m *MirrorTopic, facts accessFacts, acls []api.ACLEntry) error {
	l.guards.Lock()
	defer l.guards.Unlock()
	rec := m.record()
	if !rec.guarded() { // its end has begun meanwhile
		return nil
	}
	err := l.mgr.guard(ctx, l, rec.Topic, facts, acls)
	var none *unguarded
	level := rec.Guard
	switch {
	case errors.As(err, &none):
		level = api.GuardNone
	case err != nil:
		return err
	case level != api.GuardProven:
		level = api.GuardSet
	}
	if level != rec.Guard {
		err = errors.Join(err, m.edit(ctx, func(r *mirrorRecord) { r.Guard = level }))
	}
	return err
}

// proveGuards sends the canary for guards that are set and not proven, and
// again for proven ones from time to time. proven says when each was last.
func (l *Link) proveGuards(ctx context.Context, proven map[string]time.Time) []error {
	if !l.mgr.hasCanary() {
		return nil
	}
	topics := map[string]int32{}
	mirrors := map[string]*MirrorTopic{}
	for _, m := range l.all() {
		rec := m.record()
		if !rec.guarded() || rec.TopicID == "" {
			continue
		}
		switch {
		case rec.Guard == api.GuardSet:
			var g guardRecord
			if ok, err := l.mgr.store.Get(guardKey(rec.Link, rec.Topic), &g); err != nil || !ok || !g.LetThrough {
				continue
			}
		case rec.Guard == api.GuardProven && time.Since(proven[rec.Topic]) > proveAgain:
		default:
			continue
		}
		topics[rec.Topic], mirrors[rec.Topic] = rec.Partitions, m
	}
	if len(topics) == 0 {
		return nil
	}
	got, err := l.mgr.sing(ctx, topics)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for topic, m := range mirrors {
		errs = append(errs, l.judge(ctx, m, got[topic], proven))
	}
	if err := errors.Join(errs...); err != nil {
		return []error{err}
	}
	return nil
}

// judge turns what the canary heard into the mirror's level.
func (l *Link) judge(ctx context.Context, m *MirrorTopic, v verdict, proven map[string]time.Time) error {
	rec := m.record()
	level := api.GuardSet
	if v.allRefused() {
		level = api.GuardProven
		proven[rec.Topic] = time.Now()
	}
	if level == rec.Guard {
		return nil
	}
	if level == api.GuardSet && len(v.letThrough) == 0 {
		return v.open // a broker that is down takes nothing back
	}
	l.guards.Lock()
	defer l.guards.Unlock()
	changed := false
	err := m.edit(ctx, func(r *mirrorRecord) {
		if r.guarded() && (r.Guard == api.GuardSet || r.Guard == api.GuardProven) {
			r.Guard, changed = level, true
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("guard of %s: %w", rec.Topic, err)
	case !changed:
	case level == api.GuardProven:
		l.log.Info("guard proven: every broker refuses the canary", "topic", rec.Topic, "brokers", len(v.refused))
	default:
		l.log.Error("the guard holds no longer: brokers let the canary through", "topic", rec.Topic, "brokers", v.letThrough)
	}
	return nil
}

// clearGuards removes guards whose mirror has ended, is gone, or never came to
// be: what a crash or a refused request left standing. strays: those of links that are
// gone too, which are any link's work.
func (m *Manager) clearGuards(ctx context.Context, l *Link, strays bool) []error {
	var ended []*MirrorTopic
	var orphans []guardRecord
	name := l.record().Name
	for _, key := range m.store.Keys("guard/") {
		link, topic := topicOfGuard(key)
		if link == name {
			mt, err := l.mirror(topic)
			switch {
			case err == nil && mt.record().over():
				ended = append(ended, mt)
				continue
			case err == nil:
				continue
			}
		} else if _, err := m.link(link); err == nil || !strays {
			continue
		}
		var rec guardRecord
		if ok, err := m.store.Get(key, &rec); err == nil && ok {
			orphans = append(orphans, rec)
		}
	}
	var errs []error
	for mt, err := range m.releaseGuards(ctx, l, ended) {
		errs = append(errs, fmt.Errorf("the guard of %s, whose mirror has ended or is gone, still stands: %w", mt.name(), err))
	}
	if len(orphans) == 0 {
		return errs
	}
	l.guards.Lock()
	defer l.guards.Unlock()
	bad := m.lift(ctx, orphans)
	for _, rec := range orphans {
		if err := bad[rec.Topic]; err != nil {
			errs = append(errs, fmt.Errorf("the guard of %s, which is no mirror, still stands: %w", rec.Topic, err))
			continue
		}
		if err := m.put(ctx, 0, state.Entry{Key: guardKey(rec.Link, rec.Topic)}); err != nil {
			errs = append(errs, err)
		}
		l.log.Info("removed a guard that no mirror has", "topic", rec.Topic, "of_link", rec.Link)
	}
	return errs
}
