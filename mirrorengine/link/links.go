package link

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// linkName is what a link may be called: it becomes part of keys and paths.
var linkName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// CreateLink makes a link after its configs were read, its source answered and
// the source is the cluster that the request names.
func (m *Manager) CreateLink(ctx context.Context, name string, req api.CreateLink, validateOnly, validateLink bool) error {
	if !linkName.MatchString(name) {
		return api.InvalidLinkName()
	}
	if _, err := m.link(name); err == nil {
		return api.LinkExists()
	}
	configs := map[string]string{}
	for _, c := range req.Configs {
		if c.Value != nil {
			configs[c.Name] = *c.Value
		}
	}
	cfg, err := Parse(configs)
	if err != nil {
		return api.BadRequest("%v", err)
	}
	sealed, err := m.seal(name, configs)
	if err != nil {
		return err
	}
	id, err := linkIDs(req, validateLink)
	if err != nil {
		return err
	}
	rec := linkRecord{Name: name, ID: id, SourceClusterID: req.SourceClusterID, Configs: sealed, CreatedAt: time.Now().UTC()}
	if validateLink {
		source, err := m.probe(ctx, rec, cfg)
		if err != nil {
			return err
		}
		switch {
		case rec.SourceClusterID == "":
			rec.SourceClusterID = source
		case rec.SourceClusterID != source:
			return api.BadRequest("source_cluster_id is %s, but the cluster at %s is %s; correct the id or bootstrap.servers", rec.SourceClusterID, configs["bootstrap.servers"], source)
		}
		if source == m.clusterID {
			return api.BadRequest("the source at %s is this cluster itself (%s); a link needs two clusters", configs["bootstrap.servers"], source)
		}
	}
	if validateOnly {
		return nil
	}
	l, err := newLink(m, rec)
	if err != nil {
		return api.BadRequest("%v", err)
	}
	err = m.asLeader(name, nil, func() error {
		if err := m.put(ctx, 0, state.Entry{Key: linkKey(name), Value: rec}); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.links[name] = l
		m.launch(l)
		return nil
	})
	if err != nil {
		l.src.client.Close()
		if _, exists := m.link(name); exists == nil {
			return api.LinkExists()
		}
		return err
	}
	m.log.Info("link created", "link", name, "source_cluster_id", rec.SourceClusterID)
	return nil
}

// linkIDs reads the ids of a request: the clusters', of which a link of mode
// DESTINATION has its source's only, and the link's own, made here if none is asked
// for. It is dashed, or the contract's 22 characters.
func linkIDs(req api.CreateLink, validateLink bool) (string, error) {
	switch {
	case req.DestinationClusterID != "":
		return "", api.BadRequest("destination_cluster_id belongs to links of mode SOURCE; a DESTINATION link's source is its source_cluster_id")
	case req.RemoteClusterID != "":
		return "", api.BadRequest("remote_cluster_id belongs to links of mode BIDIRECTIONAL; a DESTINATION link's source is its source_cluster_id")
	case req.SourceClusterID == "" && !validateLink:
		return "", api.BadRequest("source_cluster_id is required with validate_link=false: the source is not asked for it then")
	case req.ClusterLinkID == "":
		return uuid.NewString(), nil
	}
	if short, err := base64.RawURLEncoding.DecodeString(req.ClusterLinkID); err == nil && len(short) == len(uuid.UUID{}) {
		return uuid.UUID(short).String(), nil
	}
	if id, err := uuid.Parse(req.ClusterLinkID); err == nil {
		return id.String(), nil
	}
	return "", api.BadRequest("cluster_link_id '%s' is no UUID, neither dashed nor as 22 characters of base64url", req.ClusterLinkID)
}

// probe asks the source before anything is written.
func (m *Manager) probe(ctx context.Context, rec linkRecord, cfg Config) (string, error) {
	opts, err := ClientOptions(cfg, m.opts.Resolve)
	if err != nil {
		return "", api.BadRequest("%v", err)
	}
	id, code, err := Probe(ctx, opts)
	if err != nil {
		return "", api.BadRequest("the source of cluster link '%s' refused or did not answer (%s): %v", rec.Name, code, err)
	}
	return id, nil
}

// Links lists all links.
func (m *Manager) Links(ctx context.Context) ([]api.Link, error) {
	var out []api.Link
	for _, l := range m.all() {
		out = append(out, l.describe(false))
	}
	return out, nil
}

// Link describes one link.
func (m *Manager) Link(_ context.Context, name string, tasks bool) (api.Link, error) {
	l, err := m.link(name)
	if err != nil {
		return api.Link{}, err
	}
	return l.describe(tasks), nil
}

// describe is the link on the wire.
func (l *Link) describe(tasks bool) api.Link {
	mirrors := l.all()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := api.Link{
		SourceClusterID: &l.rec.SourceClusterID, LinkName: l.rec.Name, LinkID: l.rec.ID,
		ClusterLinkID: shortID(l.rec.ID), TopicNames: []string{}, LinkState: api.LinkActive, LinkError: api.LinkErrorNone,
	}
	if l.srcError != nil && time.Since(l.srcDown) > sourceGrace {
		code, message := classify(l.srcError), l.srcError.Error()
		out.LinkError, out.LinkErrorMessage = code, &message
		out.LinkState = api.LinkUnavailable
		if code == api.LinkErrorAuthentication {
			out.LinkState = api.LinkFailed
		}
	}
	if l.cfg.Paused {
		out.LinkState = api.LinkPaused
	}
	counts := map[string]int32{}
	for _, m := range mirrors {
		out.TopicNames = append(out.TopicNames, m.name())
		counts[category(m.record().Status)]++
	}
	for _, c := range []string{"ACTIVE", "PAUSED", "PENDING", "IN_ERROR", "NOT_APPLICABLE"} {
		if counts[c] > 0 {
			out.CategoryCounts = append(out.CategoryCounts, api.CategoryCount{StateCategory: c, Count: counts[c]})
		}
	}
	if tasks {
		out.Tasks = l.describeTasks(out.LinkState)
	}
	return out
}

// describeTasks lists the contract's tasks, and behind them the engine's own; what
// a link in this state cannot do, it says of the task. Called with mu.
func (l *Link) describeTasks(linkState string) []api.LinkTask {
	var out []api.LinkTask
	contract := []string{api.TaskOffsetSync, api.TaskACLSync, api.TaskAutoCreate, api.TaskConfigSync}
	configured := map[string]bool{
		api.TaskOffsetSync: l.cfg.OffsetSync, api.TaskACLSync: l.cfg.ACLSync, api.TaskAutoCreate: l.cfg.AutoCreate, api.TaskConfigSync: true,
	}
	for _, name := range contract {
		t, ran := l.tasks[name]
		t.TaskName = name
		switch {
		case !configured[name]:
			t.State = api.TaskNotConfigured
		case linkState == api.LinkPaused && name != api.TaskOffsetSync: // offsets are kept from expiring
			t.State = api.TaskLinkPaused
		case linkState == api.LinkFailed:
			t.State = api.TaskLinkFailed
		case linkState == api.LinkUnavailable:
			t.State = api.TaskLinkUnavailable
		case !ran:
			t.State = api.Unknown
		}
		out = append(out, t)
	}
	for _, name := range slices.Sorted(maps.Keys(l.tasks)) {
		if !slices.Contains(contract, name) {
			out = append(out, l.tasks[name])
		}
	}
	return out
}

func category(s string) string {
	switch s {
	case status.Active.String():
		return "ACTIVE"
	case status.Paused.String(), status.LinkPaused.String():
		return "PAUSED"
	case status.Failed.String(), status.LinkFailed.String(), status.SourceUnavailable.String():
		return "IN_ERROR"
	case status.Stopped.String():
		return "NOT_APPLICABLE"
	}
	return "PENDING"
}

// shortID is the contract's 22 characters of a dashed UUID.
func shortID(id string) string {
	u, err := uuid.Parse(id)
	if err != nil {
		return id
	}
	return idString(u)
}

// guardsTold bounds what is said of guards that cannot be lifted.
const guardsTold = 20

// DeleteLink removes a link. Mirrors that still run, and lagged data that is
// undecided, need force, and so do guards that cannot be lifted; segments and stop
// offsets stay in any case.
func (m *Manager) DeleteLink(ctx context.Context, name string, force, validateOnly bool) error {
	l, err := m.link(name)
	if err != nil {
		return err
	}
	if err := m.admit(ctx, l); err != nil {
		return err
	}
	for _, mt := range l.all() {
		if rec := mt.record(); !force && !rec.over() {
			return api.BadRequest("cluster link '%s' still has mirror topics (%s is %s); promote or fail them over first, or delete with force=true, which ends them where they stand", name, rec.Topic, rec.Status)
		}
	}
	if open := m.undecided(name); !force && open != "" {
		return api.BadRequest("cluster link '%s' has undecided lagged data: %s; append, export or discard it first, or delete with force=true, which loses the ledger", name, open)
	}
	if validateOnly {
		return nil
	}
	if force {
		if err := l.endAll(ctx); err != nil {
			return err
		}
	}
	// Behind the last link nobody is left to lift them.
	left := m.clearGuards(ctx, l, len(m.all()) == 1)
	guards := errors.Join(left[:min(len(left), guardsTold)]...)
	if len(left) > 0 && (!force || ctx.Err() != nil) {
		return api.Unavailable("cluster link '%s' is not deleted: %d read-only guards would stay behind it, and their topics take no writes. The engine must be able to alter ACLs here; then delete it again, or with force=true, and remove these DENY WRITE entries by hand: %v", name, len(left), guards)
	}
	entries := []state.Entry{{Key: linkKey(name)}}
	var recs []mirrorRecord
	for _, mt := range l.all() {
		r := mt.record()
		recs = append(recs, r)
		// What maps its offsets outlives the link (Segments).
		entries = append(entries, state.Entry{Key: formerKey(name, r.Topic), Value: r})
	}
	err = m.asLeader(name, l, func() error {
		m.mu.Lock()
		delete(m.links, name)
		m.mu.Unlock()
		l.stop()
		for _, k := range m.linkKeys(name) { // only now: its tasks wrote until they ended
			entries = append(entries, state.Entry{Key: k})
		}
		return m.put(ctx, 0, entries...)
	})
	if err != nil {
		return fmt.Errorf("delete cluster link %s: %w", name, err)
	}
	for _, r := range recs {
		m.metrics.forget(name, r.Topic)
	}
	m.metrics.forgetLink(name)
	m.log.Info("link deleted", "link", name, "force", force)
	if len(left) > 0 {
		m.log.Error("guards of a deleted link stand: remove their DENY WRITE entries by hand, unless a link is made here again, which lifts them", "link", name, "error", guards)
	}
	return nil
}

// linkKeys are the keys of shard 0 that go with a link.
func (m *Manager) linkKeys(name string) []string {
	var out []string
	for _, prefix := range []string{mirrorPrefix(name), groupKeys(name), ledgerPrefix(name), aclPrefix(name)} {
		out = append(out, m.store.Keys(prefix)...)
	}
	return append(out, tokenKey(name)) // of this link alone: another's name may begin with this one's
}

// endAll fails over every mirror that has not ended, and waits until all have, those
// too whose end somebody else asked for. They end in the link's time, not in the
// caller's: one who gives up leaves the link with mirrors that go on ending.
func (l *Link) endAll(ctx context.Context) error {
	asked := map[*MirrorTopic]bool{}
	for {
		var open, fresh []*MirrorTopic
		for _, m := range l.all() {
			if m.record().over() {
				continue
			}
			open = append(open, m)
			if !asked[m] && !m.ending() {
				asked[m] = true
				fresh = append(fresh, m)
			}
		}
		if len(open) == 0 {
			return nil
		}
		for m, err := range l.alter(ctx, fresh, api.VerbFailover, false) {
			if err != nil && !m.record().over() {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster link '%s' is not deleted yet: mirrors are still ending, and go on with it (%d, first %s); delete it again when they are STOPPED: %w", l.record().Name, len(open), open[0].name(), ctx.Err())
		case <-l.ended:
			return unled(state.ErrNotOwner)
		case <-time.After(stopLook):
		}
	}
}

// stop ends the link's goroutines and waits for them.
func (l *Link) stop() {
	if l.cancel == nil {
		l.src.client.Close()
		return
	}
	l.cancel()
	<-l.ended
}
