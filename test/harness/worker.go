package harness

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/goccy/go-yaml"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Worker is a running worker process.
type Worker struct {
	spec local.Spec
	proc *local.Process
	addr string // of metrics and health
}

// startWorker writes the worker's configuration and starts it.
func (s *System) startWorker(ctx context.Context) error {
	if err := os.MkdirAll(s.Reports, 0o755); err != nil {
		return err
	}
	ports, err := local.FreePorts(1)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.cfg.Dir, "worker")
	w := &Worker{addr: "127.0.0.1:" + strconv.Itoa(ports[0])}
	raw, err := yaml.Marshal(map[string]any{
		"notify": map[string]any{"slack_url": s.cfg.SlackURL, "pagerduty_url": s.cfg.PagerDutyURL},
		"listen": w.addr, "plans_dir": filepath.Dir(s.PlanFile), "reports_dir": s.Reports,
		"temporal": map[string]any{"address": s.Temporal.HostPort(), "namespace": s.Temporal.Namespace()},
	})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "worker.yml")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return err
	}
	w.spec = local.Spec{Name: "worker", Path: s.binaries["worker"], Args: []string{"-config", file}, Dir: dir, LogFile: filepath.Join(dir, "worker.log")}
	err = w.start(ctx)
	if w.proc != nil {
		s.Worker = w
		s.stop = append(s.stop, w.Stop)
	}
	return err
}

func (w *Worker) start(ctx context.Context) error {
	proc, err := local.Start(w.spec)
	if err != nil {
		return err
	}
	w.proc = proc
	return ready(ctx, "worker", proc, w.addr)
}

// ready waits until a process says at /readyz of its address that it is.
func ready(ctx context.Context, name string, proc *local.Process, addr string) error {
	return proc.WaitReady(ctx, name+" to be ready", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", res.Status)
		}
		return nil
	})
}

// Process is the worker's process, to pause or kill.
func (w *Worker) Process() *local.Process { return w.proc }

// Kill ends the worker without notice: its activities are tried again by
// whoever works next.
func (w *Worker) Kill() error { return w.proc.Kill() }

// Restart starts the worker again.
func (w *Worker) Restart(ctx context.Context) error {
	if w.proc.Running() {
		if err := w.Stop(); err != nil {
			return err
		}
	}
	return w.start(ctx)
}

// Stop ends the worker.
func (w *Worker) Stop() error { return w.proc.Stop(stopTimeout) }

// Log returns the last lines of the worker's log.
func (w *Worker) Log(lines int) string { return w.proc.Log(lines) }
