package link

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Each right of ARCHITECTURE.md's table is taken away in turn: what then fails says
// who needs which right on what, and how to give it.

// linkRights are what a link's login needs on its source, and what names each.
var linkRights = map[string]string{
	"ALLOW READ TOPIC LITERAL orders User:reader *":              "User:reader needs READ on TOPIC orders of the source cluster: kafka-acls --bootstrap-server … --add --allow-principal User:reader --operation Read --topic orders",
	"ALLOW DESCRIBE_CONFIGS TOPIC LITERAL orders User:reader *":  "User:reader needs DESCRIBE_CONFIGS on TOPIC orders of the source cluster: kafka-acls --bootstrap-server … --add --allow-principal User:reader --operation DescribeConfigs --topic orders",
	"ALLOW DESCRIBE CLUSTER LITERAL kafka-cluster User:reader *": "User:reader needs DESCRIBE on CLUSTER of the source cluster: kafka-acls --bootstrap-server … --add --allow-principal User:reader --operation Describe --cluster",
}

// engineRights are what an engine that is no super user needs on its own cluster.
// WRITE on the topics names itself by the mirror's stall, and so on.
var engineRights = map[string]string{
	"ALLOW ALL TOPIC LITERAL _drawbridge_state User:engine *":       "User:engine needs ALL on TOPIC _drawbridge_state of this cluster",
	"ALLOW ALL TRANSACTIONAL_ID PREFIXED drawbridge- User:engine *": "User:engine needs WRITE on TRANSACTIONAL_ID drawbridge-",
	"ALLOW CREATE TOPIC LITERAL orders User:engine *":               "User:engine needs CREATE on TOPIC orders of this cluster",
	"ALLOW WRITE TOPIC LITERAL orders User:engine *":                "User:engine needs WRITE on TOPIC orders of this cluster",
	"ALLOW READ GROUP LITERAL billing User:engine *":                "User:engine needs READ on GROUP billing of this cluster",
	"ALLOW ALTER CLUSTER LITERAL kafka-cluster User:engine *":       "User:engine needs ALTER on CLUSTER of this cluster",
	"ALLOW ALTER_CONFIGS TOPIC LITERAL orders User:engine *":        "User:engine needs ALTER_CONFIGS on TOPIC orders of this cluster", // it includes DESCRIBE_CONFIGS
}

// engineAlso are rights whose lack is not looked at here.
var engineAlso = []string{
	"ALLOW DESCRIBE CLUSTER LITERAL kafka-cluster User:engine *", "ALLOW CLUSTER_ACTION CLUSTER LITERAL kafka-cluster User:engine *", "ALLOW IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster User:engine *",
	"ALLOW READ TOPIC LITERAL orders User:engine *", "ALLOW ALTER TOPIC LITERAL orders User:engine *",
	"ALLOW ALL TOPIC PREFIXED _drawbridge_state_ User:engine *", "ALLOW READ GROUP LITERAL _drawbridge_state User:engine *",
}

// complaints are all that an engine says of a link: to the caller, in tasks, of
// partitions.
func complaints(t *testing.T, m *Manager) string {
	t.Helper()
	var out []string
	if l, err := m.Link(t.Context(), "l", true); err == nil {
		for _, task := range l.Tasks {
			for _, e := range task.Errors {
				out = append(out, e.ErrorMessage)
			}
		}
	}
	if p, err := m.Progress(t.Context(), "l"); err == nil {
		for _, mt := range p.Mirrors {
			for _, part := range mt.Partitions {
				out = append(out, part.Stalled)
			}
		}
	}
	return strings.Join(out, "\n")
}

// rightsBench are two clusters with an authorizer, and how to reach them.
type rightsBench struct {
	src, dst         secured
	srcAddr, dstAddr []string
}

func (b rightsBench) tryEach(t *testing.T, rights map[string]string, also []string, engine, reader string, cluster secured) {
	all := also
	for right := range rights {
		all = append(all, right)
	}
	slices.Sort(all)
	for _, right := range slices.Sorted(maps.Keys(rights)) {
		says := rights[right]
		t.Run(right, func(t *testing.T) {
			cluster.grant(t, all...)
			cluster.revoke(t, right)
			cluster.stands(t, of("User:"+engine, "User:"+reader), slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right })...)
			defer func() { _, _ = b.dst.adm.DeleteTopics(t.Context(), "orders") }()
			b.try(t, engine, reader, says)
		})
	}
}

func (b rightsBench) try(t *testing.T, engine, reader, says string) {
	t.Helper()
	m, err := New(t.Context(), Options{
		Local: []kgo.Opt{kgo.SeedBrokers(b.dstAddr...), as(engine)}, Principal: "User:" + engine, Name: "test", StateTopic: "_drawbridge_state", Shards: 4, ReplicationFactor: 1,
		Logger: testLogger(t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the engine does not start: %v, want …%s…", err, says)
		}
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Logf("without the right the engine ended: %v", err)
		}
		m.Close()
	}()
	eventually(t, "the engine is ready", m.Ready)
	configs := aclLogin(t, reader, allACLs)
	configs[keyBootstrap], configs["topic.config.sync.ms"] = strings.Join(b.srcAddr, ","), "500"
	configs[keyOffsetSync], configs["consumer.offset.sync.ms"] = "true", "1000"
	configs[keyGroupFilters] = `{"groupFilters":[{"name":"billing","patternType":"LITERAL","filterType":"INCLUDE"}]}`
	var req api.CreateLink
	for k, v := range configs {
		req.Configs = append(req.Configs, api.NameValue{Name: k, Value: &v})
	}
	if err := m.CreateLink(t.Context(), "l", req, false, true); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.DeleteLink(t.Context(), "l", true, false); err != nil {
			t.Error(err)
		}
	}()
	err = m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1})
	eventually(t, "says "+says, func() error {
		if all := fmt.Sprint(err, "\n", complaints(t, m)); !strings.Contains(all, says) {
			return fmt.Errorf("%s", all)
		}
		return nil
	})
}

// fill makes the source's topic with records, and a group that has read some.
func (b rightsBench) fill(t *testing.T) {
	t.Helper()
	b.src.topic(t, "orders", 1, nil)
	b.src.produce(t, "orders", 0, 0, 10)
	b.src.commit(t, "billing", "orders", 0, 5)
}

func TestEachMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	users := []kfake.Opt{kfake.User("PLAIN", "reader", "reader"), kfake.User("PLAIN", "engine", "engine")}
	b := rightsBench{src: newSecured(t, "east", users...), dst: newSecured(t, "west", users...)}
	b.srcAddr, b.dstAddr = b.src.ListenAddrs(), b.dst.ListenAddrs()
	b.fill(t)
	t.Run("link", func(t *testing.T) { b.tryEach(t, linkRights, nil, "admin", "reader", b.src) })
	t.Run("engine", func(t *testing.T) { b.tryEach(t, engineRights, engineAlso, "engine", "admin", b.dst) })
}
