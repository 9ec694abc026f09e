// Command mirrorengine runs one mirroring engine beside the cluster that it
// mirrors into. Its configuration is documented at mirrorengine.Config.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/boot"
	"github.com/drawbridge-dr/drawbridge/mirrorengine"
)

func main() { os.Exit(service(os.Getenv).Main(os.Args[1:], os.Stdout, os.Stderr)) }

func service(getenv func(string) string) boot.Service {
	return boot.Service{Name: "mirrorengine", Configure: func(file, listen string) (boot.Configured, error) {
		cfg, err := mirrorengine.Load(file, getenv)
		if listen != "" {
			cfg.Listen = listen
		}
		if err == nil {
			err = cfg.Validate()
		}
		return boot.Configured{
			Level: cfg.Log.Level, Format: cfg.Log.Format, Attrs: []any{"site", cfg.Name},
			New: func(ctx context.Context, logger *slog.Logger) (boot.Server, error) {
				return mirrorengine.New(ctx, cfg, boot.Build().Version, logger)
			},
		}, err
	}}
}
