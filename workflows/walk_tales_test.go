package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// tale is an operation on one of its paths.
type tale struct {
	name string
	// op begins the names of its acting runs.
	op       string
	workflow any
	world    func() *world
	input    func() any
	// root is the workflow's id where it is not the pair's; then the pair's is that of its children.
	root string
	// silent: root takes no commands.
	silent bool
	// asks: nothing may be changed before an approval, refused: the error type of a run that gets none, "" for a result.
	asks    bool
	refused string
	// choice is what people decide where they are asked to.
	choice string
	// pivot is the link whose first STOPPED mirror is the pivot, "" for none; source its side. back: there is a second run,
	// back by the opposite link.
	pivot, source string
	back          bool
	// launches: it has others act, with the plan that it loaded.
	launches bool
	// still: it changes nothing. never are activities that have no place in it.
	still bool
	never []string
	// result reads how it ended, where that is no Result.
	result func(*testsuite.TestWorkflowEnvironment) string
	want   string // of a run without a fault, "" for done or partly
	// turn is where somebody aborts it, so that it is undone from there; the zero value: nobody does.
	turn place
	// each is asked of every call, holds of the end, with the world locked.
	each  func(w *watcher, here place, in any)
	holds func(w *watcher, before *world)
}

func (of tale) id() string {
	if of.root != "" {
		return of.root
	}
	return ID("orders")
}

// hears tells whether a run of the tale takes commands.
func (of tale) hears(run string) bool { return !of.silent || !strings.HasPrefix(run, of.root) }

func (of tale) ends(env *testsuite.TestWorkflowEnvironment) string {
	if of.result != nil {
		return of.result(env)
	}
	var res Result
	if err := env.GetWorkflowResult(&res); err != nil {
		return err.Error()
	}
	return res.Outcome
}

// goal is how it ends without a fault.
func (of tale) goal() string {
	if of.want != "" {
		return of.want
	}
	return runbook.Done
}

func taleOf(name string) tale {
	all := tales()
	return all[slices.IndexFunc(all, func(of tale) bool { return of.name == name })]
}

func tales() []tale {
	return slices.Concat(operationTales(), drillTales(), dutyTales())
}

// waving is calm with clients that move in two waves, and some in Kubernetes.
func waving() *world {
	w := calm()
	w.inKubernetes(scaled(home, "deployment/a"), scaled(away, "deployment/a"), rolled("deployment/r"))
	w.plan.Groups = append(w.plan.Groups, runbook.Group{Name: "h", Move: runbook.MoveWatch, Wave: 2})
	return w
}

// housed is calm with clients in Kubernetes, at both sites and at each.
func housed() *world {
	w := calm()
	both := scaled("", "deployment/a")
	both.ConfigMap = "where"
	w.inKubernetes(both, scaled(home, "deployment/b"), scaled(away, "deployment/b"))
	return w
}

// takenOver: what ended well has the token of the operation whose lock it broke; of what did not, the lock or the token is gone
// together with the other, so that the next one knows whom to take it from.
func (w *watcher) takenOver(*world) {
	held := w.w.tokens["there"] == "open" && w.w.holders["there"].OperationID == gone
	named := w.w.consul[away].Lock != nil && w.w.consul[away].Lock.OpID == gone
	if held && !named && w.intruded == "" {
		w.err("the token of %s is open, and no lock names it", gone)
	}
}

func operationTales() []tale {
	return []tale{
		{name: "setup", op: runbook.OpSetUp, workflow: SetUp, world: newWorld, input: func() any { return SetUpInput{Start: request(runbook.OpSetUp)} }},
		{name: "failover, source lost", op: runbook.OpFailover, workflow: Failover, world: lost, asks: true, pivot: "there", source: home, want: runbook.Partly, input: func() any { return FailoverInput{Start: request(runbook.OpFailover)} }},
		{name: "failover, source alive", op: runbook.OpFailover, workflow: Failover, world: waving, asks: true, pivot: "there", source: home, holds: (*watcher).inTheirPlaces, input: func() any { return FailoverInput{Start: request(runbook.OpFailover)} }},
		{name: "switchover", op: runbook.OpSwitchover, workflow: Switchover, world: housed, asks: true, pivot: "there", source: home, each: (*watcher).stopsFirst, holds: (*watcher).inTheirPlaces, input: func() any { return planned() }},
		{name: "recover", op: runbook.OpRecover, workflow: RecoverLaggedData, world: func() *world { return failedOver() }, choice: runbook.ChooseAppend, input: func() any { return RecoverInput{Start: request(runbook.OpRecover)} }},
		{name: "failback", op: runbook.OpFailback, workflow: Failback, world: decided, asks: true, pivot: "back", source: away, input: func() any { return FailbackInput{Start: request(runbook.OpFailback)} }},
		{
			name: "restore", op: runbook.OpRestore, workflow: RestoreDR, asks: true, choice: runbook.ChooseMirror,
			input: func() any { return RestoreInput{Start: request(runbook.OpRestore)} },
			world: func() *world {
				w := decided()
				w.same = map[string]bool{"b": true, canary(): true}
				w.altered = map[string]func(*runbook.AwayTopic){"new": func(a *runbook.AwayTopic) { a.Active = 1 }}
				return w
			},
			never: []string{"FenceSite", "FenceGroups", "PromoteMirrors", "FailoverMirrors", "AwaitClientsMoved"}, holds: (*watcher).restored,
		},
		{name: "recover, of a lost recovery", op: runbook.OpRecover, workflow: RecoverLaggedData, world: func() *world { return leftBy(failedOver(), gone, 2, "there") }, asks: true, choice: runbook.ChooseAppend, holds: (*watcher).takenOver, input: func() any { return RecoverInput{Start: request(runbook.OpRecover, runbook.OverrideLock)} }},
		{name: "unfence", op: runbook.OpUnfence, workflow: Unfence, asks: true, holds: (*watcher).inTheirPlaces, input: func() any { return unfencing(runbook.OverrideLock) }, world: func() *world {
			w := housed()
			abandon(w)
			w.leftAtZero(gone, home)
			return w
		}},
	}
}

func drillTales() []tale {
	drill := func(kind string, of tale) tale {
		of.name, of.workflow, of.refused, of.launches = "drill, "+kind, Drill, ErrHalted, true
		of.root = DrillSchedule("orders", kind) + "-2026-11-22T10:00:00Z"
		of.input = func() any { return drillOf(kind) }
		return of
	}
	return []tale{
		drill(runbook.DrillTabletop, tale{op: runbook.OpDrill, world: calm, still: true}),
		drill(runbook.DrillCanary, tale{
			op: runbook.OpDrill, asks: true, each: (*watcher).drillsOwn, holds: (*watcher).drilled,
			world: func() *world {
				w := calm()
				w.plan.Approvals[runbook.OpDrill] = runbook.Approval{Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 600}
				w.drill.left = map[string]bool{"link": true} // of a run that died
				return w
			},
		}),
		drill(runbook.DrillFull, tale{
			op: runbook.OpSwitchover, asks: true, pivot: "there", source: home, back: true, holds: (*watcher).toldTruly,
			world: func() *world {
				w := calm()
				w.topics[away] = w.topics[home]
				w.plan.Limits.AntiFlapSeconds = 3600
				return w
			},
		}),
	}
}

// stranger is an operation whose fences stand at both sites, and are nobody's business.
const stranger = "failback-8"

func dutyTales() []tale {
	return []tale{
		{
			name: "debt", op: runbook.OpRecover, workflow: Debt, root: DebtID("orders"), silent: true, want: "owes nothing",
			input: func() any { return DebtInput{Pair: "orders"} },
			world: func() *world {
				w := indebted()
				w.back()
				w.groups[home][stranger], w.fences[away][stranger] = true, true
				return w
			},
			never: []string{"LiftFence", "LiftGroupFence", "HandOverFence", "PromoteMirrors", "FailoverMirrors", "DeleteTopics", "AppendLedger", "DiscardLedger"},
			each:  (*watcher).actsByChild, holds: (*watcher).paid,
			result: func(env *testsuite.TestWorkflowEnvironment) string {
				var st DebtStatus
				if err := env.GetWorkflowResult(&st); err != nil || len(st.Owed) > 0 {
					return fmt.Sprintf("%v, owes %v", err, st.Owed)
				}
				return "owes nothing"
			},
		},
		{
			name: "readiness", op: runbook.OpReadiness, workflow: Readiness, world: calm, root: ReadyID("orders"), silent: true, still: true, want: "ready true",
			input: func() any { return ReadinessInput{Pair: "orders"} },
			result: func(env *testsuite.TestWorkflowEnvironment) string {
				var r runbook.Readiness
				if err := env.GetWorkflowResult(&r); err != nil {
					return err.Error()
				}
				return fmt.Sprintf("ready %t", r.Ready)
			},
		},
	}
}
