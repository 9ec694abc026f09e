package runbook_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

var by = runbook.By{OpID: "failover-2", Operation: "failover", Person: "ann", Now: time.Unix(5000, 0).UTC()}

func plan() runbook.Plan {
	site := func(n string) runbook.Site {
		return runbook.Site{Name: n, Kafka: runbook.Kafka{Bootstrap: []string{n + ":1"}}, SecurityRef: n}
	}
	return runbook.Plan{
		Pair: "orders", Mode: "active-passive", Home: "east", Sites: []runbook.Site{site("east"), site("west")},
		Approvals: map[string]runbook.Approval{"failover": {Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 60}},
		Limits:    runbook.Limits{WaveTopics: 2, ClientsSeconds: 5},
	}
}

func fresh() record.Record {
	return runbook.Fresh(plan(), 0, runbook.By{OpID: "setup-1", Operation: "setup", Person: "ann", Now: time.Unix(1000, 0)})
}

func TestNeededCountsUnsignedAndOverrides(t *testing.T) {
	for _, c := range []struct {
		count     int
		requester string
		overrides []string
		want      int
	}{
		{1, "ann", nil, 1},
		{0, "ann", nil, 0},
		{0, "ann", []string{"x"}, 1},
		{0, runbook.Unsigned, nil, 1},
		{1, runbook.Unsigned, nil, 2},
		{2, runbook.Unsigned, []string{"x"}, 3},
	} {
		if got := runbook.Needed(runbook.Approval{Count: c.count}, c.requester, c.overrides); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestApprovalCountsOnlyWithRoleOtherPersonAndEveryOverride(t *testing.T) {
	rule := runbook.Approval{Count: 2, Roles: []string{"approver"}}
	self := rule
	self.SelfApproval = true
	need := []string{"a", "b"}
	given := []runbook.Signed{{By: "eve", Decision: runbook.Approve, Overrides: need}}
	for name, c := range map[string]struct {
		by        string
		roles     []string
		rule      runbook.Approval
		overrides []string
		ok        bool
	}{
		"good":               {"bob", []string{"x", "approver"}, rule, []string{"b", "a", "c"}, true},
		"one override less":  {"bob", []string{"approver"}, rule, []string{"a"}, false},
		"no role":            {"bob", []string{"operator"}, rule, need, false},
		"requester":          {"ann", []string{"approver"}, rule, need, false},
		"requester, allowed": {"ann", []string{"approver"}, self, need, true},
		"twice":              {"eve", []string{"approver"}, rule, need, false},
		"unsigned":           {runbook.Unsigned, []string{"approver"}, self, need, false},
		"nobody":             {"", []string{"approver"}, self, need, false},
	} {
		r := runbook.MayApprove(runbook.Command{By: c.by, Overrides: c.overrides, Reason: "r"}, c.roles, c.rule, "ann", need, given)
		if (r == nil) != c.ok {
			t.Errorf("%s: %v", name, r)
		}
	}
	if n := runbook.Count(append(given, runbook.Signed{By: "bob", Decision: runbook.Approve, Overrides: []string{"a"}}, runbook.Signed{By: "kim", Decision: runbook.Retry, Overrides: need}), need); n != 1 {
		t.Errorf("%d approvals count, want 1", n)
	}
}

// Two commands are the same if and only if what is signed of them is.
func TestTheContentOfACommandIsAllThatIsSignedAndNoMore(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	good := runbook.Command{OpID: "o", Pair: "p", Operation: "f", Epoch: 2, PlanHash: "h", Decision: "d", By: "b", Reason: "r", Question: "1 a", Step: "s", Expires: at, Signature: "x"}
	for i, same := range []func(*runbook.Command){
		func(c *runbook.Command) { c.Signature = "x\n" },
		func(c *runbook.Command) { c.Expires = at.In(time.FixedZone("z", 3600)) },
		func(c *runbook.Command) { c.Overrides, c.Choices = []string{}, map[string]string{} },
	} {
		c := good
		if same(&c); c.Content() != good.Content() {
			t.Errorf("same %d: %s", i, c.Content())
		}
	}
	seen := map[string]bool{good.Content(): true}
	v := reflect.ValueOf(&good).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Name == "Signature" {
			continue
		}
		c := good
		switch f := reflect.ValueOf(&c).Elem().Field(i); f.Interface().(type) {
		case string:
			f.SetString(f.String() + "2")
		case int64:
			f.SetInt(9)
		case []string:
			f.Set(reflect.ValueOf([]string{"a b"}))
		case map[string]string:
			f.Set(reflect.ValueOf(map[string]string{"a": "b"}))
		case time.Time:
			f.Set(reflect.ValueOf(at.Add(1)))
		default:
			t.Fatalf("%s has a type that this test does not know", v.Type().Field(i).Name)
		}
		if seen[c.Content()] {
			t.Errorf("%s is no part of it", v.Type().Field(i).Name)
		}
		seen[c.Content()] = true
	}
}

func TestCommandsOfOtherRunsAndTimesDoNotFit(t *testing.T) {
	now := time.Unix(100, 0)
	good := runbook.Command{OpID: "o", Pair: "p", Operation: "f", Epoch: 2, PlanHash: "h", Question: "1 a", Decision: "approve", Expires: now.Add(time.Minute)}
	b := runbook.Bound{OpID: "o", Pair: "p", Operation: "f", Epoch: 2, PlanHash: "h", Question: "1 a"}
	if r := runbook.Fits(good, b, now, now.Add(time.Second)); r != nil {
		t.Fatal(r)
	}
	for code, edits := range map[string][]func(*runbook.Command){
		runbook.RefuseStale: {
			func(c *runbook.Command) { c.OpID = "x" }, func(c *runbook.Command) { c.Pair = "x" }, func(c *runbook.Command) { c.Operation = "x" },
			func(c *runbook.Command) { c.Epoch = 1 }, func(c *runbook.Command) { c.Epoch = 3 }, func(c *runbook.Command) { c.PlanHash = "" },
			func(c *runbook.Command) { c.Question = "" }, func(c *runbook.Command) { c.Question = "2 a" },
		},
		runbook.RefuseLate: {func(c *runbook.Command) { c.Expires = now }, func(c *runbook.Command) { c.Expires = time.Time{} }},
	} {
		for i, edit := range edits {
			c := good
			edit(&c)
			if r := runbook.Fits(c, b, now, time.Time{}); r == nil || r.Code != code {
				t.Errorf("%s %d: %v", code, i, r)
			}
		}
	}
	if r := runbook.Fits(good, b, now, now.Add(-time.Second)); r == nil || r.Code != runbook.RefuseLate {
		t.Errorf("behind the deadline: %v", r)
	}
}

func TestForecastAddsBlindTimeAndBoundsRedelivery(t *testing.T) {
	at := time.Unix(1000, 0)
	r := runbook.Risk{
		Now: at, LastContact: at.Add(-2500 * time.Millisecond),
		Partitions: []runbook.PartitionRisk{
			{Topic: "a", Partition: 0, LagRecords: 3, SourceSeen: true, RecordsPerSecond: 10, LagSeconds: 1},
			{Topic: "a", Partition: 1, LagRecords: -1, SourceSeen: true, LagSeconds: 4},
			{Topic: "b", LagRecords: 99, SourceSeen: false},
		},
		Groups: []runbook.GroupRisk{
			{Group: "g", Topic: "a", Wanted: 6, Dest: 2, DestEnd: 10, Owned: true},
			{Group: "g", Topic: "a", Partition: 1, SourceOffset: 11, Wanted: 9, Dest: 5, DestEnd: 10, Owned: false, Problem: "foreign"},
			{Group: "h", Topic: "a", Wanted: -1, Dest: -1, DestEnd: 10, Owned: true},
			{Group: "i", Topic: "a", Wanted: 12, DestEnd: 10, Owned: true},
		},
	}
	want := runbook.Forecast{
		AtRisk: 28, Known: 3, Blind: 25, BlindSeconds: 2.5, Again: 4, AtMost: 19,
		Topics: []runbook.TopicForecast{{Topic: "a", Known: 3, Blind: 25, AtRisk: 28, LagSeconds: 4, Redeliver: 19}, {Topic: "b", Unseen: 1}},
		Groups: []runbook.GroupForecast{{Group: "g", Topic: "a", Again: 4, Redelivered: 9, Problem: "foreign"}, {Group: "h", Topic: "a", Redelivered: 10}, {Group: "i", Topic: "a"}},
	}
	if d := cmp.Diff(want, runbook.Foresee(r)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	r.SourceReachable = true
	if f := runbook.Foresee(r); f.BlindSeconds != 0 || f.AtRisk != 3 {
		t.Errorf("a source that answers leaves nothing blind: %+v", f)
	}
}

// "At most 0" of a group that was never seen would be a promise that nobody can keep.
func TestWhatAGroupThatWasNeverSeenReadsAgainIsNotKnown(t *testing.T) {
	r := runbook.Risk{
		Partitions: []runbook.PartitionRisk{{Topic: "a", SourceSeen: true}},
		Groups:     []runbook.GroupRisk{{Group: "g", Topic: "a", SourceOffset: 6, Wanted: 6, Dest: 6, DestEnd: 10, Owned: true}, {Group: "g", Topic: "a", Partition: 1}},
	}
	for name, c := range map[string]struct {
		risk   runbook.Risk
		groups []string
		unseen []string
		text   string
		never  string
	}{
		"all seen":  {r, []string{"g"}, nil, "groups read again at least 0 and at most 4 records", "not known"},
		"some seen": {r, []string{"g", "h", "i"}, []string{"h", "i"}, "at most 4 records, and what 2 others read again is not known: the offset sync has seen no commit of theirs, so they begin where their auto.offset.reset says (h, i)", "what groups"},
		"none seen": {runbook.Risk{}, []string{"g", "h"}, []string{"g", "h"}, "what groups read again is not known", "at most"},
		"condensed": {r.Condense(1), []string{"g", "h"}, []string{"h"}, "at most 4 records, and what 1 others read again is not known", "what groups"},
		"no groups": {runbook.Risk{}, nil, nil, "groups read again at least 0 and at most 0 records", "not known"},
	} {
		f := runbook.Foresee(c.risk)
		f.Unseen = c.risk.Unseen(c.groups)
		if text := f.Text(); !slices.Equal(f.Unseen, c.unseen) || !strings.Contains(text, c.text) || strings.Contains(text, c.never) {
			t.Errorf("%s: unseen %q, %q", name, f.Unseen, text)
		}
	}
	many := runbook.Forecast{Unseen: slices.Repeat([]string{"group"}, 500)}
	if text := many.Text(); len(text) > 600 || !strings.Contains(text, "and 495 more") {
		t.Errorf("%d characters: %s", len(text), text)
	}
}

func TestFlipTakesOneAboveTheHighestEpochSeenAnywhere(t *testing.T) {
	f := func(old, seen uint16) bool {
		r := fresh()
		r.Epoch, r.PrevEpoch = int64(old)+1, int64(old)
		next := runbook.Flip(r, plan(), int64(seen), "west", by)
		back := runbook.Flip(next, plan(), next.Epoch, "east", by)
		return next.Epoch > int64(seen) && next.Epoch > r.Epoch && next.PrevEpoch == r.Epoch && next.Active[0] == "west" &&
			next.Standby[0] == "east" && next.OpID == by.OpID && record.RaisesEpoch(r, next) && next.Validate() == nil &&
			record.Compare(next, r) == record.Newer && back.Epoch == next.Epoch+1 && back.Active[0] == "east"
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
}

func TestLocksPhasesAndDebtsStayAtTheirEpoch(t *testing.T) {
	r := fresh()
	locked := runbook.Locked(r, record.Frozen, by)
	owing := runbook.WithDebt(locked, record.FenceDebt{Kind: record.DebtFence, Site: "east", OpID: "1", Reason: "dead"}, by)
	twice := runbook.WithDebt(owing, record.FenceDebt{Kind: record.DebtFence, Site: "east", OpID: "2"}, by)
	for name, next := range map[string]record.Record{"locked": locked, "owing": owing} {
		if got := record.Compare(r, next); got != record.StaleCopy {
			t.Errorf("%s: %s", name, got)
		}
	}
	if len(twice.FenceDebt) != 1 || twice.FenceDebt[0].OpID != "1" {
		t.Errorf("the older debt must stay: %+v", twice.FenceDebt)
	}
	paid := runbook.Unlocked(runbook.WithoutDebt(twice, twice.FenceDebt[0], by), by)
	if record.Compare(paid, r) != record.Same || len(owing.FenceDebt) != 1 {
		t.Errorf("paid and unlocked is not what it was: %+v", paid)
	}
	later := by
	later.Now = by.Now.Add(time.Hour)
	if again := runbook.Locked(locked, record.Open, later); !again.Lock.Since.Equal(by.Now) {
		t.Error("a change of phase moved the start of the lock")
	}
	if same := runbook.Renew(r, plan(), 9, by); same.Epoch != r.Epoch || same.OpID != r.OpID {
		t.Errorf("nothing changed, yet epoch %d by %s", same.Epoch, same.OpID)
	}
	moved := plan()
	moved.Sites[1].Kafka.Bootstrap = []string{"new:1"}
	if next := runbook.Renew(r, moved, 9, by); next.Epoch != 10 || next.Active[0] != "east" {
		t.Errorf("%+v", next)
	}
}

func TestTruthTakesTheHighestEpochAndNamesWhatContradicts(t *testing.T) {
	old := fresh()
	flipped := runbook.Flip(old, plan(), 1, "west", by)
	locked := runbook.Locked(flipped, record.Moving, by)
	elsewhere := runbook.Flip(old, plan(), 1, "west", runbook.By{OpID: "failover-9", Person: "eve", Now: by.Now})
	copies := func(east, west *record.Record) []runbook.RecordCopy {
		return []runbook.RecordCopy{{Site: "east", Reachable: true, Record: east}, {Site: "west", Reachable: true, Record: west}}
	}
	for name, c := range map[string]struct {
		copies  []runbook.RecordCopy
		ruling  string
		by      string
		behind  string
		split   bool
		highest int64
	}{
		"newer wins":                  {copies(&old, &flipped), "", "west", "east", false, 2},
		"the active site's copy":      {copies(&flipped, &locked), "", "west", "east", false, 2},
		"the named site's copy":       {copies(&flipped, &locked), "east", "east", "west", false, 2},
		"a newer epoch beats ruling":  {copies(&old, &flipped), "east", "west", "east", false, 2},
		"split brain":                 {copies(&flipped, &elsewhere), "", "west", "", true, 2},
		"a missing copy is behind":    {copies(nil, &flipped), "", "west", "east", false, 2},
		"nobody has a record":         {copies(nil, nil), "", "", "", false, 0},
		"an unreachable one is quiet": {[]runbook.RecordCopy{{Site: "east"}, {Site: "west", Reachable: true, Record: &old}}, "", "west", "", false, 1},
	} {
		got := runbook.ReadTruth(c.copies, nil, c.ruling)
		if got.RuledBy != c.by || strings.Join(got.Behind, ",") != c.behind || (got.Split != "") != c.split || got.Highest != c.highest {
			t.Errorf("%s: %+v", name, got)
		}
	}
	lock := record.Lock{OpID: "drill-1", Operation: "drill"}
	got := runbook.ReadTruth(copies(&old, &old), []runbook.EngineTruth{{Site: "east", Reachable: true, HighestEpoch: 7, Lock: &lock}, {Site: "west", HighestEpoch: 99}}, "")
	if got.Highest != 7 || got.Lock == nil || got.Lock.OpID != "drill-1" || strings.Join(got.Silent, ",") != "engine west" {
		t.Errorf("%+v", got)
	}
}

func TestLedgerHasNoDefault(t *testing.T) {
	lines := []runbook.LedgerLine{
		{Topic: "a", Partition: 0, Records: 3, Decision: runbook.LedgerUndecided, Redelivered: map[string]int64{"g": 2}},
		{Topic: "a", Partition: 1, Records: 2, Unrecoverable: 4, Decision: runbook.LedgerUndecided, Redelivered: map[string]int64{"g": 1}},
		{Topic: "b", Records: 1, Decision: runbook.LedgerUndecided},
		{Topic: "c", Decision: runbook.LedgerNothing},
		{Topic: "d", Records: 9, Decision: runbook.LedgerAppended},
	}
	a, e, d, open, err := runbook.Choices(lines, map[string]string{"a": "append"})
	if err != nil || strings.Join(a, ",") != "a" || len(e)+len(d) != 0 || strings.Join(open, ",") != "b" {
		t.Errorf("%v %v %v %v %v", a, e, d, open, err)
	}
	a, e, d, open, err = runbook.Choices(lines, map[string]string{"a": "discard", "*": "export"})
	if err != nil || len(a) != 0 || strings.Join(e, ",") != "b" || strings.Join(d, ",") != "a" || len(open) != 0 {
		t.Errorf("%v %v %v %v %v", a, e, d, open, err)
	}
	for _, bad := range []map[string]string{{"x": "append"}, {"a": "keep"}, {"a": ""}} {
		if _, _, _, open, err := runbook.Choices(lines, bad); err == nil || len(open) != 2 {
			t.Errorf("%v: %v %v", bad, open, err)
		}
	}
	topics, total := runbook.RPO(lines)
	if total != 19 || topics["a"] != 9 || topics["c"] != 0 {
		t.Errorf("%v %d", topics, total)
	}
	if f := runbook.RecoveryForecast(lines, []string{"a"}); len(f) != 1 || f[0].Redelivered != 3 {
		t.Errorf("%v", f)
	}
}

func TestADecisionIsAskedPerTopicNotPerPartition(t *testing.T) {
	lines := []runbook.LedgerLine{
		{Topic: "a", Partition: 0, Records: 2, Bytes: 20, Keyed: 2, Superseded: 1},
		{Topic: "b", Partition: 0, Records: 7, Bytes: 70},
		{Topic: "a", Partition: 1, Records: 1, Bytes: 10, Keyed: 1, Unrecoverable: 4},
	}
	want := []string{"a: 3 records (30 bytes) in 2 partitions, 3 with keys of which 1 have later records on the new primary, 4 gone with the old primary's retention"}
	if d := cmp.Diff(want, runbook.LedgerTopics(runbook.Plan{}, lines, []string{"a"})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestWavesHoldEveryTopicOnceInOrder(t *testing.T) {
	f := func(topics []string, size int8) bool {
		var flat []string
		most := max(1, int(size))
		for _, w := range runbook.Waves(topics, int(size)) {
			if len(w) == 0 || len(w) > most || len(w) < most && len(flat)+len(w) < len(topics) {
				return false
			}
			flat = append(flat, w...)
			most = min(4*most, 1000)
		}
		return strings.Join(flat, "\x00") == strings.Join(topics, "\x00") && len(flat) == len(topics)
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
}

func TestWavesGrowBehindTheFirst(t *testing.T) {
	for name, c := range map[string]struct {
		topics, size int
		want         []int
	}{
		"one topic":           {1, 50, []int{1}},
		"a thousand":          {1001, 50, []int{50, 200, 751}},
		"never above the end": {4000, 50, []int{50, 200, 800, 1000, 1000, 950}},
		"a plan that wants more at once is obeyed": {5000, 2500, []int{2500, 2500}},
		"no size": {3, 0, []int{1, 2}},
	} {
		var got []int
		for _, w := range runbook.Waves(make([]string, c.topics), c.size) {
			got = append(got, len(w))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: -want +got:\n%s", name, d)
		}
	}
}

func TestReportReadsWellAndHoldsItsTable(t *testing.T) {
	n, x := int64(15), int64(3)
	at := time.Unix(1700000000, 0).UTC()
	r := runbook.Report{
		Pair: "orders", Operation: "failover", OpID: "failover-1", Outcome: runbook.Partly, Requester: "ann", Reason: "east burnt down",
		Started: at, Ended: at.Add(90 * time.Second), PlanHash: "abc", EpochBefore: 1, EpochAfter: 2, Active: []string{"west"},
		Overrides: []string{"unproven-fence"}, Findings: []string{"group g | has not moved\nyet"},
		Steps: []runbook.StepLine{{Name: "flip", State: runbook.StateDone, Started: at, Ended: at.Add(time.Second), Millis: 1000, Detail: "a | b\nc"}},
		RTO:   []runbook.Segment{{Name: "attest", Millis: 1500}, {Name: "flip", Millis: 500}}, RTOMillis: 2000, RTOSeconds: 900,
		RPOEstimate: &n, RPOExact: &x, RPOByTopic: map[string]int64{"b": 1, "a": 2}, RPOTime: &runbook.RPOTime{AtLeast: 1, AtMost: 40, Objective: 30}, PlanChanged: true,
		Fences:    []runbook.FenceLine{{Site: "east", Level: runbook.LevelUnreachable, Reason: "dead"}},
		Approvals: []runbook.Signed{{By: "bob", Decision: runbook.Approve, At: at, Reason: "go", Overrides: []string{"unproven-fence"}}},
		Planned:   runbook.FailoverSteps(plan(), runbook.Link{Name: "there", Source: "east", Destination: "west"}, []string{"a", "b", "c"}, runbook.Forecast{AtRisk: 15}, nil),
		DebtsOpen: []record.FenceDebt{{Kind: record.DebtFence, Site: "east", Since: at, Reason: "dead"}},
	}
	got := r.Markdown()
	const file = "testdata/report.golden.md"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got (run with -rewrite and review):\n%s", d)
	}
	if _, err := r.JSON(); err != nil {
		t.Error(err)
	}
}
