package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// An operation that holds the pair when its site is lost shuts the failover out until it is undone. So what nobody answers is
// given up soon: the first time within minutes, and from then on at once, as far as it is at the same site.
func TestWhatIsUndoneAtALostSiteAsksPeopleSoon(t *testing.T) {
	for name, c := range map[string]struct {
		at   string // the step behind which the active site is lost, and the run is aborted
		want []string
	}{
		"before the freeze": {"list transactions", []string{"revoke operation on there", "undo: lock record", "undo: lock engine west"}},
		"in the freeze":     {"drain", []string{"revoke operation on there", "undo: fence west", "undo: freeze", "undo: lock record", "undo: lock engine west"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := decided()
			s := newStage(t, w)
			var aborted, first time.Time
			w.hook = func(_ string, call Call) {
				if call.Step != c.at || !aborted.IsZero() {
					return
				}
				aborted = s.env.Now()
				w.mu.Lock()
				for _, part := range []string{"kafka", "consul", "engine"} {
					w.down[away+" "+part] = true
				}
				w.fail["LiftFence"] = slices.Repeat([]error{temporal.NewApplicationError("connection refused", ErrUnreachable)}, 100)
				w.mu.Unlock()
				s.during(func(done func()) { s.sendThen(signed(s.status(), "ann", runbook.Abort), done) })
			}
			var asked []string
			skip := s.skipping(&asked)
			s.react = func(st Status) []runbook.Command {
				if st.Waiting != nil && st.Waiting.For == WaitPerson && first.IsZero() {
					first = s.env.Now()
				}
				return skip(st)
			}
			s.run(Failback, FailbackInput{Start: request(runbook.OpFailback)})
			s.outcome(runbook.Partly)
			if !slices.Equal(asked, c.want) {
				t.Errorf("people were asked at %q, want %q", asked, c.want)
			}
			if took := first.Sub(aborted); aborted.IsZero() || took >= 4*time.Minute {
				t.Errorf("people were asked first %s after the site was lost", took)
			}
			for _, row := range s.res.Report.Steps {
				if took := time.Duration(row.Millis) * time.Millisecond; slices.Contains(asked[1:], row.Name) && took >= time.Minute {
					t.Errorf("%q asked after %s, though the site was known to be lost", row.Name, took)
				}
			}
			// What was skipped has left its lock: the failover says whose it breaks.
			f := newStage(t, w)
			w.hook, w.fail = nil, map[string][]error{}
			f.react = agree
			f.run(Failover, FailoverInput{Start: request(runbook.OpFailover, runbook.OverrideLock)})
			f.outcome(runbook.Partly)
			if w.consul[home].Active[0] != home || !strings.Contains(strings.Join(f.res.Report.Findings, " "), "the lock of failback") {
				t.Errorf("active %v, findings %q", w.consul[home].Active, f.res.Report.Findings)
			}
		})
	}
}

// The test environment gives up after ten tries by itself, a server does not. No call waits longer for a site than ten seconds.
func TestAnUndoThatNobodyAnswersIsGivenUpWithinMinutes(t *testing.T) {
	for _, c := range []struct {
		kind kind
		most time.Duration
	}{{kindUndo, 4 * time.Minute}, {kindUndoDark, time.Minute}} {
		took, pause := time.Duration(c.kind.attempts)*10*time.Second, c.kind.interval
		for range c.kind.attempts - 1 {
			took, pause = took+pause, min(2*pause, 10*time.Second)
		}
		if c.kind.attempts == 0 || took >= c.most || c.kind.start < 5*time.Minute {
			t.Errorf("%d tries of %s at most: %s, want less than %s", c.kind.attempts, c.kind.start, took, c.most)
		}
	}
}

// A refusal is an answer.
func TestOnlyASiteThatDoesNotAnswerIsTriedBrieflyAfterwards(t *testing.T) {
	s := &story{}
	for _, err := range []error{nil, no(ErrRefused, "no"), no(ErrNotYet, "mirrors are PENDING_STOPPED")} {
		if got := s.undone(away, err); got != err || s.undoAt(away) != kindUndo { //nolint:errorlint // the very same
			t.Errorf("%v: dark %v, %v", err, s.dark, got)
		}
	}
	if err := s.undone(away, no(ErrUnreachable, "connection refused")); err == nil || s.undoAt(away) != kindUndoDark || s.undoAt(home, away) != kindUndoDark || s.undoAt(home) != kindUndo {
		t.Errorf("dark %v, %v", s.dark, err)
	}
	if _ = s.undone("", no(ErrUnreachable, "connection refused")); s.undoAt("") != kindUndo {
		t.Errorf("dark %v", s.dark)
	}
}
