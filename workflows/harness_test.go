package workflows

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// stage runs one workflow against a world, with people who look at the status
// every second of simulated time.
type stage struct {
	t     *testing.T
	w     *world
	env   *testsuite.TestWorkflowEnvironment
	err   error
	res   Result
	acks  []Ack
	nays  []error
	sent  map[string]int
	seen  []string // phases, each once
	react func(st Status) []runbook.Command
}

// patient: on a busy machine a second without progress is no deadlock.
var patient = worker.Options{DeadlockDetectionTimeout: time.Minute, Interceptors: []interceptor.WorkerInterceptor{&faithful{}}}

func newStage(t *testing.T, w *world) *stage {
	t.Helper()
	return newStageOf(t, w, w)
}

// newStageOf is newStage with activities that stand on w.
func newStageOf(t *testing.T, w *world, activities Steps) *stage {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s := &stage{t: t, w: w, env: suite.NewTestWorkflowEnvironment(), sent: map[string]int{}}
	s.env.SetWorkerOptions(patient)
	s.env.RegisterActivity(activities)
	Register(s.env)
	s.env.SetTestTimeout(2 * time.Minute)
	s.id(ID("orders"))
	return s
}

func (s *stage) id(id string) {
	s.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id, TaskQueue: TaskQueue})
}

func (s *stage) status() Status {
	s.t.Helper()
	v, err := s.env.QueryWorkflow(QueryStatus)
	if err != nil {
		s.t.Fatalf("query: %v", err)
	}
	var st Status
	if err := v.Get(&st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// send sends a command now; it must be called from a callback.
func (s *stage) send(c runbook.Command) { s.sendThen(c, func() {}) }

// sendThen calls then when the answer is there.
func (s *stage) sendThen(c runbook.Command, then func()) {
	s.sent[c.Decision]++
	s.env.UpdateWorkflow(c.Decision, fmt.Sprintf("%s-%d", c.Decision, s.sent[c.Decision]), &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) {
			defer then()
			s.nays = append(s.nays, err)
		},
		OnComplete: func(got any, err error) {
			defer then()
			if err != nil {
				s.nays = append(s.nays, err)
				return
			}
			if a, ok := got.(Ack); ok {
				s.acks = append(s.acks, a)
			}
		},
	}, c)
}

// during lets something happen to the run while one of its steps is running; it
// is called from a step and returns when do has called done.
func (s *stage) during(do func(done func())) {
	over := make(chan struct{})
	s.env.RegisterDelayedCallback(func() { do(func() { close(over) }) }, 0)
	select {
	case <-over:
	case <-time.After(2 * time.Minute):
		s.t.Error("the run never came to it")
	}
}

func (s *stage) tick() {
	st := s.status()
	if !slices.Contains(s.seen, st.Phase) {
		s.seen = append(s.seen, st.Phase)
	}
	if s.react != nil {
		for _, c := range s.react(st) {
			s.send(c)
		}
	}
	s.env.RegisterDelayedCallback(s.tick, time.Second)
}

func (s *stage) run(workflow, input any) *stage {
	s.t.Helper()
	s.env.RegisterDelayedCallback(s.tick, time.Second)
	s.env.ExecuteWorkflow(workflow, input)
	if !s.env.IsWorkflowCompleted() {
		s.t.Fatalf("the run did not end: %+v", s.status())
	}
	if s.err = s.env.GetWorkflowError(); s.err == nil {
		if err := s.env.GetWorkflowResult(&s.res); err != nil {
			s.t.Fatal(err)
		}
	}
	return s
}

// signed is a command by a person that fits a status.
func signed(st Status, by, decision string, overrides ...string) runbook.Command {
	c := runbook.Command{
		OpID: st.OpID, Pair: st.Pair, Operation: st.Operation, Epoch: st.Epoch, PlanHash: st.PlanHash, Decision: decision,
		By: by, Reason: "because", Overrides: overrides, Expires: st.Started.Add(1000 * time.Hour), Signature: "by " + by,
	}
	if st.Waiting != nil {
		c.Question = st.Waiting.Question
	}
	return c
}

// request is a signed start by ann.
func request(op string, overrides ...string) Start {
	return Start{Pair: "orders", Request: &runbook.Command{
		Pair: "orders", Operation: op, Decision: runbook.Request, By: "ann", Reason: "drill", Overrides: overrides,
		Expires: time.Now().Add(1000 * time.Hour), Signature: "by ann",
	}}
}

// deciding is a request that is signed for decisions.
func deciding(op string, choices map[string]string) Start {
	s := request(op)
	s.Request.Choices = choices
	return s
}

// agree approves, as bob, whatever is asked, naming every override asked for.
func agree(st Status) []runbook.Command {
	if st.Waiting == nil || st.Waiting.For != WaitApproval {
		return nil
	}
	return []runbook.Command{signed(st, "bob", runbook.Approve, st.Waiting.Overrides...)}
}

// clean checks that nothing of a run is left behind.
func (s *stage) clean() {
	s.t.Helper()
	if len(s.w.locks) > 0 {
		s.t.Errorf("engine locks are left: %v", s.w.locks)
	}
	for site, r := range s.w.consul {
		if r != nil && !s.w.down[site+" consul"] && (r.Lock != nil || r.Phase != "open") {
			s.t.Errorf("the record at %s is left locked %v in phase %s", site, r.Lock, r.Phase)
		}
	}
	for link, state := range s.w.tokens {
		if state == "open" {
			s.t.Errorf("the token on %s is left open", link)
		}
	}
}

func (s *stage) outcome(want string) {
	s.t.Helper()
	if s.err != nil {
		s.t.Fatalf("the run failed: %v\n%s", s.err, runbook.Table(s.status().Steps))
	}
	if s.res.Outcome != want {
		s.t.Fatalf("outcome %q, want %q: %s\n%s", s.res.Outcome, want, s.res.Report.Error, s.res.Report.Markdown())
	}
}

func (s *stage) failed(errType string) {
	s.t.Helper()
	if got := ErrorType(s.err); got != errType {
		s.t.Fatalf("error %q (%v), want %q", got, s.err, errType)
	}
}

func (s *stage) refused(errType string, n int) {
	s.t.Helper()
	got := 0
	for _, err := range s.nays {
		if ErrorType(err) == errType {
			got++
		}
	}
	if got != n {
		s.t.Errorf("%d commands were refused as %s, want %d: %v", got, errType, n, s.nays)
	}
}
