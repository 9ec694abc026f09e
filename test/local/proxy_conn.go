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
	clientID       string  // of the last request; guarded by proxy.mu
	next           *header // of a request that is about to be passed on; guarded by proxy.mu

	mu    sync.Mutex       // guards asked
	asked map[int32]*asked // by correlation id: requests whose answers rules want to see
}

// asked is a request whose answer rules want to see.
type asked struct {
	answer Answer // without its body
	rules  []*rule
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
	c := &proxyConn{proxy: p, client: client, server: server, ctx: ctx, cancel: cancel, asked: make(map[int32]*asked)}
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
		h, ok := requestHeader(f.body)
		if ok {
			c.proxy.mu.Lock()
			c.clientID, c.next = h.clientID, &h
			c.proxy.mu.Unlock()
		}
		if err := c.proxy.pass(c.ctx, c.id()); err != nil {
			return err
		}
		c.proxy.mu.Lock()
		c.next = nil
		c.proxy.mu.Unlock()
		if ok {
			if rules := c.proxy.rulesFor(h.key, h.clientID); len(rules) > 0 {
				c.mu.Lock()
				c.asked[h.correlation] = &asked{Answer{Key: h.key, Version: h.version, ClientID: h.clientID}, rules}
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
		switch verdict, after := c.judge(f.body); verdict {
		case Pass:
		case Cut:
			c.close() // before after, so that whoever waits for it finds the connection closed
			if after != nil {
				after()
			}
			return errors.New("answer dropped")
		case Keep:
			continue
		}
		if _, err := c.client.Write(f.body); err != nil {
			return err
		}
	}
	return nil
}

// judge asks the rules that want to see an answer.
func (c *proxyConn) judge(body []byte) (Verdict, func()) {
	if len(body) < 8 {
		return Pass, nil
	}
	correlation := int32(binary.BigEndian.Uint32(body[4:]))
	c.mu.Lock()
	asked := c.asked[correlation]
	delete(c.asked, correlation)
	c.mu.Unlock()
	if asked == nil {
		return Pass, nil
	}
	answer := asked.answer
	answer.Body = body[8:]
	for _, r := range asked.rules {
		if !c.proxy.stands(r) {
			continue
		}
		if v := r.judge(answer); v != Pass {
			return v, r.after
		}
	}
	return Pass, nil
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

// header is what the proxy reads of a request.
type header struct {
	key, version int16
	correlation  int32
	clientID     string
}

// requestHeader reads the header of a request with its size in front.
func requestHeader(body []byte) (header, bool) {
	const fixed = 4 + 2 + 2 + 4 + 2
	if len(body) < fixed {
		return header{}, false
	}
	h := header{
		key: int16(binary.BigEndian.Uint16(body[4:])), version: int16(binary.BigEndian.Uint16(body[6:])),
		correlation: int32(binary.BigEndian.Uint32(body[8:])),
	}
	n := int(int16(binary.BigEndian.Uint16(body[12:])))
	if n < 0 { // null
		return h, true
	}
	if len(body) < fixed+n {
		return header{}, false
	}
	h.clientID = string(body[fixed : fixed+n])
	return h, true
}
