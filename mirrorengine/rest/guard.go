package rest

import (
	"net/http"
	"runtime/debug"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// sameOrigin refuses changes that a web page of another origin makes a browser
// send: on loopback there is no token to stop it.
func (s *Server) sameOrigin(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, api.Forbidden("Request comes from a web page of another origin."))
	}))
	return guard.Handler(next)
}

// jsonOnly gives unknown paths and methods a JSON body too; clients show the
// body's message and nothing else.
func jsonOnly(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		refused := &discarded{header: http.Header{}}
		h.ServeHTTP(refused, r)
		if refused.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", refused.header.Get("Allow"))
			writeError(w, &api.Error{
				Status: http.StatusMethodNotAllowed, ErrorCode: api.CodeMethodNotAllowed,
				Message: "HTTP 405 Method Not Allowed",
			})
			return
		}
		writeError(w, api.NotFound("HTTP 404 Not Found"))
	})
}

// recovered answers a panic of a handler with a 500 and goes on serving.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // net/http's own protocol: this very value.
				panic(v)
			}
			s.opts.Logger.ErrorContext(r.Context(), "api call panicked",
				"method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			writeError(w, api.Internal("The engine failed on this call; its log has the details."))
		}()
		next.ServeHTTP(w, r)
	})
}

// discarded keeps the status and headers of an answer, not its text.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
