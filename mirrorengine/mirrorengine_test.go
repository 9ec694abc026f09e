package mirrorengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// running starts an engine over an in-process Kafka and gives its base URL;
// both end with the test.
func running(t *testing.T, change func(*Config)) string {
	t.Helper()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("cluster-west"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	cfg := Default()
	cfg.Name, cfg.Listen, cfg.Kafka.Bootstrap, cfg.State.Shards = "west", "127.0.0.1:0", kafka.ListenAddrs(), 2
	if change != nil {
		change(&cfg)
	}
	engine, err := New(t.Context(), cfg, "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		engine.Close()
	})
	return "http://" + engine.Addr().String()
}

func TestTheEngineServesContractAndMetrics(t *testing.T) {
	base := running(t, nil)
	c := &api.Client{BaseURL: base}
	engine, err := c.Engine(t.Context())
	if err != nil || engine.ClusterID != "cluster-west" || engine.Version != "v1" {
		t.Fatalf("got %+v, %v", engine, err)
	}
	if _, err := c.Link(t.Context(), "east-west", false); !errors.Is(err, api.LinkNotFound()) {
		t.Errorf("an unknown link: got %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+api.PathMetrics, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), `drawbridge_engine_build_info{version="v1"} 1`) {
		t.Errorf("got %s, %v", body, err)
	}
}

func TestALinkToASourceThatCannotBeUsedIsRefusedWithTheReason(t *testing.T) {
	east, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("cluster-east"),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "engine", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(east.Close)
	t.Setenv("DRAWBRIDGE_TEST_RIGHT", "right")
	t.Setenv("DRAWBRIDGE_TEST_WRONG", "wr0ng")
	c := &api.Client{BaseURL: running(t, func(cfg *Config) {
		cfg.Secrets.Env = []string{"DRAWBRIDGE_TEST_RIGHT", "DRAWBRIDGE_TEST_WRONG"}
	})}
	create := func(address, password string) error {
		value := func(s string) *string { return &s }
		return c.CreateLink(t.Context(), "east-west", api.CreateLink{SourceClusterID: "cluster-east", Configs: []api.NameValue{
			{Name: "bootstrap.servers", Value: value(address)},
			{Name: "security.protocol", Value: value("SASL_PLAINTEXT")},
			{Name: "sasl.mechanism", Value: value("PLAIN")},
			{Name: "sasl.jaas.config", Value: value(`org.apache.kafka.common.security.plain.PlainLoginModule required username="engine" password="` + password + `";`)},
		}}, false, true)
	}
	for name, tc := range map[string]struct{ address, password, says string }{
		"wrong credentials": {east.ListenAddrs()[0], "${env:DRAWBRIDGE_TEST_WRONG}", api.LinkErrorAuthentication},
		"nobody listens":    {"127.0.0.1:1", "${env:DRAWBRIDGE_TEST_RIGHT}", api.LinkErrorTCP},
		"inline secret":     {east.ListenAddrs()[0], "hunter2", "encryption key"},
		"missing secret":    {east.ListenAddrs()[0], "${env:DRAWBRIDGE_TEST_NOT_SET}", "DRAWBRIDGE_TEST_NOT_SET"},
	} {
		err := create(tc.address, tc.password)
		if !errors.Is(err, api.ErrBadRequest) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want …%s…", name, err, tc.says)
		}
		if err != nil && (strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: a secret is in the error: %v", name, err)
		}
	}
	if links, err := c.Links(t.Context()); err != nil || len(links) != 0 {
		t.Errorf("a refused link is there: %v, %v", links, err)
	}
	if err := create(east.ListenAddrs()[0], "${env:DRAWBRIDGE_TEST_RIGHT}"); err != nil {
		t.Fatal(err)
	}
	configs, err := c.LinkConfigs(t.Context(), "east-west")
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range configs {
		if config.Name == "sasl.jaas.config" && (config.Value != nil || !config.IsSensitive) {
			t.Errorf("got %+v", config)
		}
	}
}

func TestAnInlineSecretIsTakenWithAnEncryptionKeyAndNeverShown(t *testing.T) {
	east, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("cluster-east"),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "engine", "hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(east.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("A", 43)+"="), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &api.Client{BaseURL: running(t, func(c *Config) { c.EncryptionKeyFile = key })}
	value := func(s string) *string { return &s }
	err = c.CreateLink(t.Context(), "east-west", api.CreateLink{Configs: []api.NameValue{
		{Name: "bootstrap.servers", Value: value(east.ListenAddrs()[0])},
		{Name: "security.protocol", Value: value("SASL_PLAINTEXT")},
		{Name: "sasl.mechanism", Value: value("PLAIN")},
		{Name: "sasl.jaas.config", Value: value(`x.PlainLoginModule required username="engine" password="hunter2";`)},
	}}, false, true)
	if err != nil {
		t.Fatal(err)
	}
	configs, err := c.LinkConfigs(t.Context(), "east-west")
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range configs {
		if config.Value != nil && strings.Contains(*config.Value, "hunter2") {
			t.Errorf("%s shows the secret", config.Name)
		}
	}
}

func TestAnEngineWhoseAddressIsTakenLeavesTheStateAlone(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	kafka.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		t.Errorf("the cluster was asked: %T", req)
		return nil, nil, false
	})
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	cfg := Default()
	cfg.Name, cfg.Listen, cfg.Kafka.Bootstrap = "west", ln.Addr().String(), kafka.ListenAddrs()
	if _, err := New(t.Context(), cfg, "v1", slog.New(slog.DiscardHandler)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

// TestTheEngineLogsInByABearerToken: what the local cluster's brokers do with it is
// tested with links, which log in by the same code
// (TestLinksLogInToApacheKafkaByBearerTokenAndByCertificate).
func TestTheEngineLogsInByABearerToken(t *testing.T) {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id != url.QueryEscape(`dr"aw`) || secret != "hunter2" || r.FormValue("scope") != "kafka" {
			http.Error(w, fmt.Sprintf("client %s, scope %s", id, r.FormValue("scope")), http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"let-me-in","token_type":"Bearer","expires_in":60}`)
	}))
	defer idp.Close()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Name = "west"
	c.Kafka = Kafka{
		Bootstrap: []string{"127.0.0.1:1"}, SecurityProtocol: "SASL_PLAINTEXT", SASLMechanism: oauthBearer, ProduceConnections: 2,
		OAuth: OAuth{TokenURL: idp.URL, Scope: "kafka"}, Username: `dr"aw`, Password: "${file:" + file + "}",
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	opts, err := c.Kafka.clientOptions(c.Kafka.Username, c.Kafka.Password, secret.Resolve)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	mechanisms, _ := client.OptValue(kgo.SASL).([]sasl.Mechanism)
	if len(mechanisms) != 1 || mechanisms[0].Name() != oauthBearer {
		t.Fatalf("mechanisms %v", mechanisms)
	}
	_, first, err := mechanisms[0].Authenticate(t.Context(), "broker")
	if err != nil || !strings.Contains(string(first), "auth=Bearer let-me-in") {
		t.Errorf("it says %q: %v", first, err)
	}
}
