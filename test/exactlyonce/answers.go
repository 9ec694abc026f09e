package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// landing is a batch that an engine's produce has put into a mirror.
type landing struct {
	harness.At
	base int64
}

func (l landing) String() string { return fmt.Sprintf("%s at offset %d", l.At, l.base) }

// answer is an answer that was kept from an engine.
type answer struct {
	engine *engine
	landed []landing
}

func (a answer) String() string {
	var parts []string
	for _, l := range a.landed {
		parts = append(parts, l.String())
	}
	return strings.Join(parts, ", ")
}

// take keeps one answer to a produce from an engine: one by which at least one
// batch has landed in a mirror that is wanted. verdict says how it is taken.
func (r *run) take(ctx context.Context, verdict local.Verdict, wanted func(topic string) bool) (answer, error) {
	type taken struct {
		client string
		landed []landing
		err    error
	}
	got := make(chan taken, 1)
	var done atomic.Bool
	stop := r.Dest.Proxies().Judge(int16(kmsg.Produce), engineClients+r.cfg.name(), func(a local.Answer) local.Verdict {
		landed, err := r.landed(a)
		hit := err != nil
		for _, l := range landed {
			hit = hit || wanted(l.Topic)
		}
		if !hit || !done.CompareAndSwap(false, true) {
			return local.Pass
		}
		got <- taken{a.ClientID, landed, err}
		return verdict
	})
	defer stop()
	select {
	case t := <-got:
		if t.err != nil {
			return answer{}, t.err
		}
		e, err := r.engines.byClient(t.client)
		return answer{e, t.landed}, err
	case <-time.After(90 * time.Second):
		return answer{}, errors.New("no engine produced within 90 s")
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// landed reads from an answer what it acknowledges of this run's mirrors.
func (r *run) landed(a local.Answer) ([]landing, error) {
	res := kmsg.NewPtrProduceResponse()
	res.SetVersion(a.Version)
	body := a.Body
	if res.IsFlexible() {
		// Tagged fields of the response header (KIP-482); brokers send none here.
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("an answer to a produce has tagged fields in its header, which this test does not read")
		}
		body = body[1:]
	}
	if err := res.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("read an answer to a produce: %w", err)
	}
	var out []landing
	for _, t := range res.Topics {
		name := t.Topic
		if name == "" {
			name = r.ids[t.TopicID]
		}
		if r.byName(name) == nil {
			continue
		}
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				out = append(out, landing{harness.At{Topic: name, Partition: p.Partition}, p.BaseOffset})
			}
		}
	}
	return out, nil
}

// learnIDs asks for the mirrors' topic ids, by which newer answers name them.
func (r *run) learnIDs(ctx context.Context) error {
	meta, err := r.dstAdm.ListTopics(ctx, r.names()...)
	if err == nil {
		err = meta.Error()
	}
	if err != nil {
		return fmt.Errorf("topic ids of the mirrors: %w", err)
	}
	for _, t := range meta {
		r.ids[t.ID] = t.Topic
	}
	return nil
}
