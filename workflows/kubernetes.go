package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Clients in Kubernetes: a planned move scales them to 0 in its freeze, before
// producers are fenced, so that they end in good order. Behind the flip they are
// scaled up again, or restarted in waves. Without workloads in the plan there is no
// step of these.

// restartable adds the undo of stopWorkloads, before the freeze begins: it comes last,
// when nothing fences them and the record says open, so that an API server that is
// away keeps nobody else standing still.
func (m *plannedMove) restartable(workflow.Context) error {
	if places := m.plan.Scaled(m.source.Name); len(places) > 0 {
		m.undo.add("stop workloads", func(ctx workflow.Context) error {
			// No others': a run that has passed this one may have stopped them for good.
			return m.startAll(ctx, kindUndo, "undo stop workloads", places, m.id)
		})
	}
	return nil
}

// stopWorkloads stops those that are scaled: all at first, so that pods of different
// places end at the same time.
func (m *plannedMove) stopWorkloads(ctx workflow.Context) error {
	places := m.plan.Scaled(m.source.Name)
	if len(places) == 0 {
		return nil
	}
	return m.do(ctx, "stop workloads", func(ctx workflow.Context) (string, error) {
		most := runbook.Seconds(m.plan.Limits.FreezeSeconds) / 4
		n := 0
		for _, p := range places[:len(places)-1] {
			if _, err := m.workloads(ctx, holding(0), "stop workloads at first", steps.StopWorkloads, WorkloadsInput{Group: p.Group, Place: p.Workloads}); err != nil {
				return "", err
			}
		}
		for _, p := range places {
			done, err := m.stopPlace(ctx, "stop workloads", p, min(most, runbook.Seconds(p.WaitSeconds)))
			if err != nil {
				return "", err
			}
			n += done
		}
		return fmt.Sprintf("%d workloads at 0", n), nil
	})
}

// moveWorkloads starts clients at the new site, behind the flip, if there are any in
// Kubernetes among the groups of a wave: a plan has them in the first. What was not
// stopped by a freeze is stopped first.
func (s *story) moveWorkloads(ctx workflow.Context, old, site runbook.Site, groups []runbook.Group) error {
	if !slices.ContainsFunc(groups, func(g runbook.Group) bool { return len(g.Kubernetes) > 0 }) {
		return nil
	}
	return inOrder(ctx,
		func(ctx workflow.Context) error { return s.leaveOld(ctx, old, site) },
		s.tellWorkloads,
		func(ctx workflow.Context) error { return s.startWorkloads(ctx, site) },
		s.restartWorkloads)
}

// leaveOld stops what must not go on as it is. What runs at the old site alone may
// be lost with it: then it is a finding.
func (s *story) leaveOld(ctx workflow.Context, old, site runbook.Site) error {
	places := s.plan.Scaled(old.Name)
	if len(places) == 0 {
		return nil
	}
	return s.do(ctx, "workloads leave "+old.Name, func(ctx workflow.Context) (string, error) {
		n := 0
		away := map[string]bool{} // API servers that did not answer: asked once, since the others wait
		for _, p := range places {
			if p.Site != "" && away[p.Server()] {
				s.find("workloads of group %s in %s are not known to be stopped: its API server does not answer; when it is there again, stop them, or they work for %s as well", p.Group, p.Where(), site.Name)
				continue
			}
			done, err := s.stopPlace(ctx, "workloads leave "+old.Name, p, runbook.Seconds(p.WaitSeconds))
			switch {
			case err == nil:
			case p.Site != "" && ctx.Err() == nil:
				away[p.Server()] = ErrorType(err) == ErrUnreachable
				s.find("workloads of group %s in %s are not known to be stopped: %s; when it is there again, stop them, or they work for %s as well", p.Group, p.Where(), brief(err), site.Name)
			default:
				return "", err
			}
			n += done
		}
		return fmt.Sprintf("%d workloads at 0", n), nil
	})
}

// stopPlace returns how many workloads stand at 0 without a pod. A place of one
// site may be lost with it, and is asked once only behind the pivot.
func (s *story) stopPlace(ctx workflow.Context, step string, p runbook.GroupWorkloads, within time.Duration) (int, error) {
	k := holding(within)
	if p.Site != "" && s.pastPivot {
		k, within = kindOnce, min(within, kindOnce.start/2)
	}
	got, err := s.workloads(ctx, k, step, steps.StopWorkloads, WorkloadsInput{Group: p.Group, Place: p.Workloads, Within: within})
	if err != nil {
		return 0, err
	}
	if bad := runbook.Problems(got.Workloads); bad != "" {
		switch whole := runbook.Seconds(p.WaitSeconds); {
		case within < whole && s.pastPivot:
			return 0, refuse(ErrHalted, "%s", runbook.CutShort(p, step, within, got.Workloads))
		case within < whole:
			return 0, refuse(ErrHalted, "workloads of group %s in %s do not stand still after %s, a quarter of limits.freeze_seconds, which is less than their wait_seconds (%s): %s", p.Group, p.Where(), within, whole, bad)
		}
		return 0, refuse(ErrHalted, "workloads of group %s in %s do not stand still after %s: %s", p.Group, p.Where(), within, bad)
	}
	return len(got.Workloads), nil
}

// holding is kindWait for a step that changes something: its undo must find it
// finished, or what it starts is stopped again.
func holding(within time.Duration) kind {
	k := kindWait(within)
	k.hold = true
	return k
}

func (s *story) workloads(ctx workflow.Context, k kind, step string, do step[WorkloadsInput, WorkloadsResult], in WorkloadsInput) (WorkloadsResult, error) {
	in.Call, in.Operation = s.call(step+": "+in.Group+" in "+in.Place.Where()), s.id
	in.Epoch, in.Asked = s.rec.Epoch, workflow.Now(ctx)
	return run(with(ctx, k, in.Call.Step), do, in)
}

// tellWorkloads writes where the active site is into the ConfigMaps.
func (s *story) tellWorkloads(ctx workflow.Context) error {
	active := s.rec.Active[0]
	places := s.plan.ConfigMaps(active)
	if len(places) == 0 {
		return nil
	}
	return s.do(ctx, "config maps", func(ctx workflow.Context) (string, error) {
		var failed []string
		for _, p := range places {
			in := TellWorkloadsInput{
				Call: s.call("config map " + p.ConfigMap + " in " + p.Where()), Place: p.Workloads, Site: active, Epoch: s.rec.Epoch,
				Bootstrap: s.rec.Bootstrap[active], SecurityRef: s.rec.SecurityRef[active],
			}
			_, err := run(with(ctx, kindChange, in.Call.Step), steps.TellWorkloads, in)
			switch {
			case err != nil && ctx.Err() != nil:
				return "", err
			case err != nil:
				failed = append(failed, brief(err))
			}
		}
		if len(failed) > 0 {
			return "", refuse(ErrHalted, "%d of %d are not written: %s", len(failed), len(places), strings.Join(failed, "; "))
		}
		return fmt.Sprintf("%d say epoch %d at %s", len(places), s.rec.Epoch, active), nil
	})
}

func (s *story) startWorkloads(ctx workflow.Context, site runbook.Site) error {
	for _, text := range s.plan.StandStill(site.Name) {
		s.find("%s", text)
	}
	places := s.plan.Scaled(site.Name)
	if len(places) == 0 {
		return nil
	}
	return s.do(ctx, "start workloads", func(ctx workflow.Context) (string, error) {
		return fmt.Sprintf("%d places", len(places)), s.startAll(ctx, kindChange, "start workloads", places)
	})
}

// startAll starts workloads of all places, whatever one of them says. What stood at 0
// before is told; at a place of one site it is a failure, because there it means that
// nobody works. If operations are given, only what they stopped is started.
func (s *story) startAll(ctx workflow.Context, k kind, step string, places []runbook.GroupWorkloads, of ...string) error {
	var failed []string
	for _, p := range places {
		if s.undoing {
			k = s.undoAt(p.Site)
		}
		got, err := s.workloads(ctx, k, step, steps.StartWorkloads, WorkloadsInput{Group: p.Group, Place: p.Workloads, Of: of})
		if s.undoing {
			err = s.undone(p.Site, err)
		}
		bad := runbook.Problems(got.Workloads)
		if len(of) > 0 {
			for _, text := range runbook.NotOurs(s.plan.Pair, p, got.Workloads) {
				s.find("%s", text)
			}
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			failed = append(failed, fmt.Sprintf("group %s in %s: %s", p.Group, p.Where(), brief(err)))
		case bad == "":
		case p.Site != "" && !s.undoing:
			failed = append(failed, fmt.Sprintf("group %s in %s: %s", p.Group, p.Where(), bad))
		default:
			s.find("workloads of group %s in %s are as they were: %s", p.Group, p.Where(), bad)
		}
	}
	if len(failed) > 0 {
		return refuse(ErrHalted, "workloads are not started: %s; the others are", strings.Join(failed, "; "))
	}
	return nil
}

// restartWorkloads restarts the others where they are, in waves.
func (s *story) restartWorkloads(ctx workflow.Context) error {
	for _, p := range s.plan.Restarted() {
		var names []string
		step := "list workloads of " + p.Group
		err := s.do(ctx, step, func(ctx workflow.Context) (string, error) {
			got, err := s.workloads(ctx, kindProbe, step, steps.ListWorkloads, WorkloadsInput{Group: p.Group, Place: p.Workloads})
			for _, w := range got.Workloads {
				names = append(names, w.Name)
			}
			return fmt.Sprintf("%d in %s", len(names), p.Where()), err
		})
		if err != nil {
			return err
		}
		for i := 0; i*p.WaveWorkloads < len(names); i++ {
			wave := names[i*p.WaveWorkloads : min((i+1)*p.WaveWorkloads, len(names))]
			if err := s.restartWave(ctx, i+1, p, wave); err != nil {
				return err
			}
		}
	}
	return nil
}

// restartWave waits until a wave is rolled out. More failures than the plan allows
// wait for a person; fewer are told and do not hold up the rest.
func (s *story) restartWave(ctx workflow.Context, nth int, p runbook.GroupWorkloads, wave []string) error {
	name := fmt.Sprintf("restart %s wave %d", p.Group, nth)
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		within := runbook.Seconds(p.WaitSeconds)
		got, err := s.workloads(ctx, kindWait(within), name, steps.RestartWorkloads, WorkloadsInput{Group: p.Group, Place: p.Workloads, Names: wave, Within: within})
		if err != nil {
			return "", err
		}
		if v := runbook.HaltWorkloads(got.Workloads, p.HaltPercent); !v.OK {
			return "", refuse(ErrHalted, "%s", v.Text())
		}
		bad := runbook.Troubled(got.Workloads)
		for _, w := range bad {
			s.find("%s in %s was not restarted: %s", w.Name, p.Where(), w.Problem)
		}
		return fmt.Sprintf("%d of %d workloads", len(wave)-len(bad), len(wave)), nil
	})
}
