// Command worker runs the runbooks of Drawbridge. Its configuration is
// documented at worker.Config.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/boot"
	"github.com/drawbridge-dr/drawbridge/worker"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func main() { os.Exit(service(os.Getenv).Main(os.Args[1:], os.Stdout, os.Stderr)) }

func service(getenv func(string) string) boot.Service {
	return boot.Service{Name: "worker", Configure: func(file, listen string) (boot.Configured, error) {
		cfg, err := worker.Load(file, getenv)
		if listen != "" {
			cfg.Listen = listen
		}
		if err == nil {
			err = cfg.Validate()
		}
		return boot.Configured{
			Level: cfg.Log.Level, Format: cfg.Log.Format,
			New: func(ctx context.Context, logger *slog.Logger) (boot.Server, error) {
				return worker.New(ctx, cfg, runbook.Build(boot.Build()), logger)
			},
		}, err
	}}
}
