package workflows

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// cluster is the Kubernetes of a world: workloads by place.
type cluster struct {
	replicas map[string]int32  // by place and name
	was      map[string]int32  // what was remembered
	stopped  map[string]string // by whom
	stuck    map[string]string // by place: what a stop of it says
	broken   []string          // workloads that no restart brings back
	waves    [][]string
	told     map[string]TellWorkloadsInput
	active   string          // the site by which places were looked at
	by       map[string]bool // operations that marked workloads
	asked    int             // how often an API server that is down was asked
}

// inKubernetes gives the world's group workloads.
func (w *world) inKubernetes(places ...runbook.Workloads) {
	w.plan.Groups[0].Move, w.plan.Groups[0].Kubernetes = runbook.MoveKubernetes, places
	w.pods = cluster{replicas: map[string]int32{}, was: map[string]int32{}, stopped: map[string]string{}, stuck: map[string]string{}, told: map[string]TellWorkloadsInput{}, by: map[string]bool{}}
	for _, p := range places {
		for _, name := range p.Workloads {
			if p.RunsAt(home) {
				w.pods.replicas[p.Where()+" "+name] = 3
			} else {
				w.pods.was[p.Where()+" "+name] = 2
			}
		}
	}
}

func (w *world) each(method string, in WorkloadsInput, names []string, do func(key string) string) (WorkloadsResult, error) {
	var out WorkloadsResult
	if err := w.enter(method, in.Call); err != nil {
		return out, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods.by[in.Operation] = true
	for _, name := range names {
		key := in.Place.Where() + " " + name
		problem := do(key)
		line := runbook.Workload{Name: name, Replicas: w.pods.replicas[key], Problem: problem, StoppedBy: w.pods.stopped[key]}
		if n, ok := w.pods.was[key]; ok {
			line.Was = strconv.Itoa(int(n))
		}
		out.Workloads = append(out.Workloads, line)
	}
	return out, w.leave(method, in.Call)
}

func (w *world) ListWorkloads(_ context.Context, in WorkloadsInput) (WorkloadsResult, error) {
	return w.each("ListWorkloads", in, in.Place.Workloads, func(string) string { return "" })
}

// away: the place's API server is down.
func (w *world) away(in WorkloadsInput) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.down[in.Place.Site+" kubernetes"] {
		return false
	}
	w.pods.asked++
	return true
}

func (w *world) StopWorkloads(_ context.Context, in WorkloadsInput) (WorkloadsResult, error) {
	if w.away(in) {
		return WorkloadsResult{}, no(ErrUnreachable, "its API server does not answer")
	}
	return w.each("StopWorkloads", in, in.Place.Workloads, func(key string) string {
		if n := w.pods.replicas[key]; n > 0 {
			w.pods.replicas[key], w.pods.was[key] = 0, n
			w.pods.stopped[key] = in.Operation
		} else if w.pods.stopped[key] != "" {
			w.pods.stopped[key] = in.Operation
		}
		return w.pods.stuck[in.Place.Where()]
	})
}

func (w *world) StartWorkloads(_ context.Context, in WorkloadsInput) (WorkloadsResult, error) {
	if w.away(in) {
		return WorkloadsResult{}, no(ErrUnreachable, "its API server does not answer")
	}
	return w.each("StartWorkloads", in, in.Place.Workloads, func(key string) string {
		if len(in.Of) > 0 && !slices.Contains(in.Of, w.pods.stopped[key]) {
			return ""
		}
		n, ok := w.pods.was[key]
		if !ok && w.pods.replicas[key] == 0 {
			return "nobody wrote down how many"
		}
		if ok {
			w.pods.replicas[key] = n
			delete(w.pods.was, key)
			delete(w.pods.stopped, key)
		}
		return ""
	})
}

func (w *world) RestartWorkloads(_ context.Context, in WorkloadsInput) (WorkloadsResult, error) {
	w.pods.waves = append(w.pods.waves, in.Names)
	return w.each("RestartWorkloads", in, in.Names, func(key string) string {
		if slices.ContainsFunc(in.Names, func(n string) bool { return slices.Contains(w.pods.broken, n) && key == in.Place.Where()+" "+n }) {
			return "image is not to be had"
		}
		return ""
	})
}

func (w *world) TellWorkloads(_ context.Context, in TellWorkloadsInput) (TellWorkloadsResult, error) {
	if err := w.enter("TellWorkloads", in.Call); err != nil {
		return TellWorkloadsResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods.told[in.Place.Where()] = in
	return TellWorkloadsResult{Told: true}, w.leave("TellWorkloads", in.Call)
}

func (c cluster) text() string { return fmt.Sprint("running ", c.replicas, " remembered ", c.was) }

// at has the replicas of what runs while a site is active and is scaled.
func (c cluster) at(p runbook.Plan, site string) map[string]int32 {
	out := map[string]int32{}
	for _, place := range p.Scaled(site) {
		for _, name := range place.Workloads.Workloads {
			out[place.Where()+" "+name] = c.replicas[place.Where()+" "+name]
		}
	}
	return out
}
