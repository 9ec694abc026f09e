package workflows

import (
	"context"
	"maps"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// keeper is a world that remembers topic configs: what is put back must be what
// stood there, whatever happened to the steps between.
type keeper struct {
	*world
	configs map[string]string // "topic name" → value; absent: not set
	lost    map[string]int    // method → calls whose answer is lost after they acted
}

func (k *keeper) answer(method string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lost[method] == 0 {
		return nil
	}
	k.lost[method]--
	return temporal.NewApplicationError("the worker died behind it", ErrUnreachable)
}

func (k *keeper) HoldRetention(_ context.Context, in HoldRetentionInput) (HoldRetentionResult, error) {
	if err := k.enter("HoldRetention", in.Call); err != nil {
		return HoldRetentionResult{}, err
	}
	k.mu.Lock()
	var out HoldRetentionResult
	for _, t := range in.Topics {
		for name, held := range map[string]string{"retention.ms": "-1", "retention.bytes": "-1"} {
			at := t + " " + name
			v, set := k.configs[at]
			if v == held {
				continue
			}
			h := HeldConfig{Topic: t, Name: name}
			if set {
				h.Old = &v
			}
			out.Held = append(out.Held, h)
			if !in.LookOnly {
				k.configs[at] = held
			}
		}
	}
	k.mu.Unlock()
	return out, k.answer("HoldRetention")
}

func (k *keeper) PutBackRetention(_ context.Context, in PutBackRetentionInput) (HoldRetentionResult, error) {
	if err := k.enter("PutBackRetention", in.Call); err != nil {
		return HoldRetentionResult{}, err
	}
	k.mu.Lock()
	for _, h := range in.Held {
		if h.Old == nil {
			delete(k.configs, h.Topic+" "+h.Name)
		} else {
			k.configs[h.Topic+" "+h.Name] = *h.Old
		}
	}
	k.mu.Unlock()
	return HoldRetentionResult{}, k.answer("PutBackRetention")
}

func TestRetentionIsPutBackExactlyAsItWas(t *testing.T) {
	before := map[string]string{"a retention.ms": "60000", "b retention.bytes": "-1"}
	abort := func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitDecide {
			return []runbook.Command{signed(st, "ann", runbook.Abort)}
		}
		return nil
	}
	for name, c := range map[string]struct {
		lost  map[string]int
		fail  map[string][]error
		given map[string]string
		react func(Status) []runbook.Command
		want  string
	}{
		"signed off":                 {given: map[string]string{"*": "discard"}, want: runbook.Done},
		"aborted":                    {react: abort, want: runbook.Partly},
		"died behind the look":       {lost: map[string]int{"HoldRetention": 1}, given: map[string]string{"*": "discard"}, want: runbook.Done},
		"died behind the hold":       {lost: map[string]int{"HoldRetention": 3}, given: map[string]string{"*": "discard"}, want: runbook.Done},
		"died behind the put-back":   {lost: map[string]int{"PutBackRetention": 2}, given: map[string]string{"*": "discard"}, want: runbook.Done},
		"died and was then aborted":  {lost: map[string]int{"HoldRetention": 1, "PutBackRetention": 1}, react: abort, want: runbook.Partly},
		"the ledger fails, then not": {fail: map[string][]error{"ComputeLedger": {no(ErrUnreachable, "east died again")}}, given: map[string]string{"*": "discard"}, want: runbook.Done},
	} {
		w := failedOver()
		maps.Copy(w.fail, c.fail)
		k := &keeper{world: w, configs: maps.Clone(before), lost: c.lost}
		s := newStageOf(t, w, k)
		s.react = func(st Status) []runbook.Command {
			if st.Waiting != nil && st.Waiting.For == WaitPerson {
				r := signed(st, "bob", runbook.Retry)
				r.Step = st.Waiting.Step
				return []runbook.Command{r}
			}
			if c.react != nil {
				return c.react(st)
			}
			return nil
		}
		s.run(RecoverLaggedData, RecoverInput{Start: deciding(runbook.OpRecover, c.given)})
		if s.err != nil || s.res.Outcome != c.want {
			t.Errorf("%s: %v, outcome %q %s", name, s.err, s.res.Outcome, s.res.Report.Error)
		}
		if !maps.Equal(k.configs, before) {
			t.Errorf("%s: %v stands there, it was %v", name, k.configs, before)
		}
		if w.count("HoldRetention") < 2 {
			t.Errorf("%s: nothing was held", name)
		}
	}
}
