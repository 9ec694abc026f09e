package worker

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
)

// health serves /healthz (the process lives), /readyz (it takes work and
// Temporal answers) and /metrics.
type health struct {
	temporal client.Client
	metrics  http.Handler
	working  atomic.Bool
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprintln(w, "ok")
	case "/readyz":
		if why := h.unready(r.Context()); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	case "/metrics":
		h.metrics.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (h *health) unready(ctx context.Context) string {
	if !h.working.Load() {
		return "takes no work: it is starting or stopping"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := h.temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Sprintf("temporal does not answer: %v", err)
	}
	return ""
}
