package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// A mirror topic that somebody deleted on this cluster, or deleted and made
// anew: there is nothing to mirror into, to promote or to fail over. The mirror
// is FAILED and its record stays, so that nothing fills the topic again unseen.

// mirrorTopicGone is the code of such a failure inside the engine; the contract
// has no word of its own for it (wire).
const mirrorTopicGone = "MIRROR_TOPIC_GONE"

func (f *failure) gone() bool { return f.code == mirrorTopicGone }

// wire is the contract's mirror_topic_error.
func (f *failure) wire() string {
	if f.gone() {
		return api.MirrorErrorIllegalState
	}
	return f.code
}

const (
	// localEvery is how often the link looks whether its mirrors' topics stand.
	localEvery = 5 * time.Second
	// goneAfter is how long a topic of this cluster must be missing to count as
	// deleted: a broker that has just started may not know it yet.
	goneAfter = 5 * time.Second
)

// absent notes that a topic is missing, or that it is there, and tells how long
// it has been missing. key names the topic and its side.
func (l *Link) absent(key string, missing bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !missing {
		delete(l.missing, key)
		return 0
	}
	since, ok := l.missing[key]
	if !ok {
		since = time.Now()
		l.missing[key] = since
	}
	return time.Since(since)
}

// standing asks this cluster once for the topics of the mirrors and answers
// with those that do not stand as they were made: a *failure that is final, or
// an error where it is too early to tell.
func (l *Link) standing(ctx context.Context, mirrors []*MirrorTopic) map[*MirrorTopic]error {
	out := map[*MirrorTopic]error{}
	var topics []string
	for _, m := range mirrors {
		topics = append(topics, m.name())
	}
	if len(topics) == 0 {
		return out
	}
	if err := l.mgr.local.refresh(ctx, topics...); err != nil {
		return out // whoever needs the cluster meets it himself
	}
	for _, m := range mirrors {
		rec := m.record()
		t, ok := l.mgr.local.topic(rec.Topic)
		if !ok || rec.TopicID == "" {
			continue
		}
		missing := errors.Is(t.err, kerr.UnknownTopicOrPartition)
		since := l.absent("local/"+rec.Topic, missing)
		switch {
		case missing && since < goneAfter:
			out[m] = fmt.Errorf("mirror topic %s is not there: %w", rec.Topic, t.err)
		case missing:
			out[m] = topicGone(rec, "was deleted")
		case t.err == nil && !rec.sameTopic(t.id):
			out[m] = topicGone(rec, "was deleted and made anew by somebody else")
		}
	}
	return out
}

// sameTopic compares a topic id of this cluster with the one that the mirror was
// made with; brokers before 2.8 tell none.
func (r mirrorRecord) sameTopic(id [16]byte) bool {
	return id == [16]byte{} || r.TopicID == "" || idString(id) == r.TopicID
}

func topicGone(rec mirrorRecord, what string) *failure {
	return &failure{mirrorTopicGone, fmt.Sprintf(
		"mirror topic %s %s on this cluster: there is nothing to promote or to fail over; create the mirror again (delete the topic first if it stands) while the source has the records, or delete cluster link '%s' if it has done its work", rec.Topic, what, rec.Link)}
}

// lookForGone fails the mirrors whose topics are gone.
func (l *Link) lookForGone(ctx context.Context, mirrors []*MirrorTopic) {
	l.mu.Lock()
	due := time.Since(l.localLook) >= localEvery
	if due {
		l.localLook = time.Now()
	}
	l.mu.Unlock()
	if !due {
		return
	}
	var live []*MirrorTopic
	for _, m := range mirrors {
		rec := m.record()
		switch rec.Status {
		case status.PendingMirror.String(), status.PendingStopped.String(), status.Stopped.String():
		default: // paused and failed ones too: they are to be failed over one day
			if !rec.Gone {
				live = append(live, m)
			}
		}
	}
	for m, err := range l.standing(ctx, live) {
		var f *failure
		if errors.As(err, &f) {
			m.failed(ctx, f)
		}
	}
}

// endGone ends the end of a mirror whose topic is gone: FAILED, with the reason.
func (m *MirrorTopic) endGone(ctx context.Context, f *failure) error {
	err := m.apply(ctx, status.StopGivenUpFailed, func(r *mirrorRecord) {
		r.Intent, r.Before, r.Fenced = "", "", false
		r.Error, r.Reason, r.Gone = f.wire(), f.reason, true
		r.remember(f.wire(), f.reason)
	})
	if err != nil {
		return err
	}
	m.unclaimEnd()
	m.log.Error("mirror cannot be ended", "code", f.wire(), "reason", f.reason)
	return nil
}
