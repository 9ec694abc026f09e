//go:build real

package link

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// apacheSite is a site on Apache Kafka; of kfake's control it has nothing.
func apacheSite(t *testing.T, name string) (*site, *local.Kafka) {
	t.Helper()
	return apacheSiteOf(t, local.KafkaConfig{Name: name})
}

// apacheSiteOf fills in what cfg leaves out.
func apacheSiteOf(t *testing.T, cfg local.KafkaConfig) (*site, *local.Kafka) {
	t.Helper()
	cfg.Kind, cfg.SuperUser = local.Apache, local.User{Name: "admin", Password: "admin-secret"}
	k := local.KafkaForTest(t, cfg)
	cl, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &site{client: cl, adm: kadm.NewClient(cl)}, k
}

// apacheEngine runs a Manager beside an Apache cluster until the test ends.
func apacheEngine(t *testing.T, dst *local.Kafka) *Manager {
	t.Helper()
	m, err := New(t.Context(), Options{
		Local: dst.Options(dst.SuperUser()), Name: "test", StateTopic: "_drawbridge_state", Shards: 2, ReplicationFactor: 1,
		Logger: testLogger(t), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Logf("engine ended: %v", err)
		}
		m.Close()
	})
	eventually(t, "the engine is ready", m.Ready)
	return m
}

// apacheLink makes link "l" from an Apache cluster with further configs.
func apacheLink(t *testing.T, m *Manager, src *local.Kafka, further map[string]string) {
	t.Helper()
	configs := map[string]string{
		"bootstrap.servers": strings.Join(src.Bootstrap(), ","), keyProtocol: "SASL_PLAINTEXT", keyMechanism: "SCRAM-SHA-256",
		keyJAAS: fmt.Sprintf(`org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="${file:%s:password}";`, secretFile(t, "password=admin-secret\n")),
	}
	maps.Copy(configs, further)
	var req api.CreateLink
	for k, v := range configs {
		req.Configs = append(req.Configs, api.NameValue{Name: k, Value: &v})
	}
	if err := m.CreateLink(t.Context(), "l", req, false, true); err != nil {
		t.Fatal(err)
	}
}
