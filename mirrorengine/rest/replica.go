package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Replica is what a replica answers for itself.
type Replica interface {
	// Share is the shards that it owns, and whether it leads.
	Share() (shards []int32, leading bool)
	PutShard(ctx context.Context, shard int32, put api.ShardPut) (api.ShardRead, error)
	ReplicaPartitions(ctx context.Context) (api.ReplicaPartitions, error)
}

// replica registers what replicas ask one another.
func (s *Server) replica(mux *router) {
	if s.opts.Replica == nil {
		return
	}
	s.handle(mux, "GET "+api.PathReplica+"/partitions", "", func(w http.ResponseWriter, r *request) error {
		out, err := s.opts.Replica.ReplicaPartitions(r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, out)
	})
	s.handle(mux, "POST "+api.PathReplica+"/shards/{shard}", "", func(w http.ResponseWriter, r *request) error {
		shard, err := strconv.ParseInt(r.PathValue("shard"), 10, 32)
		if err != nil {
			return api.Malformed("'%s' is no shard.", r.PathValue("shard"))
		}
		var put api.ShardPut
		if err := decodeStrict(r, &put); err != nil {
			return err
		}
		out, err := s.opts.Replica.PutShard(r.Context(), int32(shard), put)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, out)
	})
}

// own tells whether a call is about this very process.
func own(path string) bool {
	return path == api.PathHealth || path == api.PathReady || path == api.PathMetrics || path == api.PathOpenAPI || strings.HasPrefix(path, api.PathReplica+"/") || strings.HasPrefix(path, api.PathDebug)
}

// leaderEvery is how often a call that was passed on looks whether the leader still
// is one.
const leaderEvery = 500 * time.Millisecond

// retryAfter is what a caller is told to wait while no replica leads, in seconds.
const retryAfter = "1"

// led passes a call on to the replica that leads, unless this one does. A call
// that was passed on already comes here when the lead has just moved: it is not
// passed on again.
func (s *Server) led(next http.Handler) http.Handler {
	if s.opts.Leader == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if own(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		passedOn := r.Header.Get(api.HeaderForwarded) != ""
		address, here, away := s.awaitLeader(r.Context(), passedOn)
		switch {
		case here:
			next.ServeHTTP(w, r)
		case away != nil:
			unled(w, fmt.Sprintf("No replica of the engine leads, for its own cluster cannot be reached; nothing was done (%v). Ask again when the cluster is back.", away))
		case address == "" || passedOn:
			unled(w, "No replica of the engine leads just now, another one takes over; nothing was done. Ask again.")
		case callerOf(r.Context()).certified && s.opts.PeerToken == "":
			writeError(w, api.Forbidden("Another replica of the engine leads, and without a token_file of its own this one cannot pass on the call of a certificate: ask the leader directly, at %s, or show a token.", address))
		default:
			s.forward(w, r, address)
		}
	})
}

// leaderWait is how long a call waits where nobody leads: a lead that moves, and
// a group that forms anew, take a moment. leaderLook is how often it looks.
const (
	leaderWait = 5 * time.Second
	leaderLook = 20 * time.Millisecond
)

// awaitLeader waits, not for long, until somebody leads to whom the call can go.
// away says why nobody will: whoever asks in a failover must not wait for that.
func (s *Server) awaitLeader(ctx context.Context, passedOn bool) (address string, here bool, away error) {
	wait := leaderWait
	if s.opts.LeaderWait > 0 {
		wait = s.opts.LeaderWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var looked chan error
	for {
		address, here = s.opts.Leader()
		if here || address != "" && !passedOn {
			return address, here, nil
		}
		if looked == nil && s.opts.Away != nil {
			looked = make(chan error, 1)
			go func() { looked <- s.opts.Away(ctx) }()
		}
		select {
		case <-ctx.Done():
			return address, here, nil
		case err := <-looked:
			if err != nil && ctx.Err() == nil {
				return address, here, err
			}
		case <-time.After(leaderLook):
		}
	}
}

func unled(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", retryAfter)
	writeError(w, api.Unavailable("%s", text))
}

// peers is how this replica reaches others.
func (s *Server) peers() http.RoundTripper {
	if s.opts.Peers == nil {
		return nil // http.DefaultTransport
	}
	return s.opts.Peers.Transport
}

// forward passes a call on. The answer's links name the host that the caller
// asked.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, address string) {
	to, err := url.Parse(api.ReplicaURL(address))
	if err != nil {
		unled(w, "The replica that leads gives an address that is none: "+address)
		return
	}
	proxy := httputil.ReverseProxy{
		Transport: s.peers(),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host
			p.Out.Header.Set(api.HeaderForwarded, "1")
			p.Out.Header.Del(api.HeaderOnBehalf)
			// A certificate cannot be passed on: this replica vouches for it.
			if who := callerOf(r.Context()); who.certified {
				p.Out.Header.Set("Authorization", "Bearer "+s.opts.PeerToken)
				p.Out.Header.Set(api.HeaderOnBehalf, who.role.String()+" "+who.name)
			}
		},
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.opts.Logger.WarnContext(r.Context(), "a call could not be passed on to the replica that leads", "address", address, "path", r.URL.Path, "error", err)
			var dial *net.OpError
			if errors.As(err, &dial) && dial.Op == "dial" {
				unled(w, "The replica of the engine that leads, "+address+", does not answer; another one takes over when its session has ended. Nothing was done. Ask again.")
				return
			}
			// It may have been done: the caller must see a lost answer, not a refusal.
			panic(http.ErrAbortHandler)
		},
	}
	// A leader that stands still keeps the call for as long as it does; once another
	// one leads there is nothing to wait for.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		tick := time.NewTicker(leaderEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if now, here := s.opts.Leader(); here || now != "" && now != address {
					cancel()
				}
			}
		}
	}()
	proxy.ServeHTTP(w, r.WithContext(ctx))
}
