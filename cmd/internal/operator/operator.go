package operator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// How long the calls may take; each is one round trip, an answer also one of the worker's.
const (
	dialTimeout  = 10 * time.Second
	callTimeout  = 10 * time.Second
	queryTimeout = 5 * time.Second
	// patientTimeout is for the question that an answer begins with: longer than the ten seconds after which Temporal
	// gives what a worker has lost to the next one, so that nobody has to approve twice.
	patientTimeout = 15 * time.Second
	answerTimeout  = 30 * time.Second
)

// Operator talks to one Temporal namespace. Its methods may be called from several goroutines.
type Operator struct {
	temporal  client.Client
	namespace string
	owned     bool
}

// Config says where Temporal is. What is empty comes from Temporal's own configuration: the environment (TEMPORAL_ADDRESS,
// TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…) over the profile of the temporal.toml file.
type Config struct {
	Profile   string
	Address   string
	Namespace string
	Log       *slog.Logger
}

// Dial connects to Temporal.
func Dial(ctx context.Context, cfg Config) (*Operator, error) {
	opts, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{ConfigFileProfile: cfg.Profile})
	if err != nil {
		return nil, fmt.Errorf("connection settings of Temporal: %w", err)
	}
	if cfg.Address != "" {
		opts.HostPort = cfg.Address
	}
	if cfg.Namespace != "" {
		opts.Namespace = cfg.Namespace
	}
	if cfg.Log != nil {
		opts.Logger = log.NewStructuredLogger(cfg.Log)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := client.DialContext(ctx, opts)
	if err != nil {
		address := opts.HostPort
		if address == "" {
			address = client.DefaultHostPort
		}
		return nil, &UnreachableError{What: "Temporal at " + address, Err: err}
	}
	namespace := opts.Namespace
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	return &Operator{temporal: c, namespace: namespace, owned: true}, nil
}

// New uses a client that the caller closes.
func New(c client.Client) *Operator { return &Operator{temporal: c} }

// Namespace is the one that Dial chose; empty if New was given a client.
func (o *Operator) Namespace() string { return o.namespace }

// Close closes the connection that Dial opened.
func (o *Operator) Close() {
	if o.owned {
		o.temporal.Close()
	}
}

// Run names one run of a workflow.
type Run struct {
	Pair      string `json:"pair"`
	ID        string `json:"workflow_id"`
	RunID     string `json:"run_id"`
	Operation string `json:"operation"`
	DryRun    bool   `json:"dry_run,omitempty"`
}

// Result waits for the end of a run. A run that failed, was cancelled or terminated gives an EndedError, one that Temporal does
// not keep any more ErrNoRun.
func (o *Operator) Result(ctx context.Context, run Run) (workflows.Result, error) {
	var result workflows.Result
	err := o.temporal.GetWorkflow(ctx, run.ID, run.RunID).Get(ctx, &result)
	if err == nil {
		return result, nil
	}
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	return result, ended(run, err)
}
