package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"
	sdk "go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/activities"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Worker is connected to Temporal and listens; it takes work while Run runs.
type Worker struct {
	cfg      Config
	log      *slog.Logger
	temporal client.Client
	worker   sdk.Worker
	listener net.Listener
	health   *health
	fatal    chan error
	closers  []func() // in the order of making; closed in reverse
}

// Times of a worker.
const (
	// sticky is how long the first workflow task after another worker's death
	// waits for the dead one.
	sticky = time.Second
	// stopWithin is how long running activities may go on after a stop; they are
	// tried again elsewhere.
	stopWithin = 10 * time.Second
	// dialWithin bounds New's calls of Temporal.
	dialWithin = 15 * time.Second
)

// New connects, checks that the namespace has what the workflows need, and
// opens the health address. Nothing is worked on before Run. Close it in any
// case. Build is what reports and metrics say that this worker is.
func New(ctx context.Context, cfg Config, build runbook.Build, logger *slog.Logger) (_ *Worker, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if info, err := os.Stat(cfg.PlansDir); err != nil {
		return nil, fmt.Errorf("plans_dir: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("plans_dir: %s is no folder", cfg.PlansDir)
	}
	w := &Worker{cfg: cfg, log: logger, fatal: make(chan error, 1)}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	m := newMetrics(build.Version)
	if err := w.dial(ctx, m); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if w.listener, err = lc.Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	w.closers = append(w.closers, func() { w.listener.Close() }) // Run closes it too
	vault, err := secret.NewVault(cfg.Vault)
	if err != nil {
		return nil, err
	}
	acts, closeActivities := activities.New(activities.Options{
		PlansDir: cfg.PlansDir, ReportsDir: cfg.ReportsDir,
		SlackAPI: cfg.Notify.SlackURL, PagerDutyAPI: cfg.Notify.PagerDutyURL, Logger: logger,
		Secrets: secret.Reader{Vault: vault}, Build: build,
	})
	w.closers = append(w.closers, closeActivities)
	w.worker = sdk.New(w.temporal, cfg.Temporal.TaskQueue, sdk.Options{
		StickyScheduleToStartTimeout: sticky,
		WorkerStopTimeout:            stopWithin,
		DisableRegistrationAliasing:  true,
		Interceptors:                 faults(),
		OnFatalError: func(err error) {
			select {
			case w.fatal <- err:
			default: // one is enough
			}
		},
	})
	workflows.Register(w.worker)
	w.worker.RegisterActivity(acts)
	w.health = &health{temporal: w.temporal, metrics: m.handler(logger)}
	return w, nil
}

// dial connects and looks at the namespace.
func (w *Worker) dial(ctx context.Context, m *metrics) error {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	opts, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{})
	if err != nil {
		return fmt.Errorf("temporal connection (temporal.toml, TEMPORAL_*): %w", err)
	}
	if w.cfg.Temporal.Address != "" {
		opts.HostPort = w.cfg.Temporal.Address
	}
	if w.cfg.Temporal.Namespace != "" {
		opts.Namespace = w.cfg.Temporal.Namespace
	}
	if opts.Namespace == "" {
		opts.Namespace = client.DefaultNamespace
	}
	if opts.HostPort == "" {
		opts.HostPort = client.DefaultHostPort
	}
	opts.Logger, opts.MetricsHandler = log.NewStructuredLogger(w.log), m
	if w.temporal, err = client.DialContext(ctx, opts); err != nil {
		return fmt.Errorf("temporal at %s: %w", opts.HostPort, err)
	}
	w.closers = append(w.closers, w.temporal.Close)
	return checkAttributes(ctx, w.temporal, opts.Namespace)
}

// Addr is the health address, with the port that was given for port 0.
func (w *Worker) Addr() net.Addr { return w.listener.Addr() }

// Run works until ctx ends (nil), or until it cannot go on. Activities that run
// then have stopWithin to end.
func (w *Worker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{Handler: w.health, ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() error {
		if err := server.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("health address: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if server.Shutdown(end) != nil {
				server.Close()
			}
		}()
		if err := w.worker.Start(); err != nil {
			return fmt.Errorf("temporal worker: %w", err)
		}
		w.health.working.Store(true)
		w.log.Info("worker takes work", "task_queue", w.cfg.Temporal.TaskQueue)
		defer w.worker.Stop()
		defer w.health.working.Store(false)
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.fatal:
			return fmt.Errorf("temporal worker: %w", err)
		}
	})
	return group.Wait()
}

// Close releases everything in reverse order; call it after Run has returned.
func (w *Worker) Close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
	w.closers = nil
}
