package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// pair is two clusters with their real engines.
type pair struct {
	*Activities
	east, west     runbook.Site
	east2w, west2e runbook.Link
	clusters       map[string]*local.Kafka
	secrets        string // the folder with both sites' passwords
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{
		Activities: newActivities(t, Options{}), clusters: map[string]*local.Kafka{}, secrets: t.TempDir(),
		east2w: runbook.Link{Name: "east-to-west", Source: "east", Destination: "west", Configs: map[string]string{"consumer.offset.sync.ms": "1000"}},
		west2e: runbook.Link{Name: "west-to-east", Source: "west", Destination: "east", Configs: map[string]string{"consumer.offset.sync.ms": "1000"}},
	}
	p.east, p.west = p.site(t, "east"), p.site(t, "west")
	p.east.Engine.LinkSecurity, p.west.Engine.LinkSecurity = p.west.Kafka.Security, p.east.Kafka.Security
	return p
}

// site starts a cluster with an engine, both as the super user; app and canary
// may write.
func (p *pair) site(t *testing.T, name string) runbook.Site {
	t.Helper()
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.KFake, Name: name, SuperUser: admin, Users: []local.User{canary, app}})
	p.clusters[name] = k
	p.admin(t, name, func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.CreateACLs(ctx, kadm.NewACLs().Allow("User:app", "User:canary").AllowHosts("*").Topics("*").
			ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpWrite, kadm.OpDescribe, kadm.OpRead))
		return err
	})
	sec, c := loginIn(t, p.secrets, admin), loginIn(t, p.secrets, canary)
	cfg := mirrorengine.Default()
	cfg.Name, cfg.Listen, cfg.State.Shards = name, "127.0.0.1:0", 2
	cfg.Kafka.Bootstrap, cfg.Kafka.SecurityProtocol, cfg.Kafka.SASLMechanism = k.Bootstrap(), sec.Protocol, sec.Mechanism
	cfg.Kafka.Username, cfg.Kafka.Password = sec.Username, sec.Password
	cfg.Canary.Username, cfg.Canary.Password = c.Username, c.Password
	cfg.Secrets.Dirs = []string{p.secrets}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	engine, err := mirrorengine.New(ctx, cfg, "test", discard)
	if err != nil {
		stop()
		t.Fatalf("engine %s: %v", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Logf("engine %s ended with %v", name, err)
		}
		engine.Close()
	})
	return runbook.Site{
		Name: name, Kafka: runbook.Kafka{Bootstrap: k.Bootstrap(), EngineBootstrap: k.Bootstrap(), Security: sec},
		Engine: runbook.Engine{URL: "http://" + engine.Addr().String()}, Canary: &c,
	}
}

func (p *pair) admin(t *testing.T, site string, do func(context.Context, *kadm.Client) error) {
	t.Helper()
	client, err := kgo.NewClient(p.clusters[site].Options(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := do(t.Context(), kadm.NewClient(client)); err != nil {
		t.Fatalf("at %s: %v", site, err)
	}
}

func (p *pair) produce(t *testing.T, site, topic string, n int) {
	t.Helper()
	client, err := kgo.NewClient(append(p.clusters[site].Options(app), kgo.DisableIdempotentWrite(), kgo.RecordDeliveryTimeout(20*time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		r := &kgo.Record{Topic: topic, Key: []byte(fmt.Sprint(i)), Value: []byte(fmt.Sprintf("%s-%d", site, i))}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatalf("produce at %s: %v", site, err)
		}
	}
}

func as(op string, epoch int64, step string) workflows.Call {
	return workflows.Call{Pair: "orders", OperationID: op, Operation: "failback", Epoch: epoch, Step: step}
}

func allOK(t *testing.T, what string, got workflows.MirrorsResult, err error, topics int) {
	t.Helper()
	if err != nil || len(got.Topics) != topics || len(runbook.Failed(got.Topics)) > 0 {
		t.Fatalf("%s: %+v, %v", what, got.Topics, err)
	}
}

// must takes a step's result apart.
func must[T any](t *testing.T) func(T, error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func (p *pair) begin(t *testing.T, op string, epoch int64, site runbook.Site, l runbook.Link) {
	t.Helper()
	got, err := p.BeginOperation(t.Context(), workflows.OperationTokenInput{Call: as(op, epoch, "begin"), Site: site, Link: l})
	if err != nil || got.State != "open" {
		t.Fatalf("begin %s on %s: %+v, %v", op, l.Name, got, err)
	}
}

func (p *pair) link(t *testing.T, op string, l runbook.Link, source, destination runbook.Site) {
	t.Helper()
	for i := range 2 {
		got, err := p.EnsureLink(t.Context(), workflows.EnsureLinkInput{Call: as(op, 8, "link"), Link: l, Source: source, Destination: destination, Groups: []string{"billing"}})
		if err != nil || got.State != "ACTIVE" || got.Created != (i == 0) {
			t.Fatalf("link %s, time %d: %+v, %v", l.Name, i, got, err)
		}
	}
}

func (p *pair) caughtUp(t *testing.T, site runbook.Site, l runbook.Link, topics []string) {
	t.Helper()
	got, err := p.AwaitMirrors(t.Context(), workflows.AwaitMirrorsInput{Call: as("any", 8, "catch up"), Site: site, Link: l, Topics: topics, Within: 30 * time.Second})
	if err != nil || !got.CaughtUp {
		t.Fatalf("mirrors on %s: %+v, %v", l.Name, got, err)
	}
}

// TestAPlannedMoveAndALossOverRealEngines goes through the steps of a planned
// move east to west with the way back, then ends a mirror that lags and deals
// with its ledger.
func TestAPlannedMoveAndALossOverRealEngines(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	p.admin(t, "east", func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.CreateTopic(ctx, 2, 1, nil, "orders")
		return err
	})
	canaryTopic := must[workflows.EnsureCanaryTopicResult](t)(p.EnsureCanaryTopic(ctx, workflows.EnsureCanaryTopicInput{Call: as("setup", 7, "canary"), Site: p.east})).Topic
	p.produce(t, "east", "orders", 40)
	p.admin(t, "east", func(ctx context.Context, adm *kadm.Client) error {
		var at kadm.Offsets
		at.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 5, LeaderEpoch: -1})
		return adm.CommitAllOffsets(ctx, "billing", at)
	})
	listed := must[workflows.ListDRTopicsResult](t)(p.ListDRTopics(ctx, workflows.ListDRTopicsInput{Call: as("setup", 7, "list"), Site: p.east, Filters: []string{"^ord.*", "gone"}}))
	topics := []string{canaryTopic, "orders"}
	if !slices.Equal(listed.Topics, topics) || !slices.Equal(listed.Missing, []string{"gone"}) {
		t.Fatalf("listed %+v", listed)
	}
	p.link(t, "setup", p.east2w, p.east, p.west)
	p.begin(t, "setup", 7, p.west, p.east2w)
	for range 2 {
		got, err := p.EnsureMirrors(ctx, workflows.EnsureMirrorsInput{Call: as("setup", 7, "mirrors"), Link: p.east2w, Source: p.east, Destination: p.west, Topics: topics})
		allOK(t, "mirrors", got, err, 2)
	}
	p.caughtUp(t, p.west, p.east2w, topics)
	findings := must[workflows.CheckPrivilegesResult](t)(p.CheckPrivileges(ctx, workflows.CheckPrivilegesInput{Call: as("setup", 7, "check"), Sites: []runbook.Site{p.east}, Topics: []string{"orders"}, Groups: []string{"billing"}}))
	for _, f := range findings.Findings {
		if f.Blocker && !strings.Contains(f.What, "consul") {
			t.Errorf("blocker %+v", f)
		}
	}
	attested := must[workflows.AttestOutageResult](t)(p.AttestOutage(ctx, workflows.AttestOutageInput{Call: as("move", 8, "attest"), Site: p.east, Other: p.west, Link: p.east2w}))
	for _, v := range attested.Vantages {
		if !v.Known || !v.Reachable {
			t.Errorf("vantage %+v", v)
		}
	}

	p.begin(t, "move", 8, p.west, p.east2w)
	made := must[workflows.FenceResult](t)(p.FenceSite(ctx, workflows.FenceSiteInput{Call: as("move", 8, "fence"), Site: p.east, RegisterAt: p.west, Topics: topics}))
	if made.Entries != 2 || !slices.Equal(made.Principals, []string{everybody}) || !made.CanaryBefore {
		t.Fatalf("fence %+v", made)
	}
	must[workflows.FenceResult](t)(p.FenceGroups(ctx, workflows.FenceGroupsInput{Call: as("move", 8, "groups"), Site: p.east, RegisterAt: p.west, Groups: []string{"billing"}}))
	proof := must[workflows.ProveFenceResult](t)(p.ProveFence(ctx, workflows.ProveFenceInput{Call: as("move", 8, "prove"), Site: p.east, RegisterAt: p.west, Topics: topics, HoldFor: 200 * time.Millisecond, CanaryBefore: made.CanaryBefore}))
	if line := runbook.Fence(proof.Evidence); !line.Proven() {
		t.Fatalf("fence is %s: %s", line.Level, line.Reason)
	}
	drained := must[workflows.AwaitDrainedResult](t)(p.AwaitDrained(ctx, workflows.AwaitDrainedInput{Call: as("move", 8, "drain"), Source: p.east, Destination: p.west, Link: p.east2w, Topics: topics, Within: 30 * time.Second}))
	if !drained.Drained || drained.Partitions != 3 {
		t.Fatalf("drained %+v", drained)
	}
	synced := must[workflows.SyncGroupsResult](t)(p.SyncGroups(ctx, workflows.LinkGroupsInput{Call: as("move", 8, "sync"), Site: p.west, Link: p.east2w, Groups: []string{"billing"}}))
	if !synced.Exact || len(synced.Groups) != 1 || synced.Groups[0].Dest != 5 {
		t.Errorf("synced %+v", synced)
	}
	move := workflows.MirrorsInput{Call: as("move", 8, "promote"), Site: p.west, Link: p.east2w, Topics: topics}
	for range 2 {
		got, err := p.PromoteMirrors(ctx, move)
		allOK(t, "promote", got, err, 2)
		got, err = p.AwaitStopped(ctx, workflows.AwaitStoppedInput{Call: move.Call, Site: p.west, Link: p.east2w, Topics: topics, Within: 30 * time.Second})
		allOK(t, "stopped", got, err, 2)
	}
	if got := must[workflows.ProveWritableResult](t)(p.ProveWritable(ctx, workflows.ProveWritableInput{Call: as("move", 8, "writable"), Site: p.west, Topics: topics, Within: 15 * time.Second})); !got.Writable {
		t.Errorf("west is not writable: %v", got.Refused)
	}
	trip := must[workflows.ProduceConsumeCanaryResult](t)(p.ProduceConsumeCanary(ctx, workflows.ProduceConsumeCanaryInput{Call: as("move", 8, "record"), Site: p.west}))
	if trip.Topic != canaryTopic {
		t.Errorf("canary record in %+v", trip)
	}

	// The way back.
	p.link(t, "move", p.west2e, p.west, p.east)
	p.begin(t, "move", 8, p.east, p.west2e)
	same := must[workflows.CompareLogEndsResult](t)(p.CompareLogEnds(ctx, workflows.CompareLogEndsInput{Call: as("move", 8, "ends"), Site: p.east, Keeper: p.west, Link: p.east2w, Topics: topics}))
	if !same.Equal {
		t.Fatalf("log ends %+v", same)
	}
	owned := must[workflows.SyncGroupsResult](t)(p.OwnGroups(ctx, workflows.LinkGroupsInput{Call: as("move", 8, "own"), Site: p.east, Link: p.west2e, Groups: []string{"billing"}}))
	if len(owned.Problems) > 0 {
		t.Errorf("owned %+v", owned)
	}
	for range 2 {
		got, err := p.Rejoin(ctx, workflows.RejoinInput{Call: as("move", 8, "rejoin"), Site: p.east, Link: p.west2e, Other: p.west, Opposite: p.east2w, Topics: topics})
		allOK(t, "rejoin", got, err, 2)
	}
	over := must[workflows.FenceResult](t)(p.HandOverFence(ctx, workflows.HandOverFenceInput{Call: as("move", 8, "hand over"), Site: p.east, RegisterAt: p.west, Link: p.west2e}))
	if over.Entries != 2 {
		t.Errorf("handed over %+v", over)
	}
	lifted := must[workflows.FenceResult](t)(p.LiftGroupFence(ctx, workflows.LiftFenceInput{Call: as("move", 8, "groups"), Site: p.east, RegisterAt: p.west}))
	if lifted.Entries == 0 {
		t.Errorf("group fence lifted %+v", lifted)
	}
	p.produce(t, "west", "orders", 10)
	p.caughtUp(t, p.east, p.west2e, topics)
	for _, end := range []struct {
		site runbook.Site
		link runbook.Link
	}{{p.west, p.east2w}, {p.east, p.west2e}} {
		got := must[workflows.OperationTokenResult](t)(p.EndOperation(ctx, workflows.OperationTokenInput{Call: as("move", 8, "end"), Site: end.site, Link: end.link}))
		if got.State != "ended" {
			t.Errorf("end: %+v", got)
		}
	}
	_, err := p.FailoverMirrors(ctx, workflows.MirrorsInput{Call: as("move", 8, "late"), Site: p.east, Link: p.west2e, Topics: topics})
	typed(t, err, workflows.ErrStaleOperation, false)

	// A loss: the mirrors back end, then west goes on.
	p.begin(t, "loss", 9, p.east, p.west2e)
	got, err := p.FailoverMirrors(ctx, workflows.MirrorsInput{Call: as("loss", 9, "failover"), Site: p.east, Link: p.west2e, Topics: []string{"orders", "no-mirror"}})
	if err != nil || len(got.Topics) != 2 || !got.Topics[0].OK || got.Topics[1].OK || got.Topics[1].Error == "" {
		t.Fatalf("failover of one mirror and one that is none: %+v, %v", got, err)
	}
	got, err = p.AwaitStopped(ctx, workflows.AwaitStoppedInput{Call: as("loss", 9, "stopped"), Site: p.east, Link: p.west2e, Topics: []string{"orders"}, Within: 30 * time.Second})
	allOK(t, "failed over", got, err, 1)
	p.produce(t, "west", "orders", 3)
	risk := must[workflows.MeasureRiskResult](t)(p.MeasureRisk(ctx, workflows.MeasureRiskInput{Call: as("loss", 9, "risk"), Site: p.east, Link: p.west2e})).Risk
	stops := 0
	for _, r := range risk.Partitions {
		if r.Topic == "orders" && r.Status == runbook.StatusStopped && r.SourceStop != nil {
			stops++
		}
	}
	if stops != 2 {
		t.Errorf("risk %+v", risk.Partitions)
	}
	in := workflows.LedgerInput{Call: as("loss", 9, "ledger"), Site: p.east, Link: p.west2e, DecidedBy: "ann", Reason: "test"}
	ledger := must[workflows.LedgerResult](t)(p.ComputeLedger(ctx, in))
	if _, total := runbook.RPO(ledger.Lines); total != 3 || !slices.Equal(runbook.Undecided(ledger.Lines), []string{"orders"}) {
		t.Fatalf("ledger %+v", ledger.Lines)
	}
	in.Stored = true // what was counted, without another count
	if again := must[workflows.LedgerResult](t)(p.ComputeLedger(ctx, in)); !slices.Equal(runbook.Undecided(again.Lines), []string{"orders"}) {
		t.Errorf("stored ledger %+v", again.Lines)
	}
	in.Stored = false
	archive := in
	archive.KeepDecision = true
	_, err = p.ExportLedger(ctx, archive)
	typed(t, err, workflows.ErrPrecondition, false)
	in.Topics = []string{"orders"}
	for range 2 {
		if done := must[workflows.LedgerResult](t)(p.AppendLedger(ctx, in)); done.Records != 3 || len(runbook.Undecided(done.Lines)) > 0 {
			t.Fatalf("append %+v", done)
		}
	}
	if done := must[workflows.LedgerResult](t)(p.ExportLedger(ctx, archive)); done.Records != 3 || done.Exported == "" || done.Lines[len(done.Lines)-1].Decision == runbook.LedgerExported {
		t.Errorf("archive %+v", done)
	}
	// Another run counts beside the token of an operation whose lock it breaks, and takes every name that it may have.
	next := workflows.LedgerInput{Call: as("next", 9, "count"), Site: p.east, Link: p.west2e}
	_, err = p.ComputeLedger(ctx, next)
	typed(t, err, workflows.ErrStaleOperation, false)
	next.Lost = []string{"loss", "loss.2"}
	must[workflows.LedgerResult](t)(p.ComputeLedger(ctx, next))
	revoked := must[workflows.RevokeOperationResult](t)(p.RevokeOperation(ctx, workflows.OperationTokenInput{Call: as("loss", 9, "revoke"), Site: p.east, Link: p.west2e, Also: []string{"loss.2"}}))
	_, err = p.BeginOperation(ctx, workflows.OperationTokenInput{Call: as("loss.2", 9, "begin"), Site: p.east, Link: p.west2e})
	typed(t, err, workflows.ErrStaleOperation, false)
	if revoked.State != "revoked" || !slices.Equal(revoked.Stopped, []string{"orders"}) {
		t.Errorf("revoked %+v", revoked)
	}
	if size := must[workflows.MeasureCopyResult](t)(p.MeasureCopy(ctx, workflows.MeasureCopyInput{Call: as("loss", 9, "size"), Source: p.east, Topics: topics})); size.Topics != 2 || size.Records < 50 {
		t.Errorf("size %+v", size)
	}
}
