package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Proxy passes Kafka connections on to one broker, and hinders those of chosen clients.
//
// It reads Kafka's framing: a size, then, of a request, api key, version, correlation id and client id (the request header
// is the same in all versions up to the client id; kafka.apache.org/protocol, "Request Headers"), of an answer the
// correlation id. A client is chosen by a prefix of its client id; the empty prefix chooses all. It does not
// speak TLS. Frames are passed whole: a frame that had begun to be passed when Hold was called still arrives.
type Proxy struct {
	upstream string
	listener net.Listener
	wg       sync.WaitGroup // the accept loop and all connections
	ctx      context.Context
	cancel   context.CancelFunc

	mu       sync.Mutex // guards the fields below
	conns    map[*proxyConn]struct{}
	accepted int
	held     map[string]bool
	delays   map[string]time.Duration
	drops    []*drop
	changed  chan struct{} // closed and replaced at each change of held
}

// drop is a rule of DropResponse.
type drop struct {
	key     int16
	prefix  string
	claimed int // answers still to be chosen
	left    int // answers still to be dropped
	done    chan struct{}
}

// StartProxy listens at addr and passes connections on to upstream, which need not be there yet: while it refuses, so
// does the proxy.
func StartProxy(addr, upstream string) (*Proxy, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		upstream: upstream, listener: l, ctx: ctx, cancel: cancel,
		conns: make(map[*proxyConn]struct{}), held: make(map[string]bool), delays: make(map[string]time.Duration),
		changed: make(chan struct{}),
	}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is the address that clients use.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close closes the listener and all connections and waits for their end.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Cut("")
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) { // closed before
		return nil
	}
	return err
}

// Hold lets nothing pass in either direction on connections of clients whose id begins with the prefix, new
// ones included, until Release. Only the end of a connection is passed on.
func (p *Proxy) Hold(clientIDPrefix string) { p.setHeld(clientIDPrefix, true) }

// Release ends a Hold of the same prefix; what was held is then passed.
func (p *Proxy) Release(clientIDPrefix string) { p.setHeld(clientIDPrefix, false) }

func (p *Proxy) setHeld(prefix string, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held {
		p.held[prefix] = true
	} else {
		delete(p.held, prefix)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut closes the present connections of such clients on both sides. They may connect again.
func (p *Proxy) Cut(clientIDPrefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if strings.HasPrefix(c.clientID, clientIDPrefix) {
			c.close()
		}
	}
}

// Delay makes the answers to such clients arrive d later; 0 ends it. The longest matching prefix counts.
func (p *Proxy) Delay(clientIDPrefix string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d <= 0 {
		delete(p.delays, clientIDPrefix)
		return
	}
	p.delays[clientIDPrefix] = d
}

// DropResponse passes the next n requests of that api key (0 Produce, 1 Fetch …) from such clients to the broker, but
// instead of its answer the client gets the end of the connection: a lost acknowledgement. The returned channel is closed
// when n answers have been dropped.
func (p *Proxy) DropResponse(apiKey int16, clientIDPrefix string, n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &drop{key: apiKey, prefix: clientIDPrefix, claimed: n, left: n, done: make(chan struct{})}
	if n <= 0 {
		close(d.done)
		return d.done
	}
	p.drops = append(p.drops, d)
	return d.done
}

// Connections counts the open connections of such clients; one that has not sent a request yet has the empty id.
func (p *Proxy) Connections(clientIDPrefix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for c := range p.conns {
		if strings.HasPrefix(c.clientID, clientIDPrefix) {
			n++
		}
	}
	return n
}

// Accepted counts all connections so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// pass waits until nothing holds the client.
func (p *Proxy) pass(ctx context.Context, clientID string) error {
	for {
		p.mu.Lock()
		held := false
		for prefix := range p.held {
			held = held || strings.HasPrefix(clientID, prefix)
		}
		changed := p.changed
		p.mu.Unlock()
		if !held {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connection of %q ended while held: %w", clientID, ctx.Err())
		case <-changed:
		}
	}
}

func (p *Proxy) delay(clientID string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest, found := -1, time.Duration(0)
	for prefix, d := range p.delays {
		if len(prefix) > longest && strings.HasPrefix(clientID, prefix) {
			longest, found = len(prefix), d
		}
	}
	return found
}

// claim returns the rule that wants the answer to this request dropped, or nil.
func (p *Proxy) claim(apiKey int16, clientID string) *drop {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.drops {
		if d.claimed > 0 && d.key == apiKey && strings.HasPrefix(clientID, d.prefix) {
			d.claimed--
			return d
		}
	}
	return nil
}

// settle ends a claim: its answer was dropped, or (unclaim) never came.
func (p *Proxy) settle(d *drop, dropped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !dropped {
		d.claimed++
		return
	}
	if d.left--; d.left == 0 {
		close(d.done)
	}
}

// Proxies are the proxies of a cluster; its methods do the same on each.
type Proxies []*Proxy

// Hold is [Proxy.Hold] on each.
func (ps Proxies) Hold(clientIDPrefix string) {
	for _, p := range ps {
		p.Hold(clientIDPrefix)
	}
}

// Release is [Proxy.Release] on each.
func (ps Proxies) Release(clientIDPrefix string) {
	for _, p := range ps {
		p.Release(clientIDPrefix)
	}
}

// Cut is [Proxy.Cut] on each.
func (ps Proxies) Cut(clientIDPrefix string) {
	for _, p := range ps {
		p.Cut(clientIDPrefix)
	}
}

// Delay is [Proxy.Delay] on each.
func (ps Proxies) Delay(clientIDPrefix string, d time.Duration) {
	for _, p := range ps {
		p.Delay(clientIDPrefix, d)
	}
}

// Connections is the sum of [Proxy.Connections].
func (ps Proxies) Connections(clientIDPrefix string) int {
	n := 0
	for _, p := range ps {
		n += p.Connections(clientIDPrefix)
	}
	return n
}
