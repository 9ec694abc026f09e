package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const placePipelines = "place pipeline groups"

// foreseePipelines counts what pipelines would read again. A look that fails is
// told, and is the last one: it must not hold a failover up.
func (f *failover) foreseePipelines(ctx workflow.Context, cast *runbook.Forecast) {
	for i, p := range f.plan.Pipelines {
		places, err := f.placesOf(ctx, p, kindForesee)
		if err != nil {
			f.find("pipeline %s: what it would read again is not known: %s", p.Group, brief(err))
			if left := len(f.plan.Pipelines) - i - 1; left > 0 {
				f.find("%d more pipelines were not looked at", left)
			}
			return
		}
		cast.Pipelines = append(cast.Pipelines, runbook.PipelineForecast{Group: p.Group, Repeats: runbook.Repeats(places)})
	}
}

// place puts the groups of pipelines no later than their last mirrored output.
func (f *failover) place(ctx workflow.Context) error {
	if len(f.plan.Pipelines) == 0 {
		return nil
	}
	return f.do(ctx, placePipelines, func(ctx workflow.Context) (string, error) {
		f.report.Pipelines = nil
		var told []string
		for _, p := range f.plan.Pipelines {
			places, err := f.placesOf(ctx, p, kindProbe)
			if err != nil {
				return "", err
			}
			name := placePipelines + ": " + p.Group
			got, err := run(with(ctx, kindLong, name), steps.PlaceGroup, PlaceGroupInput{Call: f.call(name), Site: f.survivor, Group: p.Group, Places: places})
			if err != nil {
				return "", err
			}
			for _, l := range runbook.Left(places) {
				f.find("%s", l)
			}
			f.report.Pipelines = append(f.report.Pipelines, places...)
			told = append(told, fmt.Sprintf("%s reads %d records again, %d partitions read back", p.Group, runbook.Repeats(places), got.Standing))
		}
		return strings.Join(told, "; "), nil
	})
}

// placesOf looks at a pipeline's outputs, then at its inputs by their time.
func (f *failover) placesOf(ctx workflow.Context, p runbook.Pipeline, k kind) ([]runbook.Placement, error) {
	in := InspectPipelineInput{Call: f.call("outputs of pipeline " + p.Group), Site: f.survivor, Pipeline: p}
	ends, err := run(with(ctx, k, in.Call.Step), steps.InspectPipeline, in)
	if err != nil {
		return nil, err
	}
	for _, t := range ends.Missing {
		f.find("pipeline %s: output %s is not mirrored to %s: what was written there tells nothing", p.Group, t, f.survivor.Name)
	}
	since, notes := runbook.PipelineTime(p, ends.Outputs)
	for _, n := range notes {
		f.find("%s", n)
	}
	if since.IsZero() {
		return nil, nil
	}
	in.Call.Step, in.Since = "inputs of pipeline "+p.Group, since
	at, err := run(with(ctx, k, in.Call.Step), steps.InspectPipeline, in)
	for _, t := range at.Missing {
		f.find("pipeline %s: input %s is not mirrored to %s", p.Group, t, f.survivor.Name)
	}
	return runbook.Place(p.Group, at.Inputs), err
}
