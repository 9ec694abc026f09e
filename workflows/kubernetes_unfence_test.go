package workflows

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// leftAtZero is what an operation that is gone stopped in the world's places that run at
// a site.
func (w *world) leftAtZero(operation, site string) {
	for _, p := range w.plan.Scaled(site) {
		for _, name := range p.Workloads.Workloads {
			key := p.Where() + " " + name
			w.pods.replicas[key], w.pods.was[key], w.pods.stopped[key] = 0, 3, operation
		}
	}
}

func TestUnfenceStartsWhatTheLostRunStoppedWhenThePairIsOpenAgain(t *testing.T) {
	w := terminated()
	w.inKubernetes(scaled("", "deployment/a"), scaled(home, "deployment/b"), scaled(away, "deployment/c"))
	w.leftAtZero(gone, home)
	w.hook = func(method string, _ Call) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if r := w.consul[home]; method == "StartWorkloads" && (r.Phase != record.Open || r.Lock != nil) {
			t.Errorf("clients were started in phase %s, lock %v", r.Phase, r.Lock)
		}
	}
	s := newStage(t, w)
	s.react = agree
	s.run(Unfence, unfencing(runbook.OverrideLock))
	s.outcome(runbook.Done)
	const want = "running map[namespace shop (east) deployment/b:3 namespace shop deployment/a:3] remembered map[namespace shop (west) deployment/c:2]"
	if w.pods.text() != want {
		t.Errorf("left %s", w.pods.text())
	}
	if len(s.res.Report.Findings) > 0 && slices.ContainsFunc(s.res.Report.Findings, func(f string) bool { return strings.Contains(f, "deployment/") }) {
		t.Errorf("findings %q", s.res.Report.Findings)
	}
	if !w.before("ProveWritable", "StartWorkloads") {
		t.Errorf("clients were started before writes were proven: %v", w.calls)
	}
}

// What it may not start it names; an API server that is away is asked once and holds up
// nothing.
func TestUnfenceNamesWhatItDoesNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		world func() *world
		in    UnfenceInput
		want  string
	}{
		"stopped by another run": {func() *world {
			w := terminated()
			w.inKubernetes(scaled("", "deployment/a"))
			w.leftAtZero("switchover-7", home)
			return w
		}, unfencing(runbook.OverrideLock), "deployment/a of group g in namespace shop stands at 0, as switchover-7 left it: if that run is over: kubectl -n shop scale deployment/a --replicas=3"},
		"at the active site, which it does not open": {func() *world {
			w := moved()
			w.ledger = nil
			w.inKubernetes(scaled(away, "deployment/a"))
			return w
		}, unfencing(runbook.OverrideWriters), "deployment/a of group g in namespace shop (west) stands at 0: if nobody wants that: kubectl -n shop scale deployment/a --replicas=2"},
		"an API server that is away": {func() *world {
			w := terminated()
			second := scaled(home, "deployment/b")
			second.Namespace = "shop2"
			w.inKubernetes(scaled(home, "deployment/a"), second)
			w.down[home+" kubernetes"] = true
			w.leftAtZero(gone, home)
			return w
		}, unfencing(runbook.OverrideLock), "whether the lost run left workloads of group g in namespace shop2 (east) at 0 is not known: its API server does not answer; when it answers again, drctl readiness orders names them"},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world()
			s := newStage(t, w)
			s.react = agree
			before := w.pods.text()
			s.run(Unfence, c.in)
			if s.err != nil || w.pods.text() != before || w.pods.asked > 2 {
				t.Errorf("error %v, %s became %s, asked %d times", s.err, before, w.pods.text(), w.pods.asked)
			}
			if !slices.Contains(s.res.Report.Findings, c.want) {
				t.Errorf("findings %q", s.res.Report.Findings)
			}
			if w.count("LiftFence") == 0 || w.consul[home].Lock != nil {
				t.Errorf("calls %v", w.calls)
			}
		})
	}
}

// A run that is begun after one that was terminated takes over what that one stopped:
// moved or undone, it starts it.
func TestTheNextRunStartsWhatATerminatedOneStopped(t *testing.T) {
	for name, breaks := range map[string]func(*world){"done": func(*world) {}, "undone": func(w *world) { w.fail["FenceSite"] = []error{no(ErrRefused, "no right to")} }} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			w.inKubernetes(scaled("", "deployment/a"))
			w.leftAtZero(gone, home)
			breaks(w)
			s := newStage(t, w)
			s.react = agree
			s.run(Switchover, planned())
			if w.pods.text() != "running map[namespace shop deployment/a:3] remembered map[]" {
				t.Errorf("outcome %s left %s", s.status().Outcome, w.pods.text())
			}
		})
	}
}

func TestAnUnfenceThatIsCutOffSaysThatWorkloadsMayStandStill(t *testing.T) {
	for _, at := range []string{"LiftFence", "StartWorkloads"} {
		w := terminated()
		second := scaled("", "deployment/b")
		second.Namespace = "shop2"
		w.inKubernetes(scaled("", "deployment/a"), second)
		w.leftAtZero(gone, home)
		s := newStage(t, w)
		s.react = agree
		var once sync.Once
		w.hook = func(method string, _ Call) {
			if method == at {
				once.Do(func() { s.during(func(done func()) { s.env.CancelWorkflow(); done() }) })
			}
		}
		s.run(Unfence, unfencing(runbook.OverrideLock))
		const want = "what the lost run scaled to 0 in Kubernetes may stand there still: drctl readiness orders names it, with the calls to make"
		if s.status().Outcome != runbook.Partly || !slices.Contains(s.res.Report.Findings, want) {
			t.Errorf("cut off at %s: outcome %s, findings %q", at, s.status().Outcome, s.res.Report.Findings)
		}
	}
}
