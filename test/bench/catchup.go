package main

import (
	"context"
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
)

const (
	// lookEvery is how often the mirror's log ends are asked for: often enough for runs of a second.
	lookEvery = 10 * time.Millisecond
	// patience bounds each wait for a mirror: to find its topic, and to make progress.
	patience = 2 * time.Minute
)

// catchUp loads a fresh topic, has it mirrored, measures from the first record that is seen in the mirror to the last, and
// verifies the mirror. Where the rival is the plain client it measures from the order to mirror: a client that has fetched
// all of a small topic when it produces the first record has done half of its work by then.
func (s *stage) catchUp(ctx context.Context, w workload, pool *batchPool, m mirror, size int64, repeat int) (_ measure.CatchUp, err error) {
	s.topics++
	topic := fmt.Sprintf("%s.%s.%d", m.name(), w.name, s.topics)
	defer func() {
		if err != nil {
			err = fmt.Errorf("case %s, %s, repeat %d: %w", w.name, m.name(), repeat, err)
		}
	}()
	want, err := load(ctx, s.src, topic, pool, size)
	if err != nil {
		return measure.CatchUp{}, err
	}
	if err := measure.ResetPeakRSS(m.process().Pid()); err != nil {
		return measure.CatchUp{}, err
	}
	if err := s.show(ctx, topic); err != nil {
		return measure.CatchUp{}, err
	}
	from, err := s.read(m)
	if err != nil {
		return measure.CatchUp{}, err
	}
	if err := m.begin(ctx, topic); err != nil {
		return measure.CatchUp{}, err
	}
	var had int64
	if w.rival == measure.MirrorMaker { // which takes seconds to find the topic
		if _, had, err = s.mirrored(ctx, m, topic, 1); err != nil {
			return measure.CatchUp{}, err
		}
		if from, err = s.read(m); err != nil {
			return measure.CatchUp{}, err
		}
	}
	ends, _, err := s.mirrored(ctx, m, topic, want.records)
	if err != nil {
		return measure.CatchUp{}, err
	}
	to, err := s.read(m)
	if err != nil {
		return measure.CatchUp{}, err
	}
	c := measure.CatchUp{
		Case: w.name, Mirror: m.name(), Repeat: repeat, Records: want.records, Bytes: want.bytes, WireBytes: want.wireBytes,
		BatchBytes: pool.bytes, Measured: float64(want.records-had) / float64(want.records),
	}
	c.Seconds, c.CPUSeconds, c.Load = to.since(from)
	c.Derive()
	if c.PeakRSS, err = measure.PeakRSS(m.process().Pid()); err != nil {
		return c, err
	}
	if c.MirrorBytes, err = stored(ctx, s.dstCl, topic); err != nil {
		return c, err
	}
	if err := verify(ctx, s.dst, want, ends); err != nil {
		return c, err
	}
	if err := m.end(ctx, topic); err != nil {
		return c, err
	}
	return c, s.remove(ctx, topic)
}

// mirrored waits until a mirror topic has at least so many records and answers with the ends of its log. It gives up when
// nothing has come for as long as patience.
func (s *stage) mirrored(ctx context.Context, m mirror, topic string, records int64) (ends [partitions]int64, total int64, err error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	last, since := int64(-1), time.Now()
	for {
		if ends, total, err = logEnds(ctx, s.dstCl, topic); err != nil || total >= records {
			return ends, total, err
		}
		if err := alive(m); err != nil {
			return ends, total, err
		}
		if total > last {
			last, since = total, time.Now()
		}
		if time.Since(since) > patience {
			return ends, total, fmt.Errorf("nothing came for %s: %d of %d records are in the mirror; end of the log of %s:\n%s",
				patience, total, records, m.name(), m.process().Log(30))
		}
		select {
		case <-ctx.Done():
			return ends, total, context.Cause(ctx)
		case <-look.C:
		}
	}
}
