package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// proxyConn is one client's connection with its counterpart to the broker.
type proxyConn struct {
	proxy          *Proxy
	client, server net.Conn
	ctx            context.Context // ends with the connection
	cancel         context.CancelFunc
	clientID       string // of the last request; guarded by proxy.mu

	mu    sync.Mutex      // guards drops
	drops map[int32]*drop // by correlation id: answers to be dropped
}

// frame is a message with the time when it was read.
type frame struct {
	body []byte // with its size in front
	read time.Time
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // Close
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(p.ctx, "tcp", p.upstream)
	if err != nil {
		return // the broker is away: to the client that is a connection that ends at once
	}
	ctx, cancel := context.WithCancel(p.ctx)
	c := &proxyConn{proxy: p, client: client, server: server, ctx: ctx, cancel: cancel, drops: make(map[int32]*drop)}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)() // so that Close also ends a connection that Cut did not see yet
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.accepted++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
		for _, d := range c.drops {
			p.settle(d, false)
		}
	}()
	var wg sync.WaitGroup
	defer wg.Wait()
	answers := make(chan frame, 64)
	for _, run := range []func() error{
		c.requests,
		func() error { defer close(answers); return c.readAnswers(answers) },
		func() error { return c.writeAnswers(answers) },
	} {
		wg.Go(func() {
			_ = run() // why a connection ends is nobody's business here
			c.close()
		})
	}
}

// close ends both sides and wakes whoever waits for a Release.
func (c *proxyConn) close() {
	c.cancel()
	c.client.Close()
	c.server.Close()
}

// requests passes the client's requests on.
func (c *proxyConn) requests() error {
	for {
		f, err := readFrame(c.client)
		if err != nil {
			return err
		}
		key, correlation, clientID, ok := requestHeader(f.body)
		if ok {
			c.proxy.mu.Lock()
			c.clientID = clientID
			c.proxy.mu.Unlock()
		}
		if err := c.proxy.pass(c.ctx, c.id()); err != nil {
			return err
		}
		if ok {
			if d := c.proxy.claim(key, clientID); d != nil {
				c.mu.Lock()
				c.drops[correlation] = d
				c.mu.Unlock()
			}
		}
		if _, err := c.server.Write(f.body); err != nil {
			return err
		}
	}
}

// readAnswers reads ahead of writeAnswers, so that a Delay adds to each answer once and not to all behind it.
func (c *proxyConn) readAnswers(answers chan<- frame) error {
	for {
		f, err := readFrame(c.server)
		if err != nil {
			return err
		}
		select {
		case answers <- f:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// writeAnswers passes the broker's answers on, late, or never, as the rules have it.
func (c *proxyConn) writeAnswers(answers <-chan frame) error {
	for f := range answers {
		if wait := time.Until(f.read.Add(c.proxy.delay(c.id()))); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-c.ctx.Done():
				timer.Stop()
				return c.ctx.Err()
			}
		}
		if err := c.proxy.pass(c.ctx, c.id()); err != nil {
			return err
		}
		if len(f.body) >= 8 {
			correlation := int32(binary.BigEndian.Uint32(f.body[4:]))
			c.mu.Lock()
			d := c.drops[correlation]
			delete(c.drops, correlation)
			c.mu.Unlock()
			if d != nil {
				c.close() // before settle, so that whoever waits for the drop finds the connection closed
				c.proxy.settle(d, true)
				return errors.New("answer dropped")
			}
		}
		if _, err := c.client.Write(f.body); err != nil {
			return err
		}
	}
	return nil
}

func (c *proxyConn) id() string {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	return c.clientID
}

// maxFrame is above what brokers take (socket.request.max.bytes, 100 MiB): more is no Kafka.
const maxFrame = 128 << 20

func readFrame(r io.Reader) (frame, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return frame{}, fmt.Errorf("frame of %d bytes: not Kafka's protocol, or TLS", n)
	}
	body := make([]byte, 4+n)
	copy(body, size[:])
	_, err := io.ReadFull(r, body[4:])
	return frame{body: body, read: time.Now()}, err
}

// requestHeader reads api key, correlation id and client id of a request with its size in front.
func requestHeader(body []byte) (key int16, correlation int32, clientID string, ok bool) {
	const fixed = 4 + 2 + 2 + 4 + 2
	if len(body) < fixed {
		return 0, 0, "", false
	}
	key = int16(binary.BigEndian.Uint16(body[4:]))
	correlation = int32(binary.BigEndian.Uint32(body[8:]))
	n := int(int16(binary.BigEndian.Uint16(body[12:])))
	if n < 0 { // null
		return key, correlation, "", true
	}
	if len(body) < fixed+n {
		return 0, 0, "", false
	}
	return key, correlation, string(body[fixed : fixed+n]), true
}
