package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// Ways in which Slack's requests come.
const (
	modeSocket = "socket"
	modeHTTP   = "http"
)

// Config is the configuration of the bot. Values come from defaults, then the file, then the environment; the variable of a.b is
// DRAWBRIDGE_BOT_A_B. How to reach Temporal is read as every Temporal tool does: temporal.toml and TEMPORAL_*.
type Config struct {
	// Listen is the host:port of /healthz and /readyz and, in mode http, of /slack/commands and /slack/interactions. Default
	// 127.0.0.1:8096. In mode http a proxy with TLS stands before it.
	Listen string `yaml:"listen"`
	// Mode is socket (default: the bot dials Slack, nothing is public) or http (Slack calls, signed).
	Mode string `yaml:"mode"`
	// PlansDir has the plans, <pair>.yaml, the same as the worker's: who is who, and which bot they trust. Required; read again
	// whenever it is needed. A plan without a bot is not served.
	PlansDir string `yaml:"plans_dir"`
	// KeyFile is the bot's own key, as drctl key new makes it, with the name that the plans' bot has; its owner and, in a
	// container, its group may read it. Required.
	KeyFile string `yaml:"key_file"`
	// StateFile keeps which run has which thread over a restart. Lost, an open run gets a second thread. Default drbot.json.
	StateFile string   `yaml:"state_file"`
	Slack     Slack    `yaml:"slack"`
	Temporal  Temporal `yaml:"temporal"`
	Log       Log      `yaml:"log"`
}

// Slack is how the bot reaches Slack, secrets as paths of files.
type Slack struct {
	// BotTokenFile has the xoxb- token with the scopes chat:write and commands. Required.
	BotTokenFile string `yaml:"bot_token_file"`
	// AppTokenFile has the xapp- token with connections:write. Required in mode socket.
	AppTokenFile string `yaml:"app_token_file"`
	// SigningSecretFile has the app's signing secret. Required in mode http.
	SigningSecretFile string `yaml:"signing_secret_file"`
	// URL of the Web API, for a proxy or a test. Default https://slack.com/api/.
	URL string `yaml:"url"`
}

// Temporal is where runs are; what is empty comes from temporal.toml and TEMPORAL_*.
type Temporal struct {
	Address   string `yaml:"address"`
	Namespace string `yaml:"namespace"`
}

// Log is what the bot writes to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn or error
	Format string `yaml:"format"` // text (default) or json
}

// Default is the configuration that a file begins with.
func Default() Config {
	return Config{Listen: "127.0.0.1:8096", Mode: modeSocket, StateFile: "drbot.json", Log: Log{Level: "info", Format: "text"}}
}

// Load reads path (empty: no file) over the defaults, and the environment over both; unknown keys are errors.
func Load(path string, getenv func(string) string) (Config, error) {
	c := Default()
	if path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("config: %w", err)
		}
		if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("config %s: %s", path, yaml.FormatError(err, false, false))
		}
	}
	for name, field := range map[string]*string{
		"LISTEN": &c.Listen, "MODE": &c.Mode, "PLANS_DIR": &c.PlansDir, "KEY_FILE": &c.KeyFile, "STATE_FILE": &c.StateFile,
		"SLACK_BOT_TOKEN_FILE": &c.Slack.BotTokenFile, "SLACK_APP_TOKEN_FILE": &c.Slack.AppTokenFile,
		"SLACK_SIGNING_SECRET_FILE": &c.Slack.SigningSecretFile, "SLACK_URL": &c.Slack.URL,
		"TEMPORAL_ADDRESS": &c.Temporal.Address, "TEMPORAL_NAMESPACE": &c.Temporal.Namespace,
		"LOG_LEVEL": &c.Log.Level, "LOG_FORMAT": &c.Log.Format,
	} {
		if v := getenv("DRAWBRIDGE_BOT_" + name); v != "" {
			*field = v
		}
	}
	return c, nil
}

// Validate returns all faults, each with its cure.
func (c Config) Validate() error {
	var faults []error
	bad := func(key, v, cure string) { faults = append(faults, fmt.Errorf("%s: '%s' %s", key, v, cure)) }
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", c.Listen, "is no host:port")
	}
	if c.Mode != modeSocket && c.Mode != modeHTTP {
		bad("mode", c.Mode, "is neither socket nor http")
	}
	for key, v := range map[string]string{"plans_dir": c.PlansDir, "key_file": c.KeyFile, "state_file": c.StateFile, "slack.bot_token_file": c.Slack.BotTokenFile} {
		if v == "" {
			bad(key, v, "is missing: name it")
		}
	}
	if c.Mode == modeSocket && c.Slack.AppTokenFile == "" {
		bad("slack.app_token_file", "", "is missing: Socket Mode dials with it")
	}
	if c.Mode == modeHTTP && c.Slack.SigningSecretFile == "" {
		bad("slack.signing_secret_file", "", "is missing: without it anybody could speak as Slack")
	}
	if u, err := url.Parse(c.Slack.URL); c.Slack.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		bad("slack.url", c.Slack.URL, "is no http:// or https:// URL")
	}
	if l := c.Log.Level; l != "debug" && l != "info" && l != "warn" && l != "error" {
		bad("log.level", l, "is none of debug, info, warn, error")
	}
	if f := c.Log.Format; f != "text" && f != "json" {
		bad("log.format", f, "is neither text nor json")
	}
	return errors.Join(faults...)
}

// secretFrom reads a file with one secret; "" for no file.
func secretFrom(key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s: file %s is empty", key, file)
	}
	return s, nil
}
