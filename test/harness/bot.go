package harness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/goccy/go-yaml"

	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// NewKey makes a key file, as drctl key new does, for somebody who is not of the plan's usual people; it returns the public key.
func NewKey(file, name string) (string, error) {
	public, private, err := plan.NewKey()
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(map[string]string{"name": name, "public_key": public, "private_key": private})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	return public, os.WriteFile(file, raw, 0o600)
}

// StartBot starts drbot with the key file of the plan's bot, in a fake Slack, and waits until Slack reaches it. It ends with the
// system.
func (s *System) StartBot(ctx context.Context, key string, slack *fakeslack.Slack) error {
	binary, err := Build(ctx, "drbot")
	if err != nil {
		return err
	}
	ports, err := local.FreePorts(1)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.cfg.Dir, "drbot")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	bot, app := filepath.Join(dir, "bot.token"), filepath.Join(dir, "app.token")
	listen := "127.0.0.1:" + strconv.Itoa(ports[0])
	raw, err := yaml.Marshal(map[string]any{
		"listen": listen, "plans_dir": filepath.Dir(s.PlanFile), "key_file": key, "state_file": filepath.Join(dir, "threads.json"),
		"slack":    map[string]any{"url": slack.API(), "bot_token_file": bot, "app_token_file": app},
		"temporal": map[string]any{"address": s.Temporal.HostPort(), "namespace": s.Temporal.Namespace()},
	})
	file := filepath.Join(dir, "drbot.yml")
	err = errors.Join(err, os.WriteFile(bot, []byte(fakeslack.BotToken), 0o600), os.WriteFile(app, []byte(fakeslack.AppToken), 0o600), os.WriteFile(file, raw, 0o600))
	if err != nil {
		return err
	}
	proc, err := local.Start(local.Spec{Name: "drbot", Path: binary, Args: []string{"-config", file}, Dir: dir, LogFile: filepath.Join(dir, "drbot.log")})
	if err != nil {
		return err
	}
	s.stop = append(s.stop, func() error { return proc.Stop(stopTimeout) })
	return ready(ctx, "drbot", proc, listen)
}
