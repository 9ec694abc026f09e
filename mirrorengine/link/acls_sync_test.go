package link

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// aclLogin is a link's login as a user whose password is the name, with ACL sync.
func aclLogin(t *testing.T, user, filters string) map[string]string {
	t.Helper()
	return map[string]string{
		keyProtocol: protocolSASLPlaintext, keyMechanism: "PLAIN",
		keyJAAS:    fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required username="%s" password="${file:%s}";`, user, secretFile(t, user)),
		keyACLSync: "true", "acl.sync.ms": "1000", keyACLFilters: filters,
	}
}

// secured is a cluster with an authorizer, and somebody to change its ACLs.
type secured struct {
	*site
	acls *cluster
}

func newSecured(t *testing.T, id string, opts ...kfake.Opt) secured {
	t.Helper()
	s := newGuardedSite(t, append(opts, kfake.ClusterID(id))...)
	return secured{s, newCluster(s.client)}
}

// grant makes entries, revoke removes them.
func (s secured) grant(t *testing.T, lines ...string) {
	t.Helper()
	for some := range slices.Chunk(acls(lines...), 200) {
		if err := (&Manager{local: s.acls}).createACLs(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
}

func (s secured) revoke(t *testing.T, lines ...string) {
	t.Helper()
	for some := range slices.Chunk(acls(lines...), 200) {
		bad, err := (&Manager{local: s.acls}).deleteACLs(t.Context(), some)
		if err != nil || len(bad) > 0 {
			t.Fatal(bad, err)
		}
	}
}

// stands waits until exactly these entries stand of those that choose picks.
func (s secured) stands(t *testing.T, choose func(api.ACLEntry) bool, want ...string) {
	t.Helper()
	wanted := ordered(acls(want...))
	eventually(t, fmt.Sprintf("entries %q", want), func() error {
		all, err := listACLs(t.Context(), s.acls, anyBroker, kmsg.ACLResourceTypeAny)
		if err != nil {
			return err
		}
		var got []api.ACLEntry
		for _, e := range all {
			if choose(e) {
				got = append(got, e)
			}
		}
		if len(got) < len(wanted) || !slices.Equal(ordered(got), wanted) {
			return otherACLs(got)
		}
		return nil
	})
}

// otherACLs is put into words only when nobody waits any more: they may be thousands.
type otherACLs []api.ACLEntry

func (o otherACLs) Error() string { return fmt.Sprint([]api.ACLEntry(o)) }

func of(principals ...string) func(api.ACLEntry) bool {
	return func(e api.ACLEntry) bool { return slices.Contains(principals, e.Principal) }
}

func aclTask(t *testing.T, m *Manager) api.LinkTask {
	t.Helper()
	l, err := m.Link(t.Context(), "l", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range l.Tasks {
		if task.TaskName == api.TaskACLSync {
			return task
		}
	}
	t.Fatalf("no task %s in %+v", api.TaskACLSync, l.Tasks)
	return api.LinkTask{}
}

func awaitACLError(t *testing.T, m *Manager, code string, says ...string) {
	t.Helper()
	eventually(t, "task error "+code, func() error {
		task := aclTask(t, m)
		for _, e := range task.Errors {
			missing := slices.DeleteFunc(slices.Clone(says), func(s string) bool { return strings.Contains(e.ErrorMessage, s) })
			if task.State == "IN_ERROR" && e.ErrorCode == code && len(missing) == 0 {
				return nil
			}
		}
		return fmt.Errorf("%+v", task)
	})
}

const (
	readOrders = "ALLOW READ TOPIC LITERAL orders User:reader *"
	readGroup  = "ALLOW READ GROUP LITERAL billing User:reader *"
	keepOurs   = "ALLOW DESCRIBE TOPIC LITERAL orders User:reader *"
)

func TestACLSyncFollowsTheSourceAndEndsWithTheMirrors(t *testing.T) {
	t.Parallel()
	src, dst := newSecured(t, "east"), newSecured(t, "west")
	src.topic(t, "orders", 1, nil)
	src.topic(t, "later", 1, nil)
	dst.grant(t, keepOurs)
	src.grant(t, readOrders, readGroup, keepOurs, "DENY WRITE TOPIC LITERAL orders User:reader *", "ALLOW READ TOPIC LITERAL orders User:engine *")
	m, stop := guardedEngine(t, dst.site, "admin", true)
	newTestLink(t, m, src.site, aclLogin(t, "admin", allACLs))
	reader := of("User:reader", "User:engine")
	if got := aclTask(t, m); got.State != api.TaskActive && got.State != api.Unknown {
		t.Errorf("task %+v", got)
	}
	p, err := m.ACLs(t.Context(), "l", "")
	if err != nil || len(p.ToAdd) != 0 || len(p.Skipped) == 0 || p.InStep == 0 || !strings.Contains(p.Skipped[0].Reason, "no mirror topic yet") {
		t.Fatalf("without a mirror: %+v, error %v", p, err)
	}
	newTestMirror(t, m, "orders")
	newTestMirror(t, m, "later")
	dst.stands(t, reader, readOrders, readGroup, keepOurs, "ALLOW READ TOPIC LITERAL orders User:engine *") // not the fence-shaped one

	// A new round after a restart still knows what it made.
	stop()
	m, _ = guardedEngine(t, dst.site, "admin", true)
	src.revoke(t, readOrders, keepOurs)
	dst.stands(t, reader, readGroup, keepOurs, "ALLOW READ TOPIC LITERAL orders User:engine *")
	if p, err = m.ACLs(t.Context(), "l", ""); err != nil || len(p.ToAdd)+len(p.ToDelete) != 0 || !slices.ContainsFunc(p.Protected, func(c api.ACLChange) bool { return c.At == api.ACLAtSource && c.Permission == deny }) {
		t.Fatalf("in step: %+v, error %v", p, err)
	}

	// One of two mirrors ends: only the other one's entries go on.
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	src.grant(t, readOrders, "ALLOW READ TOPIC LITERAL later User:reader *")
	src.revoke(t, readGroup)
	dst.stands(t, reader, readGroup, keepOurs, "ALLOW READ TOPIC LITERAL later User:reader *", "ALLOW READ TOPIC LITERAL orders User:engine *")
	p, err = m.ACLs(t.Context(), "l", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{readOrders, readGroup} {
		if !slices.ContainsFunc(p.Skipped, func(c api.ACLChange) bool {
			return c.ACLEntry == acl(want) && strings.Contains(c.Reason, "mirror topic orders has ended")
		}) {
			t.Errorf("%s is not skipped: %+v", want, p)
		}
	}

	// What was copied outlives the link: clients work here now.
	alter(t, m, api.VerbFailover, "later")
	awaitStatus(t, m, "later", status.Stopped)
	if err := m.DeleteLink(t.Context(), "l", true, false); err != nil {
		t.Fatal(err)
	}
	dst.stands(t, reader, readGroup, keepOurs, "ALLOW READ TOPIC LITERAL later User:reader *", "ALLOW READ TOPIC LITERAL orders User:engine *")
	if keys := m.store.Keys("acl/"); len(keys) > 0 {
		t.Errorf("records of a link that is gone: %q", keys)
	}
}

// The copied ALLOW must not let anybody write into the mirror, not for a moment:
// the guard's DENY comes first.
func TestCopiedWritersAreDeniedBeforeTheyAreAllowed(t *testing.T) {
	t.Parallel()
	src := newSecured(t, "east")
	dst := newSecured(t, "west", kfake.User("PLAIN", "engine", "engine", mayAlmostAll()...), kfake.User("PLAIN", "writer", "writer"))
	src.topic(t, "orders", 1, nil)
	var mu sync.Mutex // guards order
	var order []string
	dst.ControlKey(kmsg.CreateACLs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		dst.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range r.(*kmsg.CreateACLsRequest).Creations {
			if c.Principal == "User:writer" {
				order = append(order, c.PermissionType.String())
			}
		}
		return nil, nil, false
	})
	src.grant(t, "ALLOW WRITE TOPIC PREFIXED ord User:writer *", "ALLOW WRITE TOPIC LITERAL orders User:* *")
	m, _ := guardedEngine(t, dst.site, "engine", true)
	newTestLink(t, m, src.site, aclLogin(t, "admin", allACLs))
	newTestMirror(t, m, "orders")
	dst.stands(t, of("User:writer"), "ALLOW WRITE TOPIC PREFIXED ord User:writer *", "DENY WRITE TOPIC LITERAL orders User:writer *")
	mu.Lock()
	if !slices.Equal(order, []string{"DENY", "ALLOW"}) {
		t.Errorf("made in the order %q", order)
	}
	mu.Unlock()
	if err := dst.write(t, "writer"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("the copied writer writes into the mirror: %v", err)
	}
	awaitACLError(t, m, "MISCONFIGURATION_ERROR", "User:*", "everybody could write into the mirror topic")
	src.produce(t, "orders", 0, 0, 10)
	awaitLagZero(t, m, src.site, "orders")
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	dst.stands(t, of("User:writer"), "ALLOW WRITE TOPIC PREFIXED ord User:writer *")
	if err := dst.write(t, "writer"); err != nil {
		t.Errorf("the copied writer cannot write after failover: %v", err)
	}
}

func TestFiveThousandACLEntriesGoInBoundedRequests(t *testing.T) {
	src, dst := newSecured(t, "east"), newSecured(t, "west")
	src.topic(t, "orders", 1, nil)
	var lines []string
	for i := range 5000 {
		lines = append(lines, fmt.Sprintf("ALLOW READ TOPIC LITERAL topic-%04d User:reader *", i))
	}
	src.grant(t, lines...)
	var mu sync.Mutex // guards sizes
	var sizes []int
	note := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, n)
	}
	dst.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		dst.KeepControl()
		switch r := r.(type) {
		case *kmsg.CreateACLsRequest:
			note(len(r.Creations))
		case *kmsg.DeleteACLsRequest:
			note(len(r.Filters))
		}
		return nil, nil, false
	})
	m, _ := guardedEngine(t, dst.site, "admin", true)
	newTestLink(t, m, src.site, aclLogin(t, "admin", allACLs))
	newTestMirror(t, m, "orders")
	dst.stands(t, of("User:reader"), lines...)
	const gone = 1200
	src.revoke(t, lines[:gone]...)
	dst.stands(t, of("User:reader"), lines[gone:]...)
	eventually(t, "records of the deleted ones are gone", func() error {
		if n := len(m.store.Keys("acl/")); n != 5000-gone {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if most := slices.Max(sizes); most > aclBatch || len(sizes) > 50 {
		t.Errorf("%d requests, the largest with %d entries", len(sizes), most)
	}
}

func TestACLSyncNamesTheCure(t *testing.T) {
	t.Parallel()
	src := newSecured(t, "east", kfake.User("PLAIN", "reader", "reader", mayAlmostAll()[0]))
	src.topic(t, "orders", 1, nil)
	src.grant(t, readGroup)
	t.Run("the source does not let the link list", func(t *testing.T) {
		dst := newSecured(t, "west")
		m, _ := guardedEngine(t, dst.site, "admin", false)
		newTestLink(t, m, src.site, aclLogin(t, "reader", allACLs))
		newTestMirror(t, m, "orders")
		awaitACLError(t, m, "AUTHORIZATION_ERROR", "User:reader needs DESCRIBE on CLUSTER of the source cluster", "kafka-acls", "--allow-principal User:reader --operation Describe --cluster")
	})
	t.Run("this cluster does not let the engine alter", func(t *testing.T) {
		may := mayAlmostAll()
		may[3].Operation = kmsg.ACLOperationDescribe
		dst := newSecured(t, "west", kfake.User("PLAIN", "engine", "engine", append(may, kfake.ACL{
			Resource: kmsg.ACLResourceTypeCluster, Name: "kafka-cluster", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationCreate, Allow: true,
		})...))
		m, _ := guardedEngine(t, dst.site, "engine", false)
		newTestLink(t, m, src.site, aclLogin(t, "admin", allACLs))
		newTestMirror(t, m, "orders")
		awaitACLError(t, m, "AUTHORIZATION_ERROR", "User:engine needs ALTER on CLUSTER of this cluster", "--operation Alter --cluster")
		if keys := m.store.Keys("acl/"); len(keys) > 0 {
			t.Errorf("entries that were refused stand as ours: %q", keys)
		}
	})
	t.Run("no authorizer", func(t *testing.T) {
		m, _ := newEngine(t, newSite(t, "west"))
		newTestLink(t, m, src.site, aclLogin(t, "admin", allACLs))
		newTestMirror(t, m, "orders")
		awaitACLError(t, m, "SECURITY_DISABLED_ERROR", "this cluster has no authorizer", "authorizer.class.name")
	})
	t.Run("a source that has lost its entries", func(t *testing.T) {
		dst := newSecured(t, "west")
		m, _ := guardedEngine(t, dst.site, "admin", false)
		newTestLink(t, m, src.site, aclLogin(t, "admin", allACLs))
		newTestMirror(t, m, "orders")
		dst.stands(t, of("User:reader"), readGroup, "ALLOW ALL TOPIC LITERAL * User:reader *")
		src.ControlKey(kmsg.DescribeACLs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			src.KeepControl()
			return r.ResponseKind(), nil, true
		})
		awaitACLError(t, m, "MISCONFIGURATION_ERROR", "lists no ACL entry at all", "nothing is deleted")
		dst.stands(t, of("User:reader"), readGroup, "ALLOW ALL TOPIC LITERAL * User:reader *")
	})
}

func TestAPausedLinkSyncsNoACLs(t *testing.T) {
	t.Parallel()
	src, dst := newSecured(t, "east"), newSecured(t, "west")
	m, _ := guardedEngine(t, dst.site, "admin", false)
	configs := aclLogin(t, "admin", allACLs)
	configs["cluster.link.paused"] = "true"
	newTestLink(t, m, src.site, configs)
	eventually(t, "LINK_PAUSED", func() error {
		if got := aclTask(t, m); got.State != "LINK_PAUSED" {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	off := "false"
	if err := m.AlterLinkConfigs(t.Context(), "l", []api.AlterConfig{{Name: keyACLSync, Value: &off, Operation: "SET"}}, false); err != nil {
		t.Fatal(err)
	}
	if got := aclTask(t, m); got.State != "NOT_CONFIGURED" {
		t.Errorf("switched off: %+v", got)
	}
	if _, err := m.ACLs(t.Context(), "l", ""); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("a preview without filters: %v", err)
	}
	if p, err := m.ACLs(t.Context(), "l", allACLs); err != nil || p.Enabled {
		t.Errorf("a preview with its own filters: %+v, error %v", p, err)
	}
}
