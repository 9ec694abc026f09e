//go:build real

package link

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func (s *site) allow(t *testing.T, b *kadm.ACLBuilder) {
	t.Helper()
	res, err := s.adm.CreateACLs(t.Context(), b.Allow("User:mirror").AllowHosts())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// A link whose principal may do no more than it must: each right that is missing
// is named, and with it the link goes on by itself.
func TestAutoCreateAndOpenTransactionsByAnOrdinaryPrincipalOnApacheKafka(t *testing.T) {
	t.Parallel()
	user := local.User{Name: "mirror", Password: "mirror-secret"}
	src, k := apacheSiteOf(t, local.KafkaConfig{Name: "west", Users: []local.User{user}})
	dst := newSite(t, "dst")
	m, _ := newEngine(t, dst)
	for _, topic := range []string{"orders.a", "orders.app-store-changelog", "payments"} {
		src.topic(t, topic, 1, nil)
	}
	src.produce(t, "orders.a", 0, 0, 5)
	src.allow(t, kadm.NewACLs().Topics("orders.").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs))

	configs := creating(everyTopic)
	configs[keyMechanism] = "PLAIN"
	configs[keyJAAS] = fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required username="mirror" password="${file:%s}";`, secretFile(t, user.Password))
	apacheLink(t, m, k, configs)
	awaitTask(t, m, api.TaskAutoCreate, "IN_ERROR", "AUTHORIZATION_ERROR", "_drawbridge_state", "allow the link's principal DESCRIBE and READ")
	if got := mirrorNames(t, m); len(got) != 0 {
		t.Errorf("mirrors %v", got)
	}
	src.allow(t, kadm.NewACLs().Topics("_drawbridge_state").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead, kadm.OpDescribe))
	awaitTask(t, m, api.TaskAutoCreate, "ACTIVE")
	if got := mirrorNames(t, m); !slices.Equal(got, []string{"orders.a"}) {
		t.Errorf("mirrors %v", got)
	}
	awaitLagZero(t, m, src, "orders.a")

	cl, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.TransactionalID("pay-1"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	begin(t, cl, "orders.a", 0, "held")
	src.produce(t, "orders.a", 0, 5, 3)
	l := linkOf(t, m)
	seen, now := openTransactions{}, time.Now()
	says := func(want string) {
		t.Helper()
		eventually(t, want, func() error {
			_ = l.lookAtTransactions(t.Context(), seen, now)
			if text := fmt.Sprint(l.lookAtTransactions(t.Context(), seen, now.Add(2*time.Minute))); !strings.Contains(text, want) {
				return fmt.Errorf("%s", text)
			}
			return nil
		})
	}
	says("orders.a partition 0 is held back at offset 5 for 2m0s")
	says("known to no coordinator that tells this link (DESCRIBE on the transactional id)")
	src.allow(t, kadm.NewACLs().TransactionalIDs("pay-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpDescribe))
	says("transactional id pay-1 (Ongoing)")
	end(t, cl, false)
	awaitLagZero(t, m, src, "orders.a")
}
