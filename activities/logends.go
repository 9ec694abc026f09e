package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// logEnd is where one partition of a cluster ends: log end offset, high watermark,
// last stable offset.
type logEnd struct {
	topic                    string
	partition                int32
	start, end, high, stable int64
}

// ends lists where the partitions of topics end, sorted; topics that do not
// exist are missing.
//
// high is read before end: a high watermark that has reached a log end read
// later covers all that was there.
func (k *kafka) ends(ctx context.Context, topics []string) ([]logEnd, error) {
	parts, err := k.topics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	const earliest, latest = -2, -1
	out := []logEnd{}
	if len(parts) == 0 {
		return out, nil
	}
	var got [4]map[string]map[int32]int64
	for i, q := range []struct {
		at        int64
		replica   int32
		isolation int8
	}{{earliest, asConsumer, 0}, {latest, asConsumer, committed}, {latest, asConsumer, 0}, {latest, asDebugger, 0}} {
		if got[i], err = k.offsets(ctx, parts, q.at, q.replica, q.isolation); err != nil {
			return nil, err
		}
	}
	for t, ps := range parts {
		for p := range ps {
			out = append(out, logEnd{
				topic: t, partition: p, start: got[0][t][p], stable: got[1][t][p], high: got[2][t][p], end: got[3][t][p],
			})
		}
	}
	slices.SortFunc(out, func(a, b logEnd) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return out, nil
}

// AwaitDrained waits until the source's logs stand still at their high
// watermark and last stable offset, and the mirrors hold all of it.
func (a *Activities) AwaitDrained(ctx context.Context, in workflows.AwaitDrainedInput) (workflows.AwaitDrainedResult, error) {
	defer a.beat(ctx)()
	var out workflows.AwaitDrainedResult
	k, err := a.kafka(in.Source)
	if err != nil {
		return out, settle(err)
	}
	out.Drained, err = poll(ctx, in.Within, func(ctx context.Context) (bool, error) {
		ends, err := k.ends(ctx, in.Topics)
		if err != nil {
			return false, err
		}
		_, by, err := a.progress(ctx, in.Destination, in.Link)
		if err != nil {
			return false, err
		}
		out.Behind = missing(in.Topics, ends)
		for _, e := range ends {
			mirrored := int64(-1)
			for _, p := range by[e.topic].Partitions {
				if p.Partition == e.partition {
					mirrored = p.SourcePosition
				}
			}
			switch where := fmt.Sprintf("%s/%d", e.topic, e.partition); {
			case e.end != e.high || e.end != e.stable:
				out.Behind = append(out.Behind, fmt.Sprintf("%s at %s: log end %d, high watermark %d, last stable offset %d", where, in.Source.Name, e.end, e.high, e.stable))
			case mirrored < e.end:
				out.Behind = append(out.Behind, fmt.Sprintf("%s: mirrored up to %d of %d", where, mirrored, e.end))
			}
		}
		out.Partitions = len(ends)
		return len(out.Behind) == 0, nil
	})
	out.Behind = first(out.Behind)
	return out, settle(err)
}

// named is how many of many partitions are told one by one.
const named = 20

// first of many lines, and how many more there are.
func first(lines []string) []string {
	if len(lines) <= named {
		return lines
	}
	return append(lines[:named:named], fmt.Sprintf("and %d more", len(lines)-named))
}

// missing names topics without a log.
func missing(topics []string, ends []logEnd) []string {
	seen := map[string]bool{}
	for _, e := range ends {
		seen[e.topic] = true
	}
	var out []string
	for _, t := range topics {
		if !seen[t] {
			out = append(out, t+": does not exist")
		}
	}
	return out
}

// CompareLogEnds compares a site's true log ends with the source stop offsets
// that the keeper's engine has of it. Behind one of these there may be what nobody reads.
func (a *Activities) CompareLogEnds(ctx context.Context, in workflows.CompareLogEndsInput) (workflows.CompareLogEndsResult, error) {
	defer a.beat(ctx)()
	k, err := a.kafka(in.Site)
	if err != nil {
		return workflows.CompareLogEndsResult{}, settle(err)
	}
	e, err := a.engine(in.Keeper)
	if err != nil {
		return workflows.CompareLogEndsResult{}, settle(err)
	}
	ends, err := k.ends(ctx, in.Topics)
	if err != nil {
		return workflows.CompareLogEndsResult{}, settle(err)
	}
	differ, by, more := missing(in.Topics, ends), map[string][]logEnd{}, map[string]map[int32]stretch{}
	for _, e := range ends {
		by[e.topic] = append(by[e.topic], e)
	}
	for _, t := range in.Topics {
		s, err := e.Segments(ctx, in.Link.Name, t)
		if err != nil {
			return workflows.CompareLogEndsResult{}, settle(fmt.Errorf("stop offsets of %s on link %s at engine %s: %w", t, in.Link.Name, in.Keeper.Name, err))
		}
		stops := map[int32]int64{}
		for _, p := range s.Partitions {
			stops[p.Partition] = p.SourceStop
		}
		more[t] = map[int32]stretch{}
		for _, end := range by[t] {
			stop, ok := stops[end.partition]
			if rest, some := beyond(stop, end); ok && some {
				more[t][end.partition] = rest
			} else if !ok || stop < 0 || end.end != stop {
				differ = append(differ, ahead(end, stop))
			}
		}
		if len(by[t]) != len(stops) {
			differ = append(differ, fmt.Sprintf("%s has %d partitions, %d were mirrored", t, len(by[t]), len(stops)))
		}
	}
	silent, err := a.silent(ctx, in.Call, in.Site, more)
	if err != nil {
		return workflows.CompareLogEndsResult{}, settle(err)
	}
	for _, end := range ends {
		if rest, some := more[end.topic][end.partition]; some && !silent[end.topic][end.partition] {
			differ = append(differ, ahead(end, rest.from))
		}
	}
	return workflows.CompareLogEndsResult{Equal: len(differ) == 0, Differ: first(differ), Partitions: len(ends)}, nil
}

func ahead(e logEnd, stop int64) string {
	return fmt.Sprintf("%s/%d ends at %d, mirrored up to %d", e.topic, e.partition, e.end, stop)
}
