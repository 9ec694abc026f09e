package workflows

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestATopicThatCannotBeFailedOverIsNamedAndHoldsUpNoOther(t *testing.T) {
	w := lost()
	w.plan.Limits.HaltPercent = 50
	w.refuses = map[string]string{"b": "partition 3 has no leader"}
	w.stunted = map[string]string{"a": "the controller does not answer"}
	var proven []string
	w.proven = &proven
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.clean()
	if w.consul[away].Active[0] != away {
		t.Errorf("record %+v", w.consul[away])
	}
	for topic, want := range map[string]string{"a": "STOPPED", "b": "ACTIVE", runbook.CanaryTopic("orders"): "STOPPED"} {
		if got := w.mirrors["there"][topic]; got != want {
			t.Errorf("mirror %s is %s, want %s", topic, got, want)
		}
	}
	said := strings.Join(s.res.Report.Findings, "\n")
	for _, want := range []string{"mirror b was not failed over and stays read-only at west: partition 3 has no leader; drctl mirror failover there b", "mirror a could not be grown: the controller"} {
		if !strings.Contains(said, want) {
			t.Errorf("not found: %q in\n%s", want, said)
		}
	}
	if slices.Contains(proven, "b") || !slices.Contains(proven, "a") {
		t.Errorf("writing was asked of %v: a mirror that was left is read-only", proven)
	}
}

// More failures than the plan allows stop for a person, with nothing more ended
// meanwhile; a retry goes on where it was.
func TestAWaveWithTooManyFailuresWaitsForAPerson(t *testing.T) {
	w := lost()
	w.refuses = map[string]string{"b": "partition 3 has no leader"} // half of the first wave, allowed are 20 %
	s := newStage(t, w)
	var text, canary string
	s.react = func(st Status) []runbook.Command {
		if st.Waiting != nil && st.Waiting.For == WaitPerson {
			text, canary = st.Waiting.Text, w.mirrors["there"][runbook.CanaryTopic("orders")]
			delete(w.refuses, "b")
			c := signed(st, "bob", runbook.Retry)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if !strings.Contains(text, "fail over wave 1") || !strings.Contains(text, "1 of 2 mirrors of this wave failed, more than 20 %") || !strings.Contains(text, "b: partition 3") {
		t.Errorf("people read %q", text)
	}
	if canary != "ACTIVE" {
		t.Errorf("the next wave's mirror was %s while people were asked", canary)
	}
	for topic, got := range w.mirrors["there"] {
		if got != "STOPPED" {
			t.Errorf("mirror %s is %s", topic, got)
		}
	}
	if f := strings.Join(s.res.Report.Findings, " "); strings.Contains(f, "not failed over") {
		t.Errorf("findings of a cured wave: %s", f)
	}
}

// A mirror that is FAILED never ends, whoever retries: the wave is skipped. What it left is named, and nobody is asked to prove
// that it takes writes.
func TestAWaveThatIsSkippedNamesWhatStaysReadOnly(t *testing.T) {
	w := lost()
	w.refuses = map[string]string{"b": "mirror b is FAILED"}
	var proven []string
	w.proven = &proven
	var asked []string
	s := newStage(t, w)
	s.react = s.skipping(&asked)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.clean()
	if slices.Contains(proven, "b") || !slices.Contains(proven, "a") {
		t.Errorf("writing was asked of %v: a mirror that was left is read-only", proven)
	}
	told(t, strings.Join(s.res.Report.Findings, "\n"), "mirror b was not failed over and stays read-only at west: mirror b is FAILED; drctl mirror failover there b")
	if !slices.Equal(asked, []string{"fail over wave 1"}) {
		t.Errorf("people were asked at %q", asked)
	}
}

// A try that came to no look at them tells nothing of any mirror of its wave.
func TestAWaveThatIsSkippedWithoutALookNamesAllOfIt(t *testing.T) {
	w := lost()
	w.fail["FailoverMirrors"] = []error{no(ErrRefused, "the engine says no")}
	var proven, asked []string
	w.proven = &proven
	s := newStage(t, w)
	s.react = s.skipping(&asked)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	told(t, strings.Join(s.res.Report.Findings, "\n"), "mirror a: whether it was failed over at west is not known; drctl mirror describe there a tells")
	if len(asked) == 0 || asked[0] != "fail over wave 1" || slices.Contains(proven, "a") {
		t.Errorf("people were asked at %q, writing of %v", asked, proven)
	}
}

// skipping agrees, and skips every step that waits for a person; asked are those.
func (s *stage) skipping(asked *[]string) func(Status) []runbook.Command {
	return func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitPerson {
			return agree(st)
		}
		if !slices.Contains(*asked, st.Waiting.Step) {
			*asked = append(*asked, st.Waiting.Step)
		}
		c := signed(st, "bob", runbook.Skip)
		c.Step = st.Waiting.Step
		return []runbook.Command{c}
	}
}

// Its copies are owed anyway, and clients stand still while they are tried.
func TestAConsulThatWasSilentAtTheStartIsOfferedEachCopyOnce(t *testing.T) {
	w := lost()
	tried := map[string]int{}
	w.hook = func(method string, c Call) {
		if method == "WriteRecord" && strings.HasSuffix(c.Step, " copy") {
			w.mu.Lock()
			defer w.mu.Unlock()
			tried[c.Step]++
		}
	}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if len(tried) < 3 || slices.ContainsFunc(slices.Collect(maps.Values(tried)), func(n int) bool { return n != 1 }) {
		t.Errorf("copies offered to the lost site: %v", tried)
	}
}
