package link

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// sourceMirrors knows which topics of the source are mirror topics there: the
// engine beside the source keeps its mirrors in a state topic of the same name
// as ours, and its shard 0 is read on from where the last look ended. It is the
// only thing that tells a mirror from a topic: they have no mark that a broker
// would keep. It has one owner.
type sourceMirrors struct {
	link    *Link
	topicID [16]byte
	next    int64
	links   map[string]string // by key of the mirror record: its link; absent when ended or deleted
}

// look answers with the mirror topics of the source and their links. A source
// without a state topic has none of ours; one whose state topic may not be read
// is an error, since nothing says then that a topic is not a mirror.
func (s *sourceMirrors) look(ctx context.Context) (map[string]string, error) {
	l, name := s.link, s.link.mgr.opts.StateTopic
	l.src.forget(name)
	if err := l.src.refresh(ctx, name); err != nil {
		return nil, err
	}
	t, _ := l.src.topic(name)
	switch {
	case errors.Is(t.err, kerr.UnknownTopicOrPartition):
		s.links = nil
		return nil, nil
	case t.err != nil:
		return nil, s.unreadable(t.err)
	case t.id != s.topicID || s.links == nil:
		s.topicID, s.next, s.links = t.id, 0, map[string]string{}
	}
	if err := s.read(ctx, name); err != nil {
		return nil, s.unreadable(err)
	}
	out := map[string]string{}
	for key, link := range s.links {
		out[key[strings.LastIndexByte(key, '/')+1:]] = link
	}
	return out, nil
}

func (s *sourceMirrors) unreadable(err error) error {
	return fmt.Errorf("no mirror topic is created: the state topic %s of the engine beside the source tells which topics are mirrors there, and it cannot be read: %w; allow the link's principal DESCRIBE and READ on it at the source, also where there is no engine", s.link.mgr.opts.StateTopic, err)
}

// read follows shard 0 to its last stable offset, by a client of its own.
func (s *sourceMirrors) read(ctx context.Context, topic string) error {
	l := s.link
	opts, err := ClientOptions(l.config(), l.mgr.opts.Resolve)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.ClientID(l.mgr.clientID(l.record().Name)+"-state"), kgo.RetryTimeout(requestTimeout),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // a position behind markers is progress too
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(s.next)}}))...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	ends, err := await(ctx, func() (kadm.ListedOffsets, error) { return kadm.NewClient(client).ListCommittedOffsets(ctx, topic) })
	if err != nil {
		return err
	}
	end, ok := ends.Lookup(topic, 0)
	if !ok || end.Err != nil {
		return fmt.Errorf("end of %s: %w", topic, errors.Join(end.Err, ctx.Err()))
	}
	for s.next < end.Offset {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(s.take)
	}
	return nil
}

// take keeps what one record says. A mirror that has ended is an ordinary topic.
func (s *sourceMirrors) take(r *kgo.Record) {
	s.next = r.Offset + 1
	key := string(r.Key)
	rest, ok := strings.CutPrefix(key, "mirror/")
	if r.Attrs.IsControl() || !ok {
		return
	}
	link, _, _ := strings.Cut(rest, "/")
	var rec mirrorRecord
	switch err := state.Decode(r.Value, &rec); {
	case len(r.Value) == 0, err == nil && rec.Status == status.Stopped.String():
		delete(s.links, key)
	default: // one that this build cannot read is a mirror all the same
		s.links[key] = link
	}
}
