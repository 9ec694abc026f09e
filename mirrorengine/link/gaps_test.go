package link

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// The source's retention overtakes a mirror that has a batch of one record under
// way: it is lost only if it does not land, which the mirror's log will tell then.
func TestAGapBeginsBehindWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer error
		want   []api.LedgerGap
	}{
		"it lands":     {nil, []api.LedgerGap{{From: 11, To: 14, Cause: api.GapRetention}}},
		"nobody knows": {kerr.NotEnoughReplicasAfterAppend, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, _, m, _ := orders{records: 10}.mirror(t)
			alter(t, m, api.VerbPause, "orders")
			awaitStatus(t, m, "orders", status.Paused)
			p := mirrorOf(t, m, "orders").parts()[0]
			p.mirror.halt() // whoever paused it may be on the way
			src.produce(t, "orders", 0, 10, 6)
			src.expire(t, "orders", 14)

			p.mu.Lock()
			at := p.pos
			p.mu.Unlock()
			out := batch.Out{Records: 1, Runs: []batch.Run{{SourceStart: 10, Count: 1}}}
			sent := underway{out: out, at: at, after: at.behind(out), answer: make(chan produced, 1)}
			sent.answer <- produced{base: 10, err: tc.answer}
			line := &pipeline{p: p, sent: sent.after, way: []underway{sent}}
			err := p.sourceError(t.Context(), line, chunk{err: kerr.OffsetOutOfRange})
			if err == nil || !errors.Is(err, tc.answer) && tc.answer != nil {
				t.Errorf("the partition goes on, or says something else: %v", err)
			}
			got, err := m.Ledger(t.Context(), "l")
			if err != nil {
				t.Fatal(err)
			}
			var gaps []api.LedgerGap
			for _, e := range got.Entries {
				gaps = append(gaps, e.Gaps...)
			}
			if d := cmp.Diff(tc.want, gaps); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
