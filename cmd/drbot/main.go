// Command drbot is Drawbridge in Slack: commands, dialogs with a dry run's facts, buttons of approval, and one thread per run
// with a live table of its steps. Its configuration is documented at Config.
//
// It is a mouth and an ear: it knows Slack and Temporal, and neither Kafka nor engines. What it says on behalf of a person it
// signs with its own key, which the plan lists; whether that counts is judged in the run. Nothing waits for it.
//
// Start at bot.go; command.go and answer.go are what people do, thread.go is what they see, render.go how.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/boot"
)

func main() { os.Exit(service(os.Getenv).Main(os.Args[1:], os.Stdout, os.Stderr)) }

func service(getenv func(string) string) boot.Service {
	return boot.Service{Name: "drbot", Configure: func(file, listen string) (boot.Configured, error) {
		cfg, err := Load(file, getenv)
		if listen != "" {
			cfg.Listen = listen
		}
		if err == nil {
			err = cfg.Validate()
		}
		return boot.Configured{
			Level: cfg.Log.Level, Format: cfg.Log.Format,
			New: func(ctx context.Context, logger *slog.Logger) (boot.Server, error) { return New(ctx, cfg, logger) },
		}, err
	}}
}
