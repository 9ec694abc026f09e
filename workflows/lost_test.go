package workflows

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// leftBy is a world that a run has left as it stood when it was terminated: with its locks, and its tokens on links.
func leftBy(w *world, id string, epoch int64, links ...string) *world {
	op, _, _ := strings.Cut(id, "-")
	for _, l := range links {
		w.leftToken(l, id, epoch)
	}
	by := runbook.By{OpID: id, Operation: op, Person: "ann", Now: time.Unix(2000, 0)}
	for site, r := range w.consul {
		locked := runbook.Locked(*r, record.Open, by)
		w.consul[site] = &locked
	}
	return w
}

// A run that is terminated while its token is open leaves a link that takes calls of nobody else. Who breaks its lock takes
// the token too, and any operation may follow it.
func TestWhoBreaksALockTakesTheTokensOfItsOperation(t *testing.T) {
	for name, c := range map[string]struct {
		world    *world
		workflow any
		input    func(Start) any
		op, want string
	}{
		"recover, of a recovery that was deciding": {leftBy(failedOver(), runbook.OpRecover+"-gone", 2, "there"), RecoverLaggedData, func(s Start) any { return RecoverInput{Start: s} }, runbook.OpRecover, runbook.Done},
		"debts only, of the same":                  {leftBy(failedOver(debts()[0]), runbook.OpRecover+"-gone", 2, "there"), RecoverLaggedData, func(s Start) any { return RecoverInput{Start: s, DebtsOnly: true} }, runbook.OpRecover, runbook.Done},
		"restore, of a recovery":                   {leftBy(decided(), runbook.OpRecover+"-gone", 2, "there"), RestoreDR, func(s Start) any { return RestoreInput{Start: s} }, runbook.OpRestore, runbook.Done},
		"recover, of a failover behind its flip":   {leftBy(failedOver(), runbook.OpFailover+"-gone", 2, "there"), RecoverLaggedData, func(s Start) any { return RecoverInput{Start: s} }, runbook.OpRecover, runbook.Done},
		"restore, of a restore":                    {leftBy(decided(), runbook.OpRestore+"-gone", 2, "there", "back"), RestoreDR, func(s Start) any { return RestoreInput{Start: s} }, runbook.OpRestore, runbook.Done},
		"failback, of a failback":                  {leftBy(decided(), runbook.OpFailback+"-gone", 3, "there", "back"), Failback, func(s Start) any { return FailbackInput{Start: s} }, runbook.OpFailback, runbook.Done},
		"restore, of a switchover behind its flip": {leftBy(decided(), runbook.OpSwitchover+"-gone", 2, "there", "back"), RestoreDR, func(s Start) any { return RestoreInput{Start: s} }, runbook.OpRestore, runbook.Done},
		"set-up, of a set-up":                      {leftBy(steady(), runbook.OpSetUp+"-gone", 1, "there"), SetUp, func(s Start) any { return SetUpInput{Start: s} }, runbook.OpSetUp, runbook.Done},
		"switchover, of one behind its pivot":      {leftBy(calm(), runbook.OpSwitchover+"-gone", 2, "there", "back"), Switchover, func(s Start) any { return SwitchoverInput{Start: s} }, runbook.OpSwitchover, runbook.Done},
		"failover, of one before its flip":         {leftBy(lost(), runbook.OpFailover+"-gone", 2, "there"), Failover, func(s Start) any { return FailoverInput{Start: s} }, runbook.OpFailover, runbook.Partly},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world
			s := newStage(t, w)
			s.react = s.follow(runbook.ChooseAppend)
			s.run(c.workflow, c.input(request(c.op, runbook.OverrideLock)))
			s.outcome(c.want)
			s.clean()
			if n := w.count("RevokeOperation"); n == 0 || !w.before("RevokeOperation", "EngineLock") || !w.before("RevokeOperation", "WriteRecord") {
				t.Errorf("revoked %d times: %v", n, w.calls)
			}
			for link := range w.holders {
				for lost := range w.revoked {
					if strings.HasPrefix(lost, link+" ") && strings.HasSuffix(lost, "-gone") && !w.revoked[lost+".2"] {
						t.Errorf("of %s the name that it goes on under once it is revoked is not shut out", lost)
					}
				}
			}
		})
	}
}

// What the engine of a dead site keeps is left to who breaks the lock there: a failover asks that engine nothing.
func TestAFailoverTakesTokensAtTheSurvivorOnly(t *testing.T) {
	w := leftBy(lost(), runbook.OpSwitchover+"-gone", 2, "there", "back")
	w.topics[away] = slices.Clone(w.topics[home])
	w.same = map[string]bool{"a": true, "b": true, canary(): true}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover, runbook.OverrideLock)})
	s.outcome(runbook.Partly)
	if w.count("RevokeOperation") != 1 || !w.revoked["there switchover-gone"] || w.tokens["back"] != "open" {
		t.Errorf("revoked %v, tokens %v", w.revoked, w.tokens)
	}
	// The lock there stands, and is how the next operation finds the token.
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.down[home+" "+part] = false
	}
	w.tale(t, RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover, runbook.OverrideLock)}, runbook.ChooseAppend)
	w.tale(t, RestoreDR, RestoreInput{Start: request(runbook.OpRestore, runbook.OverrideLock)}, "")
	if w.tokens["back"] == "open" || len(w.locks) > 0 {
		t.Errorf("tokens %v, locks %v", w.tokens, w.locks)
	}
}

// follow approves and decides; a run that waits for anything else is aborted, and the test fails.
func (s *stage) follow(choice string) func(Status) []runbook.Command {
	return func(st Status) []runbook.Command {
		q := st.Waiting
		switch {
		case q != nil && q.For == WaitDecide:
			d := signed(st, "bob", runbook.Decide)
			d.Choices = map[string]string{"*": choice}
			return []runbook.Command{d}
		case q != nil && q.For == WaitPerson:
			s.t.Errorf("it waits for a person: %s", q.Text)
			if !slices.Contains(q.Commands, runbook.Abort) {
				s.t.FailNow()
			}
			return []runbook.Command{signed(st, "ann", runbook.Abort)}
		}
		return agree(st)
	}
}

// tale runs an operation to its good end.
func (w *world) tale(t *testing.T, workflow, input any, choice string) {
	t.Helper()
	s := newStage(t, w)
	s.react = s.follow(choice)
	s.run(workflow, input)
	s.outcome(runbook.Done)
}

// A failover's own token is of a higher epoch, and needs nobody's leave: the clock runs.
func TestAFailoverGoesOnThoughALostTokenCannotBeRevoked(t *testing.T) {
	w := leftBy(lost(), runbook.OpSwitchover+"-gone", 2, "there")
	w.fail["RevokeOperation"] = []error{no(ErrRefused, "mirrors are still PENDING_STOPPED")}
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover, runbook.OverrideLock)})
	s.outcome(runbook.Partly)
	if !slices.ContainsFunc(s.res.Report.Findings, func(f string) bool {
		return strings.Contains(f, "switchover-gone") && strings.Contains(f, "PENDING_STOPPED")
	}) {
		t.Errorf("nobody is told: %q", s.res.Report.Findings)
	}
}

// Elsewhere the run ends, and leaves the lock of the lost one in the record: how the next one knows whom to take tokens from.
func TestARunThatCannotRevokeLeavesTheLockThatNamesTheLostOne(t *testing.T) {
	w := leftBy(failedOver(), runbook.OpRecover+"-gone", 2, "there")
	w.fail["RevokeOperation"] = []error{no(ErrRefused, "not now")}
	s := newStage(t, w)
	s.react = agree
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover, runbook.OverrideLock)})
	s.failed(ErrRefused)
	if l := w.consul[away].Lock; l == nil || l.OpID != "recover-gone" {
		t.Fatalf("the record's lock is %+v", l)
	}
	w.tale(t, RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover, runbook.OverrideLock)}, runbook.ChooseAppend)
}

// A lock that stands with an engine only is the only thing that names the lost operation: it outlives a run that cannot take the
// token there.
func TestALockThatAloneNamesTheLostOneStandsUntilItsTokensAreTaken(t *testing.T) {
	w := leftBy(decided(), runbook.OpRestore, 2, "back")
	for site, r := range w.consul {
		open := *r
		open.Lock = nil
		w.consul[site] = &open
	}
	w.fail["RevokeOperation"] = []error{no(ErrRefused, "not now")}
	s := newStage(t, w)
	s.react = agree
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore, runbook.OverrideLock)})
	s.failed(ErrRefused)
	if w.locks[home] != runbook.OpRestore {
		t.Fatalf("the engines' locks are %v", w.locks)
	}
	w.tale(t, RestoreDR, RestoreInput{Start: request(runbook.OpRestore, runbook.OverrideLock)}, "")
	if w.tokens["back"] == "open" || len(w.locks) > 0 {
		t.Errorf("tokens %v, locks %v", w.tokens, w.locks)
	}
}

// Site by site: at none is a lock broken before the tokens of its operation are taken there.
func TestTokensAreTakenRightBeforeTheLockOfTheirSiteIsBroken(t *testing.T) {
	w := leftBy(decided(), runbook.OpRestore+"-gone", 2, "there", "back")
	s := newStage(t, w)
	s.react = s.follow("")
	s.run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore, runbook.OverrideLock)})
	s.outcome(runbook.Done)
	var got []string
	for i, call := range w.calls {
		if call == "RevokeOperation" || call == "EngineLock" {
			got = append(got, w.steps[i].Step)
		}
	}
	want := []string{"revoke restore-gone on back", "lock engine east", "revoke restore-gone on there", "lock engine west"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Where no lock is broken nothing is revoked, and nobody counts beside another's token.
func TestWithoutABrokenLockNothingIsRevoked(t *testing.T) {
	for _, of := range operationTales() {
		if of.op == runbook.OpUnfence || of.name == "recover, of a lost recovery" {
			continue
		}
		w := walk(t, of, place{}, fault{}, nil)
		if n := w.w.count("RevokeOperation"); n > 0 {
			t.Errorf("%s revokes %d times", of.name, n)
		}
	}
	w := leftBy(decided(), runbook.OpRecover+"-gone", 2, "there")
	newStage(t, w).run(RestoreDR, RestoreInput{Start: request(runbook.OpRestore)}).untouched(ErrPairBusy, "recover-gone", runbook.OverrideLock)
}

// The lock of a lost unfence names none of those whose fence is to be lifted, so that the same again is refused. At home a set-up
// frees the pair, though it comes to no end while the fence stands, and away from home a restore; then an unfence goes on.
func TestTheLockOfALostUnfenceIsBrokenByAnotherOperation(t *testing.T) {
	const left = runbook.OpUnfence + "-gone"
	abandoned := func(w *world, at string) *world {
		w.fences[at][gone] = true
		w.locks[home], w.locks[away] = left, left
		return leftBy(w, left, 1)
	}
	turned := decided() // home is the standby again, and follows
	turned.mirrors["back"] = map[string]string{"a": "ACTIVE", "b": "ACTIVE", canary(): "ACTIVE"}
	for name, c := range map[string]struct {
		w        *world
		at       string
		workflow any
		input    any
	}{
		"at home":        {abandoned(steady(), home), home, SetUp, SetUpInput{Start: request(runbook.OpSetUp, runbook.OverrideLock)}},
		"away from home": {abandoned(turned, away), away, RestoreDR, RestoreInput{Start: request(runbook.OpRestore, runbook.OverrideLock)}},
	} {
		t.Run(name, func(t *testing.T) {
			in := unfencingAt([]string{gone}, []string{c.at}, runbook.OverrideLock)
			newStage(t, c.w).run(Unfence, in).untouched(ErrPairBusy, left)
			s := newStage(t, c.w)
			s.react = agree
			s.run(c.workflow, c.input)
			s.clean()
			if !c.w.fences[c.at][gone] {
				t.Fatalf("the fence at %s is gone already: %v", c.at, c.w.fences)
			}
			s = newStage(t, c.w)
			s.react = agree
			s.run(Unfence, in)
			s.outcome(runbook.Done)
			s.clean()
			if c.w.fences[c.at][gone] {
				t.Errorf("the fence at %s stands: %v", c.at, c.w.fences)
			}
		})
	}
}
