package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

// Config is the configuration of one worker. Values come from defaults, then
// the file, then the environment; the environment variable of a.b is
// DRAWBRIDGE_WORKER_A_B. How to reach Temporal (address, namespace, TLS, API key)
// is read as every Temporal tool does: temporal.toml and TEMPORAL_*.
type Config struct {
	// Listen is the host:port of /healthz, /readyz and /metrics, which need no
	// token and show no secret. Default 127.0.0.1:8095.
	Listen string `yaml:"listen"`
	// PlansDir has the plans, <pair>.yaml. Required; read at each operation's
	// start.
	PlansDir string `yaml:"plans_dir"`
	// ReportsDir is where the report folders of plans begin, unless those are
	// absolute. Default the working directory.
	ReportsDir string   `yaml:"reports_dir"`
	Temporal   Temporal `yaml:"temporal"`
	Notify     Notify   `yaml:"notify"`
	// Vault is where ${vault:mount/path#key} of plans leads. Default none.
	Vault secret.VaultConfig `yaml:"vault"`
	// Log is what the worker writes to standard error.
	Log Log `yaml:"log"`
}

// Temporal is where the worker takes its work.
type Temporal struct {
	// Address and Namespace go over temporal.toml and TEMPORAL_*. Default empty:
	// what those say, else localhost:7233 and default.
	Address   string `yaml:"address"`
	Namespace string `yaml:"namespace"`
	// TaskQueue is drawbridge by default, where drctl and drbot start runs. With another
	// one whoever starts a run names the same; what the worker starts itself is there.
	TaskQueue string `yaml:"task_queue"`
}

// Notify replaces public endpoints, for a proxy or a test. Who is told what is
// the plan's.
type Notify struct {
	SlackURL     string `yaml:"slack_url"`     // default https://slack.com/api/
	PagerDutyURL string `yaml:"pagerduty_url"` // default https://events.pagerduty.com
}

// Log is the worker's own log.
type Log struct {
	// Level is debug, info (default), warn or error.
	Level string `yaml:"level"`
	// Format is text (default) or json.
	Format string `yaml:"format"`
}

// Default is the configuration that a file begins with.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8095", ReportsDir: ".",
		Temporal: Temporal{TaskQueue: workflows.TaskQueue},
		Log:      Log{Level: "info", Format: "text"},
	}
}

// Load reads path (empty: no file) over the defaults, and the environment over
// both; unknown keys are errors. It does not Validate: flags may come on top.
func Load(path string, getenv func(string) string) (Config, error) {
	c := Default()
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("config: %w", err)
		}
		dec := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
		if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("config %s: %s", path, yaml.FormatError(err, false, false))
		}
		var more any
		if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("config %s: has more than one document; keep one", path)
		}
	}
	for name, field := range map[string]*string{
		"LISTEN": &c.Listen, "PLANS_DIR": &c.PlansDir, "REPORTS_DIR": &c.ReportsDir,
		"TEMPORAL_ADDRESS": &c.Temporal.Address, "TEMPORAL_NAMESPACE": &c.Temporal.Namespace, "TEMPORAL_TASK_QUEUE": &c.Temporal.TaskQueue,
		"NOTIFY_SLACK_URL": &c.Notify.SlackURL, "NOTIFY_PAGERDUTY_URL": &c.Notify.PagerDutyURL,
		"LOG_LEVEL": &c.Log.Level, "LOG_FORMAT": &c.Log.Format,
	} {
		if v := getenv(environment + name); v != "" {
			*field = v
		}
	}
	return c, nil
}

const environment = "DRAWBRIDGE_WORKER_"
