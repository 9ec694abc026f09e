package exactlyonce

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/test/exact"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// group commits at the source throughout: anywhere in its topics, on markers, in
// gaps and aborted data too. forward ones never go back, as consumers do; the
// others are rewound at will, as operators do.
type group struct {
	name    string
	forward bool
	rng     *rand.Rand
	at      map[string]map[int32]int64
}

func (r *run) newGroups() []*group {
	var out []*group
	for i, forward := range []bool{true, true, false} {
		out = append(out, &group{
			name: fmt.Sprintf("%s-group%d", r.cfg.name(), i), forward: forward,
			rng: rand.New(rand.NewPCG(r.cfg.Seed, 10+uint64(i))), at: map[string]map[int32]int64{},
		})
	}
	return out
}

// commitAll commits an offset of each partition of some topics.
func (g *group) commitAll(ctx context.Context, adm *kadm.Client, topics ...string) error {
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return err
	}
	offsets := kadm.Offsets{}
	for _, topic := range topics {
		if g.at[topic] == nil {
			g.at[topic] = map[int32]int64{}
		}
		for p := range int32(len(ends[topic])) {
			start, _ := starts.Lookup(topic, p)
			end, _ := ends.Lookup(topic, p)
			from := start.Offset
			if g.forward {
				from = max(from, g.at[topic][p])
			}
			to := from + g.rng.Int64N(max(end.Offset-from, 0)+1)
			g.at[topic][p] = to
			offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: to, LeaderEpoch: -1})
		}
	}
	return adm.CommitAllOffsets(ctx, g.name, offsets)
}

// run commits until stop is closed, then once more everywhere. While a broker is
// away a commit may fail: the next one comes.
func (g *group) run(ctx context.Context, r *run, stop <-chan struct{}) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	names := r.names()
	for going := true; going; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			going = false
		case <-tick.C:
			_ = g.commitAll(within(ctx, 5*time.Second), r.srcAdm, names[g.rng.IntN(len(names))])
		}
	}
	return local.WaitFor(within(ctx, time.Minute), "group "+g.name+" commits for the last time", func(ctx context.Context) error {
		return g.commitAll(ctx, r.srcAdm, names...)
	})
}

// judgeGroups compares what the groups have committed on both sides.
func (r *run) judgeGroups(ctx context.Context, groups []*group, all map[harness.At]sides) error {
	places := map[harness.At]map[[16]byte]int64{}
	for at, got := range all {
		places[at] = exact.Places(got.source.Records)
		if r.byName(at.Topic).compacted {
			places[at] = exact.Places(got.written.Records)
		}
	}
	for _, g := range groups {
		src, err := answered(ctx, "offsets of group "+g.name+" at the source", func(ctx context.Context) (kadm.OffsetResponses, error) {
			return r.srcAdm.FetchOffsets(ctx, g.name)
		})
		if err != nil {
			return err
		}
		dst, err := answered(ctx, "offsets of group "+g.name+" at the destination", func(ctx context.Context) (kadm.OffsetResponses, error) {
			return r.dstAdm.FetchOffsets(ctx, g.name)
		})
		if err != nil {
			return err
		}
		for _, s := range r.stock {
			for p := range s.load.Partitions {
				from, ok := src.Lookup(s.full, p)
				if !ok || from.At < 0 {
					return fmt.Errorf("group %s has no commit on %s/%d at the source", g.name, s.full, p)
				}
				r.result.GroupOffsets++
				at := harness.At{Topic: s.full, Partition: p}
				wrong := "no commit at the destination"
				if to, ok := dst.Lookup(s.full, p); ok && to.At >= 0 {
					wrong = exact.CompareGroup(from.At, to.At, all[at].mirror, places[at])
				}
				if wrong != "" {
					r.result.GroupsWrong++
					r.result.Findings = append(r.result.Findings, fmt.Sprintf("group %s on %s: %s", g.name, at, wrong))
				}
			}
		}
	}
	return nil
}
