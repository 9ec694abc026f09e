package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// Group offset sync. Per group and partition the engine keeps the source's raw
// offset and the value that it wrote on the destination. It keeps the
// destination at the translation of the raw offset, forwards and back, for as
// long as the destination holds what it wrote; any other value is somebody
// else's and is left alone. groups_decide.go has the rule, groups_round.go
// carries it out, groups_settle.go is the last word when a mirror ends.

// codeGroupInUse is the contract's word for a group whose offset on the
// destination is not this link's to write.
const codeGroupInUse = "CONSUMER_GROUP_IN_USE_ERROR"

// groupRecord is what the state topic holds of one group and partition.
type groupRecord struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"` // the mirror's
	Partition int32  `json:"partition"`
	// Source is the last raw committed offset seen at the source, -1 if none
	// was: then the value was taken over, or made when the mirror ended.
	Source   int64  `json:"source"`
	Metadata string `json:"metadata,omitempty"`
	// Wrote is the value last written, -1 for none. The record goes ahead of the
	// commit, so after a crash the destination may still hold Before.
	Wrote   int64     `json:"wrote"`
	Before  int64     `json:"before"`
	WroteAt time.Time `json:"wrote_at,omitzero"`
}

// groupAt names a group's offset on one partition of a mirror.
type groupAt struct {
	group, topic string
	partition    int32
}

func groupKeys(link string) string { return "group/" + link + "/" }

// key: topic and partition hold no slash, so a group that does is no trouble.
func (at groupAt) key(link string) string {
	return fmt.Sprintf("%s%s/%s/%d", groupKeys(link), at.group, at.topic, at.partition)
}

func (at groupAt) String() string {
	return fmt.Sprintf("group %s on %s partition %d", at.group, at.topic, at.partition)
}

func compareGroupAt(a, b groupAt) int {
	if c := strings.Compare(a.group, b.group); c != 0 {
		return c
	}
	if c := strings.Compare(a.topic, b.topic); c != 0 {
		return c
	}
	return int(a.partition - b.partition)
}

// groupSync is a link's offset sync in memory. Lock order: round, dest, then
// Link.mu and below.
type groupSync struct {
	// round serialises whole rounds: an older look at the source must not be
	// applied after a newer one.
	round sync.Mutex
	// dest serialises the work on the destination. It is never held while the
	// source is asked, so that the end of a mirror does not wait for a dead one.
	dest    sync.Mutex
	records map[groupAt]groupRecord // guarded by dest; nil until loaded

	mu      sync.Mutex // guards what follows
	lastRun time.Time
	states  map[groupAt]api.GroupState
	// retention is the destination's offset retention, asked at retentionAt.
	retention   time.Duration
	retentionAt time.Time
}

// load reads the records once. Called with dest.
func (l *Link) loadGroups() error {
	if l.groups.records != nil {
		return nil
	}
	recs, err := state.All[groupRecord](l.mgr.store, groupKeys(l.record().Name))
	if err != nil {
		return fmt.Errorf("group offsets in the state topic: %w", err)
	}
	m := make(map[groupAt]groupRecord, len(recs))
	for _, r := range recs {
		m[groupAt{r.Group, r.Topic, r.Partition}] = r
	}
	l.groups.records = m
	return nil
}

// keepGroups runs the offset sync until ctx ends, if the link wants it.
func (l *Link) keepGroups(ctx context.Context) {
	cfg := l.config()
	if !cfg.OffsetSync {
		return
	}
	l.everyNoted(ctx, api.TaskOffsetSync, cfg.OffsetSyncEvery, func(ctx context.Context) (errs, notes []api.TaskError) {
		faults, err := l.syncGroups(ctx, false)
		if err != nil {
			return []api.TaskError{{ErrorCode: taskErrorCode(err), ErrorMessage: err.Error()}}, nil
		}
		return faults.tasks(), faults.notes()
	})
}

// Groups tells what the offset sync of a link last saw.
func (m *Manager) Groups(_ context.Context, link string) (api.GroupSync, error) {
	l, err := m.link(link)
	if err != nil {
		return api.GroupSync{}, err
	}
	return l.groupStates()
}

// SyncGroups runs one round now and answers with what it read back from the
// destination. It asks the source for stable offsets: a commit that hangs in an
// open transaction is a problem of its group, not a value.
func (m *Manager) SyncGroups(ctx context.Context, link string) (api.GroupSync, error) {
	l, err := m.link(link)
	if err != nil {
		return api.GroupSync{}, err
	}
	if err := m.admit(ctx, l); err != nil {
		return api.GroupSync{}, err
	}
	if l.config().OffsetSync {
		if _, err := l.syncGroups(ctx, true); err != nil {
			return api.GroupSync{}, err
		}
	}
	return l.groupStates()
}

// groupStates is the table on the wire. What no round has told yet since the
// engine began is made of the records, so that the last raw offsets are known
// also when the source is gone.
func (l *Link) groupStates() (api.GroupSync, error) {
	out := api.GroupSync{Link: l.record().Name, Groups: []api.GroupState{}}
	l.groups.dest.Lock()
	err := l.loadGroups()
	l.groups.mu.Lock()
	defer l.groups.mu.Unlock()
	states := make(map[groupAt]api.GroupState, len(l.groups.states))
	filter := l.config().Groups
	for at, rec := range l.groups.records {
		if filter.Match(at.group) {
			states[at] = l.recordedState(at, rec)
		}
	}
	l.groups.dest.Unlock()
	if err != nil {
		return out, err
	}
	out.LastRun = l.groups.lastRun
	for at, s := range l.groups.states {
		states[at] = s
	}
	ats := make([]groupAt, 0, len(states))
	for at := range states {
		ats = append(ats, at)
	}
	slices.SortFunc(ats, compareGroupAt)
	for _, at := range ats {
		out.Groups = append(out.Groups, states[at])
	}
	return out, nil
}

// recordedState is what a record alone says.
func (l *Link) recordedState(at groupAt, rec groupRecord) api.GroupState {
	s := api.GroupState{
		Group: at.group, Topic: at.topic, Partition: at.partition,
		SourceOffset: rec.Source, DestOffset: rec.Wrote, Wanted: -1, Owned: rec.Wrote >= 0,
	}
	m, err := l.mirror(at.topic)
	if err != nil || rec.Source < 0 {
		return s
	}
	for _, p := range m.parts() {
		if p.n == at.partition {
			s.Wanted, s.Clamped, _ = p.translate(rec.Source)
		}
	}
	return s
}

// groupFaults collects what went wrong with single groups.
type groupFaults struct {
	list  []groupFault
	share []string // share groups, which are not protected
}

type groupFault struct {
	group string
	code  string
	text  string
}

func (f *groupFaults) add(group, code, format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	f.list = append(f.list, groupFault{group, code, text})
	return text
}

// notes tell of what is no fault of a round and yet not protected.
func (f groupFaults) notes() []api.TaskError {
	if len(f.share) == 0 {
		return nil
	}
	return []api.TaskError{{ErrorCode: codeInvalidRequest, ErrorMessage: fmt.Sprintf(
		"share groups are not synced, their positions are not committed offsets: %s; after a failover they begin where their share.auto.offset.reset says; exclude them by a filter when that is what you want", few(f.share))}}
}

// faultsNamed bounds how many faults of a kind are told in full.
const faultsNamed = 10

// tasks is one task error per code.
func (f groupFaults) tasks() []api.TaskError {
	texts := map[string][]string{}
	for _, g := range f.list {
		texts[g.code] = append(texts[g.code], g.text)
	}
	var out []api.TaskError
	for code, list := range texts {
		slices.Sort(list)
		if more := len(list) - faultsNamed; more > 0 {
			list = append(list[:faultsNamed:faultsNamed], fmt.Sprintf("and %d more", more))
		}
		out = append(out, api.TaskError{ErrorCode: code, ErrorMessage: strings.Join(list, "; ")})
	}
	slices.SortFunc(out, func(a, b api.TaskError) int { return strings.Compare(a.ErrorCode, b.ErrorCode) })
	return out
}

func (f groupFaults) err() error {
	var errs []error
	for _, t := range f.tasks() {
		errs = append(errs, errors.New(t.ErrorMessage))
	}
	return errors.Join(errs...)
}
