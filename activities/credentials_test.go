package activities

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// vaultWith serves kv/kafka with a password that ends at a time, to a worker that
// shows a token; sealed makes it answer nothing.
func vaultWith(t *testing.T, password string, ends time.Time) (v *secret.Vault, sealed *atomic.Bool) {
	t.Helper()
	sealed = &atomic.Bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case sealed.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Header.Get("X-Vault-Token") != "tok-123":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path != "/v1/kv/data/kafka":
			w.WriteHeader(http.StatusNotFound)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
				"data": map[string]any{"password": password},
				"metadata": map[string]any{
					"version": 1, "created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": false,
					"custom_metadata": map[string]string{"expires_at": ends.Format(time.RFC3339)},
				},
			}})
		}
	}))
	t.Cleanup(s.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("tok-123"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := secret.NewVault(secret.VaultConfig{Address: s.URL, TokenFile: token})
	if err != nil {
		t.Fatal(err)
	}
	return v, sealed
}

// A worker logs in at Kafka with what Vault holds, also when Vault has gone since.
func TestAWorkerLogsInWithASecretOfVault(t *testing.T) {
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.KFake, Name: "east", SuperUser: admin})
	v, sealed := vaultWith(t, admin.Password, time.Now().Add(48*time.Hour))
	a := newActivities(t, Options{Secrets: secret.Reader{Vault: v}})
	east := runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: k.Bootstrap(), Security: runbook.Security{Protocol: "SASL_PLAINTEXT", Mechanism: "SCRAM-SHA-256", Username: admin.Name, Password: "${vault:kv/kafka#password}"}}}
	reaches := func(id string) {
		t.Helper()
		conn, err := a.clients.dial("east", id, east.Kafka.Bootstrap, east.Kafka.Security)
		if err == nil {
			err = conn.reach(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reaches("one")
	sealed.Store(true)
	reaches("two")
}

func TestCredentialsAreLookedAtBeforeTheyAreNeeded(t *testing.T) {
	dir := t.TempDir()
	cert := certificate(t, dir, "soon.pem", time.Now().Add(36*time.Hour))
	old := certificate(t, dir, "old.pem", time.Now().Add(-time.Hour))
	v, sealed := vaultWith(t, "hunter2", time.Now().Add(48*time.Hour))
	a := newActivities(t, Options{Secrets: secret.Reader{Vault: v}})
	site := runbook.Site{
		Name:   "west",
		Kafka:  runbook.Kafka{Security: runbook.Security{Password: "${vault:kv/kafka#password}", CAFile: cert}},
		Canary: &runbook.Security{Password: "${vault:kv/nowhere#password}"},
		Engine: runbook.Engine{TokenFile: filepath.Join(dir, "none"), CertFile: old, KeyFile: filepath.Join(dir, "no-key"), CAFile: certificate(t, dir, "fine.pem", time.Now().Add(400*24*time.Hour))},
	}
	look := func() string {
		t.Helper()
		var out workflows.CheckPrivilegesResult
		check{a: a, site: site, out: &out}.credentials(t.Context())
		check{a: a, out: &out}.channels("", runbook.Notify{Slack: &runbook.Slack{Token: "xoxb-hunter2"}, PagerDuty: &runbook.PagerDuty{RoutingKey: "${env:DRAWBRIDGE_NOT_SET}"}, SMTP: &runbook.SMTP{Password: "hunter2", CAFile: old}})
		check{a: a, out: &out}.channels(" of team payments", runbook.Notify{Webhook: &runbook.Webhook{URL: "${file:/no/url}", Secret: "${file:/no/secret}"}})
		var text []string
		for _, f := range out.Findings {
			if f.Part != runbook.PartCredentials || f.Cure == "" || f.Blocker && f.Site == "" {
				t.Errorf("%+v", f)
			}
			text = append(text, map[bool]string{true: "blocker ", false: "warning "}[f.Blocker]+f.What)
		}
		all := strings.Join(text, "\n")
		if strings.Contains(all, "hunter2") || strings.Contains(all, "tok-123") {
			t.Errorf("a secret is shown:\n%s", all)
		}
		return all
	}
	now := look()
	for _, says := range []string{
		"warning the password of kafka (${vault:kv/kafka#password}) ends ",
		"blocker the canary's password (${vault:kv/nowhere#password}) cannot be read: secret ${vault:kv/nowhere#password}: there is none",
		"blocker the engine's token (" + filepath.Join(dir, "none") + ") cannot be read",
		"warning the authority of kafka (" + cert + ") ends ",
		"blocker the certificate shown to the engine (" + old + ") ended ",
		"blocker the key of the certificate shown to the engine (" + filepath.Join(dir, "no-key") + ") cannot be read",
		"warning the Slack token cannot be read: the plan has no reference there",
		"warning the PagerDuty routing key (${env:DRAWBRIDGE_NOT_SET}) cannot be read",
		"warning the password of the mail server cannot be read: the plan has no reference there",
		"warning the authority of the mail server (" + old + ") ended ",
		"warning the webhook's secret of team payments (${file:/no/secret}) cannot be read",
		"warning the webhook's URL of team payments (${file:/no/url}) cannot be read",
	} {
		if !strings.Contains(now, says) {
			t.Errorf("nothing says %q in\n%s", says, now)
		}
	}
	if strings.Contains(now, "fine.pem") || strings.Contains(now, "consul") || strings.Count(now, "\n") != 11 {
		t.Errorf("too much is said:\n%s", now)
	}
	sealed.Store(true)
	if then := look(); !strings.Contains(then, "blocker the canary's password (${vault:kv/nowhere#password}) cannot be read") {
		t.Errorf("a vault that is sealed:\n%s", then)
	}
	if err := os.WriteFile(cert, []byte("no pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	if then := look(); !strings.Contains(then, "blocker the authority of kafka ("+cert+") cannot be read: the file has no certificate in PEM") {
		t.Errorf("a file without a certificate:\n%s", then)
	}
}

func certificate(t *testing.T, dir, name string, ends time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.Add(-1000 * time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
