package exactlyonce

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/exact"
	"github.com/drawbridge-dr/drawbridge/test/harness"
)

// sides are a partition as its readers see it, here and there.
type sides struct {
	source, mirror exact.Log // committed data; all data
	committed      exact.Log // the mirror's
	written        exact.Written
}

// readers is how many partitions are read at the same time.
const readers = 4

// read reads both sides of all partitions.
func (r *run) read(ctx context.Context) (map[harness.At]sides, error) {
	var mu sync.Mutex
	out := map[harness.At]sides{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, s := range r.stock {
		for p := range s.load.Partitions {
			group.Go(func() (err error) {
				var got sides
				if got.source, err = exact.Read(ctx, r.Source, Admin, kgo.ReadCommitted(), s.full, p); err != nil {
					return err
				}
				if got.mirror, err = exact.Read(ctx, r.Dest, Admin, kgo.ReadUncommitted(), s.full, p); err != nil {
					return err
				}
				if got.committed, err = exact.Read(ctx, r.Dest, Admin, kgo.ReadCommitted(), s.full, p); err != nil {
					return err
				}
				got.written = s.writer.Written(p)
				mu.Lock()
				defer mu.Unlock()
				out[harness.At{Topic: s.full, Partition: p}] = got
				return s.writer.Check(p, got.source, s.compacted)
			})
		}
	}
	return out, group.Wait()
}

// check reads both sides and compares.
func (r *run) check(ctx context.Context, groups []*group) error {
	all, err := r.read(ctx)
	if err != nil {
		return err
	}
	for _, s := range r.stock {
		for p := range s.load.Partitions {
			at := harness.At{Topic: s.full, Partition: p}
			got := all[at]
			verdict := exact.Compare(got.source, got.mirror)
			if s.compacted {
				verdict = exact.CompareCompacted(got.source, got.mirror, got.written)
				r.say("%s: the source has %d of %d records left, the mirror %d; compaction has taken %d of the mirror's %d offsets", at,
					len(got.source.Records), len(got.written.Records), len(got.mirror.Records), got.mirror.Holes(), got.mirror.End-got.mirror.Start)
			}
			r.result.judge(at.String(), verdict)
			r.sameToCommittedReaders(at, got)
			r.result.Records += len(got.mirror.Records)
		}
	}
	if r.result.EndedBy == "" {
		return nil // groups have their last word when mirrors end
	}
	return r.judgeGroups(ctx, groups, all)
}

// sameToCommittedReaders: there is nothing in a mirror that only one kind of
// reader sees. The cleaner may have been at work between the two looks; what
// one then sees the other must have seen.
func (r *run) sameToCommittedReaders(at harness.At, got sides) {
	same := slices.Equal(got.committed.Records, got.mirror.Records)
	if got.committed.Holes() != got.mirror.Holes() {
		seen := exact.Places(got.mirror.Records)
		same = !slices.ContainsFunc(got.committed.Records, func(rec exact.Record) bool {
			_, ok := seen[rec.Sum]
			return !ok
		})
	}
	if !same {
		r.result.Strange++
		r.result.Findings = append(r.result.Findings, fmt.Sprintf("%s: readers of committed data see %d records, others %d, not the same ones",
			at, len(got.committed.Records), len(got.mirror.Records)))
	}
}
