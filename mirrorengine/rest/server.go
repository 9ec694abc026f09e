package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Options are what a Server needs.
type Options struct {
	// Links is the engine.
	Links Links
	// Cluster reads the local cluster; nil: topics and consumer groups are not
	// served.
	Cluster Cluster
	// Access says who may call what.
	Access Access
	// Version is given out by GET /drawbridge/v1/engine.
	Version string
	// Replica answers what only this replica can, and Leader tells which one
	// answers everything else: this one, or the one at address; empty if none is
	// known. Both nil: there is one replica only.
	Replica Replica
	Leader  func() (address string, here bool)
	// Peers reaches the other replicas, nil for http.DefaultClient. PeerToken is an
	// admin's token there, empty if there is none.
	Peers     *http.Client
	PeerToken string
	// LeaderWait is how long a call waits for one to lead; 0 takes 5 s. Away tells
	// why the engine's own cluster cannot be reached, and so nobody will lead; nil
	// if it can.
	LeaderWait time.Duration
	Away       func(context.Context) error
	// Stuck tells why the engine's own state takes no changes, nil if it does: a call
	// that would change something is refused then. Nil: it always does.
	Stuck func() error
	// Ready tells why the engine cannot serve, nil if it can.
	Ready func() error
	// Metrics serves /metrics.
	Metrics http.Handler
	// Patience is what slow callers are given.
	Patience Patience
	// Logger gets one line per change and per fault of the engine.
	Logger *slog.Logger
}

// Server answers the contract.
type Server struct {
	opts    Options
	router  *router
	handler http.Handler
}

// Time-outs of the HTTP server beside Patience.
const (
	idleTimeout   = 2 * time.Minute
	shutdownGrace = 10 * time.Second
)

// New makes a Server.
func New(opts Options) *Server {
	s := &Server{opts: opts}
	s.router = s.routes()
	s.handler = s.recovered(s.sameOrigin(s.authenticated(s.led(jsonOnly(s.router.ServeMux)))))
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run serves on ln until ctx ends, then gives calls under way a grace of ten
// seconds. It closes ln.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	patience := s.opts.Patience.withDefaults()
	server := &http.Server{
		Handler:           paced(patience, s),
		ReadHeaderTimeout: patience.Header,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the engine's API on %s: %w", ln.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-groupCtx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			return server.Close() // cuts calls that would not end; their outcome is in the state topic
		}
		return nil
	})
	return group.Wait()
}

// handler is one endpoint; its error becomes the error body.
type handler func(w http.ResponseWriter, r *request) error

// request is a call with what the router knows about it.
type request struct {
	*http.Request
	// base is the absolute URL of the collection of clusters, in the prefix that
	// the caller used; links to other resources start with it.
	base string
}

// router is a mux that can tell what it serves: the OpenAPI document must have
// the same.
type router struct {
	*http.ServeMux
	patterns []string
}

// Handle registers h.
func (r *router) Handle(pattern string, h http.Handler) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.Handle(pattern, h)
}

func (s *Server) routes() *router {
	mux := &router{ServeMux: http.NewServeMux()}
	for _, prefix := range []string{api.PrefixKafka, api.PrefixStandalone} {
		s.contract(mux, prefix)
	}
	s.extensions(mux)
	s.debug(mux)
	s.replica(mux)
	if s.opts.Metrics != nil {
		mux.Handle("GET "+api.PathMetrics, only(RoleRead, s.opts.Metrics))
	}
	mux.Handle("GET "+api.PathOpenAPI, only(RoleRead, http.HandlerFunc(openAPI)))
	s.handle(mux, "GET "+api.PathHealth, "", func(w http.ResponseWriter, _ *request) error {
		return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	s.handle(mux, "GET "+api.PathReady, "", func(w http.ResponseWriter, _ *request) error {
		if s.opts.Ready != nil {
			if err := s.opts.Ready(); err != nil {
				return api.Unavailable("not ready: %v", err)
			}
		}
		ready := map[string]any{"status": "ready"}
		if s.opts.Replica != nil {
			ready["shards"], ready["leading"] = s.opts.Replica.Share()
		}
		return writeJSON(w, http.StatusOK, ready)
	})
	return mux
}

// handle registers h; it reads the operation's headers into the context, and
// logs changes and faults.
func (s *Server) handle(mux *router, pattern, prefix string, h handler) {
	want := needs(pattern)
	mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		ctx, err := withOperation(r)
		if err == nil {
			err = permit(r, want)
		}
		if err == nil {
			err = s.changeable(r)
		}
		if err == nil {
			req := &request{Request: r.WithContext(ctx), base: scheme + "://" + r.Host + prefix + "/clusters"}
			err = h(w, req)
		}
		answer := toAPI(err)
		if answer != nil {
			writeError(w, answer)
		}
		s.log(r, answer, err, time.Since(began))
	}))
}

// changeable refuses a change that would wait for a state topic that takes no
// writes. Replicas ask one another all the same: they follow, and wait, together.
func (s *Server) changeable(r *http.Request) error {
	if s.opts.Stuck == nil || r.Method == http.MethodGet || r.Method == http.MethodHead || own(r.URL.Path) {
		return nil
	}
	if err := s.opts.Stuck(); err != nil {
		return api.Unavailable("The engine keeps its state in its own cluster, and there %v; nothing was done. Its partition wants a leader and min.insync.replicas of replicas in sync (kafka-topics --describe). Ask again when it has them.", err)
	}
	return nil
}

// log writes a line for each change, with who asked for it, and for each fault
// of ours; reads and refusals of reads are for debugging.
func (s *Server) log(r *http.Request, answer *api.Error, err error, took time.Duration) {
	level, status := slog.LevelDebug, http.StatusOK
	if answer != nil {
		status = answer.Status
	}
	switch {
	case status >= http.StatusInternalServerError:
		level = slog.LevelError
		if r.URL.Path == api.PathReady {
			level = slog.LevelDebug // the probe asks every few seconds; the cause is logged where it arises
		}
	case strings.HasPrefix(r.URL.Path, api.PathReplica+"/"): // parts of a change that the leader logs
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.Duration("took", took),
		slog.String("who", callerOf(r.Context()).name), slog.String("from", r.RemoteAddr),
	}
	for _, key := range []string{"link", "topic", "group", "pair"} { // the path's wildcards have the log's names
		if v := r.PathValue(key); v != "" {
			attrs = append(attrs, slog.String(key, v))
		}
	}
	if id := r.Header.Get(api.HeaderOperation); id != "" {
		attrs = append(attrs, slog.String("run_id", id))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	s.opts.Logger.LogAttrs(r.Context(), level, "api call", attrs...)
}
