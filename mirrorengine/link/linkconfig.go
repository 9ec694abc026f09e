package link

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// seal puts sealed values in the place of inline secrets.
func (m *Manager) seal(link string, values map[string]string) (map[string]string, error) {
	out := maps.Clone(values)
	for _, key := range InlineSecrets(values) {
		sealed, err := m.opts.Sealer.Seal(values[key], link, key)
		if err != nil {
			return nil, api.BadRequest("%s holds a secret itself: give a reference (${file:/path:key} or ${env:NAME}), or give the engine an encryption key: %v", key, err)
		}
		out[key] = sealed
	}
	return out, nil
}

// unseal is the way back; it is never shown.
func (m *Manager) unseal(rec linkRecord) (map[string]string, error) {
	out := maps.Clone(rec.Configs)
	for key, value := range out {
		if secret.Sealed(value) {
			open, err := m.opts.Sealer.Open(value, rec.Name, key)
			if err != nil {
				return nil, err
			}
			out[key] = open
		}
	}
	return out, nil
}

// configOf reads a link's stored configs.
func (m *Manager) configOf(rec linkRecord) (Config, error) {
	values, err := m.unseal(rec)
	if err != nil {
		return Config{}, err
	}
	return Parse(values)
}

// LinkConfigs lists a link's configs; secrets have no value.
func (m *Manager) LinkConfigs(_ context.Context, name string) ([]api.LinkConfig, error) {
	l, err := m.link(name)
	if err != nil {
		return nil, err
	}
	return DescribeConfigs(l.record().Configs), nil
}

// AlterLinkConfigs changes a link's configs. What concerns the connection makes
// the link connect anew.
func (m *Manager) AlterLinkConfigs(ctx context.Context, name string, changes []api.AlterConfig, validateOnly bool) error {
	l, err := m.link(name)
	if err != nil {
		return err
	}
	if err := m.admit(ctx, l); err != nil {
		return err
	}
	rec := l.record()
	open, err := m.unseal(rec)
	if err != nil {
		return err
	}
	values, cfg, err := Alter(open, changes)
	if err != nil {
		return api.BadRequest("%v", err)
	}
	if maps.Equal(values, open) {
		return nil // asked for again; the link need not connect anew
	}
	if rec.Configs, err = m.seal(name, values); err != nil {
		return err
	}
	if cfg.SameConnection(l.config()) {
		// The source may be down just now, and this does not concern it.
	} else if id, err := m.probe(ctx, rec, cfg); err != nil {
		return err
	} else if id != rec.SourceClusterID {
		return api.BadRequest("these configs lead to cluster %s, cluster link '%s' mirrors %s", id, name, rec.SourceClusterID)
	}
	if validateOnly {
		return nil
	}
	return m.replace(ctx, l, rec)
}

// replace starts the link anew under its new record; its mirrors go on where
// they stand.
func (m *Manager) replace(ctx context.Context, old *Link, rec linkRecord) error {
	l, err := newLink(m, rec)
	if err != nil {
		return api.BadRequest("%v", err)
	}
	err = m.asLeader(rec.Name, old, func() error {
		if err := m.put(ctx, 0, state.Entry{Key: linkKey(rec.Name), Value: rec}); err != nil {
			return err
		}
		old.stop()
		for _, mt := range old.all() {
			mt.change.Lock() // a write that is under way; behind it there is none
			l.mirrors[mt.name()] = newMirror(l, mt.record())
			mt.change.Unlock()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.links[rec.Name] = l
		m.launch(l)
		return nil
	})
	if err != nil {
		l.src.client.Close()
		return err
	}
	m.log.Info("link configs altered", "link", rec.Name)
	return nil
}

// pauseAll follows cluster.link.paused.
func (l *Link) pauseAll(ctx context.Context) {
	event := status.LinkIsResumed
	if l.config().Paused {
		event = status.LinkIsPaused
	}
	for _, m := range l.all() {
		before := m.record().Status
		next, err := m.next(event, nil)
		if err != nil || next.Status == before {
			continue
		}
		if err := m.apply(ctx, event, nil); err != nil {
			l.log.Error("a mirror could not follow cluster.link.paused", "topic", m.name(), "error", err)
		}
	}
}

// keepConfigs runs topic config sync until ctx ends.
func (l *Link) keepConfigs(ctx context.Context) {
	l.everyNoted(ctx, api.TaskConfigSync, l.config().ConfigSyncEvery, l.syncConfigs)
}

// every runs a task of the link and keeps what its description says of it.
func (l *Link) every(ctx context.Context, name string, period time.Duration, task func(context.Context) []api.TaskError) {
	l.everyNoted(ctx, name, period, func(ctx context.Context) (faults, notes []api.TaskError) { return task(ctx), nil })
}

// everyNoted is every for a task that also has notes: they are told with the
// errors, but do not put the task IN_ERROR.
func (l *Link) everyNoted(ctx context.Context, name string, period time.Duration, task func(context.Context) (faults, notes []api.TaskError)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		faults, notes := task(ctx)
		if ctx.Err() != nil {
			return
		}
		t := api.LinkTask{TaskName: name, State: "ACTIVE", Errors: slices.Concat([]api.TaskError{}, faults, notes)}
		if len(faults) > 0 {
			t.State = "IN_ERROR"
		}
		l.mu.Lock()
		was := l.tasks[name].State
		l.tasks[name] = t
		l.mu.Unlock()
		if t.State != was && t.State == "IN_ERROR" {
			l.log.Warn("a task of the link is in error", "task", name, "error", faults[0].ErrorMessage)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
