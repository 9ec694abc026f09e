package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// operate runs a runbook and insists on its outcome.
func (s *story) operate(ctx context.Context, verb string, args ...string) (workflows.Result, error) {
	return s.operation(ctx, harness.Operation{Verb: verb, Args: args})
}

func (s *story) operation(ctx context.Context, op harness.Operation) (workflows.Result, error) {
	ctx, cancel := within(ctx, 10*time.Minute)
	defer cancel()
	op.Progress = s.table.progress()
	op.Answered = func(w workflows.Waiting) {
		taken := ""
		if len(w.Overrides) > 0 {
			taken = "; named overrides: " + strings.Join(w.Overrides, ", ")
		}
		s.table.printf("      > %s approves: %s%s\n", harness.Approver, w.Text, taken)
	}
	got, err := s.sys.Operate(ctx, op)
	if err != nil {
		return got, err
	}
	for _, f := range got.Report.Findings {
		s.table.printf("      ! %s\n", f)
	}
	if got.Report.Error != "" {
		return got, fmt.Errorf("outcome %s: %s", got.Outcome, got.Report.Error)
	}
	return got, nil
}

func (s *story) setUp(ctx context.Context) (string, error) {
	got, err := s.operate(ctx, "setup")
	if err == nil && got.Outcome != runbook.Done {
		err = fmt.Errorf("outcome %q: %v", got.Outcome, got.Report.Findings)
	}
	return fmt.Sprintf("%s is active at epoch %d", joined(got.Active), got.Epoch), err
}

func (s *story) startClients() error {
	// The tutorial's consumer reads 5 records and rests.
	if err := s.tutorial.limit(s.sys.Home.Name, 5); err != nil {
		return err
	}
	return errors.Join(s.tutorial.start(), s.clicks.start(), s.chat.startByHand(s.sys.Home))
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

var laggards = []string{"lag-1", "lag-2", "lag-3"}

func (s *story) firstFive(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	if err := s.tutorial.produce(numbers(1, 5)...); err != nil {
		return "", err
	}
	err := inOrder(ctx,
		func(ctx context.Context) error { return s.tutorial.awaitAcked(ctx, numbers(1, 5)...) },
		func(ctx context.Context) error {
			return s.tutorial.awaitRead(ctx, s.sys.Home.Name, numbers(1, 5)...)
		},
		func(ctx context.Context) error { return s.tutorial.awaitSettled(ctx, s.sys.Home) })
	return "group " + tutorialGroup + " has committed offset 5", err
}

func (s *story) secondFive(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 3*time.Minute)
	defer cancel()
	if err := s.tutorial.produce(numbers(6, 10)...); err != nil {
		return "", err
	}
	home, standby := s.sys.Home, s.sys.Standby
	err := inOrder(ctx,
		func(ctx context.Context) error { return s.tutorial.awaitAcked(ctx, numbers(6, 10)...) },
		func(ctx context.Context) error { return s.clicks.awaitAckedCount(ctx, home.Name, s.traffic.Before) },
		func(ctx context.Context) error { return s.sys.Mirrored(ctx, home, standby, tutorialTopic, clicksTopic) },
		func(ctx context.Context) error {
			return s.sys.GroupFollowed(ctx, home, standby, tutorialGroup, tutorialTopic, 0, 5)
		})
	clicks, cerr := s.clicks.acked("")
	return fmt.Sprintf("10 records of %s, %d of %s; the group's offset 5 is on the standby", tutorialTopic, clicks, clicksTopic), errors.Join(err, cerr)
}

// lag waits until the engine reports lag 0 and then holds its link: nothing that
// the primary acknowledges from now on is mirrored.
func (s *story) lag(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	home := s.sys.Home
	if err := s.sys.LagZero(ctx, home, s.sys.Standby, tutorialTopic); err != nil {
		return "", err
	}
	s.sys.HoldLink()
	before, err := s.clicks.acked("")
	if err != nil {
		return "", err
	}
	if err := s.tutorial.produce(laggards...); err != nil {
		return "", err
	}
	err = inOrder(ctx,
		func(ctx context.Context) error { return s.tutorial.awaitAcked(ctx, laggards...) },
		func(ctx context.Context) error { return s.clicks.awaitAckedCount(ctx, "", before+s.traffic.Behind) },
		s.rest)
	after, aerr := s.clicks.acked("")
	return fmt.Sprintf("the primary has acknowledged %d clicks and 3 records of %s since", after-before, tutorialTopic), errors.Join(err, aerr)
}

// rest lets the clicks' group read on for a while and then wait at home, so that
// everything that it read is committed when the primary dies. What a group has
// read and not committed is known to nobody but itself: no forecast can count
// it.
func (s *story) rest(ctx context.Context) error {
	home := s.sys.Home
	n, err := s.clicks.reads(home.Name)
	if err != nil {
		return err
	}
	// It may read on while the limit is written; the member then stops above it.
	if err := s.clicks.limit(home.Name, n+s.traffic.ReadOn); err != nil {
		return err
	}
	err = local.WaitFor(ctx, "the clicks' group to rest", func(context.Context) error {
		got, err := s.clicks.reads(home.Name)
		if err == nil && got < n+s.traffic.ReadOn {
			err = fmt.Errorf("it has read %d of %d", got, n+s.traffic.ReadOn)
		}
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(s.clicks.awaitSettled(ctx, home), s.tutorial.awaitSettled(ctx, home))
}

func (s *story) kill(context.Context) (string, error) {
	return s.sys.Home.Name + " is gone: every broker, without a word", s.sys.Home.Kafka.Kill()
}

func (s *story) dryRun(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 3*time.Minute)
	defer cancel()
	var err error
	s.dry, err = s.sys.DryRun(ctx, "failover", s.table.progress())
	if err == nil && s.dry.Report.Forecast == nil {
		err = fmt.Errorf("it made no forecast: %s", s.dry.Report.Error)
	}
	if err != nil {
		return "", err
	}
	cast := s.dry.Report.Forecast
	for _, t := range cast.Topics {
		s.table.printf("      | %s: at least %d records at risk, about %d with those of the last %.1f s; groups get at most %d again\n", t.Topic, t.Known, t.AtRisk, cast.BlindSeconds, t.Redeliver)
	}
	return fmt.Sprintf("%d steps would follow, needing an approval", len(s.dry.Report.Planned)), nil
}

func (s *story) failOver(ctx context.Context) (string, error) {
	// Business goes on: 11 to 15 come as soon as clients are sent to the standby,
	// and the resting groups may read there.
	moved, cancel := within(ctx, 10*time.Minute)
	defer cancel()
	went := make(chan error, 1)
	go func() { went <- s.onceAway(moved) }()
	got, err := s.operate(ctx, "failover", "--yes="+s.sys.Pair())
	if err != nil {
		cancel() // else they may be behind, and come
	}
	if werr := <-went; err == nil {
		err = werr
	}
	s.failover = got
	return fmt.Sprintf("RTO %.1f s; %s is active at epoch %d", float64(got.Report.RTOMillis)/1000, joined(got.Active), got.Epoch), err
}

func (s *story) onceAway(ctx context.Context) error {
	if err := s.activeAt(ctx, s.sys.Standby); err != nil {
		return err
	}
	return s.tutorial.produce(numbers(11, 15)...)
}

func (s *story) activeAt(ctx context.Context, site *harness.Site) error {
	return local.WaitFor(ctx, "the record of truth to name "+site.Name, func(ctx context.Context) error {
		r, err := s.sys.Record(ctx, site)
		if err == nil && r.Active[0] != site.Name {
			err = fmt.Errorf("%v is active", r.Active)
		}
		return err
	})
}

func (s *story) goOn(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	away := s.sys.Standby.Name
	err := inOrder(ctx,
		func(ctx context.Context) error { return s.tutorial.awaitAcked(ctx, numbers(11, 15)...) },
		func(ctx context.Context) error { return s.tutorial.awaitRead(ctx, away, numbers(6, 15)...) },
		func(ctx context.Context) error { return s.clicks.awaitAckedCount(ctx, away, 500) })
	return "clicks flow to " + away, err
}

func (s *story) comeBack(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	s.sys.ReleaseLink()
	return "with its log, and nobody's clients", s.sys.Home.Kafka.Restart(ctx)
}

func (s *story) recover(ctx context.Context) (string, error) {
	got, err := s.operate(ctx, "recover", "--append", "*")
	s.recovery = got
	if err == nil && got.Outcome != runbook.Done {
		err = fmt.Errorf("outcome %q, debts %v", got.Outcome, got.Report.DebtsOpen)
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	err = s.tutorial.awaitRead(ctx, s.sys.Standby.Name, laggards...)
	var found []string
	for topic, n := range got.Report.RPOByTopic {
		found = append(found, fmt.Sprintf("%s %d", topic, n))
	}
	return "lagged records: " + strings.Join(found, ", "), err
}

func (s *story) failBack(ctx context.Context) (string, error) {
	// The returned primary is looked at now: the failback rebuilds it.
	for _, topic := range []string{tutorialTopic, clicksTopic} {
		stored, err := stand(ctx, s.sys.Home, topic)
		if err != nil {
			return "", err
		}
		s.primary[topic] = stored
	}
	// From here on nothing rests any more.
	if err := errors.Join(s.tutorial.limit("", -1), s.clicks.limit("", -1)); err != nil {
		return "", err
	}
	came := s.comeHomeByHand(ctx)
	got, err := s.operate(ctx, "failback", "--yes="+s.sys.Pair())
	s.failback = got
	if cerr := came(); err == nil {
		err = cerr
	}
	return fmt.Sprintf("%d records were copied home; %s is active at epoch %d", got.Report.CopyRecords, joined(got.Active), got.Epoch), err
}

func (s *story) atHome(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 5*time.Minute)
	defer cancel()
	home, standby := s.sys.Home, s.sys.Standby
	if err := s.tutorial.produce(numbers(16, 20)...); err != nil {
		return "", err
	}
	err := inOrder(ctx,
		s.flowedOut,
		func(ctx context.Context) error { return s.tutorial.awaitAcked(ctx, numbers(16, 20)...) },
		s.tutorial.awaitReadAll, s.clicks.awaitReadAll,
		func(ctx context.Context) error { return s.sys.Mirrored(ctx, home, standby, tutorialTopic, clicksTopic) },
		func(ctx context.Context) error { return s.sys.Settled(ctx, home, standby) },
		func(context.Context) error { return errors.Join(s.tutorial.stop(), s.clicks.stop()) })
	clicks, cerr := s.clicks.acked("")
	return fmt.Sprintf("%d clicks in all", clicks), errors.Join(err, cerr)
}

func inOrder(ctx context.Context, verbs ...func(context.Context) error) error {
	for _, v := range verbs {
		if err := v(ctx); err != nil {
			return err
		}
	}
	return nil
}
