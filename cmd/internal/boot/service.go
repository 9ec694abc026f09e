package boot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/renameio/v2"
)

// Exit codes of a service, so that supervisors can tell a wrong configuration from a fault.
const (
	ExitOK     = 0
	ExitFailed = 1 // it could not start, or could not go on
	ExitUsage  = 2 // wrong flags or configuration: trying again changes nothing
)

// Server is what a service runs: it listens from its making on.
type Server interface {
	Addr() net.Addr
	// Run serves until ctx ends (nil), or until it cannot go on.
	Run(ctx context.Context) error
	// Close releases everything, whether Run was called or not.
	Close()
}

// Service is a process that serves until it is told to stop, with the flags that every service of ours has: -config,
// -listen, -address-file and -version.
type Service struct {
	Name string
	// Configure reads the configuration from file; listen, if it is given, wins over the configured address. Its error is the
	// fault of the person who wrote the configuration.
	Configure func(file, listen string) (Configured, error)
}

// Configured is a service whose configuration is known to be good.
type Configured struct {
	Level, Format string // of the log, as configured
	Attrs         []any  // of the lines about start and stop
	New           func(ctx context.Context, logger *slog.Logger) (Server, error)
}

// Main runs the service until a signal ends it and returns the exit code.
func (s Service) Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once: who presses Ctrl-C twice does not want to wait
	return s.Start(ctx, args, stdout, stderr)
}

// Start is Main until ctx ends.
func (s Service) Start(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(s.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		file        = flags.String("config", "", "YAML `file` with the configuration")
		listen      = flags.String("listen", "", "`address` to listen on, over the configured one; port 0 takes a free one")
		addressFile = flags.String("address-file", "", "`file` to write the real address into once it is known")
		showVersion = flags.Bool("version", false, "print the version and exit")
	)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return ExitOK
		}
		return ExitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "%s: unknown argument %q; the configuration is given by -config\n", s.Name, flags.Arg(0))
		return ExitUsage
	}
	if *showVersion {
		fmt.Fprintln(stdout, Build())
		return ExitOK
	}
	c, err := s.Configure(*file, *listen)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", s.Name, err)
		return ExitUsage
	}
	logger := newLogger(c.Level, c.Format, stderr).With("service", s.Name)
	if err := s.serve(ctx, c, *addressFile, logger); err != nil {
		logger.Error("stopped by a fault", append(c.Attrs, "error", err)...)
		return ExitFailed
	}
	logger.Info("stopped", c.Attrs...)
	return ExitOK
}

func (s Service) serve(ctx context.Context, c Configured, addressFile string, logger *slog.Logger) error {
	server, err := c.New(ctx, logger)
	if err != nil {
		return err
	}
	defer server.Close()
	address := server.Addr().String()
	if addressFile != "" {
		if err := renameio.WriteFile(addressFile, []byte(address), 0o600); err != nil {
			return fmt.Errorf("address file: %w", err)
		}
	}
	logger.Info("listening", append(c.Attrs, "address", address, "version", Build().Version)...)
	return server.Run(ctx)
}

// newLogger logs to w (stderr: stdout is for results), in json with the build's version, since there lines of many
// processes meet.
func newLogger(level, format string, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err == nil { // Configure has let pass what it knows
		opts.Level = l
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)).With("version", Build().Version)
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
