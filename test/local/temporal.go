package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	sdkclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
)

// TemporalConfig describes a Temporal server with its data in one file.
type TemporalConfig struct {
	// Dir gets the database and the log; a server started over an old Dir goes on with its workflows. Required.
	Dir string
	// Namespace is created if it is not there. Default "default".
	Namespace string
	// UI starts the Web UI as well.
	UI bool
	// SearchAttributes are registered in Namespace; StartTemporal returns when they can be used. A workflow that sets an
	// unregistered one does not fail but repeats its workflow task for ever.
	SearchAttributes []temporal.SearchAttributeKey
}

// Temporal is one running Temporal server: all services in one process, without TLS or authorisation.
type Temporal struct {
	cfg      TemporalConfig
	spec     Spec
	hostPort string
	uiURL    string // empty without UI
	proc     *Process
}

// temporalReady is how long a server may take to answer on a busy machine; it is ready in half a second on an idle one.
const temporalReady = 90 * time.Second

// StartTemporal starts a server on loopback and returns when it takes workflows and its search attributes can be used.
func StartTemporal(ctx context.Context, cfg TemporalConfig) (*Temporal, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start temporal: Dir is empty: give a folder for its database and log")
	}
	if cfg.Namespace == "" {
		cfg.Namespace = "default"
	}
	path, err := Tool(ctx, ToolTemporal)
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(2)
	if err != nil {
		return nil, err
	}
	args := []string{
		"server", "start-dev", "--ip", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--namespace", cfg.Namespace,
		"--db-filename", filepath.Join(cfg.Dir, "temporal.db"), "--log-level", "error",
	}
	t := &Temporal{cfg: cfg, hostPort: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))}
	if cfg.UI {
		args = append(args, "--ui-port", strconv.Itoa(ports[1]))
		t.uiURL = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1]))
	} else {
		args = append(args, "--headless")
	}
	for _, key := range cfg.SearchAttributes {
		// A new namespace has them from its first moment; one that exists already gets them in registerSearchAttributes.
		args = append(args, "--search-attribute", key.GetName()+"="+key.GetValueType().String())
	}
	t.spec = Spec{Name: "temporal", Path: path, Args: args, LogFile: filepath.Join(cfg.Dir, "temporal.log")}
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Temporal) start(ctx context.Context) error {
	proc, err := Start(t.spec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, temporalReady)
	defer cancel()
	err = proc.WaitReady(ctx, "temporal to take workflows on "+t.hostPort, t.ready)
	if err == nil {
		err = t.registerSearchAttributes(ctx)
	}
	if err != nil {
		return errors.Join(err, proc.Kill())
	}
	t.proc = proc
	return nil
}

// ready asks for a workflow that does not exist: only a server whose frontend, history shard and store all work can say
// that it does not.
func (t *Temporal) ready(ctx context.Context) error {
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.DescribeWorkflowExecution(ctx, "drawbridge-ready", "")
	var missing *serviceerror.NotFound
	var namespace *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &namespace):
		return err
	case err == nil, errors.As(err, &missing):
		return nil
	default:
		return err
	}
}

// Dial returns a new client in the server's namespace that logs nothing. The caller closes it.
func (t *Temporal) Dial(ctx context.Context) (sdkclient.Client, error) {
	return sdkclient.DialContext(ctx, sdkclient.Options{
		HostPort:  t.hostPort,
		Namespace: t.cfg.Namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// HostPort is the address of the gRPC frontend; it stays the same over Restart.
func (t *Temporal) HostPort() string { return t.hostPort }

// Namespace is the one that was made.
func (t *Temporal) Namespace() string { return t.cfg.Namespace }

// UIURL is the address of the Web UI, empty if none was asked for.
func (t *Temporal) UIURL() string { return t.uiURL }

// Version is the server's own, "1.32.1".
func (t *Temporal) Version(ctx context.Context) (string, error) {
	c, err := t.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	info, err := c.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		return "", fmt.Errorf("ask temporal on %s for its version: %w", t.hostPort, err)
	}
	return strings.TrimPrefix(info.GetServerVersion(), "v"), nil
}

// Kill ends the server by SIGKILL, as a power cut would.
func (t *Temporal) Kill() error { return t.proc.Kill() }

// Restart starts an ended server again on the same address and database, and waits as StartTemporal does: running
// workflows go on.
func (t *Temporal) Restart(ctx context.Context) error {
	if t.proc.Running() {
		return fmt.Errorf("restart temporal on %s: it is running; Kill or Stop it first", t.hostPort)
	}
	return t.start(ctx)
}

// Pause freezes the server: its connections stay open and answer nothing.
func (t *Temporal) Pause() error { return t.proc.Pause() }

// Resume lets a paused server go on.
func (t *Temporal) Resume() error { return t.proc.Resume() }

// Stop ends the server.
func (t *Temporal) Stop() error { return t.proc.Stop(stopTimeout) }

// Log returns the last lines of the server's log.
func (t *Temporal) Log(lines int) string { return t.proc.Log(lines) }
