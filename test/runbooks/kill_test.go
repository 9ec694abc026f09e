package runbooks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// death is a place where the worker is killed -9: behind the activity, when it
// has acted and Temporal has not been told, while the row of the status table
// says "running".
type death struct{ row, place string }

// deaths by operation. Those of one row stand together; round they go over the
// pairs, so that a run has several deaths far apart.
var deaths = map[string][]death{
	"setup": {
		{"load plan", "after LoadPlan load plan"},
		{"read record", "after ReadRecord read record"},
		{"verify request", "after VerifySignature verify request"},
		{"check privileges", "after CheckPrivileges check privileges"},
		{"list topics east", "after ListDRTopics list topics east"},
		{"lock engine west", "after EngineLock lock engine west"},
		{"lock engine east", "after EngineLock lock engine east"},
		{"lock record", "after WriteRecord lock record"},
		{"lock record", "after WriteRecord lock record copy"},
		{"canary topic", "after EnsureCanaryTopic canary topic"},
		{"link LINK", "after EnsureLink link *"},
		{"begin operation on LINK", "after BeginOperation begin operation on *"},
		{"mirrors on LINK", "after EnsureMirrors mirrors on *"},
		{"catch up", "after AwaitMirrors catch up"},
		{"prove writable east", "after ProveWritable prove writable east"},
		{"canary record east", "after ProduceConsumeCanary canary record east"},
		{"record of truth", "before WatchReadiness watch readiness"},
		{"watch readiness", "after WatchReadiness watch readiness"},
		{"end operation on LINK", "after EndOperation end operation on *"},
		{"unlock record", "after WriteRecord unlock record"},
		{"unlock record", "after WriteRecord unlock record copy"},
		{"unlock engine west", "after EngineUnlock unlock engine west"},
		{"unlock engine east", "after EngineUnlock unlock engine east"},
		{"report", "after SaveReport save report"},
	},
	"failover": {
		{"load plan", "after LoadPlan load plan"},
		{"read record", "after ReadRecord read record"},
		{"verify request", "after VerifySignature verify request"},
		{"attest outage", "after AttestOutage attest outage"},
		{"forecast", "after MeasureRisk forecast"},
		{"approve", "after VerifySignature verify approve"},
		{"stop offsets", "after MeasureRisk stop offsets"},
		{"lock engine west", "after EngineLock lock engine west"},
		{"lock record", "after WriteRecord lock record"},
		{"lock record", "after WriteRecord lock record copy"},
		{"begin operation on LINK", "after BeginOperation begin operation on *"},
		{"fence east", "after ProveWritable canary before fence *"},
		{"fence east", "after FenceSite fence east"},
		{"fence east", "after FenceGroups fence groups east"},
		{"fence east", "after ProveFence prove fence east"},
		{"grow mirrors", "after GrowMirrors grow mirrors"},
		{"nobody holds the pair?", "after ReadHold read hold"},
		{"fail over wave 1", "after FailoverMirrors fail over wave 1"},
		{"fail over wave 1", "after AwaitStopped fail over wave 1 stopped"},
		{"prove writable west", "after ProveWritable prove writable west"},
		{"canary record west", "after ProduceConsumeCanary canary record west"},
		{"flip", "after WriteRecord flip"},
		{"flip", "after WriteRecord flip copy"},
		{"move clients", "after AwaitClientsMoved move clients"},
		{"end operation on LINK", "after EndOperation end operation on *"},
		{"unlock record", "after WriteRecord unlock record"},
		{"unlock record", "after WriteRecord unlock record copy"},
		{"unlock engine west", "after EngineUnlock unlock engine west"},
		{"report", "after SaveReport save report"},
	},
	"recover": {
		{"hold retention", "after HoldRetention hold retention"},
		{"compute ledger", "after ComputeLedger compute ledger"},
		{"append TOPIC", "after AppendLedger append *"},
		{"append TOPIC", "before AppendLedger append *"},
		{"put back retention", "after PutBackRetention put back retention"},
		{"report", "after AmendReport amend report"},
	},
	"failback": {
		{"freeze", "after WriteRecord freeze"},
		{"freeze", "after WriteRecord freeze copy"},
		{"fence west", "after ProveWritable canary before fence west"},
		{"fence west", "after FenceSite fence west"},
		{"fence west", "after ProveFence prove fence west"},
		{"end transactions", "after EndTransactions end transactions"},
		{"stop groups", "after AwaitGroupsEmpty stop groups"},
		{"stop groups", "after FenceGroups fence groups west"},
		{"drain", "after AwaitDrained drain"},
		{"sync groups", "after SyncGroups sync groups"},
		{"nobody holds the pair?", "after ReadHold read hold"},
		{"promote", "after PromoteMirrors promote"},
		{"promote", "after AwaitStopped promote stopped"},
		{"own groups", "after OwnGroups own groups"},
		{"lift group fence east", "after LiftGroupFence lift group fence east"},
		{"prove writable east", "after ProveWritable prove writable east"},
		{"canary record east", "after ProduceConsumeCanary canary record east"},
		{"flip", "after WriteRecord flip"},
		{"flip", "after WriteRecord flip copy"},
		{"move clients", "after AwaitClientsMoved move clients"},
		{"compare log ends", "after CompareLogEnds compare log ends"},
		{"rejoin", "after Rejoin rejoin"},
		{"hand over fence west", "after HandOverFence hand over fence west"},
		{"lift group fence west", "after LiftGroupFence lift group fence west"},
		{"mirrors follow", "after AwaitMirrors mirrors follow"},
		{"end operation on LINK", "after EndOperation end operation on *-east-to-west"},
		{"end operation on BACK", "after EndOperation end operation on *-west-to-east"},
		{"unlock record", "after WriteRecord unlock record"},
		{"unlock record", "after WriteRecord unlock record copy"},
		{"unlock engine east", "after EngineUnlock unlock engine east"},
		{"unlock engine west", "after EngineUnlock unlock engine west"},
		{"report", "after SaveReport save report"},
		// The half before, where topics are deleted.
		{"compare sites", "after SurveyTopics compare sites"},
		{"delete old topics", "after DeleteTopics delete old topics"},
		{"rejoin unchanged", "after Rejoin rejoin unchanged"},
		{"own rejoined groups", "after OwnGroups own rejoined groups"},
		{"mirrors on BACK", "after EnsureMirrors mirrors on *"},
		{"hand over fence east", "after HandOverFence hand over fence east"},
	},
	"switchover": {
		{"load plan", "after LoadPlan load plan"},
		{"read record", "after ReadRecord read record"},
		{"verify request", "after VerifySignature verify request"},
		{"list topics east", "after ListDRTopics list topics east"},
		{"may it be moved?", "after ComputeLedger ledger decided"},
		{"may it be moved?", "after MeasureRisk measure mirrors"},
		{"may it be moved?", "after CompareTopics compare topics"},
		{"wait for lag", "after AwaitMirrors wait for lag"},
		{"forecast", "after OpenTransactions list transactions"},
		{"approve", "after VerifySignature verify approve"},
		{"lock engine west", "after EngineLock lock engine west"},
		{"lock engine east", "after EngineLock lock engine east"},
		{"lock record", "after WriteRecord lock record"},
		{"lock record", "after WriteRecord lock record copy"},
		{"link BACK", "after EnsureLink link *"},
		{"begin operation on LINK", "after BeginOperation begin operation on *-east-to-west"},
		{"catch up", "after AwaitMirrors catch up"},
		{"freeze", "after WriteRecord freeze"},
		{"freeze", "after WriteRecord freeze copy"},
		{"fence east", "after ProveWritable canary before fence east"},
		{"fence east", "after FenceSite fence east"},
		{"fence east", "after ProveFence prove fence east"},
		{"end transactions", "after EndTransactions end transactions"},
		{"stop groups", "after AwaitGroupsEmpty stop groups"},
		{"stop groups", "after FenceGroups fence groups east"},
		{"drain", "after AwaitDrained drain"},
		{"sync groups", "after SyncGroups sync groups"},
		{"nobody holds the pair?", "after ReadHold read hold"},
		{"promote", "after PromoteMirrors promote"},
		{"promote", "after AwaitStopped promote stopped"},
		{"lift group fence west", "after LiftGroupFence lift group fence west"},
		{"prove writable west", "after ProveWritable prove writable west"},
		{"canary record west", "after ProduceConsumeCanary canary record west"},
		{"flip", "after WriteRecord flip"},
		{"flip", "after WriteRecord flip copy"},
		{"move clients", "after AwaitClientsMoved move clients"},
		{"begin operation on BACK", "after BeginOperation begin operation on *-west-to-east"},
		{"compare log ends", "after CompareLogEnds compare log ends"},
		{"rejoin", "after Rejoin rejoin"},
		{"own groups", "after OwnGroups own groups"},
		{"hand over fence east", "after HandOverFence hand over fence east"},
		{"lift group fence east", "after LiftGroupFence lift group fence east"},
		{"mirrors follow", "after AwaitMirrors mirrors follow"},
		{"end operation on LINK", "after EndOperation end operation on *-east-to-west"},
		{"end operation on BACK", "after EndOperation end operation on *-west-to-east"},
		{"unlock record", "after WriteRecord unlock record"},
		{"unlock record", "after WriteRecord unlock record copy"},
		{"unlock engine west", "after EngineUnlock unlock engine west"},
		{"unlock engine east", "after EngineUnlock unlock engine east"},
		{"report", "after SaveReport save report"},
	},
}

// operations of a whole cycle, with their arguments.
var operations = [][]string{{"failover"}, {"recover", "--append", "*"}, {"failback"}, {"switchover"}}

// mortals is how many pairs share the deaths.
const mortals = 7

// share is what befalls a pair in an operation.
func share(verb string, n int) []death {
	var out []death
	for i, d := range deaths[verb] {
		if i%mortals == n {
			out = append(out, d)
		}
	}
	return out
}

// Every pair goes through failover, recovery, failback and a switchover; the worker of all but
// the first is killed again and again. Whoever looks afterwards finds the same:
// one new epoch, one fence, one append, one report, the same stop offsets.
func TestAWorkerKilledAtAnyStepChangesNothing(t *testing.T) {
	whole := make([]picture, len(operations))
	pictures := make([][]picture, mortals)
	t.Run("pairs", func(t *testing.T) {
		t.Run("whole", func(t *testing.T) {
			t.Parallel()
			whole = cycle(t, "whole", nil)
		})
		for n := range mortals {
			t.Run(fmt.Sprintf("killed %d", n), func(t *testing.T) {
				t.Parallel()
				pictures[n] = cycle(t, fmt.Sprintf("killed%d", n), func(verb string) []death { return share(verb, n) })
			})
		}
	})
	if t.Failed() {
		return // who failed has told
	}
	right(t, whole)
	for n := range mortals {
		for _, d := range share("setup", n) {
			t.Logf("setup: killed -9 at %-26s %-52s ended as done; what it left is in all that follows", d.row, d.place)
		}
	}
	for i, o := range operations {
		covered(t, o[0], whole[i])
		var table strings.Builder
		for n, got := range pictures {
			outcome := "as without"
			if d := cmp.Diff(whole[i], got[i]); d != "" {
				outcome = "DIFFERENT"
				t.Errorf("%s with deaths at %v (-without +with)\n%s", o[0], share(o[0], n), d)
			}
			for _, d := range share(o[0], n) {
				fmt.Fprintf(&table, "%-26s %-52s %s\n", d.row, d.place, outcome)
			}
		}
		t.Logf("%s: killed -9 at\n%s", o[0], table.String())
	}
}

// right looks at the pair that nobody was killed in: the others are compared
// with it.
func right(t *testing.T, whole []picture) {
	t.Helper()
	for i, want := range []struct {
		epoch  int64
		active string
		east   []string
		west   []string
	}{
		{2, "west", []string{"1", "2", "3", "lag1", "lag2"}, []string{"1", "2", "3"}},
		{2, "west", []string{"1", "2", "3", "lag1", "lag2"}, []string{"1", "2", "3", "app", "lag1", "lag2"}},
		{3, "east", []string{"1", "2", "3", "app", "lag1", "lag2"}, []string{"1", "2", "3", "app", "lag1", "lag2"}},
		{4, "west", []string{"1", "2", "3", "app", "lag1", "lag2"}, []string{"1", "2", "3", "app", "lag1", "lag2"}},
	} {
		got := whole[i]
		if got.Outcome != runbook.Done || got.Epoch != want.epoch || !slices.Equal(got.Active, []string{want.active}) || len(got.Debts) > 0 || got.Error != "" {
			t.Errorf("%s: %+v", operations[i][0], got)
		}
		for _, f := range got.Fences {
			if !strings.Contains(f, "proven") {
				t.Errorf("%s: fence %s", operations[i][0], f)
			}
		}
		for part := range int32(partitions) {
			for site, records := range map[string][]string{"east": want.east, "west": want.west} {
				if !slices.Equal(got.Sites[site].Records[part], records) {
					t.Errorf("%s: %s holds %q in partition %d, want %q", operations[i][0], site, got.Sites[site].Records[part], part, records)
				}
				if at := got.Sites[site].Committed[part]; at != 2 {
					t.Errorf("%s: the group stands at %d of partition %d at %s, want 2", operations[i][0], at, part, site)
				}
			}
		}
		if len(got.Reports) != 2*(i+2) {
			t.Errorf("%s: reports %v", operations[i][0], got.Reports)
		}
	}
	if deny := whole[2].Sites["east"].Deny; len(deny) > 0 {
		t.Errorf("at home again DENY entries are left: %v", deny)
	}
}

// covered insists that every row has its death: a new step needs a new line
// above. Of the failback it is the planned move.
func covered(t *testing.T, verb string, p picture) {
	t.Helper()
	if verb == "recover" {
		return
	}
	rows := p.Steps
	if verb == "failback" {
		rows = rows[slices.Index(rows, "freeze: done"):]
	}
	for _, r := range rows {
		name := strings.TrimSuffix(r, ": done")
		name = strings.NewReplacer("PAIR-east-to-west", "LINK", "PAIR-west-to-east", "BACK").Replace(name)
		if !slices.ContainsFunc(deaths[verb], func(d death) bool { return d.row == name }) {
			t.Errorf("%s: nobody is killed at step %q", verb, name)
		}
	}
}

// cycle takes a pair through all operations and returns what each left.
func cycle(t *testing.T, name string, befalls func(verb string) []death) []picture {
	p := newPair(t, shared, name, nil, harness.FaultsTag)
	ctx, stop := context.WithCancel(t.Context())
	var keeper sync.WaitGroup
	restarts := 0
	var kerr error
	keeper.Go(func() { restarts, kerr = p.KeepWorker(ctx) })
	t.Cleanup(func() {
		stop()
		keeper.Wait()
		if kerr != nil {
			t.Error(kerr)
		}
		t.Logf("pair %s: the worker was started again %d times", name, restarts)
	})
	places := func(verb string) (out []string) {
		if befalls != nil {
			for _, d := range befalls(verb) {
				out = append(out, d.place)
			}
		}
		return out
	}
	p.must(p.KillWorkerAt(places("setup")...))
	setup := p.outcome(runbook.Done, "setup")
	p.died(places("setup"), p.killed())
	if befalls == nil {
		var steps []string
		for _, l := range setup.Report.Steps {
			steps = append(steps, l.Name+": "+l.State)
		}
		p.anonymous(steps)
		covered(t, "setup", picture{Steps: steps})
	}
	p.fill()
	p.lag("lag1", "lag2")
	var out []picture
	for i, o := range operations {
		places := places(o[0])
		p.must(p.KillWorkerAt(places...))
		before := p.killed()
		out = append(out, p.picture(p.outcome(runbook.Done, o[0], o[1:]...)))
		p.died(places, p.killed()[len(before):])
		if i == 0 {
			p.ReleasePair()
			p.produce(p.Standby, "app")
		}
	}
	return out
}

// killed are the places where the worker died so far.
func (p *pair) killed() []string {
	p.Helper()
	lines, err := p.WorkerJournal()
	p.must(err)
	var out []string
	for _, l := range lines {
		if place, ok := strings.CutPrefix(l, "killed\t"); ok {
			out = append(out, place)
		}
	}
	return out
}

// died insists that the worker died once at each place.
func (p *pair) died(places, killed []string) {
	p.Helper()
	if len(killed) != len(places) {
		p.Fatalf("the worker was to die at %q and died at %q", places, killed)
	}
}
