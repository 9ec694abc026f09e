package rest

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// Patience bounds how long a caller may hold a connection by being slow. What the
// engine itself takes is not bounded: appending a ledger may take hours, and ends
// with the caller's connection. Zero values take the defaults.
type Patience struct {
	// Header is for a request's headers. Default 10 s.
	Header time.Duration
	// Body is for a request's body, all of it. Default 1 min: the largest is 32 MiB.
	Body time.Duration
	// Answer is for each 64 KiB of an answer. Default 30 s.
	Answer time.Duration
}

func (p Patience) withDefaults() Patience {
	return Patience{cmp.Or(p.Header, 10*time.Second), cmp.Or(p.Body, time.Minute), cmp.Or(p.Answer, 30*time.Second)}
}

// answerChunk is what a caller must take within Patience.Answer, in bytes.
const answerChunk = 64 << 10

// paced closes the connections of callers that send or read too slowly. Deadlines
// are set around reads and writes only: one that ran out while the engine is at
// work would end the call.
func paced(p Patience, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Time{}) // of the call before on this connection
		body := &pacedBody{ReadCloser: r.Body, rc: rc, patience: p.Body}
		if r.Body != http.NoBody {
			r.Body = body
		}
		defer func() {
			// The server still has to read a body that nobody wanted, and to send the rest.
			if r.Body == body && !body.ended {
				_ = rc.SetReadDeadline(time.Now().Add(p.Body))
			}
			_ = rc.SetWriteDeadline(time.Now().Add(p.Answer))
		}()
		next.ServeHTTP(&pacedWriter{w, rc, p.Answer}, r)
	})
}

type pacedBody struct {
	io.ReadCloser
	rc           *http.ResponseController
	patience     time.Duration
	began, ended bool
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if !b.began {
		b.began = true
		_ = b.rc.SetReadDeadline(time.Now().Add(b.patience))
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !b.ended {
		b.ended = true
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			_ = b.rc.SetReadDeadline(time.Time{})
		}
	}
	return n, err
}

type pacedWriter struct {
	http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(p []byte) (int, error) {
	wrote := 0
	for {
		_ = w.rc.SetWriteDeadline(time.Now().Add(w.patience))
		n, err := w.ResponseWriter.Write(p[wrote:min(wrote+answerChunk, len(p))])
		wrote += n
		if err != nil || wrote == len(p) {
			return wrote, err
		}
	}
}
