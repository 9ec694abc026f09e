package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// largeLinks answers with far more than sockets take without a reader.
type largeLinks struct{ fakeLinks }

func (*largeLinks) Mirrors(context.Context, string, string) ([]api.Mirror, error) {
	out := make([]api.Mirror, 40_000)
	for i := range out {
		out[i].MirrorTopicName = fmt.Sprintf("topic-%06d-%s", i, strings.Repeat("x", 100))
	}
	return out, nil
}

// countedListener counts the connections that the server has closed.
type countedListener struct {
	net.Listener
	closed atomic.Int64
}

type countedConn struct {
	net.Conn
	once sync.Once
	l    *countedListener
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c, l: l}, nil
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.l.closed.Add(1) })
	return c.Conn.Close()
}

// serve runs the engine's HTTP server, impatient, until the test ends.
func serve(t *testing.T, p Patience) (*countedListener, string) {
	t.Helper()
	ln, err := Listen(t.Context(), "127.0.0.1:0", Access{}, TLS{})
	if err != nil {
		t.Fatal(err)
	}
	counted := &countedListener{Listener: ln}
	s := New(Options{Links: &largeLinks{}, Logger: slog.New(slog.DiscardHandler), Patience: p})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, counted) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return counted, ln.Addr().String()
}

const mirrorsPath = "/kafka/v3/clusters/" + clusterID + "/links/-/mirrors"

// Each slow caller loses its connection, whatever it is slow at, and others are
// answered meanwhile.
func TestASlowCallerLosesItsConnectionAndHoldsUpNobody(t *testing.T) {
	list := "GET " + mirrorsPath + " HTTP/1.1\r\nHost: engine\r\n\r\n"
	create := "POST /kafka/v3/clusters/" + clusterID + "/links/l/mirrors HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
	drip := func(c net.Conn) { // until the server has had enough
		for _, err := c.Write([]byte("{")); err == nil; _, err = c.Write([]byte(" ")) {
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the slow caller itself
		}
	}
	for name, slow := range map[string]func(c net.Conn){
		"sends half a header":            func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: eng") },
		"sends its headers byte by byte": func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nX-Slow: "); drip(c) },
		"sends no body":                  func(c net.Conn) { _, _ = io.WriteString(c, create) },
		"sends its body byte by byte":    func(c net.Conn) { _, _ = io.WriteString(c, create); drip(c) },
		"never reads":                    func(c net.Conn) { _, _ = io.WriteString(c, list) },
		"sends a body that nobody reads": func(c net.Conn) {
			_, _ = io.WriteString(c, strings.Replace(create, "/links/l/mirrors", "/nothing", 1))
			drip(c)
		},
		"asks again and again, not reads": func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat(list, 20)) },
		"reads byte by byte": func(c net.Conn) {
			_, _ = io.WriteString(c, list)
			for _, err := c.Read(make([]byte, 1)); err == nil; _, err = c.Read(make([]byte, 1)) {
				time.Sleep(time.Millisecond) //nolint:forbidigo // the slow caller itself
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, addr := serve(t, Patience{Header: 2 * time.Second, Body: 2 * time.Second, Answer: 2 * time.Second})
			var d net.Dialer
			c, err := d.DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { slow(c) })
			defer wg.Wait()
			defer c.Close()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			others := &http.Client{Transport: transport, Timeout: time.Minute}
			deadline := time.Now().Add(2 * time.Minute)
			for ln.closed.Load() == 0 {
				if err := fetch(t, others, "http://"+addr+api.PathHealth); err != nil {
					t.Fatalf("another caller: %v", err)
				}
				if time.Now().After(deadline) {
					t.Fatal("the connection was not closed within two minutes")
				}
			}
		})
	}
}

// Patience is for callers, not for the engine: a call that is at work for longer
// than any of it is answered.
func TestACallThatTakesLongIsAnswered(t *testing.T) {
	ln := slowLinks{release: make(chan struct{}), called: make(chan struct{})}
	listener, err := Listen(t.Context(), "127.0.0.1:0", Access{}, TLS{})
	if err != nil {
		t.Fatal(err)
	}
	const patience = time.Second // the caller is to be quicker, on a machine that has little time for it too
	s := New(Options{Links: &ln, Logger: slog.New(slog.DiscardHandler), Patience: Patience{patience, patience, patience}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = s.Run(ctx, listener) }()
	go func() {
		<-ln.called
		<-time.After(3 * patience)
		close(ln.release)
	}()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String()+"/kafka/v3/clusters/"+clusterID+"/links/l/mirrors",
		strings.NewReader(`{"source_topic_name": "orders"}`))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		text, _ := bufio.NewReader(res.Body).ReadString(0)
		t.Errorf("%s: %s", res.Status, text)
	}
}

type slowLinks struct {
	fakeLinks
	called, release chan struct{}
}

func (l *slowLinks) CreateMirror(ctx context.Context, _ string, _ api.CreateMirror) error {
	close(l.called)
	select {
	case <-l.release:
		return nil
	case <-ctx.Done():
		return errors.New("the call was ended")
	}
}

func fetch(t *testing.T, c *http.Client, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
