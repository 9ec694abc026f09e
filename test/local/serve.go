package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Served is a handler at a free port of loopback: what the fakes of other people's services stand on.
type Served struct {
	server   *http.Server
	listener net.Listener
	ended    chan error // gets what serving ended with
}

// Serve serves h until Close.
func Serve(h http.Handler) (*Served, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Served{listener: l, server: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}, ended: make(chan error, 1)}
	go func() { s.ended <- s.server.Serve(l) }()
	return s, nil
}

// Addr is host:port.
func (s *Served) Addr() string { return s.listener.Addr().String() }

// URL is where it is.
func (s *Served) URL() string { return "http://" + s.Addr() }

// Close ends it with its connections, and says if it had ended before.
func (s *Served) Close() error {
	err := s.server.Close()
	if served := <-s.ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
