package worker

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

func noEnvironment(string) string { return "" }

func TestTheFullFileIsRead(t *testing.T) {
	got, err := Load(filepath.Join("testdata", "config", "full.yml"), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen: "0.0.0.0:8095", PlansDir: "/etc/drawbridge/plans", ReportsDir: "/var/lib/drawbridge",
		Temporal: Temporal{Address: "temporal.example:7233", Namespace: "dr", TaskQueue: "drawbridge-2"},
		Notify:   Notify{SlackURL: "https://slack.proxy.example/api/", PagerDutyURL: "https://pagerduty.proxy.example"},
		Vault:    secret.VaultConfig{Address: "https://vault.example:8200", AppRole: secret.AppRole{RoleID: "drawbridge", SecretIDFile: "/etc/drawbridge/vault-secret-id"}},
		Log:      Log{Level: "debug", Format: "json"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
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
	want.PlansDir = "plans"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

// TestEachBadFileIsRefusedWithItsMistake: the file's name is the mistake.
func TestEachBadFileIsRefusedWithItsMistake(t *testing.T) {
	says := map[string]string{
		"unknown-key":                     `unknown field "plan_dir"`,
		"duplicate-key":                   `"plans_dir"`,
		"two-documents":                   "more than one document",
		"no-plans-dir":                    "plans_dir: required",
		"listen-without-port":             "listen: 'localhost' is no host:port",
		"empty-reports-dir":               "reports_dir: empty",
		"temporal-address-without-port":   "temporal.address: 'temporal' is no host:port",
		"namespace-with-blank":            "temporal.namespace: 'my namespace' is no namespace",
		"empty-task-queue":                "temporal.task_queue: '' is no task queue's name",
		"slack-url-without-scheme":        "notify.slack_url: 'slack.com' is no http",
		"pagerduty-url-of-another-scheme": "notify.pagerduty_url: 'ftp://x' is no http",
		"log-level":                       "log.level: 'loud' is none of debug",
		"vault-without-login":             "vault: has 0 ways to log in",
		"log-format":                      "log.format: 'xml' is none of text",
	}
	files, err := filepath.Glob(filepath.Join("testdata", "config", "bad-*.yml"))
	if err != nil || len(files) != len(says) {
		t.Fatalf("%d files for %d mistakes, %v", len(files), len(says), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "bad-"), ".yml")
		c, err := Load(f, noEnvironment)
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), says[name]) || says[name] == "" {
			t.Errorf("%s: got %v, want …%s…", name, err, says[name])
		}
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	err := Config{Listen: "x", Temporal: Temporal{Address: "y", TaskQueue: "-"}, Log: Log{Level: "a", Format: "b"}}.Validate()
	for _, key := range []string{"listen", "plans_dir", "reports_dir", "temporal.address", "temporal.task_queue", "log.level", "log.format"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is missing in %v", key, err)
		}
	}
}

func TestTheEnvironmentGoesOverTheFile(t *testing.T) {
	env := map[string]string{
		"DRAWBRIDGE_WORKER_PLANS_DIR": "/plans", "DRAWBRIDGE_WORKER_TEMPORAL_ADDRESS": "t:1", "DRAWBRIDGE_WORKER_LOG_LEVEL": "warn",
	}
	got, err := Load(filepath.Join("testdata", "config", "full.yml"), func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if got.PlansDir != "/plans" || got.Temporal.Address != "t:1" || got.Log.Level != "warn" || got.Log.Format != "json" {
		t.Errorf("got %+v", got)
	}
}
