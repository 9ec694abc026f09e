package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// Topics and groups of the story.
const (
	tutorialTopic = "dr-topic"
	tutorialGroup = "cli-consumer"
	clicksTopic   = "clicks"
	clicksGroup   = "clicks-consumer"
)

// story is what is played on a running system: the tutorial, or a switchover
// there and back (switchover.go), or drills (drill.go).
type story struct {
	opts  Options
	table *table
	sys   *harness.System

	tutorial, clicks *app
	traffic          traffic
	homecoming       chan struct{} // closed when records need not flow much longer
	flows            []flow

	chat *chat // of the story in Slack, else nil

	dry, failover, recovery, failback workflows.Result
	// primary is the returned one before it was rebuilt; in a switchover home as
	// it stood when clients were away.
	primary map[string][]check.Stored
}

// flow is traffic to an application.
type flow struct {
	app *app
	end chan flowed
}

// flowed is the end of a flow.
type flowed struct {
	records int
	err     error
}

// act is a step of a story.
type act struct {
	name string
	do   func(context.Context) (string, error)
}

// play runs the story and judges it. A story that was judged is no error; ok
// tells how it went.
func play(ctx context.Context, opts Options, out io.Writer) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "drawbridge-demo-")
	if err != nil {
		return false, err
	}
	s := &story{
		opts: opts, table: &table{out: out}, traffic: newTraffic(opts.Seed), primary: map[string][]check.Stored{},
		homecoming: make(chan struct{}),
	}
	what := "the active/passive tutorial"
	if s.planned() {
		what, s.traffic = "a switchover there and back at full speed", fullSpeed(opts.Seed)
	}
	if opts.Story == drillStory {
		what = "three kinds of drills at full speed"
	}
	if opts.Story == chatStory {
		what += ", its failover driven through Slack"
	}
	s.table.printf("Drawbridge: %s on %s, seed %d\ndata and logs: %s\n", what, opts.Kind, opts.Seed, dir)
	defer func() {
		if opts.Keep && ctx.Err() == nil {
			s.keep(dir)
			<-ctx.Done()
		}
		err = errors.Join(err, s.stop(), harness.Clean())
		if ok && err == nil {
			err = os.RemoveAll(dir)
		} else {
			s.table.printf("logs are left in %s\n", dir)
		}
	}()
	report, err := s.tell(ctx, dir)
	if err != nil {
		return false, err
	}
	if err := writeReport(opts.Report, report); err != nil {
		return false, err
	}
	s.table.summary(report)
	s.table.printf("report: %s\n", opts.Report)
	return report.OK, nil
}

// keep starts the clients again and says how to look around.
func (s *story) keep(dir string) {
	if s.sys == nil {
		return
	}
	for _, a := range []*app{s.tutorial, s.clicks} {
		if a != nil && len(a.procs) == 0 {
			if err := a.start(); err != nil {
				s.table.printf("clients of %s: %v\n", a.topic, err)
			}
		}
	}
	s.table.printf("\nKEEP: everything stays up until Ctrl-C. Temporal's UI: %s; data and logs: %s\n", s.sys.Temporal.UIURL(), dir)
	s.table.printf("In another terminal:\n  export %s\n  %s status %s\n", strings.Join(s.sys.Drctl.Env(), " "), s.sys.Drctl.Binary(), s.sys.Pair())
	for _, site := range []*harness.Site{s.sys.Home, s.sys.Standby} {
		s.table.printf("  DRCTL_ENGINE=%s %s link list   # the engine of %s\n", site.Engine.URL(), s.sys.Drctl.Binary(), site.Name)
	}
}

// kafka is what the clusters are made of, in the report's word.
func (s *story) kafka() string {
	if s.opts.Kind == local.Apache {
		return "apache"
	}
	return "kfake"
}

// tell plays the steps in order. After a failed one it judges what there is: the
// report then says what went wrong.
func (s *story) tell(ctx context.Context, dir string) (check.Report, error) {
	flowing, stopFlow := context.WithCancel(ctx)
	defer stopFlow()
	acts := s.theTutorial
	if s.planned() {
		acts = s.theSwitchover
	}
	if s.opts.Story == drillStory {
		acts = s.theDrill
	}
	var failed error
	for _, step := range append([]act{
		{"start two clusters, Consuls, engines, Temporal, a worker", func(ctx context.Context) (string, error) { return s.start(ctx, dir) }},
		{"drctl setup: links, mirrors, guards, record of truth", s.setUp},
	}, acts(flowing)...) {
		if failed = s.table.step(ctx, step.name, step.do); failed != nil {
			break
		}
	}
	stopFlow()
	for _, f := range s.flows {
		end := <-f.end
		failed = errors.Join(failed, end.err)
	}
	if ctx.Err() != nil {
		return check.Report{}, errors.Join(failed, ctx.Err())
	}
	e := check.Evidence{Kafka: s.kafka(), HomeSite: "home", Planned: s.planned()}
	if s.sys == nil { // nothing to look at
		e.Steps, e.Faults = s.table.steps, []string{failed.Error()}
		return check.Judge(e), nil
	}
	if err := s.table.step(ctx, "count what clients were told and what the clusters hold", func(ctx context.Context) (string, error) {
		var err error
		e, err = s.evidence(ctx)
		return "", err
	}); err != nil {
		e.Faults = append(e.Faults, err.Error())
	}
	e.Steps = s.table.steps
	if failed != nil {
		e.Faults = append([]string{failed.Error()}, e.Faults...)
	}
	return check.Judge(e), nil
}

// theTutorial is the disaster: failover, recovery, failback.
func (s *story) theTutorial(flowing context.Context) []act {
	return []act{
		{"clients start under drctl exec; clicks begin to flow", func(context.Context) (string, error) {
			err := s.startClients()
			if err == nil {
				s.flow(flowing, s.clicks)
			}
			return fmt.Sprintf("clicks: %d a second", s.traffic.PerSecond), err
		}},
		{"produce 1 to 5; the group reads 5", s.firstFive},
		{"produce 6 to 10; everything is mirrored", s.secondFive},
		{"lag 0: hold the engine's link; lag-1 to lag-3 are acknowledged", s.lag},
		{"kill -9 the primary", s.kill},
		{"drctl failover --dry-run", s.dryRun},
		s.theFailover(),
		{"the group goes on at 6 and reads to 15", s.goOn},
		{"the primary comes back", s.comeBack},
		{"drctl recover: what lagged is found and appended", s.recover},
		{"drctl failback, approved twice", s.failBack},
		{"the group goes on at home; the standby mirrors again", s.atHome},
	}
}

// flow lets records flow to an application until homecoming, and a while more.
func (s *story) flow(ctx context.Context, a *app) {
	f := flow{a, make(chan flowed, 1)}
	s.flows = append(s.flows, f)
	go func() {
		n, err := s.traffic.flow(ctx, a, s.homecoming)
		f.end <- flowed{n, err}
	}()
}

// flowedOut ends the flows and waits until all that they gave is acknowledged.
func (s *story) flowedOut(ctx context.Context) error {
	close(s.homecoming)
	for _, f := range s.flows {
		select {
		case end := <-f.end:
			f.end <- end // for whoever waits for it at the end
			if err := errors.Join(end.err, f.app.awaitAcked(ctx, numbers(1, end.records)...)); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%s flows on: %w", f.app.topic, context.Cause(ctx))
		}
	}
	return nil
}

func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("not within %s", d))
}

func (s *story) start(ctx context.Context, dir string) (string, error) {
	ctx, cancel := within(ctx, 15*time.Minute) // a first use builds and fetches
	defer cancel()
	cfg := harness.Config{
		Dir: dir, Kind: s.opts.Kind, UI: true, Replicas: s.opts.Replicas,
		Topics: []harness.Topic{{Name: tutorialTopic, Partitions: 1}, {Name: clicksTopic, Partitions: 6}},
		Groups: []plan.Group{{Name: tutorialGroup, Move: "watch"}, {Name: clicksGroup, Move: "watch"}},
		Progress: func(format string, args ...any) {
			s.table.printf("      | "+format+"\n", args...)
		},
	}
	for topic, group := range map[string]string{tutorialTopic: tutorialGroup, clicksTopic: clicksGroup} {
		cfg.Principals = append(cfg.Principals,
			harness.Principal{Name: producerOf(topic), Write: []string{topic}},
			harness.Principal{Name: consumerOf(topic), Read: []string{topic}, Groups: []string{group}})
	}
	if s.opts.Mutant != "" {
		s.table.printf("      | the engines are the mutant %s: this must end badly\n", s.opts.Mutant)
		cfg.EngineTags, cfg.EngineEnv = []string{"mutant"}, []string{"DRAWBRIDGE_MUTANT=" + s.opts.Mutant}
	}
	if err := s.inSlack(&cfg); err != nil {
		return "", err
	}
	sys, err := harness.Start(ctx, cfg)
	if err != nil {
		return "", err
	}
	s.sys = sys
	if err := s.startChat(ctx); err != nil {
		return "", err
	}
	if s.tutorial, err = newApp(sys, tutorialTopic, tutorialGroup, 0); err != nil {
		return "", err
	}
	if s.clicks, err = newApp(sys, clicksTopic, clicksGroup, 200); err != nil {
		return "", err
	}
	return "Temporal's UI: " + sys.Temporal.UIURL(), nil
}

// stop ends clients and system.
func (s *story) stop() error {
	var errs []error
	for _, a := range []*app{s.tutorial, s.clicks} {
		if a != nil {
			errs = append(errs, a.stop())
		}
	}
	if s.sys != nil {
		errs = append(errs, s.sys.Stop())
	}
	errs = append(errs, s.chat.stop())
	return errors.Join(errs...)
}
