package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	sdkclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"
)

// In is the same server as seen from another namespace, which is made with the server's search attributes if it is not
// there: workers of two namespaces take no work from each other. The server's life is still that of the first one; after
// its Restart the view's Kill, Pause and Stop no longer reach it.
func (t *Temporal) In(ctx context.Context, namespace string) (*Temporal, error) {
	c, err := sdkclient.NewNamespaceClient(sdkclient.Options{HostPort: t.hostPort, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", namespace, err)
	}
	defer c.Close()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	var there *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &there) {
		return nil, fmt.Errorf("register namespace %s: %w", namespace, err)
	}
	view := *t
	view.cfg.Namespace = namespace
	// The frontend learns of a new namespace on its own clock.
	if err := WaitFor(ctx, "namespace "+namespace+" to be known", view.ready); err != nil {
		return nil, err
	}
	return &view, view.registerSearchAttributes(ctx)
}
