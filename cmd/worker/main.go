// Command worker runs the runbooks of Drawbridge. Its configuration is
// documented at worker.Config.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/boot"
	"github.com/drawbridge-dr/drawbridge/worker"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := boot.Context()
	defer stop()
	return start(ctx, args, getenv, stdout, stderr)
}

// start is run until ctx ends.
func start(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		file        = flags.String("config", "", "YAML `file` with the configuration")
		listen      = flags.String("listen", "", "health `address`, over the configured one; port 0 takes a free one")
		addressFile = flags.String("address-file", "", "`file` to write the real health address into once it is known")
		showVersion = flags.Bool("version", false, "print the version and exit")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return boot.ExitOK
		}
		return boot.ExitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "worker: unknown argument %q; the configuration is given by -config\n", flags.Arg(0))
		return boot.ExitUsage
	}
	if *showVersion {
		fmt.Fprintln(stdout, boot.Build())
		return boot.ExitOK
	}
	cfg, err := worker.Load(*file, getenv)
	if *listen != "" {
		cfg.Listen = *listen
	}
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "worker: %v\n", err)
		return boot.ExitUsage
	}
	logger := newLogger(cfg.Log, stderr)
	if err := serve(ctx, cfg, *addressFile, logger); err != nil {
		logger.Error("worker stopped by a fault", "error", err)
		return boot.ExitFailed
	}
	logger.Info("worker stopped")
	return boot.ExitOK
}

func serve(ctx context.Context, cfg worker.Config, addressFile string, logger *slog.Logger) error {
	version := boot.Build().Version
	w, err := worker.New(ctx, cfg, version, logger)
	if err != nil {
		return err
	}
	defer w.Close()
	address := w.Addr().String()
	if addressFile != "" {
		if err := writeWhole(addressFile, address); err != nil {
			return fmt.Errorf("address file: %w", err)
		}
	}
	logger.Info("worker listens", "address", address, "version", version)
	return w.Run(ctx)
}

// writeWhole writes a file so that a reader who waits for it never sees a part.
func writeWhole(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".address-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func newLogger(cfg worker.Log, w io.Writer) *slog.Logger {
	f := boot.LogFlags{Format: cfg.Format}
	_ = f.Level.UnmarshalText([]byte(cfg.Level)) // Validate has let pass what it knows
	return f.Logger(w)
}
