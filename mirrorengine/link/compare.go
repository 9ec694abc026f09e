package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// compare holds a mirror against its source topic: deleted, made anew, shrunk,
// grown.
func (l *Link) compare(ctx context.Context, m *MirrorTopic) {
	rec := m.record()
	if !runs(rec.Status) {
		return
	}
	t, ok := l.src.topic(rec.SourceTopic)
	missing := ok && errors.Is(t.err, kerr.UnknownTopicOrPartition)
	since := l.absent("source/"+rec.SourceTopic, missing)
	switch {
	case !ok:
	case missing && since < l.config().RetryTimeout:
		// A broker that has just started may not know it; deleted it stays unknown.
	case missing:
		m.failed(ctx, &failure{api.MirrorErrorSourceDeleted, fmt.Sprintf("source topic %s does not exist any more; fail the mirror over to keep its records, or delete the topic", rec.SourceTopic)})
	case t.err != nil:
		l.log.Warn("source topic cannot be described", "topic", rec.SourceTopic, "error", t.err)
	case sourceChanged(rec, t) != nil:
		m.failed(ctx, sourceChanged(rec, t))
	case len(t.leaders) > int(rec.Partitions) && rec.moves():
		if err := l.grow(ctx, m, int32(len(t.leaders))); err != nil && ctx.Err() == nil {
			l.log.Error("a mirror could not follow its source's new partitions, trying again", "topic", rec.Topic, "error", err)
		}
	}
}

// sourceChanged is a source topic that is not the one that was mirrored.
func sourceChanged(rec mirrorRecord, t topicMeta) *failure {
	switch {
	case t.id != [16]byte{} && idString(t.id) != rec.SourceTopicID:
		return madeAnew(rec.SourceTopic)
	case len(t.leaders) < int(rec.Partitions):
		return &failure{api.MirrorErrorPartitionsDecreased, fmt.Sprintf("source topic %s has %d partitions, the mirror %d: it was deleted and made anew; fail the mirror over to keep its records, or delete the topic and create the mirror again", rec.SourceTopic, len(t.leaders), rec.Partitions)}
	}
	return nil
}

func madeAnew(topic string) *failure {
	return &failure{api.MirrorErrorSourceIDChanged, fmt.Sprintf("source topic %s was deleted and made anew; fail the mirror over to keep its records, or delete the topic and create the mirror again", topic)}
}
