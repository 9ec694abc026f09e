package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A run that is aborted while it stops workloads undoes nothing before that stop has
// ended: what it would start could be stopped behind it.
func TestAnUndoWaitsForTheStopThatIsUnderWay(t *testing.T) {
	for name, nth := range map[string]int{"asked of all at first": 1, "waited for": 2} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			second := scaled("", "deployment/b")
			second.Namespace = "shop2"
			w.inKubernetes(scaled("", "deployment/a"), second)
			s := newStage(t, w)
			s.react = agree
			stops, early := 0, make(chan string, 100)
			var stopping bool // guarded by w.mu
			w.hook = func(method string, _ Call) {
				w.mu.Lock()
				if stopping && method != "Notify" {
					early <- method
				}
				if method == "StopWorkloads" {
					stops++
				}
				abort := method == "StopWorkloads" && stops == nth
				w.mu.Unlock()
				if !abort {
					return
				}
				s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.Abort), done) })
				w.mu.Lock()
				stopping = true
				w.mu.Unlock()
				select {
				case method := <-early:
					t.Errorf("%s began while workloads were being stopped", method)
				case <-time.After(300 * time.Millisecond): // a wrong run comes at once
				}
				w.mu.Lock()
				stopping = false
				w.mu.Unlock()
			}
			s.run(Switchover, planned())
			if s.status().Outcome != runbook.NoChange || stops != nth {
				t.Errorf("outcome %s after %d stops", s.status().Outcome, stops)
			}
			if w.pods.text() != "running map[namespace shop deployment/a:3 namespace shop2 deployment/b:3] remembered map[]" {
				t.Errorf("left %s", w.pods.text())
			}
		})
	}
}

// Workloads come last in an undo: an API server that is away keeps nobody else standing
// still, and what starts finds its brokers open.
func TestAnUndoStartsWorkloadsWhenThePairIsOpen(t *testing.T) {
	for _, method := range []string{"FenceSite", "EndTransactions", "AwaitDrained"} {
		w := calm()
		w.inKubernetes(scaled("", "deployment/a"))
		w.fail[method] = []error{no(ErrRefused, "no right to")}
		w.hook = func(method string, _ Call) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if r := w.consul[home]; method == "StartWorkloads" && (r.Phase != record.Open || len(w.fences[home])+len(w.groups[home]) > 0) {
				t.Errorf("clients were started in phase %s, fences %v %v", r.Phase, w.fences[home], w.groups[home])
			}
		}
		s := newStage(t, w)
		s.react = agree
		s.run(Switchover, planned())
		if s.status().Outcome != runbook.NoChange || w.count("StartWorkloads") == 0 || len(w.pods.was) > 0 {
			t.Errorf("%s: outcome %s, calls %v", method, s.status().Outcome, w.calls)
		}
	}
}

// A set-up that raised the epoch has moved clients, whatever fails behind it.
func TestASetUpThatRaisedTheEpochHasChangedSomething(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		w := steady()
		place := scaled("", "deployment/a")
		place.ConfigMap = "where"
		w.inKubernetes(place)
		s := newStage(t, w)
		s.react = agree
		s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)}) // what Kubernetes makes of the plan
		w.fail["TellWorkloads"] = []error{no(ErrRefused, "there is no ConfigMap where")}
		epoch, want := w.consul[home].Epoch, runbook.NoChange
		if elsewhere {
			w.plan.Sites[0].Kafka.Bootstrap = []string{"east2:9092"}
			want = runbook.Partly
		}
		s = newStage(t, w)
		s.react = agree
		s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)})
		s.failed(ErrHalted)
		if got := s.status().Outcome; got != want || (w.consul[home].Epoch > epoch) != elsewhere {
			t.Errorf("elsewhere %t: outcome %s, epoch %d became %d", elsewhere, got, epoch, w.consul[home].Epoch)
		}
	}
}

// A failover of the other site's Temporal has passed a planned move that was cut off, and stopped the clients for good: the undo
// of that move is none of theirs. Nor does it start what nobody says it stopped.
func TestAnUndoStartsWhatItsOwnRunHasStoppedAndNamesTheRest(t *testing.T) {
	for name, c := range map[string]struct {
		since func(*world, string)
		want  string
	}{
		"a later run": {
			func(w *world, key string) { w.pods.stopped[key] = "failover-9" },
			"deployment/a of group g in namespace shop (east) stays at 0: by its marks this run has not stopped it, failover-9 has; drctl readiness orders says whether it is to run",
		},
		"marks that somebody took away": {
			func(w *world, key string) { delete(w.pods.stopped, key); delete(w.pods.was, key) },
			"deployment/a of group g in namespace shop (east) stays at 0: by its marks this run has not stopped it; drctl readiness orders says whether it is to run",
		},
	} {
		w := calm()
		w.inKubernetes(scaled(home, "deployment/a"), scaled(away, "deployment/a"))
		w.fail["FenceSite"] = []error{no(ErrRefused, "no right to")}
		w.hook = func(method string, _ Call) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if method == "FenceSite" {
				c.since(w, "namespace shop (east) deployment/a")
			}
		}
		s := newStage(t, w)
		s.react = agree
		s.run(Switchover, planned())
		if n := w.pods.replicas["namespace shop (east) deployment/a"]; s.status().Outcome != runbook.NoChange || n != 0 {
			t.Errorf("%s: outcome %s, %d replicas run", name, s.status().Outcome, n)
		}
		if !slices.Contains(s.status().Findings, c.want) {
			t.Errorf("%s: findings %q", name, s.status().Findings)
		}
	}
}
