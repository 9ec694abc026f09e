package activities

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// stretch is a part of a partition's log: offsets from from to before end.
type stretch struct{ from, end int64 }

// beyond is the stretch between a source stop offset and where the log ends, and false if there is none, or if it cannot
// be read: a transaction is open there, or retention has taken its beginning.
func beyond(stop int64, e logEnd) (stretch, bool) {
	return stretch{stop, e.end}, e.start <= stop && stop >= 0 && stop < e.end && e.stable >= e.end
}

// silent tells which stretches hold nothing that a consumer would read (read_committed): only the markers of transactions,
// and what they have aborted. A cluster that comes back ends so what its producers had left open, and an engine that takes
// a partition over finds its place by records, of which the last may be followed by markers. An offset alone would make
// of both "somebody has written here". One of which this cannot be told within callTimeout is not silent; the log says so.
func (a *Activities) silent(ctx context.Context, call workflows.Call, s runbook.Site, stretches map[string]map[int32]stretch) (map[string]map[int32]bool, error) {
	out := map[string]map[int32]bool{}
	at, left := map[string]map[int32]kgo.Offset{}, 0
	for t, parts := range stretches {
		at[t], out[t] = map[int32]kgo.Offset{}, map[int32]bool{}
		for p, s := range parts {
			at[t][p] = kgo.NewOffset().At(s.from)
			left++
		}
	}
	if left == 0 {
		return out, nil
	}
	opts, err := kafkaOptions(s.Kafka.Bootstrap, s.Kafka.Security, a.resolve)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, kgo.ClientID("drawbridge-worker-silence"), kgo.DisableClientMetrics(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumePartitions(at))...)
	if err != nil {
		return nil, fmt.Errorf("connection to site %s: %w", s.Name, err)
	}
	defer client.Close()
	within, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var trouble error
	for left > 0 && within.Err() == nil {
		got := client.PollFetches(within)
		if err := got.Err(); err != nil && within.Err() == nil {
			trouble = err // tried again until there is no time left
		}
		got.EachRecord(func(r *kgo.Record) {
			s := stretches[r.Topic][r.Partition]
			if _, told := out[r.Topic][r.Partition]; told || r.Offset < s.end-1 && r.Attrs.IsControl() {
				return
			}
			out[r.Topic][r.Partition] = r.Attrs.IsControl() || r.Offset >= s.end
			left--
		})
	}
	if left > 0 {
		a.logger(call).Warn("it could not be read whether there are records behind stop offsets: they count as written to", "site", s.Name, "partitions", left, "error", trouble)
	}
	return out, ctx.Err()
}
