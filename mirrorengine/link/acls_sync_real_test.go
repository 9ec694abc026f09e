//go:build real

package link

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// apacheSecured is one Apache Kafka with StandardAuthorizer and super user admin.
func apacheSecured(t *testing.T, name string, properties map[string]string, users ...string) (secured, *local.Kafka) {
	t.Helper()
	list := []local.User{{Name: "engine", Password: "engine"}, {Name: "canary", Password: "canary"}, {Name: "writer", Password: "writer"}}
	for _, u := range users {
		list = append(list, local.User{Name: u, Password: u})
	}
	k := local.KafkaForTest(t, local.KafkaConfig{
		Kind: local.Apache, Name: name, SuperUser: local.User{Name: "admin", Password: "admin"}, Users: list, Properties: properties,
	})
	cl := newClient(t, k.Bootstrap(), as("admin"))
	return secured{&site{client: cl, adm: kadm.NewClient(cl)}, newCluster(cl)}, k
}

// What kfake does at once takes its way through the metadata log here, and the
// authorizer is Kafka's own, with allow.everyone.if.no.acl.found at the standby.
func TestACLSyncOnApacheKafka(t *testing.T) {
	t.Parallel()
	src, east := apacheSecured(t, "east", nil)
	dst, west := apacheSecured(t, "west", map[string]string{"allow.everyone.if.no.acl.found": "true"})
	src.topic(t, "orders", 1, nil)
	const (
		write    = "ALLOW WRITE TOPIC LITERAL orders User:writer *"
		describe = "ALLOW DESCRIBE TOPIC LITERAL orders User:writer *"
		group    = "ALLOW READ GROUP PREFIXED bill User:writer *"
		tx       = "ALLOW WRITE TRANSACTIONAL_ID LITERAL tx User:writer *"
		cluster  = "ALLOW IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster User:writer *"
		guardish = "DENY WRITE TOPIC LITERAL orders User:writer *"
	)
	src.grant(t, write, describe, group, tx, cluster, guardish)
	dst.grant(t, describe, "ALLOW WRITE TOPIC LITERAL orders User:canary *")
	m, stop := newEngineWith(t, &site{}, Options{
		Local: west.Options(local.User{Name: "admin", Password: "admin"}), Principal: "User:admin",
		Canary: []kgo.Opt{kgo.SeedBrokers(west.Bootstrap()...), as("canary")}, CanaryPrincipal: "User:canary",
	})
	defer stop()
	req := api.CreateLink{}
	for k, v := range aclLogin(t, "admin", allACLs) {
		req.Configs = append(req.Configs, api.NameValue{Name: k, Value: &v})
	}
	boot := east.Bootstrap()[0]
	req.Configs = append(req.Configs, api.NameValue{Name: keyBootstrap, Value: &boot})
	if err := m.CreateLink(t.Context(), "l", req, false, true); err != nil {
		t.Fatal(err)
	}
	newTestMirror(t, m, "orders")
	dst.stands(t, of("User:writer"), write, describe, group, tx, cluster)
	awaitGuard(t, m, "orders", api.GuardProven)
	app := newClient(t, west.Bootstrap(), as("writer"), kgo.DisableIdempotentWrite())
	if err := writeAs(t, app, "orders"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("the copied writer writes into the mirror: %v", err)
	}
	p, err := m.ACLs(t.Context(), "l", "")
	if err != nil || p.InStep < 5 || len(p.ToAdd)+len(p.ToDelete) > 0 || p.Made != 4 {
		t.Errorf("preview %+v, error %v", p, err)
	}
	src.revoke(t, group, describe)
	// describe stood here before; the group's entry is ours, and the last of its
	// resource: without it everybody would get in.
	eventually(t, "the last entry of the group is told", func() error {
		p, err := m.ACLs(t.Context(), "l", "")
		for _, c := range p.Skipped {
			if c.ACLEntry == acl(group) && c.At == api.ACLAtDestination {
				return nil
			}
		}
		return fmt.Errorf("%+v, error %w", p, err)
	})
	src.revoke(t, cluster)
	src.grant(t, "ALLOW DESCRIBE CLUSTER LITERAL kafka-cluster User:writer *")
	dst.stands(t, of("User:writer"), write, describe, group, tx, "ALLOW DESCRIBE CLUSTER LITERAL kafka-cluster User:writer *")
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	eventually(t, "the copied writer may write after failover", func() error { return writeAs(t, app, "orders") })
	src.revoke(t, write)
	if errs := m.all()[0].syncACLs(t.Context()); len(errs) > 0 {
		t.Errorf("a round after the failover: %+v", errs)
	}
	dst.stands(t, of("User:writer"), write, describe, group, tx, "ALLOW DESCRIBE CLUSTER LITERAL kafka-cluster User:writer *")
}
