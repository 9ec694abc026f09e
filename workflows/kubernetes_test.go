package workflows

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func scaled(site string, names ...string) runbook.Workloads {
	return runbook.Workloads{Site: site, Namespace: "shop", Workloads: names, Way: runbook.WayScale, WaitSeconds: 60}
}

func rolled(names ...string) runbook.Workloads {
	return runbook.Workloads{Namespace: "shop", Workloads: names, Way: runbook.WayRollout, WaveWorkloads: 2, HaltPercent: 50, WaitSeconds: 60}
}

// retry is bob's, of the step that waits.
func retry(st Status) runbook.Command {
	c := signed(st, "bob", runbook.Retry)
	c.Step = st.Waiting.Step
	return c
}

// stepsOf are the names of a status's rows.
func stepsOf(st Status) []string {
	var out []string
	for _, l := range st.Steps {
		out = append(out, l.Name)
	}
	return out
}

func TestSwitchoverStopsWorkloadsBeforeTheFenceAndStartsThemBehindTheFlip(t *testing.T) {
	w := calm()
	place := scaled("", "deployment/a", "statefulset/b")
	place.ConfigMap = "where"
	w.inKubernetes(place)
	s := newStage(t, w)
	s.react = agree
	w.hook = func(method string, _ Call) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.pods.replicas[place.Where()+" deployment/a"]; slices.Contains([]string{"FenceSite", "AwaitGroupsEmpty", "PromoteMirrors"}, method) && n != 0 {
			t.Errorf("%s began with %d replicas running", method, n)
		}
	}
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	s.clean()
	if w.pods.text() != "running map[namespace shop deployment/a:3 namespace shop statefulset/b:3] remembered map[]" {
		t.Errorf("left %s", w.pods.text())
	}
	told := w.pods.told[place.Where()]
	if told.Site != away || told.Epoch != 2 || strings.Join(told.Bootstrap, ",") != "west:9092" {
		t.Errorf("config map %+v", told)
	}
	for _, o := range [][2]string{{"StopWorkloads", "FenceSite"}, {"PromoteMirrors", "TellWorkloads"}, {"TellWorkloads", "StartWorkloads"}, {"StartWorkloads", "AwaitClientsMoved"}} {
		if !w.before(o[0], o[1]) {
			t.Errorf("%s did not come before %s: %v", o[0], o[1], w.calls)
		}
	}
	if len(w.pods.by) != 1 {
		t.Errorf("workloads were marked by %v, not by one operation", w.pods.by)
	}
}

func TestWhatASwitchoverStoppedIsStartedWhenItIsUndone(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"pods that do not end": func(w *world) { w.pods.stuck["namespace shop"] = "deployment/a: 1 of its pods still runs" },
		"a namespace that the worker may not touch": func(w *world) {
			w.fail["StopWorkloads"] = []error{no(ErrRefused, "system:serviceaccount:drawbridge:worker may not patch deployment/a in namespace shop")}
		},
		"a fence that cannot be made":  func(w *world) { w.fail["FenceSite"] = []error{no(ErrRefused, "no right to")} },
		"mirrors that cannot be ended": func(w *world) { w.fail["PromoteMirrors"] = []error{no(ErrRefused, "no")} },
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			w.inKubernetes(scaled("", "deployment/a"))
			breaks(w)
			s := newStage(t, w)
			s.react = agree
			s.run(Switchover, planned())
			if s.status().Outcome != runbook.NoChange {
				t.Errorf("outcome %s", s.status().Outcome)
			}
			if w.pods.text() != "running map[namespace shop deployment/a:3] remembered map[]" {
				t.Errorf("left %s", w.pods.text())
			}
			if lift, start := slices.Index(w.calls, "LiftFence"), slices.Index(w.calls, "StartWorkloads"); lift > start {
				t.Error("workloads were started while they were fenced")
			}
		})
	}
}

func TestWorkloadsOfALostSiteAreToldAndThoseOfTheSurvivorStarted(t *testing.T) {
	w := lost()
	w.down[home+" kubernetes"] = true
	w.inKubernetes(scaled(home, "deployment/a"), scaled(away, "deployment/a"))
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if n := w.pods.replicas["namespace shop (west) deployment/a"]; n != 2 {
		t.Errorf("%d replicas run at the survivor, %s", n, w.pods.text())
	}
	if told := strings.Join(s.res.Report.Findings, " "); !strings.Contains(told, "workloads of group g in namespace shop (east) are not known to be stopped") {
		t.Errorf("findings %s", told)
	}
}

// A group at the lost site only is told of before and behind the failover, which goes on.
func TestAGroupWhoseWorkloadsRunAtTheLostSiteOnlyIsTold(t *testing.T) {
	const still = "group g has workloads at east only: while west is active, as after a failover to it, nothing of it is started and it stands still"
	for _, dry := range []bool{true, false} {
		w := lost()
		w.down[home+" kubernetes"] = true
		w.inKubernetes(scaled(home, "deployment/a"))
		s := newStage(t, w)
		in := FailoverInput{Start: request(runbook.OpFailover)}
		if in.DryRun = dry; dry {
			s.id(DryID("orders", "1"))
		}
		s.react = agree
		s.run(Failover, in)
		told := strings.Join(s.res.Report.Findings, "\n")
		if dry {
			told = runbook.Render(s.res.Report.Planned)
		}
		if s.err != nil || strings.Count(told, still) != 1 || w.count("StartWorkloads") > 0 {
			t.Errorf("dry %t: error %v, it says %s", dry, s.err, told)
		}
	}
}

func TestFailoverRestartsWorkloadsOfOneKubernetesByScaling(t *testing.T) {
	w := lost()
	w.inKubernetes(scaled("", "deployment/a"))
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	flip := slices.IndexFunc(w.steps, func(c Call) bool { return c.Step == "flip" })
	if stop := slices.Index(w.calls, "StopWorkloads"); stop < flip || !w.before("StopWorkloads", "StartWorkloads") {
		t.Errorf("stopped by call %d, the flip was %d", stop, flip)
	}
	if w.pods.text() != "running map[namespace shop deployment/a:3] remembered map[]" {
		t.Errorf("left %s", w.pods.text())
	}
}

func TestReadinessLooksAtPlacesByTheActiveSite(t *testing.T) {
	w := failedOver()
	w.inKubernetes(scaled(home, "deployment/a"), scaled(away, "deployment/b"))
	if look(t, w, nil); w.pods.active != away {
		t.Errorf("looked at as if %q were active", w.pods.active)
	}
}

// One place that cannot be started keeps no other standing still, here and in an undo.
func TestAPlaceThatCannotBeStartedHoldsUpNoOther(t *testing.T) {
	w := lost()
	bad, good := scaled(away, "deployment/a"), scaled(away, "deployment/b")
	good.Namespace = "shop2"
	w.inKubernetes(bad, good)
	delete(w.pods.was, bad.Where()+" deployment/a")
	s := newStage(t, w)
	startedMeanwhile := int32(0)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && strings.Contains(st.Waiting.Text, "nobody wrote down") {
			w.mu.Lock()
			startedMeanwhile = w.pods.replicas[good.Where()+" deployment/b"]
			w.pods.was[bad.Where()+" deployment/a"] = 4
			w.mu.Unlock()
			return []runbook.Command{retry(st)}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if startedMeanwhile != 2 {
		t.Errorf("while one waits, the other has %d: %s", startedMeanwhile, w.pods.text())
	}
}

// A lost site's API server is asked once, whatever number of places it has.
func TestALostSitesKubernetesIsAskedOnce(t *testing.T) {
	w := lost()
	w.down[home+" kubernetes"] = true
	var places []runbook.Workloads
	for i := range 5 {
		p := scaled(home, "deployment/a")
		p.Namespace = fmt.Sprintf("shop%d", i)
		places = append(places, p)
	}
	w.inKubernetes(append(places, scaled(away, "deployment/a"))...)
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if n := strings.Count(strings.Join(s.res.Report.Findings, "\n"), "are not known to be stopped"); n != 5 || w.pods.asked > 2 {
		t.Errorf("%d findings, asked %d times", n, w.pods.asked)
	}
}

func TestASurvivorWhoseReplicasNobodyWroteDownWaitsForAPerson(t *testing.T) {
	w := lost()
	w.inKubernetes(scaled(away, "deployment/a"))
	w.pods.was = map[string]int32{}
	s := newStage(t, w)
	waited := ""
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && strings.Contains(st.Waiting.Text, "nobody wrote down") {
			waited = st.Waiting.Text
			w.mu.Lock()
			w.pods.was["namespace shop (west) deployment/a"] = 4 // annotated by hand
			w.mu.Unlock()
			return []runbook.Command{retry(st)}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if waited == "" || w.pods.replicas["namespace shop (west) deployment/a"] != 4 {
		t.Errorf("waited %q, %s", waited, w.pods.text())
	}
}

func TestRolloutGoesInWavesAndHaltsAtTooManyFailures(t *testing.T) {
	w := lost()
	w.inKubernetes(rolled("deployment/a", "deployment/b", "deployment/c", "deployment/d", "deployment/e"))
	w.pods.broken = []string{"deployment/b", "deployment/c", "deployment/d"}
	s := newStage(t, w)
	halts := map[string]int{}
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && strings.HasPrefix(st.Waiting.Step, "restart g") {
			halts[st.Waiting.Step]++
			w.mu.Lock()
			w.pods.broken = []string{"deployment/b"}
			w.mu.Unlock()
			return []runbook.Command{retry(st)}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if len(halts) != 1 || halts["restart g wave 2"] == 0 {
		t.Errorf("halted at %v, only the second wave has more failures than half", halts)
	}
	want := [][]string{{"deployment/a", "deployment/b"}, {"deployment/c", "deployment/d"}, {"deployment/c", "deployment/d"}, {"deployment/e"}}
	if !slices.EqualFunc(w.pods.waves, want, slices.Equal) {
		t.Errorf("waves %v", w.pods.waves)
	}
	if told := strings.Join(s.res.Report.Findings, " "); !strings.Contains(told, "deployment/b in namespace shop was not restarted") {
		t.Errorf("findings %s", told)
	}
	if w.count("StopWorkloads") != 0 {
		t.Error("a rollout stopped workloads")
	}
}

func TestDryRunNamesWhatHappensInKubernetes(t *testing.T) {
	w := calm()
	place := scaled("", "deployment/a")
	place.ConfigMap = "where"
	w.inKubernetes(place, rolled("deployment/z"))
	s := newStage(t, w)
	s.id(DryID("orders", "1"))
	in := planned()
	in.DryRun = true
	s.run(Switchover, in)
	var names []string
	for _, p := range s.res.Report.Planned {
		names = append(names, p.Name)
	}
	text := strings.Join(names, ", ")
	for _, want := range []string{"freeze, stop workloads, fence", "flip, workloads leave east, config maps, start workloads, restart g wave 1, move clients"} {
		if !strings.Contains(text, want) {
			t.Errorf("a dry run has %s, not %s", text, want)
		}
	}
	if w.count("StopWorkloads")+w.count("TellWorkloads")+w.count("RestartWorkloads") != 0 {
		t.Error("a dry run touched Kubernetes")
	}
}

func TestSetUpWritesTheConfigMaps(t *testing.T) {
	w := newWorld()
	place := scaled("", "deployment/a")
	place.ConfigMap = "where"
	w.inKubernetes(place)
	s := newStage(t, w)
	s.react = agree
	s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
	if told := w.pods.told[place.Where()]; told.Site != home || told.Epoch != 1 || !slices.Contains(stepsOf(s.status()), "config maps") {
		t.Errorf("told %+v", told)
	}
}
