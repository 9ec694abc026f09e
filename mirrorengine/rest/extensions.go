package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// extensions registers Drawbridge's own calls.
func (s *Server) extensions(mux *router) {
	links := s.opts.Links
	on := func(pattern string, h handler) {
		method, path, _ := strings.Cut(pattern, " ")
		s.handle(mux, method+" "+api.PrefixDrawbridge+path, api.PrefixKafka, h)
	}
	on("GET /engine", s.getEngine)

	on("GET /links/{link}/progress", read("link", links.Progress))
	on("GET /links/{link}/drift", read("link", links.Drift))
	on("GET /links/{link}/operation", read("link", links.Operation))
	on("PUT /links/{link}/operation", operation(links.PutOperation))
	on("POST /links/{link}/operation:revoke", operation(links.RevokeOperation))
	on("POST /links/{link}/operation:end", operation(links.EndOperation))

	on("GET /links/{link}/acls", s.getACLs)
	on("GET /links/{link}/groups", read("link", links.Groups))
	on("POST /links/{link}/groups:sync", read("link", links.SyncGroups))
	on("POST /links/{link}/groups:own", write("link", links.OwnGroups))

	on("GET /links/{link}/mirrors/{topic}/segments", s.getSegments)
	on("POST /links/{link}/mirrors:rejoin", s.rejoined(s.opts.Links.Rejoin))
	on("POST /links/{link}/mirrors:reversed", s.rejoined(s.opts.Links.ReverseMirrors))

	on("GET /links/{link}/ledger", read("link", links.Ledger))
	on("POST /links/{link}/ledger:compute", read("link", links.ComputeLedger))
	on("POST /links/{link}/ledger:append", decide(links.AppendLedger))
	on("POST /links/{link}/ledger:discard", decide(links.DiscardLedger))
	on("POST /links/{link}/ledger:export", decide(links.ExportLedger))

	on("GET /pairs/{pair}/lock", read("pair", links.Lock))
	on("PUT /pairs/{pair}/lock", s.putLock)
	on("DELETE /pairs/{pair}/lock", s.deleteLock)
	on("GET /pairs/{pair}/fences", s.listFences)
	on("PUT /pairs/{pair}/fences/{operation}", s.putFence)
	on("DELETE /pairs/{pair}/fences/{operation}", s.deleteFence)
	on("POST /pairs/{pair}/fences/{operation}/handover", s.handOver)
}

func (s *Server) getEngine(w http.ResponseWriter, r *request) error {
	engine, err := s.opts.Links.Engine(r.Context())
	if err != nil {
		return err
	}
	if engine.Version == "" {
		engine.Version = s.opts.Version
	}
	return writeJSON(w, http.StatusOK, engine)
}

func (s *Server) getACLs(w http.ResponseWriter, r *request) error {
	acls, err := s.opts.Links.ACLs(r.Context(), r.PathValue("link"), r.URL.Query().Get(api.QueryACLFilters))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, acls)
}

func (s *Server) getSegments(w http.ResponseWriter, r *request) error {
	segments, err := s.opts.Links.Segments(r.Context(), r.PathValue("link"), r.PathValue("topic"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, segments)
}

// rejoined serves the two calls about mirrors whose direction changed.
func (s *Server) rejoined(do func(context.Context, string, api.Rejoin) ([]api.AlterMirrorResult, error)) func(http.ResponseWriter, *request) error {
	return func(w http.ResponseWriter, r *request) error {
		var body api.Rejoin
		if err := decodeStrict(r, &body); err != nil {
			return err
		}
		if len(body.From) == 0 {
			return api.BadRequest("from is required: the stopped mirrors of the opposite direction.")
		}
		link := r.PathValue("link")
		results, err := do(r.Context(), link, body)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, s.finishResults(r, link, results))
	}
}

func (s *Server) putLock(w http.ResponseWriter, r *request) error {
	var body api.Lock
	if err := decodeStrict(r, &body); err != nil {
		return err
	}
	if body.OperationID == "" {
		return api.BadRequest("operation_id is required: who takes the lock.")
	}
	lock, err := s.opts.Links.PutLock(r.Context(), r.PathValue("pair"), body)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, lock)
}

func (s *Server) deleteLock(w http.ResponseWriter, r *request) error {
	id := r.URL.Query().Get(api.QueryOperationID)
	if id == "" {
		return api.BadRequest("Query parameter '%s' is required: whose lock to let go.", api.QueryOperationID)
	}
	if err := s.opts.Links.DeleteLock(r.Context(), r.PathValue("pair"), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) listFences(w http.ResponseWriter, r *request) error {
	fences, err := s.opts.Links.Fences(r.Context(), r.PathValue("pair"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fences)
}

func (s *Server) putFence(w http.ResponseWriter, r *request) error {
	var body api.Fence
	if err := decodeStrict(r, &body); err != nil {
		return err
	}
	pair, id := r.PathValue("pair"), r.PathValue("operation")
	if body.Pair != "" && body.Pair != pair || body.OperationID != "" && body.OperationID != id {
		return api.BadRequest("The body is of pair '%s', operation '%s'; the path says '%s', '%s'.",
			body.Pair, body.OperationID, pair, id)
	}
	body.Pair, body.OperationID = pair, id
	fence, err := s.opts.Links.PutFence(r.Context(), pair, body)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fence)
}

func (s *Server) deleteFence(w http.ResponseWriter, r *request) error {
	if err := s.opts.Links.DeleteFence(r.Context(), r.PathValue("pair"), r.PathValue("operation")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) handOver(w http.ResponseWriter, r *request) error {
	var body api.HandOver
	if err := decodeStrict(r, &body); err != nil {
		return err
	}
	if body.Link == "" {
		return api.BadRequest("link is required: whose mirrors the entries guard from now on.")
	}
	if err := s.opts.Links.HandOverFence(r.Context(), r.PathValue("pair"), r.PathValue("operation"), body.Link); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// read is a call of the thing that the path names, without a body.
func read[T any](name string, get func(context.Context, string) (T, error)) handler {
	return func(w http.ResponseWriter, r *request) error {
		out, err := get(r.Context(), r.PathValue(name))
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, out)
	}
}

// write is a call of the thing that the path names, with a body of our own.
func write[In, Out any](name string, put func(context.Context, string, In) (Out, error)) handler {
	return func(w http.ResponseWriter, r *request) error {
		var body In
		if err := decodeStrict(r, &body); err != nil {
			return err
		}
		out, err := put(r.Context(), r.PathValue(name), body)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, out)
	}
}

// operation is write with a token that says whose it is.
func operation(put func(context.Context, string, api.Operation) (api.Operation, error)) handler {
	return write("link", func(ctx context.Context, link string, op api.Operation) (api.Operation, error) {
		if op.OperationID == "" || op.Epoch < 0 {
			return op, api.BadRequest("operation_id and an epoch from 0 are required.")
		}
		return put(ctx, link, op)
	})
}

// decide is write with a name behind the decision: the ledger is the audit
// trail of what became of lost records.
func decide[Out any](put func(context.Context, string, api.DecideLedger) (Out, error)) handler {
	return write("link", func(ctx context.Context, link string, d api.DecideLedger) (Out, error) {
		if d.DecidedBy == "" {
			var none Out
			return none, api.BadRequest("decided_by is required: who answers for it.")
		}
		return put(ctx, link, d)
	})
}
