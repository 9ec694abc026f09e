package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// offsetRetention is Kafka's default offsets.retention.minutes, for a
// destination that does not tell its own.
const offsetRetention = 7 * 24 * time.Hour

// listedGroup is a group as a broker lists it. kind is classic, consumer,
// share, streams, or empty from brokers before 3.8.
type listedGroup struct {
	state, kind string
}

// members tells whether the group has any.
func (g listedGroup) members() bool {
	switch g.state {
	case "", "Empty", "Dead":
		return false
	}
	return true
}

func (g listedGroup) share() bool { return strings.EqualFold(g.kind, "share") }

// listGroups asks every broker for its groups with their states and types, of
// all protocols at once (KIP-518, KIP-848). Brokers that did not answer are in
// the error; what the others said is given all the same.
func listGroups(ctx context.Context, c *cluster) (map[string]listedGroup, error) {
	out := map[string]listedGroup{}
	var errs []error
	var unknown []string
	for _, shard := range c.client.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		err := shard.Err
		if err == nil {
			res := shard.Resp.(*kmsg.ListGroupsResponse)
			err = kerr.ErrorForCode(res.ErrorCode)
			for _, g := range res.Groups {
				out[g.Group] = listedGroup{g.GroupState, g.GroupType}
				if g.GroupState == "" {
					unknown = append(unknown, g.Group)
				}
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("groups of broker %d: %w", shard.Meta.NodeID, err))
		}
	}
	if len(unknown) > 0 { // brokers before 2.6 list no state
		described, err := c.adm.DescribeGroups(ctx, unknown...)
		if err != nil {
			errs = append(errs, fmt.Errorf("describe groups: %w", err))
		}
		for _, d := range described {
			out[d.Group] = listedGroup{state: d.State}
		}
	}
	return out, errors.Join(errs...)
}

// sourceView is one look at the source's groups.
type sourceView struct {
	commits  map[groupAt]kadm.Offset // topic is the mirror's name
	answered map[string]bool         // groups whose coordinator spoke
	// failed and unknown say why a group's offsets, or one of them, were not told.
	failed  map[string]string
	unknown map[groupAt]string
	stands  map[string]bool // mirrors whose source topic was seen behind the answer (doubtGone)
	share   []string        // groups that cannot be synced this way
	faults  groupFaults
}

// trouble says why the source's offset is not known, empty if it is.
func (v sourceView) trouble(at groupAt) string {
	if text := v.failed[at.group]; text != "" {
		return text
	}
	return v.unknown[at]
}

// sourceGroups asks the source for the committed offsets of the groups that the
// filters match and of those in known. stable: commits of open transactions are
// told as unknown, and every broker must answer.
func (l *Link) sourceGroups(ctx context.Context, known []string, stable bool) (sourceView, error) {
	v := sourceView{commits: map[groupAt]kadm.Offset{}, answered: map[string]bool{}, failed: map[string]string{}, unknown: map[groupAt]string{}}
	filter := l.config().Groups
	listed, err := listGroups(ctx, l.src)
	if err != nil {
		if len(listed) == 0 || stable {
			return v, api.Unavailable("the source of cluster link '%s' does not tell its groups: %v", l.record().Name, err)
		}
		v.faults.add("", taskErrorCode(err), "some groups of the source are unknown: %v", err)
	}
	l.src.touch()
	names := map[string]bool{}
	for name, g := range listed {
		switch {
		case !filter.Match(name):
		case g.share():
			v.share = append(v.share, name)
		default:
			names[name] = true
		}
	}
	slices.Sort(v.share)
	v.faults.share = v.share
	for _, name := range known {
		if filter.Match(name) && !listed[name].share() {
			names[name] = true
		}
	}
	mirrors := map[string]string{}
	for _, m := range l.all() {
		rec := m.record()
		mirrors[rec.SourceTopic] = rec.Topic
	}
	if stable {
		ctx = kadm.RequireStable(ctx)
	}
	for group, res := range l.src.committed(ctx, slices.Sorted(maps.Keys(names))) {
		if res.Err != nil && !errors.Is(res.Err, kerr.GroupIDNotFound) { // not found: no commits
			v.failed[group] = v.faults.add(group, taskErrorCode(res.Err), "group %s: its offsets at the source: %v", group, l.lacking(res.Err, opDescribe, resourceGroup, group))
			continue
		}
		whole := true
		res.Fetched.Each(func(o kadm.OffsetResponse) {
			topic, mirrored := mirrors[o.Topic]
			at := groupAt{group, topic, o.Partition}
			switch {
			case !mirrored:
			case errors.Is(o.Err, kerr.UnstableOffsetCommit):
				v.unknown[at] = v.faults.add(group, taskErrorCode(o.Err), "%s: a transaction at the source holds its offset; end it (kafka-transactions.sh find-hanging)", at)
				whole = false
			case o.Err != nil:
				v.unknown[at] = v.faults.add(group, taskErrorCode(o.Err), "%s: its offset at the source: %v", at, o.Err)
				whole = false
			case o.At >= 0:
				v.commits[at] = o.Offset
			}
		})
		// Only a whole answer may say that a commit is gone.
		v.answered[group] = whole
	}
	return v, nil
}

// destView is one look at the destination.
type destView struct {
	commits map[groupAt]kadm.Offset
	inUse   map[string]bool
	failed  map[string]error // groups whose offsets are unknown
}

func (l *Link) destGroups(ctx context.Context, groups []string) destView {
	v := destView{commits: map[groupAt]kadm.Offset{}, inUse: map[string]bool{}, failed: map[string]error{}}
	listed, err := listGroups(ctx, l.mgr.local)
	if err != nil {
		// A broker refuses a commit from outside to a group that has members; what
		// is not known here is found out there.
		l.log.Warn("some groups of this cluster are unknown", "error", err)
	}
	for name, g := range listed {
		v.inUse[name] = g.members()
	}
	for group, res := range l.mgr.local.committed(ctx, groups) {
		if res.Err != nil && !errors.Is(res.Err, kerr.GroupIDNotFound) {
			v.failed[group] = res.Err
			continue
		}
		res.Fetched.Each(func(o kadm.OffsetResponse) {
			if o.Err != nil {
				v.failed[group] = o.Err
			} else if o.At >= 0 {
				v.commits[groupAt{group, o.Topic, o.Partition}] = o.Offset
			}
		})
	}
	return v
}

// patience is how long an answer is waited for that Kafka calls retriable: a
// coordinator or leader that has just moved, or was never asked for before.
const patience = 5 * time.Second

// patiently calls f again while its error is retriable.
func patiently(ctx context.Context, f func() error) error {
	for began := time.Now(); ; {
		err := f()
		if err == nil || !kerr.IsRetriable(err) || time.Since(began) > patience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryMin):
		}
	}
}

// committed asks for the committed offsets of groups, again for those whose
// coordinator is not there yet.
func (c *cluster) committed(ctx context.Context, groups []string) kadm.FetchOffsetsResponses {
	out := kadm.FetchOffsetsResponses{}
	_ = patiently(ctx, func() error { // what fails in the end stands in out
		var again []string
		var retriable error
		for group, res := range c.adm.FetchManyOffsets(ctx, groups...) {
			out[group] = res
			if kerr.IsRetriable(res.Err) {
				again, retriable = append(again, group), res.Err
			}
		}
		groups = again
		return retriable
	})
	return out
}

// groupInUse tells a broker's refusal of an outside commit or delete, because
// the group has members.
func groupInUse(err error) bool {
	for _, e := range []error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.NonEmptyGroup, kerr.GroupSubscribedToTopic, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refreshEvery is how often unchanged values are written again: a quarter of
// the destination's offset retention, which counts from the last commit.
func (l *Link) refreshEvery(ctx context.Context, now time.Time) time.Duration {
	g := &l.groups
	g.mu.Lock()
	retention, asked := g.retention, g.retentionAt
	g.mu.Unlock()
	if retention == 0 || now.Sub(asked) > time.Hour {
		if got, err := l.mgr.local.offsetRetention(ctx); err == nil {
			retention = got
		} else if retention == 0 {
			l.log.Warn("this cluster does not tell offsets.retention.minutes, taking Kafka's default", "error", err)
			retention = offsetRetention
		}
		g.mu.Lock()
		g.retention, g.retentionAt = retention, now
		g.mu.Unlock()
	}
	return retention / 4
}

func (c *cluster) offsetRetention(ctx context.Context) (time.Duration, error) {
	meta, err := c.adm.BrokerMetadata(ctx)
	if err != nil {
		return 0, err
	}
	if len(meta.Brokers) == 0 {
		return 0, errors.New("no broker in the metadata")
	}
	res, err := c.adm.DescribeBrokerConfigs(ctx, meta.Brokers[0].NodeID)
	if err != nil {
		return 0, err
	}
	for _, r := range res {
		if r.Err != nil {
			return 0, r.Err
		}
		for _, cfg := range r.Configs {
			if cfg.Key != "offsets.retention.minutes" || cfg.Value == nil {
				continue
			}
			n, err := strconv.ParseInt(*cfg.Value, 10, 64)
			if err != nil || n <= 0 {
				return 0, fmt.Errorf("offsets.retention.minutes is %q", *cfg.Value)
			}
			return time.Duration(n) * time.Minute, nil
		}
	}
	return 0, errors.New("offsets.retention.minutes is not among the broker's configs")
}
