package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// as is how a test's principal logs in; the password is its name.
func as(user string) kgo.Opt {
	return kgo.SASL(plain.Auth{User: user, Pass: user}.AsMechanism())
}

func may(resource kmsg.ACLResourceType, name string, pattern kmsg.ACLResourcePatternType, op kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: resource, Name: name, Pattern: pattern, Operation: op, Allow: true}
}

func mayTopic(name string, op kmsg.ACLOperation) kfake.ACL {
	return may(kmsg.ACLResourceTypeTopic, name, kmsg.ACLResourcePatternTypeLiteral, op)
}

// mayAlmostAll is what an engine needs that is no super user.
func mayAlmostAll() []kfake.ACL {
	all := func(r kmsg.ACLResourceType, name string) kfake.ACL {
		return may(r, name, kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationAll)
	}
	return []kfake.ACL{all(kmsg.ACLResourceTypeTopic, "*"), all(kmsg.ACLResourceTypeGroup, "*"), all(kmsg.ACLResourceTypeTransactionalId, "*"), all(kmsg.ACLResourceTypeCluster, "kafka-cluster")}
}

// newGuardedSite is a cluster of three brokers with ACLs: super user admin, and
// app and canary, who may write to orders.
func newGuardedSite(t testing.TB, opts ...kfake.Opt) *site {
	t.Helper()
	write := mayTopic("orders", kmsg.ACLOperationWrite)
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3), kfake.ClusterID("guarded"), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"),
		kfake.User("PLAIN", "app", "app", write), kfake.User("PLAIN", "canary", "canary", write),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl := newClient(t, c.ListenAddrs(), as("admin"))
	return &site{c, cl, kadm.NewClient(cl)}
}

// guardedEngine runs an engine beside it as user.
func guardedEngine(t testing.TB, s *site, user string, canary bool) (*Manager, func()) {
	t.Helper()
	opts := Options{Local: []kgo.Opt{kgo.SeedBrokers(s.ListenAddrs()...), as(user)}, Principal: "User:" + user}
	if canary {
		opts.Canary = []kgo.Opt{kgo.SeedBrokers(s.ListenAddrs()...), as("canary")}
		opts.CanaryPrincipal = "User:canary"
	}
	return newEngineWith(t, s, opts)
}

// write tries to produce one record to orders as a user.
func (s *site) write(t *testing.T, user string) error {
	t.Helper()
	return writeAs(t, newClient(t, s.ListenAddrs(), as(user)), "orders")
}

func writeAs(t *testing.T, cl *kgo.Client, topic string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	return cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("mine")}).FirstErr()
}

// denials lists the DENY entries on topics as "principal operation topic".
func denials(t testing.TB, m *Manager) []string {
	t.Helper()
	acls, err := m.anyTopicACLs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range acls {
		if e.Permission == deny {
			out = append(out, e.Principal+" "+e.Operation+" "+e.ResourceName)
		}
	}
	slices.Sort(out)
	return out
}

func wantDenials(t testing.TB, m *Manager, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("DENY entries %q", want), func() error {
		if got := denials(t, m); !slices.Equal(got, want) && (len(got) > 0 || len(want) > 0) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

func awaitGuard(t *testing.T, m *Manager, topic, want string) {
	t.Helper()
	eventually(t, "guard "+want, func() error {
		p, err := m.Progress(t.Context(), "l")
		if err != nil {
			return err
		}
		for _, mt := range p.Mirrors {
			if mt.Topic == topic && mt.Guard == want {
				return nil
			}
		}
		return fmt.Errorf("%+v", p.Mirrors)
	})
}

func TestGuardIsProvenByTheCanaryAndRemovedByFailover(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "orders", 4, nil)
	m, _ := guardedEngine(t, dst, "admin", true)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	awaitGuard(t, m, "orders", api.GuardProven)
	if err := dst.write(t, "app"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("app writes into the mirror: %v", err)
	}
	wantDenials(t, m, "User:* WRITE orders")
	src.produce(t, "orders", 0, 0, 10)
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	awaitGuard(t, m, "orders", api.GuardReleased)
	wantDenials(t, m)
	if err := dst.write(t, "app"); err != nil {
		t.Fatalf("app cannot write after failover: %v", err)
	}
	if keys := m.store.Keys("guard/"); len(keys) > 0 {
		t.Fatalf("records of guards that are gone: %q", keys)
	}
}

func TestGuardNamesTheWritersWhereTheEngineIsNoSuperUserAndWatchesForNewOnes(t *testing.T) {
	t.Parallel()
	src := newSite(t, "source")
	dst := newGuardedSite(t, kfake.User("PLAIN", "engine", "engine", mayAlmostAll()...),
		kfake.User("PLAIN", "batch", "batch", may(kmsg.ACLResourceTypeTopic, "ord", kmsg.ACLResourcePatternTypePrefixed, kmsg.ACLOperationAll)),
		kfake.User("PLAIN", "late", "late"), kfake.User("PLAIN", "reader", "reader", mayTopic("orders", kmsg.ACLOperationRead)))
	src.topic(t, "orders", 1, nil)
	m, _ := guardedEngine(t, dst, "engine", true)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	wantDenials(t, m, "User:app WRITE orders", "User:batch WRITE orders", "User:canary WRITE orders")
	awaitGuard(t, m, "orders", api.GuardProven)
	if _, err := dst.adm.CreateACLs(t.Context(), kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Topics("*").Allow("User:late").AllowHosts("*").Operations(kadm.OpWrite)); err != nil {
		t.Fatal(err)
	}
	wantDenials(t, m, "User:app WRITE orders", "User:batch WRITE orders", "User:canary WRITE orders", "User:late WRITE orders")
	src.produce(t, "orders", 0, 0, 10)
	awaitLagZero(t, m, src, "orders")
	alter(t, m, api.VerbPromote, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	wantDenials(t, m)
}

func TestEntriesThatWereThereBeforeOutliveTheGuard(t *testing.T) {
	t.Parallel()
	src := newSite(t, "source")
	dst := newGuardedSite(t, kfake.User("PLAIN", "engine", "engine", mayAlmostAll()...))
	src.topic(t, "orders", 1, nil)
	if _, err := dst.adm.CreateACLs(t.Context(), kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Topics("orders").Deny("User:app").DenyHosts("*").Operations(kadm.OpWrite)); err != nil {
		t.Fatal(err)
	}
	m, _ := guardedEngine(t, dst, "engine", true)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	wantDenials(t, m, "User:app WRITE orders", "User:canary WRITE orders")
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	wantDenials(t, m, "User:app WRITE orders")
}

func TestAnEntryThatSomebodyRemovedIsMadeAgain(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "orders", 1, nil)
	m, _ := guardedEngine(t, dst, "admin", true)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	wantDenials(t, m, "User:* WRITE orders")
	if bad, err := m.deleteACLs(t.Context(), []api.ACLEntry{denial(everybody, "orders", opWrite)}); err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	wantDenials(t, m)
	wantDenials(t, m, "User:* WRITE orders")
}

func TestGuardIsNotProvenWhereTheCanaryNeverGotIn(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "clicks", 1, nil) // nobody may write to clicks
	m, _ := guardedEngine(t, dst, "admin", true)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "clicks")
	l := linkOf(t, m)
	if errs := l.proveGuards(t.Context(), map[string]time.Time{}); len(errs) > 0 {
		t.Fatal(errs)
	}
	awaitGuard(t, m, "clicks", api.GuardSet)
}

func TestMirrorsRunUnguardedWhereNoGuardCanBe(t *testing.T) {
	t.Parallel()
	everybodyWrites := kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Topics("orders").Allow("User:*").AllowHosts("*").Operations(kadm.OpWrite)
	for name, tc := range map[string]struct {
		dst  func(t *testing.T) *site
		user string
	}{
		"without a login": {func(t *testing.T) *site { return newSite(t, "dest") }, ""},
		"where the engine may not alter ACLs": {func(t *testing.T) *site {
			engine := slices.DeleteFunc(mayAlmostAll(), func(a kfake.ACL) bool { return a.Resource == kmsg.ACLResourceTypeCluster })
			engine = append(engine, may(kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationDescribe),
				may(kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationIdempotentWrite))
			return newGuardedSite(t, kfake.User("PLAIN", "engine", "engine", engine...))
		}, "engine"},
		"where everybody is allowed and the engine is no super user": {func(t *testing.T) *site {
			s := newGuardedSite(t, kfake.User("PLAIN", "engine", "engine", mayAlmostAll()...))
			if _, err := s.adm.CreateACLs(t.Context(), everybodyWrites); err != nil {
				t.Fatal(err)
			}
			return s
		}, "engine"},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := newSite(t, "source"), tc.dst(t)
			src.topic(t, "orders", 1, nil)
			var m *Manager
			if tc.user == "" {
				m, _ = newEngine(t, dst)
			} else {
				m, _ = guardedEngine(t, dst, tc.user, false)
			}
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			src.produce(t, "orders", 0, 0, 10)
			awaitLagZero(t, m, src, "orders")
			awaitGuard(t, m, "orders", api.GuardNone)
			if keys := m.store.Keys("guard/"); len(keys) > 0 {
				t.Fatalf("records of guards that were not made: %q", keys)
			}
			alter(t, m, api.VerbFailover, "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			awaitGuard(t, m, "orders", api.GuardNone)
		})
	}
}

func TestEngineTellsItsStandingWithTheAuthorizer(t *testing.T) {
	t.Parallel()
	dst := newGuardedSite(t, kfake.User("PLAIN", "engine", "engine", mayAlmostAll()...))
	for user, super := range map[string]bool{"admin": true, "engine": false} {
		m, stop := guardedEngine(t, dst, user, true)
		got, err := m.Engine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !got.Authorizer || got.SuperUser != super || got.AllowEveryone || got.Principal != "User:"+user || len(got.Brokers) != 3 || got.Shards != 4 || got.ClusterID != "guarded" {
			t.Errorf("as %s: %+v", user, got)
		}
		wantDenials(t, m) // the probe leaves nothing
		stop()
	}
	open := newSite(t, "open")
	m, _ := newEngine(t, open)
	got, err := m.Engine(t.Context())
	if err != nil || got.Authorizer || got.SuperUser || got.Principal != "User:ANONYMOUS" {
		t.Fatalf("without ACLs: %+v, error %v", got, err)
	}
}

func TestAGuardOfARefusedCreationIsClearedAway(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "orders", 1, nil)
	m, _ := guardedEngine(t, dst, "admin", false)
	newTestLink(t, m, src, nil)
	l := linkOf(t, m)
	if level, err := m.setGuard(t.Context(), l, "orders"); err != nil || level != api.GuardSet {
		t.Fatalf("guard %s, error %v", level, err)
	}
	wantDenials(t, m) // the watch finds no mirror that it belongs to
}

func TestFenceIsHandedOverToTheGuardsAndRemovedWithThem(t *testing.T) {
	t.Parallel()
	src := newSite(t, "source")
	dst := newGuardedSite(t, kfake.User("PLAIN", "engine", "engine", mayAlmostAll()...), kfake.User("PLAIN", "gone", "gone"))
	src.topic(t, "orders", 1, nil)
	m, _ := guardedEngine(t, dst, "engine", false)
	newTestLink(t, m, src, nil)
	fenced := []api.ACLEntry{denial("User:app", "orders", opWrite), denial("User:gone", "orders", opWrite)}
	if err := m.createACLs(t.Context(), fenced); err != nil { // an operation fenced this cluster
		t.Fatal(err)
	}
	newTestMirror(t, m, "orders") // the guard finds app's entry there
	put := func(op string, entries ...api.FenceEntry) {
		t.Helper()
		if _, err := m.PutFence(t.Context(), "pair", api.Fence{Pair: "pair", OperationID: op, Entries: entries}); err != nil {
			t.Fatal(err)
		}
	}
	group := denial("User:app", "readers", "READ")
	group.ResourceType = "GROUP"
	put("op-2", api.FenceEntry{ACLEntry: group, ClusterID: "guarded"}, api.FenceEntry{ACLEntry: fenced[0], ClusterID: "guarded"})
	if err := m.HandOverFence(t.Context(), "pair", "op-2", "l"); !errors.Is(err, api.ErrBadRequest) {
		t.Fatalf("a group's entry was handed over: %v", err)
	}
	if err := m.DeleteFence(t.Context(), "pair", "op-2"); err != nil {
		t.Fatal(err)
	}
	if err := m.HandOverFence(t.Context(), "pair", "op-2", "l"); !errors.Is(err, api.ErrNotFound) {
		t.Fatalf("a fence that nobody knows was handed over: %v", err)
	}
	put("op-1", api.FenceEntry{ACLEntry: fenced[0], ClusterID: "guarded"}, api.FenceEntry{ACLEntry: fenced[1], ClusterID: "guarded"})
	for range 2 { // asked again it is done
		if err := m.HandOverFence(t.Context(), "pair", "op-1", "l"); err != nil {
			t.Fatal(err)
		}
	}
	fences, err := m.Fences(t.Context(), "pair")
	if err != nil || len(fences) != 1 || !fences[0].HandedOver {
		t.Fatalf("registers %+v, error %v", fences, err)
	}
	var rec guardRecord
	if _, err := m.store.Get(guardKey("l", "orders"), &rec); err != nil {
		t.Fatal(err)
	}
	for _, e := range rec.Entries {
		if slices.Contains(fenced, e.ACLEntry) && (e.ExistedBefore || e.OperationID != "op-1") {
			t.Errorf("entry %+v is not ours", e)
		}
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	wantDenials(t, m)
}
