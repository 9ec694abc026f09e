//go:build real

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// owners are the principals and the files of deploy/kafka with their rights.
var owners = map[string]string{
	"engine": harness.EngineUser, "link": harness.LinkUser, "worker": harness.WorkerUser, "canary": harness.CanaryUser,
}

// grants are what apply.sh calls kafka-acls with, one call a row.
func grants(ctx context.Context, dir, file, bootstrap, pair, topics, groups string) ([][]string, error) {
	said := filepath.Join(dir, file+".calls")
	program := filepath.Join(dir, "kafka-acls")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done >>\"$SAID\"; echo >>\"$SAID\"\n"), 0o700); err != nil { //nolint:gosec // it is run
		return nil, err
	}
	script, err := filepath.Abs(filepath.Join(folder, "kafka", "apply.sh"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "sh", script, file, "User:"+owners[file])
	cmd.Env = append(os.Environ(), "SAID="+said, "KAFKA_ACLS="+program, "BOOTSTRAP="+bootstrap, "PAIR="+pair, "TOPICS="+topics, "CONSUMER_GROUPS="+groups)
	cmd.Dir = dir // no file there must come into a name by a *
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("apply.sh %s: %w\n%s", file, err, out)
	}
	text, err := os.ReadFile(said)
	if err != nil {
		return nil, err
	}
	var calls [][]string
	for call := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n\n"), "\n\n") {
		calls = append(calls, strings.Split(call, "\n"))
	}
	return calls, nil
}

// entries are the ACL entries that kafka-acls makes for a call, by its documentation. Whatever it does not know is a fault.
func entries(call []string) ([]kmsg.CreateACLsRequestCreation, error) {
	var operations []kmsg.ACLOperation
	var principal string
	pattern := kmsg.ACLResourcePatternTypeLiteral
	kinds := map[string]kmsg.ACLResourceType{
		"--topic": kmsg.ACLResourceTypeTopic, "--group": kmsg.ACLResourceTypeGroup, "--transactional-id": kmsg.ACLResourceTypeTransactionalId,
	}
	type resource struct {
		kind kmsg.ACLResourceType
		name string
	}
	var resources []resource
	for i := 0; i < len(call); i++ {
		next := func() string {
			if i++; i < len(call) {
				return call[i]
			}
			return ""
		}
		flag := call[i]
		switch {
		case flag == "--add" || flag == "--force":
		case flag == "--bootstrap-server":
			next()
		case flag == "--allow-principal":
			principal = next()
		case flag == "--cluster":
			resources = append(resources, resource{kmsg.ACLResourceTypeCluster, "kafka-cluster"})
		case flag == "--operation":
			op, err := kmsg.ParseACLOperation(strings.ToLower(next()))
			if err != nil {
				return nil, fmt.Errorf("%v: %w", call, err)
			}
			operations = append(operations, op)
		case flag == "--resource-pattern-type":
			if got := next(); got != "prefixed" {
				return nil, fmt.Errorf("%v: pattern type %q", call, got)
			}
			pattern = kmsg.ACLResourcePatternTypePrefixed
		case kinds[flag] != 0:
			resources = append(resources, resource{kinds[flag], next()})
		default:
			return nil, fmt.Errorf("%v: kafka-acls knows no %q", call, flag)
		}
	}
	var out []kmsg.CreateACLsRequestCreation
	for _, r := range resources {
		for _, op := range operations {
			e := kmsg.NewCreateACLsRequestCreation()
			e.ResourceType, e.ResourceName, e.ResourcePatternType = r.kind, r.name, pattern
			e.Principal, e.Host, e.Operation, e.PermissionType = principal, "*", op, kmsg.ACLPermissionTypeAllow
			out = append(out, e)
		}
	}
	if len(out) == 0 || principal == "" {
		return nil, fmt.Errorf("%v grants nothing", call)
	}
	return out, nil
}

func TestAPrefixIsACallOfItsOwn(t *testing.T) {
	t.Parallel()
	calls, err := grants(t.Context(), t.TempDir(), "canary", "east:9093", "orders", "orders audit-* payments", "")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"--operation", "Write", "--topic", "orders", "--topic", "payments", "--topic", "drawbridge.canary.orders", "--topic", "_drawbridge.drill.orders"},
		{"--operation", "Write", "--topic", "audit-", "--resource-pattern-type", "prefixed"},
	}
	same := []string{"--bootstrap-server", "east:9093", "--add", "--force", "--allow-principal", "User:drawbridge-canary"}
	if !slices.EqualFunc(calls, want, func(got, want []string) bool { return slices.Equal(got, slices.Concat(same, want)) }) {
		t.Errorf("it calls\n%v", calls)
	}
}

// A pair whose engines, links and worker have the rights of deploy/kafka and deploy/consul and no others is set up, found
// ready, drilled, moved and failed over, what was lagging is recovered, and it is protected again.
//
// DRAWBRIDGE_LONG=1: on Apache Kafka, by its own kafka-acls.
func TestAPairNeedsNoMoreThanTheRightsOfTheFiles(t *testing.T) {
	t.Parallel()
	const topic, group = "shop-orders", "billing"
	kind, grant := local.KFake, byRequest
	if os.Getenv("DRAWBRIDGE_LONG") != "" {
		kind, grant = local.Apache, byKafkaACLs
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	sys, err := harness.Start(ctx, harness.Config{
		Dir: filepath.Join(t.TempDir(), "system"), Kind: kind, Topics: []harness.Topic{{Name: topic, Partitions: 2}}, ProxyStandby: true,
		Groups:     []plan.Group{{Name: group, Move: runbook.MovePage}},
		Principals: []harness.Principal{{Name: "app", Write: []string{topic}, Read: []string{topic}, Groups: []string{group}}},
		Least: &harness.Least{
			Policy: strings.ReplaceAll(read(t, "consul", "worker.hcl"), "/orders/", "/shop/"),
			Grant: func(ctx context.Context, site *harness.Site) error {
				for file := range owners {
					calls, err := grants(ctx, t.TempDir(), file, site.Kafka.Bootstrap()[0], "shop", "shop-*", group)
					if err != nil {
						return err
					}
					if err := grant(ctx, site, calls); err != nil {
						return fmt.Errorf("%s: %w", file, err)
					}
				}
				return nil
			},
		},
		Plan: func(p *plan.Plan) { p.Limits.ClientsSeconds = 1 }, // nobody moves here
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the worker's log:\n%s", sys.Worker.Log(30))
			for _, s := range []*harness.Site{sys.Home, sys.Standby} {
				t.Logf("end of the log of engine %s:\n%s", s.Name, s.Engine.Process().Log(20))
			}
		}
		if err := sys.Stop(); err != nil {
			t.Error(err)
		}
	})
	p := pair{t, sys, topic, group}
	for _, s := range []*harness.Site{sys.Home, sys.Standby} {
		facts, err := s.Engine.Client().Engine(ctx)
		if err != nil || facts.SuperUser || facts.Principal != "User:"+harness.EngineUser {
			t.Fatalf("the engine of %s is no ordinary principal: %+v, %v", s.Name, facts, err)
		}
	}
	p.operate(ctx, runbook.Done, "setup")
	p.produce(ctx, sys.Home, 20)
	p.commit(ctx, sys.Home, 5)
	p.must(sys.Mirrored(ctx, sys.Home, sys.Standby, topic))
	p.ready(ctx)
	p.operate(ctx, runbook.Done, "drill", "--kind", runbook.DrillCanary)
	p.operate(ctx, runbook.Done, "switchover", "--to", sys.Standby.Name, "--yes="+sys.Pair())
	p.produce(ctx, sys.Standby, 20)
	p.must(sys.Mirrored(ctx, sys.Standby, sys.Home, topic))
	p.ready(ctx)

	// And home without asking west: what it held back is recovered when it is there again.
	sys.Standby.Kafka.Proxies().Hold(harness.LinkClients)
	p.produce(ctx, sys.Standby, 10)
	p.must(sys.Standby.Kafka.Kill())
	p.must(sys.Standby.Engine.Kill())
	p.operate(ctx, runbook.Partly, "failover", "--yes="+sys.Pair())
	sys.Standby.Kafka.Proxies().Release(harness.LinkClients)
	p.must(sys.Standby.Kafka.Restart(ctx))
	p.must(sys.Standby.Engine.Restart(ctx))
	p.operate(ctx, runbook.Done, "recover", "--append", "*")
	if n := p.count(ctx, sys.Home); n != 50 {
		t.Errorf("%d records are at %s after the recovery, 50 were acknowledged", n, sys.Home.Name)
	}
	p.operate(ctx, runbook.Done, "restore", "--yes="+sys.Pair())
	if n := p.count(ctx, sys.Standby); n != 50 {
		t.Errorf("%d records are at %s after it is protected again, 50 were acknowledged", n, sys.Standby.Name)
	}
}

// byRequest makes the entries as kafka-acls would.
func byRequest(ctx context.Context, site *harness.Site, calls [][]string) error {
	client, err := site.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, call := range calls {
		made, err := entries(call)
		if err != nil {
			return err
		}
		req.Creations = append(req.Creations, made...)
	}
	res, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for i, r := range res.Results {
		if r.ErrorCode != 0 {
			return fmt.Errorf("%+v: code %d %v", req.Creations[i], r.ErrorCode, r.ErrorMessage)
		}
	}
	return nil
}

// byKafkaACLs lets Kafka's own tool make them.
func byKafkaACLs(ctx context.Context, site *harness.Site, calls [][]string) error {
	for _, call := range calls {
		if err := site.Kafka.KafkaACLs(ctx, call...); err != nil {
			return err
		}
	}
	return nil
}

// pair is what happens to one.
type pair struct {
	*testing.T
	*harness.System
	topic, group string
}

func (p pair) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// operate brings an operation to its end; want is Done, or Partly where a dead site is left something owed.
func (p pair) operate(ctx context.Context, want, verb string, args ...string) {
	p.Helper()
	began := time.Now()
	var said strings.Builder
	got, err := p.Operate(ctx, harness.Operation{Verb: verb, Args: args, Progress: &said})
	if err != nil || got.Outcome != want {
		p.Fatalf("%s: %q %v\n%s", verb, got.Outcome, err, &said)
	}
	p.Logf("%s %v in %s", verb, args, time.Since(began).Round(time.Millisecond))
}

// ready waits until a look finds nothing in the way.
func (p pair) ready(ctx context.Context) {
	p.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p.must(local.WaitFor(ctx, "the pair is ready", func(ctx context.Context) error {
		out, err := p.Drctl.Run(ctx, "readiness", p.Pair(), "-o", "json")
		var exit *harness.ExitError
		if errors.As(err, &exit) {
			out = exit.Stdout
		}
		var r runbook.Readiness
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return err
		}
		for _, c := range r.Checks {
			if c.State == runbook.CheckBad || c.State == runbook.CheckUnknown {
				return errors.New(r.Summary())
			}
		}
		return nil
	}))
}

func (p pair) produce(ctx context.Context, at *harness.Site, n int) {
	p.Helper()
	client, err := kgo.NewClient(append(at.Kafka.DirectOptions(p.Login("app")), kgo.RecordRetries(5))...)
	p.must(err)
	defer client.Close()
	for i := range n {
		r := &kgo.Record{Topic: p.topic, Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")}
		p.must(client.ProduceSync(ctx, r).FirstErr())
	}
}

func (p pair) commit(ctx context.Context, at *harness.Site, offset int64) {
	p.Helper()
	client, err := kgo.NewClient(at.Kafka.DirectOptions(p.Login("app"))...)
	p.must(err)
	defer client.Close()
	var o kadm.Offsets
	o.AddOffset(p.topic, 0, offset, -1)
	p.must(kadm.NewClient(client).CommitAllOffsets(ctx, p.group, o))
}

// count is how many records there are, read as everybody would.
func (p pair) count(ctx context.Context, at *harness.Site) (n int) {
	p.Helper()
	admin, err := at.Admin()
	p.must(err)
	defer admin.Close()
	ends, err := admin.ListEndOffsets(ctx, p.topic)
	p.must(err)
	want := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { want[o.Partition] = o.Offset })
	client, err := kgo.NewClient(append(at.Kafka.DirectOptions(p.Login("app")), kgo.ConsumeTopics(p.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())...)
	p.must(err)
	defer client.Close()
	for left := len(want); left > 0; {
		fetches := client.PollFetches(ctx)
		p.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				n++
			}
			if r.Offset+1 == want[r.Partition] {
				left--
			}
		})
	}
	return n
}
