package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// fenced is a cluster to fence, with the engine at the other site that keeps
// the register.
type fenced struct {
	*Activities
	cluster   *local.Kafka
	east      runbook.Site
	west      runbook.Site
	own       *fakeEngine // east's
	registrar *fakeEngine // west's
}

// newFenced starts a cluster as kind, with topics orders and clicks, on which
// app and canary may write. worker is who the activities log in as.
func newFenced(t *testing.T, kind local.KafkaKind, brokers int, worker local.User, super bool) *fenced {
	t.Helper()
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: kind, Name: "east", Brokers: brokers, SuperUser: admin, Users: []local.User{ops, canary, app, reader}})
	f := &fenced{Activities: newActivities(t, Options{}), cluster: k}
	f.own = &fakeEngine{cluster: k.ClusterID(), facts: api.Engine{SuperUser: super, Principal: "User:engine", Authorizer: true, WriterFence: api.WriterFenceEnforced}}
	f.registrar = &fakeEngine{cluster: "west-cluster"}
	c := login(t, canary)
	f.east = runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: k.Bootstrap(), Security: login(t, worker)}, Canary: &c, Engine: startEngine(t, f.own)}
	f.west = runbook.Site{Name: "west", Engine: startEngine(t, f.registrar)}
	f.admin(t, func(ctx context.Context, adm *kadm.Client) error {
		if _, err := adm.CreateTopics(ctx, 2, int16(brokers), nil, "orders", "clicks"); err != nil {
			return err
		}
		for _, b := range []*kadm.ACLBuilder{
			kadm.NewACLs().Allow("User:app", "User:canary", "User:engine").AllowHosts("*").Topics("orders").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpWrite, kadm.OpDescribe),
			kadm.NewACLs().Allow("User:app", "User:canary").AllowHosts("*").Topics("cli").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpAll),
			kadm.NewACLs().Allow("User:reader").AllowHosts("*").Topics("orders", "clicks").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead),
			kadm.NewACLs().Allow("User:reader", "User:app").AllowHosts("*").Groups("billing").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead),
			kadm.NewACLs().Allow("User:ops").AllowHosts("*").Clusters().ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpAlter, kadm.OpDescribe, kadm.OpClusterAction),
			kadm.NewACLs().Allow("User:ops").AllowHosts("*").Topics("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpDescribe, kadm.OpRead, kadm.OpWrite),
		} {
			got, err := adm.CreateACLs(ctx, b)
			if err != nil {
				return err
			}
			for _, r := range got {
				if r.Err != nil {
					return r.Err
				}
			}
		}
		return nil
	})
	f.until(t, "app may write", func() error { return f.produce(t, app, "orders") })
	return f
}

func (f *fenced) admin(t *testing.T, do func(context.Context, *kadm.Client) error) {
	t.Helper()
	client, err := kgo.NewClient(f.cluster.Options(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := do(t.Context(), kadm.NewClient(client)); err != nil {
		t.Fatalf("prepare the cluster: %v", err)
	}
}

func (f *fenced) until(t *testing.T, what string, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		t.Fatal(err)
	}
}

func (f *fenced) produce(t *testing.T, as local.User, topic string) error {
	t.Helper()
	client, err := kgo.NewClient(append(f.cluster.Options(as), kgo.DisableIdempotentWrite(), kgo.RecordDeliveryTimeout(10*time.Second), kgo.RecordRetries(3))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr()
}

// denials lists the DENY entries of the cluster.
func (f *fenced) denials(t *testing.T) []string {
	t.Helper()
	k, err := f.Activities.kafka(f.east)
	if err != nil {
		t.Fatal(err)
	}
	brokers, err := k.brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, kind := range []string{onTopic, onGroup} {
		all, err := k.acls(t.Context(), brokers[0], kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Permission == deny {
				out = append(out, fmt.Sprintf("%s %s %s %s", e.Principal, e.Operation, e.ResourceType, e.ResourceName))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (f *fenced) call(op, step string) workflows.Call {
	c := call(step)
	c.OperationID = op
	return c
}

func (f *fenced) fence(t *testing.T, op string, topics ...string) workflows.FenceResult {
	t.Helper()
	got, err := f.FenceSite(t.Context(), workflows.FenceSiteInput{Call: f.call(op, "fence"), Site: f.east, RegisterAt: f.west, Topics: topics})
	if err != nil {
		t.Fatalf("fence by %s: %v", op, err)
	}
	return got
}

func (f *fenced) lift(t *testing.T, op string) workflows.FenceResult {
	t.Helper()
	got, err := f.LiftFence(t.Context(), workflows.LiftFenceInput{Call: f.call(op, "lift"), Site: f.east, RegisterAt: f.west, FencingOperation: op})
	if err != nil {
		t.Fatalf("lift by %s: %v", op, err)
	}
	return got
}

// holdFor is how long prove sees a log stand still.
const holdFor = 200 * time.Millisecond

func (f *fenced) prove(t *testing.T, op string, before bool, topics ...string) runbook.FenceEvidence {
	t.Helper()
	got, err := f.ProveFence(t.Context(), workflows.ProveFenceInput{
		Call: f.call(op, "prove"), Site: f.east, RegisterAt: f.west, Topics: topics, HoldFor: holdFor, CanaryBefore: before,
	})
	if err != nil {
		t.Fatalf("prove by %s: %v", op, err)
	}
	return got.Evidence
}

func (f *fenced) writable(t *testing.T, topics ...string) workflows.ProveWritableResult {
	t.Helper()
	got, err := f.ProveWritable(t.Context(), workflows.ProveWritableInput{Call: call("writable"), Site: f.east, Topics: topics, Within: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func authorizationFailed(err error) bool {
	return err != nil && strings.Contains(err.Error(), kerr.TopicAuthorizationFailed.Message)
}

// fenceProveLift is the whole life of a fence; it holds on every kind of
// cluster.
func fenceProveLift(t *testing.T, f *fenced, brokers int, want []string) {
	t.Helper()
	topics := []string{"orders", "clicks"}
	if got := f.writable(t, topics...); !got.Writable || got.Brokers != brokers {
		t.Fatalf("before the fence: %+v", got)
	}
	made := f.fence(t, "op-1", topics...)
	if !made.Reachable || !made.CanaryBefore || made.Problem != "" || made.Entries != len(want) {
		t.Fatalf("fence: %+v", made)
	}
	if d := cmp.Diff(want, f.denials(t)); d != "" {
		t.Fatalf("entries (-want +got)\n%s", d)
	}
	if again := f.fence(t, "op-1", topics...); again.Entries != len(want) || again.CanaryBefore {
		t.Errorf("the same fence again: %+v", again)
	}
	if line := runbook.Fence(f.prove(t, "op-1", made.CanaryBefore, topics...)); !line.Proven() {
		t.Errorf("the fence is %s: %s", line.Level, line.Reason)
	}
	if err := f.produce(t, app, "orders"); !authorizationFailed(err) {
		t.Errorf("an application writes through the fence: %v", err)
	}
	// A run that failed behind its fence leaves it; the next one's is proven by what the canary was told before the first.
	second := f.fence(t, "op-2", topics...)
	if line := runbook.Fence(f.prove(t, "op-2", second.CanaryBefore, topics...)); !line.Proven() {
		t.Errorf("the second operation's fence over the first's: %+v, %s: %s", second, line.Level, line.Reason)
	}
	if lifted := f.lift(t, "op-2"); lifted.Entries != 0 || len(f.denials(t)) != len(want) {
		t.Errorf("lift of the second: %+v, left %v", lifted, f.denials(t))
	}
	if lifted := f.lift(t, "op-1"); lifted.Entries != len(want) || !slices.Equal(lifted.Operations, []string{"op-1"}) {
		t.Errorf("lift: %+v", lifted)
	}
	if got := f.denials(t); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	if len(f.registrar.fences) > 0 {
		t.Errorf("registers left open: %v", f.registrar.fences)
	}
	if got := f.writable(t, topics...); !got.Writable {
		t.Errorf("not writable after the lift: %v", got.Refused)
	}
	if again := f.lift(t, "op-1"); again.Entries != 0 {
		t.Errorf("a second lift did something: %+v", again)
	}
	f.until(t, "app may write again", func() error { return f.produce(t, app, "orders") })
}

func TestAFenceOfEnumeratedPrincipalsIsProvenAndLifted(t *testing.T) {
	f := newFenced(t, local.KFake, 3, ops, false)
	// The engine and the worker stay out of it; the canary is in.
	fenceProveLift(t, f, 3, []string{
		"User:app WRITE TOPIC clicks", "User:app WRITE TOPIC orders", "User:canary WRITE TOPIC clicks", "User:canary WRITE TOPIC orders",
	})
}

func TestAFenceIsForEverybodyWhereTheEngineIsASuperUser(t *testing.T) {
	f := newFenced(t, local.KFake, 1, admin, true)
	fenceProveLift(t, f, 1, []string{"User:* WRITE TOPIC clicks", "User:* WRITE TOPIC orders"})
}

func TestTheFenceHoldsOnApacheKafka(t *testing.T) {
	f := newFenced(t, local.Apache, 1, ops, false)
	fenceProveLift(t, f, 1, []string{
		"User:app WRITE TOPIC clicks", "User:app WRITE TOPIC orders", "User:canary WRITE TOPIC clicks", "User:canary WRITE TOPIC orders",
	})
}

func TestAnEntryThatExistedBeforeStaysAfterTheLift(t *testing.T) {
	f := newFenced(t, local.KFake, 1, ops, false)
	k, err := f.Activities.kafka(f.east)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.createACLs(t.Context(), []api.ACLEntry{denial("User:app", onTopic, "orders", opWrite)}); err != nil {
		t.Fatal(err)
	}
	if made := f.fence(t, "op-1", "orders"); made.Entries != 2 {
		t.Fatalf("%+v", made)
	}
	for _, e := range f.registrar.fences["op-1"].Entries {
		if e.ExistedBefore != (e.Principal == "User:app") || e.ClusterID != f.cluster.ClusterID() {
			t.Errorf("registered as %+v", e)
		}
	}
	f.fence(t, "op-1", "orders") // a second attempt must not take ours for theirs
	if lifted := f.lift(t, "op-1"); lifted.Entries != 1 {
		t.Errorf("lifted %+v", lifted)
	}
	if d := cmp.Diff([]string{"User:app WRITE TOPIC orders"}, f.denials(t)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := f.writable(t, "orders"); !got.Writable {
		t.Errorf("the canary: %v", got.Refused)
	}
}

func TestAnEntryOfTwoOperationsGoesWithTheLast(t *testing.T) {
	f := newFenced(t, local.KFake, 1, ops, false)
	f.fence(t, "op-1", "orders")
	f.fence(t, "op-2", "orders")
	if lifted := f.lift(t, "op-1"); lifted.Entries != 0 {
		t.Errorf("the first lift removed %d entries that op-2 lists", lifted.Entries)
	}
	if got := f.denials(t); len(got) != 2 {
		t.Errorf("after the first lift: %v", got)
	}
	f.lift(t, "op-2")
	if got := f.denials(t); len(got) > 0 {
		t.Errorf("after the second lift: %v", got)
	}
}

func TestGroupsAreFencedAndLiftedOnTheirOwn(t *testing.T) {
	f := newFenced(t, local.KFake, 1, ops, false)
	f.fence(t, "op-1", "orders")
	got, err := f.FenceGroups(t.Context(), workflows.FenceGroupsInput{Call: f.call("op-1", "groups"), Site: f.east, RegisterAt: f.west, Groups: []string{"billing"}})
	if err != nil || got.Entries != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	all := []string{"User:app READ GROUP billing", "User:app WRITE TOPIC orders", "User:canary WRITE TOPIC orders", "User:reader READ GROUP billing"}
	if d := cmp.Diff(all, f.denials(t)); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
	if ev := f.prove(t, "op-1", true, "orders"); ev.Entries != 4 {
		t.Errorf("evidence counts %d entries", ev.Entries)
	}
	// Handing over takes the entries of topics that are mirrors, lifts those of
	// others and leaves the groups'.
	f.own.mirrors["orders"] = runbook.StatusActive
	f.fence(t, "op-1b", "stray")
	over, err := f.HandOverFence(t.Context(), workflows.HandOverFenceInput{Call: f.call("op-2", "hand over"), Site: f.east, RegisterAt: f.west, Link: runbook.Link{Name: "west-to-east"}})
	if err != nil || over.Entries != 2 || !slices.Equal(over.Operations, []string{"op-1", "op-1b"}) || !slices.Equal(over.Lifted, []string{"stray"}) {
		t.Fatalf("hand over: %+v, %v", over, err)
	}
	if !slices.Equal(f.own.handed, []string{"orders", "orders"}) || !f.own.fences["op-1"].HandedOver {
		t.Errorf("the site's engine took %v", f.own.handed)
	}
	if again, err := f.HandOverFence(t.Context(), workflows.HandOverFenceInput{Call: f.call("op-2", "hand over"), Site: f.east, RegisterAt: f.west, Link: runbook.Link{Name: "west-to-east"}}); err != nil || again.Entries != 0 {
		t.Errorf("handed over again: %+v, %v", again, err)
	}
	lifted, err := f.LiftGroupFence(t.Context(), workflows.LiftFenceInput{Call: f.call("op-2", "lift groups"), Site: f.east, RegisterAt: f.west})
	if err != nil || lifted.Entries != 2 {
		t.Fatalf("lift groups: %+v, %v", lifted, err)
	}
	if d := cmp.Diff([]string{"User:app WRITE TOPIC orders", "User:canary WRITE TOPIC orders"}, f.denials(t)); d != "" {
		t.Errorf("the guards' entries must stay (-want +got)\n%s", d)
	}
	if len(f.registrar.fences) != 0 {
		t.Errorf("registers left open: %v", f.registrar.fences)
	}
}

func TestAnUnreachableSiteIsAResultOfTheFence(t *testing.T) {
	a := newActivities(t, Options{})
	e := &fakeEngine{cluster: "west"}
	west := runbook.Site{Name: "west", Engine: startEngine(t, e)}
	east := runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: []string{nobodyThere(t)}, Security: runbook.Security{Protocol: "PLAINTEXT"}}}
	got, err := a.FenceSite(t.Context(), workflows.FenceSiteInput{Call: call("fence"), Site: east, RegisterAt: west, Topics: []string{"orders"}})
	if err != nil || got.Reachable || got.Problem == "" {
		t.Errorf("%+v, %v", got, err)
	}
	ev, err := a.ProveFence(t.Context(), workflows.ProveFenceInput{Call: call("prove"), Site: east, RegisterAt: west, Topics: []string{"orders"}, HoldFor: time.Millisecond})
	if err != nil || ev.Evidence.Reachable || runbook.Fence(ev.Evidence).Level != runbook.LevelUnreachable {
		t.Errorf("%+v, %v", ev, err)
	}
	if lifted, err := a.LiftFence(t.Context(), workflows.LiftFenceInput{Call: call("lift"), Site: east, RegisterAt: west, FencingOperation: "failover-1"}); err != nil || lifted.Entries != 0 {
		t.Errorf("lifting what was never made must not need the site: %+v, %v", lifted, err)
	}
	if len(e.fences) != 0 {
		t.Errorf("registered without having reached the site: %v", e.fences)
	}
}
