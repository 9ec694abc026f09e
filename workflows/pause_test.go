package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// pauses lets kim, who has no role, pause the run while a step is under way, the
// first time that it is.
func (s *stage) pauses(at string) {
	w, once := s.w, false
	w.plan.People = append(w.plan.People, runbook.Person{Name: "kim"}, runbook.Person{Name: "lee"})
	w.hook = func(method string, _ Call) {
		if method == at && !once {
			once = true
			s.during(func(done func()) { s.sendThen(signed(s.status(), "kim", runbook.Pause), done) })
		}
	}
}

// held is whether a pause holds the run.
func held(st Status) bool { return st.Paused != nil && !st.Paused.Since.IsZero() }

// inTheEnd answers the n-th look at a paused run, and agrees to everything.
func inTheEnd(n int, answer func(Status) []runbook.Command) func(Status) []runbook.Command {
	return func(st Status) []runbook.Command {
		if held(st) {
			if n--; n == 0 {
				return answer(st)
			}
			return nil
		}
		return agree(st)
	}
}

func resumeBy(who string) func(Status) []runbook.Command {
	return func(st Status) []runbook.Command { return []runbook.Command{signed(st, who, runbook.Resume)} }
}

func TestAPauseHoldsTheRunBetweenStepsOnlyAndChangesNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		world    func() *world
		workflow any
		input    any
	}{
		"switchover": {calm, Switchover, planned()},
		"failover":   {steady, Failover, FailoverInput{Start: request(runbook.OpFailover)}},
		"failback":   {decided, Failback, FailbackInput{Start: request(runbook.OpFailback)}},
	} {
		t.Run(name, func(t *testing.T) {
			plain := newStage(t, c.world())
			plain.react = agree
			plain.run(c.workflow, c.input)
			quiet := []string{"VerifySignature", "Notify"}
			calls := func(w *world) []string {
				return slices.DeleteFunc(slices.Clone(w.calls), func(m string) bool { return slices.Contains(quiet, m) })
			}
			want := calls(plain.w)
			// Not before commands are taken, nor when the run is over.
			tried := slices.Compact(slices.Sorted(slices.Values(want)))
			tried = slices.DeleteFunc(tried, func(m string) bool { return slices.Contains([]string{"LoadPlan", "ReadRecord", "SaveReport"}, m) })
			for _, at := range tried {
				s := newStage(t, c.world())
				s.pauses(at)
				still := 0
				s.react = inTheEnd(3, resumeBy("kim"))
				follow := s.react
				s.react = func(st Status) []runbook.Command {
					if held(st) {
						n := len(calls(s.w))
						if still != 0 && n != still {
							t.Errorf("%s: %v was called while the run was paused", at, s.w.calls[still:])
						}
						still = n
						if slices.ContainsFunc(st.Steps, func(l runbook.StepLine) bool { return l.State == runbook.StateRunning }) {
							t.Errorf("%s: paused within a step: %+v", at, st.Steps)
						}
					}
					return follow(st)
				}
				s.run(c.workflow, c.input)
				s.outcome(plain.res.Outcome)
				s.clean()
				was, is := want, calls(s.w)
				if at == "ReadHold" { // the last look before the pivot, which is taken again behind the pause
					if p := s.res.Report.Pauses; len(p) != 1 || p[0].Before != "the point of no return" {
						t.Errorf("paused %+v", p)
					}
					was, is = slices.Compact(slices.Clone(was)), slices.Compact(is)
				}
				if diff := cmp.Diff(was, is); diff != "" {
					t.Errorf("%s: other calls:\n%s", at, diff)
				}
				r := s.res.Report
				if at == "EngineUnlock" && len(r.Pauses) == 0 {
					continue // the last step: told as a finding, below
				}
				if len(r.Pauses) != 1 || r.Pauses[0].By != "kim" || r.Pauses[0].EndedBy != "resumed by kim" || r.Pauses[0].Millis < 2000 {
					t.Errorf("%s: pauses %+v", at, r.Pauses)
				}
			}
			t.Logf("paused in each of %d steps", len(tried))
		})
	}
}

// The recovery time holds the pause, no step's segment does.
func TestAPauseIsPartOfTheRecoveryTimeAndAFigureOfItsOwn(t *testing.T) {
	w := steady()
	s := newStage(t, w)
	s.pauses("GrowMirrors")
	const looks = 1900 // a second apart: more than two reminders
	s.react = inTheEnd(looks, func(st Status) []runbook.Command {
		if st.PastPivot || st.Paused.Before != "the point of no return" || !slices.Contains(st.Waiting.Commands, runbook.Abort) {
			t.Errorf("past the pivot %t, paused before %q, takes %v", st.PastPivot, st.Paused.Before, st.Waiting.Commands)
		}
		if w.mirrors["there"]["a"] != "ACTIVE" || st.Phase != PhasePaused || !strings.Contains(st.Waiting.Text, "because") {
			t.Errorf("mirror %s, phase %s, %q", w.mirrors["there"]["a"], st.Phase, st.Waiting.Text)
		}
		return resumeBy("bob")(st)
	})
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Done)
	r := s.res.Report
	var sum, paused, mirrors int64
	for _, seg := range r.RTO {
		sum += seg.Millis
		switch seg.Name {
		case runbook.SegmentPaused:
			paused += seg.Millis
		case "mirrors":
			mirrors = seg.Millis
		}
	}
	if len(r.Pauses) != 1 || paused != r.Pauses[0].Millis || paused < 1_800_000 || sum != r.RTOMillis || mirrors >= paused {
		t.Errorf("RTO %d ms in %+v, pauses %+v", r.RTOMillis, r.RTO, r.Pauses)
	}
	if md := r.Markdown(); !strings.Contains(md, "paused by kim for") || !strings.Contains(md, "| paused |") {
		t.Errorf("the report does not tell of it:\n%s", md)
	}
	pages := 0
	for _, n := range w.notes {
		if n.Kind == NotifyPaused && n.Page {
			pages++
		}
	}
	if pages != 4 { // asked for, in force, two reminders
		t.Errorf("%d pages", pages)
	}
}

func TestAFreezeExpiresWhileTheRunIsPaused(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	s.pauses("EndTransactions")
	s.react = func(st Status) []runbook.Command {
		if held(st) && st.Waiting.Deadline.IsZero() {
			t.Error("nothing says when the freeze ends")
		}
		return agree(st)
	}
	s.run(Switchover, planned())
	s.still(runbook.NoChange)
	if r := s.res.Report; !strings.Contains(r.Error, "freeze took longer") || len(r.Pauses) != 1 || r.Pauses[0].EndedBy != "the freeze expired" || r.Pauses[0].Millis > 60_000 {
		t.Errorf("%q, %+v", r.Error, r.Pauses)
	}
}

func TestAPausedRunCanBeAbortedAndTurned(t *testing.T) {
	for decision, c := range map[string]struct{ outcome, ended string }{
		runbook.Abort:        {runbook.NoChange, "aborted by eve"},
		runbook.IntoFailover: {runbook.Done, "turned into a failover by eve"},
	} {
		w := calm()
		s := newStage(t, w)
		s.pauses("FenceSite")
		s.react = inTheEnd(2, func(st Status) []runbook.Command { return []runbook.Command{signed(st, "eve", decision)} })
		s.run(Switchover, planned())
		s.outcome(c.outcome)
		if r := s.res.Report; len(r.Pauses) != 1 || r.Pauses[0].EndedBy != c.ended {
			t.Errorf("%s: %+v", decision, r.Pauses)
		}
		if decision == runbook.Abort {
			s.still(runbook.NoChange)
		}
	}
}

// Who may do what, and that a pause that was kept does not work again.
func TestPauseAndResumeAreJudged(t *testing.T) {
	w := steady()
	w.plan.People = append(w.plan.People, runbook.Person{Name: "kim"}, runbook.Person{Name: "lee"})
	s := newStage(t, w)
	var pause runbook.Command
	sent := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		none := signed(st, "kim", runbook.Pause)
		none.Reason = ""
		stale := signed(st, "kim", runbook.Resume)
		stale.Question = "0 pause"
		early, mine := signed(st, "kim", runbook.Resume), signed(st, "kim", runbook.Resume)
		if st.Paused != nil {
			mine.Question = st.Paused.Question
		}
		if sent++; sent == 3 {
			pause = signed(st, "kim", runbook.Pause)
		}
		other := mine
		other.By, other.Signature = "lee", "by lee"
		switch sent {
		case 1:
			return []runbook.Command{early} // nobody has paused it
		case 2:
			return []runbook.Command{none}
		case 3:
			return []runbook.Command{pause} // while it waits for approvals
		case 4:
			if st.Paused == nil || held(st) {
				t.Errorf("paused %+v", st.Paused)
			}
			return []runbook.Command{signed(st, "lee", runbook.Pause)} // it is already
		case 5:
			return []runbook.Command{stale}
		case 6:
			return []runbook.Command{other} // neither paused it nor may approve
		case 7:
			return []runbook.Command{mine} // withdrawn before it took effect
		case 8:
			if st.Paused != nil {
				t.Errorf("still paused: %+v", st.Paused)
			}
			return []runbook.Command{pause} // kept by somebody
		}
		if st.Paused != nil {
			t.Errorf("the pause was used again: %+v", st.Paused)
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Done)
	want := []string{ErrNothingWaits, ErrNotAllowed, ErrNotAllowed, ErrCommandStale, ErrNotAllowed}
	var got []string
	for _, err := range s.nays {
		got = append(got, ErrorType(err))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s%v", diff, s.nays)
	}
	if len(s.acks) != 4 || !s.acks[2].Duplicate || len(s.res.Report.Pauses) != 0 {
		t.Errorf("answers %+v, pauses %+v", s.acks, s.res.Report.Pauses)
	}
}

func TestAPauseThatComesTooLateIsTold(t *testing.T) {
	w := steady()
	s := newStage(t, w)
	s.pauses("EngineUnlock")
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Done)
	if !strings.Contains(strings.Join(s.res.Report.Findings, " "), "kim asked for a pause") || len(s.res.Report.Pauses) != 0 {
		t.Errorf("findings %q, pauses %+v", s.res.Report.Findings, s.res.Report.Pauses)
	}
}

// A promote that failed may or may not have been the pivot: until that is known
// nobody holds the run, whose clients stand still.
func TestAPauseWaitsUntilItIsKnownWhetherThePivotWasCrossed(t *testing.T) {
	w := calm()
	s := newStage(t, w)
	w.stuck = map[string]bool{"b": true}
	s.pauses("AwaitStopped")
	pause := w.hook
	w.hook = func(method string, c Call) {
		if method == "RevokeOperation" {
			w.mu.Lock()
			w.stuck = nil // the second try ends it
			w.mu.Unlock()
		}
		pause(method, c)
	}
	s.react = inTheEnd(2, resumeBy("kim"))
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	if p := s.res.Report.Pauses; len(p) != 1 || !strings.HasPrefix(p[0].Before, "begin operation again on ") {
		t.Errorf("%+v", p)
	}
}
