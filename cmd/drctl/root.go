package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/boot"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
)

// app is one call of drctl.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	output  string // one of outputs
	verbose bool

	temporal operator.Config
}

// run executes one command line and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	// exec handles its signals itself; everywhere else they end the call, not a run that was started.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what does not end by the first
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	var exit exitError
	if err != nil && !(errors.As(err, &exit) && exit.err == nil) {
		fmt.Fprintln(stderr, "drctl:", err)
	}
	if code == codeUsage {
		fmt.Fprintln(stderr, `see "drctl help" or add --help to the command`)
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := group("drctl", "disaster recovery for Apache Kafka: plans, runbooks, links, clients")
	root.Long = "drctl starts and answers Drawbridge's runbooks, manages cluster links and mirror topics, and runs applications\n" +
		"so that they follow the pair's record of truth.\n" +
		"Exit codes, variables that stand for flags, and forms of output are help topics, named below."
	root.Version = boot.Build().String()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", asTable, strings.Join(outputs, ", "))
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log what is done to stderr")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(outputs, a.output) {
			return usagef("--output %q: write one of %s", a.output, joined(outputs))
		}
		return nil
	}
	root.AddCommand(
		a.planCommand(), a.keyCommand(),
		a.setupCommand(), a.failoverCommand(), a.switchoverCommand(), a.recoverCommand(), a.failbackCommand(), a.restoreCommand(), a.drillCommand(),
		a.statusCommand(), a.readinessCommand(), a.reportsCommand(), a.approveCommand(), a.denyCommand(), a.retryCommand(), a.skipCommand(), a.acknowledgeCommand(), a.abortCommand(), a.breakGlassCommand(), a.pauseCommand(), a.resumeCommand(), a.intoFailoverCommand(), a.decideCommand(),
		a.debtsCommand(), a.holdCommand(), a.releaseCommand(), a.unfenceCommand(), a.linkCommand(), a.mirrorCommand(), a.execCommand(),
		a.watchCommand(), a.announceCommand(), a.completionCommand(),
	)
	return a.helped(root)
}

// group is a command that only has others below it.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return exitError{code: codeUsage}
		},
	}
}

// exactly wraps cobra's check of the number of arguments into a usage error.
func exactly(n int) cobra.PositionalArgs { return usageArgs(cobra.ExactArgs(n)) }

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%s: %w", cmd.UseLine(), err)
		}
		return nil
	}
}

// exclusive refuses two flags together; cobra's own check gives an error that cannot be told from a failure.
func exclusive(cmd *cobra.Command, one, other string) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed(one) && cmd.Flags().Changed(other) {
			return usagef("--%s and --%s exclude each other", one, other)
		}
		return nil
	}
}

// logger writes warnings, with -v everything, to stderr.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// temporalFlags are those of every command that talks to a run.
func (a *app) temporalFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.temporal.Address, "temporal", "", "host:port of Temporal (default: TEMPORAL_ADDRESS, or the profile in temporal.toml)")
	f.StringVar(&a.temporal.Namespace, "namespace", "", "Temporal namespace (default: TEMPORAL_NAMESPACE, or the profile)")
	f.StringVar(&a.temporal.Profile, "temporal-profile", "", "profile in temporal.toml (default: TEMPORAL_PROFILE)")
}

func (a *app) operator(ctx context.Context) (*operator.Operator, error) {
	cfg := a.temporal
	level := slog.LevelError
	if a.verbose {
		level = slog.LevelInfo
	}
	cfg.Log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	return operator.Dial(ctx, cfg)
}
