package mirrorengine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/google/go-cmp/cmp"
)

func noEnvironment(string) string { return "" }

func TestTheFullFileIsRead(t *testing.T) {
	got, err := Load(filepath.Join("testdata", "config", "full.yml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Name: "west", Listen: "0.0.0.0:8090", TokenFile: "/etc/drawbridge/token",
		Tokens:       []Token{{Name: "dashboard", Role: "read", File: "/etc/drawbridge/dashboard.token"}},
		TLS:          Serving{CertFile: "/etc/drawbridge/api.crt", KeyFile: "/etc/drawbridge/api.key", ClientCAFile: "/etc/drawbridge/clients.pem"},
		Certificates: []Certificate{{Name: "worker.example.com", Role: "admin"}},
		Kafka: Kafka{
			Bootstrap: []string{"west-1:9093", "west-2:9093"}, SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512",
			Username: "drawbridge", Password: "${file:/etc/drawbridge/kafka.properties:password}",
			TLS:                TLS{CAFile: "/etc/drawbridge/ca.pem", CertFile: "/etc/drawbridge/tls.crt", KeyFile: "/etc/drawbridge/tls.key"},
			ProduceConnections: 4,
		},
		Canary:            Canary{Username: "drawbridge-canary", Password: "${env:CANARY}"},
		Replicas:          Replicas{Advertise: "https://west-a.example:8443", SessionTimeout: 15 * time.Second},
		State:             State{Topic: "_drawbridge_state_2", Shards: 4, ReplicationFactor: 3},
		EncryptionKeyFile: "/etc/drawbridge/key",
		Secrets:           Secrets{Dirs: []string{"/etc/drawbridge/links"}, Env: []string{"SOURCE_PASSWORD"}, Vault: []string{"kv/links"}},
		Vault: secret.VaultConfig{
			Address: "https://vault.example:8200", Namespace: "dr", CAFile: "/etc/drawbridge/vault-ca.pem",
			Kubernetes: secret.KubernetesLogin{Role: "drawbridge", Mount: "k8s-west"},
		},
		Log: Log{Level: "debug", Format: "json"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAMinimalFileGetsTheDefaults(t *testing.T) {
	got, err := Load(filepath.Join("testdata", "config", "minimal.yml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Name, want.Kafka.Bootstrap = "west", []string{"west:9092"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

// TestEachBadFileIsRefusedWithItsMistake: the file's name is the mistake.
func TestEachBadFileIsRefusedWithItsMistake(t *testing.T) {
	says := map[string]string{
		"unknown-key":                   `unknown field "tokenfile"`,
		"duplicate-key":                 `"name"`,
		"two-documents":                 "more than one document",
		"shards-as-text":                "int32",
		"advertised-wildcard":           "replicas.advertise: '0.0.0.0:8090' is neither host:port",
		"session-without-unit":          "time",
		"session-too-short":             "replicas.session_timeout: 500ms is not from 1s to 30m",
		"no-name":                       "name: '' is no site name",
		"name-with-capitals":            "name: 'West_1' is no site name; use small letters",
		"listen-without-port":           "listen: 'localhost' is no host:port",
		"open-to-all-without-token":     "tokens: required because listen (0.0.0.0:8090) is not a loopback address",
		"every-interface-without-token": "tokens: required because listen (:8090)",
		"open-to-all-without-tls":       "tls.cert_file: required because listen (0.0.0.0:8090)",
		"unknown-role":                  "tokens[0].role: 'root' is none of read, operate, admin",
		"token-named-twice":             "tokens[1].name: 'ops' is missing or taken",
		"client-ca-without-roles":       "certificates: go together with tls.client_ca_file",
		"api-certificate-without-key":   "tls.cert_file: goes together with tls.key_file",
		"no-bootstrap":                  "kafka.bootstrap: required",
		"bootstrap-without-port":        "kafka.bootstrap: 'west' is no host:port",
		"unknown-protocol":              "kafka.security_protocol: 'TLS' is none of PLAINTEXT",
		"sasl-without-user":             "kafka.username: required with SASL_PLAINTEXT",
		"inline-password":               "kafka.password: wants a reference",
		"vault-password":                "kafka.password: secret reference ${vault:…} is not complete",
		"links-to-no-vault":             "secrets.vault: links may not refer to a vault that the engine does not have",
		"vault-with-two-logins":         "vault: has 2 ways to log in",
		"user-without-sasl":             "kafka.username: PLAINTEXT sends no credentials",
		"oauthbearer-without-url":       "kafka.oauth.token_url: goes together with kafka.sasl_mechanism OAUTHBEARER",
		"oauth-of-scram":                "kafka.oauth: is for kafka.sasl_mechanism OAUTHBEARER",
		"token-url-in-the-clear":        "kafka.oauth.token_url: 'http://idp.example/token' would get the client's secret in the clear",
		"tls-files-without-tls":         "kafka.tls: PLAINTEXT is not encrypted",
		"no-produce-connections":        "kafka.produce_connections: 0 is not from 1 to 64",
		"principal-without-type":        "kafka.principal: 'drawbridge' is no principal; write it as ACLs have it",
		"certificate-without-key":       "kafka.tls.cert_file: goes together with kafka.tls.key_file",
		"canary-without-sasl":           "canary.username: kafka.security_protocol PLAINTEXT has no principals",
		"canary-is-the-engine":          "canary.username: is the engine's own principal",
		"canary-with-inline-password":   "canary.password: wants a reference",
		"state-topic-with-spaces":       "state.topic: 'my state' is no topic name",
		"no-shards":                     "state.shards: 0 is not from 1 to 1024",
		"replication-factor-zero":       "state.replication_factor: 0 is neither -1",
		"log-level":                     "log.level: 'verbose' is none of debug, info, warn, error",
		"log-format":                    "log.format: 'xml' is none of text, json",
	}
	files, err := filepath.Glob(filepath.Join("testdata", "config", "bad-*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "bad-"), ".yml")
		c, err := Load(file, noEnvironment)
		if err == nil {
			err = c.Validate()
		}
		want, known := says[name]
		delete(says, name)
		if !known || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret is in the error: %v", name, err)
		}
	}
	for name := range says {
		t.Errorf("%s: there is no such file", name)
	}
}

func TestAllFaultsOfAConfigAreReportedAtOnce(t *testing.T) {
	c := Default()
	c.Listen, c.State.Shards, c.Log.Level = "0.0.0.0:1", -1, "loud"
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{"name: ", "tokens: ", "kafka.bootstrap: ", "state.shards: ", "log.level: "} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is missing in %v", key, err)
		}
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	env := map[string]string{
		"DRAWBRIDGE_NAME": "east", "DRAWBRIDGE_KAFKA_BOOTSTRAP": "a:1,b:2", "DRAWBRIDGE_STATE_SHARDS": "3",
		"DRAWBRIDGE_STATE_REPLICATION_FACTOR": "2", "DRAWBRIDGE_LOG_LEVEL": "warn", "DRAWBRIDGE_KAFKA_PRODUCE_CONNECTIONS": "7",
	}
	get := func(name string) string { return env[name] }
	got, err := Load(filepath.Join("testdata", "config", "full.yml"), get)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "east" || got.Kafka.ProduceConnections != 7 || got.State.Shards != 3 || got.State.ReplicationFactor != 2 || got.Log.Level != "warn" ||
		cmp.Diff([]string{"a:1", "b:2"}, got.Kafka.Bootstrap) != "" || got.Log.Format != "json" {
		t.Errorf("got %+v", got)
	}
	env["DRAWBRIDGE_STATE_SHARDS"], env["DRAWBRIDGE_STATE_REPLICATION_FACTOR"] = "many", "70000"
	_, err = Load("", get)
	if err == nil || !strings.Contains(err.Error(), "DRAWBRIDGE_STATE_SHARDS") || !strings.Contains(err.Error(), "DRAWBRIDGE_STATE_REPLICATION_FACTOR") {
		t.Errorf("got %v", err)
	}
}

func TestAFaultInTheFileDoesNotShowTheLinesAround(t *testing.T) {
	file := filepath.Join(t.TempDir(), "engine.yml")
	if err := os.WriteFile(file, []byte("kafka:\n  password: hunter2\n  pasword: hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, noEnvironment); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestTheEnginesPrincipalIsItsLoginUnlessSaidOtherwise(t *testing.T) {
	for want, k := range map[string]Kafka{
		"":             {},
		"User:engine":  {Username: "engine"},
		"User:CN=west": {Username: "engine", Principal: "User:CN=west"},
	} {
		if got := k.principal(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestATokenIsNotTakenIfItIsShort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for text, ok := range map[string]bool{"": false, "sh0rt\n": false, "0123456789abcdef\n": true} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := readToken(file)
		if (err == nil) != ok || ok && token != strings.TrimSpace(text) {
			t.Errorf("%q: got %q, %v", text, token, err)
		}
		if err != nil && strings.Contains(err.Error(), "sh0rt") {
			t.Errorf("the token is in the error: %v", err)
		}
	}
}
