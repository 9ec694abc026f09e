package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// world is two sites as the runbooks see them: a fake of the seam with enough
// memory to tell whether a story left things right. It embeds Steps, so that a
// step without a fake panics instead of passing.
type world struct {
	Steps
	mu sync.Mutex

	ledgerAsked []bool // each look: whether for what was counted last

	plan    runbook.Plan
	edited  bool // since it was loaded first
	consul  map[string]*record.Record
	locks   map[string]string            // site → operation
	tokens  map[string]string            // link → state
	holders map[string]Call              // link → whose token is the newest
	highest map[string]int64             // site → epoch that its engine has seen
	revoked map[string]bool              // link and operation
	mirrors map[string]map[string]string // link → topic → status
	fences  map[string]map[string]bool   // site → operation → stands
	groups  map[string]map[string]bool   // DENY READ, likewise
	guards  map[string]bool              // site → entries handed over
	topics  map[string][]string          // site → topics
	down    map[string]bool              // "east kafka", "east consul", "east engine"
	ledger  []runbook.LedgerLine
	deaf    bool // fences bind nobody
	held    bool
	noted   []runbook.HeldRetention   // what a run wrote down at away
	stuck   map[string]bool           // mirrors that a promote drains for ever
	behind  bool                      // mirrors do not catch up
	heard   bool                      // the engines say that they reach their sources
	open    []runbook.OpenTransaction // at the active site, for ever
	busy    []string                  // groups that never stop
	shapes  map[string]int            // partitions at the standby, where they differ from 1
	kill    map[string]runbook.Hold   // site → hold on the pair in its Consul
	refuses map[string]string         // mirrors that cannot be failed over, and why
	stunted map[string]string         // mirrors that cannot be grown, and why
	earlier []runbook.RunTimes
	placed  []runbook.Placement
	proven  *[]string // topics that writing was asked of
	wide    int       // partitions of each mirror, 0 for one

	deleted []string
	amended []AmendReportInput
	same    map[string]bool                     // copies at the returning site that did not move
	altered map[string]func(*runbook.AwayTopic) // what became of topics while it was away

	findings []Finding
	synced   []runbook.GroupRisk

	calls  []string           // method names in order
	steps  []Call             // with their inputs' calls
	fail   map[string][]error // method → errors of its next calls, before acting
	after  map[string]int     // method, or method and step → how often it acts and then reports failure
	hook   func(string, Call) // before each call
	writes []WriteRecordInput // that succeeded
	notes  []NotifyInput
	moves  []runbook.ClientMove // what AwaitClientsMoved sees, if not g at its new site
	report runbook.Report       // the last that was kept
	ready  runbook.Readiness
	link   runbook.LinkFacts
	drill  drillWorld
	pods   cluster
}

const home, away = "east", "west"

func newWorld() *world {
	site := func(name string) runbook.Site {
		return runbook.Site{
			Name: name, Kafka: runbook.Kafka{Bootstrap: []string{name + ":9092"}}, SecurityRef: "ref-" + name,
			Canary: &runbook.Security{Username: "canary"},
		}
	}
	w := &world{
		plan: runbook.Plan{
			Pair: "orders", Mode: "active-passive", Home: home, Sites: []runbook.Site{site(home), site(away)},
			Links:      []runbook.Link{{Name: "there", Source: home, Destination: away}, {Name: "back", Source: away, Destination: home}},
			Topics:     []string{"a", "b"},
			Groups:     []runbook.Group{{Name: "g", Move: runbook.MoveWatch}},
			Objectives: runbook.Objectives{RTOSeconds: 60, RPOSeconds: 5, LagRecords: 10},
			Limits: runbook.Limits{
				FreezeSeconds: 60, WaveTopics: 2, HaltPercent: 20, ClientsSeconds: 5, CatchUpSeconds: 60, TransactionsSeconds: 5,
			},
			People: []runbook.Person{
				{Name: "ann", Roles: []string{"operator"}}, {Name: "bob", Roles: []string{"approver"}}, {Name: "eve", Roles: []string{"approver"}},
			},
			Approvals: map[string]runbook.Approval{
				runbook.OpFailover:   {Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 600},
				runbook.OpFailback:   {Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 600},
				runbook.OpSwitchover: {Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 600},
				runbook.OpRestore:    {Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 600},
				runbook.OpRecover:    {DeadlineSeconds: 600}, runbook.OpSetUp: {DeadlineSeconds: 600},
				runbook.OpUnfence: {Count: 1, Roles: []string{"approver"}, DeadlineSeconds: 600},
			},
			Notify: runbook.Notify{Slack: &runbook.Slack{Webhook: "${env:X}"}},
		},
		consul: map[string]*record.Record{}, locks: map[string]string{}, tokens: map[string]string{}, revoked: map[string]bool{},
		holders: map[string]Call{}, highest: map[string]int64{},
		mirrors: map[string]map[string]string{}, fences: map[string]map[string]bool{home: {}, away: {}},
		groups: map[string]map[string]bool{home: {}, away: {}}, guards: map[string]bool{},
		topics: map[string][]string{home: {"a", "b"}, away: {}},
		link:   runbook.LinkFacts{State: "ACTIVE", Guards: map[string]int{"proven": 3}},
		down:   map[string]bool{}, fail: map[string][]error{}, after: map[string]int{},
	}
	return w
}

// steady is the world after SetUp.
func steady() *world {
	w := newWorld()
	r := runbook.Fresh(w.plan, 0, runbook.By{OpID: "setup-0", Operation: "setup", Person: "ann", Now: time.Unix(1000, 0)})
	a, b := r, r
	w.consul[home], w.consul[away] = &a, &b
	w.topics[home] = []string{"a", "b", runbook.CanaryTopic("orders")}
	w.mirrors["there"] = map[string]string{"a": "ACTIVE", "b": "ACTIVE", runbook.CanaryTopic("orders"): "ACTIVE"}
	return w
}

// lost is steady with the home site gone.
func lost() *world {
	w := steady()
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.down[home+" "+part] = true
	}
	return w
}

// failedOver is a world whose home came back after a failover that recovery has
// dealt with, unless debts are given.
func failedOver(debts ...record.FenceDebt) *world {
	w := steady()
	by := runbook.By{OpID: "failover-0", Operation: "failover", Person: "ann", Now: time.Unix(2000, 0)}
	r := runbook.Flip(*w.consul[home], w.plan, 1, away, by)
	for _, d := range debts {
		r = runbook.WithDebt(r, d, by)
	}
	a, b := r, r
	w.consul[home], w.consul[away] = &a, &b
	for t := range w.mirrors["there"] {
		w.mirrors["there"][t] = "STOPPED"
	}
	w.topics[away] = []string{"a", "b", runbook.CanaryTopic("orders")}
	w.ledger = []runbook.LedgerLine{{Topic: "a", From: 10, To: 13, Records: 3, Decision: runbook.LedgerUndecided, Redelivered: map[string]int64{"g": 2}}, {Topic: "b", Decision: runbook.LedgerNothing}}
	return w
}

// enter counts a call and returns what it must fail with.
func (w *world) enter(method string, c Call) error {
	w.mu.Lock()
	hook := w.hook
	w.calls = append(w.calls, method)
	w.steps = append(w.steps, c)
	var err error
	if list := w.fail[method]; len(list) > 0 {
		err, w.fail[method] = list[0], list[1:]
	}
	w.mu.Unlock()
	if hook != nil {
		hook(method, c)
	}
	return err
}

func (w *world) isDown(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[part]
}

// leave says whether a call that acted must report failure all the same.
func (w *world) leave(method string, c Call) error {
	for _, key := range []string{method, method + " " + c.Step} {
		if w.after[key] == 0 {
			continue
		}
		w.after[key]--
		return temporal.NewApplicationError("acted, and the answer was lost", ErrUnreachable)
	}
	return nil
}

func (w *world) count(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == method {
			n++
		}
	}
	return n
}

// before tells whether the first a came before the first b.
func (w *world) before(a, b string) bool {
	i, j := slices.Index(w.calls, a), slices.Index(w.calls, b)
	return i >= 0 && j >= 0 && i < j
}

func no(typ, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), typ, nil)
}

func (w *world) LoadPlan(_ context.Context, in LoadPlanInput) (LoadPlanResult, error) {
	err := w.enter("LoadPlan", in.Call)
	hash := "hash"
	if w.edited {
		hash = "another hash"
	}
	if in.PlanHash != "" && in.PlanHash != hash {
		err = no(ErrPlanDiffers, "yours %s, mine %s", in.PlanHash, hash)
	}
	return LoadPlanResult{Plan: w.plan, Hash: hash}, err
}

func (w *world) VerifySignature(_ context.Context, in VerifySignatureInput) (VerifySignatureResult, error) {
	if in.Command.Signature != "by "+in.Command.By {
		return VerifySignatureResult{Problem: "not their signature"}, w.enter("VerifySignature", in.Call)
	}
	return VerifySignatureResult{Valid: true, By: in.Command.By}, w.enter("VerifySignature", in.Call)
}

func (w *world) ReadRecord(_ context.Context, in ReadRecordInput) (ReadRecordResult, error) {
	err := w.enter("ReadRecord", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	var out ReadRecordResult
	for _, s := range in.Sites {
		out.Copies = append(out.Copies, runbook.RecordCopy{Site: s.Name, Reachable: !w.down[s.Name+" consul"], Record: w.consul[s.Name]})
		if s.Name == away {
			out.Copies[len(out.Copies)-1].Retention = w.noted
		}
		e := runbook.EngineTruth{Site: s.Name, Reachable: !w.down[s.Name+" engine"], HighestEpoch: w.highest[s.Name]}
		if id := w.locks[s.Name]; id != "" && e.Reachable {
			e.Lock = &record.Lock{OpID: id, Operation: strings.SplitN(id, "-", 2)[0], Since: time.Unix(1, 0)}
		}
		out.Engines = append(out.Engines, e)
		out.Holds = append(out.Holds, w.holdAt(s.Name))
	}
	return out, err
}

func (w *world) WriteRecord(_ context.Context, in WriteRecordInput) (WriteRecordResult, error) {
	if err := w.enter("WriteRecord", in.Call); err != nil {
		return WriteRecordResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[in.Site.Name+" consul"] {
		return WriteRecordResult{}, temporal.NewApplicationError("consul is away", ErrUnreachable)
	}
	if _, err := record.Marshal(in.Record); err != nil {
		return WriteRecordResult{}, no(ErrRefused, "%v", err)
	}
	have := w.consul[in.Site.Name]
	switch {
	case have != nil && have.SHA256 == in.Record.SHA256:
		return WriteRecordResult{SHA256: have.SHA256}, nil
	case in.Follow && have != nil:
		if rel := record.Compare(*have, in.Record); rel == record.Newer || rel == record.SplitBrain {
			return WriteRecordResult{}, no(ErrEpochConflict, "copy is %s", rel)
		}
	case !in.Follow && (have == nil) != (in.Base == ""), !in.Follow && have != nil && have.SHA256 != in.Base:
		return WriteRecordResult{}, no(ErrEpochConflict, "another base")
	}
	r := in.Record
	w.consul[in.Site.Name] = &r
	w.writes = append(w.writes, in)
	return WriteRecordResult{Changed: true, SHA256: r.SHA256}, w.leave("WriteRecord", in.Call)
}

func (w *world) EngineLock(_ context.Context, in EngineLockInput) (EngineLockResult, error) {
	if err := w.enter("EngineLock", in.Call); err != nil {
		return EngineLockResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.locks[in.Site.Name]; l != "" && l != in.Call.OperationID && l != in.Break {
		return EngineLockResult{}, no(ErrPairBusy, "held by %s", l)
	}
	w.locks[in.Site.Name] = in.Call.OperationID
	w.highest[in.Site.Name] = max(w.highest[in.Site.Name], in.Call.Epoch)
	return EngineLockResult{Held: true}, w.leave("EngineLock", in.Call)
}

func (w *world) EngineUnlock(_ context.Context, in EngineLockInput) (EngineLockResult, error) {
	err := w.enter("EngineUnlock", in.Call)
	if w.down[in.Site.Name+" engine"] {
		return EngineLockResult{}, temporal.NewApplicationError("connection refused", ErrUnreachable)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.locks[in.Site.Name] == in.Call.OperationID {
		delete(w.locks, in.Site.Name)
	}
	return EngineLockResult{}, err
}

func (w *world) AttestOutage(_ context.Context, in AttestOutageInput) (AttestOutageResult, error) {
	up := !w.down[in.Site.Name+" kafka"]
	return AttestOutageResult{Vantages: []runbook.Vantage{
		{From: "worker", Known: true, Reachable: up}, {From: "engine " + in.Other.Name, Known: true, Reachable: up},
	}}, w.enter("AttestOutage", in.Call)
}

func (w *world) MeasureRisk(_ context.Context, in MeasureRiskInput) (MeasureRiskResult, error) {
	err := w.enter("MeasureRisk", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := runbook.Risk{Link: in.Link.Name, Now: time.Unix(100, 0), LastContact: time.Unix(98, 0), SourceReachable: w.heard && !w.down[in.Link.Source+" kafka"]}
	for _, t := range append(slices.Clone(w.plan.Topics), runbook.CanaryTopic(w.plan.Pair)) {
		if st := w.mirrors[in.Link.Name][t]; st != "" {
			for p := range max(1, w.wide) {
				r.Partitions = append(r.Partitions, runbook.PartitionRisk{Topic: t, Partition: int32(p), Status: st, LagRecords: 3, SourceSeen: true, RecordsPerSecond: 1, Guard: "proven"})
			}
		}
	}
	r.Groups = []runbook.GroupRisk{{Group: "g", Topic: "a", SourceOffset: 5, Wanted: 5, Dest: 5, DestEnd: 10, Owned: true}}
	return MeasureRiskResult{Risk: r.Condense(runbook.RowLimit)}, err
}

func (w *world) CheckPrivileges(_ context.Context, in CheckPrivilegesInput) (CheckPrivilegesResult, error) {
	w.mu.Lock()
	w.pods.active = in.Active
	w.mu.Unlock()
	return CheckPrivilegesResult{Findings: w.findings}, w.enter("CheckPrivileges", in.Call)
}

func (w *world) CompareTopics(_ context.Context, in CompareTopicsInput) (CompareTopicsResult, error) {
	err := w.enter("CompareTopics", in.Call)
	var out CompareTopicsResult
	for _, t := range in.Topics {
		s := runbook.TopicShape{Topic: t, Source: 1, Destination: 1}
		if n, ok := w.shapes[t]; ok {
			s.Destination = n
		}
		out.Shapes = append(out.Shapes, s)
	}
	return out, err
}

func (w *world) SurveyTopics(_ context.Context, in SurveyTopicsInput) (SurveyTopicsResult, error) {
	err := w.enter("SurveyTopics", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	var out SurveyTopicsResult
	names := slices.Concat(w.topics[in.Active.Name], w.topics[in.Standby.Name])
	for t := range w.altered {
		names = append(names, t)
	}
	slices.Sort(names)
	for _, t := range slices.Compact(names) {
		a := runbook.AwayTopic{Topic: t, Follows: w.mirrors[in.Link.Name][t] == "ACTIVE", Ended: w.mirrors[in.Ended.Name][t] == "STOPPED", Same: w.same[t]}
		if slices.Contains(w.topics[in.Active.Name], t) {
			a.Active, a.ActiveRecords = 1, 14
		}
		if slices.Contains(w.topics[in.Standby.Name], t) {
			a.Standby, a.StandbyRecords = 1, 13
		}
		if change := w.altered[t]; change != nil {
			change(&a)
		}
		out.Topics = append(out.Topics, a)
	}
	return out, err
}

func (w *world) ListDRTopics(_ context.Context, in ListDRTopicsInput) (ListDRTopicsResult, error) {
	return ListDRTopicsResult{Topics: slices.Clone(w.topics[in.Site.Name])}, w.enter("ListDRTopics", in.Call)
}

func (w *world) EnsureCanaryTopic(_ context.Context, in EnsureCanaryTopicInput) (EnsureCanaryTopicResult, error) {
	err := w.enter("EnsureCanaryTopic", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	topic := runbook.CanaryTopic(w.plan.Pair)
	if !slices.Contains(w.topics[in.Site.Name], topic) {
		w.topics[in.Site.Name] = append(w.topics[in.Site.Name], topic)
	}
	return EnsureCanaryTopicResult{Topic: topic}, err
}

func (w *world) EnsureLink(_ context.Context, in EnsureLinkInput) (EnsureLinkResult, error) {
	err := w.enter("EnsureLink", in.Call)
	w.drillLink(in)
	return EnsureLinkResult{State: "ACTIVE"}, err
}

// set changes mirrors of a link and answers per topic.
func (w *world) set(link string, topics []string, status string) MirrorsResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mirrors[link] == nil {
		w.mirrors[link] = map[string]string{}
	}
	var out MirrorsResult
	for _, t := range topics {
		w.mirrors[link][t] = status
		out.Topics = append(out.Topics, runbook.TopicResult{Topic: t, OK: true, Status: status, WriterFence: "enforced"})
	}
	return out
}

func (w *world) EnsureMirrors(_ context.Context, in EnsureMirrorsInput) (MirrorsResult, error) {
	if err := w.enter("EnsureMirrors", in.Call); err != nil {
		return MirrorsResult{}, err
	}
	if err := w.shut(in.Link.Name, in.Call); err != nil {
		return MirrorsResult{}, err
	}
	return w.set(in.Link.Name, in.Topics, "ACTIVE"), nil
}

func (w *world) AwaitMirrors(_ context.Context, in AwaitMirrorsInput) (AwaitMirrorsResult, error) {
	if w.behind {
		return AwaitMirrorsResult{LagRecords: 99, Behind: []string{"a: partition 0 lags 99 records"}}, w.enter("AwaitMirrors", in.Call)
	}
	return AwaitMirrorsResult{CaughtUp: true}, w.enter("AwaitMirrors", in.Call)
}

func (w *world) GrowMirrors(_ context.Context, in MirrorsInput) (MirrorsResult, error) {
	var out MirrorsResult
	for _, t := range in.Topics {
		out.Topics = append(out.Topics, runbook.TopicResult{Topic: t, OK: w.stunted[t] == "", Error: w.stunted[t]})
	}
	return out, w.enter("GrowMirrors", in.Call)
}

func (w *world) FailoverMirrors(_ context.Context, in MirrorsInput) (MirrorsResult, error) {
	if err := w.enter("FailoverMirrors", in.Call); err != nil {
		return MirrorsResult{}, err
	}
	if err := w.shut(in.Link.Name, in.Call); err != nil {
		return MirrorsResult{}, err
	}
	var ask, not []string
	for _, t := range in.Topics {
		if w.refuses[t] == "" {
			ask = append(ask, t)
		} else {
			not = append(not, t)
		}
	}
	out := w.set(in.Link.Name, ask, "STOPPED")
	for _, t := range not {
		out.Topics = append(out.Topics, runbook.TopicResult{Topic: t, Status: "FAILED", Error: w.refuses[t]})
	}
	return out, nil
}

func (w *world) PromoteMirrors(_ context.Context, in MirrorsInput) (MirrorsResult, error) {
	if err := w.enter("PromoteMirrors", in.Call); err != nil {
		return MirrorsResult{}, err
	}
	if err := w.shut(in.Link.Name, in.Call); err != nil {
		return MirrorsResult{}, err
	}
	out := w.set(in.Link.Name, in.Topics, "STOPPED")
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := range w.stuck {
		w.mirrors[in.Link.Name][t] = "PENDING_STOPPED"
	}
	return out, nil
}

func (w *world) AwaitStopped(_ context.Context, in AwaitStoppedInput) (MirrorsResult, error) {
	err := w.enter("AwaitStopped", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	var out MirrorsResult
	for _, t := range in.Topics {
		st := w.mirrors[in.Link.Name][t]
		out.Topics = append(out.Topics, runbook.TopicResult{Topic: t, OK: st == "STOPPED", Status: st, WriterFence: "enforced", Error: "is " + st})
	}
	return out, err
}

func (w *world) AwaitDrained(_ context.Context, in AwaitDrainedInput) (AwaitDrainedResult, error) {
	return AwaitDrainedResult{Drained: true}, w.enter("AwaitDrained", in.Call)
}

func (w *world) CompareLogEnds(_ context.Context, in CompareLogEndsInput) (CompareLogEndsResult, error) {
	return CompareLogEndsResult{Equal: true, Partitions: len(in.Topics)}, w.enter("CompareLogEnds", in.Call)
}

func (w *world) Rejoin(_ context.Context, in RejoinInput) (MirrorsResult, error) {
	if err := w.enter("Rejoin", in.Call); err != nil {
		return MirrorsResult{}, err
	}
	if err := w.shut(in.Link.Name, in.Call); err != nil {
		return MirrorsResult{}, err
	}
	return w.set(in.Link.Name, in.Topics, "ACTIVE"), nil
}

func (w *world) MeasureCopy(_ context.Context, in MeasureCopyInput) (MeasureCopyResult, error) {
	size := runbook.CopySize{Records: 42, Bytes: 4200, Topics: len(in.Topics), BytesPerSecond: 420, MeasuredBy: "failback-0", Lines: []runbook.CopyLine{{Topic: in.Topics[0], Records: 42, Bytes: 4200}}}
	return MeasureCopyResult{size.Foresee()}, w.enter("MeasureCopy", in.Call)
}

func (w *world) DeleteTopics(_ context.Context, in DeleteTopicsInput) (DeleteTopicsResult, error) {
	w.mu.Lock()
	w.deleted = append(w.deleted, in.Topics...)
	w.mu.Unlock()
	return DeleteTopicsResult{Deleted: in.Topics}, w.enter("DeleteTopics", in.Call)
}

func (w *world) FenceSite(_ context.Context, in FenceSiteInput) (FenceResult, error) {
	if err := w.enter("FenceSite", in.Call); err != nil {
		return FenceResult{}, err
	}
	if w.down[in.Site.Name+" kafka"] {
		return FenceResult{Problem: "connection refused"}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	over := len(w.fences[in.Site.Name]) > 0 // then it goes by what the canary was told before the first of them
	w.fences[in.Site.Name][in.Call.OperationID] = true
	return FenceResult{Reachable: true, Entries: 2, CanaryBefore: over}, w.leave("FenceSite", in.Call)
}

func (w *world) FenceGroups(_ context.Context, in FenceGroupsInput) (FenceResult, error) {
	if err := w.enter("FenceGroups", in.Call); err != nil {
		return FenceResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups[in.Site.Name][in.Call.OperationID] = true
	return FenceResult{Reachable: true, Entries: 1}, nil
}

func (w *world) ProveFence(_ context.Context, in ProveFenceInput) (ProveFenceResult, error) {
	err := w.enter("ProveFence", in.Call)
	e := runbook.FenceEvidence{Site: in.Site.Name, Reachable: !w.down[in.Site.Name+" kafka"], Entries: 3, CanaryBefore: in.CanaryBefore}
	e.CanaryRefused, e.LogsStill = !w.deaf, !w.deaf
	return ProveFenceResult{Evidence: e}, err
}

func (w *world) ProveWritable(_ context.Context, in ProveWritableInput) (ProveWritableResult, error) {
	err := w.enter("ProveWritable", in.Call)
	if w.down[in.Site.Name+" kafka"] {
		return ProveWritableResult{}, temporal.NewApplicationError("connection refused", ErrUnreachable)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proven != nil {
		*w.proven = append(*w.proven, in.Topics...)
	}
	guarded := slices.ContainsFunc(in.Topics, func(t string) bool { return w.refuses[t] != "" }) // its mirror's guard stands
	return ProveWritableResult{Writable: !guarded && (len(w.fences[in.Site.Name]) == 0 || w.deaf), Brokers: 1}, err
}

func (w *world) lift(method string, in LiftFenceInput, maps ...map[string]map[string]bool) (FenceResult, error) {
	if err := w.enter(method, in.Call); err != nil {
		return FenceResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[in.RegisterAt.Name+" engine"] {
		return FenceResult{}, temporal.NewApplicationError("fence register: connection refused", ErrUnreachable)
	}
	out := FenceResult{Reachable: true}
	for _, m := range maps {
		for op := range m[in.Site.Name] {
			if in.FencingOperation == "" || in.FencingOperation == op {
				delete(m[in.Site.Name], op)
				out.Entries++
				if !slices.Contains(out.Operations, op) {
					out.Operations = append(out.Operations, op)
				}
			}
		}
	}
	return out, nil
}

func (w *world) LiftFence(ctx context.Context, in LiftFenceInput) (FenceResult, error) {
	out, err := w.lift("LiftFence", in, w.fences, w.groups)
	out.Again = len(out.Operations) == 0 && activity.GetInfo(ctx).Attempt > 1
	if err == nil {
		err = w.leave("LiftFence", in.Call)
	}
	return out, err
}

func (w *world) LiftGroupFence(_ context.Context, in LiftFenceInput) (FenceResult, error) {
	return w.lift("LiftGroupFence", in, w.groups)
}

func (w *world) HandOverFence(_ context.Context, in HandOverFenceInput) (FenceResult, error) {
	if err := w.shut(in.Link.Name, in.Call); err != nil {
		return FenceResult{}, err
	}
	out, err := w.lift("HandOverFence", LiftFenceInput{Call: in.Call, Site: in.Site}, w.fences)
	if err == nil {
		w.mu.Lock()
		w.guards[in.Site.Name] = true
		w.mu.Unlock()
	}
	return out, err
}

func (w *world) OpenTransactions(_ context.Context, in OpenTransactionsInput) (OpenTransactionsResult, error) {
	return OpenTransactionsResult{Open: w.open}, w.enter("OpenTransactions", in.Call)
}

func (w *world) EndTransactions(_ context.Context, in EndTransactionsInput) (OpenTransactionsResult, error) {
	return OpenTransactionsResult{Open: w.open}, w.enter("EndTransactions", in.Call)
}

func (w *world) AwaitGroupsEmpty(_ context.Context, in AwaitGroupsEmptyInput) (AwaitGroupsEmptyResult, error) {
	return AwaitGroupsEmptyResult{Empty: len(w.busy) == 0, Busy: w.busy}, w.enter("AwaitGroupsEmpty", in.Call)
}

func (w *world) SyncGroups(_ context.Context, in LinkGroupsInput) (SyncGroupsResult, error) {
	err := w.enter("SyncGroups", in.Call)
	if err == nil {
		err = w.shut(in.Link.Name, in.Call)
	}
	return SyncGroupsResult{Exact: len(w.synced) == 0, Groups: w.synced, Offsets: len(w.synced)}, err
}

func (w *world) OwnGroups(_ context.Context, in LinkGroupsInput) (SyncGroupsResult, error) {
	err := w.enter("OwnGroups", in.Call)
	if err == nil {
		err = w.shut(in.Link.Name, in.Call)
	}
	return SyncGroupsResult{Exact: true}, err
}

func (w *world) AwaitClientsMoved(_ context.Context, in AwaitClientsMovedInput) (AwaitClientsMovedResult, error) {
	if w.moves != nil {
		return AwaitClientsMovedResult{Groups: w.moves}, w.enter("AwaitClientsMoved", in.Call)
	}
	return AwaitClientsMovedResult{Complete: true, Groups: []runbook.ClientMove{{Group: "g", MembersNew: 1, Moved: true}}}, w.enter("AwaitClientsMoved", in.Call)
}

func (w *world) decide(method string, in LedgerInput, decision string) (LedgerResult, error) {
	if err := w.enter(method, in.Call); err != nil {
		return LedgerResult{}, err
	}
	if err := w.shut(in.Link.Name, in.Call, in.Lost...); err != nil {
		return LedgerResult{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(0)
	for i := range w.ledger {
		if slices.Contains(in.Topics, w.ledger[i].Topic) {
			n += w.ledger[i].Records
			if !in.KeepDecision {
				w.ledger[i].Decision, w.ledger[i].DecidedBy = decision, in.DecidedBy
			}
		}
	}
	return LedgerResult{Lines: slices.Clone(w.ledger), Records: n}, nil
}

func (w *world) ComputeLedger(_ context.Context, in LedgerInput) (LedgerResult, error) {
	w.mu.Lock()
	w.ledgerAsked = append(w.ledgerAsked, in.Stored)
	w.mu.Unlock()
	return w.decide("ComputeLedger", LedgerInput{Call: in.Call, Link: in.Link, Lost: in.Lost}, "")
}

func (w *world) AppendLedger(_ context.Context, in LedgerInput) (LedgerResult, error) {
	return w.decide("AppendLedger", in, runbook.LedgerAppended)
}

func (w *world) ExportLedger(_ context.Context, in LedgerInput) (LedgerResult, error) {
	return w.decide("ExportLedger", in, runbook.LedgerExported)
}

func (w *world) DiscardLedger(_ context.Context, in LedgerInput) (LedgerResult, error) {
	return w.decide("DiscardLedger", in, runbook.LedgerDiscarded)
}

func (w *world) HoldRetention(_ context.Context, in HoldRetentionInput) (HoldRetentionResult, error) {
	err := w.enter("HoldRetention", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held {
		return HoldRetentionResult{Held: []HeldConfig{{Topic: "a", Name: "the hold's own value"}}}, err
	}
	w.held = !in.LookOnly && err == nil
	old := "60000"
	return HoldRetentionResult{Held: []HeldConfig{{Topic: "a", Name: "retention.ms", Old: &old}, {Topic: "a", Name: "cleanup.policy"}}}, err
}

func (w *world) PutBackRetention(_ context.Context, in PutBackRetentionInput) (HoldRetentionResult, error) {
	err := w.enter("PutBackRetention", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(in.Held) == 2 && in.Held[0].Name == "retention.ms" && err == nil {
		w.held = false
	}
	if len(in.Held) == 0 && in.RegisterAt.Name == away && in.Site.Name == home && err == nil {
		w.held, w.noted = false, nil
	}
	return HoldRetentionResult{}, err
}

func (w *world) ProduceConsumeCanary(_ context.Context, in ProduceConsumeCanaryInput) (ProduceConsumeCanaryResult, error) {
	return ProduceConsumeCanaryResult{Topic: "c"}, w.enter("ProduceConsumeCanary", in.Call)
}

func (w *world) InspectLink(_ context.Context, in InspectLinkInput) (InspectLinkResult, error) {
	err := w.enter("InspectLink", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	return InspectLinkResult{Link: w.link}, err
}

func (w *world) PastRuns(_ context.Context, in PastRunsInput) (PastRunsResult, error) {
	return PastRunsResult{Past: runbook.PastRuns{Exercised: time.Now().Add(-time.Hour), Operation: "failover", Drills: w.drill.past, Runs: w.earlier}}, w.enter("PastRuns", in.Call)
}

func (w *world) SaveReadiness(_ context.Context, in SaveReadinessInput) (SaveReadinessResult, error) {
	err := w.enter("SaveReadiness", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = in.Readiness
	return SaveReadinessResult{File: "r.json"}, err
}

func (w *world) WatchReadiness(_ context.Context, in WatchReadinessInput) (WatchReadinessResult, error) {
	return WatchReadinessResult{Schedule: ReadyID(in.Call.Pair), Changed: true}, w.enter("WatchReadiness", in.Call)
}

func (w *world) AmendReport(_ context.Context, in AmendReportInput) (AmendReportResult, error) {
	err := w.enter("AmendReport", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.amended = append(w.amended, in)
	return AmendReportResult{OpID: "failover-0", Changed: true}, err
}

func (w *world) SaveReport(_ context.Context, in SaveReportInput) (SaveReportResult, error) {
	err := w.enter("SaveReport", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = in.Report
	w.drill.reports = append(w.drill.reports, in.Report)
	return SaveReportResult{JSON: "r.json", Markdown: "r.md"}, err
}

func (w *world) Notify(_ context.Context, in NotifyInput) (NotifyResult, error) {
	err := w.enter("Notify", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, in)
	return NotifyResult{Slack: "sent"}, err
}

func (w *world) InspectPipeline(_ context.Context, in InspectPipelineInput) (InspectPipelineResult, error) {
	err := w.enter("InspectPipeline", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	if in.Since.IsZero() {
		return InspectPipelineResult{Outputs: []runbook.OutputEnd{{Topic: "b", Youngest: time.Unix(500, 0)}, {Topic: "b", Partition: 1, Empty: true}}}, err
	}
	by := in.Since.Unix() - 400 // one record a second
	return InspectPipelineResult{Inputs: []runbook.InputPlace{{Topic: "a", Synced: 90, End: 100, ByTime: by}, {Topic: "a", Partition: 1, Synced: -1, End: 5, ByTime: 2}}}, err
}

func (w *world) PlaceGroup(_ context.Context, in PlaceGroupInput) (PlaceGroupResult, error) {
	err := w.enter("PlaceGroup", in.Call)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.placed = in.Places
	return PlaceGroupResult{Written: 1, Standing: 1}, err
}
