package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// Auto-create: every metadata.max.age.ms the link looks for topics of its
// source that the filters choose and that have no mirror, and makes one as
// CreateMirror would. What it never makes by itself (a person may, explicitly):
//   - internal topics, names that begin with __, the engine's own topics;
//   - a Kafka Streams application's -changelog and -repartition topics, unless a
//     LITERAL filter names them: the application on the standby rebuilds its own;
//   - a topic that is a mirror at the source, of the opposite link or any other:
//     the records would go round (sourcemirrors.go);
//   - a mirror that is remembered. Whoever deleted its topic did not want it.

// Codes of the contract for a topic that has no mirror and gets none.
const (
	codeTopicExists    = "TOPIC_EXISTS_ERROR"
	codeInvalidRequest = "INVALID_REQUEST_ERROR"
)

// creations is how many mirrors are made at a time.
const creations = 8

// keepAutoCreate makes mirrors until ctx ends, if the link wants it.
func (l *Link) keepAutoCreate(ctx context.Context) {
	cfg := l.config()
	if !cfg.AutoCreate {
		return
	}
	mirrored := &sourceMirrors{link: l}
	l.everyNoted(ctx, api.TaskAutoCreate, cfg.Client.MetadataMaxAge, func(ctx context.Context) (faults, notes []api.TaskError) {
		return l.autoCreate(ctx, mirrored)
	})
}

// autoCreate is one look. faults keep a topic without a mirror until somebody
// acts; notes say what is left out on purpose.
func (l *Link) autoCreate(ctx context.Context, mirrored *sourceMirrors) (faults, notes []api.TaskError) {
	note := func(format string, args ...any) []api.TaskError {
		return []api.TaskError{{ErrorCode: codeInvalidRequest, ErrorMessage: fmt.Sprintf(format, args...)}}
	}
	if l.config().Paused {
		return nil, nil
	}
	if err := l.mgr.admit(ctx, l); err != nil {
		return nil, note("no mirror topic is created meanwhile: %v", err)
	}
	if l.hasEnded() {
		return nil, note("all mirror topics of cluster link '%s' have ended, so that its direction seems to have changed: none is created; create one explicitly, or delete the link", l.record().Name)
	}
	topics, err := l.src.list(ctx)
	if err != nil {
		return []api.TaskError{{ErrorCode: taskErrorCode(err), ErrorMessage: fmt.Sprintf("topics of the source: %v", err)}}, nil
	}
	chosen := l.unmirrored(topics)
	if len(chosen) == 0 {
		return nil, nil
	}
	there, err := mirrored.look(ctx)
	if err != nil {
		return []api.TaskError{{ErrorCode: taskErrorCode(err), ErrorMessage: err.Error()}}, nil
	}
	var back, fresh []string
	for _, topic := range chosen {
		if there[topic] != "" {
			back = append(back, fmt.Sprintf("%s (cluster link '%s')", topic, there[topic]))
		} else {
			fresh = append(fresh, topic)
		}
	}
	if len(back) > 0 {
		notes = note("mirror topics at the source are not mirrored again, or their records would go round: %s; exclude them by a filter, or fail them over there first", few(back))
	}
	return l.createAll(ctx, fresh), notes
}

// hasEnded: there are mirrors, and all of them have ended.
func (l *Link) hasEnded() bool {
	mirrors := l.all()
	return len(mirrors) > 0 && !slices.ContainsFunc(mirrors, func(m *MirrorTopic) bool {
		return m.record().Status != status.Stopped.String()
	})
}

// unmirrored are the topics that the filters choose and that this link does not
// know, in order.
func (l *Link) unmirrored(topics []sourceTopic) []string {
	filters := l.config().Topics
	var out []string
	for _, t := range topics {
		if t.err == nil && filters.Match(t.name) && !l.leftOut(t, filters) && !l.has(t.name) {
			out = append(out, t.name)
		}
	}
	slices.Sort(out)
	return out
}

// leftOut are topics that no filter means.
func (l *Link) leftOut(t sourceTopic, filters Filters) bool {
	switch {
	case t.internal, strings.HasPrefix(t.name, "__"), t.name == l.mgr.opts.StateTopic, strings.HasPrefix(t.name, "_drawbridge"), strings.HasPrefix(t.name, "drawbridge.ledger."):
		return true
	case strings.HasSuffix(t.name, "-changelog"), strings.HasSuffix(t.name, "-repartition"):
		return !filters.Named(t.name)
	}
	return false
}

// createAll makes the mirrors, some at a time. A topic that is in the way, or
// that cannot be made, keeps no other from its mirror.
func (l *Link) createAll(ctx context.Context, topics []string) []api.TaskError {
	if len(topics) == 0 {
		return nil
	}
	if err := l.mgr.local.refresh(ctx, topics...); err != nil {
		return []api.TaskError{{ErrorCode: taskErrorCode(err), ErrorMessage: fmt.Sprintf("topics of this cluster: %v", err)}}
	}
	var (
		mu     sync.Mutex // guards faults
		faults groupFaults
		group  errgroup.Group
	)
	group.SetLimit(creations)
	name := l.record().Name
	for _, topic := range topics {
		if t, ok := l.mgr.local.topic(topic); ok && t.err == nil {
			mu.Lock()
			faults.add("", codeTopicExists, "topic %s %s: it gets no mirror; delete it if its records are not needed, rejoin it after a planned move, or exclude it by a filter", topic, l.mgr.standsAs(topic, l))
			mu.Unlock()
			continue
		}
		group.Go(func() error {
			err := l.mgr.CreateMirror(ctx, name, api.CreateMirror{SourceTopicName: topic})
			if err == nil {
				l.log.Info("mirror topic created by the link's filters", "topic", topic)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			faults.add("", createErrorCode(err), "topic %s: %v", topic, err)
			return nil
		})
	}
	_ = group.Wait() // told per topic
	return faults.tasks()
}

// standsAs says what a topic of the local cluster is that is in the way.
func (m *Manager) standsAs(topic string, but *Link) string {
	for _, l := range m.all() {
		if l != but && l.has(topic) {
			return fmt.Sprintf("is a mirror topic of cluster link '%s'", l.record().Name)
		}
	}
	return "exists on this cluster and is no mirror"
}

// createErrorCode is the contract's word for a mirror that could not be made.
func createErrorCode(err error) string {
	code := taskErrorCode(err)
	if code == "INTERNAL_ERROR" && errors.Is(err, api.ErrBadRequest) {
		return codeInvalidRequest
	}
	return code
}

// few names some and counts the rest.
func few(names []string) string {
	if more := len(names) - faultsNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:faultsNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// sourceTopic is a topic as its cluster lists it.
type sourceTopic struct {
	name     string
	internal bool
	err      error
}

// list asks for all topics that the client may see.
func (c *cluster) list(ctx context.Context) ([]sourceTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	res, err := await(ctx, func() (*kmsg.MetadataResponse, error) { return req.RequestWith(ctx, c.client) })
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	c.touch()
	var out []sourceTopic
	for _, t := range res.Topics {
		if t.Topic != nil {
			out = append(out, sourceTopic{name: *t.Topic, internal: t.IsInternal, err: kerr.ErrorForCode(t.ErrorCode)})
		}
	}
	return out, nil
}
