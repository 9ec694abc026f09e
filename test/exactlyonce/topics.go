package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/exact"
	"github.com/drawbridge-dr/drawbridge/test/load"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// topic is one of a seed's topics.
type topic struct {
	name      string // its part of the name; the seed goes before it
	load      load.Config
	rate      int               // records a second while faults happen
	ahead     int               // records before the mirror begins
	compacted bool              // what it holds is not all that was written
	source    map[string]string // configs at the source
	mirror    map[string]string // configs of the mirror that differ from the source's
}

// old is older than the destination remembers producers by (Properties).
const old = 7 * 24 * time.Hour

// week is the topic whose records are that old.
const week = "backfill"

// topics of each seed. Of the two compacted ones the first is cleaned at the
// source only, so that its mirror must have every record that the source still
// has; the second is cleaned on both sides.
func topics() []topic {
	cleaned := map[string]string{"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001"}
	return []topic{
		{name: "plain", load: load.Config{Partitions: 3, Enough: 36_000}, rate: 800, ahead: 5_000},
		{name: "keyed", load: load.Config{Partitions: 3, Keys: 5000, ByKey: true, Enough: 36_000}, rate: 800, ahead: 5_000},
		{
			name: "compacted", load: load.Config{Partitions: 1, Keys: 300, Tombstones: true, Batch: 100, Enough: 9_000}, rate: 150, ahead: 6_000,
			compacted: true, source: cleaned, mirror: map[string]string{"segment.ms": "604800000", "min.cleanable.dirty.ratio": "1.0"},
		},
		{
			name: "churned", load: load.Config{Partitions: 1, Keys: 300, Tombstones: true, Batch: 100, Enough: 9_000}, rate: 150, ahead: 6_000,
			compacted: true, source: cleaned,
		},
		{name: "stamped", load: load.Config{Partitions: 1, Keys: 100, Enough: 6_000}, rate: 150, source: map[string]string{"message.timestamp.type": "LogAppendTime"}},
		{name: week, load: load.Config{Partitions: 2, Age: old, Enough: 20_000}, rate: 250, ahead: 10_000, source: map[string]string{"retention.ms": "-1"}},
	}
}

// stock is a topic of this run with its writer.
type stock struct {
	topic
	full   string
	writer *load.Writer
}

// create makes the topics at the source and writes what is there ahead of the
// mirrors. It waits until compaction has taken records, or there would be no
// gaps to mirror.
func (r *run) create(ctx context.Context) error {
	for i, t := range r.cfg.topics {
		s := &stock{topic: t, full: fmt.Sprintf("%s-%s", r.cfg.name(), t.name)}
		configs := map[string]*string{}
		for k, v := range t.source {
			configs[k] = &v
		}
		if _, err := r.srcAdm.CreateTopic(ctx, t.load.Partitions, 3, configs, s.full); err != nil {
			return fmt.Errorf("create %s at the source: %w", s.full, err)
		}
		cfg := t.load
		cfg.Topic, cfg.Seed = s.full, r.cfg.Seed*100+uint64(i)
		var err error
		if s.writer, err = load.New(r.producers, cfg); err != nil {
			return err
		}
		r.cleanup = append(r.cleanup, s.writer.Close)
		r.stock = append(r.stock, s)
	}
	return r.each(ctx, func(ctx context.Context, s *stock) error {
		if err := s.writer.Write(ctx, s.ahead); err != nil {
			return err
		}
		if !s.compacted {
			return nil
		}
		return local.WaitFor(within(ctx, time.Minute), s.full+" is compacted", func(ctx context.Context) error {
			log, err := exact.Read(ctx, r.Source, Admin, kgo.ReadUncommitted(), s.full, 0)
			if err != nil {
				return err
			}
			if log.Holes() == 0 {
				// A segment is rolled by the first record that comes too late for it.
				return errors.Join(errors.New("it has no gaps yet"), s.writer.Write(ctx, 20))
			}
			r.note(func(c *Counts) { c.Gaps += int(log.Holes()) })
			r.say("%s: compaction has taken %d of %d offsets before its mirror begins", s.full, log.Holes(), log.End)
			return nil
		})
	})
}

// mirror makes link and mirrors.
func (r *run) mirror(ctx context.Context) error {
	e := r.api()
	configs, err := r.sourceConfigs()
	if err != nil {
		return err
	}
	for _, kv := range [][2]string{
		{"consumer.offset.sync.enable", "true"},
		{"consumer.offset.sync.ms", "1000"},
		{"consumer.offset.group.filters", `{"groupFilters":[{"name":"` + r.cfg.name() + `","patternType":"PREFIXED","filterType":"INCLUDE"}]}`},
	} {
		configs = append(configs, api.NameValue{Name: kv[0], Value: &kv[1]})
	}
	if err := e.CreateLink(ctx, r.cfg.name(), api.CreateLink{SourceClusterID: r.Source.ClusterID(), Configs: configs}, false, true); err != nil {
		return fmt.Errorf("create the link: %w", err)
	}
	for _, s := range r.stock {
		req := api.CreateMirror{SourceTopicName: s.full, ReplicationFactor: 3}
		for k, v := range s.topic.mirror {
			req.Configs = append(req.Configs, api.NameValue{Name: k, Value: &v})
		}
		if err := e.CreateMirror(ctx, r.cfg.name(), req); err != nil {
			return fmt.Errorf("create mirror %s: %w", s.full, err)
		}
	}
	return r.learnIDs(ctx)
}
