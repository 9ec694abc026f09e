package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
)

// Options of connections to one cluster.
type Options struct {
	// ClientID goes into every request, by which a broker's owner knows us.
	ClientID string
	// Software and its version go into ApiVersions (KIP-511). Both or none.
	Software, SoftwareVersion string
	// Dial connects, with TLS where that is asked for.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// SASL are the mechanisms to log in by, the first one that the broker takes;
	// none: no login.
	SASL []sasl.Mechanism
	// DialTimeout bounds the way to a usable connection, with the login.
	DialTimeout time.Duration
	// Timeout bounds each request: one that is not answered by then takes the
	// connection, and all that wait on it, with it. It counts from the sending, or
	// from the answer before, since a broker looks at one request of a connection
	// after the other. While an answer is coming in, each of its parts has that time.
	Timeout time.Duration
	// MaxFrame bounds an answer in bytes.
	MaxFrame int
	// Pool lends the memory of answers.
	Pool *Pool
}

// LostError says that a connection is of no use any more. What was under way on
// it may have been done by the broker, or not.
type LostError struct {
	Addr  string
	Cause error
}

// Error names the broker's address and the cause.
func (e *LostError) Error() string {
	return fmt.Sprintf("connection to %s lost: %v", e.Addr, e.Cause)
}

// Unwrap gives the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// ErrClosed is the cause when this side has closed the connection.
var ErrClosed = errors.New("closed by this engine")

// Conn is one connection to a broker. Requests may follow each other without
// waiting: a broker serves a connection in order and so answers in order
// (SocketServer), which correlation ids confirm.
type Conn struct {
	nc      net.Conn
	addr    string
	opts    Options
	ranges  map[int16]versionRange // by api key
	expires time.Time              // of the login; zero: never
	stop    func() bool            // of the wait for the context's end
	ended   chan struct{}          // closed when every request has had its answer and none will come

	writing sync.Mutex // held during a request's write; taken before mu

	mu      sync.Mutex // guards what follows
	waiting []call     // sent and not answered, in order
	lost    error      // *LostError once there is one
	quiet   time.Time  // until when the broker does not look at the connection
	next    int32      // correlation id
	empty   sync.Cond  // waiting has become empty, or lost was set
}

// call is a request that waits for its answer.
type call struct {
	correlation int32
	key         int16
	flexible    bool // its answer's header has tags
	deadline    time.Time
	done        func(Answer)
}

type versionRange struct{ low, high int16 }

// newConn takes over a network connection, which ends with ctx.
func newConn(ctx context.Context, nc net.Conn, addr string, opts Options) *Conn {
	c := &Conn{nc: nc, addr: addr, opts: opts, ended: make(chan struct{})}
	c.empty.L = &c.mu
	c.stop = context.AfterFunc(ctx, func() { c.lose(ErrClosed) })
	go c.run()
	return c
}

// Addr is where the connection leads.
func (c *Conn) Addr() string { return c.addr }

// Lost is closed when the connection has ended and all that waited know.
func (c *Conn) Lost() <-chan struct{} { return c.ended }

// Err is why the connection was lost, nil while it was not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Close ends the connection and waits until all that waited on it have been
// told. It must not be called from a request's done.
func (c *Conn) Close() {
	c.lose(ErrClosed)
	<-c.ended
}

// Version is the highest version of a request that the broker and the caller
// both have.
func (c *Conn) Version(key, low, high int16) (int16, error) {
	r, ok := c.ranges[key]
	v := min(r.high, high)
	if !ok || v < low || v < r.low {
		return 0, fmt.Errorf("broker at %s has %s in versions %d to %d, versions %d to %d are wanted", c.addr, kmsg.NameForKey(key), r.low, r.high, low, high)
	}
	return v, nil
}

// Request is the encoded request: Parts after each other are the body behind
// the header.
type Request struct {
	Key, Version int16
	// Flexible requests have tags in their header, and so do their answers.
	Flexible bool
	Parts    net.Buffers
}

// Send writes a request and returns when its bytes are not needed any more, or
// the connection is lost. done is called exactly once, perhaps before Send
// returns, from the goroutine that reads answers, which it must not hold up;
// when it is called the request is not being written any more.
func (c *Conn) Send(r Request, done func(Answer)) {
	c.writing.Lock()
	c.mu.Lock()
	if c.lost != nil {
		err := c.lost
		c.mu.Unlock()
		c.writing.Unlock()
		done(Answer{Err: err})
		return
	}
	now := time.Now()
	cl := call{correlation: c.next, key: r.Key, flexible: r.Flexible, deadline: now.Add(max(0, c.quiet.Sub(now)) + c.opts.Timeout), done: done}
	if r.Key == keyAPIVersions {
		cl.flexible = false // so that a client can read it whatever the broker is (KIP-511)
	}
	c.next++
	c.waiting = append(c.waiting, cl)
	if len(c.waiting) == 1 {
		_ = c.nc.SetReadDeadline(cl.deadline) // an error shows at the next read
	}
	c.mu.Unlock()

	size := 0
	for _, p := range r.Parts {
		size += len(p)
	}
	head := c.header(r, cl.correlation, size)
	frame := append(net.Buffers{head}, r.Parts...)
	_ = c.nc.SetWriteDeadline(cl.deadline) // an error shows at the write
	_, err := frame.WriteTo(c.nc)
	c.writing.Unlock()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%s could not be sent within %s", kmsg.NameForKey(r.Key), c.opts.Timeout)
		}
		c.lose(err)
	}
}

// header is the request header (v1, or v2 with tags) with the frame's size before it.
func (c *Conn) header(r Request, correlation int32, size int) []byte {
	head := make([]byte, 4, 4+2+2+4+2+len(c.opts.ClientID)+1)
	head = kbin.AppendInt16(head, r.Key)
	head = kbin.AppendInt16(head, r.Version)
	head = kbin.AppendInt32(head, correlation)
	head = kbin.AppendNullableString(head, &c.opts.ClientID)
	if r.Flexible {
		head = append(head, 0)
	}
	binary.BigEndian.PutUint32(head, uint32(len(head)-4+size)) //nolint:gosec // requests are bounded far below 2 GiB
	return head
}

// Ask sends a request and waits for its answer, or for ctx: what comes behind
// that is dropped.
func (c *Conn) Ask(ctx context.Context, req kmsg.Request) (Answer, error) {
	got := make(chan Answer, 1)
	c.Send(Request{
		Key: req.Key(), Version: req.GetVersion(), Flexible: req.IsFlexible(), Parts: net.Buffers{req.AppendTo(nil)},
	}, func(a Answer) { got <- a })
	select {
	case a := <-got:
		return a, a.Err
	case <-ctx.Done():
		// Only the end of the connection makes sure that nobody is left with the buffer.
		c.lose(ctx.Err())
		(<-got).Release()
		return Answer{}, ctx.Err()
	}
}

// exchange is Ask for answers that are copied out of their buffer.
func (c *Conn) exchange(ctx context.Context, req kmsg.Request, res kmsg.Response) error {
	res.SetVersion(req.GetVersion())
	a, err := c.Ask(ctx, req)
	if err != nil {
		return err
	}
	defer a.Release()
	if err := res.ReadFrom(append([]byte(nil), a.Body...)); err != nil {
		return fmt.Errorf("answer of %s to %s: %w", c.addr, kmsg.NameForKey(req.Key()), err)
	}
	return nil
}

// Excuse gives what waits, or is sent meanwhile, d more time: the broker has said
// that it will not look at this connection for that long (quotas, KIP-219).
func (c *Conn) Excuse(d time.Duration) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = time.Now().Add(d)
	for i := range c.waiting {
		c.waiting[i].deadline = c.waiting[i].deadline.Add(d)
	}
	if len(c.waiting) > 0 && c.lost == nil {
		_ = c.nc.SetReadDeadline(c.waiting[0].deadline)
	}
}

// Drain waits until all requests have had their answers.
func (c *Conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && c.lost == nil {
		c.empty.Wait()
	}
}

// lose ends the connection, for the first cause. The goroutine that reads tells
// those who wait.
func (c *Conn) lose(cause error) {
	c.mu.Lock()
	if c.lost == nil {
		c.lost = &LostError{Addr: c.addr, Cause: cause}
		c.empty.Broadcast()
	}
	c.mu.Unlock()
	if t, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close() // TLS would wait to say good-bye
	}
	_ = c.nc.Close()
}
