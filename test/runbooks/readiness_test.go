package runbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// codeUnready is drctl's exit code for a pair that is not ready.
const codeUnready = 7

// ready looks by drctl until the verdict is that.
func (p *pair) ready(ctx context.Context, want bool, args ...string) (r runbook.Readiness) {
	p.Helper()
	p.must(local.WaitFor(ctx, fmt.Sprintf("the readiness is %t", want), func(ctx context.Context) error {
		out, err := p.Drctl.Run(ctx, append([]string{"readiness", p.Pair(), "-o", "json"}, args...)...)
		var exit *harness.ExitError
		if errors.As(err, &exit) && exit.Code == codeUnready {
			out, err = exit.Stdout, nil
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return err
		}
		if r.Ready != want {
			return errors.New(r.Summary())
		}
		return nil
	}))
	return r
}

func TestReadinessIsLookedAtByScheduleAndOnDemand(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "ready", func(pl *plan.Plan) { pl.Readiness.EverySeconds = 24 * 3600 })
	p.steady()
	ctx := p.within(2 * time.Minute)
	before := p.standing(p.Standby)
	first := p.ready(ctx, true)
	if first.Proposal != "" || len(first.Active) != 1 || first.Active[0] != p.Home.Name {
		t.Errorf("%+v", first)
	}

	schedule := p.temporal.ScheduleClient().GetHandle(ctx, workflows.ReadyID(p.Pair()))
	_, err := p.Drctl.Run(ctx, "readiness", p.Pair(), "--last")
	p.refused(err, codeRefused, "has not found anything yet")
	p.must(schedule.Trigger(ctx, client.ScheduleTriggerOptions{}))
	scheduled := p.ready(ctx, true, "--last")
	if !scheduled.At.After(first.At) {
		t.Errorf("the Schedule's look is of %s, the first one of %s", scheduled.At, first.At)
	}

	// What a failover would stumble over shows.
	alter := func(verb api.MirrorVerb) {
		res, err := p.Standby.Engine.Client().AlterMirrors(ctx, p.link, verb, api.AlterMirrors{MirrorTopicNames: []string{p.topic}}, false)
		p.must(err)
		p.must(res[0].Err())
	}
	alter(api.VerbPause)
	bad := p.ready(ctx, false)
	if text := bad.Summary(); !strings.Contains(text, p.topic+" is PAUSED") {
		t.Errorf("it says %s", text)
	}
	alter(api.VerbResume)
	p.ready(ctx, true)
	p.same(before, p.standing(p.Standby)) // looking changes nothing

	// The plan rules: without a period there is no Schedule.
	p.outcome(runbook.Done, "setup") // again: the Schedule stays one
	d, err := schedule.Describe(ctx)
	p.must(err)
	if n := len(d.Schedule.Spec.Intervals); n != 1 || d.Schedule.Spec.Intervals[0].Every != 24*time.Hour {
		t.Errorf("the Schedule has %+v", d.Schedule.Spec.Intervals)
	}
}
