package link

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// ACL sync copies the source's entries that acl.filters chooses, and deletes what
// it copied once the source has it no more. It goes one way at a time: only while
// the link's mirrors follow their source (aclFacts.holds). Entries carry no tag,
// so each is written down before it is made; what stood already is not written
// down and so never deleted.

// aclRecord is an entry that the sync made, or is about to make, in shard 0.
type aclRecord struct {
	Entry api.ACLEntry `json:"entry"`
	Made  time.Time    `json:"made"`
}

func aclPrefix(link string) string { return "acl/" + link + "/" }

func aclKey(link string, e api.ACLEntry) string {
	sum := sha256.Sum256([]byte(aclOrder(e)))
	return aclPrefix(link) + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// aclBatch bounds one request, and one write to the state topic. KRaft refuses
// more than 10,000 records at once.
const aclBatch = 500

// aclErrors bounds what a task tells of single entries.
const aclErrors = 20

// keepACLs runs ACL sync until ctx ends; altering the configs starts it anew.
func (l *Link) keepACLs(ctx context.Context) {
	cfg := l.config()
	switch {
	case !cfg.ACLSync, cfg.Paused:
	case cfg.ACLs.Empty():
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tasks[api.TaskACLSync] = api.LinkTask{TaskName: api.TaskACLSync, State: api.TaskInError, Errors: []api.TaskError{{
			ErrorCode: "MISCONFIGURATION_ERROR", ErrorMessage: "ACL migration is enabled but acl.filters is not set. Please set acl.filters to proceed with ACL migration. All entries are " + allACLs,
		}}}
	default:
		l.every(ctx, api.TaskACLSync, cfg.ACLSyncEvery, l.syncACLs)
	}
}

// syncACLs is one round.
func (l *Link) syncACLs(ctx context.Context) []api.TaskError {
	if follows, _ := l.sides(); len(follows) == 0 {
		return nil // nor is the source asked: it may be the dead one
	}
	facts, err := l.aclFacts(ctx, l.config().ACLs)
	if err != nil {
		return []api.TaskError{aclTaskError(err)}
	}
	if len(facts.source) == 0 && len(facts.ours) > 0 {
		return []api.TaskError{{ErrorCode: "MISCONFIGURATION_ERROR", ErrorMessage: fmt.Sprintf(
			"the source lists no ACL entry at all, while %d were copied from it; nothing is deleted, since it may have lost them: look at its authorizer, or set acl.sync.enable to false", len(facts.ours))}}
	}
	plan := planACLs(facts)
	errs := l.addACLs(ctx, facts, &plan)
	errs = append(errs, l.removeACLs(ctx, facts, plan)...)
	var out []api.TaskError
	for _, err := range errs {
		out = append(out, aclTaskError(err))
	}
	for _, c := range plan.refused {
		out = append(out, api.TaskError{ErrorCode: "MISCONFIGURATION_ERROR", ErrorMessage: fmt.Sprintf("not copied: %s: %s", describeACL(c.ACLEntry), c.Reason)})
	}
	if more := len(out) - aclErrors; more > 0 {
		out = append(out[:aclErrors:aclErrors], api.TaskError{ErrorCode: "SUPPRESSED_ERRORS", ErrorMessage: fmt.Sprintf("and %d more; drctl link acls %s shows all", more, l.record().Name)})
	}
	return out
}

// sides sorts the link's mirror topics into those that follow their source, and
// those that have ended or are about to.
func (l *Link) sides() (follows, ended []string) {
	for _, m := range l.all() {
		switch rec := m.record(); rec.Status {
		case status.Stopped.String(), status.PendingStopped.String():
			ended = append(ended, rec.Topic)
		default:
			follows = append(follows, rec.Topic)
		}
	}
	return follows, ended
}

// aclFacts asks both clusters.
func (l *Link) aclFacts(ctx context.Context, filters ACLFilters) (aclFacts, error) {
	m := l.mgr
	f := aclFacts{filters: filters, principal: m.opts.Principal, stateTopic: m.opts.StateTopic, fenced: map[api.ACLEntry]bool{}}
	f.follows, f.ended = l.sides()
	recs, err := state.All[aclRecord](m.store, aclPrefix(l.record().Name))
	if err != nil {
		return f, err
	}
	for _, r := range recs {
		f.ours = append(f.ours, r.Entry)
	}
	fences, err := state.All[api.Fence](m.store, "fence/")
	if err != nil {
		return f, err
	}
	for _, fence := range fences {
		for _, e := range fence.Entries {
			f.fenced[e.ACLEntry] = true
		}
	}
	if f.access, err = m.standing(ctx); err != nil {
		return f, err
	}
	if !f.access.authorizer {
		return f, m.lacking(kerr.SecurityDisabled, opDescribe, resourceCluster, "")
	}
	brokers, err := m.brokerIDs(ctx)
	if err != nil {
		return f, err
	}
	if f.here, err = listACLs(ctx, m.local, brokers[0], kmsg.ACLResourceTypeAny); err != nil {
		return f, m.lacking(err, opDescribe, resourceCluster, "")
	}
	f.protected = l.protectedPrincipals(ctx, brokers[0])
	if err := l.sameSource(ctx); err != nil {
		return f, err
	}
	if f.source, err = listACLs(ctx, l.src, anyBroker, kmsg.ACLResourceTypeAny); err != nil {
		return f, l.lacking(err, opDescribe, resourceCluster, "")
	}
	return f, nil
}

// sameSource: entries are deleted by what the source lacks, so it must be the
// link's source that was asked.
func (l *Link) sameSource(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	id, err := await(ctx, func() (string, error) {
		meta, err := l.src.adm.BrokerMetadata(ctx)
		return meta.Cluster, err
	})
	if err != nil {
		return fmt.Errorf("ask the source which cluster it is: %w", err)
	}
	if want := l.record().SourceClusterID; want != "" && id != want {
		return fmt.Errorf("bootstrap.servers lead to cluster %s, the link mirrors %s: no ACL entry is copied or deleted; correct bootstrap.servers", id, want)
	}
	return nil
}

// protectedPrincipals are those whose entries this link leaves alone. Super
// users are known where the brokers tell their super.users; they need no entry.
func (l *Link) protectedPrincipals(ctx context.Context, broker int32) map[string]string {
	m := l.mgr
	out := map[string]string{}
	if users, told := m.brokerConfig(ctx, broker, "super.users"); told {
		for _, u := range strings.Split(users, ";") {
			if u = strings.TrimSpace(u); u != "" {
				out[u] = "is a super user of this cluster"
			}
		}
	}
	if p := l.login(); p != "" {
		out[p] = "is this link's login at the source"
	}
	if p := m.opts.CanaryPrincipal; p != "" {
		out[p] = "is the canary"
	}
	if p := m.opts.Principal; p != "" {
		out[p] = "is this engine"
	}
	return out
}

// login is the principal that the source takes this link for, as far as its
// configs tell (not by a certificate or a bearer token, whose names the brokers map).
func (l *Link) login() string {
	if cfg := l.config(); cfg.SASL() && cfg.Mechanism != mechanismOAuth {
		if user, _, err := credentials(cfg, l.mgr.opts.Resolve); err == nil && user != "" {
			return "User:" + user
		}
	}
	return ""
}

// addACLs makes what the plan adds. The end of a mirror meanwhile stops it: the
// rest is for the next round to judge.
func (l *Link) addACLs(ctx context.Context, facts aclFacts, plan *aclPlan) []error {
	if err := l.guardFirst(ctx, facts, plan); err != nil {
		return []error{err}
	}
	name := l.record().Name
	ours := set(facts.ours)
	var errs []error
	for batch := range slices.Chunk(plan.add, aclBatch) {
		if !l.stillSided(facts) {
			return errs
		}
		var entries []api.ACLEntry
		var records []state.Entry
		for _, c := range batch {
			entries = append(entries, c.ACLEntry)
			if !ours[c.ACLEntry] {
				records = append(records, state.Entry{Key: aclKey(name, c.ACLEntry), Value: aclRecord{c.ACLEntry, time.Now().UTC()}})
			}
		}
		if err := l.mgr.put(ctx, 0, records...); err != nil {
			return append(errs, fmt.Errorf("write down ACL entries to be made: %w", err))
		}
		bad, err := l.mgr.tryACLs(ctx, entries)
		if err != nil {
			return append(errs, err) // they may stand, or not: they are looked at again
		}
		var undo []state.Entry
		for _, e := range entries {
			if err := bad[e]; err != nil {
				errs = append(errs, l.mgr.lacking(err, "ALTER", resourceCluster, ""))
				if !ours[e] {
					undo = append(undo, state.Entry{Key: aclKey(name, e)})
				}
			}
		}
		if err := l.mgr.put(ctx, 0, undo...); err != nil {
			return append(errs, fmt.Errorf("write down ACL entries that were refused: %w", err))
		}
		l.log.Info("ACL entries copied from the source", "entries", len(entries)-len(bad), "refused", len(bad))
	}
	return errs
}

// guardFirst denies the writers that the new entries would let into mirror topics,
// before they are let in. A super user's guard denies everybody already.
func (l *Link) guardFirst(ctx context.Context, facts aclFacts, plan *aclPlan) error {
	if facts.access.superUser || facts.access.why != "" {
		return nil
	}
	l.guards.Lock()
	defer l.guards.Unlock()
	for _, topic := range facts.follows {
		var writers []api.ACLEntry
		for _, c := range plan.add {
			if concerns(c.ACLEntry, topic) && grantsWrite(c.ACLEntry) {
				writers = append(writers, c.ACLEntry)
			}
		}
		if len(writers) == 0 {
			continue
		}
		err := l.mgr.guard(ctx, l, topic, facts.access, slices.Concat(facts.here, writers))
		var none *unguarded
		if err != nil && !errors.As(err, &none) {
			return fmt.Errorf("deny the new writers of mirror topic %s before they are let in: %w", topic, err)
		}
		if none == nil {
			continue
		}
		plan.add = slices.DeleteFunc(plan.add, func(c api.ACLChange) bool {
			out := slices.Contains(writers, c.ACLEntry)
			if out {
				c.Reason = fmt.Sprintf("mirror topic %s could be written to: %s", topic, none.why)
				plan.refuse(c)
			}
			return out
		})
	}
	return nil
}

// stillSided: the same mirrors follow and have ended as when the facts were taken.
func (l *Link) stillSided(f aclFacts) bool {
	follows, ended := l.sides()
	return slices.Equal(follows, f.follows) && slices.Equal(ended, f.ended)
}

// removeACLs deletes what the plan removes, then the records.
func (l *Link) removeACLs(ctx context.Context, facts aclFacts, plan aclPlan) []error {
	name := l.record().Name
	var errs []error
	forget := func(entries []api.ACLEntry) error {
		for batch := range slices.Chunk(entries, aclBatch) {
			var records []state.Entry
			for _, e := range batch {
				records = append(records, state.Entry{Key: aclKey(name, e)})
			}
			if err := l.mgr.put(ctx, 0, records...); err != nil {
				return fmt.Errorf("forget ACL entries that are gone: %w", err)
			}
		}
		return nil
	}
	for batch := range slices.Chunk(plan.remove, aclBatch) {
		if !l.stillSided(facts) {
			return errs
		}
		var entries, gone []api.ACLEntry
		for _, c := range batch {
			entries = append(entries, c.ACLEntry)
		}
		bad, err := l.mgr.deleteACLs(ctx, entries)
		if err != nil {
			return append(errs, err)
		}
		for _, e := range entries {
			if err := bad[e]; err != nil {
				errs = append(errs, l.mgr.lacking(err, "ALTER", resourceCluster, ""))
			} else {
				gone = append(gone, e)
			}
		}
		if err := forget(gone); err != nil {
			return append(errs, err)
		}
		l.log.Info("ACL entries that the source has no more were deleted", "entries", len(gone), "refused", len(bad))
	}
	if err := forget(plan.forget); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func aclTaskError(err error) api.TaskError {
	return api.TaskError{ErrorCode: taskErrorCode(err), ErrorMessage: err.Error()}
}

// ACLs tells what ACL sync of a link would do now. filters, if any, stand in for
// the link's own, so that they can be tried before they are set.
func (m *Manager) ACLs(ctx context.Context, name, filters string) (api.ACLSync, error) {
	l, err := m.link(name)
	if err != nil {
		return api.ACLSync{}, err
	}
	chosen := l.config().ACLs
	if filters != "" {
		if chosen, err = ParseACLFilters(filters); err != nil {
			return api.ACLSync{}, api.BadRequest("%s: %v", keyACLFilters, err)
		}
	}
	if chosen.Empty() {
		return api.ACLSync{}, api.BadRequest("cluster link '%s' has no %s, and the query has no %s; all entries are %s", name, keyACLFilters, api.QueryACLFilters, allACLs)
	}
	facts, err := l.aclFacts(ctx, chosen)
	if err != nil {
		return api.ACLSync{}, api.Unavailable("%v", err)
	}
	plan := planACLs(facts)
	return api.ACLSync{
		Link: name, Enabled: l.config().ACLSync, AllowEveryone: facts.access.allowEveryone, InStep: plan.inStep, Made: len(facts.ours) - len(plan.forget),
		ToAdd: plan.add, ToDelete: plan.remove, Protected: plan.protected, Skipped: plan.skipped,
	}, nil
}
