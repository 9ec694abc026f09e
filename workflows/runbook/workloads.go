package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// Workloads are Deployments and StatefulSets of a namespace that run clients of a
// group; see plan.Workloads.
type Workloads struct {
	Site           string   `json:"site,omitempty"`
	KubeconfigFile string   `json:"kubeconfig_file,omitempty"`
	Context        string   `json:"context,omitempty"`
	Namespace      string   `json:"namespace"`
	Workloads      []string `json:"workloads,omitempty"`
	Selector       string   `json:"selector,omitempty"`
	Way            string   `json:"way"`
	ConfigMap      string   `json:"config_map,omitempty"`
	WaveWorkloads  int      `json:"wave_workloads,omitempty"`
	HaltPercent    int      `json:"halt_percent,omitempty"`
	WaitSeconds    int64    `json:"wait_seconds"`
}

// Ways to move workloads.
const (
	WayScale   = "scale"
	WayRollout = "rollout"
)

// Where is how people call the place.
func (w Workloads) Where() string {
	where := "namespace " + w.Namespace
	if w.Context != "" {
		where += " of " + w.Context
	}
	if w.Site != "" {
		where += " (" + w.Site + ")"
	}
	return where
}

// Kubectl begins the calls that people are told to make: a namespace of that name may well
// be in the cluster of the other site, too.
func (w Workloads) Kubectl() string {
	if w.Context == "" {
		return "kubectl -n " + w.Namespace
	}
	return "kubectl --context " + w.Context + " -n " + w.Namespace
}

// Server tells API servers apart, as far as a plan does.
func (w Workloads) Server() string { return w.KubeconfigFile + " " + w.Context }

// RunsAt tells whether they run while site is active.
func (w Workloads) RunsAt(site string) bool { return w.Site == "" || w.Site == site }

// Workload is what was found, or done, of one of them.
type Workload struct {
	Name     string `json:"name"` // deployment/<name> or statefulset/<name>
	Replicas int32  `json:"replicas"`
	Ready    int32  `json:"ready"`
	Pods     int    `json:"pods,omitempty"`
	// StoppedBy is the operation that scaled it to 0, Was its replicas before, as
	// somebody wrote them down.
	StoppedBy string `json:"stopped_by,omitempty"`
	Was       string `json:"was,omitempty"`
	// Problem says what it means and what to do; "" if it is as it should be.
	Problem string `json:"problem,omitempty"`
}

// Troubled are those with a problem.
func Troubled(list []Workload) []Workload {
	return slices.DeleteFunc(slices.Clone(list), func(w Workload) bool { return w.Problem == "" })
}

// Problems are theirs, in one line.
func Problems(list []Workload) string {
	var out []string
	for _, w := range Troubled(list) {
		out = append(out, w.Name+": "+w.Problem)
	}
	return strings.Join(out, "; ")
}

// OneSided says of groups whose workloads run at one site only what becomes of them.
func (p Plan) OneSided() []string {
	var out []string
	for _, s := range p.Sites {
		out = append(out, p.StandStill(s.Name)...)
	}
	return out
}

// StandStill says which groups in Kubernetes have no workloads that run while a site is
// active.
func (p Plan) StandStill(site string) []string {
	var out []string
	for _, g := range p.Groups {
		runs := func(w Workloads) bool { return w.RunsAt(site) }
		if len(g.Kubernetes) > 0 && !slices.ContainsFunc(g.Kubernetes, runs) {
			out = append(out, fmt.Sprintf("group %s has workloads at %s only: while %s is active, as after a failover to it, nothing of it is started and it stands still; its offsets wait for it", g.Name, g.Kubernetes[0].Site, site))
		}
	}
	return out
}

// LeftStopped names those of the active site that stand at 0 though somebody wrote down
// that they are more, with what starts them, and those with a problem.
func LeftStopped(p GroupWorkloads, list []Workload) []string {
	var out []string
	for _, w := range list {
		of := fmt.Sprintf("%s of group %s in %s", w.Name, p.Group, p.Where())
		switch {
		case w.Problem != "":
			out = append(out, of+": "+w.Problem)
		case w.Replicas > 0 || w.Was == "" || w.Was == "0":
		case w.StoppedBy != "":
			out = append(out, fmt.Sprintf("%s stands at 0, as %s left it: if that run is over: %s scale %s --replicas=%s", of, w.StoppedBy, p.Kubectl(), w.Name, w.Was))
		default:
			out = append(out, fmt.Sprintf("%s stands at 0: if nobody wants that: %s scale %s --replicas=%s", of, p.Kubectl(), w.Name, w.Was))
		}
	}
	return out
}

// NotOurs names those that an undo left at 0, since by their marks its run has not
// stopped them.
func NotOurs(pair string, p GroupWorkloads, list []Workload) []string {
	var out []string
	for _, w := range list {
		if w.Problem != "" || w.Replicas > 0 || w.Was == "0" {
			continue
		}
		who := ""
		if w.StoppedBy != "" {
			who = ", " + w.StoppedBy + " has"
		}
		out = append(out, fmt.Sprintf("%s of group %s in %s stays at 0: by its marks this run has not stopped it%s; drctl readiness %s says whether it is to run", w.Name, p.Group, p.Where(), who, pair))
	}
	return out
}

// HaltWorkloads judges a wave of restarts: more than percent failed means that a
// person looks before the next wave.
func HaltWorkloads(wave []Workload, percent int) Verdict {
	v := Verdict{OK: true}
	failed := Troubled(wave)
	for _, w := range failed {
		v.note("%s: %s", w.Name, w.Problem)
	}
	if len(failed)*100 > percent*len(wave) {
		v.need("", "%d of %d workloads of this wave failed, more than %d %%", len(failed), len(wave), percent)
	}
	return v
}

// Workloads are all places of the plan's groups.
func (p Plan) Workloads() []Workloads {
	var out []Workloads
	for _, g := range p.Groups {
		out = append(out, g.Kubernetes...)
	}
	return out
}

// Scaled are the places that are stopped when a site is left, by group.
func (p Plan) Scaled(site string) []GroupWorkloads {
	return p.places(func(w Workloads) bool { return w.Way == WayScale && w.RunsAt(site) })
}

// Restarted are the places that are restarted where they are, by group.
func (p Plan) Restarted() []GroupWorkloads {
	return p.places(func(w Workloads) bool { return w.Way == WayRollout })
}

// GroupWorkloads is a place and whose it is.
type GroupWorkloads struct {
	Group string
	Workloads
}

func (p Plan) places(which func(Workloads) bool) []GroupWorkloads {
	var out []GroupWorkloads
	for _, g := range p.Groups {
		for _, w := range g.Kubernetes {
			if which(w) {
				out = append(out, GroupWorkloads{g.Name, w})
			}
		}
	}
	return out
}

// withStop adds to a planned move what it stops before the fence.
func withStop(p Plan, steps []PlannedStep, l Link) []PlannedStep {
	n := len(p.Scaled(l.Source))
	if n == 0 {
		return steps
	}
	i := slices.IndexFunc(steps, func(s PlannedStep) bool { return s.Name == "fence" })
	return slices.Insert(steps, i, PlannedStep{Name: "stop workloads", What: fmt.Sprintf("scale the workloads of %d places in Kubernetes to 0, and prove that no pod is left", n)})
}

// withWorkloads adds what happens in Kubernetes behind the flip, before the step that
// waits for clients.
func withWorkloads(p Plan, steps []PlannedStep, l Link, before string) []PlannedStep {
	var add []PlannedStep
	if n := len(p.Scaled(l.Source)); n > 0 {
		add = append(add, PlannedStep{Name: "workloads leave " + l.Source, What: fmt.Sprintf("the workloads of %d places stand at 0, without a pod", n)})
	}
	if n := len(p.ConfigMaps(l.Destination)); n > 0 {
		add = append(add, PlannedStep{Name: "config maps", What: fmt.Sprintf("write where %s is into %d ConfigMaps", l.Destination, n)})
	}
	if n := len(p.Scaled(l.Destination)); n > 0 {
		add = append(add, PlannedStep{Name: "start workloads", What: fmt.Sprintf("scale the workloads of %d places up to what they were", n)})
	}
	for _, w := range p.Restarted() {
		add = append(add, PlannedStep{Name: "restart " + w.Group + " wave 1", What: fmt.Sprintf("restart its workloads in %s, %d at once; a wave with more than %d %% failures waits for a person", w.Where(), w.WaveWorkloads, w.HaltPercent)})
	}
	i := slices.IndexFunc(steps, func(s PlannedStep) bool { return s.Name == before })
	return slices.Insert(steps, i, add...)
}

// ConfigMaps are the places whose ConfigMap follows when site becomes active.
func (p Plan) ConfigMaps(site string) []GroupWorkloads {
	return p.places(func(w Workloads) bool { return w.ConfigMap != "" && w.RunsAt(site) })
}
