// Command mirrorengine runs one mirroring engine beside the cluster that it
// mirrors into. Its configuration is documented at mirrorengine.Config.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/drawbridge-dr/drawbridge/mirrorengine"
)

// Exit codes.
const (
	exitFault = 1 // the engine could not start, or could not go on
	exitUsage = 2 // flags or configuration
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return start(ctx, args, getenv, stdout, stderr)
}

// start is run until ctx ends.
func start(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mirrorengine", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		file        = flags.String("config", "", "YAML `file` with the configuration")
		listen      = flags.String("listen", "", "API `address`, over the configured one; port 0 takes a free one")
		addressFile = flags.String("address-file", "", "`file` to write the API's real address into once it is known")
		showVersion = flags.Bool("version", false, "print the version and exit")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "mirrorengine: unknown argument %q; the configuration is given by -config\n", flags.Arg(0))
		return exitUsage
	}
	if *showVersion {
		fmt.Fprintln(stdout, version())
		return 0
	}
	cfg, err := mirrorengine.Load(*file, getenv)
	if *listen != "" {
		cfg.Listen = *listen
	}
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "mirrorengine: %v\n", err)
		return exitUsage
	}
	logger := newLogger(cfg.Log, stderr)
	if err := serve(ctx, cfg, *addressFile, logger); err != nil {
		logger.Error("engine stopped by a fault", "site", cfg.Name, "error", err)
		return exitFault
	}
	logger.Info("engine stopped", "site", cfg.Name)
	return 0
}

func serve(ctx context.Context, cfg mirrorengine.Config, addressFile string, logger *slog.Logger) error {
	engine, err := mirrorengine.New(ctx, cfg, version(), logger)
	if err != nil {
		return err
	}
	defer engine.Close()
	address := engine.Addr().String()
	if addressFile != "" {
		if err := writeWhole(addressFile, address); err != nil {
			return fmt.Errorf("address file: %w", err)
		}
	}
	logger.Info("engine listens", "address", address, "site", cfg.Name, "version", version())
	return engine.Run(ctx)
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

func newLogger(cfg mirrorengine.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // Validate has let pass what it knows
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// version is what the Go toolchain stamped into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
