//go:build real

package link

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Apache Kafka hides super.users and hands ACL entries to its brokers some time
// after it has acknowledged them: what kfake does at once is seen here.
func TestGuardOnApacheKafkaIsProvenAndReleasedWithAndWithoutASuperUser(t *testing.T) {
	t.Parallel()
	user := func(name string) local.User { return local.User{Name: name, Password: name} }
	k := local.KafkaForTest(t, local.KafkaConfig{
		Kind: local.Apache, Name: "guarded", SuperUser: user("admin"), Users: []local.User{user("engine"), user("app"), user("canary")},
		Properties: map[string]string{"allow.everyone.if.no.acl.found": "true"},
	})
	src := newSite(t, "source")
	admin := newClient(t, k.Bootstrap(), as("admin"))
	adm := kadm.NewClient(admin)
	grant := func(b *kadm.ACLBuilder) {
		t.Helper()
		if _, err := adm.CreateACLs(t.Context(), b.ResourcePatternType(kadm.ACLPatternLiteral).AllowHosts("*")); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range []string{"User:app", "User:canary"} {
		grant(kadm.NewACLs().Topics("orders").Allow(u).Operations(kadm.OpWrite))
	}
	src.topic(t, "orders", 3, nil)
	src.topic(t, "open", 1, nil)
	for _, tc := range []struct {
		user     string
		super    bool
		everyone bool // once an entry covers all topics the default concerns none
		denials  []string
	}{
		{"admin", true, true, []string{"User:* WRITE orders"}},
		{"engine", false, false, []string{"User:app WRITE orders", "User:canary WRITE orders"}},
	} {
		t.Run(tc.user, func(t *testing.T) {
			began := time.Now()
			if !tc.super {
				grant(kadm.NewACLs().Topics("*").Groups("*").TransactionalIDs("*").Clusters().Allow("User:engine").Operations(kadm.OpAll))
				eventually(t, "the broker knows the entry for all topics", func() error {
					list := kadm.NewACLs().Topics("*").ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:engine").AllowHosts("*").Operations(kadm.OpAll)
					got, err := adm.DescribeACLs(t.Context(), list)
					if err == nil && (len(got) == 0 || len(got[0].Described) == 0) {
						err = errors.New("not yet")
					}
					return err
				})
			}
			// An idempotent client would be told CLUSTER_AUTHORIZATION_FAILED under the guard:
			// InitProducerId wants a topic that its principal may write to.
			app := newClient(t, k.Bootstrap(), as("app"), kgo.DisableIdempotentWrite())
			m, stop := newEngineWith(t, &site{}, Options{
				Local: k.Options(user(tc.user)), Principal: "User:" + tc.user,
				Canary: []kgo.Opt{kgo.SeedBrokers(k.Bootstrap()...), as("canary")}, CanaryPrincipal: "User:canary",
			})
			defer stop()
			got, err := m.Engine(t.Context())
			if err != nil || !got.Authorizer || got.SuperUser != tc.super || got.AllowEveryone != tc.everyone {
				t.Fatalf("%+v, error %v", got, err)
			}
			value, told := m.brokerConfig(t.Context(), 1, "allow.everyone.if.no.acl.found")
			t.Logf("brokers tell allow.everyone.if.no.acl.found: %t %q", told, value)
			t.Logf("engine up after %s: %+v", time.Since(began), got)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			if tc.everyone { // a DENY would shut out whoever reads it by that default
				newTestMirror(t, m, "open")
				awaitGuard(t, m, "open", api.GuardNone)
			}
			awaitGuard(t, m, "orders", api.GuardProven)
			wantDenials(t, m, tc.denials...)
			if err := writeAs(t, app, "orders"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
				t.Errorf("app writes into the mirror: %v", err)
			}
			src.produce(t, "orders", 0, 0, 10)
			awaitLagZero(t, m, src, "orders")
			alter(t, m, api.VerbFailover, "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			awaitGuard(t, m, "orders", api.GuardReleased)
			wantDenials(t, m)
			eventually(t, "app may write after failover", func() error { return writeAs(t, app, "orders") })
			if err := m.DeleteLink(t.Context(), "l", true, false); err != nil {
				t.Fatal(err)
			}
			if _, err := adm.DeleteTopics(t.Context(), "orders", "open"); err != nil {
				t.Fatal(err)
			}
		})
	}
}
