package runbooks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// saga is what pairs go through: one of them in peace, the others, called mortals, with a worker that is killed again and again.
type saga struct {
	name       string
	mortals    int        // who share the deaths
	operations [][]string // with their arguments
	// right looks at the pair that nobody was killed in: the others are compared with it.
	right func(*testing.T, saga, []picture)
}

// verb is an operation's name in deaths.
func verb(operation []string) string {
	if operation[0] == "drill" {
		return "drill " + operation[2]
	}
	return operation[0]
}

// share is what befalls a pair in an operation.
func (s saga) share(verb string, n int) []death {
	var out []death
	for i, d := range deaths[s.name+": "+verb] {
		if i%s.mortals == n {
			out = append(out, d)
		}
	}
	return out
}

// Every pair goes through failover, recovery, failback and a switchover; the worker of all but
// the first is killed again and again. Whoever looks afterwards finds the same:
// one new epoch, one fence, one append, one report, the same stop offsets.
func TestAWorkerKilledAtAnyStepChangesNothing(t *testing.T) {
	t.Parallel()
	saga{name: "home", mortals: 7, operations: [][]string{{"failover"}, {"recover", "--append", "*"}, {"failback"}, {"switchover"}}, right: atHome}.play(t)
}

// Likewise drills of each kind, and a pair that stays where it was failed over to and is protected from there.
func TestAWorkerKilledAtAnyStepOfADrillOrARestoreChangesNothing(t *testing.T) {
	t.Parallel()
	saga{name: "forward", mortals: 4, operations: [][]string{
		{"drill", "--kind", runbook.DrillCanary},
		{"drill", "--kind", runbook.DrillTabletop},
		{"drill", "--kind", runbook.DrillFull},
		{"failover"},
		{"recover", "--discard", "*"},
		{"restore"},
	}, right: ahead}.play(t)
}

func (s saga) play(t *testing.T) {
	t.Helper()
	whole := make([]picture, len(s.operations))
	pictures := make([][]picture, s.mortals)
	t.Run("pairs", func(t *testing.T) {
		t.Run("whole", func(t *testing.T) {
			t.Parallel()
			whole = s.live(t, s.name+"whole", nil)
		})
		for n := range s.mortals {
			t.Run(fmt.Sprintf("killed %d", n), func(t *testing.T) {
				t.Parallel()
				pictures[n] = s.live(t, fmt.Sprintf("%skilled%d", s.name, n), func(verb string) []death { return s.share(verb, n) })
			})
		}
	})
	if t.Failed() {
		return // who failed has told
	}
	s.right(t, s, whole)
	for n := range s.mortals {
		for _, d := range s.share("setup", n) {
			t.Logf("setup: killed -9 at %-26s %-52s ended as done; what it left is in all that follows", d.row, d.place)
		}
	}
	for i, o := range s.operations {
		all := deaths[s.name+": "+verb(o)]
		if len(all) == 0 {
			continue // it only leads on to the next
		}
		covered(t, verb(o), all, whole[i])
		var table strings.Builder
		for n, got := range pictures {
			outcome := "as without"
			if d := cmp.Diff(whole[i], got[i]); d != "" {
				outcome = "DIFFERENT"
				t.Errorf("%s with deaths at %v (-without +with)\n%s", verb(o), s.share(verb(o), n), d)
			}
			for _, d := range s.share(verb(o), n) {
				fmt.Fprintf(&table, "%-26s %-52s %s\n", d.row, strings.ReplaceAll(d.place, "\n", ", "), outcome)
			}
		}
		t.Logf("%s: killed -9 at %d places\n%s", verb(o), len(all), table.String())
	}
}

// holds is what stands in each partition of a pair's topic, at each site, and where the group is.
func (got picture) holds(t *testing.T, what string, east, west []string) {
	t.Helper()
	for part := range int32(partitions) {
		for site, records := range map[string][]string{"east": east, "west": west} {
			if !slices.Equal(got.Sites[site].Records[part], records) {
				t.Errorf("%s: %s holds %q in partition %d, want %q", what, site, got.Sites[site].Records[part], part, records)
			}
			if at := got.Sites[site].Committed[part]; at != 2 {
				t.Errorf("%s: the group stands at %d of partition %d at %s, want 2", what, at, part, site)
			}
		}
	}
}

// went insists that an operation ended well, at an epoch and a site.
func (got picture) went(t *testing.T, what string, epoch int64, active string) {
	t.Helper()
	if got.Outcome != runbook.Done || got.Epoch != epoch || !slices.Equal(got.Active, []string{active}) || len(got.Debts) > 0 || got.Error != "" {
		t.Errorf("%s: %+v", what, got)
	}
	for _, f := range got.Fences {
		if !strings.Contains(f, "proven") {
			t.Errorf("%s: fence %s", what, f)
		}
	}
}

func atHome(t *testing.T, s saga, whole []picture) {
	t.Helper()
	lagged, all := []string{"1", "2", "3", "lag1", "lag2"}, []string{"1", "2", "3", "app", "lag1", "lag2"}
	for i, want := range []struct {
		epoch      int64
		active     string
		east, west []string
	}{
		{2, "west", lagged, []string{"1", "2", "3"}},
		{2, "west", lagged, all},
		{3, "east", all, all},
		{4, "west", all, all},
	} {
		got, what := whole[i], s.operations[i][0]
		got.went(t, what, want.epoch, want.active)
		got.holds(t, what, want.east, want.west)
		if len(got.Reports) != 2*(i+2) {
			t.Errorf("%s: reports %v", what, got.Reports)
		}
	}
	if deny := whole[2].Sites["east"].Deny; len(deny) > 0 {
		t.Errorf("at home again DENY entries are left: %v", deny)
	}
}

func ahead(t *testing.T, s saga, whole []picture) {
	t.Helper()
	three, lagged, app := []string{"1", "2", "3"}, []string{"1", "2", "3", "lag1", "lag2"}, []string{"1", "2", "3", "app"}
	for i, want := range []struct {
		epoch      int64
		active     string
		east, west []string
		reports    int // JSON and Markdown each, with that of the set-up
	}{
		{1, "east", three, three, 4},
		{1, "east", three, three, 6},
		{3, "east", three, three, 12}, // one of each move, too
		{4, "west", lagged, three, 14},
		{4, "west", lagged, app, 16},
		{4, "west", app, app, 18},
	} {
		got, what := whole[i], verb(s.operations[i])
		got.went(t, what, want.epoch, want.active)
		got.holds(t, what, want.east, want.west)
		if len(got.Reports) != want.reports {
			t.Errorf("%s: reports %v", what, got.Reports)
		}
	}
	for _, i := range []int{1, 2} { // what drills leave of the pair is what there was
		for site, at := range whole[i].Sites {
			if d := cmp.Diff(whole[0].Sites[site].Deny, at.Deny); d != "" {
				t.Errorf("%s left DENY entries at %s:\n%s", verb(s.operations[i]), site, d)
			}
		}
	}
}

// covered insists that every row has its death: a new step needs a new line
// in deaths. Of the failback it is the planned move.
func covered(t *testing.T, verb string, all []death, p picture) {
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
		if !slices.ContainsFunc(all, func(d death) bool { return d.row == name }) {
			t.Errorf("%s: nobody is killed at step %q", verb, name)
		}
	}
}

// live takes a pair through all operations and returns what each left.
func (s saga) live(t *testing.T, name string, befalls func(verb string) []death) []picture {
	t.Helper()
	p := newPair(t, shared, name, unwatched, harness.FaultsTag)
	p.keepWorker()
	places := func(verb string) (out []string) {
		if befalls != nil {
			for _, d := range befalls(verb) {
				out = append(out, strings.Split(d.place, "\n")...)
			}
		}
		return out
	}
	p.must(p.KillWorkerAt(places("setup")...))
	setup := p.outcome(runbook.Done, "setup")
	p.died(places("setup"), p.killed())
	if all := deaths[s.name+": setup"]; befalls == nil && len(all) > 0 {
		var steps []string
		for _, l := range setup.Report.Steps {
			steps = append(steps, l.Name+": "+l.State)
		}
		p.anonymous(steps)
		covered(t, "setup", all, picture{Steps: steps})
	}
	p.fill()
	var out []picture
	for _, o := range s.operations {
		if o[0] == "failover" {
			p.lag("lag1", "lag2")
		}
		places := places(verb(o))
		p.must(p.KillWorkerAt(places...))
		before := p.killed()
		got := p.outcome(runbook.Done, o[0], o[1:]...)
		p.must(local.WaitFor(p.within(time.Minute), "the group's offsets", p.groupStands))
		out = append(out, p.picture(got))
		p.died(places, p.killed()[len(before):])
		if o[0] == "failover" {
			p.ReleasePair()
			p.produce(p.Standby, "app")
		}
	}
	return out
}

// groupStands: what holds wants is there at both sites. A mirror that was made anew has the group at what it holds, until the
// next round of the offset sync.
func (p *pair) groupStands(context.Context) error {
	for _, s := range []*harness.Site{p.Home, p.Standby} {
		for part, at := range p.committed(s) {
			if at != 2 {
				return fmt.Errorf("the group stands at %d of partition %d at %s", at, part, s.Name)
			}
		}
	}
	return nil
}

// unwatched: nobody else looks at such a pair, and dies in its operations' stead.
func unwatched(pl *plan.Plan) { pl.Readiness.EverySeconds, pl.Debts.EverySeconds = 24*3600, -1 }

// keepWorker starts the pair's worker again whenever it is killed.
func (p *pair) keepWorker() {
	p.Helper()
	ctx, stop := context.WithCancel(p.Context())
	var keeper sync.WaitGroup
	restarts := 0
	var kerr error
	keeper.Go(func() { restarts, kerr = p.KeepWorker(ctx) })
	p.Cleanup(func() {
		stop()
		keeper.Wait()
		if kerr != nil {
			p.Error(kerr)
		}
		p.Logf("pair %s: the worker was started again %d times", p.Pair(), restarts)
	})
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
