package link

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// doubtGone asks about commits that the source told once and tells no more. Somebody
// may have deleted them, and then they go here too. But Kafka deletes all commits on a
// topic with it, leaves out of its answer what the link may not describe, and a cluster
// that came back empty has none: in a disaster just these commits are needed here. So
// they count as gone only where the topic, asked behind the groups' answer, is seen to
// stand (stands). Else it is unknown where the group is. One request, and only if
// something is missing.
func (l *Link) doubtGone(ctx context.Context, v *sourceView) {
	missing := l.missingCommits(*v)
	if len(missing) == 0 {
		return
	}
	var topics []string
	for m := range missing {
		topics = append(topics, m.record().SourceTopic)
	}
	res, failed := l.src.metadata(ctx, topics...)
	v.stands = map[string]bool{}
	for m, ats := range missing {
		rec, err := m.record(), failed
		if err == nil {
			err = l.sourceStands(rec, res)
		}
		if err == nil {
			v.stands[rec.Topic] = true
			continue
		}
		text := v.faults.add("", taskErrorCode(err), "groups on %s keep the offsets that the source tells no more, since it may have lost them: %v", rec.Topic, err)
		for _, at := range ats {
			v.unknown[at] = text
		}
	}
}

// missingCommits are those that could be dropped, if they are gone.
func (l *Link) missingCommits(v sourceView) map[*MirrorTopic][]groupAt {
	l.groups.dest.Lock()
	defer l.groups.dest.Unlock()
	out := map[*MirrorTopic][]groupAt{}
	for at, rec := range l.groups.records {
		if _, told := v.commits[at]; told || rec.Source < 0 || !v.answered[at.group] {
			continue
		}
		if m, err := l.mirror(at.topic); err == nil && m.record().Status == status.Active.String() {
			out[m] = append(out[m], at)
		}
	}
	return out
}

// sourceStands is nil if the answer has the very topic that is mirrored.
func (l *Link) sourceStands(rec mirrorRecord, res *kmsg.MetadataResponse) error {
	cluster := ""
	if res.ClusterID != nil {
		cluster = *res.ClusterID
	}
	if want := l.record().SourceClusterID; want != "" && cluster != want {
		return fmt.Errorf("bootstrap.servers lead to cluster %s, the link mirrors %s: correct bootstrap.servers", cluster, want)
	}
	for _, t := range res.Topics {
		if t.Topic == nil || *t.Topic != rec.SourceTopic {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("source topic %s: %w", rec.SourceTopic, l.lacking(err, opDescribe, resourceTopic, rec.SourceTopic))
		}
		if idString(t.TopicID) != rec.SourceTopicID {
			return madeAnew(rec.SourceTopic)
		}
		return nil
	}
	return fmt.Errorf("source topic %s: the source left it out of its answer", rec.SourceTopic)
}
