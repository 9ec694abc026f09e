package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/renameio/v2"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// EngineConfig describes a mirroring engine beside a cluster.
type EngineConfig struct {
	Name  string // the site
	Dir   string // configuration, secrets and log
	Kafka *local.Kafka
	User  local.User
	// Canary is the principal that proves guards; nil for none.
	Canary *local.User
	Shards int      // of the state topic; 0 takes 4, enough for tests
	Binary string   // of Build
	Env    []string // as in DRAWBRIDGE_MUTANT=…
	// Replica tells the replicas of one engine apart that share Dir; empty for the
	// only one.
	Replica string
	// Session is replicas.session_timeout; 0 takes the engine's default.
	Session time.Duration
}

// file is a file of this replica in Dir.
func (c EngineConfig) file(ext string) string {
	name := "engine"
	if c.Replica != "" {
		name += "-" + c.Replica
	}
	return filepath.Join(c.Dir, name+ext)
}

// Engine is a running mirrorengine process.
type Engine struct {
	cfg  EngineConfig
	spec local.Spec
	proc *local.Process
	addr string
}

// stopTimeout is how long a process may take to end by itself; it guards against hangs only.
const stopTimeout = 2 * time.Minute

// StartEngine writes the engine's configuration, starts it and returns when it
// is ready. It outlives ctx; end it with Stop.
func StartEngine(ctx context.Context, cfg EngineConfig) (*Engine, error) {
	if cfg.Shards == 0 {
		cfg.Shards = 4
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := local.FreePorts(1)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, addr: "127.0.0.1:" + strconv.Itoa(ports[0])}
	config, err := e.config()
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", cfg.Name, err)
	}
	e.spec = local.Spec{
		Name: "engine " + cfg.Name, Path: cfg.Binary, Env: cfg.Env,
		Args: []string{"-config", config}, LogFile: cfg.file(".log"),
	}
	return e, e.start(ctx)
}

// config writes the configuration and the password files that it refers to.
func (e *Engine) config() (string, error) {
	secret := func(u local.User) (string, error) {
		file := filepath.Join(e.cfg.Dir, u.Name+".password")
		return "${file:" + file + "}", renameio.WriteFile(file, []byte(u.Password), 0o600)
	}
	password, err := secret(e.cfg.User)
	if err != nil {
		return "", err
	}
	values := map[string]any{
		"name": e.cfg.Name, "listen": e.addr,
		"kafka": map[string]any{
			"bootstrap": e.cfg.Kafka.Bootstrap(), "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN",
			"username": e.cfg.User.Name, "password": password,
		},
		"state":   map[string]any{"shards": e.cfg.Shards},
		"secrets": map[string]any{"dirs": []string{e.cfg.Dir}},
		"log":     map[string]any{"level": "info", "format": "text"},
	}
	if e.cfg.Session > 0 {
		values["replicas"] = map[string]any{"session_timeout": e.cfg.Session.String()}
	}
	if c := e.cfg.Canary; c != nil {
		password, err := secret(*c)
		if err != nil {
			return "", err
		}
		values["canary"] = map[string]any{"username": c.Name, "password": password}
	}
	raw, err := yaml.Marshal(values)
	if err != nil {
		return "", err
	}
	file := e.cfg.file(".yml")
	return file, os.WriteFile(file, raw, 0o600)
}

func (e *Engine) start(ctx context.Context) error {
	proc, err := local.Start(e.spec)
	if err != nil {
		return err
	}
	e.proc = proc
	waitCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = local.WaitFor(waitCtx, "engine "+e.cfg.Name+" is ready", func(ctx context.Context) error {
		if !proc.Running() {
			cancel() // it will never be
		}
		return e.Client().Ready(ctx)
	})
	if err != nil && !proc.Running() {
		return proc.Err()
	}
	return err
}

// Addr is the engine's address, host:port.
func (e *Engine) Addr() string { return e.addr }

// URL is the engine's REST address.
func (e *Engine) URL() string { return "http://" + e.addr }

// Client calls the engine.
func (e *Engine) Client() *api.Client { return &api.Client{BaseURL: e.URL()} }

// Process is the engine's process, to pause or kill.
func (e *Engine) Process() *local.Process { return e.proc }

// Kill ends the engine without notice.
func (e *Engine) Kill() error { return e.proc.Kill() }

// Restart starts the engine again at the same address.
func (e *Engine) Restart(ctx context.Context) error {
	if e.proc.Running() {
		if err := e.Stop(); err != nil {
			return err
		}
	}
	return e.start(ctx)
}

// Stop ends the engine.
func (e *Engine) Stop() error { return e.proc.Stop(stopTimeout) }

// SourceConfigs are the link configs to reach a source cluster as a user.
func SourceConfigs(source *local.Kafka, user local.User, dir string) ([]api.NameValue, error) {
	file := filepath.Join(dir, "source-"+source.Name()+".password")
	if err := renameio.WriteFile(file, []byte(user.Password), 0o600); err != nil {
		return nil, err
	}
	jaas := fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required username=%q password="${file:%s}";`, user.Name, file)
	var out []api.NameValue
	for _, kv := range [][2]string{
		{"bootstrap.servers", strings.Join(source.Bootstrap(), ",")},
		{"security.protocol", "SASL_PLAINTEXT"},
		{"sasl.mechanism", "PLAIN"},
		{"sasl.jaas.config", jaas},
	} {
		out = append(out, api.NameValue{Name: kv[0], Value: &kv[1]})
	}
	return out, nil
}
